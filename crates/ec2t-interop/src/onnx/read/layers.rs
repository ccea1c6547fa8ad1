//! Operators become layers.

use ec2t_format::Op;
use ec2t_format::graph::{Activation, BatchNorm, Conv2d, Linear, NodeId, Padding};

use super::super::error::OnnxError;
use super::super::write::DEFAULT_MOMENTUM;
use super::constant::Constant;
use super::pools::padded;
use super::reader::{Form, Layer, Reader, Value};
use super::rearrange::transposed;
use super::settings::Settings;

impl<'a> Reader<'a> {
    /// Turns a node into a layer, or says what its value is.
    pub(super) fn layer(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        if !matches!(node.0.domain.as_deref(), None | Some("" | "ai.onnx")) {
            return Err(node.unsupported("it is no operator of ONNX itself"));
        }
        match node.operator() {
            "Conv" => self.conv(node),
            "Gemm" | "MatMul" => self.linear(node),
            "BatchNormalization" => self.batch_norm(node),
            "Relu" => self.activation(node, Activation::Relu),
            "HardSwish" => self.activation(node, Activation::HardSwish),
            "Swish" if node.float("alpha", 1.0) == 1.0 => self.activation(node, Activation::Swish),
            "Sigmoid" | "HardSigmoid" => self.gate(node),
            "Clip" => self.clip(node),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node),
            "MaxPool" => self.max_pool(node),
            "AveragePool" => self.average_pool(node),
            "GlobalAveragePool" => self.global_average_pool(node),
            "GlobalMaxPool" => self.global_max_pool(node),
            "ReduceMean" => self.reduce_mean(node),
            "Softmax" | "LogSoftmax" => self.probabilities(node),
            "Flatten" => self.flatten_all(node),
            "Reshape" => self.reshape(node),
            "Squeeze" | "Unsqueeze" => self.change_form(node),
            "Identity" | "Dropout" | "Cast" => self.pass_on(node),
            "Pad" => self.pad(node),
            "Slice" => self.slice(node),
            "Shape" => self.lengths_of(node),
            "Gather" => self.select_lengths(node),
            "Concat" => self.join_lengths(node),
            _ => Err(node.unsupported("no layer computes this")),
        }
    }

    fn conv(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let (x, pads) = match self.value(node, 0)? {
            Value::Padded(layer, pads) => (*layer, *pads),
            _ => (self.map(node, 0)?, [0; 4]),
        };
        let weight = self.floats(node, 1)?;
        let &[outputs, inputs, rows, columns] = &weight.dims[..] else {
            let reason = format!("weights of dimensions {:?}, expected four", weight.dims);
            return Err(node.unsupported(reason));
        };
        let groups = usize::try_from(node.int("group", 1)).unwrap_or_default();
        let mut conv = Conv2d {
            in_channels: inputs.saturating_mul(groups),
            out_channels: outputs,
            kernel: [rows, columns],
            stride: node.pair("strides", 1)?,
            padding: Padding::all(0),
            dilation: node.pair("dilations", 1)?,
            groups,
            bias: node.input(2).is_some(),
            scale: false,
        };
        conv.padding = self.conv_padding(node, &conv, x, pads)?;
        let name = self.layer_name(node);
        if conv.bias {
            let bias = self.floats(node, 2)?;
            self.add_vector(node, &name, "bias", floats(&bias).to_vec())?;
        }
        let mut output = node.output();
        if !conv.bias
            && let Some((index, scale)) = self.constant_after(output, "Mul", outputs, Form::Map)
        {
            conv.scale = true;
            self.add_vector(node, &name, "scale", scale)?;
            output = self.take(index);
        }
        if !conv.bias
            && let Some((index, bias)) = self.constant_after(output, "Add", outputs, Form::Map)
        {
            conv.bias = true;
            self.add_vector(node, &name, "bias", bias)?;
            output = self.take(index);
        }
        self.add_weight(node, &name, weight.dims.clone(), floats(&weight).to_vec())?;
        let layer = self.push(&name, Op::Conv2d(conv), &[x], Form::Map);
        self.set(output, Value::Layer(layer));
        Ok(())
    }

    /// Padding of a convolution whose input has been padded already.
    fn conv_padding(
        &self,
        node: Settings,
        conv: &Conv2d,
        x: Layer,
        before: [usize; 4],
    ) -> Result<Padding, OnnxError> {
        if before == [0; 4] && node.text("auto_pad") == Some("SAME_UPPER") {
            return Ok(Padding::Same);
        }
        let shape = self.shape(x);
        let extent = std::array::from_fn(|axis| {
            conv.kernel[axis]
                .saturating_sub(1)
                .saturating_mul(conv.dilation[axis])
                .saturating_add(1)
        });
        let own = node.padding(padded([shape.height, shape.width], before), extent, conv.stride)?;
        let both = std::array::from_fn(|side| own[side].saturating_add(before[side]));
        Ok(Padding::Explicit(both))
    }

    fn linear(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.operand(node, 0)?;
        let is_gemm = node.operator() == "Gemm";
        if x.form != Form::Vector || (is_gemm && node.int("transA", 0) != 0) {
            return Err(node.unsupported("expected vectors times a matrix"));
        }
        let weight = self.floats(node, 1)?;
        let is_transposed = is_gemm && node.int("transB", 0) != 0;
        let (outputs, inputs, mut values) = match (&weight.dims[..], is_transposed) {
            (&[outputs, inputs], true) => (outputs, inputs, floats(&weight).to_vec()),
            (&[inputs, outputs], false) => {
                let transposed = transposed(&weight, inputs, outputs);
                (outputs, inputs, floats(&transposed).to_vec())
            }
            (dims, _) => return Err(node.unsupported(format!("weights of dimensions {dims:?}"))),
        };
        if is_gemm {
            multiply(&mut values, node.float("alpha", 1.0));
        }
        let name = self.layer_name(node);
        let mut output = node.output();
        let mut bias = None;
        if is_gemm && node.input(2).is_some() {
            let mut values = self.broadcast(node, 2, outputs, Form::Vector)?;
            multiply(&mut values, node.float("beta", 1.0));
            bias = Some(values);
        } else if let Some((index, values)) =
            self.constant_after(output, "Add", outputs, Form::Vector)
        {
            bias = Some(values);
            output = self.take(index);
        }
        let linear = Linear { in_features: inputs, out_features: outputs, bias: bias.is_some() };
        if let Some(bias) = bias {
            self.add_vector(node, &name, "bias", bias)?;
        }
        self.add_weight(node, &name, vec![outputs, inputs], values)?;
        let layer = self.push(&name, Op::Linear(linear), &[x], Form::Vector);
        self.set(output, Value::Layer(layer));
        Ok(())
    }

    fn batch_norm(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        if node.int("training_mode", 0) != 0 {
            return Err(node.unsupported("in training mode"));
        }
        let x = self.operand(node, 0)?;
        let name = self.layer_name(node);
        let suffixes = ["weight", "bias", "running_mean", "running_var"];
        for (position, suffix) in (1..).zip(suffixes) {
            let values = self.floats(node, position)?;
            self.add_vector(node, &name, suffix, floats(&values).to_vec())?;
        }
        let momentum = node.find("momentum").and_then(|attribute| attribute.f);
        let norm = BatchNorm {
            channels: self.shape(x).channels,
            eps: node.float("epsilon", 1e-5),
            momentum: momentum.map_or(DEFAULT_MOMENTUM, |kept| 1.0 - kept),
        };
        let layer = self.push(&name, Op::BatchNorm(norm), &[x], x.form);
        self.set(node.output(), Value::Layer(layer));
        Ok(())
    }

    fn flatten_all(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.operand(node, 0)?;
        match (node.int("axis", 1), x.form) {
            (1, _) | (-3, Form::Map) | (-1, Form::Vector) => {
                self.flatten(node, x);
                Ok(())
            }
            (axis, _) => Err(node.unsupported(format!("from axis {axis}, expected 1"))),
        }
    }

    /// Adds a layer that makes a vector of a value.
    pub(super) fn flatten(&mut self, node: Settings<'a>, x: Layer) {
        self.add_layer(node, Op::Flatten, x, Form::Vector);
    }

    pub(super) fn add_layer(&mut self, node: Settings<'a>, op: Op, x: Layer, form: Form) {
        let name = self.layer_name(node);
        let layer = self.push(&name, op, &[x], form);
        self.set(node.output(), Value::Layer(layer));
    }

    /// `[N, C, 1, 1]` to `[N, C]`, or back.
    fn change_form(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        if let Ok(lengths) = self.lengths(node, 0) {
            self.set(node.output(), Value::Lengths(lengths));
            return Ok(());
        }
        let axes = self.axes(node)?;
        let x = self.operand(node, 0)?;
        let shape = self.shape(x);
        let form = match (node.operator(), x.form) {
            ("Squeeze", Form::Map) if shape.height == 1 && shape.width == 1 => Form::Vector,
            ("Unsqueeze", Form::Vector) => Form::Map,
            _ => return Err(node.unsupported(format!("of {shape}"))),
        };
        if axes != [2, 3] {
            return Err(node.unsupported(format!("axes {axes:?}, expected 2 and 3")));
        }
        self.alias(node, x.id, form);
        Ok(())
    }

    /// The axes of four dimensions that a node is about, in order.
    pub(super) fn axes(&self, node: Settings<'a>) -> Result<Vec<i64>, OnnxError> {
        let axes = self.ints(node, "axes", 1)?.unwrap_or_default();
        let mut axes: Vec<i64> = axes.into_iter().map(|axis| axis.rem_euclid(4)).collect();
        axes.sort_unstable();
        Ok(axes)
    }

    /// The value of a node is that of a layer.
    pub(super) fn alias(&mut self, node: Settings<'a>, id: NodeId, form: Form) {
        self.set(node.output(), Value::Layer(Layer { id, form }));
    }

    /// A node that changes nothing.
    fn pass_on(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let value = self.value(node, 0)?.clone();
        let is_float = node.int("to", 1) == 1;
        if node.operator() == "Cast" && !is_float && !matches!(value, Value::Lengths(_)) {
            return Err(node.unsupported("to other than 32-bit floats"));
        }
        self.set(node.output(), value);
        Ok(())
    }
}

/// Multiplies all values by a factor.
fn multiply(values: &mut [f32], factor: f32) {
    values.iter_mut().for_each(|value| *value *= factor);
}

/// The values of a constant that is known to hold floats.
pub(super) fn floats(constant: &Constant) -> &[f32] {
    constant.floats().unwrap_or_default()
}
