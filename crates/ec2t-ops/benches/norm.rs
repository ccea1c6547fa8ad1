//! Milliseconds of batch normalisation in one training step of ResNet-20, batch
//! 128, with rectifier and, in every second layer, residual.
//!
//! `cargo bench -p ec2t-ops --bench norm`; `RAYON_NUM_THREADS` sets the threads.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use ec2t_ops::norm::{
    AffineGradient, BatchNorm, OutputGradient, Rectifier, ResidualGradient, Statistics,
};
use ec2t_ops::{ChannelSums, Scratch, mask_len};

/// Side, channels, layers without and with a residual.
const LAYERS: [(usize, usize, [usize; 2]); 3] =
    [(32, 16, [4, 3]), (16, 32, [3, 3]), (8, 64, [3, 3])];
const BATCH: usize = 128;

fn main() {
    println!("| layer | layers | sums | forward | backward |\n|---|---|---|---|---|");
    let mut total = [0.0; 3];
    for (side, channels, layers) in LAYERS {
        for (with_residual, layers) in layers.into_iter().enumerate() {
            let times = measure(BATCH * side * side, channels, with_residual == 1);
            let residual = ["", " + residual"][with_residual];
            let [sums, forward, backward] = times;
            println!(
                "| {channels} × {side}²{residual} | {layers} | {sums:.3} | {forward:.3} | {backward:.3} |"
            );
            total.iter_mut().zip(times).for_each(|(total, time)| *total += layers as f64 * time);
        }
    }
    let [sums, forward, backward] = total;
    println!("| all | | {sums:.2} | {forward:.2} | {backward:.2} |");
}

/// Milliseconds of the sums, the forward and the backward pass of one layer.
fn measure(pixels: usize, channels: usize, with_residual: bool) -> [f64; 3] {
    let ramp = |step: usize| -> Vec<f32> {
        (0..pixels * channels).map(|i| (i * step % 1009) as f32 / 250.0 - 2.0).collect()
    };
    let (x, g, residual) = (ramp(7919), ramp(104_729), ramp(1_299_709));
    let (mut y, mut gx, mut residual_gradient) = (x.clone(), x.clone(), x.clone());
    let mut mask = vec![0; mask_len(x.len())];
    let (weight, bias) = (vec![1.0; channels], vec![0.1; channels]);
    let (mut gweight, mut gbias) = (weight.clone(), bias.clone());
    let mut scratch = Scratch::new();
    let mut sums = ChannelSums::new(channels);
    let mut statistics = Statistics::new(channels, 1e-5);

    let of_sums = median(|| sums.measure(&x, &mut scratch));
    statistics.set_batch(&x, &sums, &mut scratch);
    let norm = BatchNorm { weight: &weight, bias: &bias, statistics: &statistics };
    let forward = median(|| {
        let residual = with_residual.then_some(&residual[..]);
        norm.forward(&x, residual, Rectifier::Relu, &mut y, Some(&mut mask), &mut scratch);
    });
    let backward = median(|| {
        let gradient = OutputGradient { values: &g, mask: Some(&mask) };
        let residual = match with_residual {
            true => ResidualGradient::Write(&mut residual_gradient),
            false => ResidualGradient::None,
        };
        let parameters = AffineGradient { weight: &mut gweight, bias: &mut gbias };
        norm.backward(&x, gradient, &mut gx, residual, parameters, &mut scratch);
    });
    [of_sums, forward, backward]
}

/// Median milliseconds of a run.
fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..41)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
