//! What all commands print and write.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Prints a value as JSON on stdout.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Prints text on stdout; fails quietly where the reader has gone away.
pub(crate) fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{}", text.trim_end()).context("cannot write to stdout")
}

/// Tells something on stderr. Work goes on where nobody listens.
pub(crate) fn tell(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a value as JSON; the file is replaced whole or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_file(path, &to_json(value)?)
}

/// The bytes of a file of JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// Lines with a mark, a column that is flush left, and others that are flush right.
pub(crate) fn columns<const N: usize>(lines: &[(&str, [String; N])]) -> String {
    let width = |column: usize| {
        lines.iter().map(|(_, cells)| cells[column].chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |(mark, cells): &(&str, [String; N])| {
        let mut text = format!("{mark} {:width$}", cells[0], width = widths[0]);
        for (cell, width) in cells.iter().zip(widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        text + "\n"
    };
    lines.iter().map(line).collect()
}

/// Writes a file; it is replaced whole or not at all. A device such as
/// `/dev/stdout` can't be replaced: the bytes go to it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let is_device = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
    let written = match is_device {
        true => std::fs::write(path, bytes),
        false => replace_file(path, bytes),
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = new_file_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file without a name yet, as readable as any other new file.
fn new_file_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Removes a file if there is one.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A whole number with its digits in groups of three: `269,722`.
pub(crate) fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = (0..tail.len()).step_by(3).map(|at| &tail[at..at + 3]);
    let groups: Vec<&str> =
        Some(head).filter(|head| !head.is_empty()).into_iter().chain(groups).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 12, 999, 1000, 269_722, 40_551_040].map(grouped);
        assert_eq!(texts, ["0", "12", "999", "1,000", "269,722", "40,551,040"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = write_file(Path::new("/proc/none/x"), b"").unwrap_err().to_string();
        assert_eq!(error, "cannot write /proc/none/x");
    }
}
