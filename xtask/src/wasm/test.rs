//! What the page answers, compared with what the same code computes here.
//!
//! The page's model and a file that is dropped on it, with grey images and other classes,
//! see the same picture. Logits must have the same bits as in plain Rust, which instructions
//! of WebAssembly keep, and there may be no error but that about a file that is no model.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::page::{self, PICTURE};
use super::{Build, chromium, source, write};
use crate::{cargo, shell};

/// The file that is dropped on the page.
const DROPPED: &str = "docs/results/models/fm-90-s1.ec2t";
/// What is said about a file that is no model.
const COMPLAINT: &str = "bad.ec2t: header at byte 0: not an .ec2t file";

/// What was answered.
#[derive(Debug, Deserialize)]
struct Answer {
    cases: Vec<Case>,
    #[serde(default)]
    complaint: String,
    #[serde(default)]
    faults: Vec<String>,
}

/// What a model made of the picture.
#[derive(Debug, Deserialize)]
struct Case {
    /// Names of the most probable classes.
    top: Vec<String>,
    /// Bits of the logits.
    logits: Vec<u32>,
    /// Time of a run in an engine.
    #[serde(default)]
    milliseconds: f64,
    #[serde(default)]
    complaint: String,
}

/// Asks the page in every engine that is at hand.
pub(super) fn run(build: &Build, page: &str) -> Result<()> {
    let text = output(expected()?)?;
    let here: Answer = serde_json::from_str(&text)?;
    let file = build.folder.join("expected.json");
    write(&file, &text)?;
    let mut engines = 0;
    if let Some(browser) = chromium::find() {
        let answer = chromium::ask(&browser, &chromium::test_page(page, DROPPED)?)?;
        compare("Chromium", &here, &answer)?;
        engines += 1;
    }
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok() {
        let answer = output(node(&build.folder, &file))?;
        compare("Node", &here, &answer)?;
        engines += 1;
    }
    match engines {
        0 => bail!("neither Chromium nor Node is here to test the page"),
        _ => Ok(()),
    }
}

/// The program that computes here what the page must answer.
fn expected() -> Result<Command> {
    let words = ["build", "-p", "ec2t-wasm", "--example", "expected"];
    let mut command = Command::new(cargo::build(&words, "expected")?);
    command.args([source(PICTURE), source(DROPPED)]).env("EC2T_ISA", "portable");
    Ok(command)
}

/// The module in Node.
fn node(folder: &Path, expected: &Path) -> Command {
    let mut command = Command::new("node");
    let script: PathBuf = source(page::FOLDER).join("test.mjs");
    command.arg(script).args([folder, expected]).arg(source(DROPPED));
    command
}

/// What a command prints.
fn output(mut command: Command) -> Result<String> {
    let text = shell::describe(&command);
    eprintln!("$ {text}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start `{text}`"))?;
    ensure!(output.status.success(), "`{text}` failed ({})", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Fails unless an engine answers as expected.
fn compare(engine: &str, expected: &Answer, text: &str) -> Result<()> {
    let found: Answer = serde_json::from_str(text)
        .with_context(|| format!("{engine} does not answer in JSON: {text}"))?;
    ensure!(found.faults.is_empty(), "errors in {engine}: {:?}", found.faults);
    let [cases, answers] = [expected, &found].map(|answer| answer.cases.len());
    ensure!(cases == answers, "{engine} answers {answers} times, {cases} expected");
    for (expected, found) in expected.cases.iter().zip(&found.cases) {
        ensure!(found.complaint.is_empty(), "{engine} complains: {}", found.complaint);
        let (right, top) = (&expected.top, &found.top);
        ensure!(right == top, "{engine}: classes are {top:?}, expected {right:?}");
        let (right, logits) = (&expected.logits, &found.logits);
        ensure!(right == logits, "{engine}: logits are {logits:x?}, expected {right:x?}");
    }
    let complaint = &found.complaint;
    ensure!(complaint.starts_with(COMPLAINT), "{engine} says of no model: {complaint:?}");
    for Case { top, milliseconds, .. } in &found.cases {
        println!("{engine}: {}; {milliseconds:.2} ms for an image", top.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(expected: &str, found: &str) -> String {
        let expected: Answer = serde_json::from_str(expected).unwrap();
        compare("X", &expected, found).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn answers_must_be_the_same_to_the_bit() {
        let answer = |top: &str, logit: u32, complaint: &str, faults: &str| {
            format!(
                r#"{{"cases": [{{"top": ["{top}"], "logits": [{logit}], "milliseconds": 1}}],
                    "complaint": "{complaint}", "faults": [{faults}]}}"#
            )
        };
        let right = answer("cat", 7, COMPLAINT, "");
        assert_eq!(error(&right, &right), "");
        assert!(error(&right, &answer("dog", 7, COMPLAINT, "")).contains("classes are"));
        assert!(error(&right, &answer("cat", 8, COMPLAINT, "")).contains("logits are [8]"));
        assert!(error(&right, &answer("cat", 7, "", "")).contains("says of no model"));
        assert!(error(&right, &answer("cat", 7, COMPLAINT, r#""no""#)).contains("errors in X"));
        assert!(error(&right, r#"{"cases": []}"#).contains("answers 0 times, 1 expected"));
        assert!(error(&right, "<html>").contains("does not answer in JSON"));
    }
}
