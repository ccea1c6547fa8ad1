//! A small network for 8×8 images of handwritten digits.
//!
//! Five 3×3 convolutions, each with batch normalisation and ReLU, then a mean
//! over all pixels and a linear layer. Nearly all of its 70,330 parameters are
//! in the four convolutions between stem and classifier, which are those that
//! become ternary.

use ec2t_format::Graph;
use ec2t_format::graph::{GraphBuilder, GraphError};

use super::Spec;

/// Output channels and stride of each convolution.
const CONVS: [(usize, usize); 5] = [(16, 1), (32, 1), (32, 2), (64, 1), (64, 2)];

pub(super) fn build(spec: &Spec) -> Result<Graph, GraphError> {
    let mut g = GraphBuilder::new(spec.name, spec.input);
    let mut x = g.input();
    for (i, (channels, stride)) in (1..).zip(CONVS) {
        x = g.conv(&format!("conv{i}"), x, channels, 3, stride);
        x = g.batch_norm(&format!("bn{i}"), x);
        x = g.relu(&format!("relu{i}"), x);
    }
    x = g.global_avg_pool("pool", x);
    x = g.flatten("flatten", x);
    g.linear("linear", x, spec.classes);
    g.finish()
}
