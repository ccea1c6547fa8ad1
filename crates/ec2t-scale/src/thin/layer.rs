//! The weights of a layer, and the channels that they belong to.

use ec2t_format::graph::NodeId;
use ec2t_format::{Network, Op, Tensor};

use super::classes::Classes;

/// A convolution or linear layer with its weights.
pub(super) struct Layer<'a> {
    classes: &'a Classes,
    input: NodeId,
    weights: Vec<f32>,
    /// Weights of each output.
    row: usize,
    /// Weights between an output and an input.
    taps: usize,
    /// Inputs of each group, and outputs.
    group: [usize; 2],
    /// Whether inputs are values instead of channels.
    is_linear: bool,
}

impl<'a> Layer<'a> {
    /// # Panics
    /// Where the node has no weights.
    pub(super) fn of(network: &Network, classes: &'a Classes, id: NodeId) -> Self {
        let node = &network.graph().nodes[id.index()];
        let weights = network.tensor(&format!("{}.weight", node.name)).map(Tensor::to_f32);
        let (group, taps) = match &node.op {
            Op::Conv2d(conv) => {
                let group = [conv.in_channels, conv.out_channels].map(|n| n / conv.groups);
                (group, conv.kernel[0] * conv.kernel[1])
            }
            Op::Linear(linear) => ([linear.in_features, linear.out_features], 1),
            _ => unreachable!("only convolutions and linear layers have weights"),
        };
        Self {
            classes,
            input: node.inputs[0],
            weights: weights.expect("a network has the tensors of its graph"),
            row: group[0] * taps,
            taps,
            group,
            is_linear: matches!(node.op, Op::Linear(_)),
        }
    }

    /// Weights of each output.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.weights.chunks_exact(self.row)
    }

    /// Weights of one output.
    pub(super) fn row(&self, output: usize) -> &[f32] {
        &self.weights[output * self.row..][..self.row]
    }

    /// The slot that each weight of an output reads.
    pub(super) fn reads(&self, output: usize) -> impl Iterator<Item = usize> {
        let first = output / self.group[1] * self.group[0];
        (0..self.row).map(move |weight| {
            let input = first + weight / self.taps;
            match self.is_linear {
                true => self.classes.of_value(self.input, input),
                false => self.classes.of_channel(self.input, input),
            }
        })
    }
}
