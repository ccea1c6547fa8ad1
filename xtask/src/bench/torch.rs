//! A Python that has PyTorch.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

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
    let folder = cache(env::var_os("XDG_CACHE_HOME"), env::home_dir())?.join("ec2t/torch");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if import(&python).is_err() {
        install(&folder, &python)?;
    }
    Ok(python)
}

/// The user's cache folder, as `.ci/run` finds it.
fn cache(xdg: Option<impl Into<PathBuf>>, home: Option<PathBuf>) -> Result<PathBuf> {
    let xdg = xdg.map(Into::into).filter(|path| !path.as_os_str().is_empty());
    let cache = xdg.or_else(|| Some(home?.join(".cache")));
    cache.context("no home folder to keep PyTorch in; set XDG_CACHE_HOME")
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
    let folder = folder.to_string_lossy();
    run("python3", &["-m", "venv", "--clear", &folder])
        .context("no virtual environment; name a Python that has PyTorch with --python")?;
    let python = python.to_string_lossy();
    let words = ["-m", "pip", "install", "--disable-pip-version-check"];
    run(&python, &[&words[..], &PACKAGES].concat())?;
    import(Path::new(&*python))
        .map_err(|reason| anyhow::anyhow!("PyTorch is installed, but: {reason}"))
}

/// Runs a command that talks to the user.
fn run(program: &str, words: &[&str]) -> Result<()> {
    let line = shell::line([program].iter().chain(words));
    eprintln!("$ {line}");
    let mut command = Command::new(program);
    let status = command.args(words).stdout(std::io::stderr()).status();
    let status = status.with_context(|| format!("cannot start {program}"))?;
    match status.success() {
        true => Ok(()),
        false => bail!("`{line}` failed ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let home = || Some(PathBuf::from("me"));
        assert_eq!(cache(Some("c"), home()).unwrap(), Path::new("c"));
        assert_eq!(cache(Some(""), home()).unwrap(), Path::new("me").join(".cache"));
        assert_eq!(cache(None::<&str>, home()).unwrap(), Path::new("me").join(".cache"));
        let error = cache(None::<&str>, None).unwrap_err().to_string();
        assert!(error.contains("XDG_CACHE_HOME"), "{error}");
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_named() {
        let error = python(Some(Path::new("no-such-python"))).unwrap_err().to_string();
        assert!(error.contains("no-such-python can't import torch: "), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_fails_is_repeated_in_full() {
        let error = run("sh", &["-c", "exit 4"]).unwrap_err().to_string();
        assert_eq!(error, "`sh -c 'exit 4'` failed (exit status: 4)");
    }
}
