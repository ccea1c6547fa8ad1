//! The residual networks for CIFAR (He et al. 2015, section 4.2).
//!
//! A 3×3 stem and three stages of 16, 32 and 64 channels. With n blocks of two
//! convolutions per stage the network has 6n + 2 layers. Width and depth can
//! be scaled: ResNet-56 is ResNet-20 with a depth of 3. Shortcuts are of
//! option A and have no parameters. Layers have the names of the common
//! PyTorch checkpoints: `conv1`, `layer1.0.conv1` … `layer3.2.bn2`, `linear`.

use ec2t_format::graph::{GraphBuilder, GraphError};
use ec2t_format::{Graph, NodeId};

use super::Spec;

/// Output channels, and stride of the first block, of each stage.
const STAGES: [(usize, usize); 3] = [(16, 1), (32, 2), (64, 2)];

pub(super) fn build(spec: &Spec, blocks_per_stage: usize) -> Result<Graph, GraphError> {
    let mut g = GraphBuilder::new(spec.name, spec.input);
    let x = g.conv("conv1", g.input(), spec.scaling.channels(STAGES[0].0), 3, 1);
    let x = g.batch_norm("bn1", x);
    let mut x = g.relu("relu1", x);
    for (stage, (channels, stride)) in (1..).zip(STAGES) {
        let channels = spec.scaling.channels(channels);
        for i in 0..spec.scaling.blocks(blocks_per_stage) {
            let stride = if i == 0 { stride } else { 1 };
            x = block(&mut g, &format!("layer{stage}.{i}"), x, channels, stride);
        }
    }
    x = g.global_avg_pool("pool", x);
    x = g.flatten("flatten", x);
    g.linear("linear", x, spec.classes);
    g.finish()
}

/// Two convolutions around which a shortcut leads; ReLU after the sum.
fn block(
    g: &mut GraphBuilder,
    name: &str,
    input: NodeId,
    channels: usize,
    stride: usize,
) -> NodeId {
    let x = g.conv(&format!("{name}.conv1"), input, channels, 3, stride);
    let x = g.batch_norm(&format!("{name}.bn1"), x);
    let x = g.relu(&format!("{name}.relu1"), x);
    let x = g.conv(&format!("{name}.conv2"), x, channels, 3, 1);
    let x = g.batch_norm(&format!("{name}.bn2"), x);
    let changes = stride != 1 || g.shape(input).channels != channels;
    let shortcut = match changes {
        true => g.pad_shortcut(&format!("{name}.shortcut"), input, channels, stride),
        false => input,
    };
    let x = g.add(&format!("{name}.add"), x, shortcut);
    g.relu(&format!("{name}.relu2"), x)
}
