//! The values that training changes, on the host.
//!
//! These floats are the truth: checkpoints store them bit for bit, optimizers
//! step them, and every training step copies them to the device. That costs a
//! copy of the parameters per step and keeps one optimizer for all devices.

use std::collections::BTreeMap;

use ec2t_format::Network;
use ec2t_format::graph::{Graph, NodeId, Param};
use ec2t_format::tensor::{DenseTensor, Tensor, TernaryTensor};

use crate::error::QuantError;

/// One value list for every parameter of a graph, in the graph's order.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    params: Vec<Param>,
    values: Vec<Vec<f32>>,
    /// For each node, the position of its first parameter.
    first: Vec<usize>,
}

impl Weights {
    pub(crate) fn from_network(network: &Network) -> Self {
        let graph = network.graph();
        let params = graph.params();
        let values = params.iter().map(|param| network.tensors()[&param.name].to_f32()).collect();
        let mut first = vec![params.len(); graph.nodes.len()];
        for (position, param) in params.iter().enumerate().rev() {
            first[param.node.index()] = position;
        }
        Self { params, values, first }
    }

    /// The parameters, in the graph's order.
    pub(crate) fn params(&self) -> &[Param] {
        &self.params
    }

    /// Values of the parameter at `position`.
    pub(crate) fn get(&self, position: usize) -> &[f32] {
        &self.values[position]
    }

    /// Values of the parameter at `position`.
    pub(crate) fn get_mut(&mut self, position: usize) -> &mut [f32] {
        &mut self.values[position]
    }

    /// Position of a node's first parameter.
    pub(crate) fn first_of(&self, node: NodeId) -> usize {
        self.first[node.index()]
    }

    /// Values of the two parameters at `position` and the one after it.
    pub(crate) fn pair_mut(&mut self, position: usize) -> [&mut [f32]; 2] {
        let (a, b) = self.values.split_at_mut(position + 1);
        [&mut a[position], &mut b[0]]
    }

    /// Number of values of every parameter.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.values.iter().map(Vec::len).collect()
    }

    /// The network with these values; those in `ternary`, by position, replace
    /// their dense form.
    pub(crate) fn to_network(
        &self,
        graph: &Graph,
        mut ternary: BTreeMap<usize, TernaryTensor>,
    ) -> Result<Network, QuantError> {
        let mut tensors = BTreeMap::new();
        for (position, (param, values)) in self.params.iter().zip(&self.values).enumerate() {
            let tensor: Tensor = match ternary.remove(&position) {
                Some(ternary) => ternary.into(),
                None => DenseTensor::new(param.shape.clone(), values.clone())?.into(),
            };
            tensors.insert(param.name.clone(), tensor);
        }
        Ok(Network::new(graph.clone(), tensors)?)
    }
}
