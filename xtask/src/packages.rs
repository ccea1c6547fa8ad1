//! A Python that has other programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, venv};

/// Packages of PyPI that belong together.
pub(crate) struct Packages {
    /// Folder of their virtual environment, in the user's cache folder.
    pub(crate) folder: &'static str,
    /// What is installed where they are not there.
    pub(crate) packages: &'static [&'static str],
    /// A statement that fails where one of them is missing.
    pub(crate) import: &'static str,
}

impl Packages {
    /// The interpreter `given`, else that of the virtual environment, which is made
    /// where it is not there or not whole.
    pub(crate) fn python(&self, given: Option<&Path>) -> Result<PathBuf> {
        if let Some(python) = given {
            if let Err(reason) = self.import(python) {
                bail!("{} can't `{}`: {reason}", python.display(), self.import);
            }
            return Ok(python.to_owned());
        }
        let folder = cache::folder()?.join(self.folder);
        let python = venv::python(&folder);
        if self.import(&python).is_err() {
            self.install(&folder, &python)?;
        }
        Ok(python)
    }

    /// Whether all packages are there; else the last line of what Python says.
    fn import(&self, python: &Path) -> Result<(), String> {
        let output = Command::new(python).args(["-c", self.import]).output();
        let output = output.map_err(|error| error.to_string())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(()),
            false => Err(errors.trim_end().lines().last().unwrap_or_default().into()),
        }
    }

    fn install(&self, folder: &Path, python: &Path) -> Result<()> {
        let all = self.packages.join(", ");
        venv::install(folder, self.packages)
            .with_context(|| format!("no {all}; name a Python that has them with --python"))?;
        self.import(python).map_err(|reason| anyhow::anyhow!("{all} are installed, but: {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_that_is_not_there_is_named() {
        let packages = Packages { folder: "none", packages: &[], import: "import numpy" };
        let error = packages.python(Some(Path::new("no-such-python"))).unwrap_err().to_string();
        assert!(error.contains("no-such-python can't `import numpy`: "), "{error}");
    }
}
