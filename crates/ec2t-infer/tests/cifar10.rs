//! Published accuracies of real checkpoints, on the whole CIFAR-10 test set,
//! through the file format and the engine.
//!
//! Needs `EC2T_DATA_DIR`, the folder of `cifar-10-batches-bin`, and
//! `EC2T_MODELS_DIR`, the folder of the checkpoints.

use std::path::PathBuf;
use std::sync::LazyLock;

use ec2t_data::{Dataset, LoadOptions};
use ec2t_format::Network;
use ec2t_format::graph::Preprocess;
use ec2t_infer::{Model, evaluate};
use ec2t_scale::ArchOptions;

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

static TEST_SET: LazyLock<Dataset> = LazyLock::new(|| {
    let [data, _] = folders().expect("checked by the test");
    let options = LoadOptions { data_dir: Some(data), ..LoadOptions::default() };
    ec2t_data::read_original("cifar10", &options).unwrap().test
});

/// ResNet-20 with the tensors of a checkpoint.
fn resnet20(checkpoint: PathBuf, preprocess: Preprocess) -> Network {
    let options = ArchOptions { classes: 10, ..ArchOptions::default() };
    let mut graph = ec2t_scale::build("resnet20", &options).unwrap();
    graph.preprocess = preprocess;
    ec2t_interop::import(checkpoint, graph).unwrap().network
}

/// Asserts the top-1 accuracy, in percent, of a checkpoint.
fn assert_accuracy(checkpoint: &str, preprocess: Preprocess, ternary_layers: usize, top1: f64) {
    let Some([_, models]) = folders() else { return };
    let network = resnet20(models.join(checkpoint), preprocess);
    assert_eq!(network.ternary_layers(), ternary_layers);

    let model = Model::from_bytes(&ec2t_format::write(&network)).unwrap();
    let found = evaluate(&model, TEST_SET.images(), TEST_SET.labels(), |_| ()).unwrap();
    assert_eq!(found.images, 10_000);
    assert!((found.top1 - top1).abs() <= 0.02, "{checkpoint}: {} instead of {top1}", found.top1);
}

#[test]
fn float_resnet20() {
    assert_accuracy("resnet20-12fca82f.th", Preprocess::imagenet(), 0, 91.73);
}

#[test]
fn ternary_resnet20_with_64_percent_zeros() {
    assert_accuracy("resnet20_ec2t_spars64.pt", Preprocess::cifar10(), 18, 91.01);
}

#[test]
fn ternary_resnet20_with_45_percent_zeros() {
    assert_accuracy("resnet20_ec2t_spars45.pt", Preprocess::cifar10(), 18, 91.19);
}
