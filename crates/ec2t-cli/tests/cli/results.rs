//! The networks of `docs/results`: each file has the accuracy, zeros, entropy and bytes
//! that its row of a table claims, on the whole test set.
//!
//! Needs `EC2T_DATA_DIR`, the folder of `cifar-10-batches-bin`, and there or in Debian's
//! folder of datasets `fashion-mnist`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::util::{Sandbox, file_len, folder_of, graph, json};

fn results() -> PathBuf {
    // Looked up when the test runs: the clone may have moved since it was built.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    Path::new(&package).join("../../docs/results")
}

/// Where Debian's packages put datasets.
const DEBIAN: &str = "/usr/share/datasets";

type Row = BTreeMap<String, String>;

/// The rows of a table, by the names of their columns.
fn table(dataset: &str) -> Vec<Row> {
    let text = fs::read_to_string(results().join(format!("{dataset}.csv"))).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let columns: Vec<String> = lines.next().unwrap().collect();
    lines.map(|values| columns.iter().cloned().zip(values).collect()).collect()
}

/// The rows of all tables.
fn rows() -> Vec<Row> {
    ["cifar10", "fashion-mnist"].into_iter().flat_map(table).collect()
}

fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|error| panic!("{column} of {row:?}: {error}"))
}

fn sum(layers: &[&Value], value: impl Fn(&Value) -> f64) -> f64 {
    layers.iter().map(|layer| value(layer)).sum()
}

#[test]
fn every_file_has_a_row_and_a_configuration() {
    let mut named: Vec<String> = rows().iter().map(|row| row["name"].clone()).collect();
    named.sort();
    for (folder, extension) in [("models", "ec2t"), ("configs", "toml")] {
        let files = fs::read_dir(results().join(folder)).unwrap();
        let mut found: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        found.sort();
        let expected = named.iter().map(|name| format!("{name}.{extension}"));
        let expected: Vec<PathBuf> =
            expected.map(|file| results().join(folder).join(file)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn configurations_have_the_hashes_of_the_table() {
    for row in rows() {
        let file = results().join("configs").join(format!("{}.toml", row["name"]));
        let hash = Sha256::digest(fs::read(file).unwrap());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, row["config_sha256"], "{row:?}");
    }
}

#[test]
fn parameters_are_those_of_the_architectures() {
    for row in rows() {
        let expected = graph(&row["network"], 10).parameter_count();
        assert_eq!(number(&row, "parameters"), expected as f64, "{row:?}");
    }
}

#[test]
fn sizes_zeros_and_entropies_are_those_of_the_table() {
    let sandbox = Sandbox::new();
    for row in rows() {
        let file = results().join("models").join(format!("{}.ec2t", row["name"]));
        let found = json(sandbox.ec2t("inspect --json").arg(&file));
        assert_eq!(number(&row, "bytes"), file_len(&file) as f64, "{row:?}");
        let layers = found["layers"].as_array().unwrap();
        let ternary: Vec<&Value> =
            layers.iter().filter(|layer| !layer["entropy_bits"].is_null()).collect();
        let weights = |layer: &Value| -> f64 {
            layer["shape"].as_array().unwrap().iter().map(|size| size.as_f64().unwrap()).product()
        };
        let zeros = sum(&ternary, |layer| layer["zeros"].as_f64().unwrap());
        let zeros = 100.0 * zeros / number(&row, "parameters");
        assert!((zeros - number(&row, "zeros")).abs() < 0.006, "{zeros} % of {row:?}");
        let bits = sum(&ternary, |layer| layer["entropy_bits"].as_f64().unwrap() * weights(layer));
        let entropy = bits / sum(&ternary, weights);
        assert!((entropy - number(&row, "entropy_bits")).abs() < 6e-5, "{entropy} of {row:?}");
    }
}

/// Chosen by validation images, among the seeds of the same settings.
#[test]
fn the_model_in_the_program_is_the_best_seed() {
    let is_seed = |row: &Row| row["name"].starts_with("resnet20-64-s");
    let seeds: Vec<Row> = table("cifar10").into_iter().filter(is_seed).collect();
    assert_eq!(seeds.len(), 3);
    let accuracy = |row: &&Row| number(row, "validation_top1");
    let best = seeds.iter().max_by(|a, b| accuracy(a).total_cmp(&accuracy(b))).unwrap();
    let file = results().join("models").join(format!("{}.ec2t", best["name"]));
    let builtin = ec2t_infer::builtin::file("cifar10").unwrap();
    assert!(fs::read(file).unwrap() == builtin, "not {}", best["name"]);
}

#[test]
fn accuracies_on_cifar10_are_those_of_the_table() {
    let Some(data) = folder_of("EC2T_DATA_DIR") else { return };
    assert_accuracies("cifar10", &data);
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn accuracies_on_fashion_mnist_are_those_of_the_table() {
    let mut folders = folder_of("EC2T_DATA_DIR").into_iter().chain([DEBIAN.into()]);
    match folders.find(|folder| folder.join("fashion-mnist").is_dir()) {
        Some(data) => assert_accuracies("fashion-mnist", &data),
        None => println!("skipped: no fashion-mnist in EC2T_DATA_DIR or {DEBIAN}"),
    }
}

fn assert_accuracies(dataset: &str, data: &Path) {
    let sandbox = Sandbox::new();
    for row in table(dataset) {
        let file = results().join("models").join(format!("{}.ec2t", row["name"]));
        let mut eval = sandbox.ec2t(&format!("eval --dataset {dataset} --json"));
        let found = json(eval.arg(&file).env("EC2T_DATA_DIR", data));
        assert_eq!(found["images"], 10_000);
        let found = found["top1"].as_f64().unwrap();
        assert!((found - number(&row, "test_top1")).abs() < 0.006, "{found} %: {row:?}");
    }
}
