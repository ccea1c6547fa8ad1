//! The files of a run that a report reads.
//!
//! Every error names the file and the command that writes it, so that a reader
//! knows what to run again.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::data::{Mistake, Splits, SweepPoint};
use crate::exit::BadFile;

/// A file, relative to the run's folder, and who writes it.
pub(super) struct Input {
    path: Cow<'static, str>,
    writer: &'static str,
}

const fn input(path: &'static str, writer: &'static str) -> Input {
    Input { path: Cow::Borrowed(path), writer }
}

pub(super) const CONFIG: Input = input("config.toml", "cargo xtask pipeline");
pub(super) const DATA: Input = input("data.json", "ec2t data prepare");
pub(super) const ARCH: Input = input("arch.json", "ec2t scale");
pub(super) const PRETRAIN: Input = input("pretrain/summary.json", "ec2t train");
pub(super) const TERNARIZE: Input = input("ternarize/summary.json", "ec2t ternarize");
pub(super) const FINETUNE: Input = input("finetune/summary.json", "ec2t finetune");
pub(super) const EVENTS: Input = input("events.jsonl", "ec2t train, ternarize and finetune");
pub(super) const MODEL: Input = input("model.ec2t", "ec2t export");
pub(super) const EVAL: Input = input("eval.json", "ec2t eval");
pub(super) const SWEEP: Input = input("sweep/sweep.json", "ec2t sweep");

/// The stamp of a stage; not there where the stage was started by hand.
pub(super) fn stamp(stage: &str) -> Input {
    Input { path: format!("stamps/{stage}.json").into(), ..input("", "cargo xtask pipeline") }
}

impl Input {
    /// The file, relative to the run's folder.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The command that writes it.
    pub(super) fn writer(&self) -> &'static str {
        self.writer
    }

    /// The file's bytes, as `parse` understands them.
    pub(super) fn read<T>(
        &self,
        run_dir: &Path,
        parse: impl FnOnce(Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        let path = run_dir.join(&*self.path);
        let bad = |reason| {
            BadFile(format!("{}, which `{}` writes: {reason:#}", path.display(), self.writer))
        };
        Ok(fs::read(&path).map_err(Into::into).and_then(parse).map_err(bad)?)
    }

    /// A value from JSON, which `finish` checks and completes.
    pub(super) fn json<J: DeserializeOwned, T>(
        &self,
        run_dir: &Path,
        finish: impl FnOnce(J) -> Result<T>,
    ) -> Result<T> {
        self.read(run_dir, |bytes| finish(serde_json::from_slice(&bytes)?))
    }

    /// Whether the file is there.
    pub(super) fn exists(&self, run_dir: &Path) -> bool {
        run_dir.join(&*self.path).exists()
    }
}

/// `data.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Dataset {
    pub(super) name: String,
    pub(super) classes: Vec<String>,
    #[serde(default)]
    pub(super) counts: Splits,
}

/// `eval.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Evaluations {
    pub(super) float: Evaluation,
    pub(super) ternary: Evaluation,
}

/// One network's results.
#[derive(Debug, Deserialize)]
pub(super) struct Evaluation {
    pub(super) top1: f64,
    pub(super) images: u64,
    pub(super) correct: u64,
    pub(super) seconds: f64,
    pub(super) confusion: Vec<Vec<u64>>,
    /// Not in files of older versions.
    #[serde(default)]
    pub(super) mistakes: Vec<Mistake>,
}

/// What a report needs of `sweep/sweep.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Sweep {
    pub(super) points: Vec<SweepPoint>,
}

/// What a report needs of `stamps/<stage>.json`.
#[derive(Debug, Deserialize)]
pub(super) struct Stamp {
    pub(super) seconds: f64,
}
