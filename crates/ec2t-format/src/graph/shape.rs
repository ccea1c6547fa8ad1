//! Shapes of activations, traced through the graph.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{Conv2d, Graph, Node, NodeId, Op, Padding, Pool2d};

/// Shape of one image's activations: channels, height, width.
///
/// A vector of n features is `[n, 1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Channels, or features of a vector.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// A shape from channels, height and width.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Number of values; saturates, so that a hostile shape is just too large.
    pub const fn numel(self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// A convolution or pooling with its padding resolved for one input size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Rows and columns of padding at `[top, left, bottom, right]`.
    pub padding: [usize; 4],
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

impl ConvGeometry {
    /// Geometry of windows of `kernel` over `input` (rows, columns), or `None`
    /// where not one window fits or a number overflows.
    fn new(
        input: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
    ) -> Option<Self> {
        let mut pads = [0; 4];
        let mut output = [0; 2];
        for axis in 0..2 {
            let extent =
                kernel[axis].checked_sub(1)?.checked_mul(dilation[axis])?.checked_add(1)?;
            let (before, after) = match padding {
                Padding::Explicit(pads) => (pads[axis], pads[axis + 2]),
                Padding::Same => {
                    let windows = input[axis].checked_sub(1)? / stride[axis].max(1);
                    let covered = windows.checked_mul(stride[axis])?.checked_add(extent)?;
                    let total = covered.saturating_sub(input[axis]);
                    (total / 2, total - total / 2)
                }
            };
            let padded = input[axis].checked_add(before)?.checked_add(after)?;
            output[axis] = padded.checked_sub(extent)?.checked_div(stride[axis])? + 1;
            pads[axis] = before;
            pads[axis + 2] = after;
        }
        Some(Self { padding: pads, output })
    }
}

impl Conv2d {
    /// Padding and output size for an input of this height and width.
    pub fn geometry(&self, input: [usize; 2]) -> Option<ConvGeometry> {
        ConvGeometry::new(input, self.kernel, self.stride, self.dilation, self.padding)
    }
}

impl Pool2d {
    /// Padding and output size for an input of this height and width.
    pub fn geometry(&self, input: [usize; 2]) -> Option<ConvGeometry> {
        let padding = Padding::Explicit(self.padding);
        ConvGeometry::new(input, self.kernel, self.stride, [1, 1], padding)
    }
}

/// A node whose inputs do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer `{node}`: {reason}")]
pub struct ShapeError {
    /// Name of the node.
    pub node: String,
    /// What was expected and what was found.
    pub reason: String,
}

impl Graph {
    /// Shape of every node's output, in the order of the nodes.
    ///
    /// # Errors
    /// Names the first node whose inputs do not fit its operation.
    pub fn shapes(&self) -> Result<Vec<Shape>, ShapeError> {
        self.shapes_for(self.input)
    }

    /// As [`shapes`](Self::shapes), for images of another size.
    ///
    /// # Errors
    /// Names the first node whose inputs do not fit its operation.
    pub fn shapes_for(&self, input: Shape) -> Result<Vec<Shape>, ShapeError> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let shape = output_shape(node, input, &shapes)
                .map_err(|reason| ShapeError { node: node.name.clone(), reason })?;
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// Shape of the graph's output.
    ///
    /// # Errors
    /// As [`shapes`](Self::shapes).
    pub fn output_shape(&self) -> Result<Shape, ShapeError> {
        Ok(self.shapes()?.last().copied().unwrap_or(self.input))
    }
}

pub(crate) fn output_shape(node: &Node, input: Shape, shapes: &[Shape]) -> Result<Shape, String> {
    use alloc::format;

    let operand = |position: usize| -> Result<Shape, String> {
        let id: NodeId = *node.inputs.get(position).ok_or_else(|| {
            format!("{} inputs given, input {position} needed", node.inputs.len())
        })?;
        shapes
            .get(id.index())
            .copied()
            .ok_or_else(|| format!("reads node {}, which does not come before it", id.0))
    };
    let expect = |what: &str, expected: usize, found: usize| match expected == found {
        true => Ok(()),
        false => Err(format!("expected {expected} {what}, found {found}")),
    };
    let no_window = |shape: Shape| format!("no window fits an input of {shape}");

    Ok(match &node.op {
        Op::Input => input,
        Op::Conv2d(conv) => {
            let x = operand(0)?;
            expect("input channels", conv.in_channels, x.channels)?;
            let [height, width] =
                conv.geometry([x.height, x.width]).ok_or_else(|| no_window(x))?.output;
            Shape::new(conv.out_channels, height, width)
        }
        Op::Linear(linear) => {
            let x = operand(0)?;
            expect("input features", linear.in_features, x.numel())?;
            if x.height != 1 || x.width != 1 {
                return Err(format!("expected a vector, found {x}; flatten it first"));
            }
            Shape::new(linear.out_features, 1, 1)
        }
        Op::BatchNorm(norm) => {
            let x = operand(0)?;
            expect("channels", norm.channels, x.channels)?;
            x
        }
        Op::Activation(_) | Op::Dropout { .. } => operand(0)?,
        Op::Add | Op::Multiply => {
            let (a, b) = (operand(0)?, operand(1)?);
            let per_channel = node.op == Op::Multiply && b == Shape::new(a.channels, 1, 1);
            if a != b && !per_channel {
                return Err(format!("operands of {a} and {b} do not match"));
            }
            a
        }
        Op::MaxPool(pool) | Op::AvgPool(pool) => {
            let x = operand(0)?;
            let [height, width] =
                pool.geometry([x.height, x.width]).ok_or_else(|| no_window(x))?.output;
            Shape::new(x.channels, height, width)
        }
        Op::GlobalAvgPool => Shape::new(operand(0)?.channels, 1, 1),
        Op::PadShortcut(pad) => {
            let x = operand(0)?;
            if pad.out_channels < x.channels {
                return Err(format!("cannot pad {x} to {} channels", pad.out_channels));
            }
            let stride = pad.stride.max(1);
            Shape::new(pad.out_channels, x.height.div_ceil(stride), x.width.div_ceil(stride))
        }
        Op::Flatten => Shape::new(operand(0)?.numel(), 1, 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(kernel: usize, stride: usize, padding: Padding) -> Conv2d {
        Conv2d {
            in_channels: 3,
            out_channels: 8,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding,
            dilation: [1; 2],
            groups: 1,
            bias: false,
            scale: false,
        }
    }

    #[test]
    fn explicit_padding_follows_pytorch() {
        let geometry = conv(3, 2, Padding::all(1)).geometry([32, 31]).unwrap();
        assert_eq!(geometry.output, [16, 16]);
        assert_eq!(geometry.padding, [1; 4]);
    }

    #[test]
    fn same_padding_puts_the_odd_row_last() {
        // TensorFlow: 3×3 stride 2 on 224 pads (0, 1), on 15 pads (1, 1).
        let even = conv(3, 2, Padding::Same).geometry([224, 224]).unwrap();
        assert_eq!((even.output, even.padding), ([112, 112], [0, 0, 1, 1]));
        let odd = conv(3, 2, Padding::Same).geometry([15, 15]).unwrap();
        assert_eq!((odd.output, odd.padding), ([8, 8], [1, 1, 1, 1]));
    }

    #[test]
    fn a_window_larger_than_the_input_is_refused() {
        assert_eq!(conv(5, 1, Padding::all(0)).geometry([4, 9]), None);
    }

    #[test]
    fn hostile_numbers_do_not_overflow() {
        let mut huge = conv(usize::MAX, 1, Padding::all(usize::MAX));
        assert_eq!(huge.geometry([usize::MAX; 2]), None);
        huge.stride = [0; 2];
        huge.kernel = [1; 2];
        assert_eq!(huge.geometry([8; 2]), None);
    }
}
