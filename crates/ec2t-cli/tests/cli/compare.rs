//! `ec2t compare`: one network beside another.

use ec2t_format::{DenseTensor, Network};
use serde_json::Value;

use crate::util::{Sandbox, assert_has, sample};

/// A sandbox with [`sample`] in `model.ec2t`, and the same with other numbers in its last layer
/// in `other.ec2t` and `other.safetensors`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_model();
    let (graph, mut tensors, _) = sample().into_parts();
    let weight = tensors.get_mut("linear.weight").unwrap();
    let turned = weight.to_f32().into_iter().rev().collect();
    *weight = DenseTensor::new(weight.shape().to_vec(), turned).unwrap().into();
    let other = Network::new(graph, tensors).unwrap();
    sandbox.write("other.ec2t", ec2t_format::write(&other));
    ec2t_quant::save_network(&sandbox.path("other.safetensors"), &other).unwrap();
    sandbox
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_comparison_is_that_of_two_evaluations() {
    let sandbox = sandbox();
    let found = sandbox.json("compare model.ec2t other.ec2t --dataset digits --json");
    let evals = ["model.ec2t", "other.ec2t"]
        .map(|file| sandbox.json(&format!("eval {file} --dataset digits --json")));
    let [first, second] = evals;
    assert_eq!(found["images"], 360);
    assert_eq!(found["correct"], serde_json::json!([first["correct"], second["correct"]]));
    assert_eq!(found["top1"], serde_json::json!([first["top1"], second["top1"]]));
    let difference = number(&second["top1"]) - number(&first["top1"]);
    assert!((number(&found["difference"]) - difference).abs() < 1e-9);
    let flips = number(&found["gained"]) - number(&found["lost"]);
    assert!((100.0 * flips / 360.0 - difference).abs() < 1e-9, "{found}");
    let [low, high] = [0, 1].map(|end| number(&found["difference_interval"][end]));
    assert!(low < difference && difference < high, "{found}");
    assert!(number(&found["kl_nats"]) > 0.0 && number(&found["agreement"]) < 100.0, "{found}");
    let bits = number(&found["kl_nats_error"]) / 2f64.ln();
    assert!((number(&found["kl_bits_error"]) - bits).abs() < 1e-12);

    for (class, row) in found["classes"].as_array().unwrap().iter().enumerate() {
        for (model, eval) in [&first, &second].into_iter().enumerate() {
            assert_eq!(row["correct"][model], eval["confusion"][class][class], "{row}");
        }
    }
    let layers = found["layers"].as_array().unwrap();
    let (last, before) = layers.split_last().unwrap();
    assert_eq!(last["name"], "linear");
    assert!(number(&last["drift"]) > 0.1, "{last}");
    assert!(before.iter().all(|layer| layer["drift"] == 0.0), "{before:?}");

    let text = sandbox.good("compare model.ec2t other.ec2t --dataset digits").stdout;
    let lost_and_gained =
        format!("right → wrong {}, wrong → right {}", found["lost"], found["gained"]);
    assert_has(&text, &["KL(A‖B)", "360 images", &lost_and_gained, "\n linear ", "\n 9 "]);
}

#[test]
fn a_checkpoint_has_the_graph_of_the_other_file_or_of_arch() {
    let sandbox = sandbox();
    let expected = sandbox.json("compare model.ec2t other.ec2t --dataset digits --json");
    sandbox.good("scale --arch digits-cnn -o arch.json");
    for words in [
        "compare model.ec2t other.safetensors --dataset digits --json",
        "compare model.ec2t other.safetensors --dataset digits --arch digits-cnn --json",
        "compare model.ec2t other.safetensors --dataset digits --arch arch.json --json",
    ] {
        let mut found = sandbox.json(words);
        found["files"] = expected["files"].clone();
        assert_eq!(found, expected, "{words}");
    }
    let same = sandbox.json(
        "compare other.safetensors other.safetensors --dataset digits --arch arch.json --json",
    );
    assert_eq!((&same["agreement"], &same["kl_nats"]), (&100.0.into(), &0.0.into()));
}

#[test]
fn eight_bits_are_compared_with_floats() {
    let sandbox = Sandbox::with_model();
    sandbox.good("calibrate model.ec2t --dataset digits -o model.ec2t");
    let words = "compare model.ec2t model.ec2t --precision-b u8 --dataset digits --json";
    let found = sandbox.json(words);
    let (agreement, kl) = (number(&found["agreement"]), number(&found["kl_nats"]));
    assert!(agreement > 90.0 && kl > 0.0 && kl < 0.1, "{found}");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let sandbox = sandbox();
    let compare = |code, words: &str, parts: &[&str]| {
        assert_has(&sandbox.fail(code, &format!("compare {words}")), parts);
    };
    compare(3, "model.ec2t none.ec2t --dataset digits", &["none.ec2t"]);
    compare(
        2,
        "other.safetensors other.safetensors --dataset digits",
        &["--arch has to name an arch.json"],
    );
    compare(
        3,
        "model.ec2t other.safetensors --arch resnet20 --dataset digits",
        &["other.safetensors", "does not fit"],
    );
    compare(
        3,
        "model.ec2t model.ec2t --precision-b u8 --dataset digits",
        &["model.ec2t", "`ec2t calibrate` finds it"],
    );
    let lenet = crate::util::graph("lenet5", 10);
    sandbox.write("lenet.ec2t", ec2t_format::write(&ec2t_quant::initialize(&lenet, 1).unwrap()));
    compare(2, "model.ec2t lenet.ec2t --dataset digits", &["1×28×28", "1×8×8"]);
}
