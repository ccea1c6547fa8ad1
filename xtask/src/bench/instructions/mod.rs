//! `cargo xtask bench instructions`: whether kernels execute more instructions than before.
//!
//! Times of a shared machine differ from one minute to the next; the number of
//! instructions does not, so that a kernel that became slower by doing more shows in
//! any run. A program of fixed work ([`ROWS`]) runs under Valgrind, which counts what
//! each row executes with each instruction set that it knows (no AVX-512). A row that
//! is more than three per cent above the stored count fails.
//!
//! A count depends on the compiler, whose version is stored with it. With another
//! compiler, rows are compared relative to the baseline, a convolution in plain Rust,
//! and the bound is wider: such a comparison finds loops that are no longer vectorized,
//! or work that is done twice, no more.
//!
//! | module | does |
//! |---|---|
//! | [`callgrind`] | runs the program and reads what was counted |
//! | [`expected`] | the stored counts, and the comparison with them |

mod callgrind;
mod expected;

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::cargo;
use expected::{Comparison, Expected};

/// The program's sources, from the workspace; the counts are stored beside them.
const ROWS: &str = "crates/ec2t-kernels/benches/instructions";

/// Count the instructions of kernels, and compare with the stored counts.
///
/// Needs Valgrind, and is skipped without it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Store what is counted now
    #[arg(long)]
    bless: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !callgrind::is_installed()? {
        let missing = "Valgrind counts instructions, and there is none (package `valgrind`)";
        return match args.bless {
            true => bail!(missing),
            false => {
                println!("skipped: {missing}");
                Ok(ExitCode::SUCCESS)
            }
        };
    }
    let words = ["bench", "--package", "ec2t-kernels", "--bench", "instructions", "--no-run"];
    let counts = callgrind::count(&cargo::build(&words, "instructions")?)?;
    let found = Expected { rustc: rustc_version()?, counts };
    let path = stored()?;
    if args.bless {
        return found.write(&path).map(|()| ExitCode::SUCCESS);
    }
    let comparison = Comparison::new(&Expected::read(&path)?, &found);
    print!("{comparison}");
    match comparison.passed() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

fn stored() -> Result<PathBuf> {
    let package = cargo::package_folder();
    let workspace = package.parent().context("xtask has a parent")?;
    Ok(workspace.join(ROWS).join("expected.json"))
}

/// What the compiler calls itself.
fn rustc_version() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let output = Command::new(rustc).arg("--version").output().context("cannot start rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
