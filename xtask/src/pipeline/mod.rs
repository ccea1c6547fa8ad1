//! `cargo xtask pipeline`: from images to a compressed file and its report.
//!
//! A preset gives all settings, the table in [`stage`] all steps, and a folder
//! `runs/<name>/` holds everything that the steps share:
//!
//! | module | does |
//! |---|---|
//! | [`config`] | resolves preset and `--set` into the run's `config.toml` |
//! | [`stage`] | says which command reads and writes what |
//! | [`stamp`] | tells finished, unfinished and outdated stages apart |
//! | [`mod@run`] | runs what is not up to date |
//! | [`lock`] | keeps two pipelines out of one folder |
//! | [`binary`] | finds or builds the `ec2t` program |
//! | [`clock`] | writes the time |

pub(crate) mod binary;
mod clock;
pub(crate) mod config;
mod lock;
mod run;
mod stage;
mod stamp;

use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;

use crate::shell;
use config::Config;
use lock::Lock;
use run::{Checkpoints, Outcome, Run};
use stage::STAGES;

/// Run a whole pipeline: train, ternarize, fine-tune, export, evaluate, report.
///
/// Stages that are up to date are skipped, interrupted ones go on where they
/// stopped, and those whose settings or inputs changed start again.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A preset's name (see --list) or a .toml file
    #[arg(required_unless_present = "list")]
    preset: Option<String>,
    /// Name of the run [default: that of the preset]
    #[arg(long)]
    name: Option<String>,
    /// Folder that holds the folders of all runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
    /// Where the images are, if ec2t should not look for them itself
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    checkpoints: Checkpoints,
    /// Run this stage and the later ones again, even where they are up to date
    #[arg(long, value_name = "STAGE", value_parser = stage_names())]
    from: Option<String>,
    /// Stop after this stage
    #[arg(long, value_name = "STAGE", value_parser = stage_names())]
    until: Option<String>,
    /// Train with the rules and settings of EC2T's reference implementation
    #[arg(long)]
    parity: bool,
    /// Change a setting of the preset; may be given many times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Print what would be run, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// List presets and stages
    #[arg(long)]
    list: bool,
}

/// Settings of the reference implementation, `d-becking/efficientCNNs`.
const PARITY: [&str; 23] = [
    "ternarize.method=reference",
    "ternarize.target_sparsity=0",
    "ternarize.centroid_floor=0.675",
    "ternarize.sustain=0.05",
    "ternarize.extreme_quantile=1",
    "ternarize.share_smoothing=0",
    "ternarize.bn_batches=0",
    "ternarize.epochs=20",
    "ternarize.lr=1e-4",
    "ternarize.centroid_lr=1e-5",
    "ternarize.weight_decay=5e-6",
    "ternarize.schedule=constant",
    "ternarize.label_smoothing=0",
    "ternarize.distill=0",
    "finetune.epochs=15",
    "finetune.lr=1e-4",
    "finetune.centroid_lr=1e-5",
    "finetune.weight_decay=5e-6",
    "finetune.schedule=constant",
    "finetune.label_smoothing=0",
    "finetune.distill=0",
    "finetune.bn_batches=0",
    "finetune.average=0",
];

fn stage_names() -> PossibleValuesParser {
    PossibleValuesParser::new(STAGES.iter().map(|stage| stage.name))
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        return list();
    }
    let run = args.resolve().unwrap_or_else(|error| usage(&error));
    if args.dry_run {
        run.preview()?;
        return Ok(ExitCode::SUCCESS);
    }
    std::fs::create_dir_all(&run.folder).with_context(|| run.folder.display().to_string())?;
    let lock = Lock::take(&run.folder)?;
    stamp::write_atomically(&run.folder.join("config.toml"), run.config.text())?;
    match run.execute(&binary::find()?, &lock)? {
        Outcome::Finished => Ok(ExitCode::SUCCESS),
        Outcome::Failed(code) => Ok(ExitCode::from(code)),
        Outcome::Interrupted => {
            eprintln!("interrupted; to continue: {}", continuation(env::args_os().skip(1)));
            Ok(ExitCode::from(run::INTERRUPTED_CODE))
        }
    }
}

impl Args {
    /// Checks the arguments and puts the settings together.
    fn resolve(&self) -> Result<Run> {
        let preset = config::preset_file(self.preset.as_deref().unwrap_or_default())?;
        let mut config = Config::read(&preset)?;
        let parity = PARITY.iter().filter(|_| self.parity).copied();
        for assignment in parity.chain(self.set.iter().map(String::as_str)) {
            config.set(assignment)?;
        }
        let index = |name: &Option<String>| name.as_deref().and_then(stage::position);
        let until = index(&self.until).unwrap_or(STAGES.len() - 1);
        let from = index(&self.from).unwrap_or(STAGES.len());
        if self.from.is_some() && from > until {
            bail!("--from {} comes after --until {}", STAGES[from].name, STAGES[until].name);
        }
        Ok(Run {
            folder: self.folder(&preset)?,
            config,
            data_dir: self.data_dir.clone(),
            checkpoints: self.checkpoints.clone(),
            stages: &STAGES[..=until],
            from,
        })
    }

    fn folder(&self, preset: &Path) -> Result<PathBuf> {
        let name = self.name.as_ref().map(Path::new).or(preset.file_stem().map(Path::new));
        let name = name.context("the run needs a name")?;
        let mut components = name.components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(name)), None) => Ok(self.runs_dir.join(name)),
            _ => bail!("--name {}: expected a name without path separators", name.display()),
        }
    }
}

/// Ends the program as clap does for a wrong argument.
fn usage(error: &anyhow::Error) -> ! {
    crate::Cli::command().error(ErrorKind::ValueValidation, format!("{error:#}")).exit()
}

fn list() -> Result<ExitCode> {
    println!("presets:");
    for file in config::presets()? {
        let name = file.file_stem().unwrap_or_default().display();
        println!("  {name:<10} {}", Config::read(&file)?.summary());
    }
    println!("stages:");
    for stage in STAGES {
        println!("  {:<10} {}", stage.name, stage.writes.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

/// The command that goes on with this run: the same without `--from`, which
/// would start finished stages again.
fn continuation(arguments: impl Iterator<Item = OsString>) -> String {
    let mut words: Vec<OsString> = vec!["cargo".into(), "xtask".into()];
    let mut arguments = arguments;
    while let Some(word) = arguments.next() {
        if word == "--from" {
            arguments.next();
        } else if !word.to_string_lossy().starts_with("--from=") {
            words.push(word);
        }
    }
    shell::line(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_continuation_leaves_from_out() {
        for from in [&["--from", "eval"][..], &["--from=eval"]] {
            let words = [&["pipeline", "digits"][..], from, &["--set", "run.seed=2"]].concat();
            let line = continuation(words.into_iter().map(OsString::from));
            assert_eq!(line, "cargo xtask pipeline digits --set run.seed=2");
        }
    }

    #[test]
    fn every_preset_can_follow_the_reference() {
        for preset in config::presets().unwrap() {
            let mut config = Config::read(&preset).unwrap();
            PARITY.iter().for_each(|assignment| config.set(assignment).unwrap());
            let settings = config.settings(&["ternarize.method", "finetune.lr"]).unwrap();
            assert_eq!(settings["ternarize.method"], "\"reference\"");
            assert_eq!(settings["finetune.lr"], "0.0001");
        }
    }
}
