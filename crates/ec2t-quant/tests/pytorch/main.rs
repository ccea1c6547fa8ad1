//! ResNet-20 on CIFAR-10 against PyTorch: one step from real weights, and the
//! losses of 100 steps.
//!
//! `make_fixtures.py` beside this file does the same with PyTorch; `step.json` and
//! `losses.csv` hold what it wrote. Needs `EC2T_DATA_DIR`, the folder of
//! `cifar-10-batches-bin`, and for the step `EC2T_MODELS_DIR`, the folder of
//! `resnet20-12fca82f.th`. Where `EC2T_TORCH_PYTHON` names a Python that has
//! PyTorch, the step is compared value by value.

mod losses;
mod step;

use std::path::PathBuf;

use ec2t_data::{LoadOptions, normalize_into, read_original};
use ec2t_format::Graph;
use ec2t_format::graph::Preprocess;
use ec2t_ops::optim::Sgd;
use ec2t_quant::{Backend, Engine, Target, Weights};
use ec2t_scale::ArchOptions;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// A folder that the environment names, or `None` and a line that says so.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn folder(variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable);
    if folder.is_none() {
        println!("skipped: {variable} is not set");
    }
    folder.map(PathBuf::from)
}

fn graph() -> Graph {
    let options = ArchOptions { classes: 10, ..ArchOptions::default() };
    let mut graph = ec2t_scale::build("resnet20", &options).unwrap();
    graph.preprocess = Preprocess::imagenet();
    graph
}

/// Training images, normalised, and their labels: those with the least digests,
/// whatever their order in the files is.
fn images(data: PathBuf, count: usize) -> (Vec<f32>, Vec<u32>) {
    let options = LoadOptions { data_dir: Some(data), ..LoadOptions::default() };
    let data = read_original("cifar10", &options).unwrap().train;
    let mut order: Vec<usize> = (0..data.len()).collect();
    order.sort_by_cached_key(|&index| Sha256::digest(data.image(index).unwrap()));
    let data = data.subset(&order[..count]);
    let Preprocess { mean, std } = Preprocess::imagenet();
    let pixels = data.images(0..count).unwrap();
    let mut images = vec![0.0; pixels.len()];
    let pairs = images.chunks_mut(data.image_len()).zip(pixels.chunks(data.image_len()));
    pairs.for_each(|(image, pixels)| normalize_into(pixels, &mean, &std, image));
    (images, data.labels().to_vec())
}

/// Trains with Nesterov momentum, at a constant rate.
struct Trainer {
    engine: Engine,
    weights: Weights,
    velocities: Vec<Vec<f32>>,
    lr: f32,
}

impl Trainer {
    fn new(graph: &Graph, weights: Weights, lr: f32) -> Self {
        let engine = Engine::new(Backend::Cpu, graph, &weights).unwrap();
        let velocities = weights.iter().map(|(_, values)| vec![0.0; values.len()]).collect();
        Self { engine, weights, velocities, lr }
    }

    /// The loss before the step.
    fn step(&mut self, images: &[f32], labels: &[u32]) -> f64 {
        let Self { engine, weights, velocities, lr } = self;
        let mut unused = ChaCha8Rng::seed_from_u64(0); // there is no dropout
        let loss =
            engine.train(weights, images, &Target::labels(labels), &mut unused).unwrap().mean;
        let sgd = Sgd { lr: *lr, momentum: 0.9, decay: 5e-4 };
        for (position, gradient) in engine.gradients().iter() {
            sgd.step(gradient, weights.get_mut(position), &mut velocities[position]);
        }
        loss
    }
}

/// The upper 24 bits of a linear congruential generator, one after the other.
fn random_bits(seed: u64) -> impl Iterator<Item = u32> {
    let first = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |state: &u64| {
        let product = state.wrapping_mul(6_364_136_223_846_793_005);
        Some(product.wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(first), next).skip(1).map(|state| (state >> 40) as u32)
}
