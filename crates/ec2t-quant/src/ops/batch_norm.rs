//! Batch normalisation (Ioffe & Szegedy 2015), per channel over N, H and W.
//!
//! Training uses the batch's mean and biased variance; the running statistics
//! that evaluation uses take the unbiased variance, as in PyTorch. A batch with
//! a single value per channel has none, and leaves them as they are; PyTorch
//! refuses it.

use candle_core::{CpuStorage, CustomOp3, D, Device, Layout, Result, Shape, Tensor};
use ec2t_format::graph::BatchNorm;
use rayon::prelude::*;

use super::cpu::{CHUNKS, dot, sum, sum_with, values, with_values};

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
    /// Moves running statistics towards these.
    pub(crate) fn update(&self, mean: &mut [f32], var: &mut [f32]) {
        if self.count < 2 {
            return;
        }
        let unbiased = self.count as f32 / (self.count - 1) as f32;
        let step = |running: &mut f32, new: f32| *running += self.momentum * (new - *running);
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
    let (out, mean, var) = match x.device() {
        Device::Cpu => {
            let x = x.contiguous()?;
            let planes = Planes { channels: norm.channels, pixels: height * width };
            let (mean, var) = with_values(&x, |x| Ok(planes.moments(x)))?;
            let inv_std = var.iter().map(|var| (var + norm.eps).sqrt().recip()).collect();
            let op = CpuBatchNorm { planes, mean: mean.clone(), inv_std };
            let out = x.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?;
            (out, mean, var)
        }
        _ => {
            let mean = mean_per_channel(x)?;
            let var = mean_per_channel(&x.broadcast_sub(&mean)?.sqr()?)?;
            let out = normalise(norm, x, &mean, &var, weight, bias)?;
            (out, mean.flatten_all()?.to_vec1()?, var.flatten_all()?.to_vec1()?)
        }
    };
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

/// How channels lie in an NCHW tensor.
#[derive(Clone, Copy)]
struct Planes {
    channels: usize,
    pixels: usize,
}

impl Planes {
    /// The pixels of one channel, image by image.
    fn of(self, channel: usize, data: &[f32]) -> impl Iterator<Item = &[f32]> {
        data.chunks(self.pixels).skip(channel).step_by(self.channels)
    }

    /// Mean and biased variance of every channel.
    fn moments(self, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let count = (x.len() / self.channels) as f64;
        (0..self.channels)
            .into_par_iter()
            .map(|channel| {
                let mean = self.of(channel, x).map(sum).sum::<f64>() / count;
                let centre = mean as f32;
                let square = |x: f32| (x - centre) * (x - centre);
                let squares: f64 = self.of(channel, x).map(|x| sum_with(x, square)).sum();
                (centre, (squares / count) as f32)
            })
            .unzip()
    }

    /// Writes `f(channel)(x, g)` for every value, images in parallel.
    fn map<F: Fn(f32, f32) -> f32>(
        self,
        x: &[f32],
        g: &[f32],
        f: impl Fn(usize) -> F + Sync,
    ) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        let image = self.channels * self.pixels;
        let block = (x.len() / image).div_ceil(CHUNKS) * image;
        let operands = x.par_chunks(block).zip(g.par_chunks(block));
        out.par_chunks_mut(block).zip(operands).for_each(|(out, (x, g))| {
            let planes =
                out.chunks_mut(self.pixels).zip(x.chunks(self.pixels).zip(g.chunks(self.pixels)));
            for (index, (out, (x, g))) in planes.enumerate() {
                let f = f(index % self.channels);
                for (out, (&x, &g)) in out.iter_mut().zip(x.iter().zip(g)) {
                    *out = f(x, g);
                }
            }
        });
        out
    }
}

/// Operands: x, weight, bias.
struct CpuBatchNorm {
    planes: Planes,
    mean: Vec<f32>,
    inv_std: Vec<f32>,
}

impl CustomOp3 for CpuBatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values(x, x_layout)?;
        let (weight, bias) = (values(weight, weight_layout)?, values(bias, bias_layout)?);
        let out = self.planes.map(x, x, |c| {
            let (mean, scale, shift) = (self.mean[c], self.inv_std[c] * weight[c], bias[c]);
            move |x, _| (x - mean) * scale + shift
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let parts = with_values(x, |x| {
            with_values(gradient, |g| {
                with_values(weight, |weight| Ok(self.gradients(x, g, weight)))
            })
        })?;
        let [x_gradient, weight_gradient, bias_gradient] = parts;
        Ok((
            Some(Tensor::from_vec(x_gradient, x.shape(), x.device())?),
            Some(Tensor::from_vec(weight_gradient, weight.shape(), x.device())?),
            Some(Tensor::from_vec(bias_gradient, weight.shape(), x.device())?),
        ))
    }
}

impl CpuBatchNorm {
    /// Gradients of x, weight and bias. With x̂ the normalised input and M
    /// values a channel: `dx = w/σ · (g − Σg/M − x̂·Σ(g·x̂)/M)`.
    fn gradients(&self, x: &[f32], g: &[f32], weight: &[f32]) -> [Vec<f32>; 3] {
        let planes = self.planes;
        let count = (x.len() / planes.channels) as f32;
        let (sum_g, sum_gx): (Vec<f32>, Vec<f32>) = (0..planes.channels)
            .into_par_iter()
            .map(|c| {
                let (mean, inv_std) = (self.mean[c], self.inv_std[c]);
                let product = |x: f32, g: f32| g * ((x - mean) * inv_std);
                let sum_g: f64 = planes.of(c, g).map(sum).sum();
                let pairs = planes.of(c, x).zip(planes.of(c, g));
                let sum_gx: f64 = pairs.map(|(x, g)| dot(x, g, product)).sum();
                (sum_g as f32, sum_gx as f32)
            })
            .unzip();
        let x_gradient = planes.map(x, g, |c| {
            let (mean, inv_std) = (self.mean[c], self.inv_std[c]);
            let (scale, shift) = (weight[c] * inv_std, sum_g[c] / count);
            let slope = sum_gx[c] / count * inv_std;
            move |x, g| scale * (g - shift - (x - mean) * slope)
        });
        [x_gradient, sum_gx, sum_g]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    /// The fused CPU operator against candle's autograd through the formula.
    #[test]
    fn values_and_gradients_match_the_composed_form() {
        let norm = BatchNorm::new(3);
        let ramp = |n: usize, seed: usize| -> Vec<f32> {
            (0..n).map(|i| ((i * 7919 + seed) % 1009) as f32 / 100.0 - 3.0).collect()
        };
        let cpu = &Device::Cpu;
        let x = Var::from_vec(ramp(18 * 3 * 20, 5), (18, 3, 4, 5), cpu).unwrap();
        let weight = Var::from_vec(vec![0.5f32, -1.5, 2.0], 3, cpu).unwrap();
        let bias = Var::from_vec(vec![0.1f32, 0.2, -0.3], 3, cpu).unwrap();
        let g = Tensor::from_vec(ramp(18 * 3 * 20, 77), (18, 3, 4, 5), cpu).unwrap();

        let (fused, statistics) = batch_norm_train(&norm, &x, &weight, &bias).unwrap();
        let mean = mean_per_channel(&x).unwrap();
        let var = mean_per_channel(&x.broadcast_sub(&mean).unwrap().sqr().unwrap()).unwrap();
        let composed = normalise(&norm, &x, &mean, &var, &weight, &bias).unwrap();
        assert_close(&fused, &composed, 1e-5);

        let variance = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (mut running_mean, mut running_var) = ([0.0; 3], [1.0; 3]);
        statistics.update(&mut running_mean, &mut running_var);
        for (found, biased) in running_var.iter().zip(variance) {
            assert!((found - (0.9 + 0.1 * biased * 360.0 / 359.0)).abs() < 1e-5);
        }

        let backward = |out: &Tensor| (out * &g).unwrap().sum_all().unwrap().backward().unwrap();
        let (fused, composed) = (backward(&fused), backward(&composed));
        for var in [&x, &weight, &bias] {
            assert_close(fused.get(var).unwrap(), composed.get(var).unwrap(), 2e-3);
        }
    }

    #[test]
    fn a_single_value_has_no_variance() {
        let one = |value: f32| Tensor::from_vec(vec![value], 1, &Device::Cpu).unwrap();
        let x = one(7.0).reshape((1, 1, 1, 1)).unwrap();
        let (y, statistics) =
            batch_norm_train(&BatchNorm::new(1), &x, &one(2.0), &one(0.5)).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [0.5]);
        let (mut mean, mut var) = ([0.25], [0.75]);
        statistics.update(&mut mean, &mut var);
        assert_eq!((mean, var), ([0.25], [0.75]));
    }

    fn assert_close(a: &Tensor, b: &Tensor, tolerance: f32) {
        let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        let difference = difference.to_scalar::<f32>().unwrap();
        assert!(difference < tolerance, "differs by {difference}");
    }
}
