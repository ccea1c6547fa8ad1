//! From the two sums of an output to its byte.
//!
//! With the sums Σ₊ and Σ₋ of the bytes q that positive and negative weights meet, and the
//! scales s and zeros z of what is read, added and written, an output is
//!
//! `y = (w_pos · (Σ₊ − n₊ z) − w_neg · (Σ₋ − n₋ z)) · s · scale[o] + bias[o] + (r − z_r) · s_r`
//!
//! and its byte is `y ∕ s_y + z_y`, between the ends that the activation leaves, rounded to
//! the nearest, ties to even. All that is known beforehand is in four numbers:
//!
//! `((Σ₊ · plus[o] − Σ₋ · minus[o]) + shift[o]) + r · residual`
//!
//! in f32, each product and sum rounded, in this order: so bytes are the same with every
//! instruction set. Sums are exact, as whole numbers below 2²⁴ are in f32.

use super::grid::Grid;
use crate::arch::Simd;
use crate::elementwise::Activation;
use crate::epilogue::Epilogue;
use crate::weights::TernaryWeights;

/// The grids of all that a layer reads and writes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grids {
    /// Of the input.
    pub input: Grid,
    /// Of the residual, where there is one.
    pub residual: Option<Grid>,
    /// Of the output.
    pub output: Grid,
}

/// The numbers of each output channel and of all.
#[derive(Clone, Debug)]
pub(super) struct Requantize {
    channels: Vec<Channel>,
    /// What a step of the residual is in steps of the output; 0 without one.
    residual: f32,
    /// First and last byte that the activation leaves.
    ends: [f32; 2],
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    plus: f32,
    minus: f32,
    shift: f32,
}

impl Requantize {
    /// # Panics
    /// Where the activation is neither none nor a rectifier.
    pub(super) fn new(weights: TernaryWeights<'_>, grids: Grids, epilogue: &Epilogue) -> Self {
        let Grids { input, residual, output } = grids;
        let step = f64::from(output.scale);
        let residual_step = residual.map_or(0.0, |grid| f64::from(grid.scale) / step) as f32;
        let residual_zero = f64::from(residual.map_or(0, |grid| grid.zero));
        let taps = weights.codes.len() / epilogue.outputs();
        let channel = |(codes, (scale, bias)): (&[i8], (f32, f32))| {
            let factor = f64::from(input.scale) * f64::from(scale) / step;
            let [plus, minus] =
                [weights.w_pos, weights.w_neg].map(|weight| (f64::from(weight) * factor) as f32);
            let count = |code: i8| codes.iter().filter(|found| **found == code).count() as f64;
            let zeros = count(1) * f64::from(plus) - count(-1) * f64::from(minus);
            let shift = f64::from(bias) / step
                - f64::from(input.zero) * zeros
                - residual_zero * f64::from(residual_step)
                + f64::from(output.zero);
            Channel { plus, minus, shift: shift as f32 }
        };
        let zero = f32::from(output.zero);
        Self {
            channels: weights.codes.chunks(taps).zip(epilogue.affine()).map(channel).collect(),
            residual: residual_step,
            ends: match epilogue.function() {
                None => [0.0, 255.0],
                Some(Activation::Relu) => [zero, 255.0],
                Some(Activation::Relu6) => [zero, (zero + 6.0 / output.scale).min(255.0)],
                Some(function) => panic!("{} is not computed in integers", function.name()),
            },
        }
    }

    /// The places on the output's grid of a vector of pixels, from their sums as floats, in
    /// the order of [`Simd::to_floats`], and those of their residual.
    #[inline(always)]
    pub(super) fn places<S: Simd>(
        &self,
        simd: S,
        o: usize,
        [plus, minus]: [[S::F32; 2]; 2],
        residual: Option<S::U16>,
    ) -> [S::F32; 2] {
        let channel = &self.channels[o];
        let factors = [simd.splat(channel.plus), simd.splat(channel.minus)];
        let mut places = plus;
        for (place, minus) in places.iter_mut().zip(minus) {
            let [plus, minus] = [simd.mul(*place, factors[0]), simd.mul(minus, factors[1])];
            *place = simd.add(simd.sub(plus, minus), simd.splat(channel.shift));
        }
        if let Some(residual) = residual {
            for (place, residual) in places.iter_mut().zip(simd.to_floats(residual)) {
                *place = simd.add(*place, simd.mul(residual, simd.splat(self.residual)));
            }
        }
        let [first, last] = self.ends.map(
            #[inline(always)]
            |end| simd.splat(end),
        );
        // What is not a number becomes the first byte.
        places.map(
            #[inline(always)]
            |place| simd.min(simd.max(place, first), last),
        )
    }
}
