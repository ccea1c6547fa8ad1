//! Packages from PyPI, in virtual environments.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// The interpreter of a virtual environment.
pub(crate) fn python(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// Makes a virtual environment anew, with these packages. What the programs print
/// goes to stderr.
///
/// # Errors
/// Where there is no Python, or a package can't be had.
pub(crate) fn install(folder: &Path, packages: &[&str]) -> Result<()> {
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(folder).stdout(io::stderr());
    shell::run(make)?;
    let mut install = Command::new(python(folder));
    install.args(["-m", "pip", "install", "--disable-pip-version-check"]).args(packages);
    install.stdout(io::stderr());
    shell::run(install)
}
