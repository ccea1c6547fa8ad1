//! What a stage was made from, kept beside the run as `stamps/<stage>.json`.
//!
//! A stamp holds every setting that the stage depends on and the SHA-256 of
//! every file that it reads. It is written when the stage begins and again when
//! it ends, so that the next run knows whether there is nothing to do, work to
//! go on with, or work that belongs to other inputs and has to start again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::Config;
use super::run::Checkpoints;
use super::stage::Stage;

/// Setting or file → value in TOML, or SHA-256 in hexadecimal.
pub(crate) type Inputs = BTreeMap<String, String>;

/// One file of `stamps/`. What else is in it is passed over: files of earlier versions have
/// the command, which `ec2t` itself notes in `commands.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// What the stage was made from.
    pub(crate) inputs: Inputs,
    /// Time spent, interrupted attempts included.
    pub(crate) seconds: f64,
    /// When the stage was finished (UTC, RFC 3339); `None` until then.
    pub(crate) finished: Option<String>,
}

/// How a stage stands.
#[derive(Debug, PartialEq)]
pub(crate) enum State {
    /// Finished from the same inputs.
    Done(Stamp),
    /// Begun from the same inputs.
    Interrupted {
        /// Time spent so far.
        seconds: f64,
    },
    /// Never begun.
    New,
    /// Begun or finished, but to be done again.
    Outdated {
        /// Why, for the user.
        why: String,
    },
}

impl Stage {
    /// The stamp's file, relative to the run's folder.
    pub(crate) fn stamp_file(&self) -> String {
        format!("stamps/{}.json", self.name)
    }

    /// What the stage would be made from now.
    pub(crate) fn inputs(
        &self,
        run: &Path,
        config: &Config,
        files: &Checkpoints,
    ) -> Result<Inputs> {
        let mut inputs = config.settings(self.settings)?;
        for &file in self.reads {
            inputs.insert(file.to_owned(), sha256(&run.join(file))?);
        }
        for (flag, file) in files.of(self) {
            inputs.insert(flag.to_owned(), sha256(file)?);
        }
        if let [flag, arch @ ..] = files.growth(self).as_slice() {
            inputs.insert((*flag).to_owned(), arch.concat());
        }
        Ok(inputs)
    }

    /// How the stage stands in `run`, were it made from `inputs`.
    pub(crate) fn state(&self, run: &Path, inputs: &Inputs) -> Result<State> {
        let outdated = |why| Ok(State::Outdated { why });
        let Some(stamp) = Stamp::read(&run.join(self.stamp_file()))? else {
            return Ok(State::New);
        };
        if stamp.inputs != *inputs {
            return outdated(format!("{} changed", differences(&stamp.inputs, inputs).join(", ")));
        }
        if stamp.finished.is_none() {
            return Ok(State::Interrupted { seconds: stamp.seconds });
        }
        match self.missing(run) {
            Some(file) => outdated(format!("{file} is gone")),
            None => Ok(State::Done(stamp)),
        }
    }

    /// The first of the stage's files that does not exist.
    pub(crate) fn missing(&self, run: &Path) -> Option<&'static str> {
        self.writes.iter().copied().find(|file| !run.join(file).is_file())
    }
}

impl Stamp {
    fn read(file: &Path) -> Result<Option<Self>> {
        let bytes = match fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| file.display().to_string())?,
        };
        let damaged = || format!("{}: damaged; delete it to redo its stage", file.display());
        serde_json::from_slice(&bytes).map(Some).with_context(damaged)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        write_atomically(file, &json)
    }
}

/// Names of the inputs that are not the same on both sides.
fn differences<'a>(old: &'a Inputs, new: &'a Inputs) -> Vec<&'a str> {
    let changed = new.iter().filter(|(name, value)| old.get(*name) != Some(value));
    let removed = old.iter().filter(|(name, _)| !new.contains_key(*name));
    changed.chain(removed).map(|(name, _)| name.as_str()).collect()
}

fn sha256(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes the whole file or none of it; makes its folder where needed.
pub(crate) fn write_atomically(file: &Path, text: &str) -> Result<()> {
    let write = || {
        let mut partial = PathBuf::from(file).into_os_string();
        partial.push(".partial");
        fs::create_dir_all(file.parent().unwrap_or(Path::new("")))?;
        fs::write(&partial, text)?;
        fs::rename(&partial, file)
    };
    write().with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_changed_added_and_removed_inputs() {
        let inputs = |pairs: &[(&str, &str)]| -> Inputs {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let old = inputs(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let new = inputs(&[("a", "1"), ("b", "0"), ("d", "4")]);
        assert_eq!(differences(&old, &new), ["b", "d", "c"]);
        assert!(differences(&old, &old).is_empty());
    }

    #[test]
    fn stamps_of_earlier_versions_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stamp.json");
        let text = r#"{ "inputs": {}, "command": "ec2t scale", "seconds": 1.5, "finished": null }"#;
        fs::write(&file, text).unwrap();
        let stamp = Stamp { inputs: Inputs::new(), seconds: 1.5, finished: None };
        assert_eq!(Stamp::read(&file).unwrap(), Some(stamp));
    }

    #[test]
    fn files_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/stamp.json");
        for text in ["a longer text", "short"] {
            write_atomically(&file, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn hashes_are_sha256() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(file.path()).unwrap(), expected);
    }
}
