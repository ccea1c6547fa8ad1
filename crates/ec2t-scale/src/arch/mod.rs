//! The architectures: one module per family, one row per name.

mod digits;
mod efficientnet;
mod efficientnet_lite;
mod inverted;
mod lenet5;
mod micronet;
mod mobilenet;
mod resnet;
mod resnet_imagenet;

use ec2t_format::Graph;
use ec2t_format::graph::{GraphError, Shape};

use crate::scaling::Scaling;
use efficientnet::{B, TF_B};
use efficientnet_lite::LITE;

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
    scalable("lenet5", MNIST, lenet5::build),
    scalable("resnet20", CIFAR, |spec| resnet::build(spec, 3)),
    scalable("resnet32", CIFAR, |spec| resnet::build(spec, 5)),
    scalable("resnet44", CIFAR, |spec| resnet::build(spec, 7)),
    scalable("resnet56", CIFAR, |spec| resnet::build(spec, 9)),
    fixed("resnet18", square(224), |spec| resnet_imagenet::basic(spec, [2, 2, 2, 2])),
    fixed("resnet34", square(224), |spec| resnet_imagenet::basic(spec, [3, 4, 6, 3])),
    fixed("resnet50", square(224), |spec| resnet_imagenet::bottleneck(spec, [3, 4, 6, 3])),
    scalable("micronet", CIFAR, micronet::build),
    scalable("image-micronet", square(224), micronet::build_image),
    scalable("efficientnet_b0", square(224), |spec| efficientnet::build(spec, &B[0])),
    scalable("efficientnet_b1", square(240), |spec| efficientnet::build(spec, &B[1])),
    scalable("efficientnet_b2", square(288), |spec| efficientnet::build(spec, &B[2])),
    scalable("efficientnet_b3", square(300), |spec| efficientnet::build(spec, &B[3])),
    scalable("efficientnet_b4", square(380), |spec| efficientnet::build(spec, &B[4])),
    scalable("efficientnet_b5", square(456), |spec| efficientnet::build(spec, &B[5])),
    scalable("efficientnet_b6", square(528), |spec| efficientnet::build(spec, &B[6])),
    scalable("efficientnet_b7", square(600), |spec| efficientnet::build(spec, &B[7])),
    scalable("tf_efficientnet_b0", square(224), |spec| efficientnet::build(spec, &TF_B[0])),
    scalable("tf_efficientnet_b1", square(240), |spec| efficientnet::build(spec, &TF_B[1])),
    scalable("tf_efficientnet_b2", square(260), |spec| efficientnet::build(spec, &TF_B[2])),
    scalable("tf_efficientnet_b3", square(300), |spec| efficientnet::build(spec, &TF_B[3])),
    scalable("tf_efficientnet_b4", square(380), |spec| efficientnet::build(spec, &TF_B[4])),
    scalable("tf_efficientnet_b5", square(456), |spec| efficientnet::build(spec, &TF_B[5])),
    scalable("tf_efficientnet_b6", square(528), |spec| efficientnet::build(spec, &TF_B[6])),
    scalable("tf_efficientnet_b7", square(600), |spec| efficientnet::build(spec, &TF_B[7])),
    scalable("efficientnet_lite0", square(224), |spec| efficientnet_lite::build(spec, &LITE[0])),
    scalable("efficientnet_lite1", square(240), |spec| efficientnet_lite::build(spec, &LITE[1])),
    scalable("efficientnet_lite2", square(260), |spec| efficientnet_lite::build(spec, &LITE[2])),
    scalable("efficientnet_lite3", square(280), |spec| efficientnet_lite::build(spec, &LITE[3])),
    scalable("efficientnet_lite4", square(300), |spec| efficientnet_lite::build(spec, &LITE[4])),
    scalable("mobilenet_v2", square(224), mobilenet::build),
];

const fn fixed(
    name: &'static str,
    input: Shape,
    build: fn(&Spec) -> Result<Graph, GraphError>,
) -> Architecture {
    Architecture { name, input, scalable: false, build }
}

const fn scalable(
    name: &'static str,
    input: Shape,
    build: fn(&Spec) -> Result<Graph, GraphError>,
) -> Architecture {
    Architecture { name, input, scalable: true, build }
}

/// Shape of a square picture in colour.
const fn square(size: usize) -> Shape {
    Shape::new(3, size, size)
}
