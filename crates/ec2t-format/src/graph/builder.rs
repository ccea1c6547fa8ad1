//! Builds graphs layer by layer.

use alloc::string::String;
use alloc::vec::Vec;

use super::{
    Activation, BatchNorm, Conv2d, Graph, GraphError, Linear, Node, NodeId, Op, PadShortcut,
    Padding, Pool2d, Preprocess, Shape, ShapeError,
};

/// Adds layers one after the other and traces their shapes on the way.
///
/// The first layer whose inputs do not fit is remembered and reported by
/// [`finish`](Self::finish), so that building itself needs no error handling.
///
/// ```
/// use ec2t_format::graph::{GraphBuilder, Shape};
///
/// let mut g = GraphBuilder::new("tiny", Shape::new(1, 8, 8));
/// let x = g.conv("conv", g.input(), 16, 3, 1);
/// let x = g.batch_norm("bn", x);
/// let x = g.relu("relu", x);
/// let x = g.global_avg_pool("pool", x);
/// let x = g.flatten("flatten", x);
/// g.linear("fc", x, 10);
/// let graph = g.finish()?;
/// assert_eq!(graph.parameter_count(), 16 * 9 + 2 * 16 + 160 + 10);
/// # Ok::<(), ec2t_format::graph::GraphError>(())
/// ```
#[derive(Clone, Debug)]
pub struct GraphBuilder {
    graph: Graph,
    shapes: Vec<Shape>,
    error: Option<ShapeError>,
}

impl GraphBuilder {
    /// An empty network that reads images of this shape, unscaled.
    pub fn new(name: &str, input: Shape) -> Self {
        let node = Node { name: "input".into(), op: Op::Input, inputs: Vec::new() };
        Self {
            graph: Graph {
                name: name.into(),
                input,
                preprocess: Preprocess::none(input.channels),
                classes: Vec::new(),
                nodes: alloc::vec![node],
            },
            shapes: alloc::vec![input],
            error: None,
        }
    }

    /// The network's input.
    pub fn input(&self) -> NodeId {
        NodeId::INPUT
    }

    /// Shape of a node's output; of the input where the node did not fit.
    pub fn shape(&self, id: NodeId) -> Shape {
        self.shapes.get(id.index()).copied().unwrap_or(self.graph.input)
    }

    /// Adds any operation.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        let id = NodeId(self.graph.nodes.len() as u32);
        let node = Node { name: String::from(name), op, inputs: inputs.to_vec() };
        let shape = match super::shape::output_shape(&node, self.graph.input, &self.shapes) {
            Ok(shape) => shape,
            Err(reason) => {
                let node = node.name.clone();
                self.error.get_or_insert(ShapeError { node, reason });
                self.graph.input
            }
        };
        self.shapes.push(shape);
        self.graph.nodes.push(node);
        id
    }

    /// Square convolution without bias; padded by half the kernel, so that
    /// stride 1 keeps the image's size.
    pub fn conv(
        &mut self,
        name: &str,
        x: NodeId,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> NodeId {
        let op = Conv2d {
            in_channels: self.shape(x).channels,
            out_channels: out,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding::all(kernel / 2),
            dilation: [1; 2],
            groups: 1,
            bias: false,
            scale: false,
        };
        self.push(name, Op::Conv2d(op), &[x])
    }

    /// Matrix product with bias.
    pub fn linear(&mut self, name: &str, x: NodeId, out: usize) -> NodeId {
        let op = Linear { in_features: self.shape(x).numel(), out_features: out, bias: true };
        self.push(name, Op::Linear(op), &[x])
    }

    /// Batch normalisation with PyTorch's defaults.
    pub fn batch_norm(&mut self, name: &str, x: NodeId) -> NodeId {
        let op = BatchNorm::new(self.shape(x).channels);
        self.push(name, Op::BatchNorm(op), &[x])
    }

    /// Function of each element.
    pub fn activation(&mut self, name: &str, x: NodeId, function: Activation) -> NodeId {
        self.push(name, Op::Activation(function), &[x])
    }

    /// Rectifier.
    pub fn relu(&mut self, name: &str, x: NodeId) -> NodeId {
        self.activation(name, x, Activation::Relu)
    }

    /// Sum of two branches.
    pub fn add(&mut self, name: &str, a: NodeId, b: NodeId) -> NodeId {
        self.push(name, Op::Add, &[a, b])
    }

    /// Product of two branches, or of each channel of `a` and its factor in `b`.
    pub fn multiply(&mut self, name: &str, a: NodeId, b: NodeId) -> NodeId {
        self.push(name, Op::Multiply, &[a, b])
    }

    /// Option-A shortcut.
    pub fn pad_shortcut(
        &mut self,
        name: &str,
        x: NodeId,
        out_channels: usize,
        stride: usize,
    ) -> NodeId {
        self.push(name, Op::PadShortcut(PadShortcut { stride, out_channels }), &[x])
    }

    /// Maximum over square windows that do not overlap.
    pub fn max_pool(&mut self, name: &str, x: NodeId, size: usize) -> NodeId {
        self.push(name, Op::MaxPool(Pool2d::square(size)), &[x])
    }

    /// Mean over all pixels.
    pub fn global_avg_pool(&mut self, name: &str, x: NodeId) -> NodeId {
        self.push(name, Op::GlobalAvgPool, &[x])
    }

    /// Random zeros in training.
    pub fn dropout(&mut self, name: &str, x: NodeId, p: f32) -> NodeId {
        self.push(name, Op::Dropout { p }, &[x])
    }

    /// A vector of all values.
    pub fn flatten(&mut self, name: &str, x: NodeId) -> NodeId {
        self.push(name, Op::Flatten, &[x])
    }

    /// The graph, checked as a whole.
    ///
    /// # Errors
    /// The first layer that did not fit, or the first rule that is broken.
    pub fn finish(self) -> Result<Graph, GraphError> {
        match self.error {
            Some(error) => Err(error.into()),
            None => self.graph.validate().map(|()| self.graph),
        }
    }
}
