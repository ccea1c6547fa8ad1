//! Ternarization and fine-tuning: the two phases of EC2T (§5.2 of the thesis).
//!
//! Both train with ternary weights in the forward and backward pass. While
//! *learning*, the background weights and the centroids of every ternarized
//! layer move, and each step assigns all weights anew. In the *frozen* phase
//! assignments stay, and centroids and all other parameters move. Both phases
//! use Adam throughout, with fresh moments.
//!
//! Layers of other roles can be pruned at the same time, under the same constraint
//! (ECP, §4.2.2): weights in the cluster of the zeros are left out, all others stay
//! floats. In the frozen phase every float weight that is exactly 0 stays 0.

mod assigned;
mod layer;
mod target;

pub use assigned::assigned_sparsity;

use std::collections::BTreeMap;

use ec2t_data::Splits;
use ec2t_format::graph::{ParamKind, Role};
use ec2t_format::tensor::{Tensor, TernaryTensor};
use ec2t_format::{Graph, Network};
use rayon::prelude::*;

use self::layer::{Change, Layer};
use self::target::SparsityTarget;
use crate::average::Average;
use crate::checkpoint::Checkpoint;
use crate::ec2t::{Centroids, Ec2tOptions, TernaryLayer, WeightStatistics, size_decay};
use crate::engine::Gradients;
use crate::error::QuantError;
use crate::optim::{self, Rate};
use crate::options::{FinetuneOptions, PruneOptions, TernarizeOptions};
use crate::session::{LayerReport, Outcome, Session};
use crate::trainer::{self, Phase};
use crate::weights::Weights;

/// Ternarizes the layers in the body of a float network, and prunes others where the
/// options say so.
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
    let mut phase = Ternarize::learning(network, options.ec2t, &options.pruning, rates)?;
    phase.target = SparsityTarget::new(options.target_sparsity, &options.ec2t);
    trainer::run(phase, network.graph(), data, &options.common, options, session)
}

/// Fine-tunes a ternary network; every weight stays at its centroid, and pruned ones
/// stay 0.
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
    let mut phase = Ternarize::frozen(network, rates)?;
    phase.average = average(options, &phase.weights)?;
    trainer::run(phase, network.graph(), data, &options.common, options, session)
}

/// The mean of the weights, where the options ask for it. Running statistics that
/// training leaves are those of the weights themselves, and no use to it.
fn average(options: &FinetuneOptions, weights: &Weights) -> Result<Option<Average>, QuantError> {
    let average = Average::new(options.average, weights);
    let measured = options.common.bn_batches > 0 || !weights.has_running_statistics();
    match measured || average.is_none() {
        true => Ok(average),
        false => Err(QuantError::Option {
            option: "average",
            reason: "needs `bn_batches` above 0 where there is batch normalisation".into(),
        }),
    }
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

struct Ternarize {
    stage: &'static str,
    weights: Weights,
    /// In the order of the parameters.
    layers: Vec<Layer>,
    rates: Rates,
    main: optim::Adam,
    /// Positions of float weights some of which stay 0.
    masked: Vec<usize>,
    target: Option<SparsityTarget>,
    /// The mean of the weights, where it is judged in their place.
    average: Option<Average>,
}

impl Ternarize {
    fn learning(
        network: &Network,
        options: Ec2tOptions,
        pruning: &PruneOptions,
        rates: Rates,
    ) -> Result<Self, QuantError> {
        let graph = network.graph();
        let weights = Weights::from_network(network);
        let roles = graph.roles();
        let of_role = |wanted: &dyn Fn(Role) -> bool| -> Vec<usize> {
            let params = weights.params().iter().enumerate();
            let found = params.filter(|(_, param)| {
                param.kind == ParamKind::Weight && roles[param.node.index()].is_some_and(wanted)
            });
            found.map(|(position, _)| position).collect()
        };
        let body = of_role(&|role| role == Role::Body);
        if body.is_empty() {
            let reason =
                format!("{} has no layer between its first and last to ternarize", graph.name);
            return Err(QuantError::NothingTernary(reason));
        }
        let ternarize = |delta| Change::Ternarize { options, delta };
        let mut layers = learning_layers(&weights, &body, &options, ternarize)?;
        let pruned = of_role(&|role| pruning.prunes(role));
        let options = pruning.constraint(options);
        let prune = |delta| Change::Prune { options, delta };
        layers.extend(learning_layers(&weights, &pruned, &options, prune)?);
        layers.sort_by_key(|layer| layer.position);
        Self::new("ternarize", weights, layers, Vec::new(), rates)
    }

    fn frozen(network: &Network, rates: Rates) -> Result<Self, QuantError> {
        // The least floor that keeps a centroid from 0, where its cluster could
        // no longer be told from the zeros in a file of floats.
        let centroid_floor = f64::from(f32::EPSILON);
        let options = Ec2tOptions { centroid_floor, ..Ec2tOptions::default() };
        let weights = Weights::from_network(network);
        let mut layers = Vec::new();
        for (position, param) in weights.params().iter().enumerate() {
            let Some(Tensor::Ternary(ternary)) = network.tensor(&param.name) else { continue };
            let at_fault = |source| QuantError::Layer { layer: param.name.clone(), source };
            let centroids = Centroids { neg: ternary.w_neg(), pos: ternary.w_pos() };
            let state =
                TernaryLayer::from_parts(ternary.to_f32(), centroids, ternary.codes().to_vec())
                    .map_err(at_fault)?;
            let statistics = WeightStatistics::of(state.weights()).map_err(at_fault)?;
            let change = Change::Tune { floor: options.floor(&statistics) };
            layers.push(Layer::new(param.name.clone(), position, state, change));
        }
        if layers.is_empty() {
            let reason = format!("{} has no ternary layer to fine-tune", network.graph().name);
            return Err(QuantError::NothingTernary(reason));
        }
        let masked = weights.iter().enumerate().filter(|(position, (param, values))| {
            let is_layer = layers.iter().any(|layer| layer.position == *position);
            param.kind == ParamKind::Weight && !is_layer && values.contains(&0.0)
        });
        let masked = masked.map(|(position, _)| position).collect();
        Self::new("finetune", weights, layers, masked, rates)
    }

    fn new(
        stage: &'static str,
        mut weights: Weights,
        layers: Vec<Layer>,
        masked: Vec<usize>,
        rates: Rates,
    ) -> Result<Self, QuantError> {
        for layer in &layers {
            layer.write(weights.get_mut(layer.position))?;
        }
        let sizes = weights.params().iter().zip(weights.sizes()).enumerate();
        let main = sizes.map(|(position, (param, size))| {
            let elsewhere = layers.iter().any(|layer| layer.position == position);
            (param.kind.is_trainable() && !elsewhere).then_some(size)
        });
        let main = optim::Adam::new(main);
        Ok(Self { stage, main, weights, layers, rates, masked, target: None, average: None })
    }

    /// Gives all ternary layers the strength that the goal asks for.
    fn apply_target(&mut self) {
        let Some(target) = &self.target else { return };
        for layer in &mut self.layers {
            if let Change::Ternarize { options, .. } = &mut layer.change {
                target.apply(options);
            }
        }
    }

    /// Lets the strength follow the share of zeros of a step.
    fn observe_target(&mut self) {
        let Some(target) = &mut self.target else { return };
        let params = self.weights.params().iter().zip(self.weights.sizes());
        let trained = params.filter(|(param, _)| param.kind.is_trainable());
        let total: usize = trained.map(|(_, size)| size).sum();
        let zeros: usize = self.layers.iter().map(|layer| layer.state.counts().zero).sum();
        target.observe(zeros as f64 / total as f64);
    }

    /// Takes the gradient from weights that stay 0: they never had one, so Adam
    /// leaves them where they are.
    fn mask(&self, gradients: &mut Gradients) {
        for &position in &self.masked {
            let Some(gradient) = gradients.get_mut(position) else { continue };
            let weights = self.weights.get(position);
            for (gradient, _) in gradient.iter_mut().zip(weights).filter(|(_, w)| **w == 0.0) {
                *gradient = 0.0;
            }
        }
    }
}

/// Layers at the positions, each with its share of the constraint: that of the
/// largest of them is the whole (thesis, eq. 4.9).
fn learning_layers(
    weights: &Weights,
    positions: &[usize],
    options: &Ec2tOptions,
    change: impl Fn(f64) -> Change,
) -> Result<Vec<Layer>, QuantError> {
    let largest = positions.iter().map(|&position| weights.get(position).len()).max();
    let layer = |&position: &usize| {
        let (name, values) = (&weights.params()[position].name, weights.get(position));
        let state = TernaryLayer::new(values.to_vec(), options)
            .map_err(|source| QuantError::Layer { layer: name.clone(), source })?;
        let delta = size_decay(state.len(), largest.unwrap_or_default(), options.sustain);
        Ok(Layer::new(name.clone(), position, state, change(delta)))
    };
    positions.iter().map(layer).collect()
}

impl Phase for Ternarize {
    fn stage(&self) -> &'static str {
        self.stage
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    fn judged(&self) -> &Weights {
        self.average.as_ref().map_or(&self.weights, Average::mean)
    }

    fn judged_mut(&mut self) -> &mut Weights {
        match &mut self.average {
            Some(average) => average.mean_mut(),
            None => &mut self.weights,
        }
    }

    fn update(&mut self, gradients: &mut Gradients, factor: f32) -> Result<(), QuantError> {
        self.mask(gradients);
        self.apply_target();
        let rates = self.rates.scaled(factor);
        let values = self.weights.lists_mut();
        self.main.step(rates.main, values, &gradients.0);

        let (background, centroids) =
            (self.main.at(rates.background), self.main.at(rates.centroids));
        let mut lists = values.iter_mut().zip(&gradients.0).enumerate();
        let steps = self.layers.iter_mut().filter_map(|layer| {
            let (_, (ternary, gradient)) = lists.find(|(i, _)| *i == layer.position)?;
            Some((layer, ternary, gradient.as_ref()?))
        });
        let steps: Vec<_> = steps.collect();
        let step = |(layer, ternary, gradient): (&mut Layer, &mut Vec<f32>, &Vec<f32>)| {
            layer.step(gradient, background, centroids, ternary)
        };
        // Of several faults, the first is reported, whatever thread is the fastest.
        steps.into_par_iter().with_max_len(1).map(step).reduce(|| Ok(()), Result::and)?;
        self.observe_target();
        if let Some(average) = &mut self.average {
            average.observe(&self.weights);
        }
        Ok(())
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        self.layers.iter().for_each(|layer| layer.save(checkpoint));
        self.target.iter().for_each(|target| target.save(checkpoint));
        self.average.iter().for_each(|average| average.save(checkpoint));
        self.main.save(checkpoint, "main", &self.weights.names());
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError> {
        self.layers.iter_mut().try_for_each(|layer| layer.load(checkpoint))?;
        self.target.iter_mut().try_for_each(|target| target.load(checkpoint))?;
        self.average.iter_mut().try_for_each(|average| average.load(checkpoint))?;
        self.main.load(checkpoint, "main", &self.weights.names())
    }

    fn network(&self, graph: &Graph) -> Result<Network, QuantError> {
        let judged = self.judged();
        let mut ternary: BTreeMap<usize, TernaryTensor> = BTreeMap::new();
        for layer in &self.layers {
            let position = layer.position;
            let tensor = layer.tensor(&judged.params()[position].shape, judged.get(position))?;
            ternary.extend(tensor.map(|tensor| (position, tensor)));
        }
        judged.to_network(graph, ternary)
    }

    fn layers(&self) -> Vec<LayerReport> {
        self.layers.iter().map(Layer::report).collect()
    }
}

#[cfg(test)]
mod tests;
