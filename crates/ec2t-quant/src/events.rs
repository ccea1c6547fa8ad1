//! The run's log: one JSON object per line and epoch.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::checkpoint::write_atomically;
use crate::error::QuantError;
use crate::session::EpochReport;

/// Makes the log ready for a stage that goes on after `epochs` epochs: later
/// lines of the same stage, left over from before an interruption, go.
pub(crate) fn rewind(path: &Path, stage: &str, epochs: usize) -> Result<(), QuantError> {
    let found = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(QuantError::io(path)(error)),
    };
    let lines = found.as_deref().unwrap_or_default().lines();
    let kept: String =
        lines.filter(|line| is_kept(line, stage, epochs)).flat_map(|line| [line, "\n"]).collect();
    match found.is_some_and(|text| text == kept) {
        true => Ok(()),
        false => write_atomically(path, kept.as_bytes()),
    }
}

/// Adds a line.
pub(crate) fn append(path: &Path, report: &EpochReport) -> Result<(), QuantError> {
    let mut line = serde_json::to_vec(report)
        .map_err(|error| QuantError::io(path)(std::io::Error::other(error)))?;
    line.push(b'\n');
    let log = OpenOptions::new().append(true).create(true).open(path);
    log.and_then(|mut log| log.write_all(&line)).map_err(QuantError::io(path))
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
        rewind(&path, "ternarize", 1).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n{}\n", lines[0], lines[1]));
    }

    #[test]
    fn a_log_without_a_place_is_refused_before_training() {
        let folder = tempfile::tempdir().unwrap();
        rewind(&folder.path().join("new/events.jsonl"), "pretrain", 0).unwrap();
        let inside_a_file = folder.path().join("new/events.jsonl/events.jsonl");
        assert!(matches!(rewind(&inside_a_file, "pretrain", 0), Err(QuantError::Io { .. })));
    }
}
