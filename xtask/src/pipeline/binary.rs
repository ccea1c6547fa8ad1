//! Where the `ec2t` program is.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// The program that `EC2T_BIN` names, else the one that cargo builds.
pub(crate) fn find() -> Result<PathBuf> {
    match env::var_os("EC2T_BIN").filter(|path| !path.is_empty()) {
        Some(path) => Ok(path.into()),
        None => build(),
    }
}

fn build() -> Result<PathBuf> {
    let words = ["build", "--release", "--package", "ec2t-cli"];
    println!("$ cargo {}", shell::line(words));
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(words)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo could not build ec2t");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages.lines().find_map(executable).context("cargo built no program called ec2t")
}

/// The path in one of cargo's messages, if it announces `ec2t`.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    (message["target"]["name"] == "ec2t").then_some(message["executable"].as_str()?.into())
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
        assert_eq!(messages.map(executable), [None, None, Some("t/ec2t".into()), None]);
    }
}
