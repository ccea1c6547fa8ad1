//! `cargo xtask ci`: the checks that every change has to pass.
//!
//! The steps are plain commands. Each is printed before it runs, so that a
//! failing one can be repeated alone; the first failure ends the run.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;

/// The command that runs all tests. The README names the same one, which
/// `tidy` checks.
pub(crate) const TEST: &str = "cargo test --workspace";

struct Step {
    name: &'static str,
    env: &'static [(&'static str, &'static str)],
    command: &'static str,
}

const STEPS: [Step; 7] = [
    Step { name: "fmt", env: &[], command: "cargo fmt --all --check" },
    Step { name: "tidy", env: &[], command: "cargo xtask tidy" },
    Step {
        name: "clippy",
        env: &[],
        command: "cargo clippy --workspace --all-targets -- -D warnings",
    },
    Step {
        name: "doc",
        env: &[("RUSTDOCFLAGS", "-Dwarnings")],
        command: "cargo doc --workspace --no-deps",
    },
    // A workspace of its own, with a lock file of its own.
    Step {
        name: "python",
        env: &[],
        command: "cargo clippy --locked --manifest-path crates/ec2t-py/Cargo.toml -- -D warnings",
    },
    Step { name: "test", env: &[], command: TEST },
    Step { name: "instructions", env: &[], command: "cargo xtask bench instructions" },
];

/// Run the checks that every change has to pass.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run this step alone
    #[arg(long, value_name = "STEP", value_parser = step_names())]
    only: Option<String>,
}

fn step_names() -> PossibleValuesParser {
    PossibleValuesParser::new(STEPS.map(|step| step.name))
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    for step in &STEPS {
        if args.only.as_ref().is_some_and(|only| only != step.name) {
            continue;
        }
        println!("$ {}", step.line());
        let begun = Instant::now();
        let passed = step.run()?;
        let outcome = if passed { "passed" } else { "failed" };
        println!("{}: {outcome} ({:.1} s)", step.name, begun.elapsed().as_secs_f64());
        if !passed {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Step {
    /// The step as a user would type it.
    fn line(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={value} "));
        env.chain([self.command.to_owned()]).collect()
    }

    fn run(&self) -> Result<bool> {
        let mut words = self.command.split(' ');
        let program = words.next().context("empty command")?;
        let status = Command::new(program).args(words).envs(self.env.iter().copied()).status();
        Ok(status.with_context(|| format!("cannot start {program}"))?.success())
    }
}

#[cfg(test)]
mod tests {
    use super::STEPS;

    #[test]
    fn a_step_is_printed_with_its_environment() {
        let lines = STEPS.map(|step| step.line());
        assert_eq!(lines[0], "cargo fmt --all --check");
        assert_eq!(lines[3], "RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps");
    }
}
