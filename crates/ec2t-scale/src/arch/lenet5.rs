//! LeNet-5 for 28×28 images (LeCun et al. 1998) in its ReLU form.
//!
//! Two stages of 5×5 convolutions, each with ReLU, and 2×2 max pooling, then three
//! linear layers. Every layer has a bias and there is no batch normalisation; 61,706
//! parameters for ten classes.
//!
//! Scaling, for which there is no published rule: width multiplies the channels and the
//! hidden units, rounded to the nearest whole number, at least 1. Depth multiplies the
//! convolutions of a stage, one each, rounded up; those behind the first one keep
//! channels and size. They are named `conv1.1`, `conv1.2` … of `conv1`.

use ec2t_format::graph::{Conv2d, GraphBuilder, GraphError, Padding};
use ec2t_format::{Graph, NodeId, Op};

use super::Spec;

/// Output channels, and padding of the first convolution, of each stage.
const STAGES: [(usize, usize); 2] = [(6, 2), (16, 0)];
/// Units of the hidden linear layers.
const HIDDEN: [usize; 2] = [120, 84];
/// Padding that keeps the size.
const SAME: usize = 2;

pub(super) fn build(spec: &Spec) -> Result<Graph, GraphError> {
    let width = spec.scaling.width_multiplier();
    let scaled = |base: usize| (base as f64 * width).round().max(1.0) as usize;
    let mut g = GraphBuilder::new(spec.name, spec.input);
    let mut x = g.input();
    for (stage, (channels, pad)) in (1..).zip(STAGES) {
        x = conv5x5(&mut g, &format!("conv{stage}"), x, scaled(channels), pad);
        x = g.relu(&format!("relu{stage}"), x);
        for i in 1..spec.scaling.blocks(1) {
            x = conv5x5(&mut g, &format!("conv{stage}.{i}"), x, scaled(channels), SAME);
            x = g.relu(&format!("relu{stage}.{i}"), x);
        }
        x = g.max_pool(&format!("pool{stage}"), x, 2);
    }
    x = g.flatten("flatten", x);
    for (i, units) in (1..).zip(HIDDEN) {
        x = g.linear(&format!("fc{i}"), x, scaled(units));
        x = g.relu(&format!("relu{}", i + STAGES.len()), x);
    }
    g.linear("fc3", x, spec.classes);
    g.finish()
}

fn conv5x5(g: &mut GraphBuilder, name: &str, x: NodeId, out: usize, pad: usize) -> NodeId {
    let conv = Conv2d {
        in_channels: g.shape(x).channels,
        out_channels: out,
        kernel: [5; 2],
        stride: [1; 2],
        padding: Padding::all(pad),
        dilation: [1; 2],
        groups: 1,
        bias: true,
        scale: false,
    };
    g.push(name, Op::Conv2d(conv), &[x])
}
