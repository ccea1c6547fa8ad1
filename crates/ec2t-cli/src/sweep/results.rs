//! What came of the points of a sweep: a table for people, and `sweep.json`.
//!
//! Accuracy is that of the validation images in percent, zeros are counted over all
//! trained values, entropy is in bits per ternary weight, and time is that of training,
//! over all sessions. A point is on the Pareto front where no other one is at least as
//! accurate in at most as many bytes, and better in one of the two. Deviations over seeds
//! are those of a sample.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::Value;

use super::goal::Goal;
use super::point::Point;
use crate::output::{columns, grouped};

/// What came of one point.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) point: Point,
    /// Share of zeros, 0…1.
    pub(crate) sparsity: f64,
    /// Validation accuracy in percent.
    pub(crate) validation_top1: f64,
    pub(crate) entropy_bits: f64,
    /// Length of the model file.
    pub(crate) bytes: usize,
    pub(crate) seconds: f64,
}

/// A sweep's `sweep.json`.
#[derive(Serialize)]
pub(crate) struct Sweep {
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<Search>,
    points: Vec<Entry>,
    /// Over the seeds of each setting; empty where each has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seeds: Vec<Seeds>,
}

/// What a search was after, and what it has found.
#[derive(Serialize)]
pub(crate) struct Search {
    pub(crate) goal: Goal,
    /// How near is near enough, as a share of zeros or of the target size.
    pub(crate) tolerance: f64,
    /// Name of the point that comes nearest.
    pub(crate) found: Option<String>,
    /// Whether that is what was sought.
    pub(crate) reached: bool,
}

/// A point in `sweep.json`.
#[derive(Serialize)]
struct Entry {
    name: String,
    settings: BTreeMap<&'static str, Value>,
    sparsity: f64,
    validation_top1: f64,
    entropy_bits: f64,
    bytes: usize,
    seconds: f64,
    pareto: bool,
}

impl Entry {
    fn new(row: &Row, pareto: bool) -> Self {
        let &Row { point, sparsity, validation_top1, entropy_bits, bytes, seconds } = row;
        let (name, settings) = (point.name(), point.values());
        Self { name, settings, sparsity, validation_top1, entropy_bits, bytes, seconds, pareto }
    }

    fn cells(&self) -> [String; 6] {
        [
            self.name.clone(),
            format!("{:.2}", 100.0 * self.sparsity),
            format!("{:.2}", self.validation_top1),
            format!("{:.3}", self.entropy_bits),
            grouped(self.bytes),
            format!("{:.1}", self.seconds / 60.0),
        ]
    }
}

/// One setting over its seeds.
#[derive(Serialize)]
struct Seeds {
    name: String,
    seeds: usize,
    sparsity: Spread,
    validation_top1: Spread,
    entropy_bits: Spread,
    bytes: Spread,
    seconds: Spread,
}

/// Mean and standard deviation of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    mean: f64,
    std: f64,
}

impl Spread {
    /// Of at least two values.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / count;
        let squares: f64 = values.map(|value| (value - mean).powi(2)).sum();
        Self { mean, std: (squares / (count - 1.0)).sqrt() }
    }

    /// Mean and deviation in a unit of which there are `per` in this one.
    fn text(self, per: f64, decimals: usize) -> String {
        let [mean, std] = [self.mean, self.std].map(|value| format!("{:.decimals$}", per * value));
        format!("{mean} ± {std}")
    }

    /// The same of whole numbers.
    fn whole(self) -> String {
        let [mean, std] = [self.mean, self.std].map(|value| grouped(value.round()));
        format!("{mean} ± {std}")
    }
}

impl Seeds {
    fn of(rows: &[&Row]) -> Self {
        let spread = |value: fn(&Row) -> f64| Spread::of(rows.iter().map(move |row| value(row)));
        Self {
            name: rows[0].point.name_without_seed(),
            seeds: rows.len(),
            sparsity: spread(|row| row.sparsity),
            validation_top1: spread(|row| row.validation_top1),
            entropy_bits: spread(|row| row.entropy_bits),
            bytes: spread(|row| row.bytes as f64),
            seconds: spread(|row| row.seconds),
        }
    }

    fn cells(&self) -> [String; 6] {
        [
            format!("{}, mean of {} seeds", self.name, self.seeds),
            self.sparsity.text(100.0, 2),
            self.validation_top1.text(1.0, 2),
            self.entropy_bits.text(1.0, 3),
            self.bytes.whole(),
            self.seconds.text(1.0 / 60.0, 1),
        ]
    }
}

impl Sweep {
    pub(crate) fn new(rows: &[Row], search: Option<Search>) -> Self {
        let entry = |row| Entry::new(row, is_on_front(row, rows));
        Self { search, points: rows.iter().map(entry).collect(), seeds: over_seeds(rows) }
    }

    /// The points and the means, as columns of text.
    pub(crate) fn table(&self) -> String {
        let titles = ["point", "zeros %", "validation %", "bits/w", "bytes", "minutes"];
        let mut lines = vec![(" ", titles.map(str::to_owned))];
        let mark = |entry: &Entry| if entry.pareto { "*" } else { " " };
        lines.extend(self.points.iter().map(|entry| (mark(entry), entry.cells())));
        lines.extend(self.seeds.iter().map(|seeds| (" ", seeds.cells())));
        columns(&lines)
    }
}

/// Whether no other point is better in one respect and as good in the other.
fn is_on_front(row: &Row, rows: &[Row]) -> bool {
    !rows.iter().any(|other| {
        let (top1, bytes) = (other.validation_top1, other.bytes);
        top1 >= row.validation_top1
            && bytes <= row.bytes
            && (top1 > row.validation_top1 || bytes < row.bytes)
    })
}

/// The settings that have several seeds, in the order of their first ones.
fn over_seeds(rows: &[Row]) -> Vec<Seeds> {
    let mut groups: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in rows {
        let name = row.point.name_without_seed();
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    let several = groups.iter().filter(|(_, group)| group.len() > 1);
    several.map(|(_, group)| Seeds::of(group)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ec2t_quant::ec2t::Ec2tOptions;

    /// What came of a point with this γ.
    pub(in crate::sweep) fn row(
        gamma: f64,
        sparsity: f64,
        validation_top1: f64,
        bytes: usize,
    ) -> Row {
        let method = Ec2tOptions { gamma, init_scale: 0.3, ..Ec2tOptions::default() };
        let point = Point { method, seed: 1 };
        Row { point, sparsity, validation_top1, entropy_bits: 1.25, bytes, seconds: 90.0 }
    }

    fn with_seed(seed: u64, row: Row) -> Row {
        Row { point: Point { seed, ..row.point }, ..row }
    }

    #[test]
    fn the_front_has_what_nothing_beats() {
        let rows = [
            row(0.1, 0.5, 92.0, 300),
            row(0.2, 0.6, 91.0, 200),
            row(0.3, 0.6, 90.5, 200), // as small, worse
            row(0.4, 0.7, 91.0, 250), // as good, larger
            row(0.5, 0.8, 90.0, 100),
            row(0.6, 0.8, 90.0, 100), // the same twice: neither is beaten
        ];
        let front = rows.iter().map(|row| is_on_front(row, &rows)).collect::<Vec<_>>();
        assert_eq!(front, [true, true, false, false, true, true]);
    }

    #[test]
    fn seeds_of_a_setting_are_averaged() {
        let rows = [
            row(0.1, 0.5, 90.0, 14_100),
            row(0.2, 0.6, 95.0, 14_100),
            with_seed(2, row(0.1, 0.7, 92.0, 14_103)),
        ];
        let sweep = Sweep::new(&rows, None);
        let [seeds] = &sweep.seeds[..] else { panic!("{} settings", sweep.seeds.len()) };
        assert_eq!((seeds.name.as_str(), seeds.seeds), ("gamma=0.1,init_scale=0.3", 2));
        assert_eq!(seeds.validation_top1, Spread { mean: 91.0, std: 2f64.sqrt() });
        assert_eq!(seeds.sparsity.text(100.0, 2), "60.00 ± 14.14");
        let last = sweep.table().lines().last().unwrap().to_owned();
        let expected = "  gamma=0.1,init_scale=0.3, mean of 2 seeds  60.00 ± 14.14  91.00 ± 1.41  \
                        1.250 ± 0.000  14,102 ± 2  1.5 ± 0.0";
        assert_eq!(last, expected);
        assert!(Sweep::new(&rows[..2], None).seeds.is_empty());
    }

    #[test]
    fn a_table_has_its_columns_below_each_other() {
        let rows = [row(0.1, 0.5, 91.0, 14_000), row(0.25, 0.654_32, 90.123, 900)];
        let expected = "  point                             zeros %  validation %  bits/w   bytes  minutes\n\
                        * gamma=0.1,init_scale=0.3,seed=1     50.00         91.00   1.250  14,000      1.5\n\
                        * gamma=0.25,init_scale=0.3,seed=1    65.43         90.12   1.250     900      1.5\n";
        assert_eq!(Sweep::new(&rows, None).table(), expected);
    }

    #[test]
    fn the_file_has_settings_and_numbers() {
        let rows = [row(0.1, 0.5, 91.0, 14_000)];
        let goal = Goal::TargetSparsity(0.5);
        let found = Some(rows[0].point.name());
        let search = Search { goal, tolerance: 0.005, found, reached: true };
        let json = serde_json::to_value(Sweep::new(&rows, Some(search))).unwrap();
        let expected = serde_json::json!({
            "search": {
                "goal": {"target_sparsity": 0.5},
                "tolerance": 0.005,
                "found": "gamma=0.1,init_scale=0.3,seed=1",
                "reached": true,
            },
            "points": [{
                "name": "gamma=0.1,init_scale=0.3,seed=1",
                "settings": {"method": "ec2t", "gamma": 0.1, "init_scale": 0.3, "seed": 1},
                "sparsity": 0.5,
                "validation_top1": 91.0,
                "entropy_bits": 1.25,
                "bytes": 14_000,
                "seconds": 90.0,
                "pareto": true,
            }],
        });
        assert_eq!(json, expected);
    }
}
