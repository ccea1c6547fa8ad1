//! `ec2t thin`: what it takes out, what it says, what it writes.

use ec2t_format::{Network, Tensor, TernaryTensor};

use crate::util::{Sandbox, assert_has, file_len, sample};

/// The network for digits, whose third convolution has this many empty filters.
fn with_empty_filters(count: usize) -> Network {
    let (graph, mut tensors, _) = sample().into_parts();
    let weight = tensors.get_mut("conv3.weight").unwrap();
    let Tensor::Ternary(ternary) = &*weight else { panic!("{weight:?}") };
    let mut codes = ternary.codes().to_vec();
    let row = codes.len() / weight.shape()[0];
    codes[..count * row].fill(0);
    let shape = weight.shape().to_vec();
    *weight = TernaryTensor::new(shape, codes, ternary.w_neg(), ternary.w_pos()).unwrap().into();
    Network::new(graph, tensors).unwrap()
}

#[test]
fn empty_filters_and_what_reads_them_go() {
    let sandbox = Sandbox::new();
    sandbox.write("model.ec2t", ec2t_format::write(&with_empty_filters(5)));
    let found = sandbox.json("thin model.ec2t -o thin.ec2t --json");
    assert_eq!(found["file"], "thin.ec2t");
    let [conv3, conv4] = found["layers"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&conv3["name"], &conv4["name"]), (&"conv3".into(), &"conv4".into()));
    assert_eq!(conv3["outputs"], serde_json::json!([32, 27]));
    assert_eq!(conv4["inputs"], serde_json::json!([32, 27]));
    // Filters, scales and shifts of the third, kernels of the fourth.
    let fewer = 5 * (32 * 9 + 2 + 64 * 9);
    assert_eq!(found["params"], serde_json::json!([70_330, 70_330 - fewer]));
    let bytes = ["model.ec2t", "thin.ec2t"].map(|file| file_len(&sandbox.path(file)));
    assert_eq!(found["bytes"], serde_json::json!(bytes));
    sandbox.good("verify thin.ec2t");

    let text = sandbox.good("thin model.ec2t -o thin.ec2t").stdout;
    assert_has(&text, &["conv3", "32 → 27", "70,330 → 66,000 parameters"]);
}

#[test]
fn a_network_without_dead_channels_stays_as_it_is() {
    let sandbox = Sandbox::with_model();
    let found = sandbox.json("thin model.ec2t -o thin.ec2t --json");
    assert_eq!(found["layers"], serde_json::json!([]));
    assert!(sandbox.read("thin.ec2t") == sandbox.read("model.ec2t"));
}
