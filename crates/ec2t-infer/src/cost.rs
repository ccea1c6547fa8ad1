//! About how long a step takes on one thread.
//!
//! A convolution takes so long for each block of its input that is copied, for each
//! vector of a copy, each time that it takes up an output, and for each vector that a
//! weight adds ([`ConvWork`]). The constants of [`TERNARY`] and [`DENSE`] are fitted to
//! thirteen shapes as `docs/benchmarks.md` says.

use ec2t_format::graph::{Node, Shape};
use ec2t_format::{Network, Op, Tensor, TernaryTensor};
use ec2t_kernels::arch::{Isa, Portable, isa};
use ec2t_kernels::{ConvShape, ConvWork};

use crate::kernel::conv_shape;

/// Nanoseconds of a convolution with vectors of so many lanes.
struct Rates {
    lanes: usize,
    /// For each block that is copied, and each vector of it.
    fill: f64,
    copy: f64,
    /// For each time that an output is taken up.
    visit: f64,
    /// For each vector that is added, times a weight or not.
    add: f64,
}

/// Measured on an AMD EPYC (Zen 4), widest vectors first: AVX-512, AVX2, portable. NEON,
/// which has not been measured, counts as portable.
const TERNARY: [Rates; 3] = [
    Rates { lanes: 16, fill: 177.0, copy: 1.66, visit: 11.3, add: 0.255 },
    Rates { lanes: 8, fill: 138.0, copy: 0.94, visit: 14.3, add: 0.155 },
    Rates { lanes: 4, fill: 119.0, copy: 1.15, visit: 10.5, add: 0.179 },
];
const DENSE: [Rates; 3] = [
    Rates { lanes: 16, fill: 171.0, copy: 2.07, visit: 6.3, add: 0.337 },
    Rates { lanes: 8, fill: 145.0, copy: 0.57, visit: 10.4, add: 0.183 },
    Rates { lanes: 4, fill: 139.0, copy: 1.14, visit: 6.2, add: 0.220 },
];

/// Nanoseconds for each weight of a ternary matrix product that is not zero: its input is
/// looked up, value by value.
const TERNARY_LINEAR: f64 = 0.6;
/// Nanoseconds for each weight of a dense one, vector by vector.
const DENSE_LINEAR: f64 = 0.09;
/// Nanoseconds for either, however small.
const LINEAR: f64 = 200.0;

/// What a thread has to have to do, in seconds, or a step is not split for it. Halves of
/// a step that are shared by two threads, both awake, take 0.6 to 1.4 µs more than half
/// of it.
const LEAST: f64 = 3e-6;

/// Seconds that a layer with ternary weights is expected to take with either kernel; one
/// with dense weights has the same twice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prediction {
    /// With the kernel that it has.
    pub(crate) seconds: f64,
    pub(crate) dense_seconds: f64,
}

/// The most threads that a step is worth.
pub(crate) fn most_threads(step: Option<Prediction>) -> usize {
    step.map_or(1, |step| (step.seconds / LEAST) as usize).max(1)
}

/// What a convolution or matrix product takes; `None` for other nodes. `shapes` are
/// those of all nodes.
pub(crate) fn predict(network: &Network, node: &Node, shapes: &[Shape]) -> Option<Prediction> {
    let weight = network.tensor(&format!("{}.weight", node.name))?;
    let (dense_seconds, ternary_seconds) = match &node.op {
        Op::Conv2d(conv) => {
            let shape = conv_shape(conv, shapes[node.inputs[0].index()]);
            let [ternary_work, dense_work] = works(shape, isa())?;
            let ternary = ternary(weight).filter(|weight| !is_conv_dense(shape, weight));
            let seconds = |weight| conv_seconds(&TERNARY, &ternary_work, not_zero(weight));
            (conv_seconds(&DENSE, &dense_work, weight.numel()), ternary.map(seconds))
        }
        Op::Linear(_) => {
            let ternary = ternary(weight).filter(|weight| !is_linear_dense(weight));
            let seconds = |weight| 1e-9 * (LINEAR + TERNARY_LINEAR * not_zero(weight) as f64);
            (1e-9 * (LINEAR + DENSE_LINEAR * weight.numel() as f64), ternary.map(seconds))
        }
        _ => return None,
    };
    Some(Prediction { seconds: ternary_seconds.unwrap_or(dense_seconds), dense_seconds })
}

fn ternary(weight: &Tensor) -> Option<&TernaryTensor> {
    match weight {
        Tensor::Ternary(weight) => Some(weight),
        Tensor::Dense(_) => None,
    }
}

/// Whether the dense kernel takes a ternary convolution: it has no zeros, and so few
/// weights of an output in a block that going through a list takes longer than products.
///
/// A weight of zero is not read, whatever there is to read, so a layer that has one keeps
/// the ternary kernel. The kernels round differently, so the choice must not depend on
/// the machine: it is made by the rates of the widest vectors and the tiles of the
/// portable instructions.
pub(crate) fn is_conv_dense(shape: ConvShape, weight: &TernaryTensor) -> bool {
    if has_zeros(weight) {
        return false;
    }
    let Some([ternary, dense]) = works(shape, Isa::Portable(Portable)) else { return false };
    let all = weight.codes().len();
    seconds_with(&DENSE[0], &dense, all) < seconds_with(&TERNARY[0], &ternary, all)
}

/// The work of the ternary and of the dense kernel, if there are any for such a shape.
fn works(shape: ConvShape, isa: Isa) -> Option<[ConvWork; 2]> {
    Some([ConvWork::ternary(shape, isa).ok()?, ConvWork::dense(shape, isa).ok()?])
}

/// Whether the dense kernel, which reads vectors where the other one reads values, takes a
/// ternary matrix product: it has no zeros.
pub(crate) fn is_linear_dense(weight: &TernaryTensor) -> bool {
    !has_zeros(weight)
}

fn has_zeros(weight: &TernaryTensor) -> bool {
    weight.codes().contains(&0)
}

fn not_zero(weight: &TernaryTensor) -> usize {
    weight.codes().iter().filter(|code| **code != 0).count()
}

/// Seconds of a convolution whose kernel reads so many weights.
fn conv_seconds(rates: &[Rates; 3], work: &ConvWork, weights: usize) -> f64 {
    let rates = rates.iter().find(|rates| rates.lanes <= work.lanes).unwrap_or(&rates[2]);
    seconds_with(rates, work, weights)
}

fn seconds_with(rates: &Rates, work: &ConvWork, weights: usize) -> f64 {
    let additions = work.vectors as f64 * weights as f64;
    1e-9 * (rates.fill * work.fills as f64
        + rates.copy * work.copied as f64
        + rates.visit * work.visits as f64
        + rates.add * additions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of ResNet-20.
    const SHAPE: ConvShape = ConvShape {
        in_channels: 32,
        out_channels: 32,
        input: [16, 16],
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        padding: [1; 4],
        groups: 1,
        output: [16, 16],
    };

    #[test]
    fn a_layer_takes_longer_the_more_weights_are_not_zero() {
        for isa in Isa::available() {
            let work = ConvWork::ternary(SHAPE, isa).unwrap();
            let seconds = |weights| conv_seconds(&TERNARY, &work, weights);
            assert!((0..SHAPE.weight_len()).all(|n| seconds(n) < seconds(n + 1)));
            assert!(seconds(0) > 0.0);
        }
    }

    #[test]
    fn with_two_thirds_of_zeros_ternary_kernels_win() {
        for isa in Isa::available() {
            let [ternary, dense] = works(SHAPE, isa).unwrap();
            let all = SHAPE.weight_len();
            let ternary = conv_seconds(&TERNARY, &ternary, all * 36 / 100);
            let dense = conv_seconds(&DENSE, &dense, all);
            assert!(2.0 * ternary < dense, "{}: {ternary} for {dense}", isa.name());
        }
    }

    /// A tensor of which the first codes are zero.
    fn weight(shape: &[usize], zeros: usize) -> TernaryTensor {
        let codes = (0..shape.iter().product()).map(|i| i8::from(i >= zeros)).collect();
        TernaryTensor::new(shape.to_vec(), codes, 0.5, 0.5).unwrap()
    }

    #[test]
    fn matrix_products_without_zeros_are_dense() {
        let is_dense = |zeros| is_linear_dense(&weight(&[10, 100], zeros));
        assert_eq!([0, 1, 640, 1000].map(is_dense), [true, false, false, false]);
    }

    #[test]
    fn convolutions_without_zeros_are_dense_where_outputs_have_few_weights() {
        let shape = ConvShape { in_channels: 1, kernel: [2, 2], padding: [1, 1, 0, 0], ..SHAPE };
        let is_dense = |zeros| is_conv_dense(shape, &weight(&[32, 1, 2, 2], zeros));
        assert_eq!([0, 1, 82, 128].map(is_dense), [true, false, false, false]);
        let is_dense = |zeros| is_conv_dense(SHAPE, &weight(&[32, 32, 3, 3], zeros));
        assert_eq!([0, 5898].map(is_dense), [false; 2], "lists are as fast as products");
    }

    #[test]
    fn short_steps_are_not_split() {
        let step = |seconds| most_threads(Some(Prediction { seconds, dense_seconds: seconds }));
        assert_eq!([0.0, 5.9e-6, 6.1e-6, 1e-3].map(step), [1, 1, 2, 333]);
        assert_eq!(most_threads(None), 1);
    }
}
