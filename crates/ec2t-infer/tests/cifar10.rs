//! Real checkpoints on real images: neither the file nor batches nor threads
//! change a bit of the logits. The tests of `ec2t eval` measure the accuracy on
//! all images.
//!
//! Needs `EC2T_DATA_DIR`, the folder of `cifar-10-batches-bin`, and
//! `EC2T_MODELS_DIR`, the folder of the checkpoints.

use std::path::PathBuf;

use ec2t_data::LoadOptions;
use ec2t_format::Network;
use ec2t_format::graph::Preprocess;
use ec2t_infer::{Model, evaluate};
use ec2t_scale::ArchOptions;

/// How many test images are run, in different ways.
const IMAGES: usize = 100;

/// The two variables, or `None` and a line that says so.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn folders() -> Option<[PathBuf; 2]> {
    let folders = ["EC2T_DATA_DIR", "EC2T_MODELS_DIR"].map(|variable| {
        let folder = std::env::var_os(variable);
        if folder.is_none() {
            println!("skipped: {variable} is not set");
        }
        folder.map(PathBuf::from)
    });
    match folders {
        [Some(data), Some(models)] => Some([data, models]),
        _ => None,
    }
}

/// ResNet-20 with the tensors of a checkpoint.
fn resnet20(checkpoint: PathBuf, preprocess: Preprocess) -> Network {
    let options = ArchOptions { classes: 10, ..ArchOptions::default() };
    let mut graph = ec2t_scale::build("resnet20", &options).unwrap();
    graph.preprocess = preprocess;
    ec2t_interop::import(checkpoint, graph).unwrap().network
}

/// Asserts that all ways to run a checkpoint give the same, sensible logits.
fn assert_reproducible(checkpoint: &str, preprocess: Preprocess, ternary_layers: usize) {
    let Some([data, models]) = folders() else { return };
    let options = LoadOptions { data_dir: Some(data), ..LoadOptions::default() };
    let data = ec2t_data::read_original("cifar10", &options).unwrap().test;
    let network = resnet20(models.join(checkpoint), preprocess);
    assert_eq!(network.ternary_layers(), ternary_layers);
    let file = ec2t_format::write(&network);
    let model = Model::new(network).unwrap();
    let pixels = &data.images()[..IMAGES * model.input_len()];

    let mut session = model.session();
    let singly: Vec<f32> = pixels
        .chunks(model.input_len())
        .flat_map(|image| session.run_pixels(image).unwrap().to_vec())
        .collect();
    let model = Model::from_bytes(&file).unwrap();
    let mut inputs = vec![0.0; pixels.len()];
    let images = inputs.chunks_mut(model.input_len()).zip(pixels.chunks(model.input_len()));
    images.for_each(|(input, image)| model.preprocess(image, input).unwrap());
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let together = pool.install(|| model.run(&inputs, IMAGES)).unwrap();
        assert!(together == singly, "{checkpoint} on {threads} threads");
    }
    let found = evaluate(&model, pixels, &data.labels()[..IMAGES], |_| ()).unwrap();
    assert!(found.top1 > 80.0, "{checkpoint}: {found:?}");
}

#[test]
fn float_resnet20() {
    assert_reproducible("resnet20-12fca82f.th", Preprocess::imagenet(), 0);
}

#[test]
fn ternary_resnet20() {
    assert_reproducible("resnet20_ec2t_spars64.pt", Preprocess::cifar10(), 18);
}
