//! Sums and products: of two layers, or of a layer and a number per channel.

use ec2t_format::Op;
use ec2t_format::graph::{BatchNorm, NodeId};

use super::super::error::OnnxError;
use super::super::write::DEFAULT_MOMENTUM;
use super::layers::floats;
use super::reader::{Form, Layer, Reader, Value};
use super::settings::Settings;

impl<'a> Reader<'a> {
    /// Reads `Sub` and `Div` by numbers per channel, which a model begins with, as the
    /// network's preprocessing.
    pub(super) fn read_preprocessing(&mut self) {
        let channels = self.builder.shape(NodeId::INPUT).channels;
        let mut input = self.input_name();
        let map = Value::Layer(Layer { id: NodeId::INPUT, form: Form::Map });
        if let Some((index, mean)) = self.constant_after(input, "Sub", channels, Form::Map) {
            self.preprocess.mean = mean;
            input = self.take(index);
        }
        if let Some((index, std)) = self.constant_after(input, "Div", channels, Form::Map) {
            self.preprocess.std = std;
            input = self.take(index);
        }
        self.set(input, map);
    }

    /// The node that alone reads a value, where it is this operator with a number for each
    /// channel as its other operand (the second, unless their order does not matter); and
    /// these numbers.
    pub(super) fn constant_after(
        &self,
        value: &str,
        operator: &str,
        channels: usize,
        form: Form,
    ) -> Option<(usize, Vec<f32>)> {
        let (index, node) = self.only_reader(value)?;
        let other = match node.input(0) == Some(value) {
            true => 1,
            false if matches!(operator, "Add" | "Mul") => 0,
            false => return None,
        };
        if node.operator() != operator {
            return None;
        }
        Some((index, self.broadcast(node, other, channels, form).ok()?))
    }

    /// The constant that a node reads at this position, as a number for each channel.
    pub(super) fn broadcast(
        &self,
        node: Settings,
        position: usize,
        channels: usize,
        form: Form,
    ) -> Result<Vec<f32>, OnnxError> {
        let constant = self.floats(node, position)?;
        let trailing = if form == Form::Map { 2 } else { 0 };
        let lengths: Vec<usize> = constant.dims.iter().rev().copied().collect();
        let around = |(axis, length): (usize, &usize)| axis == trailing || *length == 1;
        let is_per_channel =
            lengths.iter().enumerate().all(around) && lengths.len() <= trailing + 2;
        match floats(&constant) {
            [one] => Ok(vec![*one; channels]),
            values if is_per_channel && values.len() == channels => Ok(values.to_vec()),
            _ => Err(node.unsupported(format!(
                "a constant of dimensions {:?}, expected one number or {channels}, one per channel",
                constant.dims
            ))),
        }
    }

    /// `Add`, `Sub`, `Mul` or `Div`.
    pub(super) fn arithmetic(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        match [0, 1].map(|position| self.constant(node, position).is_some()) {
            [false, false] => self.binary(node),
            [false, true] => self.affine(node, 0, 1),
            [true, false] if matches!(node.operator(), "Add" | "Mul") => self.affine(node, 1, 0),
            _ => Err(node.unsupported("of a constant and a layer, in this order")),
        }
    }

    fn binary(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let op = match node.operator() {
            "Add" => Op::Add,
            "Mul" => Op::Multiply,
            _ => return Err(node.unsupported("of two layers")),
        };
        let (mut a, mut b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        if a.form != b.form {
            return Err(node.unsupported("of a map and a vector"));
        }
        if op == Op::Multiply && self.shape(a).numel() < self.shape(b).numel() {
            std::mem::swap(&mut a, &mut b);
        }
        let name = self.layer_name(node);
        let layer = self.push(&name, op, &[a, b], a.form);
        self.set(node.output(), Value::Layer(layer));
        Ok(())
    }

    /// A layer and a number per channel.
    fn affine(
        &mut self,
        node: Settings<'a>,
        layer: usize,
        constant: usize,
    ) -> Result<(), OnnxError> {
        let x = self.operand(node, layer)?;
        let channels = self.shape(x).channels;
        let numbers = self.broadcast(node, constant, channels, x.form)?;
        let ones = || vec![1.0; channels];
        let zeros = || vec![0.0; channels];
        let (weight, bias) = match node.operator() {
            "Add" => (ones(), numbers),
            "Sub" => (ones(), numbers.iter().map(|number| -number).collect()),
            "Mul" => (numbers, zeros()),
            _ => (numbers.iter().map(|number| 1.0 / number).collect(), zeros()),
        };
        let name = self.layer_name(node);
        let layer = self.push_line(node, &name, x, weight, bias)?;
        self.set(node.output(), Value::Layer(layer));
        Ok(())
    }

    /// Adds a batch normalisation that has measured mean 0 and variance 1: a line for each
    /// channel.
    pub(super) fn push_line(
        &mut self,
        node: Settings,
        name: &str,
        x: Layer,
        weight: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<Layer, OnnxError> {
        let channels = weight.len();
        self.add_vector(node, name, "weight", weight)?;
        self.add_vector(node, name, "bias", bias)?;
        self.add_vector(node, name, "running_mean", vec![0.0; channels])?;
        self.add_vector(node, name, "running_var", vec![1.0; channels])?;
        let norm = BatchNorm { channels, eps: 0.0, momentum: DEFAULT_MOMENTUM };
        Ok(self.push(name, Op::BatchNorm(norm), &[x], x.form))
    }
}
