//! `ec2t repack`: write a model file anew.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::export::with_storage;
use crate::command_log::noted_for_model;
use crate::config::{Compression, Precision};
use crate::output::{grouped, print, write_file};

/// Write a model file anew: in the current version, smaller, quicker to read, or with other
/// floats.
///
/// All values stay as they are, unless --side rounds the floats. Sections that this version
/// does not know are left out.
#[derive(Args)]
pub(crate) struct RepackArgs {
    /// The model file.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Model file to write; it may be the same.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How small to make the file, or how quick to read; as the file is, if not given.
    #[arg(long, value_enum)]
    effort: Option<Compression>,
    /// Precision of all numbers that are not ternary; as they are, if not given.
    #[arg(long, value_enum)]
    side: Option<Precision>,
}

impl RepackArgs {
    pub(crate) fn run(self) -> Result<()> {
        let name = self.model.display();
        let file = std::fs::read(&self.model).with_context(|| name.to_string())?;
        let mut network = ec2t_format::read(&file).with_context(|| name.to_string())?;
        if let Some(side) = self.side {
            network = with_storage(network, side.into())?;
        }
        let effort = match self.effort {
            Some(effort) => effort.into(),
            None => ec2t_format::layout(&file)?.effort,
        };
        let packed = ec2t_format::write_with(&network, effort);
        noted_for_model(&self.output, "repack", || write_file(&self.output, &packed))?;
        let (before, after) = (grouped(file.len()), grouped(packed.len()));
        print(&format!("{}: {after} bytes, {before} before", self.output.display()))
    }
}
