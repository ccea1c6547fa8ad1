//! `cargo xtask fuzz`: reads files that nobody would write.
//!
//! Without more words, libFuzzer changes small good files for as long as it is let, and
//! looks for ways through the code that it has not been yet. What it is linked to is in
//! `crates/ec2t-format/fuzz` and `crates/ec2t-interop/fuzz`, workspaces of their own, which
//! are built as cargo-fuzz would, by the stable compiler. What it has found useful is
//! kept in the target folder, and a run begins with it.
//!
//! `--deterministic` needs no more than cargo: it tries every truncation and every
//! flipped bit of a trained ResNet-20, and a million edits that the same seeds give
//! on any machine; and as many edits of ONNX models.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{cargo, shell};

/// A program that libFuzzer is linked to.
struct Target {
    name: &'static str,
    /// The package in `crates` whose folder `fuzz` has it.
    package: &'static str,
    /// Folders of files in `crates` to begin with, besides those that the target writes.
    begin: &'static [&'static str],
    /// Longest input: twice the files to begin with.
    max_len: usize,
}

/// The targets, in the order in which all of them run.
const TARGETS: [Target; 5] =
    [format("decode"), format("roundtrip"), format("differential"), ONNX, CHECKPOINT];

/// A target that changes the golden files of the format.
const fn format(name: &'static str) -> Target {
    Target { name, package: "ec2t-format", begin: &["ec2t-format/tests/golden"], max_len: 4096 }
}

/// Changes small models of our own and PyTorch's; the larger of these are cut off.
const ONNX: Target = Target {
    name: "onnx",
    package: "ec2t-interop",
    begin: &["ec2t-infer/tests/exported"],
    max_len: 12 << 10,
};

const CHECKPOINT: Target =
    Target { name: "checkpoint", package: "ec2t-interop", begin: &[], max_len: 8 << 10 };

/// What makes the compiler count which ways the code takes, as in cargo-fuzz. There
/// is no address sanitizer: nothing that is fuzzed has `unsafe` in it.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing -Ccodegen-units=1";

/// An input may take so many seconds and the process so many MiB.
const TIMEOUT: u32 = 10;
const MEMORY: u32 = 1024;

/// Read files that nobody would write: by libFuzzer, or by seeded edits
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this target alone
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS.map(|t| t.name)))]
    target: Option<String>,
    /// How many inputs each target tries
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    runs: u64,
    /// Try every truncation and flipped bit of a ResNet-20, and a million edits
    #[arg(long, conflicts_with_all = ["target", "runs"])]
    deterministic: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.deterministic {
        deterministic().into_iter().try_for_each(shell::run)?;
        return Ok(ExitCode::SUCCESS);
    }
    let folders = Folders::find()?;
    for target in TARGETS {
        if args.target.as_ref().is_none_or(|wanted| wanted == target.name) {
            folders.fuzz(&target, args.runs)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The tests that are too long for every day.
fn deterministic() -> [Command; 2] {
    [["ec2t-format", "--test", "format"].as_slice(), &["ec2t-interop", "--lib"]].map(|tests| {
        let mut command = cargo();
        command.args(["test", "--release", "-p"]).args(tests);
        command.args(["--", "--ignored", "--nocapture", "--test-threads=1"]);
        command
    })
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
}

/// Where the targets are, and what they are built for.
struct Folders {
    /// The folder of all packages.
    crates: PathBuf,
    /// Where the targets are built, and what they have found is kept.
    target: PathBuf,
    /// This machine's kind, as the compiler calls it.
    host: String,
}

impl Folders {
    fn find() -> Result<Self> {
        let workspace = cargo::package_folder();
        let workspace = workspace.parent().context("xtask has a parent")?;
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
        let version = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
        let version = String::from_utf8(version.stdout)?;
        Ok(Self {
            crates: workspace.join("crates"),
            target: target.join("fuzz"),
            host: host(&version).context("rustc does not say what its host is")?.to_owned(),
        })
    }

    fn fuzz(&self, target: &Target, runs: u64) -> Result<()> {
        shell::run(self.build(target))?;
        for folder in [self.corpus(target), self.seeds(target), self.faults()] {
            std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        shell::run(self.start(target, runs))
    }

    /// Inputs that have taken new ways.
    fn corpus(&self, target: &Target) -> PathBuf {
        self.target.join("corpus").join(target.name)
    }

    /// Inputs to begin with that the target writes itself.
    fn seeds(&self, target: &Target) -> PathBuf {
        self.target.join("seeds").join(target.name)
    }

    /// Inputs that have gone wrong.
    fn faults(&self) -> PathBuf {
        self.target.join("faults")
    }

    fn build(&self, target: &Target) -> Command {
        let manifest = self.crates.join(target.package).join("fuzz/Cargo.toml");
        let mut command = cargo();
        command.args(["build", "--release", "--locked", "--bin", target.name]);
        command.args(["--target", &self.host]);
        command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(&self.target);
        // The stable compiler takes the options of a nightly one. With a target
        // given, build scripts and macros are built without them.
        command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", COVERAGE);
        command
    }

    fn start(&self, target: &Target, runs: u64) -> Command {
        let program = self.target.join(&self.host).join("release").join(target.name);
        let seeds = self.seeds(target);
        let mut command = Command::new(program);
        command.arg(self.corpus(target)).arg(&seeds).env("EC2T_SEEDS_DIR", &seeds);
        command.args(target.begin.iter().map(|folder| self.crates.join(folder)));
        command.args([format!("-runs={runs}"), format!("-max_len={}", target.max_len)]);
        command.args([format!("-timeout={TIMEOUT}"), format!("-rss_limit_mb={MEMORY}")]);
        command.args(["-print_final_stats=1"]);
        let faults = self.faults().join(target.name);
        command.arg(format!("-artifact_prefix={}-", faults.display()));
        command
    }
}

/// The line `host: …` of `rustc -vV`.
fn host(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_found() {
        assert_eq!(host("rustc 1.95.0\nhost: x86_64-linux\nrelease: 1"), Some("x86_64-linux"));
        assert_eq!(host("rustc 1.95.0"), None);
    }

    #[test]
    fn every_target_has_a_program_and_files() {
        let crates = cargo::package_folder().join("../crates");
        for Target { name, package, begin, .. } in TARGETS {
            let program = crates.join(package).join("fuzz/targets").join(name);
            assert!(program.with_extension("rs").exists(), "{name}");
            assert!(begin.iter().all(|folder| crates.join(folder).is_dir()), "{name}");
        }
    }
}
