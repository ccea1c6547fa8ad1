//! Activation functions of each element, and their gradients.
//!
//! Gradients at kinks are PyTorch's: 0 wherever the rectifier gives 0 or 6.
//! That matters, because a filter whose weights are all zero gives exactly 0.
//! What is not a number stays so, for the loss to show it. Where a rectifier
//! follows batch normalisation, [`norm`](crate::norm) does both in one pass.
//!
//! ```
//! use ec2t_ops::activation::{Activation, backward, forward};
//!
//! let x = [-1.0, 0.0, 3.0, 7.0];
//! let mut y = [0.0; 4];
//! forward(Activation::Relu6, &x, &mut y);
//! assert_eq!(y, [0.0, 0.0, 3.0, 6.0]);
//!
//! let mut gradient = [1.0; 4];
//! backward(Activation::Relu6, &x, &mut gradient);
//! assert_eq!(gradient, [0.0, 0.0, 1.0, 0.0]);
//! ```

use ec2t_kernels::arch::Simd;

use crate::lanes::{Pointwise, apply};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
    /// `x · sigmoid(x)`, also known as SiLU.
    Swish,
    /// `x · relu6(x + 3) / 6`.
    HardSwish,
}

/// Writes the function of `x`.
///
/// # Panics
///
/// If lengths differ.
pub fn forward(activation: Activation, x: &[f32], y: &mut [f32]) {
    match activation {
        Activation::Relu => apply(Value(RELU), [x], [y]),
        Activation::Relu6 => apply(Value(RELU6), [x], [y]),
        Activation::Sigmoid => apply(Value(Sigmoid), [x], [y]),
        Activation::Swish => apply(Value(Swish), [x], [y]),
        Activation::HardSwish => apply(Value(HardSwish), [x], [y]),
    }
}

/// Makes the gradient of `x` of the output's gradient, in place.
///
/// # Panics
///
/// If lengths differ.
pub fn backward(activation: Activation, x: &[f32], gradient: &mut [f32]) {
    match activation {
        Activation::Relu => apply(Gradient(RELU), [x], [gradient]),
        Activation::Relu6 => apply(Gradient(RELU6), [x], [gradient]),
        Activation::Sigmoid => apply(Gradient(Sigmoid), [x], [gradient]),
        Activation::Swish => apply(Gradient(Swish), [x], [gradient]),
        Activation::HardSwish => apply(Gradient(HardSwish), [x], [gradient]),
    }
}

/// A function of one value.
trait Function: Copy + Send + Sync {
    fn value<S: Simd>(self, simd: S, x: S::F32) -> S::F32;

    /// The slope at `x`, times `g`.
    fn gradient<S: Simd>(self, simd: S, x: S::F32, g: S::F32) -> S::F32;
}

#[derive(Clone, Copy)]
struct Value<F>(F);

impl<F: Function> Pointwise<1, 1> for Value<F> {
    #[inline(always)]
    fn eval<S: Simd>(self, simd: S, [x]: [S::F32; 1], _: [S::F32; 1]) -> [S::F32; 1] {
        [self.0.value(simd, x)]
    }
}

#[derive(Clone, Copy)]
struct Gradient<F>(F);

impl<F: Function> Pointwise<1, 1> for Gradient<F> {
    #[inline(always)]
    fn eval<S: Simd>(self, simd: S, [x]: [S::F32; 1], [g]: [S::F32; 1]) -> [S::F32; 1] {
        [self.0.gradient(simd, x, g)]
    }
}

/// Between 0 and this value.
#[derive(Clone, Copy)]
struct Clamp(f32);

const RELU: Clamp = Clamp(f32::INFINITY);
const RELU6: Clamp = Clamp(6.0);

impl Function for Clamp {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::F32) -> S::F32 {
        simd.min(simd.splat(self.0), simd.max(simd.splat(0.0), x))
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, simd: S, x: S::F32, g: S::F32) -> S::F32 {
        let zero = simd.splat(0.0);
        let above = simd.select(simd.gt(x, zero), g, zero);
        simd.select(simd.gt(simd.splat(self.0), x), above, zero)
    }
}

#[derive(Clone, Copy)]
struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::F32) -> S::F32 {
        let one = simd.splat(1.0);
        simd.div(one, simd.add(one, exp(simd, simd.sub(simd.splat(0.0), x))))
    }

    #[inline(always)]
    fn gradient<S: Simd>(self, simd: S, x: S::F32, g: S::F32) -> S::F32 {
        let y = self.value(simd, x);
        simd.mul(g, simd.mul(y, simd.sub(simd.splat(1.0), y)))
    }
}

#[derive(Clone, Copy)]
struct Swish;

impl Function for Swish {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::F32) -> S::F32 {
        simd.mul(x, Sigmoid.value(simd, x))
    }

    /// With s the sigmoid, `s·(1 + x·(1 − s))`.
    #[inline(always)]
    fn gradient<S: Simd>(self, simd: S, x: S::F32, g: S::F32) -> S::F32 {
        let one = simd.splat(1.0);
        let sigmoid = Sigmoid.value(simd, x);
        let inner = simd.fma(x, simd.sub(one, sigmoid), one);
        simd.mul(g, simd.mul(sigmoid, inner))
    }
}

#[derive(Clone, Copy)]
struct HardSwish;

impl Function for HardSwish {
    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::F32) -> S::F32 {
        let gate = RELU6.value(simd, simd.add(x, simd.splat(3.0)));
        simd.mul(simd.mul(x, gate), simd.splat(1.0 / 6.0))
    }

    /// `(2x + 3) / 6` between −3 and 3; 0 below and 1 above.
    #[inline(always)]
    fn gradient<S: Simd>(self, simd: S, x: S::F32, g: S::F32) -> S::F32 {
        let three = simd.splat(3.0);
        let slope = simd.fma(x, simd.splat(1.0 / 3.0), simd.splat(0.5));
        let slope = simd.select(simd.ge(x, three), simd.splat(1.0), slope);
        let below = simd.ge(simd.splat(-3.0), x);
        simd.mul(g, simd.select(below, simd.splat(0.0), slope))
    }
}

/// `exp(x)`, to 2 units in the last place. What lies beyond is moved to the
/// range in which the result is a normal number.
///
/// With n the nearest whole number to `x / ln 2`, `exp(x) = 2ⁿ · exp(x − n·ln 2)`;
/// the last factor is a Taylor polynomial, whose error on ±ln 2 / 2 is 5·10⁻⁹.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::F32) -> S::F32 {
    /// ln 2 as a sum of two, whose first has few enough bits for n·ln 2 to be exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const TAYLOR: [f32; 6] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];

    let x = simd.min(simd.splat(88.0), simd.max(simd.splat(-87.0), x));
    let n = simd.round(simd.mul(x, simd.splat(std::f32::consts::LOG2_E)));
    let rest = LN_2.iter().fold(x, |rest, part| simd.fma(n, simd.splat(-part), rest));
    let [first, others @ ..] = TAYLOR;
    let series = others
        .iter()
        .fold(simd.splat(first), |sum, coefficient| simd.fma(sum, rest, simd.splat(*coefficient)));
    simd.mul(simd.fma(series, rest, simd.splat(1.0)), simd.pow2(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_within, gradient, in_pools, random, wide};

    const ALL: [Activation; 5] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::Sigmoid,
        Activation::Swish,
        Activation::HardSwish,
    ];

    fn values(activation: Activation, x: &[f32]) -> Vec<f32> {
        let mut y = vec![f32::NAN; x.len()];
        forward(activation, x, &mut y);
        y
    }

    fn slopes(activation: Activation, x: &[f32]) -> Vec<f32> {
        let mut g = vec![1.0; x.len()];
        backward(activation, x, &mut g);
        g
    }

    fn defined(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Swish => x / (1.0 + (-x).exp()),
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for len in [1, 7, 16, 333, 40_001] {
            let x: Vec<f32> = random(len, 1).iter().map(|x| 5.0 * x).collect();
            for activation in ALL {
                let y: Vec<f64> = wide(&x).iter().map(|&x| defined(activation, x)).collect();
                assert_within(1e-6, &in_pools(|| values(activation, &x)), &y);
                let slope = |x: &f64| gradient(&[*x], |x| defined(activation, x[0]))[0];
                let expected: Vec<f64> = wide(&x).iter().map(slope).collect();
                assert_close(&in_pools(|| slopes(activation, &x)), &expected);
            }
        }
    }

    /// Gradients that PyTorch 2.15 prints with `set_printoptions(precision=8)`.
    #[test]
    fn gradients_at_kinks_are_those_of_pytorch() {
        let x = [-4.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 7.0];
        let cases = [
            (Activation::Relu, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]),
            (Activation::Relu6, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
            (Activation::HardSwish, [0.0, 0.0, 0.166_666_66, 0.5, 0.833_333_37, 1.0, 1.0, 1.0]),
            (
                Activation::Swish,
                [
                    -0.052_664_61,
                    -0.088_104_11,
                    0.072_329_48,
                    0.5,
                    0.927_670_54,
                    1.088_104_13,
                    1.012_326_24,
                    1.005_460_14,
                ],
            ),
        ];
        for (activation, expected) in cases {
            assert_within(1e-6, &slopes(activation, &x), &expected);
        }
    }

    #[test]
    fn extremes_saturate_and_what_is_not_a_number_stays_so() {
        let x = [f32::NEG_INFINITY, -1000.0, 1000.0, f32::INFINITY];
        assert_within(1e-30, &values(Activation::Sigmoid, &x), &[0.0, 0.0, 1.0, 1.0]);
        for activation in ALL {
            assert!(slopes(activation, &x[1..3]).iter().all(|g| g.is_finite()), "{activation:?}");
            assert!(
                values(activation, &[f32::NAN; 9]).iter().all(|y| y.is_nan()),
                "{activation:?}"
            );
        }
    }

    #[test]
    fn the_sigmoid_is_good_to_three_units_in_the_last_place() {
        let x: Vec<f32> = (-80_000..80_000).map(|i| i as f32 / 1000.0).collect();
        for (x, y) in x.iter().zip(values(Activation::Sigmoid, &x)) {
            let expected = defined(Activation::Sigmoid, (*x).into());
            let error = (f64::from(y) / expected - 1.0).abs() / f64::from(f32::EPSILON);
            assert!(error <= 3.0, "{error} at {x}");
        }
    }
}
