//! EfficientNet-B0 to B7 (Tan and Le 2019), as torchvision builds them.
//!
//! Inverted residuals whose depthwise convolution is followed by squeeze and
//! excitation; swish throughout. B1 to B7 are B0 with other multipliers of
//! width and depth, and all can be scaled further. Names are torchvision's:
//! `features.0.0`, `features.1.0.block.0.0` … `classifier.1`, and so is the
//! padding of half the kernel, where the original has TensorFlow's "same". Those of
//! `tf_` have that, at every size of the image, and TensorFlow's numbers of batch
//! normalisation: the networks that lukemelas' EfficientNet-PyTorch has.
//!
//! Stochastic depth is left out: it has no parameters and does nothing once a
//! network is trained.

use ec2t_format::graph::{Activation, Conv2d, GraphBuilder, GraphError, Padding};
use ec2t_format::{Graph, NodeId, Op};

use super::Spec;
use super::inverted::{Block, Filter, Layers, Norm, Stage, Style};

/// Output channels of the stem.
pub(super) const STEM: usize = 32;
/// The stages of B0: expansion, kernel, stride, channels, blocks.
pub(super) const STAGES: [Stage; 7] = [
    Stage::new([1, 3, 1, 16, 1]),
    Stage::new([6, 3, 2, 24, 2]),
    Stage::new([6, 5, 2, 40, 2]),
    Stage::new([6, 3, 2, 80, 3]),
    Stage::new([6, 5, 1, 112, 3]),
    Stage::new([6, 5, 2, 192, 4]),
    Stage::new([6, 3, 1, 320, 1]),
];
/// Output channels of the last convolution over those of the last stage.
const HEAD: usize = 4;
/// Channels of a block's input over those inside its squeeze and excitation.
const SQUEEZE: usize = 4;

/// What tells one EfficientNet from another, besides the size of its images.
pub(super) struct Variant {
    width: f64,
    depth: f64,
    dropout: f32,
    same_padding: bool,
    norm: Norm,
}

impl Variant {
    const fn pytorch(width: f64, depth: f64, dropout: f32) -> Self {
        Self { width, depth, dropout, same_padding: false, norm: Norm::PYTORCH }
    }

    /// With TensorFlow's numbers of batch normalisation.
    const fn converted(width: f64, depth: f64, dropout: f32) -> Self {
        Self { norm: TENSORFLOW, ..Self::pytorch(width, depth, dropout) }
    }

    /// With TensorFlow's padding too.
    const fn original(&self) -> Self {
        let Self { width, depth, dropout, .. } = *self;
        Self { same_padding: true, ..Self::converted(width, depth, dropout) }
    }
}

/// B0 to B7. Torchvision's B5, B6 and B7 come from TensorFlow, and keep the
/// numbers of its batch normalisation.
pub(super) const B: [Variant; 8] = [
    Variant::pytorch(1.0, 1.0, 0.2),
    Variant::pytorch(1.0, 1.1, 0.2),
    Variant::pytorch(1.1, 1.2, 0.3),
    Variant::pytorch(1.2, 1.4, 0.3),
    Variant::pytorch(1.4, 1.8, 0.4),
    Variant::converted(1.6, 2.2, 0.4),
    Variant::converted(1.8, 2.6, 0.5),
    Variant::converted(2.0, 3.1, 0.5),
];

/// The original B0 to B7.
pub(super) static TF_B: [Variant; 8] = [
    B[0].original(),
    B[1].original(),
    B[2].original(),
    B[3].original(),
    B[4].original(),
    B[5].original(),
    B[6].original(),
    B[7].original(),
];

const TENSORFLOW: Norm = Norm { eps: 1e-3, momentum: 0.01 };

pub(super) fn build(spec: &Spec, variant: &Variant) -> Result<Graph, GraphError> {
    let scaling = spec.scaling.times(variant.depth, variant.width);
    let Variant { same_padding, norm, .. } = *variant;
    let style = Style { activation: Activation::Swish, same_padding, norm };
    let mut net = Layers { g: GraphBuilder::new(spec.name, spec.input), style };
    let mut channels = scaling.channels(STEM);
    let mut x = net.unit("features.0", NodeId::INPUT, Filter::stem(channels));
    for (number, stage) in (1..).zip(&STAGES) {
        let stage = stage.scaled(scaling);
        for (i, plan) in stage.blocks(channels).enumerate() {
            x = block(&mut net, &format!("features.{number}.{i}"), x, &plan);
        }
        channels = stage.channels;
    }
    x = net.unit("features.8", x, Filter::pointwise(HEAD * channels));
    net.classifier(x, variant.dropout, spec.classes);
    net.g.finish()
}

/// Widening, depthwise convolution, squeeze and excitation, narrowing.
fn block(net: &mut Layers, name: &str, input: NodeId, plan: &Block) -> NodeId {
    let mut layers = (0..).map(|i| format!("{name}.block.{i}"));
    let mut next = || layers.next().unwrap_or_default();
    let mut x = input;
    if plan.expands() {
        x = net.unit(&next(), x, Filter::pointwise(plan.hidden));
    }
    x = net.unit(&next(), x, plan.depthwise());
    x = squeeze_excite(&mut net.g, &next(), x, (plan.input / SQUEEZE).max(1));
    x = net.conv_norm(&next(), x, Filter::pointwise(plan.output));
    match plan.is_residual() {
        true => net.g.add(&format!("{name}.add"), x, input),
        false => x,
    }
}

/// Multiplies each channel by a factor that is computed from the means of all.
fn squeeze_excite(g: &mut GraphBuilder, name: &str, input: NodeId, squeezed: usize) -> NodeId {
    let channels = g.shape(input).channels;
    let x = g.global_avg_pool(&format!("{name}.avgpool"), input);
    let x = conv1x1(g, &format!("{name}.fc1"), x, squeezed);
    let x = g.activation(&format!("{name}.activation"), x, Activation::Swish);
    let x = conv1x1(g, &format!("{name}.fc2"), x, channels);
    let x = g.activation(&format!("{name}.scale_activation"), x, Activation::Sigmoid);
    g.multiply(&format!("{name}.multiply"), input, x)
}

/// 1×1 convolution with bias.
fn conv1x1(g: &mut GraphBuilder, name: &str, x: NodeId, out: usize) -> NodeId {
    let conv = Conv2d {
        in_channels: g.shape(x).channels,
        out_channels: out,
        kernel: [1; 2],
        stride: [1; 2],
        padding: Padding::all(0),
        dilation: [1; 2],
        groups: 1,
        bias: true,
        scale: false,
    };
    g.push(name, Op::Conv2d(conv), &[x])
}
