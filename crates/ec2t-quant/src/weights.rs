//! The values that training changes, on the host.
//!
//! These floats are the truth: checkpoints store them bit for bit, optimizers
//! step them, and the processor's engine reads them in place. An engine on
//! another device copies them there at every step, which keeps one optimizer for
//! all devices.

use std::collections::BTreeMap;

use ec2t_format::Network;
use ec2t_format::graph::{Graph, NodeId, Param, ParamKind};
use ec2t_format::tensor::{DenseTensor, Tensor, TernaryTensor};

use crate::checkpoint::Checkpoint;
use crate::error::QuantError;

/// One value list for every parameter of a graph, in the graph's order.
#[derive(Clone, Debug)]
pub struct Weights {
    params: Vec<Param>,
    values: Vec<Vec<f32>>,
}

impl Weights {
    /// The values of a network; of ternary layers, what they stand for.
    pub fn from_network(network: &Network) -> Self {
        let params = network.graph().params();
        let values = params.iter().map(|param| network.tensors()[&param.name].to_f32()).collect();
        Self { params, values }
    }

    /// The parameters, in the graph's order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Names of the parameters.
    pub(crate) fn names(&self) -> Vec<String> {
        self.params.iter().map(|param| param.name.clone()).collect()
    }

    /// Number of values of every parameter.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.values.iter().map(Vec::len).collect()
    }

    /// Every parameter with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&Param, &[f32])> {
        self.params.iter().zip(self.values.iter().map(Vec::as_slice))
    }

    /// Values of the parameter at `position`, which there must be.
    pub fn get(&self, position: usize) -> &[f32] {
        &self.values[position]
    }

    /// Values of the parameter at `position`, which there must be.
    pub fn get_mut(&mut self, position: usize) -> &mut [f32] {
        &mut self.values[position]
    }

    /// Values of every parameter.
    pub(crate) fn lists_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.values
    }

    /// Position of a node's parameter.
    pub fn position(&self, node: NodeId, kind: ParamKind) -> Option<usize> {
        self.params.iter().position(|param| param.node == node && param.kind == kind)
    }

    /// Running mean and variance of a batch normalisation.
    pub(crate) fn running_statistics(&self, node: NodeId) -> Option<[&[f32]; 2]> {
        let mean = self.position(node, ParamKind::RunningMean)?;
        let var = self.position(node, ParamKind::RunningVar)?;
        Some([self.get(mean), self.get(var)])
    }

    /// As [`running_statistics`](Self::running_statistics), to be moved.
    pub(crate) fn running_statistics_mut(&mut self, node: NodeId) -> Option<[&mut Vec<f32>; 2]> {
        let mean = self.position(node, ParamKind::RunningMean)?;
        let var = self.position(node, ParamKind::RunningVar)?;
        self.values.get_disjoint_mut([mean, var]).ok()
    }

    /// Name of the first parameter with a value that is not finite.
    pub(crate) fn not_finite(&self) -> Option<&str> {
        let bad = |values: &[f32]| values.iter().any(|value| !value.is_finite());
        self.iter().find(|(_, values)| bad(values)).map(|(param, _)| param.name.as_str())
    }

    /// Whether there are running statistics, of a batch normalisation.
    pub(crate) fn has_running_statistics(&self) -> bool {
        self.params.iter().any(|param| param.kind == ParamKind::RunningMean)
    }

    /// Adds all values to a checkpoint, under names that begin with `prefix`.
    pub(crate) fn save(&self, checkpoint: &mut Checkpoint, prefix: &str) {
        for (param, values) in self.iter() {
            checkpoint.put(&format!("{prefix}/{}", param.name), values);
        }
    }

    /// Takes back what [`save`](Self::save) added.
    pub(crate) fn load(&mut self, checkpoint: &Checkpoint, prefix: &str) -> Result<(), QuantError> {
        for (param, values) in self.params.iter().zip(&mut self.values) {
            checkpoint.load(&format!("{prefix}/{}", param.name), values)?;
        }
        Ok(())
    }

    /// The network with these values; those in `ternary`, by position, replace
    /// their dense form.
    ///
    /// # Errors
    /// Where the graph has other parameters.
    pub fn to_network(
        &self,
        graph: &Graph,
        mut ternary: BTreeMap<usize, TernaryTensor>,
    ) -> Result<Network, QuantError> {
        let mut tensors = BTreeMap::new();
        for (position, (param, values)) in self.iter().enumerate() {
            let tensor: Tensor = match ternary.remove(&position) {
                Some(ternary) => ternary.into(),
                None => DenseTensor::new(param.shape.clone(), values.to_vec())?.into(),
            };
            tensors.insert(param.name.clone(), tensor);
        }
        Ok(Network::new(graph.clone(), tensors)?)
    }
}
