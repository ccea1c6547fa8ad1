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

use super::debian::{self, Toolchain};
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
    let mut command = cargo_test(TARGET, &PACKAGES, words);
    Compiler::find(TARGET)?.set(&mut command)?;
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

/// What compiles for a target of WebAssembly.
pub(crate) struct Compiler {
    target: &'static str,
    /// Debian's; `None` where the installed one has the target's library.
    debian: Option<Toolchain>,
}

impl Compiler {
    /// The installed compiler, or Debian's, not yet downloaded.
    ///
    /// # Errors
    /// Where the former lacks the target's library and the latter does not run.
    pub(crate) fn find(target: &'static str) -> Result<Self> {
        let debian = match has_library(target)? {
            true => None,
            false => {
                debian::check_this_host().with_context(|| {
                    format!("rustc lacks {target}, which `rustup target add {target}` installs")
                })?;
                Some(toolchain()?)
            }
        };
        Ok(Self { target, debian })
    }

    /// Has cargo compile by it, with vectors.
    pub(crate) fn set(&self, command: &mut Command) -> Result<()> {
        if let Some(toolchain) = &self.debian {
            toolchain.install()?;
        }
        self.set_variables(command);
        Ok(())
    }

    fn set_variables(&self, command: &mut Command) {
        let mut flags = vec![SIMD.to_owned()];
        if let Some(toolchain) = &self.debian {
            if self.target == TARGET {
                flags.extend(libc_flags(toolchain));
            }
            command
                .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort")
                .env("RUSTC", toolchain.compiler())
                .env("RUSTC_BOOTSTRAP", "1")
                .env(variable(self.target, "LINKER"), toolchain.linker());
        }
        command.env(variable(self.target, "RUSTFLAGS"), flags.join(" "));
    }
}

/// Whether the installed rustc has the target's library.
fn has_library(target: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    let output = rustc.args(["--print", "target-libdir", "--target", target]).output();
    let output = output.context("cannot start rustc")?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Debian's compiler and linker, and the C library of WASI.
fn toolchain() -> Result<Toolchain> {
    let folder = Toolchain::folder("wasm")?;
    let linker = |packages: &Path| vec![packages.join("usr/lib/llvm-22/bin/wasm-ld")];
    Ok(Toolchain { folder, packages: &DEBIAN, files: &[], linker })
}

/// What links a program for WASI with Debian's C library.
fn libc_flags(toolchain: &Toolchain) -> [String; 4] {
    let libc: PathBuf = toolchain.unpacked().join("usr/lib/wasm32-wasi");
    [
        "-Clink-self-contained=no".into(),
        format!("-L{}", libc.display()),
        format!("-Clink-arg={}", libc.join("crt1-command.o").display()),
        // Of threads, which this C library is too old to refuse by itself.
        "-Clink-arg=--unresolved-symbols=ignore-all".into(),
    ]
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
    fn there_are_vectors_whoever_compiles() {
        let linker = |_: &Path| Vec::new();
        let toolchain = || Toolchain { folder: "c/w".into(), packages: &[], files: &[], linker };
        let flags = |target, debian| {
            let mut command = Command::new("cargo");
            Compiler { target, debian }.set_variables(&mut command);
            let name = variable(target, "RUSTFLAGS");
            let mut variables = command.get_envs().filter(|(found, _)| *found == name.as_str());
            let (_, flags) = variables.next().unwrap();
            flags.unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(flags(TARGET, None), SIMD);
        assert_eq!(flags("wasm32-unknown-unknown", Some(toolchain())), SIMD);
        let wasi = flags(TARGET, Some(toolchain()));
        assert!(wasi.starts_with(SIMD) && wasi.contains("wasm32-wasi/crt1-command.o"), "{wasi}");
    }
}
