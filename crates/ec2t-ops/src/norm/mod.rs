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

mod passes;
mod statistics;

pub use statistics::Statistics;

use ec2t_kernels::arch::dispatch;
use rayon::prelude::*;

use crate::Scratch;
use crate::lanes::{mask_len, take};
use crate::sums::{Factor, Period, reduce};
use passes::{Backward, Forward};

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
            let centre = statistics.mean()[channel] * f64::from(factor(channel));
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
        let (len, channels, statistics) = (x.len(), self.channels(), self.statistics);
        let operands = [gx.len(), gradient.values.len(), residual.len().unwrap_or(len)];
        assert_eq!(operands, [len; 3], "operands");
        let found = [parameters.weight.len(), parameters.bias.len()];
        assert_eq!(found, [channels; 2], "gradients of {channels} channels");
        assert_eq!(gradient.mask.map_or(mask_len(len), <[_]>::len), mask_len(len), "mask");

        let origin = |channel: usize| statistics.mean()[channel] as f32;
        let [sum, products] = reduce(x, channels, origin, gradient, scratch);
        for channel in 0..channels {
            let product = products[channel] * statistics.inv_std(channel);
            parameters.weight[channel] = product as f32;
            parameters.bias[channel] = sum[channel] as f32;
        }

        let period = Period::new(channels);
        let (tables, _) = scratch.take(3 * period.len, 0);
        let tables = self.gradient_tables(len / channels, &parameters, period, tables);
        let parts = period.parts(x).map(|part| Backward {
            x: &x[part.clone()],
            gradient: gradient.part(part.clone()),
            tables,
            gx: take(&mut gx, part.len()),
            residual: residual.take(part.len()),
        });
        parts.into_par_iter().for_each(dispatch);
    }

    /// Tables for `gx = table₀ · g + table₁ · x + table₂`, of a period each.
    fn gradient_tables<'a>(
        &self,
        pixels: usize,
        parameters: &AffineGradient<'_>,
        period: Period,
        tables: &'a mut [f32],
    ) -> [&'a [f32]; 3] {
        let Self { weight, statistics, .. } = *self;
        let mean = |sum: f32| f64::from(sum) / pixels as f64;
        let scale = |channel: usize| f64::from(weight[channel]) * statistics.inv_std(channel);
        let of_x = |channel: usize| {
            let slope = statistics.inv_std(channel) * mean(parameters.weight[channel]);
            (-scale(channel) * slope) as f32
        };
        let rest = |channel: usize| {
            let centre = f64::from(of_x(channel)) * statistics.mean()[channel];
            (-scale(channel) * mean(parameters.bias[channel]) - centre) as f32
        };
        let [first, second, third] = split_tables(tables, period.len);
        period.repeat(first, |channel| scale(channel) as f32);
        period.repeat(second, of_x);
        period.repeat(third, rest);
        [first, second, third]
    }

    fn channels(&self) -> usize {
        let channels = self.weight.len();
        let found = [self.bias.len(), self.statistics.mean().len()];
        assert_eq!(found, [channels; 2], "parameters of {channels} channels");
        channels
    }
}

/// Tables of a period each.
fn split_tables<const N: usize>(mut tables: &mut [f32], period: usize) -> [&mut [f32]; N] {
    std::array::from_fn(|_| take(&mut tables, period))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::ChannelSums;
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
    fn one_pixel_has_no_variance_and_no_gradient() {
        let found = Case::new(1, 20).run(Rectifier::Identity, false);
        assert!(found.gx.iter().all(|g| g.abs() < 1e-3), "{:?}", found.gx);
    }

    /// Filters whose weights are all zero give exactly 0.
    #[test]
    fn the_rectified_gradient_at_zero_is_zero() {
        let mut case = Case::new(20, 5);
        for values in [&mut case.x, &mut case.bias, &mut case.residual] {
            values.fill(0.0);
        }
        for rectifier in [Rectifier::Relu, Rectifier::Relu6] {
            let found = case.run(rectifier, false);
            assert!([found.gx, found.residual].iter().flatten().all(|g| *g == 0.0));
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let mut case = Case::new(4, 2);
        case.x[2] = f32::NAN;
        let y = case.run(Rectifier::Relu6, false).y;
        let nan: Vec<bool> = y.iter().map(|y| y.is_nan()).collect();
        assert_eq!(nan, [true, false, true, false, true, false, true, false]);
    }
}
