//! Whole networks on random images.

use std::error::Error;

use ec2t_format::graph::Graph;
use ec2t_ops::optim::Sgd;
use ec2t_quant::{Backend, Engine, Target, Weights, initialize};
use ec2t_scale::{ArchOptions, build};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Work, random, timed, trained_parameters};

const SGD: Sgd = Sgd { lr: 0.01, momentum: 0.9, decay: 5e-4 };

/// A step on 128 images of 32×32.
pub(super) fn resnet20_step() -> Result<Work, Box<dyn Error>> {
    step(&build("resnet20", &ArchOptions::default())?, 128)
}

/// The first part of such a step: forward, with the statistics of the batch, and
/// all that the backward pass needs is kept.
pub(super) fn resnet20_forward() -> Result<Work, Box<dyn Error>> {
    let graph = build("resnet20", &ArchOptions::default())?;
    let mut training = Training::new(&graph, 128)?;
    let run = move || {
        timed(|| {
            let Training { engine, weights, images, labels, rng } = &mut training;
            engine.forward(weights, images, labels.len(), rng)?;
            Ok(())
        })
    };
    Ok(Work { parameters: trained_parameters(&graph), repetitions: 1, run: Box::new(run) })
}

/// A step on 16 images of 224×224.
pub(super) fn efficientnet_b0_step() -> Result<Work, Box<dyn Error>> {
    let options = ArchOptions { classes: 1000, ..ArchOptions::default() };
    step(&build("efficientnet_b0", &options)?, 16)
}

/// Forward, backward, and gradient descent with Nesterov momentum.
fn step(graph: &Graph, batch: usize) -> Result<Work, Box<dyn Error>> {
    let mut training = Training::new(graph, batch)?;
    let zeros = |(_, values): (_, &[f32])| vec![0.0; values.len()];
    let mut velocity: Vec<Vec<f32>> = training.weights.iter().map(zeros).collect();
    let run = move || {
        timed(|| {
            let Training { engine, weights, images, labels, rng } = &mut training;
            engine.train(weights, images, &Target::labels(labels), rng)?;
            for (position, gradient) in engine.gradients().iter() {
                SGD.step(gradient, weights.get_mut(position), &mut velocity[position]);
            }
            Ok(())
        })
    };
    Ok(Work { parameters: trained_parameters(graph), repetitions: 1, run: Box::new(run) })
}

/// A network and a batch for it.
struct Training {
    engine: Engine,
    weights: Weights,
    images: Vec<f32>,
    labels: Vec<u32>,
    rng: ChaCha8Rng,
}

impl Training {
    fn new(graph: &Graph, batch: usize) -> Result<Self, Box<dyn Error>> {
        let weights = Weights::from_network(&initialize(graph, 1)?);
        let classes = graph.output_shape()?.numel();
        Ok(Self {
            engine: Engine::new(Backend::Cpu, graph, &weights)?,
            weights,
            images: random(batch * graph.input.numel()),
            labels: (0..batch).map(|image| (image % classes) as u32).collect(),
            rng: ChaCha8Rng::seed_from_u64(1),
        })
    }
}
