//! The command `ec2t`.
//!
//! One file per command in [`commands`]; this one picks it and turns its
//! result into an exit code: 0 good, 1 a check failed, 2 usage, 3 bad file,
//! 130 interrupted. Data go to stdout, talk to stderr.
#![forbid(unsafe_code)]

mod command_log;
mod commands;
mod config;
mod convert;
mod disturbance;
mod engine;
mod exit;
mod fit;
mod grow;
mod machine;
mod new_run;
mod output;
mod precision;
mod progress;
mod python;
mod report;
mod run_dir;
mod search;
mod shell;
mod sweep;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use ec2t_kernels::arch::{ISA_VARIABLE, Isa};
use tracing::level_filters::LevelFilter;

/// Sparse ternary convolutional networks: train, ternarize, store, run.
#[derive(Parser)]
#[command(name = "ec2t", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
    /// Tell more about what happens.
    #[arg(short, long, global = true)]
    verbose: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.verbose { LevelFilter::DEBUG } else { LevelFilter::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let checked = if cli.command.is_doctor() { Ok(()) } else { check_instructions() };
    match checked.and_then(|()| cli.command.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

/// Refuses an instruction set that can't be used, which libraries pass over.
fn check_instructions() -> Result<()> {
    Isa::from_env().map_err(|error| exit::Usage(format!("{ISA_VARIABLE}: {error}")))?;
    Ok(())
}
