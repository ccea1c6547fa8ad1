//! From a graph to steps, fused where that saves a pass over memory.
//!
//! A batch normalisation takes along the sum and the rectifier behind it, where
//! nobody else reads what is between; and the convolution in front of it sums its
//! output's channels in registers.

use ec2t_format::Graph;
use ec2t_format::graph::{
    Activation, BatchNorm, Conv2d, GraphError, Node, NodeId, Op, ParamKind, Pool2d, Shape,
};
use ec2t_kernels::ConvShape;
use ec2t_ops::ChannelSums;
use ec2t_ops::activation;
use ec2t_ops::dropout::Dropout;
use ec2t_ops::norm::{Rectifier, Statistics};
use ec2t_ops::pool::Windows;
use ec2t_ops::shape::PadShortcut;

use super::convolution::Convolution;
use super::layer::Layer;
use super::normalization::Normalization;
use super::pointwise::{Activate, Add, Copy, Drop, Flatten, Multiply, Shortcut};
use super::windows::{MaxPool, MeanPool};
use crate::error::QuantError;
use crate::weights::Weights;

/// All steps of a network, in the order of the forward pass.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) input_channels: usize,
    /// Values of an image.
    pub(super) input_len: usize,
    /// The node of the logits.
    pub(super) output: NodeId,
    /// Number of nodes, with those that steps were added for.
    pub(super) nodes: usize,
    /// Convolutions that leave sums, with their channels.
    summed: Vec<(NodeId, usize)>,
}

/// One layer, or several fused.
pub(super) struct Step {
    /// The node that is computed; of fused ones, the first.
    pub(super) node: NodeId,
    pub(super) layer: Box<dyn Layer + Send>,
    /// No node twice.
    pub(super) inputs: Vec<NodeId>,
    /// The last of the fused nodes.
    pub(super) output: NodeId,
    /// Values of one image's output.
    pub(super) len: usize,
}

impl Plan {
    pub(super) fn new(graph: &Graph, weights: &Weights) -> Result<Self, QuantError> {
        let shapes = graph.shapes().map_err(GraphError::from)?;
        let builder = Builder { graph, weights, shapes, consumers: consumers(graph) };
        let fusions = builder.fusions();
        let mut steps: Vec<Step> = Vec::new();
        let mut summed = Vec::new();
        for (id, node) in graph.iter().skip(1) {
            let step = match fusions.iter().find(|fusion| fusion.covers(id)) {
                Some(fusion) if fusion.last() != id => continue,
                Some(fusion) => builder.fused(fusion, &mut summed)?,
                None => builder.single(id, node)?,
            };
            steps.push(step);
        }
        let mut nodes = graph.nodes.len();
        let steps = steps.into_iter().flat_map(|step| builder.without_repetition(step, &mut nodes));
        Ok(Self {
            steps: steps.collect(),
            input_channels: graph.input.channels,
            input_len: graph.input.numel(),
            output: NodeId(graph.nodes.len() as u32 - 1),
            nodes,
            summed,
        })
    }

    /// Room for the sums that convolutions leave, by node.
    pub(super) fn sums(&self) -> Vec<Option<ChannelSums>> {
        let mut sums = vec![None; self.nodes];
        for &(node, channels) in &self.summed {
            sums[node.index()] = Some(ChannelSums::new(channels));
        }
        sums
    }
}

/// A batch normalisation with the nodes behind it that become one step with it.
struct Fusion {
    norm: NodeId,
    /// The sum, and its other operand.
    sum: Option<(NodeId, NodeId)>,
    rectifier: Option<(NodeId, Rectifier)>,
}

impl Fusion {
    fn last(&self) -> NodeId {
        let sum = self.sum.map(|(node, _)| node);
        self.rectifier.map(|(node, _)| node).or(sum).unwrap_or(self.norm)
    }

    fn covers(&self, id: NodeId) -> bool {
        id == self.norm
            || self.sum.is_some_and(|(node, _)| node == id)
            || self.rectifier.is_some_and(|(node, _)| node == id)
    }
}

fn consumers(graph: &Graph) -> Vec<Vec<NodeId>> {
    let mut consumers = vec![Vec::new(); graph.nodes.len()];
    for (id, node) in graph.iter() {
        node.inputs.iter().for_each(|input| consumers[input.index()].push(id));
    }
    consumers
}

struct Builder<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    shapes: Vec<Shape>,
    consumers: Vec<Vec<NodeId>>,
}

impl Builder<'_> {
    fn node(&self, id: NodeId) -> &Node {
        &self.graph.nodes[id.index()]
    }

    fn shape(&self, id: NodeId) -> Shape {
        self.shapes[id.index()]
    }

    /// The one node that reads this one, if it is one.
    fn only_consumer(&self, id: NodeId) -> Option<NodeId> {
        match self.consumers[id.index()].as_slice() {
            &[consumer] => Some(consumer),
            _ => None,
        }
    }

    fn fusions(&self) -> Vec<Fusion> {
        let mut fusions: Vec<Fusion> = Vec::new();
        let norms = self.graph.iter().filter(|(_, node)| matches!(node.op, Op::BatchNorm(_)));
        // From the back: of two normalisations that meet in a sum, the later one
        // takes it, when the other has been computed.
        for (norm, _) in norms.collect::<Vec<_>>().into_iter().rev() {
            let free = |id: &NodeId| !fusions.iter().any(|fusion| fusion.covers(*id));
            let sum = self.only_consumer(norm).filter(free).and_then(|id| self.residual(id, norm));
            let end = sum.map_or(norm, |(node, _)| node);
            let rectifier = self.only_consumer(end).filter(free).and_then(|id| self.rectifier(id));
            fusions.push(Fusion { norm, sum, rectifier });
        }
        fusions
    }

    /// The sum at `id` and its operand besides `norm`.
    fn residual(&self, id: NodeId, norm: NodeId) -> Option<(NodeId, NodeId)> {
        let node = self.node(id);
        let other = node.inputs.iter().copied().find(|&input| input != norm)?;
        (node.op == Op::Add).then_some((id, other))
    }

    fn rectifier(&self, id: NodeId) -> Option<(NodeId, Rectifier)> {
        match self.node(id).op {
            Op::Activation(Activation::Relu) => Some((id, Rectifier::Relu)),
            Op::Activation(Activation::Relu6) => Some((id, Rectifier::Relu6)),
            _ => None,
        }
    }

    fn fused(
        &self,
        fusion: &Fusion,
        summed: &mut Vec<(NodeId, usize)>,
    ) -> Result<Step, QuantError> {
        let Op::BatchNorm(norm) = &self.node(fusion.norm).op else {
            return Err(self.unsupported(fusion.norm, "is no normalisation"));
        };
        let input = self.node(fusion.norm).inputs[0];
        let is_conv = |op: &Op| matches!(op, Op::Conv2d(conv) if !conv.bias);
        let producer = is_conv(&self.node(input).op).then_some(input);
        summed.extend(producer.map(|node| (node, norm.channels)));
        let layer = self.normalization(fusion, norm, producer)?;
        let residual = fusion.sum.map(|(_, other)| other);
        let inputs = Some(input).into_iter().chain(residual).collect();
        Ok(Step { node: fusion.norm, ..self.step(fusion.last(), inputs, Box::new(layer)) })
    }

    fn normalization(
        &self,
        fusion: &Fusion,
        norm: &BatchNorm,
        producer: Option<NodeId>,
    ) -> Result<Normalization, QuantError> {
        Ok(Normalization {
            node: fusion.norm,
            producer,
            weight: self.position(fusion.norm, ParamKind::NormWeight)?,
            bias: self.position(fusion.norm, ParamKind::NormBias)?,
            momentum: norm.momentum,
            rectifier: fusion.rectifier.map_or(Rectifier::Identity, |(_, kind)| kind),
            statistics: Statistics::new(norm.channels, norm.eps),
            own_sums: ChannelSums::new(norm.channels),
            pixels: 0,
            mask: Vec::new(),
        })
    }

    fn single(&self, id: NodeId, node: &Node) -> Result<Step, QuantError> {
        let x = self.shape(node.inputs[0]);
        let layer: Box<dyn Layer + Send> = match &node.op {
            Op::Conv2d(conv) => Box::new(self.convolution(id, conv, x)?),
            Op::Linear(linear) => {
                let conv = ConvShape {
                    in_channels: linear.in_features,
                    out_channels: linear.out_features,
                    input: [1; 2],
                    kernel: [1; 2],
                    stride: [1; 2],
                    dilation: [1; 2],
                    padding: [0; 4],
                    groups: 1,
                    output: [1; 2],
                };
                let bias = self.weights.position(id, ParamKind::Bias);
                let weight = self.position(id, ParamKind::Weight)?;
                Box::new(Convolution::new(conv, id, weight, bias))
            }
            Op::Activation(kind) => Box::new(Activate(activation_of(*kind))),
            Op::Add => Box::new(Add),
            Op::Multiply => {
                let per_channel = self.shape(node.inputs[1]) != x;
                Box::new(Multiply { per_channel, pixels: x.height * x.width })
            }
            Op::MaxPool(pool) => {
                Box::new(MaxPool { windows: self.windows(id, pool, x), taps: Vec::new() })
            }
            Op::AvgPool(pool) => Box::new(MeanPool(self.windows(id, pool, x))),
            Op::GlobalAvgPool => {
                let all = Pool2d { kernel: [x.height, x.width], stride: [1; 2], padding: [0; 4] };
                Box::new(MeanPool(self.windows(id, &all, x)))
            }
            Op::PadShortcut(pad) => Box::new(Shortcut(PadShortcut {
                input: [x.height, x.width, x.channels],
                out_channels: pad.out_channels,
                stride: pad.stride,
            })),
            Op::Dropout { p } => Box::new(Drop { dropout: Dropout::new(*p), mask: Vec::new() }),
            Op::Flatten => Box::new(Flatten { channels: x.channels, pixels: x.height * x.width }),
            Op::Input | Op::BatchNorm(_) => {
                return Err(self.unsupported(id, "is in no place for it"));
            }
        };
        Ok(self.step(id, node.inputs.clone(), layer))
    }

    fn convolution(&self, id: NodeId, conv: &Conv2d, x: Shape) -> Result<Convolution, QuantError> {
        if conv.scale {
            return Err(
                self.unsupported(id, "has batch normalisation folded in; train it unfolded")
            );
        }
        let input = [x.height, x.width];
        let Some(geometry) = conv.geometry(input) else {
            return Err(self.unsupported(id, "has windows larger than its input"));
        };
        let shape = ConvShape {
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            input,
            kernel: conv.kernel,
            stride: conv.stride,
            dilation: conv.dilation,
            padding: geometry.padding,
            groups: conv.groups,
            output: geometry.output,
        };
        let bias = self.weights.position(id, ParamKind::Bias);
        Ok(Convolution::new(shape, id, self.position(id, ParamKind::Weight)?, bias))
    }

    fn windows(&self, id: NodeId, pool: &Pool2d, x: Shape) -> Windows {
        let output = self.shape(id);
        Windows {
            channels: x.channels,
            input: [x.height, x.width],
            kernel: pool.kernel,
            stride: pool.stride,
            padding: [pool.padding[0], pool.padding[1]],
            output: [output.height, output.width],
        }
    }

    fn step(&self, output: NodeId, inputs: Vec<NodeId>, layer: Box<dyn Layer + Send>) -> Step {
        let len = self.shape(output).numel();
        Step { node: output, layer, inputs, output, len }
    }

    /// A step that reads a node twice reads a copy of it the second time, so
    /// that every gradient has a place of its own.
    fn without_repetition(&self, mut step: Step, nodes: &mut usize) -> Vec<Step> {
        let mut steps = Vec::new();
        for position in 1..step.inputs.len() {
            let (before, rest) = step.inputs.split_at_mut(position);
            if before.contains(&rest[0]) {
                let (node, copy) = (rest[0], NodeId(*nodes as u32));
                let len = self.shape(node).numel();
                let layer = Box::new(Copy);
                steps.push(Step { node, layer, inputs: vec![node], output: copy, len });
                rest[0] = copy;
                *nodes += 1;
            }
        }
        steps.push(step);
        steps
    }

    fn position(&self, node: NodeId, kind: ParamKind) -> Result<usize, QuantError> {
        let position = self.weights.position(node, kind);
        position.ok_or_else(|| self.unsupported(node, "lacks a parameter"))
    }

    fn unsupported(&self, id: NodeId, what: &str) -> QuantError {
        QuantError::Untrainable { layer: self.node(id).name.clone(), reason: what.into() }
    }
}

fn activation_of(kind: Activation) -> activation::Activation {
    match kind {
        Activation::Relu => activation::Activation::Relu,
        Activation::Relu6 => activation::Activation::Relu6,
        Activation::Swish => activation::Activation::Swish,
        Activation::HardSwish => activation::Activation::HardSwish,
        Activation::Sigmoid => activation::Activation::Sigmoid,
    }
}
