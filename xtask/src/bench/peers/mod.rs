//! `cargo xtask bench peers`: our inference beside that of other programs.
//!
//! | module | does |
//! |---|---|
//! | [`row`] | lists what is compared, with whom |
//! | [`sides`] | runs the programs, checks their outputs, takes their times |
//! | [`result`] | means and tables |

mod result;
mod row;
mod sides;

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

use super::machine::Machine;
use super::report;
use result::{Mean, Ran, Without, means, medians, summary};
use row::{Row, rows};
use sides::{Outcome, Sides};

/// Compare inference with other programs, on one thread.
///
/// Takes some minutes, and a machine that does nothing else. The others, of some
/// gigabytes, are installed into a virtual environment in the user's cache folder
/// where they are not there. Networks that need EC2T_MODELS_DIR are skipped without it;
/// images are random without EC2T_DATA_DIR.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only rows whose name contains this; may be given many times
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Rounds of each contender
    #[arg(long, value_name = "N", default_value = "10")]
    rounds: NonZero<usize>,
    /// A Python that has the other programs
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Write all rounds to this file, or to stdout in place of the tables
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

/// All that is written as JSON.
#[derive(Serialize)]
struct Report {
    rounds: usize,
    machine: Machine,
    peers: Vec<String>,
    rows: Vec<Ran>,
    means: Vec<Mean>,
    skipped: Vec<Without>,
    failed: Vec<Without>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let rows = chosen(&args.only)?;
    let mut sides = Sides::new(args.python.as_deref(), args.rounds.get())?;
    let machine = Machine::look();
    let (mut ran, mut skipped, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        eprintln!("{}: {}", row.name, row.title);
        let without = |reason| Without { name: row.name.clone(), reason };
        match sides.measure(row) {
            Ok(Outcome::Ran(row)) => ran.push(*row),
            Ok(Outcome::Skipped(reason)) => {
                eprintln!("  skipped: {reason}");
                skipped.push(without(reason));
            }
            Err(error) => {
                eprintln!("  failed: {error:#}");
                failed.push(without(format!("{error:#}")));
                sides.end();
            }
        }
    }
    let report = Report {
        rounds: args.rounds.get(),
        machine,
        peers: sides.versions().collect(),
        means: means(&ran),
        rows: ran,
        skipped,
        failed,
    };
    report::write(&report, args.json.as_deref(), &text(&report))?;
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rows whose name contains one of the patterns; all where there are none.
fn chosen(only: &[String]) -> Result<Vec<Row>> {
    let mut rows = rows();
    for pattern in only {
        if !rows.iter().any(|row| row.name.contains(pattern)) {
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            bail!("no row's name contains `{pattern}`; there are {}", names.join(", "));
        }
    }
    rows.retain(|row| only.is_empty() || only.iter().any(|pattern| row.name.contains(pattern)));
    Ok(rows)
}

fn text(report: &Report) -> String {
    let Report { rounds, machine, peers, rows, means, skipped, failed } = report;
    let processor = machine.processor.as_deref().unwrap_or("unknown processor");
    let load = machine.load.map_or_else(|| "unknown".into(), |load| format!("{load:.2}"));
    let mut text = format!(
        "\n{rounds} rounds on {processor}, load {load}; {}\n\n{}\n{}",
        peers.join("; "),
        summary(rows, means),
        medians(rows),
    );
    for (what, rows) in [("skipped", skipped), ("failed", failed)] {
        for Without { name, reason } in rows {
            text += &format!("\n{what}: {name}: {reason}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_a_part_of_their_name() {
        let names = |only: &[&str]| -> Vec<String> {
            let only: Vec<String> = only.iter().map(|pattern| (*pattern).into()).collect();
            chosen(&only).unwrap().into_iter().map(|row| row.name).collect()
        };
        assert_eq!(names(&[]).len(), rows().len());
        assert_eq!(
            names(&["73", "int8"]),
            ["resnet20-73", "resnet20-64-int8", "resnet20-64-x64-int8"]
        );
        let error = chosen(&["vgg".into()]).unwrap_err().to_string();
        assert!(
            error.starts_with("no row's name contains `vgg`; there are resnet20-45"),
            "{error}"
        );
    }
}
