//! ResNet-18, -34 and -50 for ImageNet (He et al. 2015, table 1), as
//! torchvision builds them.
//!
//! A 7×7 stem and a 3×3 max pooling, both of stride 2, and four stages of 64 to
//! 512 channels. Blocks have two 3×3 convolutions or, in ResNet-50, are
//! bottlenecks: 1×1, 3×3 and 1×1, where the stride is in the 3×3 and the output
//! four times as wide. Shortcuts that change the shape are 1×1 convolutions.
//! Names are torchvision's: `conv1`, `layer1.0.conv1` …
//! `layer4.0.downsample.0`, `fc`.

use ec2t_format::graph::{GraphBuilder, GraphError, Pool2d};
use ec2t_format::{Graph, NodeId, Op};

use super::Spec;

/// Channels of the stem and of the first stage; they double in each next one.
const CHANNELS: usize = 64;
/// Channels of a bottleneck's output over those inside it.
const BOTTLENECK: usize = 4;
const STEM_POOL: Pool2d = Pool2d { kernel: [3; 2], stride: [2; 2], padding: [1; 4] };

/// A convolution of a block: kernel, stride and output channels.
type Filter = [usize; 3];

/// Blocks of two 3×3 convolutions.
pub(super) fn basic(spec: &Spec, blocks: [usize; 4]) -> Result<Graph, GraphError> {
    build(spec, blocks, |channels, stride| vec![[3, stride, channels], [3, 1, channels]])
}

/// Blocks of a 3×3 convolution between two of 1×1.
pub(super) fn bottleneck(spec: &Spec, blocks: [usize; 4]) -> Result<Graph, GraphError> {
    build(spec, blocks, |channels, stride| {
        vec![[1, 1, channels], [3, stride, channels], [1, 1, BOTTLENECK * channels]]
    })
}

/// `filters` gives a block's convolutions by its channels and stride.
fn build(
    spec: &Spec,
    blocks: [usize; 4],
    filters: fn(usize, usize) -> Vec<Filter>,
) -> Result<Graph, GraphError> {
    let mut g = GraphBuilder::new(spec.name, spec.input);
    let x = g.conv("conv1", NodeId::INPUT, CHANNELS, 7, 2);
    let x = g.batch_norm("bn1", x);
    let x = g.relu("relu", x);
    let mut x = g.push("maxpool", Op::MaxPool(STEM_POOL), &[x]);
    for (stage, blocks) in blocks.into_iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            let filters = filters(CHANNELS << stage, stride);
            x = block(&mut g, &format!("layer{}.{i}", stage + 1), x, &filters);
        }
    }
    let x = g.global_avg_pool("avgpool", x);
    let x = g.flatten("flatten", x);
    g.linear("fc", x, spec.classes);
    g.finish()
}

/// Convolutions around which a shortcut leads; ReLU after the sum.
fn block(g: &mut GraphBuilder, name: &str, input: NodeId, filters: &[Filter]) -> NodeId {
    let mut x = input;
    for (i, &[kernel, stride, channels]) in (1..).zip(filters) {
        if i > 1 {
            x = g.relu(&format!("{name}.relu{}", i - 1), x);
        }
        x = g.conv(&format!("{name}.conv{i}"), x, channels, kernel, stride);
        x = g.batch_norm(&format!("{name}.bn{i}"), x);
    }
    let channels = g.shape(x).channels;
    let stride = filters.iter().map(|[_, stride, _]| stride).product();
    let shortcut = if stride == 1 && g.shape(input).channels == channels {
        input
    } else {
        let short = g.conv(&format!("{name}.downsample.0"), input, channels, 1, stride);
        g.batch_norm(&format!("{name}.downsample.1"), short)
    };
    let x = g.add(&format!("{name}.add"), x, shortcut);
    g.relu(&format!("{name}.relu"), x)
}
