//! LeNet-5 for 28×28 images (LeCun et al. 1998) in its ReLU form.
//!
//! Two 5×5 convolutions, each with ReLU and 2×2 max pooling, then three linear
//! layers. Every layer has a bias and there is no batch normalisation; 61,706
//! parameters for ten classes.

use ec2t_format::graph::{Conv2d, GraphBuilder, GraphError, Padding};
use ec2t_format::{Graph, NodeId, Op};

use super::Spec;

pub(super) fn build(spec: &Spec) -> Result<Graph, GraphError> {
    let mut g = GraphBuilder::new(spec.name, spec.input);
    let x = conv5x5(&mut g, "conv1", NodeId::INPUT, 6, 2);
    let x = g.relu("relu1", x);
    let x = g.max_pool("pool1", x, 2);
    let x = conv5x5(&mut g, "conv2", x, 16, 0);
    let x = g.relu("relu2", x);
    let x = g.max_pool("pool2", x, 2);
    let x = g.flatten("flatten", x);
    let x = g.linear("fc1", x, 120);
    let x = g.relu("relu3", x);
    let x = g.linear("fc2", x, 84);
    let x = g.relu("relu4", x);
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
