//! `cargo xtask cross`: tests on other targets, compiled and run here.
//!
//! For Debian on x86-64, where no second toolchain need be installed: Debian's own
//! Rust compiler and what it needs are unpacked into the user's cache folder, a
//! gigabyte or more for each target. That the tests pass proves correctness; it says
//! nothing of speed.
//!
//! | module | target | run by |
//! |---|---|---|
//! | [`aarch64`] | AArch64, instruction set `neon` | QEMU |
//! | [`wasm`] | WebAssembly, `simd128` | Node |
//!
//! [`debian`] downloads and unpacks.

mod aarch64;
mod debian;
pub(crate) mod wasm;

use std::env;
use std::process::{Command, ExitCode};

use anyhow::Result;

/// Test the vector code on AArch64 (NEON) and WebAssembly; on Debian, x86-64
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Test on this target alone
    #[arg(long, value_enum)]
    only: Option<Target>,
    /// What to pass to `cargo test`, such as `-p ec2t-kernels arch::`
    /// [default: the packages with vector code]
    #[arg(last = true)]
    words: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Target {
    Aarch64,
    Wasm,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    for target in [Target::Aarch64, Target::Wasm] {
        if args.only.is_some_and(|only| only != target) {
            continue;
        }
        match target {
            Target::Aarch64 => aarch64::test(&args.words)?,
            Target::Wasm => wasm::test(&args.words)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The tests of `packages`, or what is in `words`, for a target.
fn cargo_test(target: &str, packages: &[&str], words: &[String]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    // Not the examples in documentation: they would need Debian's rustdoc.
    command.args(["test", "--target", target, "--lib", "--tests"]);
    match words {
        [] => command.args(packages),
        words => command.args(words),
    };
    command
}

/// The name of a variable that cargo takes a setting of a target from.
fn variable(target: &str, setting: &str) -> String {
    format!("CARGO_TARGET_{}_{setting}", target.to_uppercase().replace('-', "_"))
}
