//! Layers that are computed a few channels at a time.
//!
//! What a convolution writes for the depthwise one that follows it, as in inverted
//! residuals, is often the largest value of a network, read once and never again. Where it
//! is larger than a second-level cache, the two are computed in turn: some channels of the
//! first, then the same ones of the second. What is between them never leaves that cache,
//! takes a small buffer, and drives nothing else out of the next one. No bit of a result
//! changes.
//!
//! ```text
//! whole                      in turn, at most 1 MiB between
//! expand     96 channels     expand     0…19
//! depthwise  96 channels     depthwise  0…19
//!                            expand    20…39
//!                            …
//! ```

use std::ops::Range;

use ec2t_format::graph::{Node, Shape};
use ec2t_format::{Network, Op, Tensor};
use ec2t_kernels::{ConvShape, DenseConv};

use crate::fuse::Group;
use crate::kernel::conv_shape;
use crate::plan::Step;

/// Bytes between two layers above which they are computed in turn: a second-level cache
/// of today's processors.
const MOST_BYTES: usize = 1 << 20;

/// What of which step is computed next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn {
    /// Position of the step.
    pub(crate) step: usize,
    /// Some of its channels; `None` for all of it.
    pub(crate) piece: Option<Piece>,
}

/// Some channels of a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// Output channels, or for the second of two steps input channels.
    pub(crate) channels: Range<usize>,
    /// Values that are read and written, of those that the step's operands have.
    pub(crate) input: Range<usize>,
    pub(crate) output: Range<usize>,
    /// Whether these are the last channels.
    pub(crate) is_last: bool,
}

/// How the value between two steps is parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slices {
    /// Channels in all.
    channels: usize,
    /// Channels at a time.
    most: usize,
    /// Pixels of a channel.
    plane: usize,
}

impl Slices {
    /// The parts of the value of a group whose only reader is the next one, if they can be
    /// computed in turn and it is worth it.
    pub(crate) fn between(
        network: &Network,
        shapes: &[Shape],
        group: &Group,
        next: &Group,
    ) -> Option<Self> {
        let is_chain = next.inputs == [group.value];
        if !is_chain || group.residual.is_some() || next.residual.is_some() {
            return None;
        }
        let node = |group: &Group| &network.graph().nodes[group.node.index()];
        let first = shape_of(node(group), shapes)?;
        let second = shape_of(node(next), shapes)?;
        let weight = network.tensor(&format!("{}.weight", node(next).name))?;
        let is_sliced = DenseConv::slices(&second) && matches!(weight, Tensor::Dense(_));
        if !is_sliced || DenseConv::slices(&first) {
            return None;
        }
        Self::of(first.out_channels, first.output_plane())
    }

    fn of(channels: usize, plane: usize) -> Option<Self> {
        let bytes = channels * plane * size_of::<f32>();
        let most = channels.div_ceil(bytes.div_ceil(MOST_BYTES));
        (most < channels).then_some(Self { channels, most, plane })
    }

    /// Values of the longest part.
    pub(crate) fn len(self) -> usize {
        self.most * self.plane
    }

    /// Values of all parts.
    pub(crate) fn value_len(self) -> usize {
        self.channels * self.plane
    }

    fn ranges(self) -> impl Iterator<Item = Range<usize>> {
        let Self { channels, most, .. } = self;
        (0..channels).step_by(most).map(move |first| first..channels.min(first + most))
    }
}

/// The shape of a convolution, if a node is one.
fn shape_of(node: &Node, shapes: &[Shape]) -> Option<ConvShape> {
    match &node.op {
        Op::Conv2d(conv) => Some(conv_shape(conv, shapes[node.inputs[0].index()])),
        _ => None,
    }
}

/// All turns of a plan's steps.
pub(crate) fn turns(steps: &[Step]) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(steps.len());
    let mut position = 0;
    while position < steps.len() {
        match steps[position].slices {
            None => {
                turns.push(Turn { step: position, piece: None });
                position += 1;
            }
            Some(slices) => {
                let [first, second] = [position, position + 1];
                turns.extend(slices.ranges().flat_map(|channels| {
                    let pieces = pieces(slices, channels, [&steps[first], &steps[second]]);
                    [first, second]
                        .into_iter()
                        .zip(pieces)
                        .map(|(step, piece)| Turn { step, piece: Some(piece) })
                }));
                position += 2;
            }
        }
    }
    turns
}

/// Some channels of the first and of the second step.
fn pieces(slices: Slices, channels: Range<usize>, [first, second]: [&Step; 2]) -> [Piece; 2] {
    let is_last = channels.end == slices.channels;
    let between = 0..channels.len() * slices.plane;
    let image = 0..first.operands.input.map_or(0, |input| input.len);
    let each = second.operands.output_len / slices.channels;
    let output = channels.start * each..channels.end * each;
    [
        Piece { channels: channels.clone(), input: image, output: between.clone(), is_last },
        Piece { channels, input: between, output, is_last },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parted_evenly_above_one_mebibyte() {
        let parts = |channels, plane| {
            Slices::of(channels, plane).map(|slices| slices.ranges().collect::<Vec<_>>())
        };
        assert_eq!(parts(64, 64 * 64), None, "just one mebibyte");
        assert_eq!(parts(65, 64 * 64), Some(vec![0..33, 33..65]));
        assert_eq!(parts(3, 1024 * 1024), Some(vec![0..1, 1..2, 2..3]), "at least a channel");
        assert_eq!(parts(1, 4096 * 4096), None);
        let slices = Slices::of(96, 112 * 112).unwrap();
        assert_eq!((slices.ranges().count(), slices.len()), (5, 20 * 112 * 112));
    }
}
