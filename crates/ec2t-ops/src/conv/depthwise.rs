//! Convolution of each channel by itself (`groups` = channels in = channels out).
//!
//! Lanes are channels, so padding, stride and dilation concern whole vectors: a
//! row of pixels is cut into runs that read through the same taps, which needs no
//! border code, and serves the input gradient as well, whose phases are runs with
//! a step. Channels are taken two vectors at a time, and pixels four.

use super::axis::{Axis, Run};
use crate::{
    chunks::{CHUNKS, split, split_mut, split_scratch},
    conv::ChannelSums,
    scratch::Scratch,
};
use ec2t_kernels::{
    ConvShape,
    arch::{Isa, Operation, Simd, strided},
};
use rayon::prelude::*;

/// Vectors of channels side by side.
const VECTORS: usize = 2;

/// Pixels of a register tile, at most.
const PIXELS: usize = 6;

/// Channels are filled up to a multiple of this in weights and their gradient:
/// the longest vector.
const LANES: usize = 16;

/// Runs of one layer, for both directions.
#[derive(Clone, Debug)]
pub(super) struct Depthwise {
    shape: ConvShape,
    isa: Isa,
    forward: Plane,
    backward: Plane,
}

/// What the pixels of a target plane read.
#[derive(Clone, Debug)]
struct Plane {
    /// For each row, the kernel rows inside the source, each with what it reads.
    rows: Vec<Vec<(usize, usize)>>,
    columns: Vec<Run>,
    /// `[row][run]`: the taps inside, each with the source pixel of the run's first.
    taps: Vec<Vec<(usize, usize)>>,
    /// Columns of the target.
    width: usize,
}

impl Plane {
    fn new([rows, columns]: [Axis; 2], source_width: usize) -> Self {
        let (kernel_width, width) = (columns.taps(), columns.len());
        let rows: Vec<Vec<_>> = (0..rows.len()).map(|row| rows.inside(row).collect()).collect();
        let columns = columns.runs();
        let mut taps = Vec::with_capacity(rows.len() * columns.len());
        for row in &rows {
            taps.extend(columns.iter().map(|run| {
                let across = |&(ky, y): &(usize, usize)| {
                    let place = move |&(kx, x): &(usize, usize)| {
                        (ky * kernel_width + kx, y * source_width + x)
                    };
                    run.taps.iter().map(place)
                };
                row.iter().flat_map(across).collect()
            }));
        }
        Self { rows, columns, taps, width }
    }

    /// The taps of a row's runs.
    fn taps(&self, row: usize) -> &[Vec<(usize, usize)>] {
        &self.taps[row * self.columns.len()..][..self.columns.len()]
    }
}

/// Whether every channel is a group of its own.
pub(super) fn is_depthwise(shape: &ConvShape) -> bool {
    shape.groups == shape.in_channels && shape.groups == shape.out_channels
}

impl Depthwise {
    pub(super) fn new(shape: ConvShape, isa: Isa) -> Self {
        let forward = Plane::new([0, 1].map(|dim| Axis::forward(&shape, dim)), shape.input[1]);
        let backward = Plane::new([0, 1].map(|dim| Axis::backward(&shape, dim)), shape.output[1]);
        Self { shape, isa, forward, backward }
    }

    pub(super) fn forward(
        &self,
        batch: usize,
        x: &[f32],
        weights: &[f32],
        y: &mut [f32],
        sums: Option<&mut ChannelSums>,
        scratch: &mut Scratch,
    ) {
        self.filter(&self.forward, batch, x, weights, y, false, sums, scratch);
    }

    pub(super) fn input_gradient(
        &self,
        batch: usize,
        gy: &[f32],
        weights: &[f32],
        gx: &mut [f32],
        accumulate: bool,
        scratch: &mut Scratch,
    ) {
        self.filter(&self.backward, batch, gy, weights, gx, accumulate, None, scratch);
    }

    #[expect(clippy::too_many_arguments, reason = "both directions in one")]
    fn filter(
        &self,
        plane: &Plane,
        batch: usize,
        source: &[f32],
        weights: &[f32],
        target: &mut [f32],
        accumulate: bool,
        sums: Option<&mut ChannelSums>,
        scratch: &mut Scratch,
    ) {
        let channels = self.shape.in_channels;
        let summed = if sums.is_some() { 2 * channels } else { 0 };
        let packed = self.padded() * self.shape.taps();
        let (floats, totals) = scratch.take(packed + CHUNKS * summed, CHUNKS * summed);
        let (packed, image_sums) = floats.split_at_mut(packed);
        totals.fill(0.0);
        for (tap, packed) in packed.chunks_exact_mut(self.padded()).enumerate() {
            let weights = weights[tap..].iter().step_by(self.shape.taps());
            packed.iter_mut().zip(weights).for_each(|(to, from)| *to = *from);
        }

        let weights = &*packed;
        let target_image = plane.rows.len() * plane.width * channels;
        let source_image = self.shape.input_len() + self.shape.output_len() - target_image;
        (
            split_mut(target, batch),
            split(source, batch),
            split_scratch(image_sums, summed),
            split_scratch(totals, summed),
        )
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(target, source, image_sums, totals)| {
                let images = target.chunks_exact_mut(target_image);
                for (target, source) in images.zip(source.chunks_exact(source_image)) {
                    let y = &mut *target;
                    self.isa.run(Filter {
                        plane,
                        channels,
                        source,
                        weights,
                        target: y,
                        accumulate,
                    });
                    if summed > 0 {
                        image_sums.fill(0.0);
                        self.isa.run(SumImage { y: target, sums: image_sums });
                        let sums = totals.iter_mut().zip(&*image_sums);
                        sums.for_each(|(total, sum)| *total += f64::from(*sum));
                    }
                }
            });
        if let Some(sums) = sums {
            sums.reduce(totals);
        }
    }

    /// Channels, filled up to whole vectors.
    fn padded(&self) -> usize {
        self.shape.in_channels.next_multiple_of(LANES)
    }

    pub(super) fn weight_gradient(
        &self,
        batch: usize,
        x: &[f32],
        gy: &[f32],
        gw: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let len = self.padded() * self.shape.taps();
        let (sums, _) = scratch.take(CHUNKS * len, 0);
        sums.fill(0.0);
        (split_scratch(sums, len), split(x, batch), split(gy, batch))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(sums, x, gy)| {
                let xs = x.chunks_exact(self.shape.input_len());
                for (x, gy) in xs.zip(gy.chunks_exact(self.shape.output_len())) {
                    let (shape, padded, plane) = (&self.shape, self.padded(), &self.forward);
                    self.isa.run(Correlate { plane, shape, padded, x, gy, sums });
                }
            });
        let (total, others) = sums.split_at_mut(len);
        for part in others.chunks_exact(len) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        for (channel, gw) in gw.chunks_exact_mut(self.shape.taps()).enumerate() {
            let total = total[channel..].iter().step_by(self.padded());
            gw.iter_mut().zip(total).for_each(|(to, from)| *to = *from);
        }
    }
}

/// One image of a forward pass or an input gradient.
struct Filter<'a> {
    plane: &'a Plane,
    channels: usize,
    source: &'a [f32],
    /// `[tap][channel]`, channels filled up.
    weights: &'a [f32],
    target: &'a mut [f32],
    accumulate: bool,
}

impl Operation for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let plane = self.plane;
        for row in 0..plane.rows.len() {
            for (run, taps) in plane.columns.iter().zip(plane.taps(row)) {
                let tiles = run.len.div_ceil(PIXELS);
                for tile in 0..tiles {
                    let pixels = tile * run.len / tiles..(tile + 1) * run.len / tiles;
                    let at = Place { run, taps, row, pixel: pixels.start, channel: 0 };
                    let filter = &mut self;
                    match pixels.len() {
                        1 => simd.outline(Tile::<1>(filter, at)),
                        2 => simd.outline(Tile::<2>(filter, at)),
                        3 => simd.outline(Tile::<3>(filter, at)),
                        4 => simd.outline(Tile::<4>(filter, at)),
                        5 => simd.outline(Tile::<5>(filter, at)),
                        _ => simd.outline(Tile::<PIXELS>(filter, at)),
                    }
                }
            }
        }
    }
}

/// Where a register tile of a filter lies.
#[derive(Clone, Copy)]
struct Place<'a> {
    run: &'a Run,
    taps: &'a [(usize, usize)],
    row: usize,
    /// The first pixel, counted in the run.
    pixel: usize,
    channel: usize,
}

/// All channels of a few pixels.
struct Tile<'a, 'f, const PIXELS: usize>(&'a mut Filter<'f>, Place<'a>);

impl<const PIXELS: usize> Operation for Tile<'_, '_, PIXELS> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Tile(filter, mut at) = self;
        let whole = filter.channels - filter.channels % S::LANES;
        let wide = whole - whole % (VECTORS * S::LANES);
        for channel in (0..wide).step_by(VECTORS * S::LANES) {
            at.channel = channel;
            filter.tile::<S, VECTORS, PIXELS>(simd, at);
        }
        if wide < whole {
            at.channel = wide;
            filter.tile::<S, 1, PIXELS>(simd, at);
        }
        if whole < filter.channels {
            at.channel = whole;
            filter.rest::<S, PIXELS>(simd, at);
        }
    }
}

impl Filter<'_> {
    #[inline(always)]
    fn tile<S: Simd, const V: usize, const P: usize>(&mut self, simd: S, at: Place<'_>) {
        let Place { run, taps, row, pixel, channel } = at;
        let (channels, padded) = (self.channels, self.channels.next_multiple_of(LANES));
        let step = run.source_step * channels;
        let source = &self.source[pixel * step + channel..];
        let weights = &self.weights[channel..];
        let mut sums = [[simd.splat(0.0); V]; P];
        for &(tap, first) in taps {
            let weights = simd.load_strided::<V>(&weights[tap * padded..], S::LANES);
            let pixels = strided(&source[first * channels..], step, V * S::LANES, P);
            for (sums, values) in sums.iter_mut().zip(pixels) {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.fma(simd.load(&values[v * S::LANES..]), weights[v], *sum);
                }
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            let x = run.first + (pixel + p) * run.step;
            let target = (row * self.plane.width + x) * channels + channel;
            let target = self.target[target..].chunks_exact_mut(S::LANES);
            for (&sum, target) in sums.iter().zip(target) {
                let sum = if self.accumulate { simd.add(simd.load(target), sum) } else { sum };
                simd.store(sum, target);
            }
        }
    }

    /// The last channels, fewer than a vector.
    #[inline(always)]
    fn rest<S: Simd, const P: usize>(&mut self, simd: S, at: Place<'_>) {
        let Place { run, taps, row, pixel, channel } = at;
        let (channels, padded) = (self.channels, self.channels.next_multiple_of(LANES));
        let rest = channels - channel;
        for pixel in pixel..pixel + P {
            let mut sum = simd.splat(0.0);
            for &(tap, first) in taps {
                let source = (first + pixel * run.source_step) * channels + channel;
                let weight = &self.weights[tap * padded + channel..][..rest];
                let values = &self.source[source..][..rest];
                sum = simd.fma(simd.load_partial(values), simd.load_partial(weight), sum);
            }
            let x = run.first + pixel * run.step;
            let target = (row * self.plane.width + x) * channels + channel;
            let target = &mut self.target[target..][..rest];
            let kept = if self.accumulate { &*target } else { &[] };
            simd.store_partial(simd.add(simd.load_partial(kept), sum), target);
        }
    }
}

/// Adds an image's pixels, and their squares, to `[sums, squares]`.
struct SumImage<'a> {
    y: &'a [f32],
    sums: &'a mut [f32],
}

impl Operation for SumImage<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let channels = self.sums.len() / 2;
        let (sums, squares) = self.sums.split_at_mut(channels);
        for pixel in self.y.chunks_exact(channels) {
            let sums = sums.chunks_mut(S::LANES).zip(squares.chunks_mut(S::LANES));
            for (values, (sum, square)) in pixel.chunks(S::LANES).zip(sums) {
                if values.len() == S::LANES {
                    let value = simd.load(values);
                    simd.store(simd.add(simd.load(sum), value), sum);
                    simd.store(simd.fma(value, value, simd.load(square)), square);
                } else {
                    let value = simd.load_partial(values);
                    simd.store_partial(simd.add(simd.load_partial(sum), value), sum);
                    let total = simd.fma(value, value, simd.load_partial(square));
                    simd.store_partial(total, square);
                }
            }
        }
    }
}

/// The weights' gradient of one image, added to `sums`, `[tap][channel]`.
struct Correlate<'a> {
    plane: &'a Plane,
    shape: &'a ConvShape,
    padded: usize,
    x: &'a [f32],
    gy: &'a [f32],
    sums: &'a mut [f32],
}

impl Operation for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let channels = self.shape.in_channels;
        let whole = channels - channels % S::LANES;
        let wide = whole - whole % (VECTORS * S::LANES);
        for channel in (0..wide).step_by(VECTORS * S::LANES) {
            self.block::<S, VECTORS>(simd, channel);
        }
        if wide < whole {
            self.block::<S, 1>(simd, wide);
        }
        if whole < channels {
            self.partial_block(simd, whole);
        }
    }
}

impl Correlate<'_> {
    /// All taps, for channels that fill vectors; up to five taps of a row at once.
    #[inline(always)]
    fn block<S: Simd, const V: usize>(&mut self, simd: S, channel: usize) {
        let plane = self.plane;
        for run in &plane.columns {
            for ky in 0..self.shape.kernel[0] {
                for taps in run.taps.chunks(5) {
                    let place = TapsPlace { run, ky, taps, channel };
                    let correlate = &mut *self;
                    match taps.len() {
                        1 => simd.outline(Taps::<V, 1>(correlate, place)),
                        2 => simd.outline(Taps::<V, 2>(correlate, place)),
                        3 => simd.outline(Taps::<V, 3>(correlate, place)),
                        4 => simd.outline(Taps::<V, 4>(correlate, place)),
                        _ => simd.outline(Taps::<V, 5>(correlate, place)),
                    }
                }
            }
        }
    }

    /// All taps, for the last channels, fewer than a vector.
    #[inline(always)]
    fn partial_block<S: Simd>(&mut self, simd: S, channel: usize) {
        let [input_width, output_width] = [self.shape.input[1], self.shape.output[1]];
        let channels = self.shape.in_channels;
        let rest = channels - channel;
        for row in 0..self.plane.rows.len() {
            for &(ky, y) in &self.plane.rows[row] {
                for run in &self.plane.columns {
                    for &(kx, x) in &run.taps {
                        let mut sum = simd.splat(0.0);
                        for pixel in 0..run.len {
                            let x = y * input_width + x + pixel * run.source_step;
                            let p = row * output_width + run.first + pixel;
                            let x = simd.load_partial(&self.x[x * channels + channel..][..rest]);
                            let gy = simd.load_partial(&self.gy[p * channels + channel..][..rest]);
                            sum = simd.fma(x, gy, sum);
                        }
                        let tap = ky * self.shape.kernel[1] + kx;
                        let target = &mut self.sums[tap * self.padded + channel..][..rest];
                        let total = simd.add(simd.load_partial(target), sum);
                        simd.store_partial(total, target);
                    }
                }
            }
        }
    }
}

/// Where neighbouring taps of one kernel row are, over all pixels of a run of
/// columns.
#[derive(Clone, Copy)]
struct TapsPlace<'a> {
    run: &'a Run,
    ky: usize,
    taps: &'a [(usize, usize)],
    channel: usize,
}

/// Adds `T` neighbouring taps, for `V` vectors of channels.
struct Taps<'a, 'c, const V: usize, const T: usize>(&'a mut Correlate<'c>, TapsPlace<'a>);

impl<const V: usize, const T: usize> Operation for Taps<'_, '_, V, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Taps(correlate, TapsPlace { run, ky, taps, channel }) = self;
        let [input_width, output_width] = [correlate.shape.input[1], correlate.shape.output[1]];
        let channels = correlate.shape.in_channels;
        let between = correlate.shape.dilation[1] * channels;
        let (first_tap, first_x) = taps[0];
        let mut sums = [[simd.splat(0.0); T]; V];
        for (row, inside) in correlate.plane.rows.iter().enumerate() {
            let Some(&(_, y)) = inside.iter().find(|(tap, _)| *tap == ky) else { continue };
            let x = &correlate.x[(y * input_width + first_x) * channels + channel..];
            let gy = &correlate.gy[(row * output_width + run.first) * channels + channel..];
            for pixel in 0..run.len {
                let x = &x[pixel * run.source_step * channels..];
                let gy = simd.load_strided::<V>(&gy[pixel * channels..], S::LANES);
                for (v, (sums, &gy)) in sums.iter_mut().zip(&gy).enumerate() {
                    let x = strided(&x[v * S::LANES..], between, S::LANES, T);
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = simd.fma(simd.load(x), gy, *sum);
                    }
                }
            }
        }
        for (v, sums) in sums.iter().enumerate() {
            for (t, &sum) in sums.iter().enumerate() {
                let tap = ky * correlate.shape.kernel[1] + first_tap + t;
                let target = &mut correlate.sums[tap * correlate.padded + channel + v * S::LANES..];
                simd.store(simd.add(simd.load(target), sum), target);
            }
        }
    }
}
