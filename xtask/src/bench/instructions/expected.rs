//! Stored counts of instructions, and the comparison with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::super::table;

/// How much more a row may take than is stored.
const BOUND: f64 = 0.03;

/// The same with another compiler, relative to the baseline.
const LOOSE_BOUND: f64 = 0.25;

/// The row that others are compared with where the compiler is another one.
const BASELINE: &str = "baseline";

/// Instructions by instruction set and row.
pub(super) type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// Counts, and the compiler that they are of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Expected {
    /// What `rustc --version` says.
    pub(super) rustc: String,
    pub(super) counts: Counts,
}

impl Expected {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

/// What was counted, beside what is stored. Shown as a table.
#[derive(Debug)]
pub(super) struct Comparison {
    /// Why rows are compared relative to the baseline, if they are.
    another_compiler: Option<String>,
    /// Instruction sets with stored counts that were not run here.
    left_out: Vec<String>,
    rows: Vec<Row>,
}

/// A row with one instruction set.
#[derive(Debug)]
struct Row {
    isa: String,
    name: String,
    expected: Option<u64>,
    found: Option<u64>,
    /// Found over expected, as it is compared.
    ratio: Option<f64>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    AsExpected,
    /// Under the bound's counterpart: to be stored, or the gain can be lost unseen.
    Less,
    More,
    NotStored,
    NotFound,
}

impl Comparison {
    pub(super) fn new(expected: &Expected, found: &Expected) -> Self {
        let same = expected.rustc == found.rustc;
        let mut comparison = Self {
            another_compiler: (!same).then(|| {
                format!("stored are counts of {}, this is {}", expected.rustc, found.rustc)
            }),
            left_out: Vec::new(),
            rows: Vec::new(),
        };
        let none = BTreeMap::new();
        for isa in expected.counts.keys().chain(found.counts.keys()).collect::<BTreeSet<_>>() {
            match [&expected.counts, &found.counts].map(|counts| counts.get(isa)) {
                [_, None] => comparison.left_out.push(isa.clone()),
                [expected, Some(found)] => {
                    comparison.compare(isa, [expected.unwrap_or(&none), found], same);
                }
            }
        }
        comparison
    }

    /// Compares the rows of an instruction set, in counts or relative to the baseline.
    fn compare(&mut self, isa: &str, counts: [&BTreeMap<String, u64>; 2], same: bool) {
        let baselines = match same {
            true => Some([1; 2]),
            false => both(counts.map(|counts| counts.get(BASELINE).copied())),
        };
        let names: BTreeSet<&String> = counts.into_iter().flat_map(BTreeMap::keys).collect();
        for name in names.into_iter().filter(|name| same || *name != BASELINE) {
            let [expected, found] = counts.map(|counts| counts.get(name).copied());
            let ratio = both([expected, found]).zip(baselines).map(|(counts, baselines)| {
                let [expected, found] = [0, 1].map(|i| counts[i] as f64 / baselines[i] as f64);
                found / expected
            });
            let bound = if same { BOUND } else { LOOSE_BOUND };
            let verdict = match ratio {
                Some(ratio) if ratio > 1.0 + bound => Verdict::More,
                Some(ratio) if ratio < 1.0 - bound => Verdict::Less,
                Some(_) => Verdict::AsExpected,
                None if found.is_none() => Verdict::NotFound,
                None => Verdict::NotStored,
            };
            let (isa, name) = (isa.to_owned(), name.clone());
            self.rows.push(Row { isa, name, expected, found, ratio, verdict });
        }
    }

    /// Whether no row takes more than it should, and all rows are known.
    pub(super) fn passed(&self) -> bool {
        let good = [Verdict::AsExpected, Verdict::Less];
        !self.rows.is_empty() && self.rows.iter().all(|row| good.contains(&row.verdict))
    }
}

fn both<T>([a, b]: [Option<T>; 2]) -> Option<[T; 2]> {
    Some([a?, b?])
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match &self.another_compiler {
            None => "change",
            Some(reason) => {
                writeln!(f, "{reason}: rows are compared relative to the baseline")?;
                "change, relative to the baseline"
            }
        };
        f.write_str(&table::head(&["set", "row", "expected", "found", change, ""]))?;
        for row in &self.rows {
            f.write_str(&table::line(&row.cells()))?;
        }
        for isa in &self.left_out {
            writeln!(f, "not compared: {isa}, which is not run here")?;
        }
        let count = |verdict| self.rows.iter().filter(|row| row.verdict == verdict).count();
        let store = "`cargo xtask bench instructions --bless` stores what is found";
        match (self.passed(), count(Verdict::Less)) {
            (true, 0) => Ok(()),
            (true, less) => writeln!(f, "rows that take less than is stored: {less}; {store}"),
            (false, _) => writeln!(
                f,
                "rows that take more than they should: {}; not stored: {}; not run: {}; {store}",
                count(Verdict::More),
                count(Verdict::NotStored),
                count(Verdict::NotFound)
            ),
        }
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let number = |count: Option<u64>| count.map_or("–".into(), |count| count.to_string());
        let change =
            self.ratio.map_or("–".into(), |ratio| format!("{:+.1} %", 100.0 * ratio - 100.0));
        let verdict = match self.verdict {
            Verdict::AsExpected => "",
            Verdict::Less => "less",
            Verdict::More => "MORE",
            Verdict::NotStored => "NOT STORED",
            Verdict::NotFound => "NOT RUN",
        };
        let (expected, found) = (number(self.expected), number(self.found));
        [self.isa.clone(), self.name.clone(), expected, found, change, verdict.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rustc: &str, rows: &[(&str, &str, u64)]) -> Expected {
        let mut counts = Counts::new();
        for (isa, row, count) in rows {
            counts.entry((*isa).into()).or_default().insert((*row).into(), *count);
        }
        Expected { rustc: rustc.into(), counts }
    }

    #[test]
    fn three_per_cent_more_are_too_many() {
        let expected = counts("1", &[("avx2", "a", 1000), ("avx2", "b", 1000)]);
        for (found, verdict, passed) in [
            (1030, Verdict::AsExpected, true),
            (1031, Verdict::More, false),
            (970, Verdict::AsExpected, true),
            (969, Verdict::Less, true),
        ] {
            let found = counts("1", &[("avx2", "a", 1000), ("avx2", "b", found)]);
            let comparison = Comparison::new(&expected, &found);
            assert_eq!(comparison.rows[1].verdict, verdict);
            assert_eq!(comparison.passed(), passed);
        }
    }

    #[test]
    fn the_table_names_the_row_that_takes_more() {
        let expected = counts("1", &[("avx2", "a", 1000), ("neon", "a", 7)]);
        let text = Comparison::new(&expected, &counts("1", &[("avx2", "a", 1500)])).to_string();
        assert!(text.contains("| avx2 | a | 1000 | 1500 | +50.0 % | MORE |\n"), "{text}");
        assert!(text.contains("not compared: neon"), "{text}");
        assert!(text.contains("rows that take more than they should: 1;"), "{text}");
    }

    #[test]
    fn with_another_compiler_only_the_ratio_to_the_baseline_counts() {
        let rows = |a, baseline| [("avx2", "a", a), ("avx2", BASELINE, baseline)];
        let expected = counts("1", &rows(1000, 500));
        for (a, baseline, passed) in [(2000, 1000, true), (1240, 500, true), (1260, 500, false)] {
            let comparison = Comparison::new(&expected, &counts("2", &rows(a, baseline)));
            assert_eq!(comparison.passed(), passed, "{comparison}");
            assert_eq!(comparison.rows.len(), 1);
        }
        let comparison = Comparison::new(&expected, &counts("2", &[("avx2", "a", 1000)]));
        assert!(!comparison.passed(), "without a baseline nothing is compared");
        assert!(comparison.to_string().starts_with("stored are counts of 1, this is 2"));
    }

    #[test]
    fn rows_must_be_stored_and_run() {
        let [a, b] = ["a", "b"].map(|row| counts("1", &[("avx2", row, 10)]));
        let verdicts: Vec<_> =
            Comparison::new(&a, &b).rows.into_iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [Verdict::NotFound, Verdict::NotStored]);
        let nothing = Expected { rustc: "1".into(), counts: Counts::new() };
        assert!(!Comparison::new(&a, &nothing).passed());
        assert!(!Comparison::new(&nothing, &a).passed());
    }

    #[test]
    fn counts_are_stored_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("expected.json");
        let expected = counts("rustc 1.95.0", &[("avx2", "a", 1000), ("portable", "a", 3000)]);
        expected.write(&path).unwrap();
        assert_eq!(Expected::read(&path).unwrap(), expected);
        let error = Expected::read(&folder.path().join("none.json")).unwrap_err();
        assert!(error.to_string().ends_with("none.json"), "{error}");
    }
}
