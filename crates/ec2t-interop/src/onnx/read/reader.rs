//! A network in the middle of being read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use ec2t_format::graph::{GraphBuilder, NodeId, Preprocess, Shape};
use ec2t_format::{DenseTensor, Graph, Network, Op, Tensor};

use super::super::error::OnnxError;
use super::super::proto;
use super::constant::Constant;
use super::fold::fold;
use super::lengths::Length;
use super::settings::Settings;
use crate::import::weight;

/// Who reads the output, in place of a node.
const OUTPUT: usize = usize::MAX;

/// Nodes, what is known of their values, and the layers made of them so far.
pub(super) struct Reader<'a> {
    nodes: &'a [proto::Node],
    /// Name of the input.
    input: &'a str,
    /// Nodes that the output depends on.
    needed: Vec<bool>,
    /// Nodes that read a value, by the value's name; for the output, [`OUTPUT`] too.
    readers: HashMap<&'a str, Vec<usize>>,
    constants: HashMap<&'a str, Rc<Constant>>,
    values: HashMap<&'a str, Value>,
    /// Nodes that an earlier layer has taken along.
    taken: HashSet<usize>,
    pub(super) builder: GraphBuilder,
    names: BTreeSet<String>,
    tensors: BTreeMap<String, Tensor>,
    pub(super) preprocess: Preprocess,
    notes: Vec<String>,
}

/// What a value is, where it is no constant.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// What a layer computes.
    Layer(Layer),
    /// The same with zeros around it, at `[top, left, bottom, right]`, for a convolution.
    Padded(Layer, [usize; 4]),
    /// Every so many rows and columns of it; the name is that of a shortcut that does only
    /// this.
    Strided(Layer, [usize; 2], String),
    /// Lengths of dimensions.
    Lengths(Vec<Length>),
}

/// What a layer computes, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) id: NodeId,
    pub(super) form: Form,
}

/// Dimensions of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `[N, C, H, W]`.
    Map,
    /// `[N, C]`.
    Vector,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        graph: &'a proto::Graph,
        input_name: &'a str,
        input: Shape,
        output: &'a str,
        most_values: usize,
    ) -> Result<Self, OnnxError> {
        let name = graph.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("onnx");
        let map = Value::Layer(Layer { id: NodeId::INPUT, form: Form::Map });
        let mut reader = Self {
            nodes: &graph.node,
            input: input_name,
            needed: needed(&graph.node, output),
            readers: HashMap::new(),
            constants: constants(&graph.initializer)?,
            values: HashMap::from([(input_name, map)]),
            taken: HashSet::new(),
            builder: GraphBuilder::new(name, input),
            names: BTreeSet::from(["input".into()]),
            tensors: BTreeMap::new(),
            preprocess: Preprocess::none(input.channels),
            notes: Vec::new(),
        };
        reader.count_readers(output);
        reader.fold_constants(most_values)?;
        Ok(reader)
    }

    fn count_readers(&mut self, output: &'a str) {
        self.readers.insert(output, vec![OUTPUT]);
        for (index, node) in self.nodes.iter().enumerate().filter(|(at, _)| self.needed[*at]) {
            for input in &node.input {
                self.readers.entry(input).or_default().push(index);
            }
        }
    }

    /// Computes all nodes that read constants only, up to so many values in all.
    fn fold_constants(&mut self, mut left: usize) -> Result<(), OnnxError> {
        for (index, node) in self.nodes.iter().enumerate().filter(|(at, _)| self.needed[*at]) {
            let constant = |name: &String| self.constants.get(name.as_str()).cloned();
            let operands: Vec<_> = node.input.iter().map(constant).collect();
            let known = node.input.iter().zip(&operands);
            if !known.into_iter().all(|(name, operand)| name.is_empty() || operand.is_some()) {
                continue;
            }
            let node = Settings(node);
            if let Some(value) = fold(node, &operands)? {
                let more = left.checked_sub(value.dims.iter().product());
                left = more.ok_or_else(|| node.unsupported("too many constants are computed"))?;
                self.constants.insert(node.output(), value);
                self.taken.insert(index);
            }
        }
        Ok(())
    }

    /// Turns all nodes that are needed into layers.
    pub(super) fn add_layers(&mut self) -> Result<(), OnnxError> {
        self.read_preprocessing();
        for (index, node) in self.nodes.iter().enumerate() {
            if self.needed[index] && !self.taken.contains(&index) {
                self.layer(Settings(node))?;
            }
        }
        Ok(())
    }

    /// The layers that the model's output depends on, and what has been noted.
    pub(super) fn finish(mut self, output: &str) -> Result<(Network, Vec<String>), OnnxError> {
        let computed = |node: &&proto::Node| node.output.iter().any(|value| value == output);
        let id = match (self.values.get(output).cloned(), self.nodes.iter().find(computed)) {
            (Some(value), Some(node)) => self.settled(Settings(node), value, "its value")?.id,
            (Some(Value::Layer(layer)), None) => layer.id,
            _ => {
                let (what, expected) = ("output", "what a layer computes");
                return Err(OnnxError::Model { what, expected, found: output.into() });
            }
        };
        let mut graph = self.builder.finish()?;
        graph.preprocess = self.preprocess;
        keep_only(&mut graph, id);
        let names: HashSet<String> = graph.params().into_iter().map(|param| param.name).collect();
        self.tensors.retain(|name, _| names.contains(name));
        Ok((Network::new(graph, self.tensors)?, self.notes))
    }

    /// The constant that a node reads at this position.
    pub(super) fn constant(&self, node: Settings, position: usize) -> Option<&Rc<Constant>> {
        self.constants.get(node.input(position)?)
    }

    /// As [`constant`](Self::constant), where there must be floats.
    pub(super) fn floats(
        &self,
        node: Settings,
        position: usize,
    ) -> Result<Rc<Constant>, OnnxError> {
        let constant = self.constant(node, position).filter(|found| found.floats().is_some());
        let reason = || format!("operand {position} is no constant of floats");
        constant.cloned().ok_or_else(|| node.unsupported(reason()))
    }

    /// Integers that are a setting in older versions and an operand in newer ones; `None`
    /// where they are neither.
    pub(super) fn ints(
        &self,
        node: Settings<'a>,
        setting: &str,
        position: usize,
    ) -> Result<Option<Vec<i64>>, OnnxError> {
        if let Some(ints) = node.ints(setting) {
            return Ok(Some(ints.to_vec()));
        }
        if node.input(position).is_none() {
            return Ok(None);
        }
        let constant = self.constant(node, position).and_then(|constant| constant.ints());
        let reason = || format!("operand {position} is no constant of integers");
        Ok(Some(constant.ok_or_else(|| node.unsupported(reason()))?.to_vec()))
    }

    /// What a node reads at this position, where it is no constant.
    pub(super) fn value(&self, node: Settings, position: usize) -> Result<&Value, OnnxError> {
        let name = node
            .input(position)
            .ok_or_else(|| node.unsupported(format!("operand {position} is missing")))?;
        if self.constants.contains_key(name) {
            return Err(node.unsupported(format!("operand {position} is a constant")));
        }
        self.values
            .get(name)
            .ok_or_else(|| OnnxError::Value { node: node.name().into(), value: name.into() })
    }

    /// The layer that a node reads at this position.
    pub(super) fn operand(&mut self, node: Settings, position: usize) -> Result<Layer, OnnxError> {
        let value = self.value(node, position)?.clone();
        self.settled(node, value, "its input")
    }

    /// The layer whose value this is.
    fn settled(&mut self, node: Settings, value: Value, what: &str) -> Result<Layer, OnnxError> {
        match value {
            Value::Layer(layer) => Ok(layer),
            Value::Strided(layer, steps, name) => self.strided(node, layer, steps, &name),
            Value::Padded(..) => Err(node.unsupported(format!("{what} has been padded"))),
            Value::Lengths(_) => {
                Err(node.unsupported(format!("{what} is the length of a dimension")))
            }
        }
    }

    /// The map that a node reads at this position.
    pub(super) fn map(&mut self, node: Settings, position: usize) -> Result<Layer, OnnxError> {
        let layer = self.operand(node, position)?;
        match layer.form {
            Form::Map => Ok(layer),
            Form::Vector => Err(node.unsupported("its input has two dimensions, expected four")),
        }
    }

    pub(super) fn shape(&self, layer: Layer) -> Shape {
        self.builder.shape(layer.id)
    }

    /// The node that alone reads a value, which is not the output.
    pub(super) fn only_reader(&self, value: &str) -> Option<(usize, Settings<'a>)> {
        match self.readers.get(value)?[..] {
            [index] => self.nodes.get(index).map(|node| (index, Settings(node))),
            _ => None,
        }
    }

    /// Whether a value is the model's output, and nothing reads it besides.
    pub(super) fn is_output(&self, value: &str) -> bool {
        self.readers.get(value).is_some_and(|readers| readers[..] == [OUTPUT])
    }

    /// Says what has become of a node, where its value is not the layer's.
    pub(super) fn note(&mut self, node: Settings, what: &str) {
        self.notes.push(format!("node `{}`: {} is {what}", node.name(), node.operator()));
    }

    /// Makes a node part of the layer before it; gives the name of its value.
    pub(super) fn take(&mut self, index: usize) -> &'a str {
        self.taken.insert(index);
        Settings(&self.nodes[index]).output()
    }

    /// The name of the model's input.
    pub(super) fn input_name(&self) -> &'a str {
        self.input
    }

    /// Says what a value is.
    pub(super) fn set(&mut self, name: &'a str, value: Value) {
        self.values.insert(name, value);
    }

    /// Adds a layer that reads some others and gives the value `output`.
    pub(super) fn push(&mut self, name: &str, op: Op, inputs: &[Layer], form: Form) -> Layer {
        let inputs: Vec<NodeId> = inputs.iter().map(|layer| layer.id).collect();
        Layer { id: self.builder.push(name, op, &inputs), form }
    }

    /// A name that no layer has: the one given or, where a constant is called
    /// `LAYER.weight`, that of the layer.
    pub(super) fn layer_name(&mut self, node: Settings) -> String {
        let of_weight = node.input(1).and_then(|constant| constant.strip_suffix(".weight"));
        self.unique(of_weight.unwrap_or(node.name()))
    }

    /// This name, or one like it that no layer has.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let mut name = if name.is_empty() { String::from("_") } else { name.into() };
        while !self.names.insert(name.clone()) {
            name = format!("{name}.{}", self.names.len());
        }
        name
    }

    /// Keeps a layer's weights, in their ternary form where they have one.
    pub(super) fn add_weight(
        &mut self,
        node: Settings,
        layer: &str,
        dims: Vec<usize>,
        values: Vec<f32>,
    ) -> Result<(), OnnxError> {
        let dense = dense(node, dims, values)?;
        self.tensors.insert(format!("{layer}.weight"), weight(dense));
        Ok(())
    }

    /// Keeps a number for each channel of a layer.
    pub(super) fn add_vector(
        &mut self,
        node: Settings,
        layer: &str,
        suffix: &str,
        values: Vec<f32>,
    ) -> Result<(), OnnxError> {
        let dense = dense(node, vec![values.len()], values)?;
        self.tensors.insert(format!("{layer}.{suffix}"), dense.into());
        Ok(())
    }
}

fn dense(node: Settings, dims: Vec<usize>, values: Vec<f32>) -> Result<DenseTensor, OnnxError> {
    DenseTensor::new(dims, values).map_err(|error| node.unsupported(error.to_string()))
}

fn constants(initializers: &[proto::Tensor]) -> Result<HashMap<&str, Rc<Constant>>, OnnxError> {
    let constant = |tensor: &'_ proto::Tensor| {
        Constant::new(tensor).map(Rc::new).map_err(|reason| OnnxError::Constant {
            name: tensor.name.clone().unwrap_or_default(),
            reason,
        })
    };
    initializers
        .iter()
        .map(|tensor| Ok((tensor.name.as_deref().unwrap_or_default(), constant(tensor)?)))
        .collect()
}

/// Leaves out all layers that one does not depend on, which then is the last.
fn keep_only(graph: &mut Graph, output: NodeId) {
    let mut wanted = vec![false; graph.nodes.len()];
    wanted[NodeId::INPUT.index()] = true;
    wanted[output.index()] = true;
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        if wanted[index] {
            node.inputs.iter().for_each(|input| wanted[input.index()] = true);
        }
    }
    let mut kept = 0;
    let ids: Vec<NodeId> = wanted
        .iter()
        .map(|&wanted| {
            kept += u32::from(wanted);
            NodeId(kept.saturating_sub(1))
        })
        .collect();
    let mut wanted = wanted.into_iter();
    graph.nodes.retain(|_| wanted.next().unwrap_or(true));
    for input in graph.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
        *input = ids[input.index()];
    }
}

/// Whether the output depends on each node.
fn needed(nodes: &[proto::Node], output: &str) -> Vec<bool> {
    let mut wanted = HashSet::from([output]);
    let mut needed = vec![false; nodes.len()];
    for (index, node) in nodes.iter().enumerate().rev() {
        if node.output.iter().any(|value| wanted.contains(value.as_str())) {
            needed[index] = true;
            wanted.extend(node.input.iter().map(String::as_str));
        }
    }
    needed
}
