//! Tests on WebAssembly, by Node.
//!
//! Programs for WASI have arguments, an environment and an output, so that tests run
//! and report as elsewhere; but panics can't be caught there, and no threads started.
//! Where rustc has the target's library (`rustup target add wasm32-wasip1`), it is used,
//! else Debian's compiler, which has no more than the library's sources: cargo compiles
//! them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::debian::Toolchain;
use super::{cargo_test, variable};
use crate::{cargo, shell};

const TARGET: &str = "wasm32-wasip1";

/// What is tested: the vector code.
const PACKAGES: [&str; 2] = ["-p", "ec2t-kernels"];

/// Modules have these instructions or not, as they are compiled.
const SIMD: &str = "-Ctarget-feature=+simd128";

const DEBIAN: [&str; 4] = ["rustc-web", "rust-web-src", "lld-22", "wasi-libc"];

/// Runs the tests, which compare `simd128` with plain Rust.
pub(super) fn test(words: &[String]) -> Result<()> {
    let node = Command::new("node").arg("--version").output();
    check_node(&node.context("tests on WebAssembly need Node")?.stdout)?;
    let mut command = match has_library()? {
        true => installed(words),
        false => {
            let toolchain = toolchain()?;
            toolchain.install()?;
            debian(&toolchain, words)
        }
    };
    let script = cargo::package_folder().join("src/cross/wasi.mjs");
    let runner = shell::line([Path::new("node"), Path::new("--no-warnings"), &script]);
    command.env(variable(TARGET, "RUNNER"), runner).env_remove("EC2T_ISA");
    shell::run(command)
}

/// Node knows WASI well enough.
fn check_node(version: &[u8]) -> Result<()> {
    let version = String::from_utf8_lossy(version);
    let major = version.trim().strip_prefix('v').and_then(|v| v.split('.').next()?.parse().ok());
    let good = major.is_some_and(|major: u32| major >= 20);
    ensure!(good, "tests on WebAssembly need Node 20, this is {}", version.trim());
    Ok(())
}

/// Whether the installed rustc has the target's library.
fn has_library() -> Result<bool> {
    let mut rustc = Command::new("rustc");
    let output = rustc.args(["--print", "target-libdir", "--target", TARGET]).output();
    let output = output.context("cannot start rustc")?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// The tests with the installed compiler.
fn installed(words: &[String]) -> Command {
    let mut command = cargo_test(TARGET, &PACKAGES, words);
    command.env(variable(TARGET, "RUSTFLAGS"), SIMD);
    command
}

fn toolchain() -> Result<Toolchain> {
    let folder = Toolchain::folder("wasm")?;
    let linker = |packages: &Path| vec![packages.join("usr/lib/llvm-22/bin/wasm-ld")];
    Ok(Toolchain { folder, packages: &DEBIAN, files: &[], linker })
}

/// The tests with Debian's compiler, linker and C library.
fn debian(toolchain: &Toolchain, words: &[String]) -> Command {
    let libc: PathBuf = toolchain.unpacked().join("usr/lib/wasm32-wasi");
    let flags = [
        SIMD.into(),
        "-Clink-self-contained=no".into(),
        format!("-L{}", libc.display()),
        format!("-Clink-arg={}", libc.join("crt1-command.o").display()),
        // Of threads, which this C library is too old to refuse by itself.
        "-Clink-arg=--unresolved-symbols=ignore-all".into(),
    ];
    let mut command = cargo_test(TARGET, &PACKAGES, words);
    command
        .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort")
        .env("RUSTC", toolchain.compiler())
        .env("RUSTC_BOOTSTRAP", "1")
        .env(variable(TARGET, "LINKER"), toolchain.linker())
        .env(variable(TARGET, "RUSTFLAGS"), flags.join(" "));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_node_is_told_from_a_new_one() {
        assert!(check_node(b"v20.20.2\n").is_ok() && check_node(b"v100.0.0").is_ok());
        for version in ["v18.4.0\n", "", "node"] {
            let error = check_node(version.as_bytes()).unwrap_err().to_string();
            assert!(error.ends_with(&format!("this is {}", version.trim())), "{error}");
        }
    }

    #[test]
    fn tests_have_vectors_whoever_compiles_them() {
        let linker = |_: &Path| Vec::new();
        let toolchain = Toolchain { folder: "cache/w".into(), packages: &[], files: &[], linker };
        for command in [installed(&[]), debian(&toolchain, &[])] {
            let flags = command.get_envs().find_map(|(name, value)| {
                (name == "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS").then(|| value?.to_str())?
            });
            assert!(flags.unwrap().starts_with("-Ctarget-feature=+simd128"), "{flags:?}");
            assert!(command.get_args().any(|word| word == "ec2t-kernels"));
        }
    }
}
