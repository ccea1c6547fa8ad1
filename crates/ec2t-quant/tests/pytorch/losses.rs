//! The losses of 100 steps from fixed initial values.

use ec2t_format::Graph;
use ec2t_quant::{Weights, initialize};

use crate::{Trainer, folder, graph, images, random_bits};

const BATCH: usize = 32;

/// Weights as the script makes them, of the variance that He et al. derive.
fn initial(graph: &Graph) -> Weights {
    let mut weights = Weights::from_network(&initialize(graph, 0).unwrap());
    for position in 0..weights.params().len() {
        let shape = &weights.params()[position].shape;
        if shape.len() > 1 {
            let fan_in: usize = shape[1..].iter().product();
            let bound = (6.0 / fan_in as f64).sqrt();
            let values = weights.get_mut(position).iter_mut();
            for (value, bits) in values.zip(random_bits(position as u64)) {
                *value = (bound * (f64::from(bits) / f64::from(1 << 23) - 1.0)) as f32;
            }
        }
    }
    weights
}

/// At each step a curve may be as far from PyTorch's in `float64` as its curves in
/// `float32` have been so far: what sums in another order begin, training
/// amplifies. Our sums have an order too, and may be three times as unlucky.
#[test]
fn losses_lie_within_the_noise_of_pytorch() {
    let Some(data) = folder("EC2T_DATA_DIR") else { return };
    let (images, labels) = images(data, 100 * BATCH);
    let graph = graph();
    let mut trainer = Trainer::new(&graph, initial(&graph), 0.001);
    let batches = images.chunks(BATCH * graph.input.numel()).zip(labels.chunks(BATCH));
    let losses: Vec<f64> = batches.map(|(images, labels)| trainer.step(images, labels)).collect();

    let rows = include_str!("losses.csv").lines().skip(1);
    let curves = rows.map(|row| row.split(',').map(|loss| loss.parse().unwrap()).collect());
    let curves: Vec<Vec<f64>> = curves.collect();
    assert_eq!(losses.len(), curves.len());
    let mut noise = 1e-6;
    for (step, (loss, row)) in losses.iter().zip(&curves).enumerate() {
        let [exact, ref others @ ..] = row[..] else { panic!("an empty row") };
        noise = others.iter().fold(noise, |noise: f64, other| noise.max((other - exact).abs()));
        let error = (loss - exact).abs();
        assert!(error <= 3.0 * noise, "step {step}: {loss} is not {exact}, noise is {noise:.1e}");
    }
}
