//! Batch normalisation (Ioffe & Szegedy 2015), per channel over N, H and W.
//!
//! Training uses the batch's mean and biased variance; the running statistics
//! that evaluation uses take the unbiased variance, as in PyTorch. A batch with
//! a single value per channel has none, and leaves them as they are; PyTorch
//! refuses it.

use candle_core::{D, Result, Tensor};
use ec2t_format::graph::BatchNorm;

/// Mean and biased variance of each channel of one batch.
#[derive(Clone, Debug)]
pub(crate) struct BatchStatistics {
    mean: Vec<f32>,
    var: Vec<f32>,
    /// Values per channel.
    count: usize,
    /// Weight of this batch in the running statistics.
    momentum: f32,
}

impl BatchStatistics {
    /// Moves running statistics towards these, by `share` of the way, or else by the
    /// momentum.
    pub(crate) fn update(&self, mean: &mut [f32], var: &mut [f32], share: Option<f32>) {
        if self.count < 2 {
            return;
        }
        let unbiased = self.count as f32 / (self.count - 1) as f32;
        let share = share.unwrap_or(self.momentum);
        let step = |running: &mut f32, new: f32| *running += share * (new - *running);
        mean.iter_mut().zip(&self.mean).for_each(|(running, mean)| step(running, *mean));
        var.iter_mut().zip(&self.var).for_each(|(running, var)| step(running, var * unbiased));
    }
}

/// Normalises with the batch's own statistics, and returns these.
pub(crate) fn batch_norm_train(
    norm: &BatchNorm,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<(Tensor, BatchStatistics)> {
    let (batch, _, height, width) = x.dims4()?;
    let mean = mean_per_channel(x)?;
    let var = mean_per_channel(&x.broadcast_sub(&mean)?.sqr()?)?;
    let out = normalise(norm, x, &mean, &var, weight, bias)?;
    let (mean, var) = (mean.flatten_all()?.to_vec1()?, var.flatten_all()?.to_vec1()?);
    let count = batch * height * width;
    Ok((out, BatchStatistics { mean, var, count, momentum: norm.momentum }))
}

/// Normalises with given statistics, `[C]` each.
pub(crate) fn batch_norm_eval(
    norm: &BatchNorm,
    x: &Tensor,
    [mean, var]: [&Tensor; 2],
    [weight, bias]: [&Tensor; 2],
) -> Result<Tensor> {
    let per_channel = |t: &Tensor| t.reshape((1, norm.channels, 1, 1));
    normalise(norm, x, &per_channel(mean)?, &per_channel(var)?, weight, bias)
}

fn mean_per_channel(x: &Tensor) -> Result<Tensor> {
    x.mean_keepdim(D::Minus1)?.mean_keepdim(D::Minus2)?.mean_keepdim(0)
}

fn normalise(
    norm: &BatchNorm,
    x: &Tensor,
    mean: &Tensor,
    var: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<Tensor> {
    let per_channel = |t: &Tensor| t.reshape((1, norm.channels, 1, 1));
    let scale = per_channel(weight)?.div(&(var + f64::from(norm.eps))?.sqrt()?)?;
    x.broadcast_sub(mean)?.broadcast_mul(&scale)?.broadcast_add(&per_channel(bias)?)
}
