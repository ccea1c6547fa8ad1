//! `cargo xtask fuzz`: reads files that nobody would write.
//!
//! Without more words, libFuzzer changes the golden files of the format for as long
//! as it is let, and looks for ways through the code that it has not been yet. What
//! it is linked to is in `crates/ec2t-format/fuzz`, a workspace of its own, which is
//! built as cargo-fuzz would, by the stable compiler. What it has found useful is
//! kept in the target folder, and a run begins with it.
//!
//! `--deterministic` needs no more than cargo: it tries every truncation and every
//! flipped bit of a trained ResNet-20, and a million edits that the same seeds give
//! on any machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{cargo, shell};

/// The targets, in the order in which all of them run.
const TARGETS: [&str; 3] = ["decode", "roundtrip", "differential"];

/// What makes the compiler count which ways the code takes, as in cargo-fuzz. There
/// is no address sanitizer: nothing that is fuzzed has `unsafe` in it.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing -Ccodegen-units=1";

/// Longest input: twice the golden files.
const MAX_LEN: usize = 4096;
/// An input may take so many seconds and the process so many MiB.
const TIMEOUT: u32 = 10;
const MEMORY: u32 = 1024;

/// Read files that nobody would write: by libFuzzer, or by seeded edits
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this target alone
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
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
        shell::run(deterministic())?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = Folder::find()?;
    for target in TARGETS {
        if args.target.as_ref().is_none_or(|wanted| wanted == target) {
            folder.fuzz(target, args.runs)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The tests that are too long for every day.
fn deterministic() -> Command {
    let mut command = cargo();
    command.args(["test", "--release", "-p", "ec2t-format", "--test", "format"]);
    command.args(["--", "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
}

/// Where the targets are, and what they are built for.
struct Folder {
    /// The folder of the format's package.
    package: PathBuf,
    /// Where the targets are built, and what they have found is kept.
    target: PathBuf,
    /// This machine's kind, as the compiler calls it.
    host: String,
}

impl Folder {
    fn find() -> Result<Self> {
        let workspace = cargo::package_folder();
        let workspace = workspace.parent().context("xtask has a parent")?;
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
        let version = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
        let version = String::from_utf8(version.stdout)?;
        Ok(Self {
            package: workspace.join("crates/ec2t-format"),
            target: target.join("fuzz"),
            host: host(&version).context("rustc does not say what its host is")?.to_owned(),
        })
    }

    fn fuzz(&self, target: &str, runs: u64) -> Result<()> {
        shell::run(self.build(target))?;
        let (corpus, faults) = (self.corpus(target), self.target.join("faults"));
        for folder in [&corpus, &faults] {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        shell::run(self.start(target, runs, &corpus, &faults))
    }

    /// Inputs that have taken new ways.
    fn corpus(&self, target: &str) -> PathBuf {
        self.target.join("corpus").join(target)
    }

    fn build(&self, target: &str) -> Command {
        let manifest = self.package.join("fuzz/Cargo.toml");
        let mut command = cargo();
        command.args(["build", "--release", "--locked", "--bin", target, "--target", &self.host]);
        command.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(&self.target);
        // The stable compiler takes the options of a nightly one. With a target
        // given, build scripts and macros are built without them.
        command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", COVERAGE);
        command
    }

    fn start(&self, target: &str, runs: u64, corpus: &Path, faults: &Path) -> Command {
        let program = self.target.join(&self.host).join("release").join(target);
        let mut command = Command::new(program);
        command.arg(corpus).arg(self.package.join("tests/golden"));
        command.args([format!("-runs={runs}"), format!("-max_len={MAX_LEN}")]);
        command.args([format!("-timeout={TIMEOUT}"), format!("-rss_limit_mb={MEMORY}")]);
        command.args(["-print_final_stats=1"]);
        command.arg(format!("-artifact_prefix={}/{target}-", faults.display()));
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
    fn every_target_has_a_program() {
        let package = cargo::package_folder();
        let fuzz = package.join("../crates/ec2t-format/fuzz");
        for target in TARGETS {
            assert!(fuzz.join("targets").join(target).with_extension("rs").exists(), "{target}");
        }
    }
}
