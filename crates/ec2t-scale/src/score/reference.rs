//! Counts as the scorer of the method's authors does, with all that it leaves out.
//!
//! Each convolution or linear layer is reckoned with what follows it. What differs
//! from [`strict`](super::strict):
//!
//! * Convolutions on the short branch of a sum are left out.
//! * Channels without weights are taken away, and the next layer's inputs with them,
//!   even where a sum feeds these.
//! * A tree begins with one term less, and the terms of an output are the mean of its
//!   layer.
//! * Of residual sums only the last one counts. Where there are depthwise
//!   convolutions all count, but the share of the image that a stage is left with is
//!   squared once too often.
//! * The mean over all pixels counts behind a convolution, not behind a sum.
//! * A convolution that widens before a depthwise one of stride 2 is reckoned with the
//!   pixels after it.
//! * Where blocks begin with a normalisation, that of the next block counts as a second
//!   shift of the last convolution, and an activation behind a sum does not count.
//! * Sizes of ternary layers are rounded up to whole parameters, those of all layers of
//!   a role down.
//!
//! The scorer takes a channel without weights for one whose weights have the sum 0,
//! which here are those without any. Which of its rules holds for a network follows
//! from the edges, where the scorer went by names.

use ec2t_format::Op;
use ec2t_format::graph::{NodeId, Role, Shape};

use super::LayerScore;
use super::operations::Operations;
use super::rules::{ADD_BITS, Rules, UNIT_BITS};
use super::storage::{Formats, Stored};
use super::strict::{folds, formats};
use super::trace::{Trace, Weights};

/// The roles that count, each of them one sum that is rounded down.
const ROLES: [Role; 5] =
    [Role::Stem, Role::Body, Role::Depthwise, Role::SqueezeExcite, Role::Classifier];

/// All layers that count, and the parameters of all roles.
pub(super) fn count(trace: &Trace<'_>, rules: Rules) -> (Vec<LayerScore>, f64) {
    let mut counting = Counting::new(trace, rules);
    let mut layers = Vec::new();
    let mut bits = [0; ROLES.len()];
    for (id, _) in trace.graph.iter() {
        let Some(weights) = &trace.weights[id.index()] else { continue };
        let role = ROLES.iter().position(|role| Some(*role) == trace.roles[id.index()]);
        if let Some(role) = role {
            let layer = counting.layer(id, weights);
            bits[role] += layer.stored_bits;
            layers.push(layer);
        }
    }
    let params: u64 = bits.iter().map(|bits| bits / UNIT_BITS).sum();
    (layers, params as f64)
}

struct Counting<'a> {
    trace: &'a Trace<'a>,
    rules: Rules,
    /// Whether any convolution is depthwise.
    has_depthwise: bool,
    /// Whether blocks begin with a normalisation.
    normalises_inputs: bool,
    /// The last sum of the network.
    last_sum: Option<NodeId>,
    /// Which outputs of the last layer of the body were kept.
    kept_before: Vec<bool>,
}

/// What follows a layer.
struct Followers {
    /// Whether there is a shift, of its own or of a normalisation.
    has_shift: bool,
    sum: Option<NodeId>,
    activation: Option<NodeId>,
}

impl<'a> Counting<'a> {
    fn new(trace: &'a Trace<'a>, rules: Rules) -> Self {
        let nodes = || trace.graph.iter();
        let is_norm = |id: NodeId| matches!(trace.op(id), Op::BatchNorm(_));
        Self {
            trace,
            rules,
            has_depthwise: trace.roles.contains(&Some(Role::Depthwise)),
            normalises_inputs: nodes().any(|(id, _)| is_norm(id) && !folds(trace, id)),
            last_sum: nodes().filter(|(_, node)| node.op == Op::Add).map(|(id, _)| id).last(),
            kept_before: Vec::new(),
        }
    }

    fn layer(&mut self, id: NodeId, weights: &Weights) -> LayerScore {
        let [outputs, inputs] = self.kept(id, weights);
        let stored = weights.stored(&outputs, &inputs);
        if self.trace.roles[id.index()] == Some(Role::Body) {
            self.kept_before = outputs;
        }
        let followers = self.followers(id);
        let inputs = inputs.iter().filter(|kept| **kept).count() as u64;
        let shifts = self.shifts(&followers);
        let numbers = match shifts {
            0 => 0,
            1 => stored.rows,
            _ => stored.rows + inputs,
        };
        let bits = self.rules.bits;
        let formats = formats(Some(weights), stored, bits).map(Formats::rounded);
        let weight_bits = formats.map_or(stored.values(bits), Formats::smallest);
        let values = self.pixels(id, &followers) * stored.rows;
        let operations = [
            self.products(weights, stored, values, inputs),
            Operations::new(0, shifts * values),
            self.activation(&followers).times(values),
            self.sum(id, &followers, values),
            self.mean(id, &followers, stored.rows, inputs),
            self.factors(&followers, stored.rows),
        ];
        let node = &self.trace.graph.nodes[id.index()];
        LayerScore {
            name: node.name.clone(),
            op: node.op.name(),
            output: self.trace.shape(id),
            params: stored.count + numbers,
            nonzero: stored.nonzero + numbers,
            stored_bits: weight_bits + numbers * bits,
            formats,
            file_bytes: None,
            operations: operations.into_iter().sum(),
        }
    }

    /// Which outputs and inputs are kept.
    fn kept(&self, id: NodeId, weights: &Weights) -> [Vec<bool>; 2] {
        let outputs: Vec<bool> = weights.of_outputs().map(|nonzero| nonzero > 0).collect();
        let all = vec![true; weights.inputs];
        if matches!(self.trace.op(id), Op::Linear(_)) {
            return [vec![true; outputs.len()], all];
        }
        let inputs = match self.trace.roles[id.index()] {
            Some(Role::Depthwise) => all,
            _ if self.has_depthwise => weights.of_inputs().map(|nonzero| nonzero > 0).collect(),
            Some(Role::Body) if self.kept_before.len() == weights.inputs => {
                self.kept_before.clone()
            }
            _ => all,
        };
        [outputs, inputs]
    }

    fn followers(&self, id: NodeId) -> Followers {
        let trace = self.trace;
        let norm = trace.reader(id, |op| matches!(op, Op::BatchNorm(_)));
        let has_bias = match trace.op(id) {
            Op::Conv2d(conv) => conv.bias,
            Op::Linear(linear) => linear.bias,
            _ => false,
        };
        let end = norm.unwrap_or(id);
        let sum = trace.reader(end, |op| *op == Op::Add);
        let last = sum.filter(|_| !self.normalises_inputs).unwrap_or(end);
        Followers {
            has_shift: has_bias || norm.is_some(),
            sum,
            activation: trace.reader(last, |op| matches!(op, Op::Activation(_))),
        }
    }

    /// Numbers that are added to each value.
    fn shifts(&self, followers: &Followers) -> u64 {
        let next_block = self.normalises_inputs && followers.sum.is_some();
        u64::from(followers.has_shift) + u64::from(followers.has_shift && next_block)
    }

    /// Pixels that a layer is reckoned with.
    fn pixels(&self, id: NodeId, followers: &Followers) -> u64 {
        let is_strided = |op: &Op| match op {
            Op::Conv2d(conv) => conv.groups > 1 && conv.stride != [1, 1],
            _ => false,
        };
        let widens = match self.trace.op(id) {
            Op::Conv2d(conv) => conv.kernel == [1, 1],
            _ => false,
        };
        let behind = followers.activation.filter(|_| widens);
        let next = behind.and_then(|activation| self.trace.reader(activation, is_strided));
        pixels(self.trace.shape(next.unwrap_or(id)))
    }

    /// Products and sums over weights; `values` are the outputs of all pixels.
    fn products(&self, weights: &Weights, stored: Stored, values: u64, inputs: u64) -> Operations {
        let pixels = values.checked_div(stored.rows).unwrap_or(0);
        let additions = stored.nonzero.saturating_sub(stored.rows) * pixels;
        if !weights.is_ternary {
            return Operations::new(stored.nonzero * pixels, additions);
        }
        // As the scorer has it: where the mean is a whole number, rounding decides
        // whether the last pair of a tree counts.
        let sparsity = 1.0 - stored.nonzero as f64 / stored.count as f64;
        let taps = stored.count.checked_div(stored.rows * inputs).unwrap_or(0);
        let length = (taps * inputs) as f64 * (1.0 - sparsity);
        Operations {
            multiplications: 2 * values,
            additions,
            addition_bits: mean_tree_bits(length, self.rules.bits).saturating_mul(values),
        }
    }

    fn activation(&self, followers: &Followers) -> Operations {
        match followers.activation.map(|id| self.trace.op(id)) {
            Some(Op::Activation(function)) => Operations::of_activation(*function),
            _ => Operations::default(),
        }
    }

    /// The residual sum behind a layer.
    fn sum(&self, id: NodeId, followers: &Followers, values: u64) -> Operations {
        let additions = match followers.sum {
            Some(_) if self.has_depthwise => self.squared_twice(self.trace.shape(id)),
            Some(sum) if Some(sum) == self.last_sum => values,
            _ => 0,
        };
        Operations::new(0, additions)
    }

    /// Additions of a sum where the share of the image is squared twice.
    fn squared_twice(&self, shape: Shape) -> u64 {
        let image = self.trace.graph.input.height as f64;
        let halvings = (image / shape.height as f64).log2().round();
        let rows = image * 0.25f64.powf(halvings);
        (rows * rows * shape.channels as f64).round() as u64
    }

    /// The mean over all pixels before the factors of a gate, or behind a layer.
    fn mean(&self, id: NodeId, followers: &Followers, outputs: u64, inputs: u64) -> Operations {
        let trace = self.trace;
        let is_mean = |op: &Op| *op == Op::GlobalAvgPool;
        let before = trace.input(id);
        if trace.roles[id.index()] == Some(Role::SqueezeExcite) && is_mean(trace.op(before)) {
            return Operations::of_mean(pixels(trace.shape(trace.input(before)))).times(inputs);
        }
        let end = followers.activation.filter(|_| followers.sum.is_none());
        let mean = end.and_then(|end| trace.reader(end, is_mean));
        let is_gate = |mean: NodeId| trace.reader(mean, |op| matches!(op, Op::Conv2d(_))).is_some();
        match mean.filter(|mean| !is_gate(*mean)) {
            Some(mean) => {
                Operations::of_mean(pixels(trace.shape(trace.input(mean)))).times(outputs)
            }
            None => Operations::default(),
        }
    }

    /// Products with the factors that a layer gives.
    fn factors(&self, followers: &Followers, outputs: u64) -> Operations {
        let product = followers.activation.and_then(|activation| {
            let product = self.trace.reader(activation, |op| *op == Op::Multiply)?;
            let factor = self.trace.graph.nodes[product.index()].inputs[1];
            (factor == activation).then_some(product)
        });
        let pixels = product.map_or(0, |product| pixels(self.trace.shape(product)));
        Operations::new(pixels * outputs, 0)
    }
}

fn pixels(shape: Shape) -> u64 {
    (shape.height * shape.width) as u64
}

/// Bits of the additions of a tree that begins with one term less than a mean number of
/// weights.
fn mean_tree_bits(length: f64, mut bits: u64) -> u64 {
    let mut sum = 0;
    let mut terms = length - 1.0;
    while terms > 1.0 {
        sum += (terms / 2.0).floor() as u64 * bits;
        terms = (terms / 2.0).ceil();
        bits = (bits + 1).min(ADD_BITS);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_begins_with_one_term_less() {
        // 6.5 terms: three pairs, then four terms in two pairs, then one.
        assert_eq!(mean_tree_bits(7.5, 16), 3 * 16 + 2 * 17 + 18);
        assert_eq!([0.0, 1.0, 2.0].map(|length| mean_tree_bits(length, 16)), [0; 3]);
        assert_eq!(mean_tree_bits(3.0, 32), 32);
    }
}
