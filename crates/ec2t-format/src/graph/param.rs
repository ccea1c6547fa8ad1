//! The tensors that a graph needs: names, shapes and what they are for.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Graph, Node, NodeId, Op};

/// A tensor that a node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// `NODE.SUFFIX`, as in a PyTorch state dictionary.
    pub name: String,
    /// The node that reads it.
    pub node: NodeId,
    /// What it is for.
    pub kind: ParamKind,
    /// Its shape; OIHW for convolutions.
    pub shape: Vec<usize>,
}

impl Param {
    /// Number of values.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Convolution or linear weights: what can be ternary.
    Weight,
    /// Added per output channel.
    Bias,
    /// Multiplied per output channel (folded batch normalisation).
    Scale,
    /// Trained scale of a batch normalisation.
    NormWeight,
    /// Trained shift of a batch normalisation.
    NormBias,
    /// Running mean of a batch normalisation; not trained by gradients.
    RunningMean,
    /// Running variance of a batch normalisation; not trained by gradients.
    RunningVar,
}

impl ParamKind {
    /// Whether gradients train it; running statistics are measured instead.
    pub fn is_trainable(self) -> bool {
        !matches!(self, ParamKind::RunningMean | ParamKind::RunningVar)
    }
}

impl Node {
    /// The tensors that this node needs, in their fixed order.
    pub fn params(&self, id: NodeId) -> Vec<Param> {
        let param = |suffix: &str, kind, shape: &[usize]| Param {
            name: format!("{}.{suffix}", self.name),
            node: id,
            kind,
            shape: shape.to_vec(),
        };
        let mut params = Vec::new();
        match &self.op {
            Op::Conv2d(conv) => {
                let inputs = conv.in_channels / conv.groups.max(1);
                let [kh, kw] = conv.kernel;
                let shape = [conv.out_channels, inputs, kh, kw];
                params.push(param("weight", ParamKind::Weight, &shape));
                if conv.scale {
                    params.push(param("scale", ParamKind::Scale, &[conv.out_channels]));
                }
                if conv.bias {
                    params.push(param("bias", ParamKind::Bias, &[conv.out_channels]));
                }
            }
            Op::Linear(linear) => {
                let shape = [linear.out_features, linear.in_features];
                params.push(param("weight", ParamKind::Weight, &shape));
                if linear.bias {
                    params.push(param("bias", ParamKind::Bias, &[linear.out_features]));
                }
            }
            Op::BatchNorm(norm) => {
                let shape = [norm.channels];
                params.push(param("weight", ParamKind::NormWeight, &shape));
                params.push(param("bias", ParamKind::NormBias, &shape));
                params.push(param("running_mean", ParamKind::RunningMean, &shape));
                params.push(param("running_var", ParamKind::RunningVar, &shape));
            }
            _ => {}
        }
        params
    }
}

impl Graph {
    /// Every tensor that the graph needs, in the order of its nodes.
    pub fn params(&self) -> Vec<Param> {
        self.iter().flat_map(|(id, node)| node.params(id)).collect()
    }

    /// Number of trained values: all but running statistics, as PyTorch counts.
    pub fn parameter_count(&self) -> usize {
        self.params().iter().filter(|param| param.kind.is_trainable()).map(Param::numel).sum()
    }
}
