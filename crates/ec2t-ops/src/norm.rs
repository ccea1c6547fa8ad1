//! Batch normalisation (Ioffe & Szegedy 2015) of `[pixels, C]`, fused with the
//! residual that is added and the rectifier that follows.
//!
//! Forward, with the mean μ and the biased variance σ² of the batch,
//!
//! ```text
//! y = rectifier((x − μ) / √(σ² + ε) · weight + bias (+ residual))
//! ```
//!
//! in one pass, which also keeps, as one bit for each value, where the rectifier
//! has the gradient 1. Backward, with x̂ the normalised input, g the output's
//! gradient where that bit is set and 0 elsewhere, and M pixels,
//!
//! ```text
//! gx = weight / √(σ² + ε) · (g − Σg / M − x̂ · Σ(g·x̂) / M)
//! ```
//!
//! in one pass that sums and one that writes. As in PyTorch, running statistics,
//! with which evaluation normalises, take the unbiased variance.

use std::ops::Range;

use ec2t_kernels::arch::{Operation, Simd, dispatch};
use rayon::prelude::*;

use crate::Scratch;
use crate::conv::ChannelSums;
use crate::lanes::{LINE, get, mask, mask_len, put, take};
use crate::sums::{Deviation, Factor, Period, reduce};

/// Mean and variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    eps: f64,
    mean: Vec<f64>,
    var: Vec<f64>,
}

impl Statistics {
    /// Means of 0 and variances of 1; `eps` is added to the variance.
    pub fn new(channels: usize, eps: f32) -> Self {
        Self { eps: eps.into(), mean: vec![0.0; channels], var: vec![1.0; channels] }
    }

    /// Takes the statistics of a batch `x`, `[pixels, C]`, with these sums.
    ///
    /// Where a mean is so large that the difference of sums says little about
    /// the variance, `x` is read once more.
    ///
    /// # Panics
    ///
    /// If there are no pixels, or the channels differ.
    pub fn set_batch(&mut self, x: &[f32], sums: &ChannelSums, scratch: &mut Scratch) {
        let channels = self.mean.len();
        assert_eq!(
            [sums.sums.len(), sums.squares.len()],
            [channels; 2],
            "sums of {channels} channels"
        );
        assert!(!x.is_empty() && x.len().is_multiple_of(channels), "no whole pixels");
        let count = (x.len() / channels) as f64;
        for ((mean, var), (sum, squares)) in self.moments().zip(sums.sums.iter().zip(&sums.squares))
        {
            *mean = sum / count;
            *var = squares / count - *mean * *mean;
        }
        if self.moments().any(|(mean, var)| *var * MEAN_TO_VARIANCE < *mean * *mean) {
            self.refine(x, count, scratch);
        }
    }

    /// Corrects the moments by those of `x − mean`.
    fn refine(&mut self, x: &[f32], count: f64, scratch: &mut Scratch) {
        let channels = self.mean.len();
        let origin = |channel: usize| self.mean[channel] as f32;
        let [sum, squares] = reduce(x, channels, origin, Deviation, scratch);
        for ((mean, var), (sum, squares)) in self.moments().zip(sum.iter().zip(squares)) {
            let deviation = sum / count;
            *mean = f64::from(*mean as f32) + deviation;
            *var = squares / count - deviation * deviation;
            if *var < 0.0 {
                *var = 0.0; // max would hide what is not a number
            }
        }
    }

    /// Takes running statistics, for evaluation.
    ///
    /// # Panics
    ///
    /// If the channels differ.
    pub fn set_running(&mut self, mean: &[f32], var: &[f32]) {
        assert_eq!([mean.len(), var.len()], [self.mean.len(); 2], "channels");
        for ((mean, var), (&new_mean, &new_var)) in self.moments().zip(mean.iter().zip(var)) {
            (*mean, *var) = (new_mean.into(), new_var.into());
        }
    }

    /// Moves running statistics towards those of a batch of `pixels`; `momentum`
    /// is the weight of the batch.
    pub fn update_running(&self, pixels: usize, momentum: f32, mean: &mut [f32], var: &mut [f32]) {
        let unbiased = pixels as f64 / (pixels.max(2) - 1) as f64;
        let step = |running: &mut f32, new: f64| *running += momentum * (new as f32 - *running);
        mean.iter_mut().zip(&self.mean).for_each(|(running, new)| step(running, *new));
        var.iter_mut().zip(&self.var).for_each(|(running, new)| step(running, new * unbiased));
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Variance of each channel, biased when of a batch.
    pub fn var(&self) -> &[f64] {
        &self.var
    }

    fn moments(&mut self) -> impl Iterator<Item = (&mut f64, &mut f64)> {
        self.mean.iter_mut().zip(&mut self.var)
    }

    fn inv_std(&self, channel: usize) -> f64 {
        (self.var[channel] + self.eps).sqrt().recip()
    }
}

/// From which ratio of squared mean and variance on the variance is not the
/// difference of sums: at this one it has an error of about 1e-4.
const MEAN_TO_VARIANCE: f64 = 1024.0;

/// What follows the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rectifier {
    /// Nothing.
    Identity,
    /// `max(y, 0)`.
    Relu,
    /// `min(max(y, 0), 6)`.
    Relu6,
}

impl Rectifier {
    /// Least and greatest value.
    fn bounds(self) -> [f32; 2] {
        match self {
            Rectifier::Identity => [f32::NEG_INFINITY, f32::INFINITY],
            Rectifier::Relu => [0.0, f32::INFINITY],
            Rectifier::Relu6 => [0.0, 6.0],
        }
    }
}

/// The gradient of the output: the values, and the bits that the forward pass
/// left, where there was a rectifier.
#[derive(Clone, Copy, Debug)]
pub struct OutputGradient<'a> {
    /// `[pixels, C]`.
    pub values: &'a [f32],
    /// Where the rectifier has the gradient 1, else 0.
    pub mask: Option<&'a [u16]>,
}

/// What to do with the gradient of the residual.
#[derive(Debug)]
pub enum ResidualGradient<'a> {
    /// There was no residual.
    None,
    /// Write it here.
    Write(&'a mut [f32]),
    /// Add it to what is here.
    Accumulate(&'a mut [f32]),
}

/// Where the gradients of the parameters go.
#[derive(Debug)]
pub struct AffineGradient<'a> {
    /// Of the weight, `[C]`.
    pub weight: &'a mut [f32],
    /// Of the bias, `[C]`.
    pub bias: &'a mut [f32],
}

/// A normalisation: its parameters, `[C]` each, and the statistics in use.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Factor on the normalised values.
    pub weight: &'a [f32],
    /// What is added.
    pub bias: &'a [f32],
    /// Of the batch in training, running ones in evaluation.
    pub statistics: &'a Statistics,
}

impl BatchNorm<'_> {
    /// Normalises `x`, `[pixels, C]`; bits for the backward pass go to `mask`, of
    /// [`mask_len`] words.
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn forward(
        &self,
        x: &[f32],
        residual: Option<&[f32]>,
        rectifier: Rectifier,
        mut y: &mut [f32],
        mut mask: Option<&mut [u16]>,
        scratch: &mut Scratch,
    ) {
        let Self { weight, bias, statistics } = *self;
        let len = y.len();
        assert_eq!([x.len(), residual.map_or(len, <[_]>::len)], [len; 2], "operands");
        assert_eq!(mask.as_ref().map_or(mask_len(len), |m| m.len()), mask_len(len), "mask");

        let period = Period::new(self.channels());
        let (tables, _) = scratch.take(2 * period.len, 0);
        let [scale, shift] = split_tables(tables, period.len);
        let factor = |channel| (f64::from(weight[channel]) * statistics.inv_std(channel)) as f32;
        period.repeat(scale, factor);
        period.repeat(shift, |channel| {
            let centre = statistics.mean[channel] * f64::from(factor(channel));
            (f64::from(bias[channel]) - centre) as f32
        });
        let tables = [&*scale, shift];

        let parts = period.parts(x).map(|part| Forward {
            x: &x[part.clone()],
            residual: residual.map(|residual| &residual[part.clone()]),
            tables,
            bounds: rectifier.bounds(),
            y: take(&mut y, part.len()),
            mask: mask.as_mut().map(|mask| take(mask, mask_len(part.len()))),
        });
        parts.into_par_iter().for_each(dispatch);
    }

    /// Writes the gradients of `x`, of the parameters and of the residual. `x` and
    /// the statistics are the forward pass's.
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn backward(
        &self,
        x: &[f32],
        gradient: OutputGradient<'_>,
        mut gx: &mut [f32],
        mut residual: ResidualGradient<'_>,
        parameters: AffineGradient<'_>,
        scratch: &mut Scratch,
    ) {
        let Self { weight, statistics, .. } = *self;
        let (len, channels) = (x.len(), self.channels());
        let operands = [gx.len(), gradient.values.len(), residual.len().unwrap_or(len)];
        assert_eq!(operands, [len; 3], "operands");
        assert_eq!(gradient.mask.map_or(mask_len(len), <[_]>::len), mask_len(len), "mask");

        let origin = |channel: usize| statistics.mean[channel] as f32;
        let [sum, products] = reduce(x, channels, origin, gradient, scratch);
        for channel in 0..channels {
            let product = products[channel] * statistics.inv_std(channel);
            parameters.weight[channel] = product as f32;
            parameters.bias[channel] = sum[channel] as f32;
        }

        // gx = of_g · g + of_x · x + rest
        let period = Period::new(channels);
        let (tables, _) = scratch.take(3 * period.len, 0);
        let [of_g, of_x, rest] = split_tables(tables, period.len);
        let pixels = (len / channels) as f64;
        let scale = |channel: usize| f64::from(weight[channel]) * statistics.inv_std(channel);
        let slope = |channel: usize| {
            let mean_product = f64::from(parameters.weight[channel]) / pixels;
            (-scale(channel) * statistics.inv_std(channel) * mean_product) as f32
        };
        period.repeat(of_g, |channel| scale(channel) as f32);
        period.repeat(of_x, slope);
        period.repeat(rest, |channel| {
            let mean_gradient = f64::from(parameters.bias[channel]) / pixels;
            let centre = f64::from(slope(channel)) * statistics.mean[channel];
            (-scale(channel) * mean_gradient - centre) as f32
        });
        let tables = [&*of_g, of_x, rest];

        let parts = period.parts(x).map(|part| Backward {
            x: &x[part.clone()],
            gradient: gradient.part(part.clone()),
            tables,
            gx: take(&mut gx, part.len()),
            residual: residual.take(part.len()),
        });
        parts.into_par_iter().for_each(dispatch);
    }

    fn channels(&self) -> usize {
        let channels = self.weight.len();
        let found = [self.bias.len(), self.statistics.mean.len()];
        assert_eq!(found, [channels; 2], "parameters of {channels} channels");
        channels
    }
}

/// Tables of a period each.
fn split_tables<const N: usize>(mut tables: &mut [f32], period: usize) -> [&mut [f32]; N] {
    std::array::from_fn(|_| take(&mut tables, period))
}

impl Factor for OutputGradient<'_> {
    #[inline(always)]
    fn eval<S: Simd>(self, simd: S, at: usize, _: S::F32) -> S::F32 {
        let g = get(simd, self.values, at);
        match self.mask {
            Some(words) => simd.select(mask(simd, words, at), g, simd.splat(0.0)),
            None => g,
        }
    }

    fn part(self, part: Range<usize>) -> Self {
        let words = part.start / LINE..mask_len(part.end);
        Self { values: &self.values[part], mask: self.mask.map(|mask| &mask[words]) }
    }
}

impl<'a> ResidualGradient<'a> {
    fn len(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Write(values) | Self::Accumulate(values) => Some(values.len()),
        }
    }

    fn take(&mut self, len: usize) -> Self {
        match self {
            Self::None => Self::None,
            Self::Write(values) => Self::Write(take(values, len)),
            Self::Accumulate(values) => Self::Accumulate(take(values, len)),
        }
    }
}

/// [`BatchNorm::forward`] of one chunk; tables are scale and shift of a period.
struct Forward<'a> {
    x: &'a [f32],
    residual: Option<&'a [f32]>,
    tables: [&'a [f32]; 2],
    bounds: [f32; 2],
    y: &'a mut [f32],
    mask: Option<&'a mut [u16]>,
}

impl Operation for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { x, residual, tables: [scale, shift], bounds, y, mut mask } = self;
        let [least, greatest] = bounds.map(|bound| simd.splat(bound));
        for start in (0..x.len()).step_by(scale.len()) {
            for line in (start..x.len().min(start + scale.len())).step_by(LINE) {
                let mut bits = 0;
                for lane in (0..LINE).step_by(S::LANES) {
                    let (at, place) = (line + lane, line + lane - start);
                    let (scale, shift) = (get(simd, scale, place), get(simd, shift, place));
                    let mut v = simd.fma(get(simd, x, at), scale, shift);
                    if let Some(residual) = residual {
                        v = simd.add(v, get(simd, residual, at));
                    }
                    let above = simd.mask_to_bits(simd.gt(v, least));
                    let below = simd.mask_to_bits(simd.gt(greatest, v));
                    bits |= (above & below) << lane;
                    put(simd, simd.min(greatest, simd.max(least, v)), y, at);
                }
                if let Some(mask) = &mut mask {
                    mask[line / LINE] = bits;
                }
            }
        }
    }
}

/// [`BatchNorm::backward`] of one chunk, after the sums; tables hold the factors
/// of g and x and the rest, of a period.
struct Backward<'a> {
    x: &'a [f32],
    gradient: OutputGradient<'a>,
    tables: [&'a [f32]; 3],
    gx: &'a mut [f32],
    residual: ResidualGradient<'a>,
}

impl Operation for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { x, gradient, tables: [of_g, of_x, rest], gx, mut residual } = self;
        for start in (0..x.len()).step_by(rest.len()) {
            for at in (start..x.len().min(start + rest.len())).step_by(S::LANES) {
                let place = at - start;
                let values = get(simd, x, at);
                let g = gradient.eval(simd, at, values);
                let linear = simd.fma(values, get(simd, of_x, place), get(simd, rest, place));
                put(simd, simd.fma(g, get(simd, of_g, place), linear), gx, at);
                match &mut residual {
                    ResidualGradient::None => {}
                    ResidualGradient::Write(values) => put(simd, g, values, at),
                    ResidualGradient::Accumulate(values) => {
                        put(simd, simd.add(g, get(simd, values, at)), values, at);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, dot, gradient, in_pools, random, wide};

    const EPS: f32 = 1e-5;

    /// Batch normalisation by its definition, in f64, and then the rectifier.
    fn defined(
        x: &[f64],
        [weight, bias]: [&[f64]; 2],
        residual: &[f64],
        bounds: [f32; 2],
    ) -> Vec<f64> {
        let channels = weight.len();
        let of = |channel: usize| x.iter().skip(channel).step_by(channels);
        let pixels = (x.len() / channels) as f64;
        (0..x.len())
            .map(|i| {
                let channel = i % channels;
                let mean = of(channel).sum::<f64>() / pixels;
                let var = of(channel).map(|x| (x - mean).powi(2)).sum::<f64>() / pixels;
                let normal = (x[i] - mean) / (var + f64::from(EPS)).sqrt();
                let y = normal * weight[channel] + bias[channel] + residual[i];
                y.clamp(bounds[0].into(), bounds[1].into())
            })
            .collect()
    }

    /// One forward and backward pass through the public functions.
    #[derive(Debug, PartialEq)]
    struct Outcome {
        y: Vec<f32>,
        gx: Vec<f32>,
        weight: Vec<f32>,
        bias: Vec<f32>,
        residual: Vec<f32>,
    }

    struct Case {
        x: Vec<f32>,
        weight: Vec<f32>,
        bias: Vec<f32>,
        residual: Vec<f32>,
        g: Vec<f32>,
    }

    impl Case {
        fn new(pixels: usize, channels: usize) -> Self {
            let [x, residual, g] = [1, 2, 3].map(|seed| random(pixels * channels, seed));
            let [weight, bias] = [4, 5].map(|seed| random(channels, seed));
            Self { x, weight, bias, residual, g }
        }

        fn run(&self, rectifier: Rectifier, accumulate: bool) -> Outcome {
            let (len, channels) = (self.x.len(), self.weight.len());
            let scratch = &mut Scratch::new();
            let mut sums = ChannelSums::new(channels);
            sums.measure(&self.x, scratch);
            let mut statistics = Statistics::new(channels, EPS);
            statistics.set_batch(&self.x, &sums, scratch);
            let norm =
                BatchNorm { weight: &self.weight, bias: &self.bias, statistics: &statistics };

            let (mut y, mut mask) = (vec![f32::NAN; len], vec![0; mask_len(len)]);
            norm.forward(
                &self.x,
                Some(&self.residual),
                rectifier,
                &mut y,
                Some(&mut mask),
                scratch,
            );
            let gradient = OutputGradient { values: &self.g, mask: Some(&mask) };
            let mut gx = vec![f32::NAN; len];
            let mut residual = vec![if accumulate { 1.0 } else { f32::NAN }; len];
            let target = match accumulate {
                true => ResidualGradient::Accumulate(&mut residual),
                false => ResidualGradient::Write(&mut residual),
            };
            let (mut weight, mut bias) = (vec![0.0; channels], vec![0.0; channels]);
            let parameters = AffineGradient { weight: &mut weight, bias: &mut bias };
            norm.backward(&self.x, gradient, &mut gx, target, parameters, scratch);
            Outcome { y, gx, weight, bias, residual }
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        let shapes = [(3, 1), (5, 3), (9, 17), (30, 16), (40, 5), (6, 40)];
        for (pixels, channels) in shapes {
            let case = Case::new(pixels, channels);
            for rectifier in [Rectifier::Identity, Rectifier::Relu, Rectifier::Relu6] {
                let found = in_pools(|| case.run(rectifier, false));
                let bounds = rectifier.bounds();
                let [x, weight, bias, residual] =
                    [&case.x, &case.weight, &case.bias, &case.residual].map(|v| wide(v));
                let loss = |x: &[f64], weight: &[f64], bias: &[f64], residual: &[f64]| {
                    dot(&defined(x, [weight, bias], residual, bounds), &case.g)
                };
                assert_close(&found.y, &defined(&x, [&weight, &bias], &residual, bounds));
                let gx = gradient(&x, |x| loss(x, &weight, &bias, &residual));
                assert_close(&found.gx, &gx);
                assert_close(&found.weight, &gradient(&weight, |w| loss(&x, w, &bias, &residual)));
                assert_close(&found.bias, &gradient(&bias, |b| loss(&x, &weight, b, &residual)));
                assert_close(
                    &found.residual,
                    &gradient(&residual, |r| loss(&x, &weight, &bias, r)),
                );

                let added = case.run(rectifier, true).residual;
                assert!(added.iter().zip(&found.residual).all(|(a, r)| *a == 1.0 + r));
            }
        }
    }

    #[test]
    fn many_pixels_give_the_same_bits_on_any_number_of_threads() {
        let case = Case::new(9_001, 7);
        let found = in_pools(|| case.run(Rectifier::Relu, false));
        let [x, weight, bias, residual] =
            [&case.x, &case.weight, &case.bias, &case.residual].map(|v| wide(v));
        let slow = |x: &[f64]| -> Vec<f64> {
            // The definition is quadratic: normalise a channel at a time.
            let mut y = vec![0.0; x.len()];
            for channel in 0..7 {
                let pick =
                    |v: &[f64]| v.iter().skip(channel).step_by(7).copied().collect::<Vec<_>>();
                let (values, residual) = (pick(x), pick(&residual));
                let mean = values.iter().sum::<f64>() / 9_001.0;
                let var = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 9_001.0;
                let scale = weight[channel] / (var + f64::from(EPS)).sqrt();
                for (i, (x, r)) in values.iter().zip(residual).enumerate() {
                    y[i * 7 + channel] = ((x - mean) * scale + bias[channel] + r).max(0.0);
                }
            }
            y
        };
        assert_close(&found.y, &slow(&x));
    }

    #[test]
    fn a_mean_far_from_zero_does_not_hide_the_variance() {
        let channels = 3;
        let x: Vec<f32> = random(500 * channels, 1).iter().map(|x| 1000.0 + x / 8.0).collect();
        let scratch = &mut Scratch::new();
        let mut sums = ChannelSums::new(channels);
        sums.measure(&x, scratch);
        let mut statistics = Statistics::new(channels, EPS);
        statistics.set_batch(&x, &sums, scratch);
        for channel in 0..channels {
            let values: Vec<f64> = wide(&x).into_iter().skip(channel).step_by(channels).collect();
            let mean = values.iter().sum::<f64>() / 500.0;
            let var = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 500.0;
            assert!((statistics.mean()[channel] - mean).abs() < 1e-6);
            assert!((statistics.var()[channel] / var - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn one_pixel_has_no_variance_and_no_gradient() {
        let found = Case::new(1, 20).run(Rectifier::Identity, false);
        assert!(found.gx.iter().all(|g| g.abs() < 1e-3), "{:?}", found.gx);
    }

    #[test]
    fn what_is_not_a_number_stays_so_and_has_no_gradient() {
        let mut case = Case::new(4, 2);
        case.x[2] = f32::NAN;
        let y = case.run(Rectifier::Relu6, false).y;
        let nan: Vec<bool> = y.iter().map(|y| y.is_nan()).collect();
        assert_eq!(nan, [true, false, true, false, true, false, true, false]);
    }

    /// Numbers that `torch.nn.BatchNorm2d(2)` of PyTorch 2.15 prints with
    /// `set_printoptions(precision=8)`, for the batch `[1, 2], [2, 4], [4, 12]`.
    #[test]
    fn running_statistics_are_those_of_pytorch() {
        let x = [1.0, 2.0, 2.0, 4.0, 4.0, 12.0];
        let scratch = &mut Scratch::new();
        let mut sums = ChannelSums::new(2);
        sums.measure(&x, scratch);
        let mut statistics = Statistics::new(2, EPS);
        statistics.set_batch(&x, &sums, scratch);
        let (mut mean, mut var) = ([0.0; 2], [1.0; 2]);
        statistics.update_running(3, 0.1, &mut mean, &mut var);
        assert_close(&mean, &[0.233_333_33, 0.6]);
        assert_close(&var, &[1.133_333_33, 3.7]);

        statistics.set_running(&mean, &var);
        let norm = BatchNorm { weight: &[1.0; 2], bias: &[0.0; 2], statistics: &statistics };
        let mut y = [0.0; 6];
        norm.forward(&x, None, Rectifier::Identity, &mut y, None, scratch);
        assert_close(
            &y,
            &[0.720_154_70, 0.727_824_33, 1.659_487_01, 1.767_573_36, 3.538_151_50, 5.926_569_46],
        );
    }
}
