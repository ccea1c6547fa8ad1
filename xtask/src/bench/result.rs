//! What a row comes to, and how it is written.

use serde::Serialize;

use super::spread::Spread;

/// Images of CIFAR-10's training set.
const EPOCH: f64 = 50_000.0;

/// A measured row.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// One for each contender; ours is the first.
    pub(crate) series: Vec<Series>,
    /// Position of the best of the others.
    pub(crate) best: usize,
    /// Of the first and the best of the others, round by round.
    pub(crate) ratio: Spread,
    /// Whether `ratio` is the other's figure over ours, so that more is better.
    pub(crate) others_over_first: bool,
    /// Of the first, where images are what is worked on.
    pub(crate) images_per_second: Option<f64>,
    /// Minutes that it takes the first for CIFAR-10's training images.
    pub(crate) minutes_per_epoch: Option<f64>,
}

/// The rounds of one contender.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) rounds: Vec<f64>,
    pub(crate) spread: Spread,
}

impl Measured {
    /// Compares the first of at least two series with the best of the others.
    pub(crate) fn new(
        name: &'static str,
        title: impl Into<String>,
        unit: &'static str,
        rounds: Vec<(String, Vec<f64>)>,
        others_over_first: bool,
    ) -> Self {
        let series = |(label, rounds): (String, Vec<f64>)| {
            let spread = Spread::of(&rounds);
            Series { label, rounds, spread }
        };
        let series: Vec<Series> = rounds.into_iter().map(series).collect();
        let median = |&place: &usize| series[place].spread.median;
        let best = (1..series.len()).min_by(|a, b| median(a).total_cmp(&median(b))).unwrap_or(0);
        let [first, other] = [0, best].map(|place| series[place].rounds.as_slice());
        let ratio = match others_over_first {
            true => Spread::of_ratios(other, first),
            false => Spread::of_ratios(first, other),
        };
        let (images_per_second, minutes_per_epoch) = (None, None);
        let title = title.into();
        Self {
            name,
            title,
            unit,
            series,
            best,
            ratio,
            others_over_first,
            images_per_second,
            minutes_per_epoch,
        }
    }

    /// Adds how many images there are to a repetition, whose unit is a millisecond,
    /// and whether they are CIFAR-10's.
    pub(crate) fn with_images(mut self, images: u32, cifar: bool) -> Self {
        let rate = f64::from(images) * 1e3 / self.series[0].spread.median;
        self.images_per_second = Some(rate);
        self.minutes_per_epoch = cifar.then_some(EPOCH / rate / 60.0);
        self
    }
}

/// The rows as a Markdown table; quartiles are in brackets.
pub(crate) fn summary(rows: &[Measured]) -> String {
    let mut table = String::from(
        "| work | ec2t | compared with | ratio | images/s | minutes per epoch |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in rows {
        let [ours, other] = [&row.series[0], &row.series[row.best]];
        let optional = |value: Option<f64>| value.map_or_else(|| "–".into(), number);
        let cells = [
            row.title.clone(),
            quartiles(&ours.spread, row.unit),
            format!("{}: {}", other.label, quartiles(&other.spread, row.unit)),
            quartiles_of_ratio(&row.ratio),
            optional(row.images_per_second),
            optional(row.minutes_per_epoch),
        ];
        table += &line(&cells);
    }
    table
}

/// All series of all rows as a Markdown table.
pub(crate) fn details(rows: &[Measured]) -> String {
    let mut table = String::from(
        "| work | who | unit | least | quartile | median | quartile |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        for Series { label, spread, .. } in &row.series {
            let Spread { min, lower, median, upper } = *spread;
            let numbers = [min, lower, median, upper].map(number);
            let words = [row.name, label, row.unit].map(str::to_owned);
            table += &line(&[&words[..], &numbers].concat());
        }
    }
    table
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn quartiles(spread: &Spread, unit: &str) -> String {
    let [lower, median, upper] = [spread.lower, spread.median, spread.upper].map(number);
    match spread.lower == spread.upper {
        true => format!("{median} {unit}"),
        false => format!("{median} {unit} ({lower}–{upper})"),
    }
}

fn quartiles_of_ratio(spread: &Spread) -> String {
    let Spread { lower, median, upper, .. } = spread;
    match lower == upper {
        true => format!("**{median:.3}**"),
        false => format!("**{median:.3}** ({lower:.3}–{upper:.3})"),
    }
}

/// Three digits, or all before the point.
fn number(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(others_over_first: bool) -> Measured {
        let rounds = [
            ("ec2t", vec![10.0, 12.0, 14.0]),
            ("slow", vec![30.0, 31.0, 40.0]),
            ("fast", vec![15.0, 24.0, 21.0]),
        ];
        let rounds = rounds.map(|(label, rounds)| (label.to_owned(), rounds)).to_vec();
        Measured::new("w", "Work", "ms", rounds, others_over_first)
    }

    #[test]
    fn ours_is_compared_with_the_best_of_the_others() {
        let more_is_better = row(true);
        assert_eq!(more_is_better.best, 2);
        assert_eq!(more_is_better.ratio, Spread { min: 1.5, lower: 1.5, median: 1.5, upper: 1.75 });
        assert_eq!(row(false).ratio.median, 1.0 / 1.5);
    }

    #[test]
    fn images_are_counted_in_seconds() {
        let row = row(true).with_images(120, true);
        assert_eq!(row.images_per_second, Some(10_000.0));
        assert_eq!(row.minutes_per_epoch, Some(5.0 / 60.0));
        assert_eq!(super::tests::row(true).with_images(120, false).minutes_per_epoch, None);
    }

    #[test]
    fn tables_name_medians_and_quartiles() {
        let rows = [row(true).with_images(120, false)];
        let expected = "| Work | 12.0 ms (11.0–13.0) | fast: 21.0 ms (18.0–22.5) | \
                        **1.500** (1.500–1.750) | 10000 | – |\n";
        assert_eq!(summary(&rows).lines().nth(2).unwrap(), expected.trim_end());
        let details = details(&rows);
        assert_eq!(details.lines().count(), 5);
        assert!(details.contains("| w | slow | ms | 30.0 | 30.5 | 31.0 | 35.5 |\n"), "{details}");
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([1.234, 12.34, 123.4, 1234.4].map(number), ["1.23", "12.3", "123", "1234"]);
    }

    #[test]
    fn json_has_every_round() {
        let json = serde_json::to_value(row(true)).unwrap();
        assert_eq!(json["series"][2]["rounds"], serde_json::json!([15.0, 24.0, 21.0]));
        assert_eq!(json["ratio"]["median"], 1.5);
    }
}
