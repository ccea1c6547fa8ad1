//! The architectures: one module per family, one row per name.

mod digits;
mod lenet5;
mod micronet;
mod resnet;

use ec2t_format::Graph;
use ec2t_format::graph::{GraphError, Shape};

use crate::scaling::Scaling;

/// One row of the registry.
pub(crate) struct Architecture {
    pub(crate) name: &'static str,
    /// Shape of one image unless another is asked for.
    pub(crate) input: Shape,
    /// Whether the builder heeds [`Spec::scaling`].
    pub(crate) scalable: bool,
    pub(crate) build: fn(&Spec) -> Result<Graph, GraphError>,
}

/// What a builder is told: every choice made.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) input: Shape,
    pub(crate) classes: usize,
    pub(crate) scaling: Scaling,
}

const DIGITS: Shape = Shape::new(1, 8, 8);
const MNIST: Shape = Shape::new(1, 28, 28);
const CIFAR: Shape = Shape::new(3, 32, 32);

/// Every architecture that has a name.
pub(crate) static ARCHITECTURES: &[Architecture] = &[
    fixed("digits-cnn", DIGITS, digits::build),
    fixed("lenet5", MNIST, lenet5::build),
    fixed("resnet20", CIFAR, |spec| resnet::build(spec, 3)),
    fixed("resnet32", CIFAR, |spec| resnet::build(spec, 5)),
    fixed("resnet44", CIFAR, |spec| resnet::build(spec, 7)),
    fixed("resnet56", CIFAR, |spec| resnet::build(spec, 9)),
    Architecture { name: "micronet", input: CIFAR, scalable: true, build: micronet::build },
];

const fn fixed(
    name: &'static str,
    input: Shape,
    build: fn(&Spec) -> Result<Graph, GraphError>,
) -> Architecture {
    Architecture { name, input, scalable: false, build }
}
