//! Other names of layers that a graph has too.
//!
//! EfficientNet-PyTorch by lukemelas, and efficientnet-lite-pytorch after it, number
//! all blocks in one list: `_conv_stem`, `_blocks.7._project_conv`, `_fc`. Their layers
//! stand in the order of the graph's, so that the graph's names follow from their
//! places, whatever they are.
//!
//! These networks pad as TensorFlow does. A graph that pads otherwise would compute
//! something else with their weights: it gets no names, and no network.

use std::collections::BTreeMap;

use ec2t_format::graph::Padding;
use ec2t_format::{Graph, Op};

use crate::state_dict::StateDict;

const STEM: [&str; 2] = ["_conv_stem", "_bn0"];
/// Layers of a block, of which some blocks lack the first two, and some networks those
/// of squeeze and excitation.
const BLOCK: [&str; 8] = [
    "_expand_conv",
    "_bn0",
    "_depthwise_conv",
    "_bn1",
    "_se_reduce",
    "_se_expand",
    "_project_conv",
    "_bn2",
];
const HEAD: [&str; 3] = ["_conv_head", "_bn1", "_fc"];

/// The tensors under the graph's names, where they have those above and there are as
/// many layers.
pub(crate) fn rename(graph: &Graph, state: StateDict) -> StateDict {
    let layers = layers(&state);
    let nodes = graph.iter().filter(|(id, node)| !node.params(*id).is_empty());
    let nodes: Vec<&str> = nodes.map(|(_, node)| node.name.as_str()).collect();
    if layers.len() != nodes.len() || !pads_as_tensorflow(graph) {
        return state;
    }
    let names: BTreeMap<String, &str> = layers.into_iter().zip(nodes).collect();
    let renamed = |name: String| {
        let new = name
            .rsplit_once('.')
            .and_then(|(layer, suffix)| names.get(layer).map(|node| format!("{node}.{suffix}")));
        new.unwrap_or(name)
    };
    state.into_tensors().into_iter().map(|(name, tensor)| (renamed(name), tensor)).collect()
}

/// The layers with these names, in their order; none where the stem is not there.
fn layers(state: &StateDict) -> Vec<String> {
    let has = |layer: &str| state.get(&format!("{layer}.weight")).is_some();
    if !has(STEM[0]) {
        return Vec::new();
    }
    let in_block = |block: usize| {
        let layers = BLOCK.map(|layer| format!("_blocks.{block}.{layer}"));
        layers.into_iter().filter(|layer| has(layer)).collect::<Vec<_>>()
    };
    let blocks = (0..).map(in_block).take_while(|layers| !layers.is_empty()).flatten();
    let around = |layers: &'static [&str]| layers.iter().map(|layer| (*layer).to_owned());
    around(&STEM).chain(blocks).chain(around(&HEAD)).collect()
}

fn pads_as_tensorflow(graph: &Graph) -> bool {
    graph.nodes.iter().all(|node| match &node.op {
        Op::Conv2d(conv) => conv.padding == Padding::Same || conv.kernel == [1, 1],
        _ => true,
    })
}
