//! Operators become layers.

use ec2t_format::Op;
use ec2t_format::graph::{Activation, BatchNorm, Conv2d, Linear, NodeId, Padding, Pool2d};

use super::super::error::OnnxError;
use super::super::write::DEFAULT_MOMENTUM;
use super::constant::Constant;
use super::reader::{Form, Layer, Reader, Value};
use super::rearrange::transposed;
use super::settings::{Settings, sizes};

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
            "GlobalAveragePool" => {
                let x = self.map(node, 0)?;
                self.global_average_pool(node, x, Form::Map)
            }
            "ReduceMean" => self.reduce_mean(node),
            "Flatten" if matches!(node.int("axis", 1), 1) => {
                let x = self.operand(node, 0)?;
                self.flatten(node, x);
                Ok(())
            }
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
            padding: self.conv_padding(node, pads)?,
            dilation: node.pair("dilations", 1)?,
            groups,
            bias: node.input(2).is_some(),
            scale: false,
        };
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
    fn conv_padding(&self, node: Settings, before: [usize; 4]) -> Result<Padding, OnnxError> {
        let pads = node.pads()?;
        match node.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" => Ok(Padding::Explicit(std::array::from_fn(|side| {
                pads[side].saturating_add(before[side])
            }))),
            "VALID" => Ok(Padding::Explicit(before)),
            "SAME_UPPER" if before == [0; 4] => Ok(Padding::Same),
            other => Err(node.unsupported(format!("auto_pad {other}"))),
        }
    }

    fn linear(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.operand(node, 0)?;
        let is_gemm = node.operator() == "Gemm";
        let plain = node.float("alpha", 1.0) == 1.0 && node.int("transA", 0) == 0;
        let bias_counts = node.float("beta", 1.0) == 1.0 || node.input(2).is_none();
        if x.form != Form::Vector || (is_gemm && !(plain && bias_counts)) {
            return Err(node.unsupported("expected vectors times a matrix, without factors"));
        }
        let weight = self.floats(node, 1)?;
        let (outputs, inputs, values) = match (&weight.dims[..], node.int("transB", 0)) {
            (&[outputs, inputs], 1) => (outputs, inputs, floats(&weight).to_vec()),
            (&[inputs, outputs], 0) => {
                let transposed = transposed(&weight, inputs, outputs);
                (outputs, inputs, floats(&transposed).to_vec())
            }
            (dims, _) => return Err(node.unsupported(format!("weights of dimensions {dims:?}"))),
        };
        let name = self.layer_name(node);
        let mut output = node.output();
        let mut bias = None;
        if is_gemm && node.input(2).is_some() {
            bias = Some(self.broadcast(node, 2, outputs, Form::Vector)?);
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

    fn activation(&mut self, node: Settings<'a>, function: Activation) -> Result<(), OnnxError> {
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
    fn gate(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.operand(node, 0)?;
        let hard = node.operator() == "HardSigmoid";
        let product = self.only_reader(node.output()).filter(|(_, product)| {
            let others = product.0.input.iter().filter(|name| *name != node.output());
            product.operator() == "Mul" && others.eq(&node.0.input[..1])
        });
        match product {
            Some((index, product)) if !hard => {
                self.take(index);
                self.add_activation(product, Activation::Swish, x, product.output());
            }
            Some((index, product))
                if is_sixth(node.float("alpha", 0.2), node.float("beta", 0.5)) =>
            {
                self.take(index);
                self.add_activation(product, Activation::HardSwish, x, product.output());
            }
            _ if hard => return Err(node.unsupported("except as a part of hard swish")),
            _ => self.add_activation(node, Activation::Sigmoid, x, node.output()),
        }
        Ok(())
    }

    fn clip(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
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

    fn max_pool(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let x = self.map(node, 0)?;
        let pool = self.windows(node, x, [0; 4])?;
        if pool.kernel == [1, 1] && pool.padding == [0; 4] {
            self.set(node.output(), Value::Strided(x, pool.stride, node.name().into()));
            return Ok(());
        }
        self.add_layer(node, Op::MaxPool(pool), x, Form::Map);
        Ok(())
    }

    fn average_pool(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let (x, before) = match self.value(node, 0)? {
            Value::Padded(layer, pads) => (*layer, *pads),
            _ => (self.map(node, 0)?, [0; 4]),
        };
        if node.pads()? != [0; 4] && node.int("count_include_pad", 0) == 0 {
            return Err(node.unsupported("means that leave out the padding"));
        }
        let pool = self.windows(node, x, before)?;
        self.add_layer(node, Op::AvgPool(pool), x, Form::Map);
        Ok(())
    }

    /// Windows over a value that has been padded already.
    fn windows(&self, node: Settings, x: Layer, before: [usize; 4]) -> Result<Pool2d, OnnxError> {
        if !matches!(node.text("auto_pad"), None | Some("NOTSET" | "VALID")) {
            return Err(node.unsupported("auto_pad"));
        }
        if node.pair("dilations", 1)? != [1, 1] {
            return Err(node.unsupported("windows with holes"));
        }
        let kernel = node.ints("kernel_shape").and_then(sizes);
        let pads = node.pads()?;
        let pool = Pool2d {
            kernel: kernel.ok_or_else(|| node.unsupported("windows of other than two sides"))?,
            stride: node.pair("strides", 1)?,
            padding: std::array::from_fn(|side| pads[side].saturating_add(before[side])),
        };
        let shape = self.shape(x);
        let rest = |axis: usize, length: usize| {
            let padded = length.saturating_add(pool.padding[axis]);
            let padded = padded.saturating_add(pool.padding[axis + 2]);
            padded.saturating_sub(pool.kernel[axis]) % pool.stride[axis].max(1)
        };
        let is_exact = rest(0, shape.height) == 0 && rest(1, shape.width) == 0;
        match node.int("ceil_mode", 0) != 0 && !is_exact {
            true => Err(node.unsupported("windows that reach past the end (ceil_mode)")),
            false => Ok(pool),
        }
    }

    fn global_average_pool(
        &mut self,
        node: Settings<'a>,
        x: Layer,
        form: Form,
    ) -> Result<(), OnnxError> {
        self.add_layer(node, Op::GlobalAvgPool, x, form);
        Ok(())
    }

    fn reduce_mean(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let axes = self.axes(node)?;
        let x = self.map(node, 0)?;
        if axes != [2, 3] {
            return Err(node.unsupported(format!("over axes {axes:?}, expected rows and columns")));
        }
        let form = if node.int("keepdims", 1) == 0 { Form::Vector } else { Form::Map };
        self.global_average_pool(node, x, form)
    }

    /// Adds a layer that makes a vector of a value.
    pub(super) fn flatten(&mut self, node: Settings<'a>, x: Layer) {
        self.add_layer(node, Op::Flatten, x, Form::Vector);
    }

    fn add_layer(&mut self, node: Settings<'a>, op: Op, x: Layer, form: Form) {
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
    fn axes(&self, node: Settings<'a>) -> Result<Vec<i64>, OnnxError> {
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

/// Whether the slope and offset are those of `relu6(x + 3) / 6`.
fn is_sixth(alpha: f32, beta: f32) -> bool {
    (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5
}

/// The values of a constant that is known to hold floats.
pub(super) fn floats(constant: &Constant) -> &[f32] {
    constant.floats().unwrap_or_default()
}
