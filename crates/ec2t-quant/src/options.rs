//! Settings of the three training stages.

use std::fmt::Display;

use ec2t_data::AugmentOptions;
use ec2t_format::graph::Role;
use serde::{Deserialize, Serialize};

use crate::ec2t::{Ec2tOptions, InitRule, Method};
use crate::error::QuantError;
use crate::optim::{OptimizerKind, Schedule};

/// What all stages have in common: how often the data are seen, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopOptions {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// The full learning rate, of which the schedule takes a part.
    pub lr: f32,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Share of each label that is spread over all classes.
    pub label_smoothing: f32,
    /// The teacher's part in the loss.
    #[serde(flatten)]
    pub distillation: DistillOptions,
    /// Random variation of the training images.
    #[serde(flatten)]
    pub augment: AugmentOptions,
    /// Which epoch's network is kept.
    pub keep: Keep,
    /// Training batches on which the running statistics of batch normalisation are
    /// measured anew before each validation; 0 leaves them as training has moved them.
    #[serde(default)]
    pub bn_batches: usize,
    /// Steps between two checkpoints inside an epoch; 0 for none but at its end.
    pub checkpoint_steps: usize,
    /// Steps between two lines of `steps.jsonl`, which tell γ, λ, cluster shares,
    /// entropy and centroids of each layer; 0 for none.
    pub log_steps: u64,
}

/// Which epoch's network a stage ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// That of the best accuracy on the validation images, the later one of two.
    #[default]
    Best,
    /// The last. Right where the network has begun from weights that were trained on
    /// the validation images too: what it still knows of them makes early epochs seem
    /// the best.
    Last,
}

/// How much is learnt from a teacher, the network of
/// [`Session::teacher`](crate::Session::teacher).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DistillOptions {
    /// Share of the loss that is the distance from the teacher's answers; 0 is off.
    pub distill: f32,
    /// What logits of both are divided by: the higher, the more the order of wrong
    /// classes counts.
    pub temperature: f32,
}

impl Default for DistillOptions {
    fn default() -> Self {
        Self { distill: 0.0, temperature: 4.0 }
    }
}

/// Settings of training in floats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PretrainOptions {
    /// Epochs, batches, learning rate.
    #[serde(flatten)]
    pub common: LoopOptions,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    /// Momentum of gradient descent; Adam does not use it.
    pub momentum: f32,
    /// L2 penalty on all parameters, added to the gradient.
    pub weight_decay: f32,
}

/// Settings of ternarization: learning assignments and centroids together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TernarizeOptions {
    /// Epochs, batches, learning rate of everything but centroids.
    #[serde(flatten)]
    pub common: LoopOptions,
    /// Learning rate of the centroids.
    pub centroid_lr: f32,
    /// L2 penalty on the parameters that stay floats.
    pub weight_decay: f32,
    /// Hyper-parameters of the method.
    #[serde(flatten)]
    pub ec2t: Ec2tOptions,
    /// Zeros among all trained values, 0…1, that the strength of the constraint (γ, or
    /// the baselines' threshold) follows from its first value on; 0 leaves it there.
    pub target_sparsity: f64,
    /// What is pruned at the same time.
    #[serde(flatten)]
    pub pruning: PruneOptions,
}

/// Entropy-constrained pruning (ECP; thesis, §4.2.2) of layers that stay floats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PruneOptions {
    /// Which layers; none turns it off.
    pub prune: Vec<Prunable>,
    /// γ of these layers.
    pub prune_gamma: f64,
    /// s of these layers: their centroids stay at this part of the extreme weights of
    /// the float network.
    pub prune_init_scale: f64,
}

/// Layers that can be pruned, by their part in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prunable {
    /// The last layer.
    Classifier,
    /// Both layers of squeeze-and-excitation.
    SqueezeExcite,
    /// Depthwise convolutions.
    Depthwise,
}

impl PruneOptions {
    /// Whether layers of a role are pruned.
    pub(crate) fn prunes(&self, role: Role) -> bool {
        self.prune.iter().any(|wanted| match wanted {
            Prunable::Classifier => role == Role::Classifier,
            Prunable::SqueezeExcite => role == Role::SqueezeExcite,
            Prunable::Depthwise => role == Role::Depthwise,
        })
    }

    /// The constraint on these layers, where `ec2t` is that on ternary ones.
    pub(crate) fn constraint(&self, ec2t: Ec2tOptions) -> Ec2tOptions {
        let (gamma, init_scale) = (self.prune_gamma, self.prune_init_scale);
        let (method, init) = (Method::Ec2t, InitRule::MaxScaling);
        Ec2tOptions { method, init, gamma, init_scale, ..ec2t }
    }

    fn validate(&self, ec2t: Ec2tOptions) -> Result<(), QuantError> {
        let (gamma, scale) = (self.prune_gamma, self.prune_init_scale);
        check("prune_gamma", gamma, (0.0..=1.0).contains(&gamma), "from 0 to 1")?;
        let valid = scale > 0.0 && scale <= 1.0;
        check("prune_init_scale", scale, valid || self.prune.is_empty(), "above 0, at most 1")?;
        match self.prune.is_empty() {
            true => Ok(()),
            false => Ok(self.constraint(ec2t).validate()?),
        }
    }
}

/// Settings of fine-tuning with frozen assignments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinetuneOptions {
    /// Epochs, batches, learning rate of everything but centroids.
    #[serde(flatten)]
    pub common: LoopOptions,
    /// Learning rate of the centroids.
    pub centroid_lr: f32,
    /// L2 penalty on the parameters that stay floats.
    pub weight_decay: f32,
    /// Decay of the mean of the weights over the steps, which is validated and kept in
    /// their place: each step counts so much less than the next one, at 1 as much. 0
    /// keeps the weights themselves.
    #[serde(default)]
    pub average: f32,
}

impl PretrainOptions {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`QuantError::Option`] with the name of the first that is not.
    pub fn validate(&self) -> Result<(), QuantError> {
        let momentum = self.momentum;
        let valid = (0.0..1.0).contains(&momentum);
        self.common.validate()?;
        check("momentum", momentum, valid, "from 0 to below 1")?;
        not_negative("weight_decay", self.weight_decay)
    }
}

impl TernarizeOptions {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`QuantError`] with the name of the first that is not.
    pub fn validate(&self) -> Result<(), QuantError> {
        self.common.validate()?;
        not_negative("centroid_lr", self.centroid_lr)?;
        not_negative("weight_decay", self.weight_decay)?;
        self.ec2t.validate()?;
        let target = self.target_sparsity;
        check("target_sparsity", target, (0.0..1.0).contains(&target), "from 0 to below 1")?;
        self.pruning.validate(self.ec2t)
    }
}

impl FinetuneOptions {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`QuantError`] with the name of the first that is not.
    pub fn validate(&self) -> Result<(), QuantError> {
        self.common.validate()?;
        not_negative("centroid_lr", self.centroid_lr)?;
        check("average", self.average, (0.0..=1.0).contains(&self.average), "from 0 to 1")?;
        not_negative("weight_decay", self.weight_decay)
    }
}

impl LoopOptions {
    fn validate(&self) -> Result<(), QuantError> {
        check("epochs", self.epochs, self.epochs >= 1, "at least 1")?;
        check("batch", self.batch, self.batch >= 1, "at least 1")?;
        not_negative("lr", self.lr)?;
        let smoothing = self.label_smoothing;
        let valid = (0.0..1.0).contains(&smoothing);
        check("label_smoothing", smoothing, valid, "from 0 to below 1")?;
        let DistillOptions { distill, temperature } = self.distillation;
        check("distill", distill, (0.0..=1.0).contains(&distill), "from 0 to 1")?;
        let valid = temperature.is_finite() && temperature > 0.0;
        check("temperature", temperature, valid, "finite and above 0")
    }
}

fn not_negative(option: &'static str, value: f32) -> Result<(), QuantError> {
    check(option, value, value.is_finite() && value >= 0.0, "finite and not negative")
}

fn check(
    option: &'static str,
    value: impl Display,
    valid: bool,
    range: &str,
) -> Result<(), QuantError> {
    match valid {
        true => Ok(()),
        false => {
            Err(QuantError::Option { option, reason: format!("must be {range}, found {value}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_checked_by_name() {
        let (augment, schedule) = (AugmentOptions::default(), Schedule::Cosine);
        let common = LoopOptions {
            epochs: 1,
            batch: 1,
            lr: 0.1,
            schedule,
            label_smoothing: 0.1,
            distillation: DistillOptions::default(),
            augment,
            keep: Keep::Best,
            bn_batches: 0,
            checkpoint_steps: 0,
            log_steps: 0,
        };
        let good = PretrainOptions {
            common,
            optimizer: OptimizerKind::Sgd,
            momentum: 0.0,
            weight_decay: 0.0,
        };
        good.validate().unwrap();
        type Spoil = fn(&mut PretrainOptions);
        let spoils: [(&str, Spoil); 9] = [
            ("`epochs`: must be at least 1, found 0", |o| o.common.epochs = 0),
            ("`batch`: must be at least 1, found 0", |o| o.common.batch = 0),
            ("`lr`: must be finite and not negative, found NaN", |o| o.common.lr = f32::NAN),
            ("`label_smoothing`: must be from 0 to below 1, found 1", |o| {
                o.common.label_smoothing = 1.0;
            }),
            ("`distill`: must be from 0 to 1, found 1.5", |o| {
                o.common.distillation.distill = 1.5;
            }),
            ("`temperature`: must be finite and above 0, found 0", |o| {
                o.common.distillation.temperature = 0.0;
            }),
            ("`momentum`: must be from 0 to below 1, found 1", |o| o.momentum = 1.0),
            ("`momentum`: must be from 0 to below 1, found NaN", |o| o.momentum = f32::NAN),
            ("`weight_decay`: must be finite and not negative", |o| o.weight_decay = -1.0),
        ];
        for (words, spoil) in spoils {
            let mut bad = good.clone();
            spoil(&mut bad);
            let error = bad.validate().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
