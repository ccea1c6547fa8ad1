//! Mean and variance of each channel, of a batch or running.

use crate::Scratch;
use crate::conv::ChannelSums;
use crate::sums::{Deviation, reduce};

/// Mean and variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Added to the variance before the root is taken.
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
    ///
    /// # Panics
    ///
    /// If the channels differ.
    pub fn update_running(&self, pixels: usize, momentum: f32, mean: &mut [f32], var: &mut [f32]) {
        assert_eq!([mean.len(), var.len()], [self.mean.len(); 2], "channels");
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

    pub(super) fn inv_std(&self, channel: usize) -> f64 {
        (self.var[channel] + self.eps).sqrt().recip()
    }
}

/// From which ratio of squared mean and variance on the variance is not the
/// difference of sums: at this one it has an error of about 1e-4.
const MEAN_TO_VARIANCE: f64 = 1024.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::{BatchNorm, Rectifier};
    use crate::testing::{assert_close, random, wide};

    const EPS: f32 = 1e-5;

    fn of_batch(x: &[f32], channels: usize) -> Statistics {
        let scratch = &mut Scratch::new();
        let mut sums = ChannelSums::new(channels);
        sums.measure(x, scratch);
        let mut statistics = Statistics::new(channels, EPS);
        statistics.set_batch(x, &sums, scratch);
        statistics
    }

    #[test]
    fn a_mean_far_from_zero_does_not_hide_the_variance() {
        let channels = 3;
        let x: Vec<f32> = random(500 * channels, 1).iter().map(|x| 1000.0 + x / 8.0).collect();
        let statistics = of_batch(&x, channels);
        for channel in 0..channels {
            let values: Vec<f64> = wide(&x).into_iter().skip(channel).step_by(channels).collect();
            let mean = values.iter().sum::<f64>() / 500.0;
            let var = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 500.0;
            assert!((statistics.mean()[channel] - mean).abs() < 1e-6);
            assert!((statistics.var()[channel] / var - 1.0).abs() < 1e-5);
        }
    }

    /// Numbers that `torch.nn.BatchNorm2d(2)` of PyTorch 2.15 prints with
    /// `set_printoptions(precision=8)`, for the batch `[1, 2], [2, 4], [4, 12]`.
    #[test]
    fn running_statistics_are_those_of_pytorch() {
        let x = [1.0, 2.0, 2.0, 4.0, 4.0, 12.0];
        let mut statistics = of_batch(&x, 2);
        let (mut mean, mut var) = ([0.0; 2], [1.0; 2]);
        statistics.update_running(3, 0.1, &mut mean, &mut var);
        assert_close(&mean, &[0.233_333_33, 0.6]);
        assert_close(&var, &[1.133_333_33, 3.7]);

        statistics.set_running(&mean, &var);
        let norm = BatchNorm { weight: &[1.0; 2], bias: &[0.0; 2], statistics: &statistics };
        let mut y = [0.0; 6];
        norm.forward(&x, None, Rectifier::Identity, &mut y, None, &mut Scratch::new());
        assert_close(
            &y,
            &[0.720_154_70, 0.727_824_33, 1.659_487_01, 1.767_573_36, 3.538_151_50, 5.926_569_46],
        );
    }
}
