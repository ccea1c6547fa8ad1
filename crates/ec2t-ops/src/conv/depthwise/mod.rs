//! Convolution of each channel by itself (`groups` = channels in = channels out).
//!
//! Lanes are channels, so stride and dilation concern whole vectors. A band of
//! rows of the source is copied first, with zeros around it where taps reach beyond
//! ([`band`]): the copy streams through memory in order and stays in the cache, and
//! no pixel is a border then. Pixels of a row that read through the same taps are a
//! run, which serves the input gradient as well, whose phases are runs with a step.
//! Where taps read three or five neighbours, a few pixels share what they read in
//! registers ([`filter`]). The gradient of the weights is joined from what the
//! gradient of the input reads, so the two are one pass.

mod band;
mod filter;

use self::{
    band::Plane,
    filter::{Correlation, Filter},
};
use crate::{
    chunks::{CHUNKS, split, split_mut, split_scratch},
    conv::{Backward, ChannelSums},
    scratch::Scratch,
    shares::Shares,
};
use ec2t_kernels::{
    ConvShape,
    arch::{Isa, Operation, Simd},
};
use rayon::prelude::*;

/// Channels are filled up to a multiple of this in weights and their gradient:
/// the longest vector.
const LANES: usize = 16;

/// Pixels whose sum in `f32` is added to a total.
const SUM_PIXELS: usize = 256;

/// Both directions of one layer.
#[derive(Clone, Debug)]
pub(super) struct Depthwise {
    shape: ConvShape,
    isa: Isa,
    forward: Plane,
    backward: Plane,
}

/// One image of a backward pass.
struct Image<'a> {
    x: &'a [f32],
    /// The gradient of the output.
    source: &'a [f32],
    /// The gradient of the input.
    target: &'a mut [f32],
    band: &'a mut [f32],
}

/// Whether every channel is a group of its own.
pub(super) fn is_depthwise(shape: &ConvShape) -> bool {
    shape.groups == shape.in_channels && shape.groups == shape.out_channels
}

impl Depthwise {
    pub(super) fn new(shape: ConvShape, isa: Isa) -> Self {
        let (forward, backward) = (Plane::forward(&shape), Plane::backward(&shape));
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
        channel_sums: Option<&mut ChannelSums>,
        scratch: &mut Scratch,
    ) {
        let summed = if channel_sums.is_some() { 2 * self.shape.in_channels } else { 0 };
        let packed = self.padded() * self.shape.taps();
        let fixed = packed + CHUNKS * summed;
        let bands = Shares::count() * plane.band_len();
        let (floats, totals) = scratch.take(fixed + bands, CHUNKS * summed);
        let (floats, bands) = floats.split_at_mut(fixed);
        let (packed, sums) = floats.split_at_mut(packed);
        totals.fill(0.0);
        self.pack(weights, packed);
        let (weights, bands) = (&*packed, Shares::new(bands));
        (
            split_mut(target, batch),
            split(source, batch),
            split_scratch(sums, summed),
            split_scratch(totals, summed),
        )
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(target, source, sums, totals)| {
                let images = target.chunks_exact_mut(plane.target_len());
                for (target, source) in images.zip(source.chunks_exact(plane.source_len())) {
                    bands.with(|band| {
                        let target = &mut *target;
                        let correlation = None;
                        self.isa.run(Filter {
                            plane,
                            source,
                            band,
                            weights,
                            target,
                            accumulate,
                            correlation,
                        });
                    });
                    if summed > 0 {
                        for y in target.chunks(SUM_PIXELS * self.shape.in_channels) {
                            sums.fill(0.0);
                            self.isa.run(SumPixels { y, sums });
                            add(sums, totals);
                        }
                    }
                }
            });
        if let Some(channel_sums) = channel_sums {
            channel_sums.reduce(totals);
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
        let (len, inputs) = (self.padded() * self.shape.taps(), self.shape.input_len());
        let (fixed, band) = (len + CHUNKS * len, self.backward.band_len());
        let shares = Shares::count() * (band + inputs);
        let (floats, totals) = scratch.take(fixed + shares, CHUNKS * len);
        let (floats, shares) = floats.split_at_mut(fixed);
        let (weights, sums) = floats.split_at_mut(len);
        weights.fill(0.0); // nobody wants the gradient of the input
        totals.fill(0.0);
        let (weights, shares) = (&*weights, Shares::new(shares));
        (split(x, batch), split(gy, batch), split_scratch(sums, len), split_scratch(totals, len))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(x, gy, sums, totals)| {
                let gradients = gy.chunks_exact(self.shape.output_len());
                for (x, source) in x.chunks_exact(inputs).zip(gradients) {
                    shares.with(|share| {
                        let (band, target) = share.split_at_mut(band);
                        self.gradients(Image { x, source, target, band }, weights, false, sums);
                    });
                    add(sums, totals);
                }
            });
        self.reduce(totals, gw);
    }

    pub(super) fn backward(&self, batch: usize, operands: Backward<'_>, scratch: &mut Scratch) {
        let Backward { x, gy, w, gx, accumulate, gw } = operands;
        let (len, inputs) = (self.padded() * self.shape.taps(), self.shape.input_len());
        let (fixed, band) = (len + CHUNKS * len, self.backward.band_len());
        let (floats, totals) = scratch.take(fixed + Shares::count() * band, CHUNKS * len);
        let (floats, bands) = floats.split_at_mut(fixed);
        let (weights, sums) = floats.split_at_mut(len);
        self.pack(w, weights);
        totals.fill(0.0);
        let (weights, bands) = (&*weights, Shares::new(bands));
        (
            split(x, batch),
            split(gy, batch),
            split_mut(gx, batch),
            split_scratch(sums, len),
            split_scratch(totals, len),
        )
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(x, gy, gx, sums, totals)| {
                let images = x.chunks_exact(inputs).zip(gx.chunks_exact_mut(inputs));
                for ((x, target), source) in images.zip(gy.chunks_exact(self.shape.output_len())) {
                    bands.with(|band| {
                        let target = &mut *target;
                        self.gradients(
                            Image { x, source, target, band },
                            weights,
                            accumulate,
                            sums,
                        );
                    });
                    add(sums, totals);
                }
            });
        self.reduce(totals, gw);
    }

    /// Both gradients of one image; that of the weights, `[tap][channel]`, to `sums`.
    fn gradients(&self, image: Image<'_>, weights: &[f32], accumulate: bool, sums: &mut [f32]) {
        sums.fill(0.0);
        let Image { x, source, target, band } = image;
        let (plane, correlation) = (&self.backward, Some(Correlation { x, sums }));
        self.isa.run(Filter { plane, source, band, weights, target, accumulate, correlation });
    }

    /// Weights `[C, 1, KH, KW]` as `[tap][channel]`, channels filled up.
    fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        for (tap, packed) in packed.chunks_exact_mut(self.padded()).enumerate() {
            let weights = weights[tap..].iter().step_by(self.shape.taps());
            packed.iter_mut().zip(weights).for_each(|(to, from)| *to = *from);
        }
    }

    /// Adds the chunks' sums, `[tap][channel]`, in order.
    fn reduce(&self, sums: &mut [f64], gw: &mut [f32]) {
        let (total, others) = sums.split_at_mut(sums.len() / CHUNKS);
        for part in others.chunks_exact(total.len()) {
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        for (channel, gw) in gw.chunks_exact_mut(self.shape.taps()).enumerate() {
            let total = total[channel..].iter().step_by(self.padded());
            gw.iter_mut().zip(total).for_each(|(to, from)| *to = *from as f32);
        }
    }
}

/// Adds sums to those of a chunk.
fn add(sums: &[f32], totals: &mut [f64]) {
    totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(*sum));
}

/// Adds pixels, and their squares, to `[sums, squares]`.
struct SumPixels<'a> {
    y: &'a [f32],
    sums: &'a mut [f32],
}

impl Operation for SumPixels<'_> {
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
