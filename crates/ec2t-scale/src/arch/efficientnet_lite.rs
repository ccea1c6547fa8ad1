//! EfficientNet-Lite0 to Lite4, which do without what small devices lack.
//!
//! The stages of EfficientNet with ReLU6 for swish and without squeeze and
//! excitation. Scaling leaves the stem, the head, and the number of blocks of
//! the first and the last stage as they are. Names are those of timm's
//! `tf_efficientnet_lite0`: `conv_stem`, `blocks.0.0.conv_dw`, `blocks.1.0.bn3`
//! … `classifier`; padding is TensorFlow's "same". Stochastic depth is left
//! out, as in the other EfficientNets.

use ec2t_format::graph::{Activation, GraphBuilder, GraphError};
use ec2t_format::{Graph, NodeId};

use super::Spec;
use super::efficientnet::{STAGES, STEM};
use super::inverted::{Block, Filter, Layers, Norm, Stage, Style};
use crate::scaling::Scaling;

/// Output channels of the last convolution.
const HEAD: usize = 1280;
/// TensorFlow's eps, timm's momentum.
const NORM: Norm = Norm { eps: 1e-3, momentum: 0.1 };

/// What tells one from another, besides the size of its images.
pub(super) struct Variant {
    width: f64,
    depth: f64,
    dropout: f32,
}

/// Lite0 to Lite4.
pub(super) static LITE: [Variant; 5] = [
    Variant { width: 1.0, depth: 1.0, dropout: 0.2 },
    Variant { width: 1.0, depth: 1.1, dropout: 0.2 },
    Variant { width: 1.1, depth: 1.2, dropout: 0.3 },
    Variant { width: 1.2, depth: 1.4, dropout: 0.3 },
    Variant { width: 1.4, depth: 1.8, dropout: 0.3 },
];

pub(super) fn build(spec: &Spec, variant: &Variant) -> Result<Graph, GraphError> {
    let scaling = spec.scaling.times(variant.depth, variant.width);
    let style = Style { activation: Activation::Relu6, same_padding: true, norm: NORM };
    let mut net = Layers { g: GraphBuilder::new(spec.name, spec.input), style };
    let mut channels = STEM;
    let mut x = unit(&mut net, ["conv_stem", "bn1"], NodeId::INPUT, Filter::stem(channels));
    for (number, stage) in stages(scaling).enumerate() {
        for (i, plan) in stage.blocks(channels).enumerate() {
            x = block(&mut net, &format!("blocks.{number}.{i}"), x, &plan);
        }
        channels = stage.channels;
    }
    x = unit(&mut net, ["conv_head", "bn2"], x, Filter::pointwise(HEAD));
    let mut g = net.g;
    x = g.global_avg_pool("global_pool.pool", x);
    x = g.flatten("global_pool.flatten", x);
    x = g.dropout("dropout", x, variant.dropout);
    g.linear("classifier", x, spec.classes);
    g.finish()
}

fn stages(scaling: Scaling) -> impl Iterator<Item = Stage> {
    let last = STAGES.len() - 1;
    STAGES.iter().enumerate().map(move |(i, stage)| {
        let scaled = stage.scaled(scaling);
        if i == 0 || i == last { Stage { blocks: stage.blocks, ..scaled } } else { scaled }
    })
}

/// Widening, depthwise convolution, narrowing.
fn block(net: &mut Layers, name: &str, input: NodeId, plan: &Block) -> NodeId {
    let layer = |layer: &str| format!("{name}.{layer}");
    let mut x = input;
    let [depthwise, narrow] = if plan.expands() {
        let names = [&*layer("conv_pw"), &*layer("bn1")];
        x = unit(net, names, x, Filter::pointwise(plan.hidden));
        [["conv_dw", "bn2"], ["conv_pwl", "bn3"]]
    } else {
        [["conv_dw", "bn1"], ["conv_pw", "bn2"]]
    };
    let [conv, norm] = depthwise.map(layer);
    x = unit(net, [&conv, &norm], x, plan.depthwise());
    let [conv, norm] = narrow.map(layer);
    x = net.conv([&conv, &norm], x, Filter::pointwise(plan.output));
    match plan.is_residual() {
        true => net.g.add(&layer("add"), x, input),
        false => x,
    }
}

/// Convolution, batch normalisation and the activation that timm has inside it.
fn unit(net: &mut Layers, names: [&str; 2], x: NodeId, filter: Filter) -> NodeId {
    let x = net.conv(names, x, filter);
    net.activation(&format!("{}.act", names[1]), x)
}
