//! One step from real weights: the loss, all parameters and running statistics
//! after it, and the gradients.

use std::collections::BTreeMap;
use std::process::Command;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::{Trainer, folder, graph, images, random_bits};
use ec2t_quant::Weights;

/// Bound on errors of the loss, and of values relative to the largest of a tensor.
const BOUND: f64 = 1e-4;

/// Bound on errors relative to a tensor's norm. Weight decay alone moves a tensor
/// by 1e-4 of it.
const NORM_BOUND: f64 = 3e-5;

/// Bound for gradients. Of the millions of activations some are so near to a
/// rectifier's kink that rounding decides on which side of it; PyTorch's own
/// `float32` is, with one layout or another, up to 1.1e-2 from its `float64`.
const GRADIENT_BOUND: f64 = 1e-2;

struct Outcome {
    loss: f64,
    /// Parameters and running statistics after the step.
    state: BTreeMap<String, Vec<f32>>,
    /// As `<name>.grad`.
    gradients: BTreeMap<String, Vec<f32>>,
}

/// Runs the step, where data and weights are at hand.
fn outcome() -> Option<Outcome> {
    let (data, models) = (folder("EC2T_DATA_DIR")?, folder("EC2T_MODELS_DIR")?);
    let imported = ec2t_interop::import(models.join("resnet20-12fca82f.th"), graph()).unwrap();
    let weights = Weights::from_network(&imported.network);
    let mut trainer = Trainer::new(imported.network.graph(), weights, 0.1);
    let (images, labels) = images(data, 128);
    let loss = trainer.step(&images, &labels);

    let Trainer { mut engine, weights, .. } = trainer;
    let state = weights.iter().map(|(param, values)| (param.name.clone(), values.to_vec()));
    let gradients = engine.gradients().iter().map(|(position, gradient)| {
        (format!("{}.grad", weights.params()[position].name), gradient.to_vec())
    });
    Some(Outcome { loss, state: state.collect(), gradients: gradients.collect() })
}

/// The Euclidean norm of each tensor, and its products with random signs.
#[test]
fn a_step_comes_to_the_products_of_pytorch() {
    let Some(outcome) = outcome() else { return };
    let mut expected: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("step.json")).unwrap();
    let loss = expected.remove("loss").unwrap().as_f64().unwrap();
    assert!((outcome.loss - loss).abs() < BOUND, "{} is not {loss}", outcome.loss);

    assert!(outcome.state.keys().eq(expected.keys()), "{:?}", outcome.state.keys());
    for (name, values) in &outcome.state {
        let expected: Vec<f64> = serde_json::from_value(expected[name].clone()).unwrap();
        let [norm, ref products @ ..] = expected[..] else { panic!("{name}: no numbers") };
        let close = |found: f64, expected: f64| (found - expected).abs() <= NORM_BOUND * norm;
        let found = dot(values, values.iter().map(|&value| value.into())).sqrt();
        assert!(close(found, norm), "norm of {name}: {found} is not {norm}");
        for (&expected, seed) in products.iter().zip(0..) {
            let signs = random_bits(seed).map(|bits| if bits >> 23 == 1 { 1.0 } else { -1.0 });
            let found = dot(values, signs);
            assert!(close(found, expected), "product of {name}: {found} is not {expected}");
        }
    }
}

fn dot(values: &[f32], factors: impl Iterator<Item = f64>) -> f64 {
    values.iter().zip(factors).map(|(&value, factor)| f64::from(value) * factor).sum()
}

/// Every value, computed by PyTorch now.
#[test]
fn a_step_comes_to_the_values_of_pytorch() {
    let (Some(python), Some(outcome)) = (folder("EC2T_TORCH_PYTHON"), outcome()) else { return };
    let script = "tests/pytorch/make_fixtures.py"; // tests run in their package's folder
    let output = Command::new(python).arg(script).args(["step", "--all"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, metadata) = SafeTensors::read_metadata(&output.stdout).unwrap();
    let loss: f64 = metadata.metadata().as_ref().unwrap()["loss"].parse().unwrap();
    assert!((outcome.loss - loss).abs() < BOUND, "{} is not {loss}", outcome.loss);

    let file = SafeTensors::deserialize(&output.stdout).unwrap();
    assert_eq!(file.len(), outcome.state.len() + outcome.gradients.len());
    assert_close(&outcome.state, &file, BOUND);
    assert_close(&outcome.gradients, &file, GRADIENT_BOUND);
}

fn assert_close(found: &BTreeMap<String, Vec<f32>>, file: &SafeTensors, bound: f64) {
    for (name, values) in found {
        let tensor = file.tensor(name).unwrap();
        let (expected, _) = tensor.data().as_chunks();
        let expected: Vec<f64> = expected.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        assert_eq!(values.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
        for (i, (&found, expected)) in values.iter().zip(expected).enumerate() {
            let close = (f64::from(found) - expected).abs() <= bound * largest;
            assert!(close, "{name} [{i}]: {found} is not {expected}");
        }
    }
}
