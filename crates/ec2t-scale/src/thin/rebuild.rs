//! Builds the network that is left.

use std::collections::BTreeMap;

use ec2t_format::graph::{Node, NodeId, Param, ParamKind};
use ec2t_format::{DenseTensor, Graph, Network, Op, Tensor, TernaryTensor};

use super::classes::Grouping;
use super::live::Live;

/// The network with those channels only that are live.
pub(super) fn rebuild(network: &Network, live: &Live<'_>) -> Network {
    let old = network.graph();
    let nodes = old.iter().map(|(id, node)| Node { op: op(live, id, node), ..node.clone() });
    let graph = Graph { nodes: nodes.collect(), ..old.clone() };
    let tensors: BTreeMap<String, Tensor> = (old.params().into_iter())
        .map(|param| {
            let tensor = &network.tensors()[&param.name];
            (param.name.clone(), kept(live, old, &param, tensor))
        })
        .collect();
    let mut thinned = Network::new(graph, tensors).expect("all layers lose the same channels");
    thinned.metadata = network.metadata.clone();
    thinned.with_grids(network.grids().clone()).expect("the same layers")
}

/// A node's operation on the channels that are left.
fn op(live: &Live<'_>, id: NodeId, node: &Node) -> Op {
    let count = |kept: Vec<bool>| kept.into_iter().filter(|kept| *kept).count();
    let outputs = || count(live.channels(id));
    match node.op.clone() {
        Op::Conv2d(mut conv) => {
            match Grouping::of(&conv) {
                Grouping::Depthwise => conv.groups = outputs(),
                Grouping::Full | Grouping::Other => {}
            }
            conv.in_channels = count(live.channels(node.inputs[0]));
            conv.out_channels = outputs();
            Op::Conv2d(conv)
        }
        Op::Linear(mut linear) => {
            linear.in_features = count(live.values(node.inputs[0]));
            linear.out_features = outputs();
            Op::Linear(linear)
        }
        Op::BatchNorm(mut norm) => {
            norm.channels = outputs();
            Op::BatchNorm(norm)
        }
        other => other,
    }
}

/// What is left of a tensor, whose first dimension are outputs and whose second, if
/// it is of weights, inputs.
fn kept(live: &Live<'_>, graph: &Graph, param: &Param, tensor: &Tensor) -> Tensor {
    let node = &graph.nodes[param.node.index()];
    let outputs = live.channels(param.node);
    let inputs = match &node.op {
        _ if param.kind != ParamKind::Weight => vec![true],
        Op::Conv2d(conv) if Grouping::of(conv) == Grouping::Full => live.channels(node.inputs[0]),
        Op::Linear(_) => live.values(node.inputs[0]),
        _ => vec![true; param.shape[1]],
    };
    let taps = param.numel() / (outputs.len() * inputs.len());
    let is_kept: Vec<bool> = (outputs.iter())
        .flat_map(|output| inputs.iter().map(move |input| *output && *input))
        .flat_map(|kept| std::iter::repeat_n(kept, taps))
        .collect();
    let mut shape = param.shape.clone();
    for (dimension, kept) in shape.iter_mut().zip([&outputs, &inputs]) {
        *dimension = kept.iter().filter(|kept| **kept).count();
    }
    select(tensor, shape, &is_kept)
}

/// The values that are kept, as a tensor of this shape.
fn select(tensor: &Tensor, shape: Vec<usize>, is_kept: &[bool]) -> Tensor {
    fn of<T: Copy>(values: &[T], is_kept: &[bool]) -> Vec<T> {
        values.iter().zip(is_kept).filter(|(_, kept)| **kept).map(|(value, _)| *value).collect()
    }
    match tensor {
        Tensor::Dense(dense) => {
            let kept = DenseTensor::new(shape, of(dense.data(), is_kept));
            let kept = kept.expect("values of a tensor, as many as the shape has");
            kept.with_storage(dense.storage()).into()
        }
        Tensor::Ternary(ternary) => {
            let codes = of(ternary.codes(), is_kept);
            let kept = TernaryTensor::new(shape, codes, ternary.w_neg(), ternary.w_pos());
            kept.expect("codes of a tensor, as many as the shape has").into()
        }
    }
}
