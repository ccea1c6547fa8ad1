//! `cargo xtask cuda`: type-checks what is compiled for NVIDIA GPUs only.
//!
//! Needs no GPU, and no CUDA of the system: compiler and headers come from PyPI,
//! into a virtual environment in the user's cache folder. All of candle's kernels
//! are compiled, which takes ten minutes the first time. With `--stand-in` a script
//! takes the compiler's place: it writes empty files, which is enough for Rust's
//! types. Not one of the gate's checks, because of its downloads.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::{cache, shell, venv};

/// Compiler and headers. Their minor versions must be the same.
const PACKAGES: [&str; 6] = [
    "nvidia-cuda-nvcc==13.2.*",
    "nvidia-cuda-crt==13.2.*",
    "nvidia-nvvm==13.2.*",
    "nvidia-cuda-runtime==13.2.*",
    "nvidia-cuda-cccl==13.3.*",
    "nvidia-curand",
];

/// Answers what build scripts ask, and writes the files that they expect.
const STAND_IN: &str = r#"#!/bin/sh
case "$1" in
--version)
    printf 'nvcc: stand-in for type checks\n\n\n'
    echo 'Cuda compilation tools, release 13.2, V13.2.0'
    exit ;;
--list-gpu-code)
    echo sm_80
    exit ;;
esac
while [ $# -gt 1 ]; do
    case "$1" in
    -o) : > "$2" ;;
    --output-directory) folder=$2 ;;
    esac
    shift
done
if [ -n "$folder" ]; then : > "$folder/$(basename "$1" .cu).ptx"; fi
"#;

/// Type-check training on NVIDIA GPUs, with a compiler from PyPI
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Compile no kernels: a script stands in for NVIDIA's compiler
    #[arg(long)]
    stand_in: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !cfg!(target_os = "linux") {
        bail!("`cargo xtask cuda` needs Linux; this is {}", env::consts::OS);
    }
    let cache = cache::folder()?;
    let toolkit = match args.stand_in {
        true => stand_in(&cache.join("cuda-stand-in"))?,
        false => installed(&cache.join("cuda"))?,
    };
    shell::run(check(&toolkit)?)?;
    Ok(ExitCode::SUCCESS)
}

/// A toolkit of one script.
fn stand_in(folder: &Path) -> Result<PathBuf> {
    let programs = folder.join("bin");
    fs::create_dir_all(&programs).with_context(|| programs.display().to_string())?;
    shell::write_program(&programs.join("nvcc"), STAND_IN)?;
    Ok(folder.to_owned())
}

/// The toolkit of a virtual environment, which is made where there is none.
fn installed(folder: &Path) -> Result<PathBuf> {
    if let Some(toolkit) = find(folder) {
        return Ok(toolkit);
    }
    venv::install(folder, &PACKAGES)?;
    find(folder).with_context(|| format!("no nvcc in {} after installing it", folder.display()))
}

/// The folder with `bin/nvcc`, under that of the installed Python's version.
fn find(folder: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(folder.join("lib")).ok()?.flatten();
    let mut toolkits = pythons.map(|python| python.path().join("site-packages/nvidia/cu13"));
    toolkits.find(|toolkit| toolkit.join("bin/nvcc").is_file())
}

fn check(toolkit: &Path) -> Result<Command> {
    let programs = toolkit.join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([programs.clone()].into_iter().chain(env::split_paths(&path)))?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command
        .args(["check", "--package", "ec2t-cli", "--features", "cuda"])
        .env("NVCC", programs.join("nvcc"))
        .env("CUDA_HOME", toolkit)
        .env("CUDA_COMPUTE_CAP", "80")
        .env("PATH", path);
    Ok(command)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn ask(nvcc: &Path, words: &[&str]) -> String {
        let output = Command::new(nvcc).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_stand_in_does_what_build_scripts_expect() {
        let folder = tempfile::tempdir().unwrap();
        let toolkit = stand_in(folder.path()).unwrap();
        let nvcc = toolkit.join("bin/nvcc");
        let version = ask(&nvcc, &["--version"]);
        assert_eq!(version.lines().nth(3).unwrap().split(", ").nth(1), Some("release 13.2"));
        assert_eq!(ask(&nvcc, &["--list-gpu-code"]), "sm_80\n");

        let name = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
        ask(&nvcc, &["-O3", "-c", "-o", &name("a.o"), "src/a.cu"]);
        ask(&nvcc, &["--ptx", "--output-directory", &name(""), "-O3", "src/b.cu"]);
        assert!(folder.path().join("a.o").exists() && folder.path().join("b.ptx").exists());
    }

    #[test]
    fn an_installed_toolkit_is_found() {
        let venv = tempfile::tempdir().unwrap();
        assert_eq!(find(venv.path()), None);
        let toolkit = venv.path().join("lib/python3.12/site-packages/nvidia/cu13");
        fs::create_dir_all(toolkit.join("bin")).unwrap();
        assert_eq!(find(venv.path()), None);
        fs::write(toolkit.join("bin/nvcc"), "").unwrap();
        assert_eq!(find(venv.path()), Some(toolkit));
    }
}
