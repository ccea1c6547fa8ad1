//! The programs of a comparison: they run, give our output, and then take their time.
//!
//! Our side writes each network, input and output to a folder for the others to
//! read. Each program is a process of its own, on one thread and, on Linux, on the
//! same processor; only one works at a time. It has to give our output before any time
//! is taken; then all have their rounds in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::super::machine::first_processor;
use super::super::measured::{Measured, in_turn};
use super::super::peer::{Milliseconds, Peer};
use super::result::{Difference, Ran};
use super::row::{Others, Program, Row, Work};
use crate::cargo;
use crate::packages::Packages;

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

/// What becomes of a row.
pub(super) enum Outcome {
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
pub(super) struct Sides {
    /// The program of our side.
    ours: Vec<PathBuf>,
    /// The interpreter and the script of the others.
    others: Vec<PathBuf>,
    folder: TempDir,
    rounds: usize,
    peers: BTreeMap<Side, Peer>,
    versions: BTreeSet<String>,
}

impl Sides {
    /// Builds our side, and finds or installs the others, for that many rounds.
    pub(super) fn new(python: Option<&Path>, rounds: usize) -> Result<Self> {
        let python = PEERS.python(python)?;
        let words = ["bench", "--package", "ec2t-infer", "--bench", "peers", "--no-run"];
        Ok(Self {
            ours: vec![cargo::build(&words, "peers")?],
            others: vec![python, cargo::package_folder().join("peers/inference.py")],
            folder: tempfile::tempdir().context("no folder for networks")?,
            rounds,
            peers: BTreeMap::new(),
            versions: BTreeSet::new(),
        })
    }

    /// What those that ever ran say they are.
    pub(super) fn versions(&self) -> impl Iterator<Item = String> {
        self.versions.iter().cloned()
    }

    /// Ends all processes; those that are needed again start anew. After a failure some
    /// are gone, or in the middle of something.
    pub(super) fn end(&mut self) {
        self.peers.clear();
    }

    /// Checks the outputs of all who take part in a row, then takes their times.
    ///
    /// # Errors
    /// Where one of them fails or its output is not ours.
    pub(super) fn measure(&mut self, row: &Row) -> Result<Outcome> {
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

    fn ask<A: DeserializeOwned>(&mut self, side: Side, request: &str) -> Result<A> {
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
                let mut command = pinned(&self.ours, threads);
                command.arg("--serve").arg(self.folder.path());
                ("ec2t", threads, command)
            }
            Side::Program(word) => {
                let mut command = pinned(&self.others, 1);
                command.arg(word).arg(self.folder.path());
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

/// A command that runs on so many threads. Where Linux tells which, a single one stays
/// on the first of the processors.
fn pinned(words: &[PathBuf], threads: usize) -> Command {
    let processor = first_processor().filter(|_| threads == 1);
    let pin = processor.map(|processor| ["taskset", "--cpu-list", &processor].map(PathBuf::from));
    let mut words = pin.into_iter().flatten().chain(words.iter().cloned());
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    let number = threads.to_string();
    command.env("RAYON_NUM_THREADS", &number).env("OMP_NUM_THREADS", &number);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_side_writes_is_a_work_or_a_reason() {
        let work = serde_json::from_str(r#"{"zeros":0.5,"images":"random"}"#).unwrap();
        assert!(matches!(work, Written::Work { zeros: 0.5, .. }));
        let skipped = serde_json::from_str(r#"{"skipped":"no file"}"#).unwrap();
        assert!(matches!(skipped, Written::Skipped { skipped } if skipped == "no file"));
    }

    #[test]
    fn a_command_knows_its_number_of_threads() {
        for threads in [1, 2] {
            let command = pinned(&["program".into()], threads);
            let variables: Vec<_> = command.get_envs().filter_map(|(_, value)| value).collect();
            assert_eq!(variables, [threads.to_string().as_str(); 2]);
            let is_pinned = command.get_program() == "taskset";
            assert_eq!(is_pinned, threads == 1 && first_processor().is_some());
        }
    }
}

/// Comparisons with scripts for programs.
#[cfg(all(test, unix))]
mod fakes {
    use super::super::row::rows;
    use super::*;

    /// Our side, which has all networks but the authors' and takes 2 ms.
    const EC2T: &str = r#"
echo '{"peer":"ec2t fake","threads":'$RAYON_NUM_THREADS'}'
while read verb network images; do
    case "$verb $network" in
        write*authors) echo '{"skipped":"no checkpoint"}' ;;
        write*) echo '{"zeros":0.5,"images":"random"}' ;;
        calibrate*) echo '{"images":256}' ;;
        time*) echo '{"milliseconds":2.0}' ;;
    esac
done
"#;

    /// Another program, which takes 6 ms, has a wrong output for one image of
    /// `resnet20-73`, and ends where it is to run `rectifier`.
    const PROGRAM: &str = r#"
echo '{"peer":"'$1' fake","threads":1}'
while read verb network images; do
    case "$verb $network" in
        "check resnet20-73") echo '{"error":0.5,"largest":10.0}' ;;
        "check rectifier") echo no such operator >&2; exit 1 ;;
        check*) echo '{"error":0.0001,"largest":10.0}' ;;
        time*) echo '{"milliseconds":6.0}' ;;
    esac
done
"#;

    /// A comparison of these two, whose files are in the folder.
    fn sides(folder: TempDir) -> Sides {
        let script = |name, text| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            vec!["sh".into(), path]
        };
        Sides {
            ours: script("ours", EC2T),
            others: script("others", PROGRAM),
            folder,
            rounds: 3,
            peers: BTreeMap::new(),
            versions: BTreeSet::new(),
        }
    }

    fn measure(sides: &mut Sides, name: &str) -> Result<Outcome> {
        let row = rows().into_iter().find(|row| row.name == name).unwrap();
        sides.measure(&row)
    }

    #[test]
    fn all_programs_have_their_rounds() {
        let mut sides = sides(tempfile::tempdir().unwrap());
        let Outcome::Ran(ran) = measure(&mut sides, "resnet20-64").unwrap() else {
            panic!("skipped");
        };
        assert_eq!((ran.zeros, ran.images.as_str()), (0.5, "random"));
        assert_eq!(ran.measured.ratio.median, 3.0);
        let series: Vec<_> =
            ran.measured.series.iter().map(|s| (&*s.label, s.rounds.len())).collect();
        assert_eq!(series.len(), 1 + ran.differences.len());
        assert!(series.contains(&("ec2t", 3)) && series.contains(&("ncnn", 3)), "{series:?}");
        assert!(sides.versions.contains("mnn-sparse fake"), "{:?}", sides.versions);
    }

    #[test]
    fn threads_are_compared_on_our_side_alone() {
        let mut sides = sides(tempfile::tempdir().unwrap());
        let Outcome::Ran(ran) = measure(&mut sides, "resnet20-64-threads").unwrap() else {
            panic!("skipped");
        };
        let labels: Vec<_> = ran.measured.series.iter().map(|series| &*series.label).collect();
        assert_eq!(labels, ["2 threads", "1 thread"]);
        assert_eq!(sides.versions.len(), 1);
    }

    #[test]
    fn a_network_that_is_not_there_is_skipped() {
        let mut sides = sides(tempfile::tempdir().unwrap());
        let outcome = measure(&mut sides, "resnet20-64-authors").unwrap();
        assert!(matches!(outcome, Outcome::Skipped(reason) if reason == "no checkpoint"));
    }

    #[test]
    fn nothing_is_timed_where_outputs_differ() {
        let mut sides = sides(tempfile::tempdir().unwrap());
        let error = measure(&mut sides, "resnet20-73").err().unwrap().to_string();
        assert_eq!(error, "onnxruntime differs by 5.0e-1, allowed are 1.0e-3");
        let error = measure(&mut sides, "rectifier").err().unwrap().to_string();
        assert!(
            error.contains("onnxruntime ended while working on `check rectifier 1`"),
            "{error}"
        );
        assert!(error.ends_with("no such operator"), "{error}");
    }
}
