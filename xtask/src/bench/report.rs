//! What a comparison writes at its end.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Prints `text`, and writes all that was measured to a file where one is named; for
/// the file `-`, to stdout in place of the text.
pub(crate) fn write(report: &impl Serialize, json: Option<&Path>, text: &str) -> Result<()> {
    let Some(path) = json else {
        print!("{text}");
        return Ok(());
    };
    let report = serde_json::to_string_pretty(report)? + "\n";
    if path == Path::new("-") {
        print!("{report}");
        return Ok(());
    }
    std::fs::write(path, report).with_context(|| path.display().to_string())?;
    print!("{text}");
    Ok(())
}
