//! The commands, one file each.

mod bench;
mod calibrate;
mod compare;
mod completions;
pub(crate) mod data;
mod doctor;
pub(crate) mod eval;
mod explain;
pub(crate) mod export;
mod import;
mod inspect;
mod repack;
mod report;
mod run;
pub(crate) mod scale;
mod score;
mod search;
mod sweep;
mod thin;
pub(crate) mod train;
mod verify;

use anyhow::Result;
use clap::Subcommand;

/// What the program can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Find, fetch and check datasets.
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Build an architecture and count its costs.
    Scale(scale::ScaleArgs),
    /// Train a network in floats, or take one from a checkpoint.
    Train(train::TrainArgs),
    /// Ternarize a trained network (EC2T, learning phase).
    Ternarize(train::StageArgs),
    /// Fine-tune a ternary network; assignments are frozen.
    Finetune(train::StageArgs),
    /// Write a run's network to a model file, or a model file in another format.
    Export(export::ExportArgs),
    /// Ternarize a trained network with many settings, or search for one.
    ///
    /// Every combination of the values below is trained and exported in a run of its own,
    /// RUN/sweep/POINT; the table is in RUN/sweep/sweep.json too. What is not given is as in
    /// the run's config.toml. Points are compared by validation accuracy; test images are not
    /// looked at.
    Sweep(sweep::SweepArgs),
    /// Turn a PyTorch or safetensors checkpoint, or an ONNX model, into a model file.
    Import(import::ImportArgs),
    /// Prepare a model file for activations of 8 bits: for --precision u8.
    Calibrate(calibrate::CalibrateArgs),
    /// Measure the accuracy of a model file.
    Eval(eval::EvalArgs),
    /// Show how much two models differ on the same images.
    Compare(compare::CompareArgs),
    /// Classify pictures.
    Run(run::RunArgs),
    /// Show what a model file holds, to the byte.
    Inspect(inspect::InspectArgs),
    /// Count parameters, operations and energy by the rules of the MicroNet challenge.
    Score(score::ScoreArgs),
    /// Time models, each beside the same network with dense floats.
    Bench(bench::BenchArgs),
    /// Show how a model file is run, step by step, and time each step.
    Explain(explain::ExplainArgs),
    /// Check model files in every way there is.
    Verify(verify::VerifyArgs),
    /// Write a model file anew: in the current version, or smaller.
    Repack(repack::RepackArgs),
    /// Take channels out of a model file that do nothing.
    Thin(thin::ThinArgs),
    /// Write a run's report.
    Report(report::ReportArgs),
    /// Show what the program finds on this machine, and what is wrong with it.
    Doctor(doctor::DoctorArgs),
    /// Print a script that completes commands and flags in a shell.
    Completions(completions::CompletionsArgs),
    /// Print a manual page, or write those of all commands.
    Man(completions::ManArgs),
}

impl Command {
    /// Whether it tells itself what is wrong with the machine.
    pub(crate) fn is_doctor(&self) -> bool {
        matches!(self, Command::Doctor(_))
    }

    pub(crate) fn run(self) -> Result<()> {
        match self {
            Command::Data(command) => command.run(),
            Command::Scale(args) => args.run(),
            Command::Train(args) => args.run(),
            Command::Ternarize(args) => args.ternarize(),
            Command::Finetune(args) => args.finetune(),
            Command::Export(args) => args.run(),
            Command::Sweep(args) => args.run(),
            Command::Import(args) => args.run(),
            Command::Calibrate(args) => args.run(),
            Command::Eval(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Score(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Explain(args) => args.run(),
            Command::Verify(args) => args.run(),
            Command::Repack(args) => args.run(),
            Command::Thin(args) => args.run(),
            Command::Report(args) => args.run(),
            Command::Doctor(args) => args.run(),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
        }
    }
}
