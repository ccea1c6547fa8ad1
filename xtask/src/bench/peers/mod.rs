//! `cargo xtask bench peers`: our inference beside that of other programs.
//!
//! Our side writes each network, input and output to a folder for the others to
//! read. Each program is a process of its own, on one thread and, on Linux, on the
//! same processor, of which only one works at a time. It has to give our output
//! before any time is taken; then all have their rounds in turn.

mod result;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::machine::Machine;
use super::measured::{Measured, in_turn};
use super::peer::{Milliseconds, Peer};
use super::python::Packages;
use super::report;
use crate::cargo;
use result::{Difference, Mean, Ran, Without, means, medians, summary};
use row::{Others, Program, Row, Work, rows};

/// The versions that are compared. pnnx converts for ncnn.
const PEERS: Packages = Packages {
    folder: "peers",
    packages: &[
        "onnxruntime==1.32.0",
        "onnx==1.23.2",
        "MNN==3.6.1",
        "ncnn==1.0.20261020",
        "pnnx==20261020",
        "torch==2.15.0",
        "numpy",
    ],
    import: "import onnxruntime, onnx, MNN, ncnn, pnnx, torch, numpy",
};

/// Compare inference with other programs, on one thread.
///
/// Takes some minutes, and a machine that does nothing else. The others, of some
/// gigabytes, are installed into a virtual environment in the user's cache folder
/// where they are not there. Networks that need EC2T_MODELS_DIR are skipped without it;
/// images are random without EC2T_DATA_DIR.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only rows whose name contains this; may be given many times
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Rounds of each contender
    #[arg(long, value_name = "N", default_value = "10")]
    rounds: NonZero<usize>,
    /// A Python that has the other programs
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Write all rounds to this file, or to stdout in place of the tables
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

/// All that is written as JSON.
#[derive(Serialize)]
struct Report {
    rounds: usize,
    machine: Machine,
    peers: Vec<String>,
    rows: Vec<Ran>,
    means: Vec<Mean>,
    skipped: Vec<Without>,
    failed: Vec<Without>,
}

/// What our side has written, or why it could not.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Skipped { skipped: String },
    Work { zeros: f64, images: String },
}

/// Images that our side has written to choose ranges from.
#[derive(Deserialize)]
struct Calibrated {
    images: usize,
}

/// How another program's output compares with ours.
#[derive(Deserialize)]
struct Checked {
    error: f64,
    largest: f64,
}

#[derive(Deserialize)]
struct Timed {
    milliseconds: Milliseconds,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let rows = chosen(&args.only)?;
    let mut bench = Bench::new(args)?;
    let machine = Machine::look();
    let (mut ran, mut skipped, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        eprintln!("{}: {}", row.name, row.title);
        let without = |reason| Without { name: row.name.clone(), reason };
        match bench.measure(row) {
            Ok(Outcome::Ran(row)) => ran.push(*row),
            Ok(Outcome::Skipped(reason)) => {
                eprintln!("  skipped: {reason}");
                skipped.push(without(reason));
            }
            Err(error) => {
                eprintln!("  failed: {error:#}");
                failed.push(without(format!("{error:#}")));
                // Some are gone, or in the middle of something.
                bench.peers.clear();
            }
        }
    }
    let report = Report {
        rounds: bench.rounds,
        machine,
        peers: bench.versions.into_iter().collect(),
        means: means(&ran),
        rows: ran,
        skipped,
        failed,
    };
    report::write(&report, args.json.as_deref(), &text(&report))?;
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rows whose name contains one of the patterns; all where there are none.
fn chosen(only: &[String]) -> Result<Vec<Row>> {
    let mut rows = rows();
    for pattern in only {
        if !rows.iter().any(|row| row.name.contains(pattern)) {
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            bail!("no row's name contains `{pattern}`; there are {}", names.join(", "));
        }
    }
    rows.retain(|row| only.is_empty() || only.iter().any(|pattern| row.name.contains(pattern)));
    Ok(rows)
}

fn text(report: &Report) -> String {
    let Report { rounds, machine, peers, rows, means, skipped, failed } = report;
    let processor = machine.processor.as_deref().unwrap_or("unknown processor");
    let load = machine.load.map_or_else(|| "unknown".into(), |load| format!("{load:.2}"));
    let mut text = format!(
        "\n{rounds} rounds on {processor}, load {load}; {}\n\n{}\n{}",
        peers.join("; "),
        summary(rows, means),
        medians(rows),
    );
    for (what, rows) in [("skipped", skipped), ("failed", failed)] {
        for Without { name, reason } in rows {
            text += &format!("\n{what}: {name}: {reason}\n");
        }
    }
    text
}

/// What becomes of a row.
enum Outcome {
    Ran(Box<Ran>),
    Skipped(String),
}

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// Our engine, on so many threads.
    Ec2t(usize),
    /// The word of a program.
    Program(&'static str),
}

/// The processes that take part, and the folder that they share.
struct Bench {
    ec2t: PathBuf,
    python: PathBuf,
    script: PathBuf,
    folder: TempDir,
    rounds: usize,
    peers: BTreeMap<Side, Peer>,
    /// What those that ever ran say they are.
    versions: BTreeSet<String>,
}

impl Bench {
    fn new(args: &Args) -> Result<Self> {
        let python = PEERS.python(args.python.as_deref())?;
        let words = ["bench", "--package", "ec2t-infer", "--bench", "peers", "--no-run"];
        Ok(Self {
            ec2t: cargo::build(&words, "peers")?,
            python,
            script: cargo::package_folder().join("peers/inference.py"),
            folder: tempfile::tempdir().context("no folder for networks")?,
            rounds: args.rounds.get(),
            peers: BTreeMap::new(),
            versions: BTreeSet::new(),
        })
    }

    fn measure(&mut self, row: &Row) -> Result<Outcome> {
        let ours = ("ec2t", Side::Ec2t(1));
        let (zeros, images) = match self.ask(ours.1, &row.work.request("write"))? {
            Written::Skipped { skipped } => return Ok(Outcome::Skipped(skipped)),
            Written::Work { zeros, images } => (zeros, images),
        };
        let mut differences = Vec::new();
        let contenders = match row.others {
            Others::TwoThreads => vec![("2 threads", Side::Ec2t(2)), ("1 thread", ours.1)],
            Others::Programs(programs) => {
                for program in programs {
                    differences.push(self.check(program, &row.work)?);
                }
                let others = programs.iter().map(|p| (p.label, Side::Program(p.word)));
                [ours].into_iter().chain(others).collect()
            }
        };
        let request = row.work.request("time");
        let series = in_turn(&contenders, self.rounds, |(_, side)| {
            Ok(self.ask::<Timed>(*side, &request)?.milliseconds.0)
        })?;
        let labels = contenders.iter().map(|(label, _)| (*label).to_owned());
        let series = labels.zip(series).collect();
        let measured = Measured::new(&row.name, &row.title, "ms", series, true);
        let group = row.group.clone();
        Ok(Outcome::Ran(Box::new(Ran { measured, zeros, images, differences, group })))
    }

    /// Has a program give its output, which has to be ours.
    fn check(&mut self, program: &Program, work: &Work) -> Result<Difference> {
        let Program { label, word, calibrated, tolerance } = *program;
        if calibrated {
            let Calibrated { images } = self.ask(Side::Ec2t(1), &work.request("calibrate"))?;
            eprintln!("  {label}: ranges are chosen from {images} images");
        }
        let Checked { error, largest } = self.ask(Side::Program(word), &work.request("check"))?;
        eprintln!("  {label}: differs by {error:.1e} at most, the largest value is {largest:.3}");
        let allowed = tolerance * largest;
        match error <= allowed {
            true => Ok(Difference { label, error, largest }),
            false => bail!("{label} differs by {error:.1e}, allowed are {allowed:.1e}"),
        }
    }

    fn ask<A: serde::de::DeserializeOwned>(&mut self, side: Side, request: &str) -> Result<A> {
        if !self.peers.contains_key(&side) {
            let peer = self.start(side)?;
            self.versions.insert(peer.hello.peer.clone());
            self.peers.insert(side, peer);
        }
        self.peers.get_mut(&side).context("a peer that was just started")?.ask(request)
    }

    fn start(&self, side: Side) -> Result<Peer> {
        let (name, threads, command) = match side {
            Side::Ec2t(threads) => {
                let mut command = pinned(&self.ec2t, threads);
                command.arg("--serve").arg(self.folder.path());
                ("ec2t", threads, command)
            }
            Side::Program(word) => {
                let mut command = pinned(&self.python, 1);
                command.arg(&self.script).arg(word).arg(self.folder.path());
                (word, 1, command)
            }
        };
        let peer = Peer::start(name, command)?;
        let found = peer.hello.threads;
        match found == threads {
            true => Ok(peer),
            false => bail!("{name} was to use {threads} threads, but uses {found}"),
        }
    }
}

/// A command that runs on as many threads, and on Linux on as many processors.
fn pinned(program: &Path, threads: usize) -> Command {
    let mut command = match cfg!(target_os = "linux") {
        true => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &format!("0-{}", threads - 1)]).arg(program);
            command
        }
        false => Command::new(program),
    };
    let number = threads.to_string();
    command.env("RAYON_NUM_THREADS", &number).env("OMP_NUM_THREADS", &number);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_a_part_of_their_name() {
        let names = |only: &[&str]| -> Vec<String> {
            let only: Vec<String> = only.iter().map(|pattern| (*pattern).into()).collect();
            chosen(&only).unwrap().into_iter().map(|row| row.name).collect()
        };
        assert_eq!(names(&[]).len(), rows().len());
        assert_eq!(
            names(&["73", "int8"]),
            ["resnet20-73", "resnet20-64-int8", "resnet20-64-x64-int8"]
        );
        let error = chosen(&["vgg".into()]).unwrap_err().to_string();
        assert!(
            error.starts_with("no row's name contains `vgg`; there are resnet20-45"),
            "{error}"
        );
    }

    #[test]
    fn what_our_side_writes_is_a_work_or_a_reason() {
        let work = serde_json::from_str(r#"{"zeros":0.5,"images":"random"}"#).unwrap();
        assert!(matches!(work, Written::Work { zeros: 0.5, .. }));
        let skipped = serde_json::from_str(r#"{"skipped":"no file"}"#).unwrap();
        assert!(matches!(skipped, Written::Skipped { skipped } if skipped == "no file"));
    }

    #[test]
    fn a_command_knows_its_number_of_threads() {
        let command = pinned(Path::new("program"), 2);
        let variables: Vec<_> = command.get_envs().filter_map(|(_, value)| value).collect();
        assert_eq!(variables, ["2", "2"]);
        if cfg!(target_os = "linux") {
            let words: Vec<_> = command.get_args().collect();
            assert_eq!(words, ["--cpu-list", "0-1", "program"]);
        }
    }
}
