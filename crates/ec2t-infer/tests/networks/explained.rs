//! What the engine says about its steps.

use ec2t_format::Tensor;
use ec2t_format::graph::Shape;
use ec2t_infer::{ExplainedStep, ExplainedWeights, Explanation, Model, Precision, explain};

use super::common::{all, network, resnet};

fn step<'e>(explanation: &'e Explanation, name: &str) -> &'e ExplainedStep {
    explanation.steps.iter().find(|step| step.name == name).unwrap()
}

#[test]
fn steps_are_those_of_a_profile() {
    for network in all() {
        let explanation = explain(&network, Precision::F32, 2).unwrap();
        let model = Model::new(network).unwrap();
        let profile = model.profile(&vec![0.0; model.input_len()], 1).unwrap();
        let explained = explanation.steps.iter().map(|s| (&s.name, s.op, &s.kernel));
        assert!(explained.eq(profile.layers.iter().map(|l| (&l.name, l.op, &l.kernel))));
    }
}

#[test]
fn the_costs_of_a_layer_by_hand() {
    let explanation = explain(&network(resnet()), Precision::F32, 3).unwrap();
    let stem = step(&explanation, "stem");
    assert_eq!((stem.input, stem.output), (Shape::new(3, 9, 9), Shape::new(4, 9, 9)));
    let weights = stem.weights.unwrap();
    assert_eq!((weights.count, weights.zeros), (4 * 3 * 9, 0));
    assert_eq!((weights.macs, weights.additions), (108 * 81, 108 * 81));
    assert!(weights.packed_bytes >= 4 * 108);
    assert_eq!(stem.dense_seconds, None, "it is dense");

    let conv = step(&explanation, "b.conv1");
    assert_eq!((conv.input, conv.output), (Shape::new(4, 9, 9), Shape::new(9, 5, 5)));
    let pool = step(&explanation, "pool");
    assert_eq!((pool.input, pool.output), (Shape::new(9, 5, 5), Shape::new(9, 1, 1)));
    assert_eq!((pool.weights, pool.dense_seconds), (None, None));
}

#[test]
fn ternary_layers_are_measured_beside_dense_ones() {
    for network in all() {
        let explanation = explain(&network, Precision::F32, 3).unwrap();
        let mut total = ExplainedWeights::default();
        for step in &explanation.steps {
            assert!(step.seconds >= 0.0 && step.seconds.is_finite());
            let weight = network.tensor(&format!("{}.weight", step.name));
            let weight = weight.filter(|_| step.op == "conv2d" || step.op == "linear");
            assert_eq!(step.weights.map(|w| w.count), weight.map(Tensor::numel), "{}", step.name);
            let is_ternary = matches!(weight, Some(Tensor::Ternary(_)));
            assert_eq!(step.dense_seconds.is_some(), is_ternary, "{}", step.name);
            if let (Some(found), Some(weight)) = (step.weights, weight) {
                let pixels = (step.output.height * step.output.width) as u64;
                assert_eq!(found.zeros, weight.zeros(), "{}", step.name);
                assert_eq!(found.additions, (found.count - found.zeros) as u64 * pixels);
                assert_eq!(found.macs, found.count as u64 * pixels);
                total.macs += found.macs;
                total.packed_bytes += found.packed_bytes;
            }
        }
        let weights = explanation.weights();
        assert_eq!((weights.macs, weights.packed_bytes), (total.macs, total.packed_bytes));
        assert!(explanation.seconds() > 0.0 && explanation.dense_seconds() > 0.0);
    }
}
