//! What the counting needs to know of a network: shapes, who reads what, and which
//! weights are zero.

use ec2t_format::graph::{GraphError, NodeId, Role, Shape};
use ec2t_format::{Graph, Network, Op, Tensor};

use super::storage::Stored;

/// A network as the counting sees it.
pub(super) struct Trace<'a> {
    pub(super) graph: &'a Graph,
    /// Output of each node.
    pub(super) shapes: Vec<Shape>,
    pub(super) roles: Vec<Option<Role>>,
    /// Who reads each node.
    pub(super) readers: Vec<Vec<NodeId>>,
    /// Weights of convolutions and linear layers.
    pub(super) weights: Vec<Option<Weights>>,
}

/// Weights of a layer, `[outputs, inputs, taps]`, by which are zero.
pub(super) struct Weights {
    pub(super) is_ternary: bool,
    /// Nonzero weights between each output and input, row by row; all where it is
    /// `None`, so that a graph alone takes no memory.
    nonzero: Option<Vec<u64>>,
    outputs: usize,
    /// Inputs of each output.
    pub(super) inputs: usize,
    /// Weights between an output and an input.
    taps: u64,
}

impl<'a> Trace<'a> {
    /// `network` has the weights; without it none are zero, nor ternary.
    pub(super) fn new(graph: &'a Graph, network: Option<&Network>) -> Result<Self, GraphError> {
        let mut readers = vec![Vec::new(); graph.nodes.len()];
        for (id, node) in graph.iter() {
            for input in &node.inputs {
                readers[input.index()].push(id);
            }
        }
        let weights = graph.iter().map(|(id, node)| {
            let weight = match &node.op {
                Op::Conv2d(_) | Op::Linear(_) => node.params(id).into_iter().next()?,
                _ => return None,
            };
            let tensor = network.and_then(|network| network.tensor(&weight.name));
            Some(Weights::new(&weight.shape, tensor))
        });
        Ok(Self {
            graph,
            shapes: graph.shapes()?,
            roles: graph.roles(),
            readers,
            weights: weights.collect(),
        })
    }

    pub(super) fn op(&self, id: NodeId) -> &'a Op {
        &self.graph.nodes[id.index()].op
    }

    pub(super) fn shape(&self, id: NodeId) -> Shape {
        self.shapes[id.index()]
    }

    /// The first input of a node.
    pub(super) fn input(&self, id: NodeId) -> NodeId {
        self.graph.nodes[id.index()].inputs[0]
    }

    /// Whoever reads a node and has this operation.
    pub(super) fn reader(&self, id: NodeId, wanted: impl Fn(&Op) -> bool) -> Option<NodeId> {
        self.readers[id.index()].iter().copied().find(|reader| wanted(self.op(*reader)))
    }
}

impl Weights {
    fn new(shape: &[usize], tensor: Option<&Tensor>) -> Self {
        let taps: usize = shape[2..].iter().product();
        let nonzero = tensor.map(|tensor| match tensor {
            Tensor::Ternary(ternary) => count(ternary.codes(), taps, |code| *code != 0),
            Tensor::Dense(dense) => count(dense.data(), taps, |value| *value != 0.0),
        });
        let is_ternary = matches!(tensor, Some(Tensor::Ternary(_)));
        Self { is_ternary, nonzero, outputs: shape[0], inputs: shape[1], taps: taps as u64 }
    }

    /// Nonzero weights between an output and an input.
    fn at(&self, output: usize, input: usize) -> u64 {
        let kernel = output * self.inputs + input;
        self.nonzero.as_ref().map_or(self.taps, |nonzero| nonzero[kernel])
    }

    /// Nonzero weights of each output.
    pub(super) fn of_outputs(&self) -> impl Iterator<Item = u64> {
        let of_output = |output| (0..self.inputs).map(|input| self.at(output, input)).sum();
        (0..self.outputs).map(of_output)
    }

    /// Nonzero weights of each input.
    pub(super) fn of_inputs(&self) -> impl Iterator<Item = u64> {
        let of_input = |input| (0..self.outputs).map(|output| self.at(output, input)).sum();
        (0..self.inputs).map(of_input)
    }

    /// What is stored of the outputs and inputs that are kept.
    pub(super) fn stored(&self, outputs: &[bool], inputs: &[bool]) -> Stored {
        let places = |flags: &[bool]| -> Vec<usize> {
            (0..flags.len()).filter(|place| flags[*place]).collect()
        };
        let [outputs, inputs] = [places(outputs), places(inputs)];
        let of_output = |output| inputs.iter().map(|input| self.at(output, *input)).sum::<u64>();
        Stored {
            rows: outputs.len() as u64,
            count: (outputs.len() * inputs.len()) as u64 * self.taps,
            nonzero: outputs.iter().map(|output| of_output(*output)).sum(),
        }
    }
}

/// How many of each so many values fulfil a condition.
fn count<T>(values: &[T], taps: usize, counts: impl Fn(&T) -> bool) -> Vec<u64> {
    let kernels = values.chunks_exact(taps);
    kernels.map(|kernel| kernel.iter().filter(|value| counts(value)).count() as u64).collect()
}
