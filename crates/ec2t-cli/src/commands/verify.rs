//! `ec2t verify`: check model files in every way there is.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use ec2t_format::container::Version;
use ec2t_format::{FormatError, Limits, Network};
use serde::Serialize;

use crate::exit::{BadFile, message};
use crate::output::{grouped, print, print_json, tell};

/// Check model files in every way there is.
///
/// Checksums, structure, every value of every tensor, and that each file is the only one
/// that its network can have. Of a bad file the first fault is told.
#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The model files.
    #[arg(value_name = "FILE", required = true)]
    models: Vec<PathBuf>,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found in one file.
#[derive(Serialize)]
struct Checked {
    file: PathBuf,
    good: bool,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Good { version: String, bytes: usize, layers: usize, tensors: usize },
    Bad { error: String, section: Option<String>, offset: Option<usize> },
}

impl VerifyArgs {
    pub(crate) fn run(self) -> Result<()> {
        let checked: Vec<Checked> = self.models.iter().map(|model| check(model)).collect();
        let bad = checked.iter().filter(|checked| !checked.good).count();
        if self.json {
            print_json(&checked)?;
        }
        for Checked { file, outcome, .. } in &checked {
            let file = file.display();
            match outcome {
                Outcome::Good { version, bytes, layers, tensors } if !self.json => {
                    print(&format!(
                        "{file}: good, version {version}, {} bytes, {layers} layers, {tensors} tensors",
                        grouped(bytes)
                    ))?
                }
                Outcome::Good { .. } => {}
                Outcome::Bad { error, .. } => tell(format_args!("{file}: {error}")),
            }
        }
        match bad {
            0 => Ok(()),
            _ => Err(BadFile(format!("bad files: {bad} of {}", checked.len())).into()),
        }
    }
}

fn check(model: &Path) -> Checked {
    let outcome = verify(model);
    let (good, outcome) = match outcome {
        Ok(good) => (true, good),
        Err(error) => (false, fault(&error)),
    };
    Checked { file: model.to_owned(), good, outcome }
}

fn verify(model: &Path) -> Result<Outcome> {
    let file = std::fs::read(model)?;
    let network: Network = ec2t_format::verify(&file, &Limits::default())?;
    let version: Version = ec2t_format::layout(&file)?.version;
    Ok(Outcome::Good {
        version: version.to_string(),
        bytes: file.len(),
        layers: network.graph().nodes.len(),
        tensors: network.tensors().len(),
    })
}

fn fault(error: &anyhow::Error) -> Outcome {
    let place = error.downcast_ref::<FormatError>().and_then(FormatError::place);
    Outcome::Bad {
        error: message(error),
        section: place.map(|place| place.section.clone()),
        offset: place.map(|place| place.offset),
    }
}
