//! Counts all that a network stores and computes.
//!
//! A normalisation behind a convolution or linear layer is folded: it stores a shift
//! for each channel and adds it to each value, and has no cost where the layer has a
//! bias already. Its factor is part of the weights, or of the two products that a
//! ternary layer has for each output. Any other one has two numbers for each
//! channel, a product and a sum.

use ec2t_format::Op;
use ec2t_format::graph::{NodeId, Pool2d};

use super::LayerScore;
use super::operations::Operations;
use super::rules::{Rules, UNIT_BITS};
use super::storage::{Formats, Stored};
use super::trace::{Trace, Weights};

/// The layers that cost anything, and all stored bits in units of 32.
pub(super) fn count(trace: &Trace<'_>, rules: Rules) -> (Vec<LayerScore>, f64) {
    let layers = trace.graph.iter().map(|(id, _)| layer(trace, id, rules));
    let layers: Vec<LayerScore> = layers.filter(has_cost).collect();
    let bits: u64 = layers.iter().map(|layer| layer.stored_bits).sum();
    (layers, bits as f64 / UNIT_BITS as f64)
}

fn has_cost(layer: &LayerScore) -> bool {
    layer.params > 0 || layer.operations != Operations::default()
}

fn layer(trace: &Trace<'_>, id: NodeId, rules: Rules) -> LayerScore {
    let weights = trace.weights[id.index()].as_ref();
    let stored = weights.map(Weights::all).unwrap_or_default();
    let formats = formats(weights, stored, rules.bits);
    let numbers = numbers(trace, id);
    let weight_bits = formats.map_or(stored.values(rules.bits), Formats::smallest);
    let node = &trace.graph.nodes[id.index()];
    LayerScore {
        name: node.name.clone(),
        op: node.op.name(),
        output: trace.shape(id),
        params: stored.count + numbers,
        nonzero: stored.nonzero + numbers,
        stored_bits: weight_bits + numbers * rules.bits,
        formats,
        file_bytes: None,
        operations: operations(trace, id, rules.bits),
    }
}

/// Formats of ternary weights.
pub(super) fn formats(weights: Option<&Weights>, stored: Stored, bits: u64) -> Option<Formats> {
    weights.is_some_and(|weights| weights.is_ternary).then(|| stored.formats(bits))
}

impl Weights {
    /// All that is stored.
    fn all(&self) -> Stored {
        let outputs = self.of_outputs().count();
        self.stored(&vec![true; outputs], &vec![true; self.inputs])
    }
}

/// Stored numbers besides weights.
fn numbers(trace: &Trace<'_>, id: NodeId) -> u64 {
    let channels = trace.shape(id).channels as u64;
    match trace.op(id) {
        op if has_bias(op) => channels,
        Op::BatchNorm(_) => match folds(trace, id) {
            true if has_bias(trace.op(trace.input(id))) => 0,
            true => channels,
            false => 2 * channels,
        },
        _ => 0,
    }
}

fn operations(trace: &Trace<'_>, id: NodeId, bits: u64) -> Operations {
    let shape = trace.shape(id);
    let (values, pixels) = (shape.numel() as u64, (shape.height * shape.width) as u64);
    let of_pool = |pool: &Pool2d| (pool.kernel[0] * pool.kernel[1]) as u64;
    match trace.op(id) {
        Op::Conv2d(_) | Op::Linear(_) => {
            let bias = Operations::new(0, if has_bias(trace.op(id)) { values } else { 0 });
            let weights = trace.weights[id.index()].as_ref();
            weights.map_or(bias, |weights| products(weights, bits).times(pixels) + bias)
        }
        Op::BatchNorm(_) => match folds(trace, id) {
            true if has_bias(trace.op(trace.input(id))) => Operations::default(),
            true => Operations::new(0, values),
            false => Operations::new(values, values),
        },
        Op::Activation(function) => Operations::of_activation(*function).times(values),
        Op::Add => Operations::new(0, values),
        Op::Multiply => Operations::new(values, 0),
        Op::MaxPool(pool) => Operations::new(of_pool(pool) - 1, 0).times(values),
        Op::AvgPool(pool) => Operations::of_mean(of_pool(pool)).times(values),
        Op::GlobalAvgPool => {
            let read = trace.shape(trace.input(id));
            Operations::of_mean((read.height * read.width) as u64).times(values)
        }
        Op::Input | Op::PadShortcut(_) | Op::Dropout { .. } | Op::Flatten => Operations::default(),
    }
}

/// All sums over weights for one pixel.
fn products(weights: &Weights, bits: u64) -> Operations {
    let of_output = |nonzero| match weights.is_ternary {
        true => Operations::of_ternary(nonzero, bits),
        false => Operations::of_products(nonzero),
    };
    weights.of_outputs().map(of_output).sum()
}

fn has_bias(op: &Op) -> bool {
    match op {
        Op::Conv2d(conv) => conv.bias,
        Op::Linear(linear) => linear.bias,
        _ => false,
    }
}

/// Whether a normalisation can be made part of the layer before it, as
/// [`fold_batch_norm`](ec2t_format::fold_batch_norm) does.
pub(super) fn folds(trace: &Trace<'_>, norm: NodeId) -> bool {
    let layer = trace.input(norm);
    let has_place = match (&trace.weights[layer.index()], trace.op(layer)) {
        (Some(weights), Op::Linear(_)) => !weights.is_ternary,
        (weights, _) => weights.is_some(),
    };
    has_place && trace.readers[layer.index()].len() == 1
}
