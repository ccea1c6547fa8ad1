//! Runs the program of fixed work under Valgrind's Callgrind.
//!
//! Callgrind writes what it has counted to a file each time the function that does the
//! work returns, numbered from 1, and starts at zero each time the function is called.
//! The program names these calls in its output, one a line.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::expected::Counts;
use crate::shell;

/// The function that does the work of a row.
const MEASURED: &str = "instructions::measured";

/// Whether there is a Valgrind that can be started.
pub(super) fn is_installed() -> Result<bool> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) => Ok(output.status.success()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("cannot start valgrind"),
    }
}

/// Instructions of each row.
pub(super) fn count(program: &Path) -> Result<Counts> {
    let folder = tempfile::tempdir().context("no folder for counts")?;
    let file = folder.path().join("counts");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--zero-before={MEASURED}"))
        .arg(format!("--dump-after={MEASURED}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program);
    let text = shell::line([command.get_program()].into_iter().chain(command.get_args()));
    eprintln!("$ {text}");
    let output = command.output().with_context(|| format!("cannot start `{text}`"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{text}` failed ({}):\n{}", output.status, errors.trim_end());
    }
    let rows = String::from_utf8(output.stdout).context("names of rows")?;
    let mut counts = Counts::new();
    for (row, number) in rows.lines().zip(1..) {
        let (isa, row) = row.split_once(' ').with_context(|| format!("unexpected line {row:?}"))?;
        let path = file.with_extension(number.to_string());
        let dump = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let total = total(&dump).with_context(|| format!("no total in {}", path.display()))?;
        ensure!(total > 0, "nothing was counted for {row}; is {MEASURED} there?");
        counts.entry(isa.into()).or_default().insert(row.into(), total);
    }
    ensure!(!counts.is_empty(), "{} ran no row", program.display());
    Ok(counts)
}

/// The number of all instructions in what Callgrind has written.
fn total(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_read() {
        let dump = "version: 1\nevents: Ir\nfn=(1) f\n3 12\n\ntotals: 1695067\n";
        assert_eq!(total(dump), Some(1_695_067));
        assert_eq!(total("events: Ir\n"), None);
    }
}
