//! The run's log: one JSON object per line and epoch.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::checkpoint::write_atomically;
use crate::error::QuantError;
use crate::session::EpochReport;

/// Appends to `events.jsonl`.
pub(crate) struct EventLog(Option<PathBuf>);

impl EventLog {
    /// Opens the log for a stage that goes on after `epochs` epochs: later
    /// lines of the same stage, left over from before an interruption, are
    /// dropped.
    pub(crate) fn open(
        path: Option<&Path>,
        stage: &str,
        epochs: usize,
    ) -> Result<Self, QuantError> {
        if let Some(path) = path {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(QuantError::io(path)(error)),
            };
            let kept: String = text
                .lines()
                .filter(|line| is_kept(line, stage, epochs))
                .flat_map(|line| [line, "\n"])
                .collect();
            if kept != text {
                write_atomically(path, kept.as_bytes())?;
            }
        }
        Ok(Self(path.map(Path::to_owned)))
    }

    /// A log that nobody keeps.
    pub(crate) fn disabled() -> Self {
        Self(None)
    }

    /// Adds a line.
    pub(crate) fn append(&self, report: &EpochReport) -> Result<(), QuantError> {
        let Some(path) = &self.0 else { return Ok(()) };
        let mut line = serde_json::to_string(report)
            .map_err(|error| QuantError::io(path)(std::io::Error::other(error)))?;
        line.push('\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(QuantError::io(path))?;
        file.write_all(line.as_bytes()).map_err(QuantError::io(path))
    }
}

fn is_kept(line: &str, stage: &str, epochs: usize) -> bool {
    let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { return false };
    let epoch = event["epoch"].as_u64().unwrap_or(u64::MAX);
    event["stage"] != stage || epoch <= epochs as u64
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
        EventLog::open(Some(&path), "ternarize", 1).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n{}\n", lines[0], lines[1]));
    }
}
