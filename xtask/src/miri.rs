//! `cargo xtask miri`: whether plain Rust in `ec2t-kernels` has undefined behaviour.
//!
//! Miri interprets tests and checks each access to memory; it knows no vector
//! instructions of CPUs, so it sees the portable vectors and what is built on them.
//! It is a part of the nightly toolchain, and thousands of times slower than the CPU:
//! the long tables of shapes are left out, and random tests have few cases.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, ensure};

use crate::shell;

/// Interpret the tests of the kernels in plain Rust, by Miri of a nightly toolchain
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    let mut version = miri();
    let found = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(
        found.is_ok_and(|status| status.success()),
        "there is no Miri; `rustup toolchain install nightly --component miri,rust-src` installs it"
    );
    shell::run(test())?;
    Ok(ExitCode::SUCCESS)
}

fn miri() -> Command {
    // Rustup's cargo, not the one of the toolchain that runs this program.
    let mut command = Command::new("cargo");
    command.args(["+nightly", "miri"]);
    command
}

fn test() -> Command {
    let mut command = miri();
    command
        .args(["test", "--package", "ec2t-kernels", "--lib", "--test", "against_reference"])
        .args(["--", "--skip", "every_", "--skip", "several_blocks"])
        .env("EC2T_ISA", "portable")
        .env("PROPTEST_CASES", "4")
        // Tests read variables, and proptest the file of earlier failures.
        .env("MIRIFLAGS", "-Zmiri-disable-isolation");
    command
}

#[cfg(test)]
mod tests {
    use super::test;

    #[test]
    fn the_tests_are_those_of_plain_rust() {
        let command = test();
        assert!(command.get_args().any(|word| word == "ec2t-kernels"));
        let mut variables = command.get_envs();
        let isa = variables.find_map(|(name, value)| (name == "EC2T_ISA").then_some(value?));
        assert_eq!(isa.unwrap(), "portable");
    }
}
