//! Functions of each element, and what a model ends in that is none of a network's.

use ec2t_format::Op;
use ec2t_format::graph::Activation;

use super::super::error::OnnxError;
use super::layers::floats;
use super::reader::{Form, Layer, Reader, Value};
use super::settings::Settings;

impl<'a> Reader<'a> {
    pub(super) fn activation(
        &mut self,
        node: Settings<'a>,
        function: Activation,
    ) -> Result<(), OnnxError> {
        let x = self.operand(node, 0)?;
        self.add_activation(node, function, x, node.output());
        Ok(())
    }

    fn add_activation(
        &mut self,
        node: Settings<'a>,
        function: Activation,
        x: Layer,
        output: &'a str,
    ) {
        let name = self.layer_name(node);
        let layer = self.push(&name, Op::Activation(function), &[x], x.form);
        self.set(output, Value::Layer(layer));
    }

    /// A sigmoid or its straight form, which are half of swish where only a product with
    /// their own input reads them.
    pub(super) fn gate(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.operand(node, 0)?;
        let line = [node.float("alpha", 0.2), node.float("beta", 0.5)];
        let (gate, swish) = match node.operator() {
            "Sigmoid" => (Some(Activation::Sigmoid), Some(Activation::Swish)),
            _ => (None, is_sixth(line).then_some(Activation::HardSwish)),
        };
        let product = self.only_reader(node.output()).filter(|(_, product)| {
            let others = product.0.input.iter().filter(|name| *name != node.output());
            product.operator() == "Mul" && others.eq(&node.0.input[..1])
        });
        match (product, swish, gate) {
            (Some((index, product)), Some(swish), _) => {
                self.take(index);
                self.add_activation(product, swish, x, product.output());
                Ok(())
            }
            (_, _, Some(gate)) => {
                self.add_activation(node, gate, x, node.output());
                Ok(())
            }
            _ => self.hard_sigmoid(node, x, line),
        }
    }

    /// `max(0, min(1, αx + β))`, as a sixth of ReLU6 of `6αx + 6β`. The first line is folded
    /// into the convolution before where there is one.
    fn hard_sigmoid(
        &mut self,
        node: Settings<'a>,
        x: Layer,
        [alpha, beta]: [f32; 2],
    ) -> Result<(), OnnxError> {
        let name = self.layer_name(node);
        let channels = self.shape(x).channels;
        let line = |reader: &mut Self, suffix: &str, x: Layer, slope: f32, offset: f32| {
            let name = reader.unique(&format!("{name}.{suffix}"));
            reader.push_line(node, &name, x, vec![slope; channels], vec![offset; channels])
        };
        let inner = line(self, "line", x, 6.0 * alpha, 6.0 * beta)?;
        let clip = self.unique(&format!("{name}.clip"));
        let clipped = self.push(&clip, Op::Activation(Activation::Relu6), &[inner], x.form);
        let layer = line(self, "sixth", clipped, 1.0 / 6.0, 0.0)?;
        self.set(node.output(), Value::Layer(layer));
        Ok(())
    }

    pub(super) fn clip(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let mut limits = [node.float("min", f32::MIN), node.float("max", f32::MAX)];
        for (position, limit) in (1..).zip(&mut limits) {
            if node.input(position).is_some() {
                let found = self.floats(node, position)?;
                *limit = floats(&found).first().copied().unwrap_or(f32::NAN);
            }
        }
        match limits {
            [0.0, 6.0] => self.activation(node, Activation::Relu6),
            [0.0, high] if high >= f32::MAX => self.activation(node, Activation::Relu),
            [low, high] => Err(node.unsupported(format!("to {low} … {high}"))),
        }
    }

    /// Probabilities that a model ends in: a network gives the logits that they are made of.
    pub(super) fn probabilities(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.operand(node, 0)?;
        let axis = node.int("axis", 1);
        if !self.is_output(node.output()) {
            return Err(node.unsupported("except as the model's output, where it is left out"));
        }
        if x.form != Form::Vector || !matches!(axis, 1 | -1) {
            return Err(node.unsupported(format!("of {} over axis {axis}", self.shape(x))));
        }
        self.note(node, "left out; the network gives the logits that it reads");
        self.set(node.output(), Value::Layer(x));
        Ok(())
    }
}

/// Whether the slope and offset are those of `relu6(x + 3) / 6`.
fn is_sixth([alpha, beta]: [f32; 2]) -> bool {
    (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5
}
