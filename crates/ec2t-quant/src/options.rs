//! Settings of the three training stages.

use ec2t_data::AugmentOptions;
use serde::{Deserialize, Serialize};

use crate::ec2t::Ec2tOptions;
use crate::error::QuantError;
use crate::optim::{OptimizerKind, Schedule};

/// What all stages have in common: how often the data are seen, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopOptions {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Learning rate at the start.
    pub lr: f32,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Random variation of the training images.
    #[serde(flatten)]
    pub augment: AugmentOptions,
    /// Steps between two checkpoints inside an epoch; 0 for none but at its end.
    pub checkpoint_steps: usize,
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
}

impl LoopOptions {
    /// Checks that every number is in its range.
    pub(crate) fn validate(&self) -> Result<(), QuantError> {
        at_least_one("epochs", self.epochs)?;
        at_least_one("batch", self.batch)?;
        not_negative("lr", self.lr)
    }
}

fn at_least_one(option: &'static str, value: usize) -> Result<(), QuantError> {
    match value {
        0 => Err(QuantError::Option { option, reason: "must be at least 1, found 0".into() }),
        _ => Ok(()),
    }
}

/// Checks a rate: finite and not below 0.
pub(crate) fn not_negative(option: &'static str, value: f32) -> Result<(), QuantError> {
    match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => Err(QuantError::Option {
            option,
            reason: format!("must be finite and not negative, found {value}"),
        }),
    }
}

/// Checks a share that must not be whole: from 0 to below 1.
pub(crate) fn below_one(option: &'static str, value: f32) -> Result<(), QuantError> {
    match (0.0..1.0).contains(&value) {
        true => Ok(()),
        false => Err(QuantError::Option {
            option,
            reason: format!("must be from 0 to below 1, found {value}"),
        }),
    }
}
