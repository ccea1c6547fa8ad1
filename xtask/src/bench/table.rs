//! Measured rows as Markdown tables.

use super::measured::{Measured, Series};
use super::spread::Spread;

/// A table with these headings, without rows yet.
pub(crate) fn head(headings: &[&str]) -> String {
    let rule = "---|".repeat(headings.len());
    format!("| {} |\n|{rule}\n", headings.join(" | "))
}

/// A row.
pub(crate) fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// What all tables say of a row: its title, ours, the best of the others, the ratio.
/// Quartiles are in brackets.
pub(crate) fn compared(row: &Measured) -> [String; 4] {
    let [ours, other] = [row.first(), row.other()];
    [
        row.title.clone(),
        quartiles(&ours.spread, row.unit),
        format!("{}: {}", other.label, quartiles(&other.spread, row.unit)),
        ratio(&row.ratio),
    ]
}

/// All series of all rows.
pub(crate) fn details<'a>(rows: impl IntoIterator<Item = &'a Measured>) -> String {
    let mut table = head(&["work", "who", "unit", "least", "quartile", "median", "quartile"]);
    for row in rows {
        for Series { label, spread, .. } in &row.series {
            let Spread { min, lower, median, upper } = *spread;
            let numbers = [min, lower, median, upper].map(number);
            let words = [&*row.name, label, row.unit].map(str::to_owned);
            table += &line(&[&words[..], &numbers].concat());
        }
    }
    table
}

fn quartiles(spread: &Spread, unit: &str) -> String {
    let [lower, median, upper] = [spread.lower, spread.median, spread.upper].map(number);
    match spread.lower == spread.upper {
        true => format!("{median} {unit}"),
        false => format!("{median} {unit} ({lower}–{upper})"),
    }
}

/// A ratio with the quartiles of its rounds.
pub(crate) fn ratio(spread: &Spread) -> String {
    let Spread { lower, median, upper, .. } = spread;
    match lower == upper {
        true => format!("**{median:.3}**"),
        false => format!("**{median:.3}** ({lower:.3}–{upper:.3})"),
    }
}

/// Three digits, or all before the point; two of small numbers.
pub(crate) fn number(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        0.1.. => format!("{value:.3}"),
        0.01.. => format!("{value:.4}"),
        0.0 => "0".into(),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::measured::tests::row;
    use super::*;

    #[test]
    fn tables_name_medians_and_quartiles() {
        let cells = compared(&row(true));
        let expected =
            ["Work", "12.0 ms (11.0–13.0)", "fast: 21.0 ms (18.0–22.5)", "**1.500** (1.500–1.750)"];
        assert_eq!(cells, expected);
        let details = details([&row(true)]);
        assert_eq!(details.lines().count(), 5);
        assert!(details.contains("| w | slow | ms | 30.0 | 30.5 | 31.0 | 35.5 |\n"), "{details}");
    }

    #[test]
    fn a_table_begins_with_its_headings() {
        assert_eq!(head(&["a", "b"]), "| a | b |\n|---|---|\n");
    }

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [0.0, 0.001_234, 0.01234, 0.1234, 1.234, 12.34, 123.4, 1234.4].map(number);
        assert_eq!(numbers, ["0", "1.2e-3", "0.0123", "0.123", "1.23", "12.3", "123", "1234"]);
    }
}
