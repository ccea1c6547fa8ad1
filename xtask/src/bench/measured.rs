//! The rounds of all contenders of a row, and what they come to.

use anyhow::Result;
use serde::Serialize;

use super::spread::Spread;

/// A measured row.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
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
}

/// The rounds of one contender.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) rounds: Vec<f64>,
    pub(crate) spread: Spread,
}

/// Has all contenders work in turn, again and again, so that a machine that becomes
/// slower becomes it for all. The first round of each is not counted.
///
/// `work` has a contender do its round and gives the figure; series are in the order
/// of the contenders.
///
/// # Errors
/// The first of `work`.
pub(crate) fn in_turn<C>(
    contenders: &[C],
    rounds: usize,
    mut work: impl FnMut(&C) -> Result<f64>,
) -> Result<Vec<Vec<f64>>> {
    let mut series = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..=rounds {
        for (contender, series) in contenders.iter().zip(&mut series) {
            let figure = work(contender)?;
            if round > 0 {
                series.push(figure);
            }
        }
    }
    Ok(series)
}

impl Measured {
    /// Compares the first of at least two series with the best of the others.
    pub(crate) fn new(
        name: impl Into<String>,
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
        let ratio = Spread::of(&ratios(&series[0], &series[best], others_over_first));
        let (name, title) = (name.into(), title.into());
        Self { name, title, unit, series, best, ratio, others_over_first }
    }

    /// Ours.
    pub(crate) fn first(&self) -> &Series {
        &self.series[0]
    }

    /// The best of the others.
    pub(crate) fn other(&self) -> &Series {
        &self.series[self.best]
    }

    /// The ratio of each round: what slows both sides down in a round cancels out.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        ratios(self.first(), self.other(), self.others_over_first)
    }
}

fn ratios(first: &Series, other: &Series, others_over_first: bool) -> Vec<f64> {
    let rounds = first.rounds.iter().zip(&other.rounds);
    let ratio = |(first, other): (&f64, &f64)| match others_over_first {
        true => other / first,
        false => first / other,
    };
    rounds.map(ratio).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(others_over_first: bool) -> Measured {
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
        assert_eq!(more_is_better.other().label, "fast");
        assert_eq!(more_is_better.ratio, Spread { min: 1.5, lower: 1.5, median: 1.5, upper: 1.75 });
        assert_eq!(row(false).ratio.median, 1.0 / 1.5);
    }

    #[test]
    fn what_slows_both_sides_cancels_out() {
        let rounds = [("ec2t", vec![10.0, 100.0, 10.5]), ("other", vec![20.0, 200.0, 21.0])];
        let rounds = rounds.map(|(label, rounds)| (label.to_owned(), rounds)).to_vec();
        assert_eq!(Measured::new("w", "Work", "ms", rounds, true).ratios(), [2.0; 3]);
    }

    #[test]
    fn contenders_take_turns_and_the_first_round_is_not_counted() {
        let mut calls = Vec::new();
        let series = in_turn(&["a", "b"], 2, |contender| {
            calls.push(*contender);
            Ok(calls.len() as f64)
        });
        assert_eq!(series.unwrap(), [[3.0, 5.0], [4.0, 6.0]]);
        assert_eq!(calls, ["a", "b", "a", "b", "a", "b"]);
    }

    #[test]
    fn a_contender_that_fails_ends_the_rounds() {
        let fail = |contender: &&str| match *contender {
            "b" => Err(anyhow::anyhow!("b is gone")),
            _ => Ok(1.0),
        };
        assert_eq!(in_turn(&["a", "b"], 2, fail).unwrap_err().to_string(), "b is gone");
    }

    #[test]
    fn json_has_every_round() {
        let json = serde_json::to_value(row(true)).unwrap();
        assert_eq!(json["series"][2]["rounds"], serde_json::json!([15.0, 24.0, 21.0]));
        assert_eq!(json["ratio"]["median"], 1.5);
    }
}
