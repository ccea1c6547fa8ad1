//! A Python that has PyTorch.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, venv};

/// What is installed where there is none.
const PACKAGES: [&str; 2] = ["torch==2.15.0", "numpy"];

/// The interpreter `given`, else that of a virtual environment in the user's cache
/// folder, which is made where it has no PyTorch.
pub(crate) fn python(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(python) = given {
        if let Err(reason) = import(python) {
            bail!("{} can't import torch: {reason}", python.display());
        }
        return Ok(python.to_owned());
    }
    let folder = cache::folder()?.join("torch");
    let python = venv::python(&folder);
    if import(&python).is_err() {
        install(&folder, &python)?;
    }
    Ok(python)
}

/// Whether PyTorch is there; else the last line of what Python says.
fn import(python: &Path) -> Result<(), String> {
    let output = Command::new(python).args(["-c", "import torch, numpy"]).output();
    let output = output.map_err(|error| error.to_string())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(()),
        false => Err(errors.trim_end().lines().last().unwrap_or_default().into()),
    }
}

fn install(folder: &Path, python: &Path) -> Result<()> {
    venv::install(folder, &PACKAGES)
        .context("no PyTorch; name a Python that has it with --python")?;
    import(python).map_err(|reason| anyhow::anyhow!("PyTorch is installed, but: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_that_is_not_there_is_named() {
        let error = python(Some(Path::new("no-such-python"))).unwrap_err().to_string();
        assert!(error.contains("no-such-python can't import torch: "), "{error}");
    }
}
