//! `ec2t train`, `ternarize`, `finetune`: the stages that train.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Args;
use ec2t_format::Network;
use ec2t_infer::{Model, evaluate};
use ec2t_quant::{Backend, Best, LoopOptions, Outcome, QuantError, Session};
use serde::{Deserialize, Serialize};

use super::eval::describe_test;
use crate::command_log::noted;
use crate::engine::EngineArgs;
use crate::exit::BadFile;
use crate::grow::GrowArgs;
use crate::new_run::NewRunArgs;
use crate::output::{print, remove_file, tell, write_json};
use crate::progress::{TrainingProgress, stop_on_interrupt, stop_with_stdin};
use crate::run_dir::{RunArgs, RunDir};

/// Train a network in floats, or take one from a checkpoint.
#[derive(Args)]
pub(crate) struct TrainArgs {
    /// Folder of the run; holds config.toml.
    #[arg(long, required_unless_present = "arch", value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
    /// Take the weights from this PyTorch or safetensors checkpoint and train
    /// nothing.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    #[command(flatten)]
    grow: GrowArgs,
    #[command(flatten)]
    new: NewRunArgs,
}

/// What the other training stages take.
#[derive(Args)]
pub(crate) struct StageArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    how: HowArgs,
}

/// How to train.
#[derive(Args)]
pub(crate) struct HowArgs {
    /// Where to compute: cpu, cuda or cuda:NUMBER.
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: Backend,
    /// Begin again, even where there is a checkpoint.
    #[arg(long)]
    restart: bool,
    /// Checkpoint of the teacher, where the settings give it a share of the loss
    /// [default: the run's float network].
    #[arg(long, value_name = "FILE")]
    teacher: Option<PathBuf>,
    /// Stop as after Ctrl-C when stdin ends.
    #[arg(long, hide = true)]
    attended: bool,
}

/// A stage's `summary.json`.
#[derive(Serialize)]
pub(crate) struct StageSummary {
    stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<usize>,
    /// The checkpoint that was taken instead of training.
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<String>,
    /// The checkpoint of a smaller network that training began with.
    #[serde(skip_serializing_if = "Option::is_none")]
    grown_from: Option<String>,
    pub(crate) best: Best,
    /// Share of zeros among all trained values, 0…1.
    pub(crate) sparsity: f64,
    /// Time of training, over all sessions.
    pub(crate) seconds: f64,
}

/// What a point's stage has come to, as its `summary.json` says.
#[derive(Deserialize)]
pub(crate) struct Trained {
    pub(crate) best: Best,
    pub(crate) sparsity: f64,
    pub(crate) seconds: f64,
}

impl Trained {
    /// Reads the summary of a stage in the folder of a run.
    pub(crate) fn read(run: &Path, stage: &str) -> Result<Self> {
        let path = run.join(stage).join("summary.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let bad = |error| BadFile(format!("{}: {error}", path.display()));
        Ok(serde_json::from_str(&text).map_err(bad)?)
    }
}

impl StageSummary {
    fn write(&self, run: &RunDir) -> Result<()> {
        write_json(&run.join(self.stage).join("summary.json"), self)
    }
}

impl TrainArgs {
    pub(crate) fn run(self) -> Result<()> {
        let (run_dir, data_dir) = (self.run_dir.clone(), self.data_dir.clone());
        let run = self.new.open(run_dir, data_dir, self.how.restart)?;
        let best = match &self.init {
            Some(init) if !self.grow.is_given() => {
                noted(run.path(), "pretrain", false, || take_checkpoint(&run, init))?
            }
            _ => self.how.noted(&run, "pretrain", || self.train(&run))?,
        };
        match self.new.arch {
            Some(_) => print_accuracy(&run, best),
            None => Ok(()),
        }
    }

    /// Trains the run's float network, from a smaller one if there is one.
    fn train(&self, run: &RunDir) -> Result<Best> {
        let options = &run.config.pretrain;
        let (how, stop) = (&self.how, self.how.stop()?);
        let teacher = how.teacher(run, &options.common, || Ok(None))?;
        let mut initial = ec2t_quant::initialize(&run.graph()?, run.config.run.seed)?;
        if let Some(init) = &self.init {
            initial = self.grow.grow(run, init, &initial)?;
        }
        let train = |session: &mut Session| {
            Ok(ec2t_quant::pretrain(&initial, &run.splits()?, options, session)?)
        };
        let mut summary = how.run_stage(run, "pretrain", teacher, &options.common, &stop, train)?;
        if let Some(init) = &self.init {
            summary.grown_from = Some(file_name(init));
            summary.write(run)?;
        }
        Ok(summary.best)
    }
}

impl StageArgs {
    pub(crate) fn ternarize(self) -> Result<()> {
        let stop = self.how.stop()?;
        let run = self.run.open()?;
        self.how.noted(&run, "ternarize", || self.how.ternarize(&run, &stop)).map(drop)
    }

    pub(crate) fn finetune(self) -> Result<()> {
        let stop = self.how.stop()?;
        let run = self.run.open()?;
        self.how.noted(&run, "finetune", || self.how.finetune(&run, &stop)).map(drop)
    }
}

impl HowArgs {
    /// The command of a stage that trains a point in the same way.
    pub(crate) fn command(&self, stage: &str, folder: &Path, engine: &EngineArgs) -> Vec<String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut words = vec![stage.to_owned(), "--run-dir".to_owned(), path(folder)];
        words.push(format!("--device={}", self.device));
        words.extend(self.restart.then(|| "--restart".to_owned()));
        words.extend(engine.attends().then(|| "--attended".to_owned()));
        if let Some(teacher) = &self.teacher {
            words.extend(["--teacher".to_owned(), path(teacher)]);
        }
        words
    }

    /// Whether to begin again.
    pub(crate) fn restarts(&self) -> bool {
        self.restart
    }

    /// A flag that is set when training has to stop.
    fn stop(&self) -> Result<Arc<AtomicBool>> {
        let stop = stop_on_interrupt()?;
        if self.attended {
            stop_with_stdin(&stop);
        }
        Ok(stop)
    }

    /// Does the work of a training stage, and notes its command.
    fn noted<T>(
        &self,
        run: &RunDir,
        stage: &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let goes_on = !self.restart && run.join(stage).join("last.safetensors").exists();
        noted(run.path(), stage, goes_on, work)
    }

    /// Ternarizes the run's float network, until the end or until `stop` is set.
    pub(crate) fn ternarize(&self, run: &RunDir, stop: &AtomicBool) -> Result<StageSummary> {
        let options = &run.config.ternarize;
        let float = run.network("pretrain", "train")?;
        let teacher = self.teacher(run, &options.common, || Ok(Some(float.clone())))?;
        self.run_stage(run, "ternarize", teacher, &options.common, stop, |session| {
            Ok(ec2t_quant::ternarize(&float, &run.splits()?, options, session)?)
        })
    }

    /// Fine-tunes the run's ternary network, until the end or until `stop` is set.
    pub(crate) fn finetune(&self, run: &RunDir, stop: &AtomicBool) -> Result<StageSummary> {
        let options = &run.config.finetune;
        let float = || run.network("pretrain", "train").map(Some);
        let teacher = self.teacher(run, &options.common, float)?;
        self.run_stage(run, "finetune", teacher, &options.common, stop, |session| {
            let ternary = run.network("ternarize", "ternarize")?;
            Ok(ec2t_quant::finetune(&ternary, &run.splits()?, options, session)?)
        })
    }

    /// The network of `--teacher`, or else what `default` gives; none where the
    /// settings of the stage give it no share.
    fn teacher(
        &self,
        run: &RunDir,
        options: &LoopOptions,
        default: impl FnOnce() -> Result<Option<Network>>,
    ) -> Result<Option<Network>> {
        match &self.teacher {
            _ if options.distillation.distill == 0.0 => Ok(None),
            Some(file) => Ok(Some(ec2t_interop::import(file, run.teacher_graph()?)?.network)),
            None => default(),
        }
    }

    /// Trains, and writes the summary.
    fn run_stage(
        &self,
        run: &RunDir,
        stage: &'static str,
        teacher: Option<Network>,
        options: &LoopOptions,
        stop: &AtomicBool,
        train: impl FnOnce(&mut Session) -> Result<Outcome>,
    ) -> Result<StageSummary> {
        let mut observer = TrainingProgress::new();
        let mut session = Session {
            folder: run.join(stage),
            logs: Some(run.path().to_owned()),
            backend: self.device,
            teacher: teacher.as_ref(),
            seed: run.config.run.seed,
            restart: self.restart,
            stop,
            observer: &mut observer,
        };
        let outcome = train(&mut session)?;
        let network = ec2t_interop::import(&outcome.network, run.graph()?)?.network;
        let summary = StageSummary {
            stage,
            epochs: Some(options.epochs),
            init: None,
            grown_from: None,
            best: outcome.best,
            sparsity: network.sparsity(),
            seconds: outcome.seconds,
        };
        summary.write(run)?;
        Ok(summary)
    }
}

/// Prints how good the network of the best epoch is. Nothing depends on the
/// test images any more.
fn print_accuracy(run: &RunDir, best: Best) -> Result<()> {
    let test = describe_test(run, run.network("pretrain", "train")?)?;
    print(&format!("validation {:.2} %; {test}", best.top1))
}

/// Takes a float network from a checkpoint in place of training one.
fn take_checkpoint(run: &RunDir, init: &Path) -> Result<Best> {
    let started = std::time::Instant::now();
    let network = ec2t_interop::import(init, run.graph()?)?.network;
    let top1 = validation_top1(run, &network)?;
    tell(format_args!("{}: validation {top1:.2} %", init.display()));
    let folder = run.join("pretrain");
    // Nothing goes on from the training whose network is being replaced.
    remove_file(&folder.join("last.safetensors"))?;
    ec2t_quant::save_network(&folder.join("best.safetensors"), &network)?;
    let best = Best { epoch: 0, top1 };
    let summary = StageSummary {
        stage: "pretrain",
        epochs: None,
        init: Some(file_name(init)),
        grown_from: None,
        best,
        sparsity: network.sparsity(),
        seconds: started.elapsed().as_secs_f64(),
    };
    summary.write(run)?;
    Ok(best)
}

/// The last part of a path.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Accuracy on the validation split in percent: shows at once whether a
/// checkpoint and the preprocessing belong together.
pub(crate) fn validation_top1(run: &RunDir, network: &Network) -> Result<f64> {
    let data = run.splits()?.validation;
    if data.is_empty() {
        return Err(QuantError::Data("the validation split is empty".into()).into());
    }
    let model = Model::new(network.clone())?;
    let images = |range| Ok::<_, anyhow::Error>(data.images(range)?);
    Ok(evaluate(&model, data.labels(), images, |_| {})?.top1)
}
