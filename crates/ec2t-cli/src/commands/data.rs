//! `ec2t data`: find, fetch and check datasets.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use ec2t_data::{DataError, LoadOptions, Phase, Summary};

use crate::command_log::noted;
use crate::exit::BadFile;
use crate::output::{grouped, print, print_json, tell, write_json};
use crate::progress::Progress;
use crate::run_dir::RunArgs;

/// Find, fetch and check datasets.
#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Download a dataset from its home page and check it.
    Fetch(DatasetArgs),
    /// Read a dataset, check it and measure it.
    Verify(DatasetArgs),
    /// Check the dataset of a run and write data.json there; fetches it where
    /// it is on this machine in none of the places looked at.
    Prepare(RunArgs),
}

/// Which dataset, and where.
#[derive(Args)]
pub(crate) struct DatasetArgs {
    /// Name of the dataset.
    #[arg(value_name = "NAME")]
    dataset: String,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Channels, height and width to which the pictures of `folder` are
    /// brought.
    #[arg(long, num_args = 3, value_names = ["C", "H", "W"])]
    image_size: Option<Vec<usize>>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl DataCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            DataCommand::Fetch(args) => {
                let folder = fetch(&args.dataset, args.data_dir.as_deref())?;
                tell(format_args!("{} is in {}", args.dataset, folder.display()));
                args.verify()
            }
            DataCommand::Verify(args) => args.verify(),
            DataCommand::Prepare(args) => prepare(args),
        }
    }
}

impl DatasetArgs {
    fn verify(&self) -> Result<()> {
        let image_size = self.image_size.as_ref().and_then(|size| size.as_slice().try_into().ok());
        let data_dir = self.data_dir.clone();
        let options = LoadOptions { data_dir, image_size, ..LoadOptions::default() };
        let summary = ec2t_data::verify(&self.dataset, &options)?;
        match self.json {
            true => print_json(&summary),
            false => print(&describe(&summary)),
        }
    }
}

/// Writes the summary of a run's dataset.
fn prepare(args: RunArgs) -> Result<()> {
    let run = args.open()?;
    let summary = noted(run.path(), "data", false, || {
        let summary = find(&run.config.data.dataset, &run.load_options()?)?;
        write_json(&run.join("data.json"), &summary)?;
        Ok(summary)
    })?;
    print(&describe(&summary))
}

/// Checks a dataset; downloads it first where no place on this machine has it.
pub(crate) fn find(name: &str, options: &LoadOptions) -> Result<Summary> {
    match ec2t_data::verify(name, options) {
        Err(missing @ DataError::NotFound { .. }) => {
            fetch(name, options.data_dir.as_deref())
                .map_err(|failed| BadFile(format!("{missing}; the download failed: {failed}")))?;
            Ok(ec2t_data::verify(name, options)?)
        }
        found => Ok(found?),
    }
}

fn fetch(name: &str, data_dir: Option<&Path>) -> Result<PathBuf, DataError> {
    let mut current: Option<(Phase, Progress)> = None;
    let folder = ec2t_data::fetch(name, data_dir, &mut |step| {
        if current.as_ref().is_none_or(|(phase, _)| *phase != step.phase) {
            tell(format_args!("{} {}", verb(step.phase), step.file));
            current = Some((step.phase, Progress::new(step.total, "bytes")));
        }
        if let Some((_, progress)) = &mut current {
            progress.set(step.done, step.file);
        }
    })?;
    if let Some((_, progress)) = &current {
        progress.finish();
    }
    Ok(folder)
}

fn verb(phase: Phase) -> &'static str {
    match phase {
        Phase::Download => "downloading",
        Phase::Check => "checking",
        Phase::Unpack => "unpacking",
    }
}

fn describe(summary: &Summary) -> String {
    let [channels, height, width] = summary.shape;
    let counts = &summary.counts;
    format!(
        "{}: {} training, {} validation, {} test images of {channels}×{height}×{width}, {} classes",
        summary.name,
        grouped(counts.train),
        grouped(counts.validation),
        grouped(counts.test),
        summary.classes.len(),
    )
}
