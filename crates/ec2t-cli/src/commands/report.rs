//! `ec2t report`: write a run's report.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::output::{print, print_json};
use crate::report;

/// Write report.json, report.html and MODEL_CARD.md of a run.
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Folder of the run.
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,
    /// Write the epochs for TensorBoard too, to RUN/tensorboard/STAGE; look at them with
    /// `tensorboard --logdir RUN/tensorboard`.
    #[arg(long)]
    tensorboard: bool,
    /// Folder that holds the dataset's own folder.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl ReportArgs {
    pub(crate) fn run(self) -> Result<()> {
        let report = report::write(&self.run_dir, self.data_dir.as_deref(), env!("EC2T_COMMIT"))?;
        if self.tensorboard {
            report::write_tensorboard(&self.run_dir, &report)?;
        }
        match self.json {
            true => print_json(&report),
            false => print(&report.summary()),
        }
    }
}
