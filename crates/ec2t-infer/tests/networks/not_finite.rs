//! Images that hold what is not a number, or infinities: these come out where
//! the definitions say so, and nowhere else.

use std::collections::BTreeMap;

use ec2t_format::graph::{GraphBuilder, Shape};
use ec2t_format::{Network, Tensor, TernaryTensor};
use ec2t_infer::Model;

use super::common::{Values, all, interpret, network};

/// What is left of a value if it does not matter which finite one it is.
fn class(value: &f32) -> &'static str {
    match value {
        v if v.is_nan() => "not a number",
        v if v.is_finite() => "finite",
        v if *v > 0.0 => "infinity",
        _ => "minus infinity",
    }
}

/// The network with no zeros in its ternary layers: where a weight is zero,
/// the definition multiplies with it and the engine does not.
fn without_zeros(network: &Network) -> Network {
    let fill = |tensor: Tensor| match tensor {
        Tensor::Ternary(ternary) => {
            let sign = |(i, code): (usize, &i8)| if i % 2 == 0 { code | 1 } else { -(code | 1) };
            let codes = ternary.codes().iter().enumerate().map(sign).collect();
            let (w_neg, w_pos) = (ternary.w_neg(), ternary.w_pos());
            TernaryTensor::new(ternary.shape().to_vec(), codes, w_neg, w_pos).unwrap().into()
        }
        dense => dense,
    };
    let (graph, tensors, _) = network.clone().into_parts();
    let tensors = tensors.into_iter().map(|(name, tensor)| (name, fill(tensor))).collect();
    Network::new(graph, tensors).unwrap()
}

/// Networks whose output is a map, so that one can see how far a pixel reaches:
/// one layer, through which an infinity stays one, and a residual block.
fn maps() -> [Network; 2] {
    [1, 3].map(|layers| {
        let mut g = GraphBuilder::new("map", Shape::new(2, 9, 9));
        let mut x = g.conv("stem", g.input(), 4, 3, 1);
        if layers > 1 {
            let sum = g.conv("a", x, 4, 3, 1);
            let sum = g.add("sum", sum, x);
            let sum = g.relu("relu", sum);
            x = g.conv("b", sum, 6, 3, 2);
        }
        g.flatten("out", x);
        network(g.finish().unwrap())
    })
}

#[test]
fn values_that_are_not_finite_come_out_as_defined() {
    let mut seen = BTreeMap::new();
    for network in all().iter().chain(&maps()).map(without_zeros) {
        let model = Model::new(network.clone()).unwrap();
        let clean = Values(11).floats(model.input_len());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut image = clean.clone();
            image[model.input_len() / 3] = value;
            let expected = interpret(&network, &image);
            let logits = model.run(&image, 1).unwrap();
            let classes: [Vec<_>; 2] = [&logits, &expected].map(|v| v.iter().map(class).collect());
            assert_eq!(classes[0], classes[1], "{value} in {}", network.graph().name);
            classes[1].iter().for_each(|class| *seen.entry(*class).or_insert(0) += 1);
        }
    }
    assert_eq!(seen.len(), 4, "only some classes are compared: {seen:?}");
}

#[test]
fn a_session_forgets_what_was_not_finite() {
    for network in all() {
        let model = Model::new(network).unwrap();
        let image = Values(11).floats(model.input_len());
        let expected = model.run(&image, 1).unwrap();
        let mut session = model.session();
        session.run(&vec![f32::NAN; model.input_len()]).unwrap();
        assert_eq!(session.run(&image).unwrap(), expected, "{}", model.graph().name);
    }
}

#[test]
fn a_weight_of_zero_does_not_read() {
    let mut g = GraphBuilder::new("t", Shape::new(3, 1, 1));
    g.linear("fc", g.input(), 3);
    let (graph, mut tensors, _) = network(g.finish().unwrap()).into_parts();
    let codes = vec![1, 0, -1, 0, 1, 0, 1, -1, 1];
    let weight = TernaryTensor::new(vec![3, 3], codes, 1.0, 1.0).unwrap();
    tensors.insert("fc.weight".into(), weight.into());
    let model = Model::new(Network::new(graph, tensors).unwrap()).unwrap();
    let classes =
        |value| -> Vec<_> { model.run(&[1.0, value, 2.0], 1).unwrap().iter().map(class).collect() };
    assert_eq!(classes(f32::NAN), ["finite", "not a number", "not a number"]);
    assert_eq!(classes(f32::INFINITY), ["finite", "infinity", "minus infinity"]);
}
