//! The MicroNets of EC2T (Marban et al. 2020, table 1).
//!
//! The plan of ResNet-44 with the block of PyramidNet (Han et al. 2017): batch
//! normalisation stands before the first and after the last convolution, and
//! no ReLU follows the sum. Width and depth scale together; the input does
//! not. Images of 32×32 pass the stages at 32×32, 16×16 and 8×8.
//!
//! For larger images there is the variant of the authors' code, of which they report
//! nothing: seven stages with the channels, blocks and strides of EfficientNet, a stem
//! of stride 2, and a head like EfficientNet's.

use ec2t_format::graph::{GraphBuilder, GraphError};
use ec2t_format::{Graph, NodeId};

use super::Spec;

/// Unscaled output channels, and stride of the first block, of each stage.
const STAGES: [(usize, usize); 3] = [(16, 1), (32, 2), (64, 2)];
/// Unscaled number of blocks per stage.
const BLOCKS: usize = 7;
const DROPOUT: f32 = 0.2;

/// Unscaled output channels of the stem, of the stages and of the head of the variant
/// for larger images; the stages also have unscaled blocks and a stride.
const IMAGE_STEM: usize = 32;
const IMAGE_STAGES: [(usize, usize, usize); 7] =
    [(16, 1, 1), (24, 2, 2), (40, 2, 2), (80, 3, 2), (112, 3, 1), (192, 4, 2), (320, 1, 1)];
const IMAGE_HEAD: usize = 1280;
const IMAGE_DROPOUT: f32 = 0.3;

pub(super) fn build(spec: &Spec) -> Result<Graph, GraphError> {
    let blocks = spec.scaling.blocks(BLOCKS);
    let mut g = GraphBuilder::new(spec.name, spec.input);
    let x = g.conv("conv1", g.input(), spec.scaling.channels(STAGES[0].0), 3, 1);
    let x = g.batch_norm("bn1", x);
    let mut x = g.relu("relu1", x);
    for (stage, (channels, stride)) in (1..).zip(STAGES) {
        let channels = spec.scaling.channels(channels);
        for i in 0..blocks {
            let stride = if i == 0 { stride } else { 1 };
            x = block(&mut g, &format!("layer{stage}.{i}"), x, [channels, stride], DROPOUT);
        }
    }
    x = g.relu("relu2", x);
    x = g.global_avg_pool("pool", x);
    x = g.flatten("flatten", x);
    g.linear("linear", x, spec.classes);
    g.finish()
}

/// The variant for larger images.
pub(super) fn build_image(spec: &Spec) -> Result<Graph, GraphError> {
    let scaling = spec.scaling;
    let mut g = GraphBuilder::new(spec.name, spec.input);
    let x = g.conv("conv1", g.input(), scaling.channels(IMAGE_STEM), 3, 2);
    let x = g.batch_norm("bn1", x);
    let mut x = g.relu("relu1", x);
    for (stage, (channels, blocks, stride)) in (1..).zip(IMAGE_STAGES) {
        let channels = scaling.channels(channels);
        for i in 0..scaling.blocks(blocks) {
            let stride = if i == 0 { stride } else { 1 };
            x = block(&mut g, &format!("layer{stage}.{i}"), x, [channels, stride], 0.0);
        }
    }
    x = g.conv("conv2", x, scaling.channels(IMAGE_HEAD), 1, 1);
    x = g.batch_norm("bn2", x);
    x = g.relu("relu2", x);
    x = g.global_avg_pool("pool", x);
    x = g.flatten("flatten", x);
    x = g.dropout("dropout", x, IMAGE_DROPOUT);
    g.linear("linear", x, spec.classes);
    g.finish()
}

/// Norm, convolution, norm, ReLU, dropout, convolution, norm, and a sum.
fn block(
    g: &mut GraphBuilder,
    name: &str,
    input: NodeId,
    [channels, stride]: [usize; 2],
    dropout: f32,
) -> NodeId {
    let x = g.batch_norm(&format!("{name}.bn0"), input);
    let x = g.conv(&format!("{name}.conv1"), x, channels, 3, stride);
    let x = g.batch_norm(&format!("{name}.bn1"), x);
    let x = g.relu(&format!("{name}.relu1"), x);
    let x = g.dropout(&format!("{name}.dropout"), x, dropout);
    let x = g.conv(&format!("{name}.conv2"), x, channels, 3, 1);
    let x = g.batch_norm(&format!("{name}.bn2"), x);
    let shortcut = shortcut(g, name, input, channels, stride);
    g.add(&format!("{name}.add"), x, shortcut)
}

/// The input itself, or a 1×1 convolution of it where its shape changes.
fn shortcut(
    g: &mut GraphBuilder,
    name: &str,
    input: NodeId,
    channels: usize,
    stride: usize,
) -> NodeId {
    if stride == 1 && g.shape(input).channels == channels {
        return input;
    }
    let x = g.conv(&format!("{name}.shortcut.conv"), input, channels, 1, stride);
    g.batch_norm(&format!("{name}.shortcut.bn"), x)
}
