//! What came of the points of a search: a table for people, and `search.json`.
//!
//! Accuracy is that of the validation images in percent, costs are those of one image,
//! and time is that of training, over all sessions.

use serde::Serialize;

use super::point::Point;
use crate::output::{columns, grouped};

/// What came of one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) point: Point,
    pub(crate) params: u64,
    /// Multiply-accumulates.
    pub(crate) macs: u64,
    /// Validation accuracy in percent.
    pub(crate) validation_top1: f64,
    pub(crate) seconds: f64,
}

/// A search's `search.json`.
#[derive(Serialize)]
pub(crate) struct Search {
    /// The validation accuracy that is sought, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<f64>,
    /// Whether a point that was scaled from the best of the grid has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reached: Option<bool>,
    /// Name of the grid's best point.
    best: Option<String>,
    /// Name of the last one that was scaled from it.
    largest: Option<String>,
    points: Vec<Entry>,
}

/// A point in `search.json`.
#[derive(Serialize)]
struct Entry {
    name: String,
    depth: f64,
    width: f64,
    phi: f64,
    params: u64,
    macs: u64,
    validation_top1: f64,
    seconds: f64,
}

impl From<&Row> for Entry {
    fn from(row: &Row) -> Self {
        let &Row { point, params, macs, validation_top1, seconds } = row;
        let Point { depth, width, phi } = point;
        Self { name: point.to_string(), depth, width, phi, params, macs, validation_top1, seconds }
    }
}

/// The most accurate point that can be scaled further; of equal ones the cheapest.
pub(crate) fn best(rows: &[Row]) -> Option<&Row> {
    rows.iter()
        .filter(|row| row.point.grows())
        .min_by(|a, b| b.validation_top1.total_cmp(&a.validation_top1).then(a.macs.cmp(&b.macs)))
}

impl Search {
    /// Of the points of the grid, and the best of them scaled.
    pub(crate) fn new(grid: &[Row], scaled: &[Row], until: Option<f64>) -> Self {
        let best = best(grid);
        let largest = scaled.last().or(best);
        let is_enough = |until: f64| largest.is_some_and(|row| row.validation_top1 >= until);
        Self {
            until,
            reached: until.map(is_enough),
            best: best.map(|row| row.point.to_string()),
            largest: largest.map(|row| row.point.to_string()),
            points: grid.iter().chain(scaled).map(Entry::from).collect(),
        }
    }

    /// Whether nothing is left to be trained.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached == Some(true)
    }

    /// Name of the grid's best point.
    pub(crate) fn best(&self) -> &str {
        self.best.as_deref().unwrap_or_default()
    }

    /// Name of the last point that was scaled from it.
    pub(crate) fn largest(&self) -> &str {
        self.largest.as_deref().unwrap_or_default()
    }

    /// The points, as columns of text.
    pub(crate) fn table(&self) -> String {
        let titles = ["point", "params", "MACs", "validation %", "minutes"].map(str::to_owned);
        let mut lines = vec![(" ", titles)];
        let mark = |entry: &Entry| if self.best() == entry.name { "*" } else { " " };
        lines.extend(self.points.iter().map(|entry| (mark(entry), entry.cells())));
        columns(&lines)
    }
}

impl Entry {
    fn cells(&self) -> [String; 5] {
        [
            self.name.clone(),
            grouped(self.params),
            grouped(self.macs),
            format!("{:.2}", self.validation_top1),
            format!("{:.1}", self.seconds / 60.0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(depth: f64, width: f64, macs: u64, validation_top1: f64) -> Row {
        let point = Point { depth, width, phi: 1.0 };
        Row { point, params: 1000, macs, validation_top1, seconds: 90.0 }
    }

    #[test]
    fn the_best_is_the_most_accurate_that_grows() {
        let rows = [
            row(1.0, 1.0, 50, 99.0),
            row(1.0, 1.4, 100, 80.0),
            row(1.4, 1.2, 110, 90.0),
            row(1.2, 1.3, 105, 90.0),
        ];
        assert_eq!(best(&rows), Some(&rows[3]));
        assert_eq!(best(&rows[..1]), None);
    }

    #[test]
    fn the_goal_is_reached_by_the_last_point() {
        let grid = [row(1.4, 1.2, 100, 80.0)];
        let scaled = [row(1.4, 1.2, 400, 91.0)];
        assert!(!Search::new(&grid, &[], Some(90.0)).is_reached());
        assert!(Search::new(&grid, &[], Some(80.0)).is_reached());
        assert!(Search::new(&grid, &scaled, Some(90.0)).is_reached());
        assert!(!Search::new(&grid, &scaled, None).is_reached());
    }

    #[test]
    fn a_table_marks_the_best() {
        let grid = [row(1.0, 1.0, 1_000_000, 70.0), row(1.4, 1.2, 2_000_000, 80.125)];
        let expected = "  point                      params       MACs  validation %  minutes\n  \
                        depth=1,width=1,phi=1       1,000  1,000,000         70.00      1.5\n\
                        * depth=1.4,width=1.2,phi=1   1,000  2,000,000         80.12      1.5\n";
        assert_eq!(Search::new(&grid, &[], None).table(), expected);
    }
}
