//! What rows come to, and how they are written.

use serde::Serialize;

use super::super::measured::Measured;
use super::super::spread::Spread;
use super::super::table::{self, compared, number};

/// A measured row.
#[derive(Debug, Serialize)]
pub(super) struct Ran {
    #[serde(flatten)]
    pub(super) measured: Measured,
    /// Share of zeros in all parameters, those of dense layers too.
    pub(super) zeros: f64,
    /// Where the images are from.
    pub(super) images: String,
    /// How far the outputs of the others are from ours, in their order.
    pub(super) differences: Vec<Difference>,
    #[serde(skip)]
    pub(super) group: Option<String>,
}

/// How far a program's output is from ours.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    pub(super) label: &'static str,
    /// Largest of the absolute differences.
    pub(super) error: f64,
    /// Largest absolute value of ours.
    pub(super) largest: f64,
}

/// A row without figures.
#[derive(Debug, Serialize)]
pub(super) struct Without {
    pub(super) name: String,
    pub(super) reason: String,
}

/// The ratios of several rows as one.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Mean {
    pub(super) group: String,
    /// Number of rows.
    pub(super) rows: usize,
    /// Geometric mean of their ratios, round by round.
    pub(super) ratio: Spread,
}

/// The geometric means of all groups, in the order of the rows.
pub(super) fn means(rows: &[Ran]) -> Vec<Mean> {
    let mut groups: Vec<&String> = rows.iter().filter_map(|row| row.group.as_ref()).collect();
    groups.dedup();
    let mean = |group: &String| {
        let members = rows.iter().filter(|row| row.group.as_ref() == Some(group));
        let members: Vec<Vec<f64>> = members.map(|row| row.measured.ratios()).collect();
        let rounds = members.iter().map(Vec::len).min().unwrap_or(0);
        let in_round = |round: usize| {
            let logarithms: f64 = members.iter().map(|ratios| ratios[round].ln()).sum();
            (logarithms / members.len() as f64).exp()
        };
        let ratios: Vec<f64> = (0..rounds).map(in_round).collect();
        Mean { group: group.clone(), rows: members.len(), ratio: Spread::of(&ratios) }
    };
    groups.into_iter().map(mean).collect()
}

/// The rows as a Markdown table, and the means; quartiles are in brackets.
pub(super) fn summary(rows: &[Ran], means: &[Mean]) -> String {
    let headings = ["work", "ec2t", "compared with", "ratio", "zeros", "largest difference"];
    let mut table = table::head(&headings);
    for row in rows {
        let zeros = format!("{:.1} %", 100.0 * row.zeros);
        let difference = row.differences.iter().map(|d| d.error).max_by(f64::total_cmp);
        let difference = difference.map_or_else(|| "–".into(), |error| format!("{error:.1e}"));
        table += &table::line(&[&compared(&row.measured)[..], &[zeros, difference]].concat());
    }
    for Mean { group, rows, ratio } in means {
        let cells = [format!("{group}: geometric mean of {rows}"), String::new(), String::new()];
        let ratio = [table::ratio(ratio), String::new(), String::new()];
        table += &table::line(&[cells, ratio].concat());
    }
    table
}

/// The median of each contender of each row, as a Markdown table: a column for each
/// of those that any row has.
pub(super) fn medians(rows: &[Ran]) -> String {
    let mut labels: Vec<&str> = Vec::new();
    for series in rows.iter().flat_map(|row| &row.measured.series) {
        if !labels.contains(&series.label.as_str()) {
            labels.push(&series.label);
        }
    }
    let mut table = table::head(&[&["median, ms"], &labels[..]].concat());
    for row in rows {
        let median = |label: &&str| {
            let mut series = row.measured.series.iter();
            let found = series.find(|series| series.label == **label);
            found.map_or_else(|| "–".into(), |series| number(series.spread.median))
        };
        let cells = labels.iter().map(median);
        table +=
            &table::line(&[row.measured.name.clone()].into_iter().chain(cells).collect::<Vec<_>>());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::super::measured::tests::row;
    use super::*;

    fn ran(group: Option<&str>, ours: [f64; 2], other: [f64; 2]) -> Ran {
        let series = vec![("ec2t".into(), ours.to_vec()), ("other".into(), other.to_vec())];
        Ran {
            measured: Measured::new("name", "Title", "ms", series, true),
            zeros: 0.6421,
            images: "random".into(),
            differences: vec![Difference { label: "other", error: 2e-5, largest: 10.0 }],
            group: group.map(Into::into),
        }
    }

    #[test]
    fn the_mean_of_a_group_is_geometric_and_round_by_round() {
        let rows = [
            ran(Some("a"), [1.0, 1.0], [2.0, 4.0]),
            ran(Some("a"), [2.0, 2.0], [16.0, 32.0]),
            ran(None, [1.0, 1.0], [100.0, 100.0]),
            ran(Some("b"), [1.0, 1.0], [3.0, 3.0]),
        ];
        let means = means(&rows);
        assert_eq!(means.len(), 2);
        assert_eq!((means[0].group.as_str(), means[0].rows), ("a", 2));
        // Ratios 2 and 8, then 4 and 16.
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-12;
        assert!(near(means[0].ratio.min, 4.0) && near(means[0].ratio.median, 6.0), "{means:?}");
        assert!(near(means[1].ratio.median, 3.0), "{means:?}");
    }

    #[test]
    fn the_summary_has_rows_and_means() {
        let rows = [ran(Some("a"), [1.0, 1.0], [2.0, 2.0])];
        let summary = summary(&rows, &means(&rows));
        let lines: Vec<&str> = summary.lines().skip(2).collect();
        let first = "| Title | 1.00 ms | other: 2.00 ms | **2.000** | 64.2 % | 2.0e-5 |";
        assert_eq!(lines[0], first);
        assert!(lines[1].starts_with("| a: geometric mean of 1 |  |  | **2.000** |"), "{summary}");
    }

    #[test]
    fn medians_have_a_column_for_each_contender() {
        let mut three = ran(None, [1.0, 1.0], [2.0, 2.0]);
        three.measured = row(true);
        let medians = medians(&[ran(None, [1.0, 3.0], [4.0, 4.0]), three]);
        let expected = "| median, ms | ec2t | other | slow | fast |\n|---|---|---|---|---|\n\
                        | name | 2.00 | 4.00 | – | – |\n| w | 12.0 | – | 31.0 | 21.0 |\n";
        assert_eq!(medians, expected);
    }
}
