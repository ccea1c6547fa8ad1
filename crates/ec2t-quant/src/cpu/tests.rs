//! The engine as a whole: graphs of unusual form, batches of changing size.

use candle_core::Device;
use ec2t_format::Graph;
use ec2t_format::graph::{Activation, GraphBuilder, NodeId, Op, Pool2d, Shape};
use ec2t_ops::loss::Target;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::engine::Engine;
use crate::initialize;
use crate::session::Backend;
use crate::weights::Weights;

/// Nodes that are read twice, by one layer and by several; a normalisation of
/// the images themselves; values of which some readers add to the gradient and
/// some can't.
fn tangled() -> Graph {
    let mut g = GraphBuilder::new("tangled", Shape::new(3, 6, 6));
    let images = g.batch_norm("bn0", g.input());
    let x = g.conv("conv1", images, 8, 3, 1);
    let y = g.batch_norm("bn1", x);
    let y = g.add("norm_plus_itself", y, x);
    let y = g.relu("relu1", y);
    let y = g.add("twice", y, y);
    let y = g.push("square", Op::Multiply, &[y, y]);
    let squeezed = g.global_avg_pool("squeeze", y);
    let gate = g.push("gate", Op::Activation(Activation::Sigmoid), &[squeezed]);
    let y = g.push("excite", Op::Multiply, &[y, gate]);
    let pooled = g.max_pool("max", y, 2);
    let mean = g.push("mean", Op::AvgPool(Pool2d::square(2)), &[y]);
    let y = g.add("pools", pooled, mean);
    let z = g.conv("conv2", y, 16, 3, 2);
    let z = g.batch_norm("bn2", z);
    let shortcut = g.pad_shortcut("shortcut", y, 16, 2);
    let z = g.add("add", z, shortcut);
    let z = g.relu("relu2", z);
    let z = g.flatten("flatten", z);
    g.linear("linear", z, 5);
    g.finish().unwrap()
}

fn images(batch: usize) -> Vec<f32> {
    (0..batch * 3 * 36).map(|i| (i * 7919 % 1009) as f32 / 504.0 - 1.0).collect()
}

fn labels(batch: usize) -> Vec<u32> {
    (0..batch as u32).map(|i| i * 3 % 5).collect()
}

fn smooth(labels: &[u32]) -> Target<'_> {
    Target { smoothing: 0.1, ..Target::labels(labels) }
}

/// Loss and gradients of a step, one after the other.
fn step(engine: &mut Engine, weights: &Weights, batch: usize) -> Vec<f32> {
    let rng = &mut ChaCha8Rng::seed_from_u64(0);
    let loss =
        engine.train(&mut weights.clone(), &images(batch), &smooth(&labels(batch)), rng).unwrap();
    let gradients = engine.gradients().iter().flat_map(|(_, gradient)| gradient);
    [loss.mean as f32].iter().chain(gradients).copied().collect()
}

#[test]
fn gradients_of_a_tangled_graph_are_those_of_candle() {
    let graph = tangled();
    let weights = Weights::from_network(&initialize(&graph, 1).unwrap());
    let mut engine = Engine::new(Backend::Cpu, &graph, &weights).unwrap();
    let found = step(&mut engine, &weights, 7);
    let mut candle = Engine::candle(&graph, &weights, Device::Cpu).unwrap();
    let rng = &mut ChaCha8Rng::seed_from_u64(0);
    let loss = candle.train(&mut weights.clone(), &images(7), &smooth(&labels(7)), rng).unwrap();
    assert!((f64::from(found[0]) - loss.mean).abs() < 1e-5, "{} {}", found[0], loss.mean);
    let mut found = &found[1..];
    for (position, expected) in candle.gradients().iter() {
        let (gradient, rest) = found.split_at(expected.len());
        let scale = expected.iter().fold(0f32, |scale, value| scale.max(value.abs()));
        for (gradient, expected) in gradient.iter().zip(expected) {
            let name = &weights.params()[position].name;
            assert!((gradient - expected).abs() <= 1e-4 * scale, "{name}: {gradient} {expected}");
        }
        found = rest;
    }
    let logits = engine.logits(&weights, &images(7), 7).unwrap();
    let expected = candle.logits(&weights, &images(7), 7).unwrap();
    assert!(logits.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{logits:?}");
}

/// Nothing of an earlier batch, larger or smaller or in evaluation, shows.
#[test]
fn memory_is_shared_by_batches_of_any_size() {
    let graph = tangled();
    let weights = Weights::from_network(&initialize(&graph, 1).unwrap());
    let new = || Engine::new(Backend::Cpu, &graph, &weights).unwrap();
    let mut used = new();
    for batch in [5, 2, 9, 1, 5] {
        assert_eq!(step(&mut used, &weights, batch), step(&mut new(), &weights, batch));
        let evaluated =
            |engine: &mut Engine| engine.logits(&weights, &images(20), 20).unwrap().to_vec();
        assert_eq!(evaluated(&mut used), evaluated(&mut new()));
    }
}

/// Both engines name the same layer.
#[test]
fn the_first_layer_that_is_not_finite_is_found() {
    let graph = tangled();
    let weights = Weights::from_network(&initialize(&graph, 1).unwrap());
    for name in ["bn0", "conv1", "bn1", "conv2", "bn2", "linear"] {
        let mut weights = weights.clone();
        let of = |param: &ec2t_format::graph::Param| graph.nodes[param.node.index()].name == name;
        let position = weights.params().iter().position(of).unwrap();
        weights.get_mut(position).fill(f32::INFINITY);
        let rng = &mut ChaCha8Rng::seed_from_u64(0);
        let mut engine = Engine::new(Backend::Cpu, &graph, &weights).unwrap();
        let found = engine.not_finite(&weights, &images(3), 3, rng).unwrap().unwrap();
        assert_eq!(graph.nodes[found.index()].name, name);
        let mut candle = Engine::candle(&graph, &weights, Device::Cpu).unwrap();
        assert_eq!(candle.not_finite(&weights, &images(3), 3, rng).unwrap(), Some(found));
    }
    let rng = &mut ChaCha8Rng::seed_from_u64(0);
    let mut engine = Engine::new(Backend::Cpu, &graph, &weights).unwrap();
    assert_eq!(engine.not_finite(&weights, &images(3), 3, rng).unwrap(), None);
    let mut images = images(3);
    images[7] = f32::NAN;
    assert_eq!(engine.not_finite(&weights, &images, 3, rng).unwrap(), Some(NodeId::INPUT));
}
