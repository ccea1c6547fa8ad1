//! Channels whose values are known without an image.

use ec2t_format::graph::{Activation, BatchNorm, NodeId};
use ec2t_format::{Network, Op, Tensor};

use super::classes::Classes;
use super::layer::Layer;

/// What is known of the values of a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// All are 0, of either sign.
    Zero,
    /// All are this number.
    Constant(f64),
    /// Nothing.
    Any,
}

/// What a constant may be off, relative to its terms, by rounding in 32 bits.
const ROUNDING: f64 = 1e-6;

/// From here on down hard swish is 0.
const HARD_SWISH_ZERO: f64 = -3.0;

impl Value {
    fn of(constant: f64) -> Self {
        if constant == 0.0 { Value::Zero } else { Value::Constant(constant) }
    }

    /// Whether its product with a weight can be anything but 0.
    pub(super) fn counts_for(self, weight: f32) -> bool {
        weight != 0.0 && (self != Value::Zero || !weight.is_finite())
    }

    /// `factor · value + shift`, where the shift is the sum of two numbers. Nothing is
    /// known where rounding could decide about the sign.
    fn affine(self, factor: f64, shifts: [f64; 2]) -> Self {
        let product = match self {
            Value::Zero if factor.is_finite() => 0.0,
            Value::Constant(constant) => factor * constant,
            _ => return Value::Any,
        };
        let sum = product + (shifts[0] + shifts[1]);
        let terms = product.abs() + shifts[0].abs() + shifts[1].abs();
        match sum.is_finite() && sum.abs() >= ROUNDING * terms {
            true => Value::of(sum),
            false => Value::Any,
        }
    }

    fn activated(self, function: Activation) -> Self {
        match (function, self) {
            (Activation::Sigmoid, _) => Value::Any,
            (_, Value::Zero) => Value::Zero,
            (Activation::Relu | Activation::Relu6, Value::Constant(c)) if c <= 0.0 => Value::Zero,
            (Activation::HardSwish, Value::Constant(c)) if c <= HARD_SWISH_ZERO => Value::Zero,
            (Activation::Relu, constant) => constant,
            _ => Value::Any,
        }
    }

    /// Zero, if it is.
    fn if_zero(self) -> Self {
        if self == Value::Zero { Value::Zero } else { Value::Any }
    }
}

/// The values of all slots.
pub(super) struct Values(Vec<Value>);

impl Values {
    pub(super) fn of(network: &Network, classes: &Classes) -> Self {
        let mut tracing = Tracing { network, classes, values: Vec::new() };
        for (id, _) in network.graph().iter() {
            let values = tracing.node(id);
            tracing.values.extend(values);
        }
        Self(tracing.values)
    }

    pub(super) fn at(&self, slot: usize) -> Value {
        self.0[slot]
    }
}

/// The values of a network's nodes up to one of them.
struct Tracing<'a> {
    network: &'a Network,
    classes: &'a Classes,
    values: Vec<Value>,
}

impl Tracing<'_> {
    /// The values of all slots of a node.
    fn node(&self, id: NodeId) -> Vec<Value> {
        let node = &self.network.graph().nodes[id.index()];
        let count = self.classes.slots(id).len();
        let read = |input: usize| self.read(id, node.inputs[input]);
        match &node.op {
            Op::Input => vec![Value::Any; count],
            Op::Conv2d(_) | Op::Linear(_) => self.layer(id),
            Op::BatchNorm(norm) => self.norm(id, norm),
            Op::Activation(function) => read(0).map(|value| value.activated(*function)).collect(),
            Op::Add => read(0).zip(read(1)).map(|(a, b)| sum(a, b)).collect(),
            Op::Multiply => read(0).zip(read(1)).map(|(a, b)| product(a, b)).collect(),
            Op::AvgPool(_) | Op::GlobalAvgPool => read(0).map(Value::if_zero).collect(),
            Op::MaxPool(_) | Op::Dropout { .. } | Op::Flatten => read(0).collect(),
            Op::PadShortcut(_) => vec![Value::Any; count],
        }
    }

    /// The values that a node of the same channels reads, slot by slot of its own.
    fn read(&self, id: NodeId, input: NodeId) -> impl Iterator<Item = Value> {
        let count = self.classes.slots(id).len();
        let step = self.classes.slots(input).len();
        let first = self.classes.slots(input).start;
        (0..count).map(move |part| self.values[first + part * step / count])
    }

    /// Convolution or matrix product: constant where all products are 0.
    fn layer(&self, id: NodeId) -> Vec<Value> {
        let layer = Layer::of(self.network, self.classes, id);
        let bias = self.numbers(id, "bias");
        let of_output = |(output, row): (usize, &[f32])| {
            let mut products = row.iter().zip(layer.reads(output));
            match products.any(|(weight, slot)| self.values[slot].counts_for(*weight)) {
                true => Value::Any,
                false => Value::of(bias.as_ref().map_or(0.0, |bias| bias[output].into())),
            }
        };
        layer.rows().enumerate().map(of_output).collect()
    }

    fn norm(&self, id: NodeId, norm: &BatchNorm) -> Vec<Value> {
        let [weight, bias, mean, variance] =
            ["weight", "bias", "running_mean", "running_var"].map(|suffix| {
                self.numbers(id, suffix).expect("a network has the tensors of its graph")
            });
        let input = self.network.graph().nodes[id.index()].inputs[0];
        let count = self.classes.slots(id).len();
        let width = norm.channels / count;
        let of_channel = |value: Value, channel: usize| {
            let [weight, bias, mean, variance] =
                [&weight, &bias, &mean, &variance].map(|numbers| f64::from(numbers[channel]));
            let factor = weight / (variance + f64::from(norm.eps)).sqrt();
            value.affine(factor, [bias, -mean * factor])
        };
        let slots = self.read(id, input).enumerate();
        slots
            .map(|(slot, value)| {
                let mut channels = (slot * width..(slot + 1) * width).map(|c| of_channel(value, c));
                match (channels.next(), channels.all(|value| value == Value::Zero)) {
                    (Some(value), _) if width == 1 => value,
                    (Some(Value::Zero), true) => Value::Zero,
                    _ => Value::Any,
                }
            })
            .collect()
    }

    /// A tensor of a node.
    fn numbers(&self, id: NodeId, suffix: &str) -> Option<Vec<f32>> {
        let name = &self.network.graph().nodes[id.index()].name;
        self.network.tensor(&format!("{name}.{suffix}")).map(Tensor::to_f32)
    }
}

fn sum(a: Value, b: Value) -> Value {
    match (a, b) {
        (Value::Zero, other) | (other, Value::Zero) => other,
        _ => Value::Any,
    }
}

fn product(a: Value, b: Value) -> Value {
    if a == Value::Zero || b == Value::Zero { Value::Zero } else { Value::Any }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_that_rounding_could_turn_is_not_known() {
        let zero = Value::Zero;
        assert_eq!(zero.affine(2.0, [0.0, 0.0]), Value::Zero);
        assert_eq!(zero.affine(2.0, [-0.5, 0.25]), Value::Constant(-0.25));
        assert_eq!(zero.affine(2.0, [-0.5, 0.5 - 1e-9]), Value::Any);
        assert_eq!(zero.affine(f64::NAN, [0.0, 0.0]), Value::Any);
        assert_eq!(Value::Constant(0.5).affine(2.0, [1.0, -1.5]), Value::Constant(0.5));
    }

    #[test]
    fn activations_make_zeros_of_constants() {
        use Activation::{HardSwish, Relu, Relu6, Sigmoid, Swish};
        let negative = Value::Constant(-3.5);
        for function in [Relu, Relu6, HardSwish] {
            assert_eq!(negative.activated(function), Value::Zero, "{function:?}");
        }
        for function in [Relu, Relu6, HardSwish, Swish] {
            assert_eq!(Value::Zero.activated(function), Value::Zero, "{function:?}");
        }
        assert_eq!(negative.activated(Swish), Value::Any);
        assert_eq!(Value::Zero.activated(Sigmoid), Value::Any);
        assert_eq!(Value::Constant(0.5).activated(Relu), Value::Constant(0.5));
    }

    #[test]
    fn a_weight_that_is_not_finite_counts_for_zeros() {
        assert!(!Value::Zero.counts_for(2.0) && !Value::Any.counts_for(0.0));
        assert!(Value::Any.counts_for(2.0) && Value::Zero.counts_for(f32::INFINITY));
    }
}
