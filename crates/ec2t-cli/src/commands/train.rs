//! `ec2t train`, `ternarize`, `finetune`: the stages that train.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Args;
use ec2t_format::Network;
use ec2t_infer::{Model, evaluate};
use ec2t_quant::{Backend, Best, Outcome, QuantError, Session};
use serde::Serialize;

use crate::output::{tell, write_json};
use crate::progress::{TrainingProgress, stop_on_interrupt};
use crate::run_dir::{RunArgs, RunDir};

/// Train a network in floats, or take one from a checkpoint.
#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    stage: StageArgs,
    /// Take the weights from this PyTorch or safetensors checkpoint and train
    /// nothing.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
}

/// What all training stages take.
#[derive(Args)]
pub(crate) struct StageArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Where to compute: cpu, cuda or cuda:NUMBER.
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: Backend,
    /// Begin again, even where there is a checkpoint.
    #[arg(long)]
    restart: bool,
}

/// A stage's `summary.json`.
#[derive(Serialize)]
struct StageSummary<'a> {
    stage: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<usize>,
    /// The checkpoint that was taken instead of training.
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<String>,
    best: Best,
    /// Share of zeros among all trained values, 0…1.
    sparsity: f64,
    seconds: f64,
}

impl TrainArgs {
    pub(crate) fn run(self) -> Result<()> {
        let Some(init) = self.init else {
            return self.stage.run_stage("pretrain", |run, session| {
                let initial = ec2t_quant::initialize(&run.graph()?, run.config.run.seed)?;
                let options = &run.config.pretrain;
                let outcome = ec2t_quant::pretrain(&initial, &run.splits()?, options, session)?;
                Ok((outcome, options.common.epochs))
            });
        };
        take_checkpoint(&self.stage.run.open()?, &init)
    }
}

impl StageArgs {
    pub(crate) fn ternarize(self) -> Result<()> {
        self.run_stage("ternarize", |run, session| {
            let float = run.network("pretrain", "train")?;
            let options = &run.config.ternarize;
            let outcome = ec2t_quant::ternarize(&float, &run.splits()?, options, session)?;
            Ok((outcome, options.common.epochs))
        })
    }

    pub(crate) fn finetune(self) -> Result<()> {
        self.run_stage("finetune", |run, session| {
            let ternary = run.network("ternarize", "ternarize")?;
            let options = &run.config.finetune;
            let outcome = ec2t_quant::finetune(&ternary, &run.splits()?, options, session)?;
            Ok((outcome, options.common.epochs))
        })
    }

    /// Opens the run, trains, and writes the summary.
    fn run_stage(
        self,
        stage: &str,
        train: impl FnOnce(&RunDir, &mut Session) -> Result<(Outcome, usize)>,
    ) -> Result<()> {
        let run = self.run.open()?;
        let stop = stop_on_interrupt()?;
        let mut observer = TrainingProgress::new();
        let mut session = Session {
            folder: run.join(stage),
            events: Some(run.join("events.jsonl")),
            backend: self.device,
            seed: run.config.run.seed,
            restart: self.restart,
            stop: &stop as &AtomicBool,
            observer: &mut observer,
        };
        let (outcome, epochs) = train(&run, &mut session)?;
        let network = ec2t_interop::import(&outcome.network, run.graph()?)?.network;
        let summary = StageSummary {
            stage,
            epochs: Some(epochs),
            init: None,
            best: outcome.best,
            sparsity: network.sparsity(),
            seconds: outcome.seconds,
        };
        write_json(&run.join(stage).join("summary.json"), &summary)
    }
}

/// Takes a float network from a checkpoint in place of training one.
fn take_checkpoint(run: &RunDir, init: &Path) -> Result<()> {
    let started = std::time::Instant::now();
    let network = ec2t_interop::import(init, run.graph()?)?.network;
    let top1 = validation_top1(run, &network)?;
    tell(format_args!("{}: validation {top1:.2} %", init.display()));
    let folder = run.join("pretrain");
    forget_training(&folder.join("last.safetensors"))?;
    ec2t_quant::save_network(&folder.join("best.safetensors"), &network)?;
    let name = init.file_name().unwrap_or(init.as_os_str()).to_string_lossy().into_owned();
    let summary = StageSummary {
        stage: "pretrain",
        epochs: None,
        init: Some(name),
        best: Best { epoch: 0, top1 },
        sparsity: network.sparsity(),
        seconds: started.elapsed().as_secs_f64(),
    };
    write_json(&folder.join("summary.json"), &summary)
}

/// Removes the checkpoint of a training whose network is being replaced, so
/// that nothing goes on from there.
fn forget_training(last: &Path) -> Result<()> {
    match std::fs::remove_file(last) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", last.display()))
        }
        _ => Ok(()),
    }
}

/// Accuracy on the validation split in percent: shows at once whether a
/// checkpoint and the preprocessing belong together.
fn validation_top1(run: &RunDir, network: &Network) -> Result<f64> {
    let data = run.splits()?.validation;
    if data.is_empty() {
        return Err(QuantError::Data("the validation split is empty".into()).into());
    }
    let model = Model::new(network.clone())?;
    Ok(evaluate(&model, data.images(), data.labels(), |_| {})?.top1)
}
