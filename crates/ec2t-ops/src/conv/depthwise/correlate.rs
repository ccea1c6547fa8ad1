//! Gradient of the weights from one image.

use std::ops::Range;

use ec2t_kernels::ConvShape;
use ec2t_kernels::arch::{Operation, Simd, strided};

use super::super::axis::Run;
use super::{Plane, neighbours, prefetch};

/// The weights' gradient of one image, added to `sums`, `[tap][channel]`.
pub(super) struct Correlate<'a> {
    /// Of the forward pass.
    pub(super) plane: &'a Plane,
    pub(super) shape: &'a ConvShape,
    /// Channels, filled up.
    pub(super) padded: usize,
    pub(super) x: &'a [f32],
    pub(super) gy: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl Operation for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let (plane, channels) = (self.plane, self.shape.in_channels);
        let block = plane.block_rows(channels);
        let height = plane.rows.len();
        for first in (0..height).step_by(block) {
            let rows = first..height.min(first + block);
            for values in [self.x, self.gy] {
                prefetch(simd, values, rows.end..rows.end + block, height);
            }
            for channel in (0..channels).step_by(S::LANES) {
                for run in &plane.columns {
                    for ky in 0..self.shape.kernel[0] {
                        let at = Place { run, ky, rows: rows.clone(), channel };
                        if channel + S::LANES <= channels {
                            self.kernel_row(simd, at);
                        } else {
                            simd.outline(LastChannels(&mut self, at));
                        }
                    }
                }
            }
        }
    }
}

/// A kernel row, and the pixels of the output that it is joined with.
#[derive(Clone)]
struct Place<'a> {
    run: &'a Run,
    ky: usize,
    rows: Range<usize>,
    /// The first channel.
    channel: usize,
}

impl Place<'_> {
    /// The rows of the output for which the kernel row lies inside the input, each
    /// with the row that it reads.
    #[inline(always)]
    fn rows(&self, plane: &Plane) -> impl Iterator<Item = (usize, usize)> {
        let ky = self.ky;
        self.rows.clone().filter_map(move |row| {
            let inside = plane.rows[row].iter().find(|(tap, _)| *tap == ky);
            inside.map(|&(_, y)| (row, y))
        })
    }
}

impl Correlate<'_> {
    /// A vector of channels of one kernel row's taps.
    #[inline(always)]
    fn kernel_row<S: Simd>(&mut self, simd: S, at: Place<'_>) {
        let long = at.run.len >= PIXELS;
        match (at.run.taps.len(), neighbours(at.run)) {
            (3, Some(1)) if long => simd.outline(Neighbours::<3, 1, 6>(self, at)),
            (5, Some(1)) if long => simd.outline(Neighbours::<5, 1, 8>(self, at)),
            (3, Some(2)) if long => simd.outline(Neighbours::<3, 2, 9>(self, at)),
            (5, Some(2)) if long => simd.outline(Neighbours::<5, 2, 11>(self, at)),
            _ => simd.outline(AnyTaps(self, at)),
        }
    }

    /// Values from a pixel of the input on.
    #[inline(always)]
    fn input(&self, y: usize, x: usize, channel: usize) -> &[f32] {
        let pixel = y * self.shape.input[1] + x;
        &self.x[pixel * self.shape.in_channels + channel..]
    }

    /// Values from a pixel of the output's gradient on.
    #[inline(always)]
    fn gradient(&self, row: usize, x: usize, channel: usize) -> &[f32] {
        let pixel = row * self.shape.output[1] + x;
        &self.gy[pixel * self.shape.in_channels + channel..]
    }

    /// Where the sums of a tap begin.
    #[inline(always)]
    fn sums_of(&mut self, at: &Place<'_>, kx: usize) -> &mut [f32] {
        let tap = at.ky * self.shape.kernel[1] + kx;
        &mut self.sums[tap * self.padded + at.channel..]
    }
}

/// Pixels that share what they read in registers.
const PIXELS: usize = 4;

/// `T` taps that read neighbouring pixels, `STEP` from one pixel of the output to the
/// next; `R` for [`PIXELS`] pixels.
struct Neighbours<'a, 'c, const T: usize, const STEP: usize, const R: usize>(
    &'a mut Correlate<'c>,
    Place<'a>,
);

impl<const T: usize, const STEP: usize, const R: usize> Operation
    for Neighbours<'_, '_, T, STEP, R>
{
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        const { assert!(R == (PIXELS - 1) * STEP + T) };
        let Self(correlate, at) = self;
        let (run, channels) = (at.run, correlate.shape.in_channels);
        // Two sets: three sums would wait for each other.
        let mut sums = [[simd.splat(0.0); T]; 2];
        for (row, y) in at.rows(correlate.plane) {
            let x = correlate.input(y, run.taps[0].1, at.channel);
            let gy = correlate.gradient(row, run.first, at.channel);
            let whole = run.len - run.len % PIXELS;
            for pixel in (0..whole).step_by(PIXELS) {
                let x: [S::F32; R] = simd.load_strided(&x[pixel * STEP * channels..], channels);
                let gy = strided(&gy[pixel * channels..], channels, S::LANES, PIXELS);
                for (p, gy) in gy.enumerate() {
                    let gy = simd.load(gy);
                    for (t, sum) in sums[p % 2].iter_mut().enumerate() {
                        *sum = simd.fma(x[p * STEP + t], gy, *sum);
                    }
                }
            }
            for pixel in whole..run.len {
                let x: [S::F32; T] = simd.load_strided(&x[pixel * STEP * channels..], channels);
                let gy = simd.load(&gy[pixel * channels..]);
                for (sum, x) in sums[0].iter_mut().zip(x) {
                    *sum = simd.fma(x, gy, *sum);
                }
            }
        }
        for (t, &(kx, _)) in run.taps.iter().enumerate().take(T) {
            let target = correlate.sums_of(&at, kx);
            let sum = simd.add(sums[0][t], sums[1][t]);
            simd.store(simd.add(simd.load(target), sum), target);
        }
    }
}

/// Any taps, one after the other.
struct AnyTaps<'a, 'c>(&'a mut Correlate<'c>, Place<'a>);

impl Operation for AnyTaps<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self(correlate, at) = self;
        let (run, channels) = (at.run, correlate.shape.in_channels);
        for &(kx, source) in &run.taps {
            let mut sum = simd.splat(0.0);
            for (row, y) in at.rows(correlate.plane) {
                let x = correlate.input(y, source, at.channel);
                let gy = correlate.gradient(row, run.first, at.channel);
                let x = strided(x, run.source_step * channels, S::LANES, run.len);
                for (x, gy) in x.zip(strided(gy, channels, S::LANES, run.len)) {
                    sum = simd.fma(simd.load(x), simd.load(gy), sum);
                }
            }
            let target = correlate.sums_of(&at, kx);
            simd.store(simd.add(simd.load(target), sum), target);
        }
    }
}

/// The last channels, fewer than a vector.
struct LastChannels<'a, 'c>(&'a mut Correlate<'c>, Place<'a>);

impl Operation for LastChannels<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self(correlate, at) = self;
        let (run, channels) = (at.run, correlate.shape.in_channels);
        let rest = channels - at.channel;
        for &(kx, source) in &run.taps {
            let mut sum = simd.splat(0.0);
            for (row, y) in at.rows(correlate.plane) {
                for pixel in 0..run.len {
                    let x = correlate.input(y, source + pixel * run.source_step, at.channel);
                    let gy = correlate.gradient(row, run.first + pixel, at.channel);
                    let [x, gy] = [x, gy].map(|values| simd.load_partial(&values[..rest]));
                    sum = simd.fma(x, gy, sum);
                }
            }
            let target = &mut correlate.sums_of(&at, kx)[..rest];
            simd.store_partial(simd.add(simd.load_partial(target), sum), target);
        }
    }
}
