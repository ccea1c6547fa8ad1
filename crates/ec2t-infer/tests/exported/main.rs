//! ONNX models as PyTorch exports them compute what PyTorch does.
//!
//! `make_fixtures.py` has written the models, and PyTorch's results to `logits.csv`. There
//! are three networks, each by both of PyTorch's exporters: the one that traces
//! (`legacy`), which computes the lengths of reshaped tensors in the model and folds batch
//! normalisation, and the one that takes `torch.export`'s graph (`dynamo`).

use ec2t_format::Op;
use ec2t_format::graph::Activation;
use ec2t_infer::Model;
use ec2t_interop::onnx;

const LOGITS: &str = include_str!("logits.csv");

/// Values of −1 to 1, as the script makes them.
fn image() -> Vec<f32> {
    (0..3 * 16 * 16).map(|at| (at * 37 % 101) as f32 / 50.0 - 1.0).collect()
}

fn read(name: &str) -> ec2t_format::Network {
    onnx::open(format!("tests/exported/{name}.onnx")).unwrap().network
}

#[test]
fn both_exporters_models_compute_what_pytorch_does() {
    for line in LOGITS.lines() {
        let (name, logits) = line.split_once(',').unwrap();
        let expected: Vec<f32> = logits.split(',').map(|logit| logit.parse().unwrap()).collect();
        for exporter in ["legacy", "dynamo"] {
            let model = Model::new(read(&format!("{name}-{exporter}"))).unwrap();
            let found = model.run(&image(), 1).unwrap();
            assert_eq!(found.len(), expected.len(), "{name}, {exporter}");
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-6, "{name}, {exporter}: {found:?} for {expected:?}");
            }
        }
    }
}

#[test]
fn layers_of_several_nodes_are_recognized() {
    for exporter in ["legacy", "dynamo"] {
        let has = |name: &str, op: &dyn Fn(&Op) -> bool| {
            let network = read(&format!("{name}-{exporter}"));
            assert!(network.graph().nodes.iter().any(|node| op(&node.op)), "{name}, {exporter}");
        };
        has("resnet", &|op| matches!(op, Op::PadShortcut(pad) if pad.out_channels == 17));
        has("mobilenet", &|op| *op == Op::Activation(Activation::Relu6));
        has("efficientnet", &|op| *op == Op::Activation(Activation::Swish));
        has("efficientnet", &|op| *op == Op::Activation(Activation::HardSwish));
        has("efficientnet", &|op| *op == Op::Multiply);
        has("efficientnet", &|op| matches!(op, Op::Linear(linear) if !linear.bias));
    }
}

#[test]
fn layers_have_the_names_of_their_weights() {
    let network = read("mobilenet-dynamo");
    assert!(network.tensor("classifier.1.weight").is_some(), "{:?}", network.tensors().keys());
    assert_eq!(network.graph().name, "main_graph");
}
