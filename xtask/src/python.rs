//! `cargo xtask python`: the Python package, built, installed and tested.
//!
//! maturin, NumPy and pytest are from PyPI, in a virtual environment of the user's cache
//! folder. The wheel is put into `target/wheels`, installed there and compared with the
//! program `ec2t`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::packages::Packages;
use crate::{cargo, shell};

/// What builds the wheel and tests it.
const PACKAGES: Packages = Packages {
    folder: "wheel",
    packages: &["maturin>=1.9,<2", "numpy", "pytest"],
    import: "import maturin, numpy, pytest",
};
/// The model that both run.
const MODEL: &str = "docs/results/models/resnet20-64-s3.ec2t";

/// Build the wheel of the Python package, install it and run its tests
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Python that has maturin, NumPy and pytest, to use as it is
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let python = PACKAGES.python(args.python.as_deref())?;
    let program = cargo::build(&["build", "-p", "ec2t-cli"], "ec2t")?;
    let workspace = cargo::package_folder().join("..").canonicalize()?;
    let package = workspace.join("crates/ec2t-py");
    let target = program.ancestors().nth(2).context("no target folder")?;
    let wheels = target.join("wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels).with_context(|| wheels.display().to_string())?;
    }

    let mut build = Command::new(&python);
    build.args(["-m", "maturin", "build", "--release", "--locked", "--quiet"]);
    build.arg("--interpreter").arg(&python).arg("--out").arg(&wheels);
    build.current_dir(&package).env("CARGO_TARGET_DIR", target.join("python"));
    shell::run(build)?;

    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.args(["--force-reinstall", "--no-deps", "--no-index", "--find-links"]);
    install.arg(&wheels).arg("ec2t");
    shell::run(install)?;

    let mut test = Command::new(&python);
    test.args(["-m", "pytest", "-p", "no:cacheprovider"]).current_dir(&package);
    test.env("EC2T_PROGRAM", &program).env("EC2T_MODEL", workspace.join(MODEL));
    shell::run(test)?;
    Ok(ExitCode::SUCCESS)
}
