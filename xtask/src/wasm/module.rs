//! The module, and the script that loads it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Build, TARGET, read, read_text, source};
use crate::cross::wasm::Compiler;
use crate::{cache, cargo, shell};

/// What the files of wasm-bindgen are called.
const NAME: &str = "ec2t_wasm";

/// Compiles the module and has wasm-bindgen write its script.
pub(super) fn build(compiler: &Compiler) -> Result<Build> {
    let mut build = cargo::command();
    build.args(["build", "-p", "ec2t-wasm", "--lib", "--profile", "page", "--target", TARGET]);
    compiler.set(&mut build)?;
    let compiled = cargo::build_with(build, compiled)?;
    let target = compiled.ancestors().nth(3).context("no target folder")?;
    let folder = target.join("wasm-page");
    bind(&compiled, &folder)?;
    Ok(Build {
        module: read(&folder.join(format!("{NAME}_bg.wasm")))?,
        script: read_text(&folder.join(format!("{NAME}.js")))?,
        folder,
    })
}

/// The module in one of cargo's messages.
fn compiled(message: &Value) -> Option<PathBuf> {
    let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let name = format!("{NAME}.wasm");
    let mut files = files.map(PathBuf::from);
    files.find(|file| file.file_name().is_some_and(|found| *found == *name))
}

/// Writes the script, for a page without modules of JavaScript: browsers don't load those
/// from files.
fn bind(compiled: &Path, folder: &Path) -> Result<()> {
    let mut bind = Command::new(wasm_bindgen()?);
    bind.args(["--target", "no-modules", "--no-typescript", "--remove-name-section"]);
    bind.arg("--out-dir").args([folder, compiled]);
    shell::run(bind)
}

/// The wasm-bindgen of the version that the module has been compiled with, which must be
/// the same; installed where it is not there.
fn wasm_bindgen() -> Result<PathBuf> {
    let lock = read_text(&source("Cargo.lock"))?;
    let version = locked(&lock, "wasm-bindgen").context("Cargo.lock has no wasm-bindgen")?;
    let folder = cache::folder()?.join(format!("wasm-bindgen-{version}"));
    let program = folder.join("bin").join(format!("wasm-bindgen{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        let mut install = cargo::command();
        install.args(["install", "wasm-bindgen-cli", "--version", version]);
        install.args(["--bin", "wasm-bindgen", "--debug", "--root"]).arg(&folder);
        shell::run(install)?;
    }
    Ok(program)
}

/// The version of a package in a lock file.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let start = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = lock.split_once(&start)?;
    rest.split_once('"').map(|(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_version_is_that_of_the_package_itself() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"0.1.0\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"x\"\n";
        assert_eq!(locked(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked(lock, "wasm"), None);
    }

    #[test]
    fn the_module_is_found_in_cargos_messages() {
        let message = |text: &str| compiled(&serde_json::from_str(text).unwrap());
        assert_eq!(message(r#"{"filenames":["t/libec2t_wasm.rlib"]}"#), None);
        let both = r#"{"filenames":["t/libec2t_wasm.rlib","t/ec2t_wasm.wasm"]}"#;
        assert_eq!(message(both), Some("t/ec2t_wasm.wasm".into()));
        assert_eq!(message(r#"{"reason":"build-finished"}"#), None);
    }
}
