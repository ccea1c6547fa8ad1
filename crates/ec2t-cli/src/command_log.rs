//! `commands.json` in the folder of a run: the command of each stage, as it was typed.
//!
//! Whatever works on a run notes itself here once it has ended well or was interrupted; what
//! fails leaves no note. A stage has one command, its latest, but one that went on with a
//! checkpoint keeps the command that began it. Paths are as the user gave them, words that
//! are not Unicode as near to it as can be.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::exit::{BadFile, is_interruption};
use crate::output::write_json;
use crate::shell;

/// The file's name.
const FILE: &str = "commands.json";

/// All that notes itself, in the order in which a run is made.
const ORDER: [&str; 12] = [
    "data",
    "scale",
    "search",
    "pretrain",
    "sweep",
    "ternarize",
    "finetune",
    "export",
    "thin",
    "repack",
    "calibrate",
    "eval",
];

/// What changes a model file that `export` has written.
const OF_MODEL: [&str; 3] = ["thin", "repack", "calibrate"];

/// The commands by stage.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CommandLog(BTreeMap<String, Noted>);

/// A command.
#[derive(Serialize, Deserialize)]
pub(crate) struct Noted {
    /// Its words, from `ec2t` on.
    words: Vec<String>,
    /// Version of the program.
    pub(crate) version: String,
    pub(crate) commit: String,
    /// How often the stage went on after it was stopped, or called again at its end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) resumed: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Noted {
    /// The command of this process.
    fn this() -> Self {
        let given = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        Self {
            words: ["ec2t".to_owned()].into_iter().chain(given).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("EC2T_COMMIT").to_owned(),
            resumed: 0,
        }
    }

    /// The command as a line for a shell.
    pub(crate) fn line(&self) -> String {
        shell::line(self.words.iter().map(String::as_str))
    }
}

impl CommandLog {
    /// What is known of the run in `run_dir`; nothing where there is no file.
    ///
    /// # Errors
    /// Where the file can't be read or is malformed.
    pub(crate) fn read(run_dir: &Path) -> Result<Self> {
        let path = run_dir.join(FILE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let bad = |error| BadFile(format!("{}: {error}", path.display()));
        Ok(serde_json::from_slice(&text).map_err(bad)?)
    }

    /// The commands with their stages, in the order of the stages.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (&'static str, &Noted)> {
        ORDER.into_iter().filter_map(|stage| Some((stage, self.0.get(stage)?)))
    }

    /// Takes up a stage's command; `goes_on` with what an earlier one has left.
    fn add(&mut self, stage: &'static str, mut command: Noted, goes_on: bool) {
        if goes_on {
            command = self.0.remove(stage).unwrap_or(command);
            command.resumed += 1;
        }
        if stage == "export" {
            // They belong to the file that there is no more.
            self.0.retain(|stage, _| !OF_MODEL.contains(&stage.as_str()));
        }
        self.0.insert(stage.to_owned(), command);
    }
}

/// Does a stage's work on the run in `run_dir`, and notes this process's command for it
/// unless it fails. `goes_on` says that it begins with a checkpoint of the same stage.
///
/// # Errors
/// Those of the work, and where the file can't be read, before the work, or written.
pub(crate) fn noted<T>(
    run_dir: &Path,
    stage: &'static str,
    goes_on: bool,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    CommandLog::read(run_dir)?;
    let result = work();
    if result.as_ref().err().is_none_or(is_interruption) {
        // Read again: work takes long, and another stage may have been noted.
        let mut log = CommandLog::read(run_dir)?;
        log.add(stage, Noted::this(), goes_on);
        write_json(&run_dir.join(FILE), &log)?;
    }
    result
}

/// The same for what writes a model file: it is noted if that is the one of a run.
///
/// # Errors
/// As [`noted`] has them.
pub(crate) fn noted_for_model<T>(
    file: &Path,
    stage: &'static str,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    match run_of(file) {
        Some(run_dir) => noted(&run_dir, stage, false, work),
        None => work(),
    }
}

/// The run that a file is the model of.
fn run_of(file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?;
    let is_of_run = file.file_name()? == "model.ec2t" && folder.join("config.toml").exists();
    is_of_run.then(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Noted {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Noted { words, ..Noted::this() }
    }

    fn lines(log: &CommandLog) -> Vec<(&'static str, String, u32)> {
        log.in_order().map(|(stage, noted)| (stage, noted.line(), noted.resumed)).collect()
    }

    #[test]
    fn the_latest_command_counts_unless_it_goes_on() {
        let mut log = CommandLog::default();
        for (first, goes_on, expected) in [
            ("one", false, ("one", 0)),
            ("two", true, ("one", 1)),
            ("three", true, ("one", 2)),
            ("four", false, ("four", 0)),
        ] {
            log.add("pretrain", command(&[first]), goes_on);
            assert_eq!(lines(&log), [("pretrain", expected.0.to_owned(), expected.1)]);
        }
        log.add("finetune", command(&["killed before it could note itself"]), true);
        assert_eq!(lines(&log)[1].2, 1);
    }

    #[test]
    fn a_new_model_file_has_not_been_changed() {
        let mut log = CommandLog::default();
        for stage in ["eval", "thin", "calibrate", "data", "export"] {
            let before = log.0.len();
            log.add(stage, command(&[stage]), false);
            assert!(stage == "export" || log.0.len() == before + 1);
        }
        let stages: Vec<_> = log.in_order().map(|(stage, _)| stage).collect();
        assert_eq!(stages, ["data", "export", "eval"]);
    }

    #[test]
    fn only_good_ends_and_interruptions_are_noted() {
        let folder = tempfile::tempdir().unwrap();
        let note = |work: Result<()>| noted(folder.path(), "eval", false, || work).is_ok();
        assert!(!note(Err(BadFile("bad".into()).into())));
        assert!(!folder.path().join(FILE).exists());
        let stopped = ec2t_quant::QuantError::Interrupted("x".into());
        assert!(!note(Err(stopped.into())));
        assert_eq!(CommandLog::read(folder.path()).unwrap().0.len(), 1);
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        assert!(note(Ok(())));
        assert_eq!(CommandLog::read(folder.path()).unwrap().0.len(), 1);
    }

    #[test]
    fn a_damaged_file_stops_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "[").unwrap();
        let work = || -> Result<()> { panic!("has begun") };
        let error = noted(folder.path(), "eval", false, work).unwrap_err();
        assert!(error.is::<BadFile>() && error.to_string().contains(FILE), "{error}");
    }

    #[test]
    fn only_the_model_of_a_run_belongs_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.ec2t");
        assert_eq!(run_of(&model), None);
        std::fs::write(folder.path().join("config.toml"), "").unwrap();
        assert_eq!(run_of(&model).as_deref(), Some(folder.path()));
        assert_eq!(run_of(&folder.path().join("other.ec2t")), None);
    }
}
