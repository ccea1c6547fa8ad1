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
    /// First and last place that the activation leaves.
    ends: [f32; 2],
    /// Whether places have to be brought between these: vectors do so for the ends of bytes,
    /// if places are not out of all bounds.
    clamps: bool,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    plus: f32,
    minus: f32,
    shift: f32,
}

/// Places below this are brought to bytes by [`Simd::store_pairs`] alone.
const MOST: f32 = (1 << 30) as f32;

impl Channel {
    /// What no place of so many taps exceeds; not a number where that can't be said.
    fn bound(self, taps: usize, residual: f32) -> f32 {
        255.0 * (taps as f32 * (self.plus.abs() + self.minus.abs()) + residual) + self.shift.abs()
    }
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
        let channels: Vec<Channel> =
            weights.codes.chunks(taps).zip(epilogue.affine()).map(channel).collect();
        let ends = match epilogue.function() {
            None => [0.0, 255.0],
            Some(Activation::Relu) => [zero, 255.0],
            Some(Activation::Relu6) => [zero, (zero + 6.0 / output.scale).min(255.0)],
            Some(function) => panic!("{} is not computed in integers", function.name()),
        };
        let is_bounded = channels.iter().all(|channel| channel.bound(taps, residual_step) < MOST);
        Self {
            channels,
            residual: residual_step,
            ends,
            clamps: ends != [0.0, 255.0] || !is_bounded,
        }
    }

    /// The numbers of an output channel in vectors.
    #[inline(always)]
    pub(super) fn channel<S: Simd>(&self, simd: S, o: usize) -> Vectors<S> {
        let Channel { plus, minus, shift } = self.channels[o];
        let [first, last] = self.ends;
        Vectors {
            simd,
            plus: simd.splat(plus),
            minus: simd.splat(minus),
            shift: simd.splat(shift),
            residual: simd.splat(self.residual),
            first: simd.splat(first),
            last: simd.splat(last),
            clamps: self.clamps,
        }
    }
}

/// The numbers of an output channel in all lanes.
#[derive(Clone, Copy)]
pub(super) struct Vectors<S: Simd> {
    simd: S,
    plus: S::F32,
    minus: S::F32,
    shift: S::F32,
    residual: S::F32,
    first: S::F32,
    last: S::F32,
    clamps: bool,
}

impl<S: Simd> Vectors<S> {
    /// The places on the output's grid of a vector of pixels, even and odd ones, from their
    /// sums as floats, in the order of [`Simd::to_floats`], and the bytes of their residual.
    #[inline(always)]
    pub(super) fn places(
        &self,
        [plus, minus]: [[[S::F32; 2]; 2]; 2],
        residual: Option<S::U16>,
    ) -> [[S::F32; 2]; 2] {
        let Self { simd, .. } = *self;
        let mut places = plus;
        let all = places.as_flattened_mut();
        for (place, minus) in all.iter_mut().zip(minus.as_flattened()) {
            let [plus, minus] = [simd.mul(*place, self.plus), simd.mul(*minus, self.minus)];
            *place = simd.add(simd.sub(plus, minus), self.shift);
        }
        if let Some(pairs) = residual {
            let odd = simd.odd_bytes(pairs);
            let residual = [simd.to_floats(simd.even_bytes(pairs, odd)), simd.to_floats(odd)];
            for (place, residual) in all.iter_mut().zip(residual.as_flattened()) {
                *place = simd.add(*place, simd.mul(*residual, self.residual));
            }
        }
        if self.clamps {
            for place in all {
                // What is not a number becomes the first place.
                *place = simd.min(simd.max(*place, self.first), self.last);
            }
        }
        places
    }
}
