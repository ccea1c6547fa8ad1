//! From the two sums of an output to its byte.
//!
//! With the sums Σ₊ and Σ₋ of the bytes q that positive and negative weights meet, and the
//! scales s and zeros z of what is read, added and written, an output is
//!
//! `y = (w_pos · (Σ₊ − n₊ z) − w_neg · (Σ₋ − n₋ z)) · s · scale[o] + bias[o] + (r − z_r) · s_r`
//!
//! and its byte is `y ∕ s_y + z_y`, between the ends that the activation leaves, rounded to
//! the nearest, halves up. All that is known beforehand is in four whole numbers, which count
//! in a 2^bits-th of a step of the output's grid:
//!
//! `(Σ₊ · plus[o] − Σ₋ · minus[o] + r · residual[o] + shift[o]) ∕ 2^bits[o]`, rounded down
//!
//! So bytes are the same with every instruction set. `plus` and `minus` have 16 bits with
//! their sign, `residual` 22 of its own; `bits` is the most that these and a total of 32 bits
//! have room for, which is checked: then products and sums may be taken modulo 2³². As in
//! Jacob et al., 2018, section 2.2, but with two factors for each output.

use super::IntError;
use super::grid::Grid;
use super::lists::HALF;
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
    /// First and last byte that the activation leaves.
    ends: [u8; 2],
}

/// What an output is made of, in steps of its grid.
struct Steps {
    /// Of a positive, a negative weight and the residual.
    plus: f64,
    minus: f64,
    residual: f64,
    /// Positive and negative weights.
    counts: [f64; 2],
    /// Bytes that stand for zero in the input and in the residual.
    zeros: [f64; 2],
    /// The bias, from the grid's zero on.
    bias: f64,
}

/// The whole numbers of an output channel.
#[derive(Clone, Copy, Debug)]
struct Channel {
    /// `plus` and `−minus`.
    products: [i16; 2],
    /// `residual`, as 128 times the first and the second.
    residual: [i16; 2],
    shift: i32,
    /// What the sums lack, as they are [`HALF`] below what they are.
    unbias: i32,
    bits: u32,
}

/// The most bits of a step.
const MOST_BITS: u32 = 24;

/// The largest `residual`.
const MOST_RESIDUAL: f64 = (i16::MAX as i32 * 128 + 127) as f64;

impl Steps {
    /// The finest whole numbers; `None` where not even steps have room.
    fn channel(&self) -> Option<Channel> {
        (0..=MOST_BITS).rev().find_map(|bits| self.with_bits(bits))
    }

    fn with_bits(&self, bits: u32) -> Option<Channel> {
        let unit = f64::from(1_u32 << bits);
        let [plus, minus, residual] =
            [self.plus, self.minus, self.residual].map(|step| (step * unit).round());
        let largest = plus.abs().max(minus.abs());
        // Where one is not a number, its product is none either.
        let [positive, negative] = self.counts;
        let products = 255.0 * (positive * plus.abs() + negative * minus.abs() + residual);
        let zeros = self.zeros[0] * (positive * plus - negative * minus) + self.zeros[1] * residual;
        let shift = ((self.bias + 0.5) * unit - zeros).floor();
        // All beyond comes out at the ends of bytes; what is not a number at the first.
        let most = products + 256.0 * unit;
        let shift = if shift > -most { shift.min(most) } else { -most };
        let has_room = largest <= f64::from(i16::MAX)
            && residual <= MOST_RESIDUAL
            && products + shift.abs() < f64::from(i32::MAX);
        let [plus, minus, residual] = [plus as i32, minus as i32, residual as i32];
        has_room.then_some(Channel {
            products: [plus as i16, -minus as i16],
            residual: [(residual / 128) as i16, (residual % 128) as i16],
            shift: shift as i32,
            unbias: (plus - minus).wrapping_mul(i32::from(HALF)),
            bits,
        })
    }
}

impl Requantize {
    /// # Errors
    /// [`IntError::Steps`] where an output's numbers have no room.
    ///
    /// # Panics
    /// Where the activation is neither none nor a rectifier.
    pub(super) fn new(
        weights: TernaryWeights<'_>,
        grids: Grids,
        epilogue: &Epilogue,
    ) -> Result<Self, IntError> {
        let Grids { input, residual, output } = grids;
        let step = f64::from(output.scale);
        let taps = weights.codes.len() / epilogue.outputs();
        let channel = |(o, (codes, (scale, bias))): (usize, (&[i8], (f32, f32)))| {
            let factor = f64::from(input.scale) * f64::from(scale) / step;
            let count = |code: i8| codes.iter().filter(|found| **found == code).count() as f64;
            let steps = Steps {
                plus: f64::from(weights.w_pos) * factor,
                minus: f64::from(weights.w_neg) * factor,
                residual: residual.map_or(0.0, |grid| f64::from(grid.scale) / step),
                counts: [count(1), count(-1)],
                zeros: [f64::from(input.zero), f64::from(residual.map_or(0, |grid| grid.zero))],
                bias: f64::from(bias) / step + f64::from(output.zero),
            };
            steps.channel().ok_or(IntError::Steps { output: o })
        };
        let last = match epilogue.function() {
            Some(Activation::Relu6) => f32::from(output.zero) + 6.0 / output.scale,
            None | Some(Activation::Relu) => 255.0,
            Some(function) => panic!("{} is not computed in integers", function.name()),
        };
        let first = if epilogue.function().is_some() { output.zero } else { 0 };
        Ok(Self {
            channels: weights
                .codes
                .chunks(taps)
                .zip(epilogue.affine())
                .enumerate()
                .map(channel)
                .collect::<Result<_, _>>()?,
            ends: [first, last.round() as u8],
        })
    }

    /// The numbers of an output channel in vectors.
    #[inline(always)]
    pub(super) fn channel<S: Simd>(&self, simd: S, o: usize) -> Vectors<S> {
        let Channel { products, residual, shift, unbias, bits } = self.channels[o];
        Vectors {
            simd,
            products: simd.splat_words(products),
            residual: simd.splat_words(residual),
            shift: simd.splat_i32(shift.wrapping_add(unbias)),
            unbias: simd.splat_i32(unbias),
            bits,
            ends: self.ends,
        }
    }
}

/// Totals of a vector of bytes, of even and odd ones, in the order of [`Simd::pair_words`].
pub(super) type Totals<S> = [[<S as Simd>::I32; 2]; 2];

/// The numbers of an output channel in all lanes.
#[derive(Clone, Copy)]
pub(super) struct Vectors<S: Simd> {
    simd: S,
    products: S::U16,
    residual: S::U16,
    shift: S::I32,
    unbias: S::I32,
    bits: u32,
    ends: [u8; 2],
}

impl<S: Simd> Vectors<S> {
    /// What the sums of the last block, of even and odd bytes of each sign, add up to, with
    /// the shift.
    #[inline(always)]
    pub(super) fn last_totals(&self, sums: [[S::U16; 2]; 2]) -> Totals<S> {
        self.add([[self.shift; 2]; 2], sums)
    }

    /// The same of sums that others follow, without the shift.
    #[inline(always)]
    pub(super) fn totals(&self, sums: [[S::U16; 2]; 2]) -> Totals<S> {
        self.add([[self.unbias; 2]; 2], sums)
    }

    #[inline(always)]
    fn add(&self, mut totals: Totals<S>, [plus, minus]: [[S::U16; 2]; 2]) -> Totals<S> {
        for i in 0..2 {
            totals[i] = self.add_products(totals[i], [plus[i], minus[i]], self.products);
        }
        totals
    }

    /// Adds the products of two vectors with two numbers.
    #[inline(always)]
    fn add_products(
        &self,
        totals: [S::I32; 2],
        [first, second]: [S::U16; 2],
        factors: S::U16,
    ) -> [S::I32; 2] {
        let [low, high] = self.simd.pair_words(first, second);
        [
            self.simd.add_products(totals[0], low, factors),
            self.simd.add_products(totals[1], high, factors),
        ]
    }

    /// The bytes that totals come to with those of the residual.
    #[inline(always)]
    pub(super) fn bytes(&self, mut totals: Totals<S>, residual: Option<S::U16>) -> S::U16 {
        let Self { simd, bits, .. } = *self;
        if let Some(pairs) = residual {
            let odd = simd.odd_bytes(pairs);
            let bytes = [simd.even_bytes(pairs, odd), odd];
            for i in 0..2 {
                let words = [simd.times_128(bytes[i]), bytes[i]];
                totals[i] = self.add_products(totals[i], words, self.residual);
            }
        }
        for totals in &mut totals {
            for total in totals {
                *total = simd.shift_right(*total, bits);
            }
        }
        let [even, odd] = totals;
        let bytes = simd.pack_bytes(even, odd);
        match self.ends {
            [0, 255] => bytes,
            [first, last] => simd.clamp_bytes(bytes, first, last),
        }
    }
}
