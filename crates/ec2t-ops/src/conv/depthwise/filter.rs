//! Forward pass and backward pass of one image: register tiles of a few pixels of a row,
//! for one vector of channels after the other.
//!
//! A backward pass is a forward pass from the gradient of the output to that of the
//! input, which also adds up the gradient of the weights ([`Correlation`]).

use ec2t_kernels::arch::{Operation, Simd};

use super::super::axis::Run;
use super::{LANES, Plane};

/// One image of a forward pass or a backward pass.
pub(super) struct Filter<'a> {
    pub(super) plane: &'a Plane,
    pub(super) source: &'a [f32],
    /// Memory for a band of the source.
    pub(super) band: &'a mut [f32],
    /// `[tap][channel]`, channels filled up.
    pub(super) weights: &'a [f32],
    pub(super) target: &'a mut [f32],
    pub(super) accumulate: bool,
    pub(super) correlation: Option<Correlation<'a>>,
}

/// The gradient of the weights, which takes no more reads than that of the input:
/// for each value of the target, it joins what that value's taps read anyway with
/// the value of the layer's input at the same place.
pub(super) struct Correlation<'a> {
    /// The layer's input, as long as the target.
    pub(super) x: &'a [f32],
    /// To be added to; `[tap][channel]`, channels filled up.
    pub(super) sums: &'a mut [f32],
}

impl Operation for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let Self { plane, source, .. } = self;
        for rows in plane.bands() {
            let origin = plane.copy(source, rows.clone(), self.band);
            for row in rows {
                self.prefetch(simd, row + 1);
                for (run, taps) in plane.runs(row) {
                    self.run(simd, Place { run, taps, origin, row, pixel: 0 });
                }
            }
        }
    }
}

/// Where pixels of a target lie.
#[derive(Clone, Copy)]
struct Place<'a> {
    run: &'a Run,
    taps: &'a [(usize, usize)],
    /// The band's first pixel in the padded source.
    origin: usize,
    row: usize,
    /// The first pixel, counted in the run.
    pixel: usize,
}

impl Filter<'_> {
    /// Asks for the next row of what is written and joined: neighbours in it are too
    /// far apart for the hardware to guess.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, simd: S, row: usize) {
        let row_len = self.plane.target[1] * self.plane.channels;
        let x = self.correlation.as_ref().map(|Correlation { x, .. }| *x);
        for values in [Some(&*self.target), x].into_iter().flatten() {
            let row = values.get(row * row_len..(row + 1) * row_len).unwrap_or_default();
            row.chunks(LANES).for_each(|line| simd.prefetch(line));
        }
    }

    /// All pixels of a run.
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S, mut at: Place<'_>) {
        let channels = self.plane.channels;
        if !channels.is_multiple_of(S::LANES) {
            simd.outline(LastChannels(self, at));
        }
        while at.pixel < at.run.len && channels >= S::LANES {
            at.pixel += self.pixels(simd, at);
        }
    }

    /// A register tile of pixels of a run, for all channels that fill vectors;
    /// returns how many they are.
    #[inline(always)]
    fn pixels<S: Simd>(&mut self, simd: S, at: Place<'_>) -> usize {
        match at.run.len - at.pixel {
            8.. if S::REGISTERS >= 32 => self.tile::<S, 8, 10, 12, 17, 19>(simd, at),
            4.. => self.tile::<S, 4, 6, 8, 9, 11>(simd, at),
            2.. => self.tile::<S, 2, 4, 6, 5, 7>(simd, at),
            _ => self.tile::<S, 1, 3, 5, 3, 5>(simd, at),
        }
    }

    /// `P` pixels of a run. The other numbers are those of the pixels that three and
    /// five taps read, with stride 1 and with stride 2.
    #[inline(always)]
    fn tile<
        S: Simd,
        const P: usize,
        const R31: usize,
        const R51: usize,
        const R32: usize,
        const R52: usize,
    >(
        &mut self,
        simd: S,
        at: Place<'_>,
    ) -> usize {
        match (at.run.taps.len(), neighbours(at.run)) {
            (3, Some(1)) => simd.outline(Neighbours::<P, 3, 1, R31>(self, at)),
            (5, Some(1)) => simd.outline(Neighbours::<P, 5, 1, R51>(self, at)),
            (3, Some(2)) => simd.outline(Neighbours::<P, 3, 2, R32>(self, at)),
            (5, Some(2)) => simd.outline(Neighbours::<P, 5, 2, R52>(self, at)),
            _ => simd.outline(AnyTaps::<P>(self, at)),
        }
        P
    }

    /// Where the values of a pixel of the target begin.
    #[inline(always)]
    fn target_start(&self, at: Place<'_>, pixel: usize) -> usize {
        let x = at.run.first + (at.pixel + pixel) * at.run.step;
        (at.row * self.plane.target[1] + x) * self.plane.channels
    }

    /// Writes or adds a vector of channels of neighbours in the run, `step` values
    /// apart.
    #[inline(always)]
    fn write<S: Simd, const P: usize>(
        &mut self,
        simd: S,
        start: usize,
        step: usize,
        sums: [S::F32; P],
    ) {
        for (mut sum, target) in sums.into_iter().zip(self.target[start..].chunks_mut(step)) {
            let target = &mut target[..S::LANES];
            if self.accumulate {
                sum = simd.add(simd.load(target), sum);
            }
            simd.store(sum, target);
        }
    }
}

/// `P` pixels whose taps, `T` in each kernel row, read `R` neighbouring pixels of a
/// row, `STEP` for the first tap of one pixel and the next.
struct Neighbours<'a, 'f, const P: usize, const T: usize, const STEP: usize, const R: usize>(
    &'a mut Filter<'f>,
    Place<'a>,
);

impl<const P: usize, const T: usize, const STEP: usize, const R: usize> Operation
    for Neighbours<'_, '_, P, T, STEP, R>
{
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        const { assert!(R == (P - 1) * STEP + T) };
        let Self(filter, at) = self;
        let (channels, weights) = (filter.plane.channels, filter.weights);
        let padded = channels.next_multiple_of(LANES);
        let (target, step) = (filter.target_start(at, 0), at.run.step * channels);
        for channel in (0..=channels - S::LANES).step_by(S::LANES) {
            let mut values = [simd.splat(0.0); P];
            for taps in at.taps.chunks_exact(T) {
                let first = (taps[0].1 - at.origin + at.pixel * STEP) * channels + channel;
                let read: [S::F32; R] = simd.load_strided(&filter.band[first..], channels);
                for (t, &(tap, _)) in taps.iter().enumerate() {
                    let weight = simd.load(&weights[tap * padded + channel..]);
                    for (p, value) in values.iter_mut().enumerate() {
                        *value = simd.fma(read[p * STEP + t], weight, *value);
                    }
                }
                if let Some(Correlation { x, sums }) = &mut filter.correlation {
                    let x: [S::F32; P] = simd.load_strided(&x[target + channel..], step);
                    for (t, &(tap, _)) in taps.iter().enumerate() {
                        let sums = &mut sums[tap * padded + channel..];
                        let mut sum = simd.load(sums);
                        for (p, &x) in x.iter().enumerate() {
                            sum = simd.fma(read[p * STEP + t], x, sum);
                        }
                        simd.store(sum, sums);
                    }
                }
            }
            filter.write(simd, target + channel, step, values);
        }
    }
}

/// `P` pixels with any taps.
struct AnyTaps<'a, 'f, const P: usize>(&'a mut Filter<'f>, Place<'a>);

impl<const P: usize> Operation for AnyTaps<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self(filter, at) = self;
        let (channels, weights) = (filter.plane.channels, filter.weights);
        let padded = channels.next_multiple_of(LANES);
        let (target, step) = (filter.target_start(at, 0), at.run.step * channels);
        let source_step = at.run.source_step * channels;
        for channel in (0..=channels - S::LANES).step_by(S::LANES) {
            let mut values = [simd.splat(0.0); P];
            for &(tap, first) in at.taps {
                let weight = simd.load(&weights[tap * padded + channel..]);
                let start = (first - at.origin) * channels + at.pixel * source_step + channel;
                let read: [S::F32; P] = simd.load_strided(&filter.band[start..], source_step);
                for (value, &read) in values.iter_mut().zip(&read) {
                    *value = simd.fma(read, weight, *value);
                }
                if let Some(Correlation { x, sums }) = &mut filter.correlation {
                    let x: [S::F32; P] = simd.load_strided(&x[target + channel..], step);
                    let sums = &mut sums[tap * padded + channel..];
                    let mut sum = simd.load(sums);
                    for (&x, &read) in x.iter().zip(&read) {
                        sum = simd.fma(read, x, sum);
                    }
                    simd.store(sum, sums);
                }
            }
            filter.write(simd, target + channel, step, values);
        }
    }
}

/// The last channels of a run, fewer than a vector.
struct LastChannels<'a, 'f>(&'a mut Filter<'f>, Place<'a>);

impl Operation for LastChannels<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self(filter, at) = self;
        let channels = filter.plane.channels;
        let (rest, padded) = (channels % S::LANES, channels.next_multiple_of(LANES));
        let channel = channels - rest;
        for pixel in 0..at.run.len {
            let mut sum = simd.splat(0.0);
            let start = filter.target_start(at, pixel) + channel;
            for &(tap, first) in at.taps {
                let first = first - at.origin + pixel * at.run.source_step;
                let values = simd.load_partial(&filter.band[first * channels + channel..][..rest]);
                let weights = tap * padded + channel;
                let weight = simd.load_partial(&filter.weights[weights..][..rest]);
                sum = simd.fma(values, weight, sum);
                if let Some(Correlation { x, sums }) = &mut filter.correlation {
                    let x = simd.load_partial(&x[start..][..rest]);
                    let sums = &mut sums[weights..][..rest];
                    simd.store_partial(simd.fma(values, x, simd.load_partial(sums)), sums);
                }
            }
            let target = &mut filter.target[start..][..rest];
            let kept = if filter.accumulate { &*target } else { &[] };
            simd.store_partial(simd.add(simd.load_partial(kept), sum), target);
        }
    }
}

/// How far apart the sources of neighbouring pixels are, if the taps of a run read
/// neighbouring sources.
fn neighbours(run: &Run) -> Option<usize> {
    let side_by_side = run.taps.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1);
    side_by_side.then_some(run.source_step)
}
