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
    eprintln!("$ cargo {}", shell::line(words));
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(words)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo could not build {target}");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let found = messages.lines().find_map(|message| executable(message, target));
    found.with_context(|| format!("cargo built no program called {target}"))
}

/// The path in one of cargo's messages, if it announces a program for `target`.
fn executable(message: &str, target: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    (message["target"]["name"] == target).then_some(message["executable"].as_str()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_other_messages() {
        let messages = [
            "",
            r#"{"reason":"compiler-artifact","target":{"name":"toml"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"ec2t"},"executable":"t/ec2t"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        let found = messages.map(|message| executable(message, "ec2t"));
        assert_eq!(found, [None, None, Some("t/ec2t".into()), None]);
    }
}
