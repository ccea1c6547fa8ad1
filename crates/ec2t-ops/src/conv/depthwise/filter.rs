//! Forward pass and input gradient of one image.

use ec2t_kernels::arch::{Operation, Simd, strided};

use super::super::axis::Run;
use super::{LANES, Plane, neighbours, prefetch};

/// One image of a forward pass or an input gradient.
pub(super) struct Filter<'a> {
    pub(super) plane: &'a Plane,
    pub(super) channels: usize,
    pub(super) source: &'a [f32],
    /// `[tap][channel]`, channels filled up.
    pub(super) weights: &'a [f32],
    pub(super) target: &'a mut [f32],
    pub(super) accumulate: bool,
}

impl Operation for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let Self { plane, channels, source, .. } = self;
        for row in 0..plane.rows.len() {
            // In the order of memory: taps jump too much for the hardware to guess.
            if let Some(&(_, next)) = plane.rows.get(row + 1).and_then(|taps| taps.last()) {
                prefetch(simd, source, next..next + 1, plane.source_height);
            }
            for (run, taps) in plane.columns.iter().zip(plane.taps(row)) {
                let mut at = Place { run, taps, row, pixel: 0, channel: 0 };
                while at.pixel < run.len {
                    at.pixel += self.pixels(simd, at);
                }
                at = Place { pixel: 0, channel: channels - channels % S::LANES, ..at };
                if at.channel < channels {
                    simd.outline(LastChannels(&mut self, at));
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
    row: usize,
    /// The first pixel, counted in the run.
    pixel: usize,
    /// The first channel.
    channel: usize,
}

impl Filter<'_> {
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
        (at.row * self.plane.width + x) * self.channels + at.channel
    }

    /// Writes or adds a vector of channels of neighbours in the run.
    #[inline(always)]
    fn write<S: Simd, const P: usize>(&mut self, simd: S, at: Place<'_>, sums: [S::F32; P]) {
        for (pixel, mut sum) in sums.into_iter().enumerate() {
            let start = self.target_start(at, pixel);
            let target = &mut self.target[start..][..S::LANES];
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
        let Self(filter, mut at) = self;
        let (channels, padded) = (filter.channels, filter.channels.next_multiple_of(LANES));
        while at.channel + S::LANES <= channels {
            let mut sums = [simd.splat(0.0); P];
            for taps in at.taps.chunks_exact(T) {
                let first = (taps[0].1 + at.pixel * STEP) * channels + at.channel;
                let read: [S::F32; R] = simd.load_strided(&filter.source[first..], channels);
                for (t, &(tap, _)) in taps.iter().enumerate() {
                    let weight = simd.load(&filter.weights[tap * padded + at.channel..]);
                    for (p, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.fma(read[p * STEP + t], weight, *sum);
                    }
                }
            }
            filter.write(simd, at, sums);
            at.channel += S::LANES;
        }
    }
}

/// `P` pixels with any taps.
struct AnyTaps<'a, 'f, const P: usize>(&'a mut Filter<'f>, Place<'a>);

impl<const P: usize> Operation for AnyTaps<'_, '_, P> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self(filter, mut at) = self;
        let (channels, padded) = (filter.channels, filter.channels.next_multiple_of(LANES));
        let step = at.run.source_step * channels;
        while at.channel + S::LANES <= channels {
            let source = &filter.source[at.pixel * step + at.channel..];
            let mut sums = [simd.splat(0.0); P];
            for &(tap, first) in at.taps {
                let weight = simd.load(&filter.weights[tap * padded + at.channel..]);
                let pixels = strided(&source[first * channels..], step, S::LANES, P);
                for (sum, pixel) in sums.iter_mut().zip(pixels) {
                    *sum = simd.fma(simd.load(pixel), weight, *sum);
                }
            }
            filter.write(simd, at, sums);
            at.channel += S::LANES;
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
        let (channels, padded) = (filter.channels, filter.channels.next_multiple_of(LANES));
        let rest = channels - at.channel;
        for pixel in 0..at.run.len {
            let mut sum = simd.splat(0.0);
            for &(tap, first) in at.taps {
                let source = (first + pixel * at.run.source_step) * channels + at.channel;
                let weight = &filter.weights[tap * padded + at.channel..][..rest];
                let values = &filter.source[source..][..rest];
                sum = simd.fma(simd.load_partial(values), simd.load_partial(weight), sum);
            }
            let start = filter.target_start(at, pixel);
            let target = &mut filter.target[start..][..rest];
            let kept = if filter.accumulate { &*target } else { &[] };
            simd.store_partial(simd.add(simd.load_partial(kept), sum), target);
        }
    }
}
