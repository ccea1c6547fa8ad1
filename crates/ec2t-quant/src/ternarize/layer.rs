//! One layer that is ternarized or pruned, with its optimizers' state.

use ec2t_format::tensor::TernaryTensor;
use ec2t_ops::optim::Adam;

use crate::checkpoint::Checkpoint;
use crate::ec2t::{
    Centroids, Ec2tError, Ec2tOptions, LayerMoments, LearningStep, Method, Shares, TernaryLayer,
};
use crate::error::QuantError;
use crate::optim::{load_moments, save_moments};
use crate::session::LayerReport;

/// A ternarized or pruned layer of the network.
pub(super) struct Layer {
    pub(super) name: String,
    /// Position of its weights among the parameters.
    pub(super) position: usize,
    pub(super) state: TernaryLayer,
    pub(super) moments: LayerMoments,
    pub(super) change: Change,
}

/// What becomes of a layer's weights in a step.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// Background weights and centroids move, and all weights are assigned anew.
    Ternarize {
        options: Ec2tOptions,
        /// δ: the layer's share of the entropy constraint (thesis, eq. 4.9).
        delta: f64,
    },
    /// Background weights move; those in the cluster of the zeros are left out.
    Prune { options: Ec2tOptions, delta: f64 },
    /// Assignments rest, centroids move.
    Tune {
        /// Least magnitude of a centroid.
        floor: f32,
    },
}

impl Layer {
    pub(super) fn new(name: String, position: usize, state: TernaryLayer, change: Change) -> Self {
        let moments = LayerMoments::new(match change {
            Change::Ternarize { .. } | Change::Prune { .. } => state.len(),
            Change::Tune { .. } => 0,
        });
        Self { name, position, state, moments, change }
    }

    /// Names the layer in an error of its mathematics.
    pub(super) fn at_fault(&self) -> impl FnOnce(Ec2tError) -> QuantError + use<> {
        let layer = self.name.clone();
        move |source| QuantError::Layer { layer, source }
    }

    /// One step by `∂loss/∂T` (thesis, algorithm 2); leaves in `values` what the
    /// network computes with next.
    pub(super) fn step(
        &mut self,
        gradient: &[f32],
        background: Adam,
        centroids: Adam,
        values: &mut [f32],
    ) -> Result<(), QuantError> {
        let Self { state, moments, .. } = self;
        let result = match &self.change {
            Change::Ternarize { options, delta } => {
                let step = LearningStep { background, centroids, options, delta: *delta };
                state.learn(gradient, &step, moments, values).map(drop)
            }
            Change::Prune { options, delta } => {
                let step = LearningStep { background, centroids, options, delta: *delta };
                state.prune(gradient, &step, moments, values).map(drop)
            }
            Change::Tune { floor } => {
                state.tune(gradient, centroids, *floor, &mut moments.centroids, values)
            }
        };
        result.map_err(self.at_fault())
    }

    /// What the network computes with.
    pub(super) fn write(&self, values: &mut [f32]) -> Result<(), QuantError> {
        let written = match self.change {
            Change::Prune { .. } => self.state.write_pruned(values),
            Change::Ternarize { .. } | Change::Tune { .. } => self.state.write_ternary(values),
        };
        written.map_err(self.at_fault())
    }

    /// The layer as a ternary tensor, of the values that it has where it is judged;
    /// none of pruned ones. A cluster without weights has the centroid of training.
    pub(super) fn tensor(
        &self,
        shape: &[usize],
        values: &[f32],
    ) -> Result<Option<TernaryTensor>, QuantError> {
        if matches!(self.change, Change::Prune { .. }) {
            return Ok(None);
        }
        let codes = self.state.codes();
        let value_of = |code| Some(values[codes.iter().position(|found| *found == code)?].abs());
        let Centroids { neg, pos } = self.state.centroids();
        let (neg, pos) = (value_of(-1).unwrap_or(neg), value_of(1).unwrap_or(pos));
        Ok(Some(TernaryTensor::new(shape.to_vec(), codes.to_vec(), neg, pos)?))
    }

    pub(super) fn save(&self, checkpoint: &mut Checkpoint) {
        let Self { name, state, moments, .. } = self;
        let Centroids { neg, pos } = state.centroids();
        checkpoint.put(&format!("centroids/{name}"), &[neg, pos]);
        checkpoint.put(&format!("background/{name}"), state.weights());
        checkpoint.put_codes(&format!("codes/{name}"), state.codes());
        if let Some(Shares { neg, zero, pos }) = state.mean_shares() {
            checkpoint.put_doubles(&format!("shares/{name}"), &[neg, zero, pos]);
        }
        save_moments(checkpoint, "centroids", name, &moments.centroids);
        save_moments(checkpoint, "background", name, &moments.background);
    }

    pub(super) fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError> {
        let (name, LayerMoments { background, centroids }) = (&self.name, &mut self.moments);
        load_moments(checkpoint, "centroids", name, centroids)?;
        load_moments(checkpoint, "background", name, background)?;
        let mut centroids = [0.0; 2];
        checkpoint.load(&format!("centroids/{name}"), &mut centroids)?;
        let mut weights = vec![0.0; self.state.len()];
        checkpoint.load(&format!("background/{name}"), &mut weights)?;
        let codes = checkpoint.codes(&format!("codes/{name}"), weights.len())?;
        let [neg, pos] = centroids;
        self.state = TernaryLayer::from_parts(weights, Centroids { neg, pos }, codes)
            .map_err(self.at_fault())?;
        if self.has_mean_shares() {
            let [neg, zero, pos] = checkpoint.doubles(&format!("shares/{}", self.name))?;
            self.state.set_mean_shares(Some(Shares { neg, zero, pos }));
        }
        Ok(())
    }

    /// Whether every step leaves a mean of shares.
    fn has_mean_shares(&self) -> bool {
        match &self.change {
            Change::Ternarize { options, .. } | Change::Prune { options, .. } => {
                options.share_smoothing > 0.0
            }
            Change::Tune { .. } => false,
        }
    }

    pub(super) fn report(&self) -> LayerReport {
        let counts = self.state.counts();
        let share = |count: usize| count as f64 / counts.total() as f64;
        let Centroids { neg, pos } = self.state.centroids();
        let (gamma, threshold) = match &self.change {
            Change::Ternarize { options, .. } | Change::Prune { options, .. } => {
                match options.method {
                    Method::Ec2t | Method::Reference => (Some(options.gamma), None),
                    Method::Ttq | Method::Twn => (None, Some(options.threshold)),
                }
            }
            Change::Tune { .. } => (None, None),
        };
        LayerReport {
            name: self.name.clone(),
            gamma,
            threshold,
            lambda: self.lambda(),
            w_neg: neg,
            w_pos: pos,
            shares: [share(counts.neg), share(counts.zero), share(counts.pos)],
            entropy_bits: counts.entropy_bits(),
        }
    }

    /// λ of the last assignment, where it has any: it follows from weights and
    /// centroids, which have not moved since.
    fn lambda(&self) -> Option<f64> {
        match &self.change {
            Change::Ternarize { options, delta } | Change::Prune { options, delta }
                if options.method.is_constrained() =>
            {
                let constraint = self.state.constraint(options, *delta);
                constraint.ok().map(|constraint| constraint.lambda)
            }
            _ => None,
        }
    }
}
