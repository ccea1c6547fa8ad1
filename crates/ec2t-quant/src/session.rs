//! What a run of training shares with its surroundings.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;

use ec2t_format::Network;
use serde::Serialize;

use crate::checkpoint::Best;

/// Where training computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number; needs the feature `cuda`.
    Cuda(usize),
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cuda = |number: &str| number.parse().map(Backend::Cuda).ok();
        match text {
            "cpu" => Some(Backend::Cpu),
            "cuda" => Some(Backend::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(cuda),
        }
        .ok_or_else(|| format!("unknown device `{text}`; expected cpu, cuda or cuda:NUMBER"))
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Backend::Cpu => f.write_str("cpu"),
            Backend::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// Folder, seed and supervision of one training run.
pub struct Session<'a> {
    /// Holds `last.safetensors` while training and `best.safetensors` after.
    pub folder: PathBuf,
    /// Folder of the logs: a line of JSON for every epoch is appended to
    /// `events.jsonl`, and one for every so many steps to `steps.jsonl`.
    pub logs: Option<PathBuf>,
    /// Where to compute.
    pub backend: Backend,
    /// A network that the trained one also learns from, as far as the settings of the
    /// stage say.
    pub teacher: Option<&'a Network>,
    /// Decides batch order, augmentation and dropout.
    pub seed: u64,
    /// Begin again, even where there is a checkpoint, which is removed.
    pub restart: bool,
    /// Once set, training saves a checkpoint and stops after the current step.
    pub stop: &'a AtomicBool,
    /// Is told how training goes.
    pub observer: &'a mut dyn Observer,
}

/// Is told how training goes; every method may be left out.
pub trait Observer {
    /// Training starts, or continues, with `step` of `total` steps done.
    fn begin(&mut self, stage: &str, step: u64, total: u64) {
        let _ = (stage, step, total);
    }
    /// A step is done.
    fn step(&mut self, report: &StepReport) {
        let _ = report;
    }
    /// An epoch is done.
    fn epoch(&mut self, report: &EpochReport) {
        let _ = report;
    }
}

/// Observes nothing.
pub struct Silent;

impl Observer for Silent {}

/// State after one step.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Steps done so far, over all epochs.
    pub step: u64,
    /// The current epoch, from 1.
    pub epoch: usize,
    /// Mean loss over the epoch so far.
    pub loss: f64,
    /// Training accuracy over the epoch so far, in percent.
    pub top1: f64,
}

/// State after one step, in full; a line of `steps.jsonl`.
#[derive(Serialize)]
pub(crate) struct StepEvent {
    pub(crate) stage: &'static str,
    /// Steps done so far, over all epochs.
    pub(crate) step: u64,
    /// The epoch, from 1.
    pub(crate) epoch: usize,
    /// Loss of the step's batch.
    pub(crate) loss: f64,
    /// State of the ternarized layers.
    pub(crate) layers: Vec<LayerReport>,
}

/// State after one epoch; a line of `events.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub struct EpochReport {
    /// Name of the stage: `pretrain`, `ternarize` or `finetune`.
    pub stage: String,
    /// The epoch, from 1.
    pub epoch: usize,
    /// Number of epochs of the stage.
    pub epochs: usize,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Training accuracy in percent, on augmented images.
    pub train_top1: f64,
    /// Accuracy on the validation split in percent.
    pub validation_top1: f64,
    /// Share of zeros among all trained values, 0…1.
    pub sparsity: f64,
    /// The best epoch so far.
    pub best: Best,
    /// Seconds of training so far, over all sessions.
    pub seconds: f64,
    /// Milliseconds of this session that the epoch has waited for images.
    pub loader_wait_ms: f64,
    /// State of the ternarized layers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerReport>,
}

/// State of one ternarized layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// Name of the weights.
    pub name: String,
    /// γ of the last assignment, and for the baselines their threshold; absent while
    /// assignments are frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// See `gamma`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Strength of the entropy constraint at the last assignment; absent while
    /// assignments are frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// Magnitude of the negative centroid.
    pub w_neg: f32,
    /// Value of the positive centroid.
    pub w_pos: f32,
    /// Shares of the negative, zero and positive cluster.
    pub shares: [f64; 3],
    /// Zeroth-order entropy in bits per weight.
    pub entropy_bits: f64,
}

/// What training ends with.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The epoch that was kept.
    pub best: Best,
    /// Its network: a safetensors file with the graph's names.
    pub network: PathBuf,
    /// Seconds of training, over all sessions.
    pub seconds: f64,
}
