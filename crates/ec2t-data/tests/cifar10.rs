//! The real CIFAR-10, where `EC2T_DATA_DIR` holds `cifar-10-batches-bin`.
#![allow(clippy::print_stdout)] // says why it skips

use ec2t_data::{Counts, LoadOptions, load, verify};

fn is_here() -> bool {
    let here = std::env::var_os("EC2T_DATA_DIR").is_some();
    if !here {
        println!("skipped: EC2T_DATA_DIR is not set");
    }
    here
}

#[test]
fn counts_and_statistics_are_the_known_ones() {
    if !is_here() {
        return;
    }
    let whole = load("cifar10", &LoadOptions::default()).unwrap();
    assert_eq!((whole.train.len(), whole.test.len()), (50_000, 10_000));
    assert_eq!(whole.train.shape(), [3, 32, 32]);
    assert_eq!(whole.train.class_counts(), [5_000; 10]);
    assert_eq!(whole.test.class_counts(), [1_000; 10]);
    assert_eq!(whole.train.classes()[0], "airplane");

    let stats = whole.train.channel_stats().unwrap();
    let tenths = |values: &[f64]| values.iter().map(|v| (v * 2550.0).round()).collect::<Vec<_>>();
    assert_eq!(tenths(&stats.mean), [1253.0, 1230.0, 1139.0]);
    assert_eq!(tenths(&stats.std), [630.0, 621.0, 667.0]);
}

#[test]
fn the_validation_split_takes_500_images_of_each_class() {
    if !is_here() {
        return;
    }
    let options = LoadOptions { validation: 5_000, seed: 1, ..LoadOptions::default() };
    let splits = load("cifar10", &options).unwrap();
    assert_eq!(splits.train.class_counts(), [4_500; 10]);
    assert_eq!(splits.validation.class_counts(), [500; 10]);

    let summary = verify("cifar10", &options).unwrap();
    assert_eq!(summary.counts, Counts { train: 45_000, validation: 5_000, test: 10_000 });
    assert_eq!(summary.stats, splits.train.channel_stats().unwrap());
    assert_eq!(summary.files.iter().filter(|file| file.bytes == 30_730_000).count(), 6);
}
