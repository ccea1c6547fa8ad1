//! The run's logs, a JSON object on each line: `events.jsonl`, one for an epoch, and
//! `steps.jsonl`, one for every so many steps.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::checkpoint::write_atomically;
use crate::error::QuantError;

/// A log and what its lines count: `epoch` or `step`, over all of a stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    file: &'static str,
    counts: &'static str,
}

/// A line for each epoch.
pub(crate) const EPOCHS: Log = Log { file: "events.jsonl", counts: "epoch" };
/// A line for every so many steps.
pub(crate) const STEPS: Log = Log { file: "steps.jsonl", counts: "step" };

impl Log {
    /// Makes the log ready for a stage that goes on after `done` epochs or steps:
    /// later lines of the same stage, left over from before an interruption, go.
    pub(crate) fn rewind(self, folder: &Path, stage: &str, done: u64) -> Result<(), QuantError> {
        let path = folder.join(self.file);
        let found = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(QuantError::io(&path)(error)),
        };
        let lines = found.as_deref().unwrap_or_default().lines();
        let kept: String =
            lines.filter(|line| self.is_kept(line, stage, done)).flat_map(|l| [l, "\n"]).collect();
        match found.is_some_and(|text| text == kept) {
            true => Ok(()),
            false => write_atomically(&path, kept.as_bytes()),
        }
    }

    /// Adds a line.
    pub(crate) fn append(self, folder: &Path, report: &impl Serialize) -> Result<(), QuantError> {
        let path = &folder.join(self.file);
        let mut line = serde_json::to_vec(report)
            .map_err(|error| QuantError::io(path)(std::io::Error::other(error)))?;
        line.push(b'\n');
        let log = OpenOptions::new().append(true).create(true).open(path);
        log.and_then(|mut log| log.write_all(&line)).map_err(QuantError::io(path))
    }

    fn is_kept(self, line: &str, stage: &str, done: u64) -> bool {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { return false };
        let count = event[self.counts].as_u64().unwrap_or(u64::MAX);
        event["stage"] != stage || count <= done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_stage_drops_its_later_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let lines = [
            r#"{"stage":"pretrain","epoch":9}"#,
            r#"{"stage":"ternarize","epoch":1}"#,
            r#"{"stage":"ternarize","epoch":2}"#,
            r#"{"stage":"terna"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        EPOCHS.rewind(folder.path(), "ternarize", 1).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n{}\n", lines[0], lines[1]));
    }

    #[test]
    fn a_log_without_a_place_is_refused_before_training() {
        let folder = tempfile::tempdir().unwrap();
        EPOCHS.rewind(&folder.path().join("new"), "pretrain", 0).unwrap();
        let inside_a_file = folder.path().join("new/events.jsonl");
        let refused = EPOCHS.rewind(&inside_a_file, "pretrain", 0);
        assert!(matches!(refused, Err(QuantError::Io { .. })));
    }
}
