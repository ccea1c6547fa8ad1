//! MobileNetV2 (Sandler et al. 2018), as torchvision builds it.
//!
//! Inverted residuals with ReLU6. Its width can be scaled as in torchvision,
//! where the head never becomes narrower than it is at width 1, and its depth
//! as in EfficientNet. Names are torchvision's: `features.0.0`,
//! `features.1.conv.0.0`, `features.2.conv.2` … `classifier.1`.

use ec2t_format::graph::{Activation, GraphBuilder, GraphError};
use ec2t_format::{Graph, NodeId};

use super::Spec;
use super::inverted::{Block, Filter, Layers, Norm, Stage, Style};
use crate::scaling::Scaling;

/// Output channels of the stem.
const STEM: usize = 32;
/// Expansion, kernel, stride, channels, blocks.
const STAGES: [Stage; 7] = [
    Stage::new([1, 3, 1, 16, 1]),
    Stage::new([6, 3, 2, 24, 2]),
    Stage::new([6, 3, 2, 32, 3]),
    Stage::new([6, 3, 2, 64, 4]),
    Stage::new([6, 3, 1, 96, 3]),
    Stage::new([6, 3, 2, 160, 3]),
    Stage::new([6, 3, 1, 320, 1]),
];
/// Output channels of the last convolution.
const HEAD: usize = 1280;
const DROPOUT: f32 = 0.2;

pub(super) fn build(spec: &Spec) -> Result<Graph, GraphError> {
    let scaling = spec.scaling;
    let style = Style { activation: Activation::Relu6, same_padding: false, norm: Norm::PYTORCH };
    let mut net = Layers { g: GraphBuilder::new(spec.name, spec.input), style };
    let mut channels = scaling.channels(STEM);
    let mut x = net.unit("features.0", NodeId::INPUT, Filter::stem(channels));
    let mut number = 1;
    for stage in &STAGES {
        let stage = stage.scaled(scaling);
        for plan in stage.blocks(channels) {
            x = block(&mut net, &format!("features.{number}"), x, &plan);
            number += 1;
        }
        channels = stage.channels;
    }
    let wider = Scaling { width: scaling.width_multiplier().max(1.0), ..Scaling::default() };
    x = net.unit(&format!("features.{number}"), x, Filter::pointwise(wider.channels(HEAD)));
    net.classifier(x, DROPOUT, spec.classes);
    net.g.finish()
}

/// Widening, depthwise convolution, narrowing.
fn block(net: &mut Layers, name: &str, input: NodeId, plan: &Block) -> NodeId {
    let mut layers = (0..).map(|i| format!("{name}.conv.{i}"));
    let mut next = || layers.next().unwrap_or_default();
    let mut x = input;
    if plan.expands() {
        x = net.unit(&next(), x, Filter::pointwise(plan.hidden));
    }
    x = net.unit(&next(), x, plan.depthwise());
    x = net.conv([&next(), &next()], x, Filter::pointwise(plan.output));
    match plan.is_residual() {
        true => net.g.add(&format!("{name}.add"), x, input),
        false => x,
    }
}
