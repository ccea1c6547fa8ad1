//! Sums over all pixels, one for each channel.
//!
//! `[pixels, C]` is read as one flat run: the pattern of channels repeats after
//! every [`Period`], a whole number of pixels and of vectors, so that vectors are
//! full for any number of channels. Sums are `f32` over a few values and `f64`
//! above, chunk by chunk in fixed order.

use std::{array, ops::Range};

use ec2t_kernels::arch::{Operation, Simd, dispatch};
use rayon::prelude::*;

use crate::Scratch;
use crate::chunks::{CHUNKS, split_scratch};
use crate::conv::ChannelSums;
use crate::lanes::{self, LINE, get, put};

impl ChannelSums {
    /// Becomes the sums of `x`, `[pixels, C]`, in a pass of its own.
    ///
    /// # Panics
    ///
    /// If `x` is not whole pixels.
    pub fn measure(&mut self, x: &[f32], scratch: &mut Scratch) {
        let [sum, squares] = reduce(x, self.sums.len(), |_| 0.0, Deviation, scratch);
        self.sums.copy_from_slice(sum);
        self.squares.copy_from_slice(squares);
    }
}

/// After how many values the pattern of channels and vectors repeats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    channels: usize,
    pub(crate) len: usize,
}

impl Period {
    /// Lines in a period, at least: enough for loops to run at speed.
    const LINES: usize = 16;

    pub(crate) fn new(channels: usize) -> Self {
        assert!(channels > 0, "no channels");
        let shared = 1 << channels.trailing_zeros().min(LINE.trailing_zeros());
        let lines = channels / shared;
        Self { channels, len: LINE * lines * Self::LINES.div_ceil(lines) }
    }

    /// Fills a table with a value for each channel, again and again.
    pub(crate) fn repeat(self, table: &mut [f32], value: impl Fn(usize) -> f32) {
        let (first, rest) = table.split_at_mut(self.channels);
        first.iter_mut().enumerate().for_each(|(channel, place)| *place = value(channel));
        rest.chunks_exact_mut(self.channels).for_each(|next| next.copy_from_slice(first));
    }

    /// The part of each chunk in `[pixels, C]`, in whole periods.
    pub(crate) fn parts(self, x: &[f32]) -> [Range<usize>; CHUNKS] {
        let Self { channels, len } = self;
        assert!(x.len().is_multiple_of(channels), "{} values of {channels} channels", x.len());
        array::from_fn(|chunk| lanes::part(x.len(), len, chunk))
    }
}

/// What is summed, of each element of `x`.
pub(crate) trait Factor: Copy + Send + Sync {
    /// The factor at a vector, where `x` deviates so much from its origin.
    fn eval<S: Simd>(self, simd: S, at: usize, deviation: S::F32) -> S::F32;

    /// The factor of a part of `x`, which starts with a whole line.
    fn part(self, part: Range<usize>) -> Self;
}

/// The deviation itself.
#[derive(Clone, Copy)]
pub(crate) struct Deviation;

impl Factor for Deviation {
    #[inline(always)]
    fn eval<S: Simd>(self, _: S, _: usize, deviation: S::F32) -> S::F32 {
        deviation
    }

    fn part(self, _: Range<usize>) -> Self {
        self
    }
}

/// Sums, for each channel, of a factor and of its product with `x −
/// origin(channel)`.
pub(crate) fn reduce<'a>(
    x: &[f32],
    channels: usize,
    origin: impl Fn(usize) -> f32,
    factor: impl Factor,
    scratch: &'a mut Scratch,
) -> [&'a [f64]; 2] {
    let period = Period::new(channels);
    let (floats, totals) = scratch.take(period.len * (1 + 2 * CHUNKS), 2 * channels * CHUNKS);
    let (origins, partial) = floats.split_at_mut(period.len);
    period.repeat(origins, origin);
    let origins = &*origins;

    let partials = split_scratch(partial, 2 * period.len);
    let parts = (period.parts(x), partials, split_scratch(totals, 2 * channels));
    parts.into_par_iter().for_each(|(part, partial, totals)| {
        let (x, factor) = (&x[part.clone()], factor.part(part));
        dispatch(Reduce { x, factor, origins, partial, totals });
    });

    let (sums, others) = totals.split_at_mut(2 * channels);
    for totals in others.chunks_exact(2 * channels) {
        sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum += total);
    }
    let (sum, products) = sums.split_at(channels);
    [sum, products]
}

/// Periods that are summed in `f32`.
const BLOCK: usize = 32;

/// [`reduce`] of one chunk. Tables of `f32` hold a period, totals a value for
/// each channel; sums come first, sums of products second.
struct Reduce<'a, F> {
    x: &'a [f32],
    factor: F,
    origins: &'a [f32],
    partial: &'a mut [f32],
    totals: &'a mut [f64],
}

impl<F: Factor> Operation for Reduce<'_, F> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { x, factor, origins, partial, totals } = self;
        let period = origins.len();
        totals.fill(0.0);
        for block in (0..x.len()).step_by(BLOCK * period) {
            partial.fill(0.0);
            let (sums, products) = partial.split_at_mut(period);
            for start in (block..x.len().min(block + BLOCK * period)).step_by(period) {
                // Cut, so that lanes behind the end deviate by 0.
                let origins = &origins[..period.min(x.len() - start)];
                for place in (0..origins.len()).step_by(S::LANES) {
                    let at = start + place;
                    let deviation = simd.sub(get(simd, x, at), get(simd, origins, place));
                    let factor = factor.eval(simd, at, deviation);
                    let sum = simd.add(get(simd, sums, place), factor);
                    put(simd, sum, sums, place);
                    let product = simd.fma(factor, deviation, get(simd, products, place));
                    put(simd, product, products, place);
                }
            }
            add_periods(partial, totals, period);
        }
    }
}

/// Adds tables of `f32`, a period each, to the totals of as many kinds.
fn add_periods(partial: &[f32], totals: &mut [f64], period: usize) {
    let channels = totals.len() / (partial.len() / period);
    for (partial, totals) in partial.chunks_exact(period).zip(totals.chunks_exact_mut(channels)) {
        for pixel in partial.chunks_exact(channels) {
            totals.iter_mut().zip(pixel).for_each(|(total, &sum)| *total += f64::from(sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_pools, random};

    #[test]
    fn sums_of_any_shape_are_those_of_f64() {
        for (pixels, channels) in [(1, 1), (1, 40), (7, 3), (300, 5), (1000, 16), (9000, 24)] {
            let x = random(pixels * channels, 1);
            let mut expected = ChannelSums::new(channels);
            for pixel in x.chunks(channels) {
                for (channel, &x) in pixel.iter().enumerate() {
                    expected.sums[channel] += f64::from(x);
                    expected.squares[channel] += f64::from(x) * f64::from(x);
                }
            }
            let sums = in_pools(|| {
                let mut sums = ChannelSums::new(channels);
                sums.measure(&x, &mut Scratch::new());
                sums
            });
            let close = |found: &[f64], expected: &[f64]| {
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6 * pixels as f64)
            };
            assert!(close(&sums.sums, &expected.sums), "{pixels} × {channels}");
            assert!(close(&sums.squares, &expected.squares), "{pixels} × {channels}");
        }
    }

    #[test]
    fn periods_hold_whole_pixels_and_lines() {
        for channels in (1..70).chain([96, 1280, 1281]) {
            let Period { len, .. } = Period::new(channels);
            assert!(len.is_multiple_of(channels) && len.is_multiple_of(LINE) && len >= 256);
        }
    }

    #[test]
    #[should_panic(expected = "7 values of 2 channels")]
    fn ragged_pixels_are_refused() {
        ChannelSums::new(2).measure(&[0.0; 7], &mut Scratch::new());
    }
}
