//! Microseconds that a training step of ResNet-20 spends on the weights of its
//! ternarized layers, after their gradient is known: in floats, by Adam alone; in
//! the learning and in the frozen phase; and in the learning phase by the plain
//! methods that the fused step is tested against.
//!
//! `cargo bench -p ec2t-quant --bench quantizer`; `RAYON_NUM_THREADS` sets the
//! threads.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use ec2t_ops::optim::{Adam, Moments};
use ec2t_quant::ec2t::{Ec2tOptions, LayerMoments, LearningStep, TernaryLayer};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// Layers and the number of weights of each.
const LAYERS: [(usize, usize); 5] =
    [(6, 9 * 16 * 16), (1, 9 * 16 * 32), (5, 9 * 32 * 32), (1, 9 * 32 * 64), (5, 9 * 64 * 64)];
const ROUNDS: u64 = 301;

fn main() {
    let mut layers: Vec<Layer> = LAYERS
        .into_iter()
        .flat_map(|(layers, len)| (0..layers).map(move |_| len))
        .map(Layer::new)
        .collect();
    type Work = fn(&mut Layer, Adam);
    let works: [(&str, Work); 4] = [
        ("Adam", Layer::descend),
        ("learning", Layer::learn),
        ("frozen", Layer::tune),
        ("learning, plain", Layer::learn_plainly),
    ];
    let mut times = works.map(|_| Vec::new());
    for round in 1..=ROUNDS {
        let adam = Adam::new(round, 1e-4, 0.0);
        for ((_, work), times) in works.iter().zip(&mut times) {
            let start = Instant::now();
            layers.par_iter_mut().with_max_len(1).for_each(|layer| work(layer, adam));
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    println!("| step | least µs | median µs |\n|---|---|---|");
    for ((name, _), mut times) in works.into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.0} | {:.0} |", times[0], times[times.len() / 2]);
    }
}

struct Layer {
    options: Ec2tOptions,
    floats: Vec<f32>,
    gradient: Vec<f32>,
    /// What is left of the gradient that the plain methods scale in place.
    scaled: Vec<f32>,
    ternary: Vec<f32>,
    fused: TernaryLayer,
    plain: TernaryLayer,
    frozen: TernaryLayer,
    moments: [LayerMoments; 4],
}

impl Layer {
    fn new(len: usize) -> Self {
        let options = Ec2tOptions::default();
        // Nothing that repeats, which branches would learn.
        let mut rng = ChaCha8Rng::seed_from_u64(len as u64);
        let mut bell = |scale: f32| {
            let uniforms = [(); 4].map(|()| rng.next_u32() as f32 / 2f32.powi(32) - 0.5);
            scale * uniforms.iter().sum::<f32>()
        };
        let weights: Vec<f32> = (0..len).map(|_| bell(0.05)).collect();
        let gradient: Vec<f32> = (0..len).map(|_| bell(1e-3)).collect();
        let layer = TernaryLayer::new(weights.clone(), &options).expect("finite weights");
        Self {
            options,
            floats: weights,
            scaled: gradient.clone(),
            gradient,
            ternary: vec![0.0; len],
            fused: layer.clone(),
            plain: layer.clone(),
            frozen: layer,
            moments: [(); 4].map(|()| LayerMoments::new(len)),
        }
    }

    fn descend(&mut self, adam: Adam) {
        adam.step(&self.gradient, &mut self.floats, &mut self.moments[0].background);
    }

    fn learn(&mut self, adam: Adam) {
        let options = &self.options;
        let step = LearningStep { background: adam, centroids: adam, options, delta: 1.0 };
        let learnt =
            self.fused.learn(&self.gradient, &step, &mut self.moments[1], &mut self.ternary);
        learnt.expect("finite weights");
    }

    fn tune(&mut self, adam: Adam) {
        let moments: &mut Moments = &mut self.moments[2].centroids;
        let tuned = self.frozen.tune(&self.gradient, adam, 1e-3, moments, &mut self.ternary);
        tuned.expect("finite centroids");
    }

    fn learn_plainly(&mut self, adam: Adam) {
        self.scaled.copy_from_slice(&self.gradient);
        let LayerMoments { background, centroids } = &mut self.moments[3];
        let layer = &mut self.plain;
        let by_centroids = layer.gradients(&mut self.scaled).expect("equal lengths");
        adam.step(&by_centroids, layer.centroids_mut(), centroids);
        adam.step(&self.scaled, layer.weights_mut(), background);
        layer.requantize(&self.options, 1.0).expect("finite weights");
        layer.write_ternary(&mut self.ternary).expect("equal lengths");
    }
}
