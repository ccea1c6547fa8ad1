//! Published accuracies of real checkpoints on the whole CIFAR-10 test set,
//! through the commands that the README names.
//!
//! Needs `EC2T_DATA_DIR`, the folder of `cifar-10-batches-bin`, and
//! `EC2T_MODELS_DIR`, the folder of the checkpoints.

use std::fs;

use crate::util::{Sandbox, file_len, folder_of, good, json};

/// Imports a checkpoint of ResNet-20 and asserts the top-1 accuracy, in
/// percent, and the largest size of its file.
fn assert_accuracy(name: &str, preprocess: &str, ternary_layers: u64, top1: f64, bytes: u64) {
    let (Some(data), Some(models)) = (folder_of("EC2T_DATA_DIR"), folder_of("EC2T_MODELS_DIR"))
    else {
        return;
    };
    let sandbox = Sandbox::new();
    fs::copy(models.join(name), sandbox.path(name)).unwrap();
    let imported = sandbox
        .json(&format!("import {name} --arch resnet20 --preprocess {preprocess} -o m.ec2t --json"));
    assert_eq!(imported["ternary_layers"], ternary_layers);
    assert_eq!(imported["params"], 269_722);
    assert_eq!(imported["bytes"], file_len(&sandbox.path("m.ec2t")));
    assert!(imported["bytes"].as_u64().unwrap() <= bytes, "{name}: {}", imported["bytes"]);

    let mut eval = sandbox.ec2t("eval m.ec2t --dataset cifar10 --json");
    let found = json(eval.env("EC2T_DATA_DIR", data));
    assert_eq!(found["images"], 10_000);
    let found = found["top1"].as_f64().unwrap();
    assert!((found - top1).abs() <= 0.02, "{name}: {found} instead of {top1}");
}

#[test]
fn float_resnet20() {
    assert_accuracy("resnet20-12fca82f.th", "imagenet", 0, 91.73, 1_100_000);
}

#[test]
fn ternary_resnet20_with_64_percent_zeros() {
    assert_accuracy("resnet20_ec2t_spars64.pt", "cifar10", 18, 91.01, 65_000);
}

#[test]
fn ternary_resnet20_in_8_bits() {
    let (Some(data), Some(models)) = (folder_of("EC2T_DATA_DIR"), folder_of("EC2T_MODELS_DIR"))
    else {
        return;
    };
    let name = "resnet20_ec2t_spars64.pt";
    let sandbox = Sandbox::new();
    fs::copy(models.join(name), sandbox.path(name)).unwrap();
    sandbox.json(&format!("import {name} --arch resnet20 --preprocess cifar10 -o m.ec2t --json"));
    let mut calibrate = sandbox.ec2t("calibrate m.ec2t --dataset cifar10 -o m.ec2t");
    good(calibrate.env("EC2T_DATA_DIR", &data));
    let mut eval = sandbox.ec2t("eval m.ec2t --dataset cifar10 --precision u8 --json");
    let found = json(eval.env("EC2T_DATA_DIR", &data));
    let found = found["top1"].as_f64().unwrap();
    assert!((found - 91.01).abs() <= 0.3, "{found}");
}

#[test]
fn ternary_resnet20_with_45_percent_zeros() {
    assert_accuracy("resnet20_ec2t_spars45.pt", "cifar10", 18, 91.19, 75_000);
}
