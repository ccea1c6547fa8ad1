//! Convolution of each channel by itself (`groups` = channels in = channels out).
//!
//! Lanes are channels, so padding, stride and dilation concern whole vectors: a
//! row of pixels is cut into runs that read through the same taps, which needs no
//! border code, and serves the input gradient as well, whose phases are runs with
//! a step. Where a run's taps read three or five neighbours, as they do but at the
//! borders, a few pixels share what they read in registers ([`filter`],
//! [`correlate`]). A block of rows that fits into the cache is done for one vector
//! of channels after the other.

mod correlate;
mod filter;

use self::{correlate::Correlate, filter::Filter};
use super::axis::{Axis, Run};
use crate::{
    chunks::{CHUNKS, split, split_mut, split_scratch},
    conv::{Backward, ChannelSums},
    scratch::Scratch,
};
use ec2t_kernels::{
    ConvShape,
    arch::{Isa, Operation, Simd},
};
use rayon::prelude::*;
use std::ops::Range;

/// Values of a block of rows, which stay in the cache while its channels pass by.
const BLOCK_VALUES: usize = 1 << 13;

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
    /// `[row][run]`: the taps inside, each with the source pixel of the run's first,
    /// by kernel row and then by source.
    taps: Vec<Vec<(usize, usize)>>,
    /// Columns of the target.
    width: usize,
    /// Rows of the source.
    source_height: usize,
}

impl Plane {
    fn new([rows, columns]: [Axis; 2], [source_height, source_width]: [usize; 2]) -> Self {
        let (kernel_width, width) = (columns.taps(), columns.len());
        let rows: Vec<Vec<_>> = (0..rows.len()).map(|row| rows.inside(row).collect()).collect();
        let mut columns = columns.runs();
        for run in &mut columns {
            run.taps.sort_by_key(|&(_, source)| source);
        }
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
        Self { rows, columns, taps, width, source_height }
    }

    /// Rows of the target whose values fill the cache.
    fn block_rows(&self, channels: usize) -> usize {
        (BLOCK_VALUES / (self.width * channels).max(1)).max(1)
    }

    /// The taps of a row's runs.
    fn taps(&self, row: usize) -> &[Vec<(usize, usize)>] {
        &self.taps[row * self.columns.len()..][..self.columns.len()]
    }
}

/// How far apart the sources of neighbouring pixels are, if the taps of a run read
/// neighbouring sources.
fn neighbours(run: &Run) -> Option<usize> {
    let side_by_side = run.taps.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1);
    side_by_side.then_some(run.source_step)
}

/// Asks for a part of some values, counted in parts of which there are `of`.
#[inline(always)]
fn prefetch<S: Simd>(simd: S, values: &[f32], part: Range<usize>, of: usize) {
    let place = |part: usize| values.len() * part / of.max(1);
    for at in (place(part.start)..place(part.end.min(of))).step_by(LANES) {
        simd.prefetch(&values[at..]);
    }
}

/// Whether every channel is a group of its own.
pub(super) fn is_depthwise(shape: &ConvShape) -> bool {
    shape.groups == shape.in_channels && shape.groups == shape.out_channels
}

impl Depthwise {
    pub(super) fn new(shape: ConvShape, isa: Isa) -> Self {
        let forward = Plane::new([0, 1].map(|dim| Axis::forward(&shape, dim)), shape.input);
        let backward = Plane::new([0, 1].map(|dim| Axis::backward(&shape, dim)), shape.output);
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
        self.pack(weights, packed);
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
        self.reduce(sums, gw);
    }

    /// Both gradients, image by image: the second finds `gy` in the cache.
    pub(super) fn backward(&self, batch: usize, operands: Backward<'_>, scratch: &mut Scratch) {
        let Backward { x, gy, w, gx, accumulate, gw } = operands;
        let (channels, len) = (self.shape.in_channels, self.padded() * self.shape.taps());
        let (floats, _) = scratch.take(len + CHUNKS * len, 0);
        let (weights, sums) = floats.split_at_mut(len);
        self.pack(w, weights);
        sums.fill(0.0);
        let weights = &*weights;
        (split(x, batch), split(gy, batch), split_mut(gx, batch), split_scratch(sums, len))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(x, gy, gx, sums)| {
                let inputs = self.shape.input_len();
                let images = x.chunks_exact(inputs).zip(gx.chunks_exact_mut(inputs));
                for ((x, target), gy) in images.zip(gy.chunks_exact(self.shape.output_len())) {
                    let (plane, source) = (&self.backward, gy);
                    self.isa.run(Filter { plane, channels, source, weights, target, accumulate });
                    let (shape, padded, plane) = (&self.shape, self.padded(), &self.forward);
                    self.isa.run(Correlate { plane, shape, padded, x, gy, sums });
                }
            });
        self.reduce(sums, gw);
    }

    /// Weights `[C, 1, KH, KW]` as `[tap][channel]`, channels filled up.
    fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        for (tap, packed) in packed.chunks_exact_mut(self.padded()).enumerate() {
            let weights = weights[tap..].iter().step_by(self.shape.taps());
            packed.iter_mut().zip(weights).for_each(|(to, from)| *to = *from);
        }
    }

    /// Adds the chunks' sums, `[tap][channel]`, in order.
    fn reduce(&self, sums: &mut [f32], gw: &mut [f32]) {
        let (total, others) = sums.split_at_mut(sums.len() / CHUNKS);
        for part in others.chunks_exact(total.len()) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        for (channel, gw) in gw.chunks_exact_mut(self.shape.taps()).enumerate() {
            let total = total[channel..].iter().step_by(self.padded());
            gw.iter_mut().zip(total).for_each(|(to, from)| *to = *from);
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
