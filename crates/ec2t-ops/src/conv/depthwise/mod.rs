//! Convolution of each channel by itself (`groups` = channels in = channels out).
//!
//! Activations are `[N, H, W, C]`. Lanes are channels, so stride and dilation concern
//! whole vectors. A band of rows of the source is copied first, with zeros around it
//! where taps reach beyond ([`band`]): the copy streams through memory in order and
//! stays in the cache, and no pixel is a border then. Pixels of a row that read through
//! the same taps are a run, which serves the input gradient as well, whose phases are
//! runs with a step. Where taps read three or five neighbours, a few pixels share what
//! they read in registers ([`filter`]). The gradient of the weights is joined from what
//! the gradient of the input reads, so the two are one pass.

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

/// The gradient of the input, where somebody wants it.
struct InputGradient<'a> {
    weights: &'a [f32],
    gx: &'a mut [f32],
    accumulate: bool,
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
        self.gradients(batch, x, gy, None, gw, scratch);
    }

    pub(super) fn backward(&self, batch: usize, operands: Backward<'_>, scratch: &mut Scratch) {
        let Backward { x, gy, w: weights, gx, accumulate, gw } = operands;
        let input = InputGradient { weights, gx, accumulate };
        self.gradients(batch, x, gy, Some(input), gw, scratch);
    }

    /// Both gradients in one pass. That of the input goes to a share of the scratch,
    /// image after image, where nobody wants it.
    fn gradients(
        &self,
        batch: usize,
        x: &[f32],
        gy: &[f32],
        input: Option<InputGradient<'_>>,
        gw: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (len, inputs) = (self.padded() * self.shape.taps(), self.shape.input_len());
        let (plane, fixed) = (&self.backward, len + CHUNKS * len);
        let unwanted = if input.is_some() { 0 } else { inputs };
        let shares = Shares::count() * (plane.band_len() + unwanted);
        let (floats, totals) = scratch.take(fixed + shares, CHUNKS * len);
        let (floats, shares) = floats.split_at_mut(fixed);
        let (weights, sums) = floats.split_at_mut(len);
        totals.fill(0.0);
        let (gx, accumulate) = match input {
            Some(input) => {
                self.pack(input.weights, weights);
                (input.gx, input.accumulate)
            }
            None => {
                weights.fill(0.0);
                (&mut [][..], false)
            }
        };
        let (weights, shares) = (&*weights, Shares::new(shares));
        (
            split(x, batch),
            split(gy, batch),
            split_mut(gx, batch),
            split_scratch(sums, len),
            split_scratch(totals, len),
        )
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(x, gy, mut gx, sums, totals)| {
                let gradients = gy.chunks_exact(self.shape.output_len());
                for (x, source) in x.chunks_exact(inputs).zip(gradients) {
                    sums.fill(0.0);
                    shares.with(|share| {
                        let (band, unwanted) = share.split_at_mut(plane.band_len());
                        let target = gx.split_off_mut(..inputs).unwrap_or(unwanted);
                        let correlation = Some(Correlation { x, sums });
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
                    add(sums, totals);
                }
            });
        self.reduce(totals, gw);
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
