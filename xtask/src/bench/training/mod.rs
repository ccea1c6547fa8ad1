//! `cargo xtask bench training`: our training on the CPU beside PyTorch's.
//!
//! Both sides are processes that live as long as the comparison and work on
//! request, each while the others wait. Every row begins with a round that is not
//! counted; then all contenders have their round in turn, again and again. No
//! round is left out.

mod result;
mod work;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::measured::{Measured, in_turn};
use super::peer::{Milliseconds, Peer};
use super::{report, table};
use crate::cargo;
use crate::packages::Packages;
use result::{Trained, summary};
use work::{Contender, Kind, ROWS, Row, Side, TUNED_MALLOC};

const TORCH: Packages = Packages {
    folder: "torch",
    packages: &["torch==2.15.0", "numpy"],
    import: "import torch, numpy",
};

/// How often a process that is to show its memory does a round: the first one
/// fills pools that later ones use.
const MEMORY_ROUNDS: usize = 2;

/// Compare training on the CPU with PyTorch.
///
/// Takes some minutes, and a machine that does nothing else. PyTorch is installed
/// into a virtual environment in the user's cache folder where it is not there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure this row alone; may be given many times
    #[arg(long, value_name = "NAME", value_parser = row_names())]
    only: Vec<String>,
    /// Rounds of each contender
    #[arg(long, value_name = "N", default_value = "10")]
    rounds: NonZero<usize>,
    /// Threads of each contender [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// A Python that has PyTorch
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Write all rounds to this file, or to stdout in place of the tables
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

fn row_names() -> PossibleValuesParser {
    PossibleValuesParser::new(ROWS.iter().map(|row| row.name))
}

/// All that is written as JSON.
#[derive(Serialize)]
struct Report {
    threads: usize,
    rounds: usize,
    machine: Machine,
    peers: Vec<String>,
    rows: Vec<Trained>,
}

/// What a peer says of a round.
#[derive(Deserialize)]
struct Answer {
    /// Mean time of a repetition.
    milliseconds: Milliseconds,
    /// Trained parameters of the network.
    parameters: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let cores = || std::thread::available_parallelism();
    let threads = args.threads.map_or_else(cores, Ok).context("no number of cores")?.get();
    let mut bench = Bench::new(args, threads)?;
    let machine = Machine::look();
    let mut rows = Vec::new();
    for row in &ROWS {
        if args.only.is_empty() || args.only.iter().any(|name| name == row.name) {
            rows.extend(bench.measure(row)?);
        }
    }
    let (rounds, peers) = (args.rounds.get(), bench.names());
    let head = format!("\n{rounds} rounds, {threads} threads; {}\n\n", peers.join("; "));
    let details = table::details(rows.iter().map(|row| &row.measured));
    let text = format!("{head}{}\n{details}", summary(&rows));
    report::write(&Report { threads, rounds, machine, peers, rows }, args.json.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The processes that take part.
struct Bench {
    ec2t: PathBuf,
    python: PathBuf,
    script: PathBuf,
    threads: usize,
    rounds: usize,
    /// Those that run, by side and threads.
    peers: BTreeMap<(Side, usize), Peer>,
}

impl Bench {
    fn new(args: &Args, threads: usize) -> Result<Self> {
        let python = TORCH.python(args.python.as_deref())?;
        let words = ["bench", "--package", "ec2t-quant", "--bench", "training", "--no-run"];
        let ec2t = cargo::build(&words, "training")?;
        let script = cargo::package_folder().join("peers/training.py");
        let rounds = args.rounds.get();
        Ok(Self { ec2t, python, script, threads, rounds, peers: BTreeMap::new() })
    }

    fn start(&self, side: Side, threads: usize) -> Result<Peer> {
        let mut command = match side {
            Side::Ec2t => Command::new(&self.ec2t),
            Side::Torch | Side::TunedTorch => Command::new(&self.python),
        };
        let number = threads.to_string();
        let name = match side {
            Side::Ec2t => {
                command.arg("--serve").env("RAYON_NUM_THREADS", number);
                "ec2t"
            }
            Side::Torch => {
                command.arg(&self.script).env("OMP_NUM_THREADS", number);
                "PyTorch"
            }
            Side::TunedTorch => {
                command.arg(&self.script).env("OMP_NUM_THREADS", number).envs(TUNED_MALLOC);
                "PyTorch (malloc tuned)"
            }
        };
        let peer = Peer::start(name, command)?;
        let found = peer.hello.threads;
        match found == threads {
            true => Ok(peer),
            false => bail!("{name} was to use {threads} threads, but uses {found}"),
        }
    }

    /// What the peers say they are.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.peers.values().map(|peer| peer.hello.peer.clone()).collect();
        names.dedup();
        names
    }

    fn measure(&mut self, row: &Row) -> Result<Vec<Trained>> {
        let contenders = row.kind.contenders(self.threads);
        eprintln!("{}: {}", row.name, row.title);
        match row.kind {
            Kind::Memory(_) if cfg!(not(target_os = "linux")) => {
                eprintln!("{}: skipped, since only Linux tells", row.name);
                Ok(Vec::new())
            }
            Kind::Memory(_) => self.memory(row, &contenders),
            _ => Ok(vec![self.time(row, &contenders)?]),
        }
    }

    fn time(&mut self, row: &Row, contenders: &[Contender]) -> Result<Trained> {
        let mut parameters = None;
        let series = in_turn(contenders, self.rounds, |contender| {
            let answer: Answer = self.peer(contender)?.ask(&contender.request)?;
            let expected = *parameters.get_or_insert(answer.parameters);
            if answer.parameters != expected {
                let (label, found) = (&contender.label, answer.parameters);
                bail!(
                    "{}: {label} has {found} parameters, {} {expected}: not the same work",
                    row.name,
                    contenders[0].label,
                );
            }
            Ok(answer.milliseconds.0)
        })?;
        let labels = contenders.iter().map(|contender| contender.label.clone());
        let series = labels.zip(series).collect();
        let Row { name, title, kind, images } = *row;
        let measured = Measured::new(name, title, "ms", series, kind.others_over_first());
        Ok(match images {
            Some((images, cifar)) => Trained::with_images(measured, images, cifar),
            None => measured.into(),
        })
    }

    fn peer(&mut self, contender: &Contender) -> Result<&mut Peer> {
        let key = (contender.side, contender.threads);
        if !self.peers.contains_key(&key) {
            let peer = self.start(contender.side, contender.threads)?;
            self.peers.insert(key, peer);
        }
        self.peers.get_mut(&key).context("a peer that was just started")
    }

    /// Peak memory of fresh processes: all of it, and what is over that of a
    /// process which has loaded its code and done nothing yet.
    fn memory(&self, row: &Row, contenders: &[Contender]) -> Result<Vec<Trained>> {
        let (mut whole, mut over) = (Vec::new(), Vec::new());
        for Contender { label, side, threads, request } in contenders {
            let mut peer = self.start(*side, *threads)?;
            let loaded = peer.memory("VmRSS")?;
            for _ in 0..MEMORY_ROUNDS {
                peer.ask::<Answer>(request)?;
            }
            let peak = peer.memory("VmHWM")?;
            let mebibytes = |kibibytes: u64| vec![kibibytes as f64 / 1024.0];
            whole.push((label.clone(), mebibytes(peak)));
            over.push((label.clone(), mebibytes(peak.saturating_sub(loaded))));
        }
        let (name, title) = (row.name, row.title);
        Ok(vec![
            Measured::new(name, format!("{title}, without the code"), "MiB", over, false).into(),
            Measured::new(name, format!("{title}, whole process"), "MiB", whole, false).into(),
        ])
    }
}
