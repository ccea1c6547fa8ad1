//! Training a network in floats.

use ec2t_data::Splits;
use ec2t_format::{Graph, Network};

use crate::checkpoint::Checkpoint;
use crate::engine::Gradients;
use crate::error::QuantError;
use crate::optim::{Adam, OptimizerKind, Rate, Sgd};
use crate::options::PretrainOptions;
use crate::session::{LayerReport, Outcome, Session};
use crate::trainer::{self, Phase};
use crate::weights::Weights;

/// Trains all parameters of a network.
///
/// # Errors
/// Where options or data do not fit, a file can't be read or written, training
/// diverges, or the session was told to stop.
pub fn pretrain(
    network: &Network,
    data: &Splits,
    options: &PretrainOptions,
    session: &mut Session,
) -> Result<Outcome, QuantError> {
    options.validate()?;
    let phase = Pretrain::new(network, options);
    trainer::run(phase, network.graph(), data, &options.common, options, session)
}

struct Pretrain {
    weights: Weights,
    optimizer: Optimizer,
    rate: Rate,
}

enum Optimizer {
    Sgd(Sgd),
    Adam(Adam),
}

impl Pretrain {
    fn new(network: &Network, options: &PretrainOptions) -> Self {
        let weights = Weights::from_network(network);
        let sizes = weights.sizes();
        Self {
            weights,
            optimizer: match options.optimizer {
                OptimizerKind::Sgd => Optimizer::Sgd(Sgd::new(options.momentum, &sizes)),
                OptimizerKind::Adam => Optimizer::Adam(Adam::new(sizes.into_iter().map(Some))),
            },
            rate: Rate { lr: options.common.lr, decay: options.weight_decay },
        }
    }
}

impl Phase for Pretrain {
    fn stage(&self) -> &'static str {
        "pretrain"
    }

    fn weights(&self) -> &Weights {
        &self.weights
    }

    fn weights_mut(&mut self) -> &mut Weights {
        &mut self.weights
    }

    fn update(&mut self, gradients: &mut Gradients, factor: f32) -> Result<(), QuantError> {
        let rate = self.rate.scaled(factor);
        let (values, gradients) = (self.weights.lists_mut(), &gradients.0);
        match &mut self.optimizer {
            Optimizer::Sgd(sgd) => sgd.step(rate, values, gradients),
            Optimizer::Adam(adam) => adam.step(rate, values, gradients),
        }
        Ok(())
    }

    fn save(&self, checkpoint: &mut Checkpoint) {
        let names = self.weights.names();
        match &self.optimizer {
            Optimizer::Sgd(sgd) => sgd.save(checkpoint, "sgd", &names),
            Optimizer::Adam(adam) => adam.save(checkpoint, "adam", &names),
        }
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError> {
        let names = self.weights.names();
        match &mut self.optimizer {
            Optimizer::Sgd(sgd) => sgd.load(checkpoint, "sgd", &names),
            Optimizer::Adam(adam) => adam.load(checkpoint, "adam", &names),
        }
    }

    fn network(&self, graph: &Graph) -> Result<Network, QuantError> {
        self.weights.to_network(graph, Default::default())
    }

    fn layers(&self) -> Vec<LayerReport> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
