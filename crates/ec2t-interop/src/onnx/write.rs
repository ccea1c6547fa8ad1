//! A network becomes an ONNX model.
//!
//! | layer | nodes |
//! |---|---|
//! | input | `Sub` of the mean, `Div` by the deviation, where these are not 0 and 1 |
//! | convolution | `Conv`; with a scale `Conv`, `Mul`, `Add`, the order in which we compute |
//! | linear | `Gemm` with `transB` |
//! | batch normalisation | `BatchNormalization` |
//! | ReLU, ReLU6, sigmoid | `Relu`, `Clip`, `Sigmoid` |
//! | swish, hard swish | `Sigmoid` or `HardSigmoid`, then `Mul` with the input |
//! | sum, product | `Add`, `Mul` |
//! | pooling | `MaxPool`, `AveragePool`, `GlobalAveragePool` |
//! | option-A shortcut | `MaxPool` of single pixels, which takes every second one, and `Pad` |
//! | flatten | `Flatten` |
//!
//! Vectors have two dimensions there, `[N, C]`, and can't be mixed with maps, `[N, C, H, W]`.
//! Where a layer reads the other kind, `Squeeze` or `Unsqueeze` stands between.

use std::collections::BTreeSet;

use ec2t_format::graph::{
    Activation, BatchNorm, Conv2d, Linear, Node, PadShortcut, Padding, Pool2d, Shape,
};
use ec2t_format::{Network, Op, Tensor, fold_batch_norm};
use prost::Message;

use super::codes::Codes;
use super::constant::{float, float_tensor, int, int_tensor, ints, tensor, text};
use super::error::OnnxError;
use super::proto::data_type::{FLOAT, INT32};
use super::proto::{self, Attribute};
use super::{CLASSES_KEY, INPUT, INPUT_KEY, OUTPUT};

/// PyTorch's momentum of normalisations; ONNX's default says the same.
pub(super) const DEFAULT_MOMENTUM: f32 = 0.1;

/// The bytes of an ONNX model that computes what the network does.
///
/// The input `pixels`, `[batch, C, H, W]`, is in 0…1: the model normalizes it as the network
/// was trained. The output is `logits`, `[batch, classes]`, or `[batch, C, H, W]` where the
/// network ends in a map. Batch normalisation is folded as far as it can be. Class names
/// and metadata travel along; grids of calibration do not.
///
/// ```
/// use std::collections::BTreeMap;
/// use ec2t_format::graph::{GraphBuilder, Shape};
/// use ec2t_format::{DenseTensor, Network};
/// use ec2t_interop::onnx::{self, Codes};
///
/// let mut g = GraphBuilder::new("tiny", Shape::new(2, 1, 1));
/// g.linear("fc", g.input(), 1);
/// let weight = DenseTensor::new(vec![1, 2], vec![0.5, 2.0])?;
/// let bias = DenseTensor::new(vec![1], vec![0.25])?;
/// let tensors = BTreeMap::from([
///     ("fc.weight".to_string(), weight.into()),
///     ("fc.bias".to_string(), bias.into()),
/// ]);
/// let network = Network::new(g.finish()?, tensors)?;
/// let model = onnx::write(&network, Codes::U8)?;
/// assert_eq!(onnx::read(&model)?.network, network);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OnnxError::TooLarge`], above 2 GiB.
pub fn write(network: &Network, codes: Codes) -> Result<Vec<u8>, OnnxError> {
    let network = fold_batch_norm(network);
    let mut writer = Writer::new(&network, codes);
    writer.add_layers();
    let model = writer.finish();
    match model.encoded_len() {
        bytes if bytes > i32::MAX as usize => Err(OnnxError::TooLarge { bytes }),
        _ => Ok(model.encode_to_vec()),
    }
}

/// A model in the middle of being written.
struct Writer<'a> {
    /// With batch normalisation folded.
    network: &'a Network,
    codes: Codes,
    /// Names of values that are taken.
    names: BTreeSet<String>,
    nodes: Vec<proto::Node>,
    constants: Vec<proto::Tensor>,
    /// What each layer has computed.
    values: Vec<Value>,
}

/// A value of the model.
#[derive(Clone)]
struct Value {
    name: String,
    shape: Shape,
    form: Form,
}

/// Dimensions of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `[N, C, H, W]`.
    Map,
    /// `[N, C]`.
    Vector,
}

impl<'a> Writer<'a> {
    fn new(network: &'a Network, codes: Codes) -> Self {
        let (names, nodes, constants, values) = Default::default();
        Self { network, codes, names, nodes, constants, values }
    }

    fn add_layers(&mut self) {
        let graph = self.network.graph();
        let shapes = graph.shapes().expect("a network's graph is valid");
        let names = self.value_names();
        for ((node, shape), name) in graph.nodes.iter().zip(shapes).zip(names) {
            let inputs = node.inputs.iter().map(|id| self.values[id.index()].clone());
            let inputs: Vec<Value> = inputs.collect();
            let value = self.layer(node, inputs, name, shape);
            self.values.push(value);
        }
    }

    /// The name of each layer's value: its own, but for the first and the last.
    fn value_names(&mut self) -> Vec<String> {
        let nodes = &self.network.graph().nodes;
        let last = nodes.len() - 1;
        self.names.extend([INPUT.into(), OUTPUT.into()]);
        let name = |(at, node): (usize, &Node)| match at {
            0 => INPUT.into(),
            _ if at == last => OUTPUT.into(),
            _ => self.fresh(&node.name),
        };
        nodes.iter().enumerate().map(name).collect()
    }

    /// A name that no value has.
    fn fresh(&mut self, name: &str) -> String {
        let mut name = String::from(name);
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// Adds the nodes of a layer, the last of which computes `output`.
    fn layer(&mut self, layer: &Node, inputs: Vec<Value>, output: String, shape: Shape) -> Value {
        let form = match layer.op {
            Op::Linear(_) | Op::Flatten => Form::Vector,
            Op::BatchNorm(_) | Op::Activation(_) => inputs[0].form,
            Op::Add | Op::Multiply if inputs[0].form == inputs[1].form => inputs[0].form,
            _ => Form::Map,
        };
        let reads = match layer.op {
            Op::Linear(_) => Form::Vector,
            Op::Flatten => inputs[0].form,
            _ => form,
        };
        let x: Vec<String> = inputs.iter().map(|value| self.in_form(value, reads)).collect();
        let name = match &layer.op {
            Op::Input => self.normalized(output),
            op => {
                self.operation(layer, op, &x, &inputs, &output);
                output
            }
        };
        Value { name, shape, form }
    }

    fn operation(&mut self, layer: &Node, op: &Op, x: &[String], inputs: &[Value], output: &str) {
        let name = layer.name.as_str();
        match op {
            Op::Conv2d(conv) => self.conv(name, conv, &x[0], output),
            Op::Linear(linear) => self.linear(name, linear, &x[0], output),
            Op::BatchNorm(norm) => self.batch_norm(name, norm, &x[0], output),
            Op::Activation(function) => self.activation(name, *function, &x[0], output),
            Op::Add => self.node("Add", name, x, output, Vec::new()),
            Op::Multiply => self.node("Mul", name, x, output, Vec::new()),
            Op::MaxPool(pool) => self.node("MaxPool", name, x, output, windows(pool)),
            Op::AvgPool(pool) => {
                let mut settings = windows(pool);
                settings.push(int("count_include_pad", 1));
                self.node("AveragePool", name, x, output, settings);
            }
            Op::GlobalAvgPool => self.node("GlobalAveragePool", name, x, output, Vec::new()),
            Op::PadShortcut(pad) => {
                self.pad_shortcut(name, pad, inputs[0].shape.channels, &x[0], output);
            }
            Op::Flatten => self.node("Flatten", name, x, output, vec![int("axis", 1)]),
            Op::Input | Op::Dropout { .. } => self.node("Identity", name, x, output, Vec::new()),
        }
    }

    /// The name of the same value with as many dimensions as asked for.
    fn in_form(&mut self, value: &Value, form: Form) -> String {
        let (kind, suffix) = match (value.form, form) {
            (Form::Map, Form::Vector) => ("Squeeze", "vector"),
            (Form::Vector, Form::Map) => ("Unsqueeze", "map"),
            _ => return value.name.clone(),
        };
        let axes = self.fresh(&format!("{}.axes", value.name));
        self.constants.push(int_tensor(&axes, &[2, 3]));
        self.helper(kind, &value.name, suffix, &[value.name.clone(), axes])
    }

    /// The input as the network was trained with it, made of pixels in 0…1.
    fn normalized(&mut self, pixels: String) -> String {
        let prep = &self.network.graph().preprocess;
        let mut value = pixels;
        for (kind, suffix, neutral, numbers) in
            [("Sub", "mean", 0.0, &prep.mean), ("Div", "std", 1.0, &prep.std)]
        {
            if numbers.iter().any(|&number| number != neutral) {
                let constant = self.per_channel(INPUT, suffix, numbers);
                value = self.helper(kind, INPUT, "normalized", &[value, constant]);
            }
        }
        value
    }

    fn conv(&mut self, name: &str, conv: &Conv2d, x: &str, output: &str) {
        let mut settings = vec![
            ints("kernel_shape", &conv.kernel),
            ints("strides", &conv.stride),
            ints("dilations", &conv.dilation),
            int("group", conv.groups as i64),
        ];
        settings.push(match conv.padding {
            Padding::Explicit(pads) => ints("pads", &pads),
            Padding::Same => text("auto_pad", "SAME_UPPER"),
        });
        let mut operands = vec![x.to_owned(), self.weight(name)];
        if !conv.scale {
            operands.extend(self.vector(name, "bias"));
            return self.node("Conv", name, &operands, output, settings);
        }
        let sum = self.fresh(&format!("{name}.sum"));
        self.node("Conv", name, &operands, &sum, settings);
        let [scale, bias] = ["scale", "bias"].map(|suffix| self.values_of(name, suffix));
        let scale = self.per_channel(name, "scale", &scale.expect("a scaled layer has scales"));
        match bias {
            None => self.node("Mul", &format!("{name}.scaled"), &[sum, scale], output, Vec::new()),
            Some(bias) => {
                let scaled = self.helper("Mul", name, "scaled", &[sum, scale]);
                let bias = self.per_channel(name, "bias", &bias);
                let inputs = [scaled, bias];
                self.node("Add", &format!("{name}.biased"), &inputs, output, Vec::new());
            }
        }
    }

    fn linear(&mut self, name: &str, linear: &Linear, x: &str, output: &str) {
        let mut operands = vec![x.to_owned(), self.weight(name)];
        if linear.bias {
            operands.extend(self.vector(name, "bias"));
        }
        self.node("Gemm", name, &operands, output, vec![int("transB", 1)]);
    }

    fn batch_norm(&mut self, name: &str, norm: &BatchNorm, x: &str, output: &str) {
        let mut operands = vec![x.to_owned()];
        for suffix in ["weight", "bias", "running_mean", "running_var"] {
            operands.extend(self.vector(name, suffix));
        }
        let mut settings = vec![float("epsilon", norm.eps)];
        if norm.momentum != DEFAULT_MOMENTUM {
            settings.push(float("momentum", 1.0 - norm.momentum));
        }
        self.node("BatchNormalization", name, &operands, output, settings);
    }

    fn activation(&mut self, name: &str, function: Activation, x: &str, output: &str) {
        let x = x.to_owned();
        let gate = match function {
            Activation::Relu => return self.node("Relu", name, &[x], output, Vec::new()),
            Activation::Sigmoid => return self.node("Sigmoid", name, &[x], output, Vec::new()),
            Activation::Relu6 => {
                let low = self.scalar(name, "low", 0.0);
                let high = self.scalar(name, "high", 6.0);
                return self.node("Clip", name, &[x, low, high], output, Vec::new());
            }
            Activation::Swish => self.helper("Sigmoid", name, "gate", std::slice::from_ref(&x)),
            Activation::HardSwish => {
                let gate = self.fresh(&format!("{name}.gate"));
                let slope = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
                self.node("HardSigmoid", &gate, std::slice::from_ref(&x), &gate, slope);
                gate
            }
        };
        self.node("Mul", name, &[x, gate], output, Vec::new());
    }

    fn pad_shortcut(
        &mut self,
        name: &str,
        pad: &PadShortcut,
        channels: usize,
        x: &str,
        output: &str,
    ) {
        let missing = (pad.out_channels - channels) as i64;
        let windows = vec![ints("kernel_shape", &[1, 1]), ints("strides", &[pad.stride; 2])];
        if missing == 0 {
            return self.node("MaxPool", name, &[x.to_owned()], output, windows);
        }
        let mut pixels = x.to_owned();
        if pad.stride > 1 {
            pixels = self.fresh(&format!("{name}.pixels"));
            self.node("MaxPool", &pixels.clone(), &[x.to_owned()], &pixels, windows);
        }
        let pads = self.fresh(&format!("{name}.pads"));
        let before = missing / 2;
        self.constants.push(int_tensor(&pads, &[0, before, 0, 0, 0, missing - before, 0, 0]));
        self.node("Pad", name, &[pixels, pads], output, Vec::new());
    }

    /// The weights of a layer: a constant, or made of one by a node.
    fn weight(&mut self, layer: &str) -> String {
        let name = self.fresh(&format!("{layer}.weight"));
        let tensor = self.network.tensor(&format!("{layer}.weight"));
        match (tensor.expect("a layer has weights"), self.codes) {
            (Tensor::Dense(dense), _) => {
                self.constants.push(float_tensor(&name, dense.shape(), dense.data()));
            }
            (Tensor::Ternary(ternary), Codes::Dense) => {
                let bytes = Codes::Dense.pack(ternary);
                self.constants.push(self::tensor(&name, ternary.shape(), FLOAT, bytes));
            }
            (Tensor::Ternary(ternary), codes) => {
                let [stored, codebook] =
                    ["codes", "codebook"].map(|suffix| self.fresh(&format!("{name}.{suffix}")));
                let bytes = codes.pack(ternary);
                let shape = ternary.shape();
                self.constants.push(self::tensor(&stored, shape, codes.data_type(), bytes));
                let centroids = [-ternary.w_neg(), 0.0, ternary.w_pos()];
                self.constants.push(float_tensor(&codebook, &[3], &centroids));
                let indices = self.fresh(&format!("{name}.indices"));
                let target = vec![int("to", i64::from(INT32))];
                self.node("Cast", &indices.clone(), &[stored], &indices, target);
                self.node("Gather", &name.clone(), &[codebook, indices], &name, Vec::new());
            }
        }
        name
    }

    /// Values of a layer's tensor, if it has this one.
    fn values_of(&self, layer: &str, suffix: &str) -> Option<Vec<f32>> {
        self.network.tensor(&format!("{layer}.{suffix}")).map(Tensor::to_f32)
    }

    /// A layer's tensor as a constant, if it has this one.
    fn vector(&mut self, layer: &str, suffix: &str) -> Option<String> {
        let values = self.values_of(layer, suffix)?;
        let name = self.fresh(&format!("{layer}.{suffix}"));
        self.constants.push(float_tensor(&name, &[values.len()], &values));
        Some(name)
    }

    /// A constant with a number for each channel of a map.
    fn per_channel(&mut self, layer: &str, suffix: &str, values: &[f32]) -> String {
        let name = self.fresh(&format!("{layer}.{suffix}"));
        self.constants.push(float_tensor(&name, &[values.len(), 1, 1], values));
        name
    }

    /// A constant of one number.
    fn scalar(&mut self, layer: &str, suffix: &str, value: f32) -> String {
        let name = self.fresh(&format!("{layer}.{suffix}"));
        self.constants.push(float_tensor(&name, &[], &[value]));
        name
    }

    /// Adds a node without settings whose value is none of a layer; gives its name.
    fn helper(&mut self, kind: &str, layer: &str, suffix: &str, inputs: &[String]) -> String {
        let name = self.fresh(&format!("{layer}.{suffix}"));
        self.node(kind, &name, inputs, &name, Vec::new());
        name
    }

    fn node(
        &mut self,
        kind: &str,
        name: &str,
        inputs: &[String],
        output: &str,
        attribute: Vec<Attribute>,
    ) {
        self.nodes.push(proto::Node {
            input: inputs.to_vec(),
            output: vec![output.into()],
            name: Some(name.into()),
            op_type: Some(kind.into()),
            attribute,
            domain: None,
        });
    }

    fn finish(mut self) -> proto::Model {
        let last = self.values.last().expect("a graph has an input").clone();
        if last.name != OUTPUT {
            self.node("Identity", OUTPUT, std::slice::from_ref(&last.name), OUTPUT, Vec::new());
        }
        let graph = self.network.graph();
        let input = value_info(INPUT, graph.input, Form::Map, Some(INPUT_MEANING));
        let output = value_info(OUTPUT, last.shape, last.form, None);
        proto::Model {
            ir_version: Some(self.codes.ir_version()),
            producer_name: Some("ec2t".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            metadata_props: metadata(self.network),
            opset_import: vec![proto::OperatorSet {
                domain: Some(String::new()),
                version: Some(self.codes.opset()),
            }],
            graph: Some(proto::Graph {
                node: self.nodes,
                name: Some(graph.name.clone()),
                initializer: self.constants,
                input: vec![input],
                output: vec![output],
            }),
        }
    }
}

/// What the input is.
const INPUT_MEANING: &str =
    "pixels divided by 255, so 0 to 1, channels first, red before blue; the model normalizes them";

/// The network's free text, and what has no other place.
fn metadata(network: &Network) -> Vec<proto::Entry> {
    let mut entries = network.metadata.clone();
    entries.insert(INPUT_KEY.into(), INPUT_MEANING.into());
    let classes = &network.graph().classes;
    if !classes.is_empty() {
        entries.insert(CLASSES_KEY.into(), serde_json::json!(classes).to_string());
    }
    let entry = |(key, value)| proto::Entry { key: Some(key), value: Some(value) };
    entries.into_iter().map(entry).collect()
}

/// Settings of a pooling layer.
fn windows(pool: &Pool2d) -> Vec<Attribute> {
    vec![
        ints("kernel_shape", &pool.kernel),
        ints("strides", &pool.stride),
        ints("pads", &pool.padding),
    ]
}

fn value_info(name: &str, shape: Shape, form: Form, meaning: Option<&str>) -> proto::ValueInfo {
    let lengths = match form {
        Form::Map => vec![shape.channels, shape.height, shape.width],
        Form::Vector => vec![shape.channels],
    };
    let lengths = lengths.into_iter().map(|length| proto::Length::Value(length as i64));
    let dim = std::iter::once(proto::Length::Param("batch".into()))
        .chain(lengths)
        .map(|length| proto::Dimension { length: Some(length) });
    let shape = proto::Shape { dim: dim.collect() };
    let tensor = proto::TensorType { elem_type: Some(FLOAT), shape: Some(shape) };
    proto::ValueInfo {
        name: Some(name.into()),
        kind: Some(proto::Type { tensor: Some(tensor) }),
        doc_string: meaning.map(str::to_owned),
    }
}
