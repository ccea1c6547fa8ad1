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
    /// Nonzero weights between each output and input, row by row.
    nonzero: Vec<u64>,
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
        let count = |zero: &dyn Fn(usize) -> bool| {
            let kernels = (0..shape[0] * shape[1]).map(|kernel| kernel * taps);
            kernels
                .map(|first| {
                    (first..first + taps).filter(|position| !zero(*position)).count() as u64
                })
                .collect()
        };
        let nonzero = match tensor {
            Some(Tensor::Ternary(ternary)) => count(&|position| ternary.codes()[position] == 0),
            Some(Tensor::Dense(dense)) => count(&|position| dense.data()[position] == 0.0),
            None => count(&|_| false),
        };
        let is_ternary = matches!(tensor, Some(Tensor::Ternary(_)));
        Self { is_ternary, nonzero, inputs: shape[1], taps: taps as u64 }
    }

    /// Nonzero weights of each output.
    pub(super) fn of_outputs(&self) -> impl Iterator<Item = u64> {
        self.nonzero.chunks_exact(self.inputs).map(|row| row.iter().sum())
    }

    /// Nonzero weights of each input.
    pub(super) fn of_inputs(&self) -> impl Iterator<Item = u64> {
        (0..self.inputs).map(|input| self.nonzero.iter().skip(input).step_by(self.inputs).sum())
    }

    /// What is stored of the outputs and inputs that are kept.
    pub(super) fn stored(&self, outputs: &[bool], inputs: &[bool]) -> Stored {
        let kept = |flags: &[bool]| flags.iter().filter(|kept| **kept).count() as u64;
        let rows = self.nonzero.chunks_exact(self.inputs).zip(outputs).filter(|(_, kept)| **kept);
        let nonzero = rows.flat_map(|(row, _)| row.iter().zip(inputs));
        Stored {
            rows: kept(outputs),
            count: kept(outputs) * kept(inputs) * self.taps,
            nonzero: nonzero.filter(|(_, kept)| **kept).map(|(count, _)| count).sum(),
        }
    }
}
