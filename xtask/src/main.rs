//! Developer tasks of the workspace: `cargo xtask pipeline`, `bench`, `ci`,
//! `cross`, `cuda`, `fuzz`, `logits`, `miri`, `python`, `slurm`, `tidy` and `wasm`.
//!
//! One file per command; this one only chooses. Nothing here computes: every
//! task runs other programs, prints each of them as it could be typed, and
//! decides what has to run at all.
//!
//! Exit codes: 0 good, 1 a check or a task failed, 2 usage, 130 interrupted; a
//! pipeline whose stage failed passes that stage's code on.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod cache;
mod cargo;
mod ci;
mod cross;
mod cuda;
mod described;
mod fuzz;
mod logits;
mod miri;
mod packages;
mod pipeline;
mod python;
mod shell;
mod slurm;
mod tidy;
mod venv;
mod wasm;

use std::process::ExitCode;

use clap::Parser;

/// Developer tasks of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Cli {
    Pipeline(pipeline::Args),
    Bench(bench::Args),
    Ci(ci::Args),
    Cross(cross::Args),
    Cuda(cuda::Args),
    Fuzz(fuzz::Args),
    Logits(logits::Args),
    Miri(miri::Args),
    Python(python::Args),
    Slurm(slurm::Args),
    Tidy(tidy::Args),
    Wasm(wasm::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse() {
        Cli::Pipeline(args) => pipeline::run(&args),
        Cli::Bench(args) => bench::run(&args),
        Cli::Ci(args) => ci::run(&args),
        Cli::Cross(args) => cross::run(&args),
        Cli::Cuda(args) => cuda::run(&args),
        Cli::Fuzz(args) => fuzz::run(&args),
        Cli::Logits(args) => logits::run(&args),
        Cli::Miri(args) => miri::run(&args),
        Cli::Python(args) => python::run(&args),
        Cli::Slurm(args) => slurm::run(&args),
        Cli::Tidy(args) => tidy::run(&args),
        Cli::Wasm(args) => wasm::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
