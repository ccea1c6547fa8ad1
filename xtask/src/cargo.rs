//! Programs that cargo builds, and where cargo finds ours.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// The folder of this package. Cargo names it to the programs that it runs; the one
/// in which this program was built may be another where clones share a target folder.
pub(crate) fn package_folder() -> PathBuf {
    let built = || env!("CARGO_MANIFEST_DIR").into();
    env::var_os("CARGO_MANIFEST_DIR").map_or_else(built, PathBuf::from)
}

/// Runs cargo with these words, and gives the path of the program that it builds
/// for `target`. The command is printed to stderr.
pub(crate) fn build(words: &[&str], target: &str) -> Result<PathBuf> {
    let mut cargo = command();
    cargo.args(words);
    build_with(cargo, |message| executable(message, target))
        .with_context(|| format!("cargo built no program called {target}"))
}

/// Runs a cargo that builds, and gives what is found in the first of its messages that has
/// it. The command is printed to stderr.
pub(crate) fn build_with(
    mut cargo: Command,
    find: impl Fn(&Value) -> Option<PathBuf>,
) -> Result<PathBuf> {
    let text = shell::describe(&cargo);
    eprintln!("$ {text}");
    let output = cargo
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`{text}` failed ({})", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let found = messages.lines().find_map(|message| find(&serde_json::from_str(message).ok()?));
    found.with_context(|| format!("`{text}` did not build what is wanted"))
}

/// The cargo that runs this program.
pub(crate) fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
}

/// The path in one of cargo's messages, if it announces a program for `target`.
fn executable(message: &Value, target: &str) -> Option<PathBuf> {
    (message["target"]["name"] == target).then_some(message["executable"].as_str()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_other_messages() {
        let messages = [
            "{}",
            r#"{"reason":"compiler-artifact","target":{"name":"toml"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"ec2t"},"executable":"t/ec2t"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        let found = messages.map(|text| executable(&serde_json::from_str(text).unwrap(), "ec2t"));
        assert_eq!(found, [None, None, Some("t/ec2t".into()), None]);
    }
}
