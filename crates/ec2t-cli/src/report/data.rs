//! What is in a report. Its JSON is `report.json`.
//!
//! Accuracies are in percent, as everywhere in the program; shares, sparsity
//! among them, are 0…1. Sizes are in bytes, times in seconds.

use std::collections::BTreeMap;

use ec2t_format::graph::Shape;
use ec2t_format::stats::{LayerStats, PartStats};
use serde::{Deserialize, Serialize};

use super::number::{decimal, percent};
use crate::output::grouped;

/// Bytes of a 32-bit float.
pub(super) const FLOAT_BYTES: u64 = 4;

/// The stages that a report knows, in their order.
pub(super) const STAGES: [&str; 7] =
    ["data", "scale", "pretrain", "ternarize", "finetune", "export", "eval"];

/// Everything that a report says.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Name of the dataset.
    pub(super) dataset: String,
    /// Number of images per split.
    pub(super) images: Splits,
    /// Names of the classes.
    pub(super) classes: Vec<String>,
    /// Name of the architecture.
    pub(super) arch: String,
    /// Shape of one image.
    pub(super) input: Shape,
    /// Trained values of the architecture.
    pub(super) parameters: u64,
    /// Multiply-accumulates for one image.
    pub(super) macs: u64,
    /// Length of all trained values as 32-bit floats.
    pub(super) float_bytes: u64,
    /// What was written to `model.ec2t`, once it was.
    #[serde(flatten)]
    pub(super) model: Option<Model>,
    /// The stages that the run has not come to yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) to_come: Vec<ToCome>,
    /// The points of the run's sweep; empty where there was none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sweep: Vec<SweepPoint>,
    /// How each training stage ended, pretraining first.
    pub(super) training: Vec<Training>,
    /// Every epoch of training.
    pub(super) epochs: Vec<Epoch>,
    /// Time that each stage took.
    pub(super) seconds: BTreeMap<String, f64>,
    /// The command of each stage, where it is known.
    pub(super) commands: Vec<Command>,
    /// All settings by section.
    pub(super) settings: Settings,
    /// Seed of everything random.
    pub(super) seed: u64,
    /// Version of the program.
    pub(super) commit: String,
}

/// The model file, and how good it is.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    /// What the ternary network is like, and how it does.
    pub(super) ternary: Ternary,
    /// Length of `model.ec2t`.
    pub(super) file_bytes: u64,
    /// Length of all trained values as 32-bit floats over `file_bytes`.
    pub(super) compression: f64,
    /// From the float network to the file, step by step.
    pub(super) sizes: Vec<SizeStep>,
    /// The same for the operations of one image, counted strictly.
    pub(super) operations: Vec<OperationStep>,
    /// The layers in the file.
    pub(super) layers: Vec<Layer>,
    /// What else is in the file; with the layers it adds up to `file_bytes`.
    pub(super) rest: Vec<PartStats>,
    /// What test images have shown, once they have.
    #[serde(flatten)]
    pub(super) tested: Option<Tested>,
}

/// What test images have shown besides the ternary network's accuracy.
#[derive(Debug, Serialize)]
pub(super) struct Tested {
    /// How the float network does on them.
    pub(super) float: Accuracy,
    /// Those of the ternary network by class (rows) and prediction (columns).
    pub(super) confusion: Vec<Vec<u64>>,
    /// The wrong answers of the ternary network with the highest probabilities.
    pub(super) mistakes: Vec<Mistake>,
}

/// A stage that has not been run.
#[derive(Debug, Serialize)]
pub(super) struct ToCome {
    /// The file that it writes.
    pub(super) file: String,
    /// Its command, a line for a shell.
    pub(super) command: String,
}

/// A report of a run that has come to its end.
#[derive(Clone, Copy)]
pub(super) struct Finished<'a> {
    pub(super) report: &'a Report,
    pub(super) model: &'a Model,
    /// Accuracy of the float and of the ternary network.
    pub(super) float: &'a Accuracy,
    pub(super) ternary: &'a Accuracy,
    pub(super) tested: &'a Tested,
}

impl Report {
    /// The same with all that there is in the end; none before that.
    pub(super) fn finished(&self) -> Option<Finished<'_>> {
        let model = self.model.as_ref()?;
        let (tested, ternary) = (model.tested.as_ref()?, model.ternary.accuracy.as_ref()?);
        Some(Finished { report: self, model, float: &tested.float, ternary, tested })
    }

    /// The last training stage that has ended.
    pub(super) fn last_training(&self) -> Option<&Training> {
        self.training.last()
    }

    /// What matters most, in two lines.
    pub(crate) fn summary(&self) -> String {
        let name = format!("{} on {}", self.arch, self.dataset);
        match self.finished() {
            Some(finished) => format!("{name}: {}", finished.summary()),
            None => format!("{name}: {}", self.summary_so_far()),
        }
    }

    fn summary_so_far(&self) -> String {
        let next = self.to_come.first();
        let next = next.map_or(String::new(), |next| format!("\nnext: {}", next.command));
        let last = self.last_training().and_then(|last| Some((&last.stage, last.best?)));
        match last {
            Some((stage, best)) => {
                format!("validation {} after {stage}{next}", percent(best.top1, 2))
            }
            None => format!("not tested{next}"),
        }
    }
}

impl Finished<'_> {
    fn summary(&self) -> String {
        let Self { model, float, ternary, .. } = self;
        format!(
            "top-1 {} ternary, {} float\n{} zeros, {} bytes, {} × smaller",
            percent(ternary.top1, 2),
            percent(float.top1, 2),
            percent(100.0 * model.ternary.sparsity, 1),
            grouped(model.file_bytes),
            decimal(model.compression, 1),
        )
    }
}

/// Keys and values of each section of `config.toml`.
pub(super) type Settings = BTreeMap<String, BTreeMap<String, toml::Value>>;

/// Number of images per split, where it is known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Splits {
    pub(super) train: Option<u64>,
    pub(super) validation: Option<u64>,
    pub(super) test: Option<u64>,
}

/// Accuracy on the test images.
#[derive(Debug, Serialize)]
pub(super) struct Accuracy {
    pub(super) top1: f64,
    pub(super) images: u64,
    pub(super) correct: u64,
    pub(super) seconds: f64,
}

/// The ternary network.
#[derive(Debug, Serialize)]
pub(super) struct Ternary {
    /// On the test images, once they were looked at.
    #[serde(flatten)]
    pub(super) accuracy: Option<Accuracy>,
    /// Share of zeros among all trained values.
    pub(super) sparsity: f64,
    /// Mean entropy of the ternary weights in bits per weight; none where no
    /// weight is ternary.
    pub(super) entropy_bits: Option<f64>,
    /// Number of ternary weights.
    pub(super) weights: u64,
}

/// Bytes that a network takes in one form.
#[derive(Debug, Serialize)]
pub(super) struct SizeStep {
    pub(super) name: &'static str,
    /// Bytes of the weights that are ternary in the end.
    pub(super) ternary_bytes: u64,
    /// Bytes of all other values.
    pub(super) other_bytes: u64,
    /// Bytes of the file's structure: header, tables, graph, metadata.
    pub(super) structure_bytes: u64,
}

impl SizeStep {
    /// All bytes.
    pub(super) fn total(&self) -> u64 {
        self.ternary_bytes + self.other_bytes + self.structure_bytes
    }
}

/// Operations that a network takes for one image in one form.
#[derive(Debug, Serialize)]
pub(super) struct OperationStep {
    pub(super) name: &'static str,
    /// What is counted.
    pub(super) counts: &'static str,
    /// Multiplications, and all else that is no addition.
    pub(super) multiplications: u64,
    pub(super) additions: u64,
}

impl OperationStep {
    /// All operations; a network beyond all reason has the largest number.
    pub(super) fn total(&self) -> u64 {
        self.multiplications.saturating_add(self.additions)
    }
}

/// One layer in the file.
#[derive(Debug, Serialize)]
pub(super) struct Layer {
    #[serde(flatten)]
    pub(super) stats: LayerStats,
    /// Centroids and clusters, where the weights are ternary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) clusters: Option<Clusters>,
}

/// The values of a ternary layer.
#[derive(Debug, Serialize)]
pub(super) struct Clusters {
    /// Magnitude of the negative centroid.
    pub(super) w_neg: f32,
    /// Value of the positive centroid.
    pub(super) w_pos: f32,
    /// Shares of the negative, zero and positive cluster.
    pub(super) shares: [f64; 3],
}

/// A test image that the ternary network takes for another class.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mistake {
    /// Position among the test images.
    pub(super) image: usize,
    pub(super) class: usize,
    pub(super) answer: usize,
    /// Probability of the answer.
    pub(super) probability: f64,
    /// The image as a PNG file, where the dataset was at hand.
    #[serde(skip)]
    pub(super) picture: Option<Vec<u8>>,
}

/// How a training stage ended: its `summary.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Training {
    pub(super) stage: String,
    /// The checkpoint that took the place of training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) init: Option<String>,
    /// Number of epochs; none where there was no training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epochs: Option<usize>,
    /// The epoch that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) best: Option<Best>,
    /// Share of zeros among all trained values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sparsity: Option<f64>,
    /// Time of training, over all sessions.
    pub(super) seconds: f64,
}

/// The epoch with the highest validation accuracy.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Best {
    /// Epoch, from 1.
    pub(super) epoch: usize,
    /// Validation accuracy.
    pub(super) top1: f64,
}

/// One epoch: a line of `events.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Epoch {
    pub(super) stage: String,
    /// The epoch, from 1.
    pub(super) epoch: usize,
    /// Number of epochs of the stage.
    pub(super) epochs: usize,
    /// Learning rate of the last step.
    pub(super) lr: f64,
    /// Mean training loss; none where it was not a number.
    pub(super) train_loss: Option<f64>,
    pub(super) train_top1: f64,
    pub(super) validation_top1: f64,
    /// Share of zeros among all trained values.
    pub(super) sparsity: f64,
    /// Mean entropy of the ternary weights in bits per weight; computed from
    /// `layers`.
    #[serde(skip_deserializing)]
    pub(super) entropy_bits: Option<f64>,
    /// The best epoch so far.
    pub(super) best: Best,
    /// Time of training so far.
    pub(super) seconds: f64,
    /// State of the ternarized layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) layers: Vec<LayerState>,
}

/// One ternarized layer after one epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LayerState {
    /// Name of the weights.
    pub(super) name: String,
    /// Strength of the entropy constraint, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lambda: Option<f64>,
    pub(super) w_neg: f32,
    pub(super) w_pos: f32,
    pub(super) shares: [f64; 3],
    pub(super) entropy_bits: f64,
}

/// A point of `sweep/sweep.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SweepPoint {
    pub(super) name: String,
    /// Share of zeros among all trained values.
    pub(super) sparsity: f64,
    /// Validation accuracy.
    pub(super) validation_top1: f64,
    /// Length of the model file.
    pub(super) bytes: u64,
    /// Whether no other point is better in accuracy or size and as good in the other.
    pub(super) pareto: bool,
}

/// What was typed for a stage.
#[derive(Debug, Serialize)]
pub(super) struct Command {
    pub(super) stage: &'static str,
    /// A line for a shell.
    pub(super) command: String,
    /// Version of the program that was called.
    pub(super) version: String,
    pub(super) commit: String,
    /// How often the stage went on.
    pub(super) resumed: u32,
}

impl Command {
    /// The line, with a remark where there is one to make to readers of a report that the
    /// version `commit` has written.
    pub(super) fn line(&self, commit: &str) -> String {
        let times = match self.resumed {
            0 => None,
            1 => Some("once gone on with".to_owned()),
            times => Some(format!("{times} times gone on with")),
        };
        let other = (self.commit != commit).then(|| format!("by version {}", self.commit));
        let remarks: Vec<String> = times.into_iter().chain(other).collect();
        match remarks.is_empty() {
            true => self.command.clone(),
            false => format!("{}  # {}", self.command, remarks.join(", ")),
        }
    }
}
