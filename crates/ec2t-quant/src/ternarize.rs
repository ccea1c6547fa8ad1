//! Ternarization and fine-tuning: the two phases of EC2T (§5.2 of the thesis).
//!
//! Both train with ternary weights in the forward and backward pass. While
//! *learning*, the background weights and the centroids of every ternarized
//! layer move, and each step assigns all weights anew. In the *frozen* phase
//! assignments stay, and centroids and all other parameters move. Both phases
//! use Adam throughout, with fresh moments.

use std::collections::BTreeMap;

use ec2t_data::Splits;
use ec2t_format::graph::{ParamKind, Role};
use ec2t_format::tensor::{Tensor, TernaryTensor};
use ec2t_format::{Graph, Network};

use crate::checkpoint::Checkpoint;
use crate::ec2t::{Centroids, Ec2tOptions, TernaryLayer, size_decay};
use crate::engine::Gradients;
use crate::error::QuantError;
use crate::optim::{Adam, Rate};
use crate::options::{FinetuneOptions, TernarizeOptions};
use crate::session::{LayerReport, Outcome, Session};
use crate::trainer::{self, Phase};
use crate::weights::Weights;

/// Ternarizes the layers in the body of a float network.
///
/// # Errors
/// Where the network has no such layer, options or data do not fit, a file
/// can't be read or written, training diverges, or the session was told to stop.
pub fn ternarize(
    network: &Network,
    data: &Splits,
    options: &TernarizeOptions,
    session: &mut Session,
) -> Result<Outcome, QuantError> {
    options.validate()?;
    let rates = Rates::new(options.common.lr, options.weight_decay, options.centroid_lr);
    let phase = Ternarize::learning(network, options.ec2t, rates)?;
    trainer::run(phase, network.graph(), data, &options.common, options, session)
}

/// Fine-tunes a ternary network; every weight stays at its centroid.
///
/// # Errors
/// Where the network has no ternary layer, options or data do not fit, a file
/// can't be read or written, training diverges, or the session was told to stop.
pub fn finetune(
    network: &Network,
    data: &Splits,
    options: &FinetuneOptions,
    session: &mut Session,
) -> Result<Outcome, QuantError> {
    options.validate()?;
    let rates = Rates::new(options.common.lr, options.weight_decay, options.centroid_lr);
    let phase = Ternarize::frozen(network, rates)?;
    trainer::run(phase, network.graph(), data, &options.common, options, session)
}

/// Whether EC2T ternarizes a layer of this role.
fn is_ternarized(role: Option<Role>) -> bool {
    role == Some(Role::Body)
}

/// Settings of the optimizers.
#[derive(Clone, Copy)]
struct Rates {
    /// Parameters that stay floats.
    main: Rate,
    background: Rate,
    centroids: Rate,
}

impl Rates {
    fn new(lr: f32, decay: f32, centroid_lr: f32) -> Self {
        Self {
            main: Rate { lr, decay },
            background: Rate { lr, decay: 0.0 },
            centroids: Rate { lr: centroid_lr, decay: 0.0 },
        }
    }

    fn scaled(self, factor: f32) -> Self {
        Self {
            main: self.main.scaled(factor),
            background: self.background.scaled(factor),
            centroids: self.centroids.scaled(factor),
        }
    }
}

/// A ternarized layer of the network.
struct Layer {
    name: String,
    /// Position of its weights among the parameters.
    position: usize,
    state: TernaryLayer,
    /// δ: the layer's share of the entropy constraint (thesis, eq. 4.9).
    delta: f64,
}

impl Layer {
    fn at_fault(&self) -> impl FnOnce(crate::ec2t::Ec2tError) -> QuantError + use<> {
        let layer = self.name.clone();
        move |source| QuantError::Layer { layer, source }
    }
}

/// What becomes of the background weights.
enum Assignment {
    /// They move, and all weights are assigned anew at each step.
    Learning { background: Adam },
    /// They rest.
    Frozen,
}

struct Ternarize {
    weights: Weights,
    layers: Vec<Layer>,
    assignment: Assignment,
    options: Ec2tOptions,
    rates: Rates,
    main: Adam,
    centroids: Adam,
}

impl Ternarize {
    fn learning(network: &Network, options: Ec2tOptions, rates: Rates) -> Result<Self, QuantError> {
        let graph = network.graph();
        let weights = Weights::from_network(network);
        let roles = graph.roles();
        let mut layers = Vec::new();
        for (position, (param, values)) in weights.iter().enumerate() {
            if param.kind != ParamKind::Weight || !is_ternarized(roles[param.node.index()]) {
                continue;
            }
            let name = param.name.clone();
            let state = TernaryLayer::new(values.to_vec(), &options)
                .map_err(|source| QuantError::Layer { layer: name.clone(), source })?;
            layers.push(Layer { name, position, state, delta: 1.0 });
        }
        if layers.is_empty() {
            let reason =
                format!("{} has no layer between its first and last to ternarize", graph.name);
            return Err(QuantError::NothingTernary(reason));
        }
        let largest = layers.iter().map(|layer| layer.state.len()).max().unwrap_or(1);
        for layer in &mut layers {
            layer.delta = size_decay(layer.state.len(), largest, options.sustain);
        }
        let background = Adam::new(&layer_sizes(&layers));
        Self::new(weights, layers, Assignment::Learning { background }, options, rates)
    }

    fn frozen(network: &Network, rates: Rates) -> Result<Self, QuantError> {
        let weights = Weights::from_network(network);
        let mut layers = Vec::new();
        for (position, param) in weights.params().iter().enumerate() {
            let Some(Tensor::Ternary(ternary)) = network.tensor(&param.name) else { continue };
            let centroids = Centroids { neg: ternary.w_neg(), pos: ternary.w_pos() };
            let state =
                TernaryLayer::from_parts(ternary.to_f32(), centroids, ternary.codes().to_vec())
                    .map_err(|source| QuantError::Layer { layer: param.name.clone(), source })?;
            layers.push(Layer { name: param.name.clone(), position, state, delta: 1.0 });
        }
        if layers.is_empty() {
            let reason = format!("{} has no ternary layer to fine-tune", network.graph().name);
            return Err(QuantError::NothingTernary(reason));
        }
        // The least floor that keeps a centroid from 0, where its cluster could
        // no longer be told from the zeros in a file of floats.
        let centroid_floor = f64::from(f32::EPSILON);
        let options = Ec2tOptions { centroid_floor, ..Ec2tOptions::default() };
        Self::new(weights, layers, Assignment::Frozen, options, rates)
    }

    fn new(
        weights: Weights,
        layers: Vec<Layer>,
        assignment: Assignment,
        options: Ec2tOptions,
        rates: Rates,
    ) -> Result<Self, QuantError> {
        let mut phase = Self {
            main: Adam::new(&weights.sizes()),
            centroids: Adam::new(&vec![2; layers.len()]),
            weights,
            layers,
            assignment,
            options,
            rates,
        };
        phase.write_ternary()?;
        Ok(phase)
    }

    /// Gives the network the layers' current ternary weights.
    fn write_ternary(&mut self) -> Result<(), QuantError> {
        for layer in &self.layers {
            let values = self.weights.get_mut(layer.position);
            layer.state.write_ternary(values).map_err(layer.at_fault())?;
        }
        Ok(())
    }

    /// λ of a layer's last assignment, where there are any: it follows from
    /// weights and centroids, which have not moved since.
    fn lambda(&self, layer: &Layer) -> Option<f64> {
        match self.assignment {
            Assignment::Learning { .. } => {
                let again = layer.state.clone().requantize(&self.options, layer.delta);
                again.ok().map(|result| result.lambda)
            }
            Assignment::Frozen => None,
        }
    }

    fn layer_names(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.name.clone()).collect()
    }
}

impl Phase for Ternarize {
    fn stage(&self) -> &'static str {
        match self.assignment {
            Assignment::Learning { .. } => "ternarize",
            Assignment::Frozen => "finetune",
        }
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    /// Gradients of background weights and centroids by the current assignment,
    /// optimizer steps, new assignment (thesis, algorithm 2).
    fn update(&mut self, gradients: &mut Gradients, factor: f32) -> Result<(), QuantError> {
        let rates = self.rates.scaled(factor);
        self.main.begin();
        self.centroids.begin();
        if let Assignment::Learning { background } = &mut self.assignment {
            background.begin();
        }
        for (slot, layer) in self.layers.iter_mut().enumerate() {
            let Some(gradient) = gradients.get_mut(layer.position) else { continue };
            let by_centroids = layer.state.gradients(gradient).map_err(layer.at_fault())?;
            self.centroids.step(slot, rates.centroids, layer.state.centroids_mut(), &by_centroids);
            match &mut self.assignment {
                Assignment::Learning { background } => {
                    background.step(slot, rates.background, layer.state.weights_mut(), gradient);
                    let result = layer.state.requantize(&self.options, layer.delta);
                    result.map_err(layer.at_fault())?;
                }
                Assignment::Frozen => {
                    layer.state.floor_centroids(&self.options).map_err(layer.at_fault())?;
                }
            }
        }
        for (position, gradient) in gradients.iter() {
            if !self.layers.iter().any(|layer| layer.position == position) {
                self.main.step(position, rates.main, self.weights.get_mut(position), gradient);
            }
        }
        self.write_ternary()
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        let names = self.layer_names();
        for layer in &self.layers {
            let Centroids { neg, pos } = layer.state.centroids();
            checkpoint.put(&format!("centroids/{}", layer.name), &[neg, pos]);
            checkpoint.put(&format!("background/{}", layer.name), layer.state.weights());
            checkpoint.put_codes(&format!("codes/{}", layer.name), layer.state.codes());
        }
        self.main.save(checkpoint, "main", &self.weights.names());
        self.centroids.save(checkpoint, "centroids", &names);
        if let Assignment::Learning { background } = &self.assignment {
            background.save(checkpoint, "background", &names);
        }
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError> {
        for layer in &mut self.layers {
            let mut centroids = [0.0; 2];
            checkpoint.load(&format!("centroids/{}", layer.name), &mut centroids)?;
            let mut weights = vec![0.0; layer.state.len()];
            checkpoint.load(&format!("background/{}", layer.name), &mut weights)?;
            let codes = checkpoint.codes(&format!("codes/{}", layer.name), weights.len())?;
            let [neg, pos] = centroids;
            layer.state = TernaryLayer::from_parts(weights, Centroids { neg, pos }, codes)
                .map_err(layer.at_fault())?;
        }
        let names = self.layer_names();
        self.main.load(checkpoint, "main", &self.weights.names())?;
        self.centroids.load(checkpoint, "centroids", &names)?;
        if let Assignment::Learning { background } = &mut self.assignment {
            background.load(checkpoint, "background", &names)?;
        }
        Ok(())
    }

    fn network(&self, graph: &Graph) -> Result<Network, QuantError> {
        let mut ternary = BTreeMap::new();
        for layer in &self.layers {
            let shape = self.weights.params()[layer.position].shape.clone();
            let Centroids { neg, pos } = layer.state.centroids();
            let tensor = TernaryTensor::new(shape, layer.state.codes().to_vec(), neg, pos)?;
            ternary.insert(layer.position, tensor);
        }
        self.weights.to_network(graph, ternary)
    }

    fn layers(&self) -> Vec<LayerReport> {
        let report = |layer| layer_report(layer, self.lambda(layer));
        self.layers.iter().map(report).collect()
    }
}

fn layer_sizes(layers: &[Layer]) -> Vec<usize> {
    layers.iter().map(|layer| layer.state.len()).collect()
}

fn layer_report(layer: &Layer, lambda: Option<f64>) -> LayerReport {
    let counts = layer.state.counts();
    let share = |count: usize| count as f64 / counts.total() as f64;
    let Centroids { neg, pos } = layer.state.centroids();
    LayerReport {
        name: layer.name.clone(),
        lambda,
        w_neg: neg,
        w_pos: pos,
        shares: [share(counts.neg), share(counts.zero), share(counts.pos)],
        entropy_bits: counts.entropy_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::graph::{GraphBuilder, Shape};

    /// A step that throws both centroids far below 0 leaves every code legible
    /// in the floats of the file.
    #[test]
    fn frozen_codes_survive_a_file_of_floats() {
        let mut g = GraphBuilder::new("t", Shape::new(2, 1, 1));
        g.linear("fc", g.input(), 2);
        let graph = g.finish().unwrap();
        let codes = vec![1, 0, -1, -1];
        let weight = TernaryTensor::new(vec![2, 2], codes.clone(), 0.5, 0.25).unwrap();
        let mut tensors = crate::initialize(&graph, 1).unwrap().into_parts().1;
        tensors.insert("fc.weight".into(), weight.into());
        let network = Network::new(graph.clone(), tensors).unwrap();

        let mut phase = Ternarize::frozen(&network, Rates::new(0.0, 0.0, 10.0)).unwrap();
        let mut gradients = Gradients(vec![Some(vec![1.0, 1.0, -1.0, -1.0]), None]);
        phase.update(&mut gradients, 1.0).unwrap();
        let tuned = phase.network(&graph).unwrap();
        let floats = tuned.tensor("fc.weight").unwrap().to_f32();
        let read = TernaryTensor::from_f32(&[2, 2], &floats).unwrap();
        assert_eq!(read.codes(), codes);
        assert!(read.w_neg() < 1e-6 && read.w_pos() < 1e-6, "{floats:?}");
    }
}
