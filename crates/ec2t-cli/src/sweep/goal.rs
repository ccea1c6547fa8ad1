//! What a search is after, and whether it has got there.
//!
//! All goals set a limit to a number that rises with the strength of the method: γ of
//! EC2T, the threshold of TTQ and TWN.
//!
//! | goal | number | limit | found |
//! |---|---|---|---|
//! | so many zeros | share of zeros | the target | the point nearest to it |
//! | a file of so many bytes | bytes that are not used | none | the largest file that is no larger |
//! | little loss | points of validation accuracy below the float network | the most that may be lost | the sparsest point within it |
//!
//! The tolerance is a share of zeros: how far from the target the point may be, or how
//! much sparser the next point is that loses too much. Of a size it is a share of that, which
//! may remain unused.

use ec2t_format::Network;
use ec2t_quant::ec2t::{Ec2tOptions, Method};
use ec2t_quant::{QuantError, assigned_sparsity};
use serde::Serialize;

use super::bracket::{Bracket, Domain, first_reaching};
use super::results::Row;
use crate::output::grouped;

/// How far the first step of a search for little loss goes, in zeros; each further one
/// goes twice as far.
const FIRST_STEP: f64 = 0.05;

/// In points of accuracy: more than rounding, less than an image.
const ROUNDING: f64 = 1e-9;

/// What a search is after.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// This share of zeros among all trained values.
    TargetSparsity(f64),
    /// A file of at most so many bytes, and hardly fewer.
    TargetSize(usize),
    /// As many zeros as a loss of accuracy allows.
    MaxDrop {
        /// The loss, in points of validation accuracy.
        points: f64,
        /// Validation accuracy of the float network in percent.
        float_top1: f64,
    },
}

impl Goal {
    /// How far a point exceeds the limit, a number that rises with the setting. Of lost
    /// accuracy only whether it does, ±1: there is a cliff, and no line to follow.
    pub(crate) fn excess(self, row: &Row) -> f64 {
        match self {
            Goal::TargetSparsity(target) => row.sparsity - target,
            Goal::TargetSize(limit) => limit as f64 - row.bytes as f64,
            Goal::MaxDrop { points, float_top1 } => {
                (float_top1 - row.validation_top1 - points - ROUNDING).signum()
            }
        }
    }

    /// The point that comes nearest to the goal; none where all lose too much, or are too
    /// large.
    pub(crate) fn pick(self, rows: &[Row]) -> Option<&Row> {
        let sparsity = |a: &&Row, b: &&Row| a.sparsity.total_cmp(&b.sparsity);
        match self {
            Goal::TargetSparsity(target) => {
                let distance = |row: &Row| (row.sparsity - target).abs();
                rows.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
            }
            Goal::TargetSize(limit) => {
                rows.iter().filter(|row| row.bytes <= limit).max_by_key(|row| row.bytes)
            }
            Goal::MaxDrop { .. } => {
                rows.iter().filter(|row| self.excess(row) <= 0.0).max_by(sparsity)
            }
        }
    }

    /// Whether no further point is needed.
    pub(crate) fn is_met(self, rows: &[Row], tolerance: f64) -> bool {
        let Some(found) = self.pick(rows) else { return false };
        match self {
            Goal::TargetSparsity(target) => (found.sparsity - target).abs() <= tolerance,
            Goal::TargetSize(limit) => self.excess(found) <= tolerance * limit as f64,
            Goal::MaxDrop { .. } => rows.iter().any(|row| {
                self.excess(row) > 0.0
                    && (0.0..=tolerance).contains(&(row.sparsity - found.sparsity))
            }),
        }
    }

    /// The sparsity to go for next, as an estimate from the float weights, where that of
    /// the last point was `estimated`. Training is taken to change as much as it did there.
    pub(crate) fn aim(self, rows: &[Row], estimated: f64) -> f64 {
        let Some(last) = rows.last() else { return estimated };
        match self {
            Goal::TargetSparsity(target) => estimated + target - last.sparsity,
            Goal::TargetSize(limit) => {
                let bits = entropy_bits(last.sparsity) * limit as f64 / last.bytes as f64;
                estimated + sparsity_of(bits) - last.sparsity
            }
            Goal::MaxDrop { .. } => {
                let step = FIRST_STEP * 2f64.powi(rows.len() as i32 - 1);
                estimated + if self.excess(last) <= 0.0 { step } else { -step }
            }
        }
    }

    /// What the search has come to, in words: what it has found, or why nothing.
    pub(crate) fn verdict(
        self,
        rows: &[Row],
        tolerance: f64,
        bracket: &Bracket,
    ) -> Result<String, String> {
        let Some(found) = self.pick(rows) else {
            let reach = if bracket.is_above_all() { "out of reach: " } else { "" };
            let all = match self {
                Goal::TargetSize(_) => "every file is larger than --target-size",
                _ => "every point loses more than --max-drop allows",
            };
            let reach = if bracket.is_below_all() { "out of reach: " } else { reach };
            return Err(format!("{reach}{all}"));
        };
        let is = format!("{} with {}", found.point.name(), zeros(found.sparsity));
        match self {
            Goal::TargetSparsity(_) if self.is_met(rows, tolerance) => Ok(format!("found {is}")),
            Goal::TargetSparsity(target) => {
                let reach = match (bracket.is_above_all(), bracket.is_below_all()) {
                    (true, _) => "out of reach: none has fewer; ",
                    (_, true) => "out of reach: none has more; ",
                    _ => "",
                };
                Err(format!("no point has {}; {reach}the nearest is {is}", zeros(target)))
            }
            Goal::TargetSize(limit) => Ok(format!(
                "found {is}: {} of at most {} bytes",
                grouped(found.bytes),
                grouped(limit)
            )),
            Goal::MaxDrop { points, float_top1 } => Ok(format!(
                "found {is}, the sparsest that loses at most {points} points: {:.2} % instead of \
                 {float_top1:.2} %",
                found.validation_top1
            )),
        }
    }
}

/// Entropy of a ternary weight in bits, where the share `zeros` is zero and the others are
/// evenly positive and negative.
fn entropy_bits(zeros: f64) -> f64 {
    let term = |share: f64| if share > 0.0 { -share * share.log2() } else { 0.0 };
    term(zeros) + 2.0 * term((1.0 - zeros) / 2.0)
}

/// The share of zeros, ⅓ to 1, at which weights have this entropy; the nearest where none
/// has.
fn sparsity_of(bits: f64) -> f64 {
    let (mut low, mut high) = (1.0 / 3.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        match entropy_bits(middle) > bits {
            true => low = middle,
            false => high = middle,
        }
    }
    f64::midpoint(low, high)
}

fn zeros(share: f64) -> String {
    format!("{:.2} % zeros", 100.0 * share)
}

/// The setting that a search changes: γ, or a baseline's threshold.
#[derive(Clone, Copy)]
pub(crate) struct Knob {
    method: Method,
    pub(crate) domain: Domain,
}

impl Knob {
    /// That of a method.
    pub(crate) fn of(method: Method) -> Self {
        let greatest = match method {
            Method::Ec2t | Method::Reference => 1.0,
            Method::Ttq => 0.9999,
            Method::Twn => 2.9999,
        };
        Self { method, domain: [0.0, greatest] }
    }

    /// The method's options with another value.
    pub(crate) fn set(&self, options: Ec2tOptions, value: f64) -> Ec2tOptions {
        let mut changed = Ec2tOptions { method: self.method, ..options };
        *changed.pull_mut() = value;
        changed
    }

    /// Its value in the options, as near as its domain allows.
    pub(crate) fn get(&self, options: Ec2tOptions) -> f64 {
        let [least, most] = self.domain;
        Ec2tOptions { method: self.method, ..options }.pull_mut().clamp(least, most)
    }

    /// The value at which a float network that is merely assigned has this share of zeros.
    pub(crate) fn for_sparsity(
        &self,
        network: &Network,
        options: Ec2tOptions,
        wanted: f64,
    ) -> Result<f64, QuantError> {
        first_reaching(self.domain, wanted, |value| {
            assigned_sparsity(network, &self.set(options, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::results::tests::row;

    const TARGET: Goal = Goal::TargetSparsity(0.64);
    const DROP: Goal = Goal::MaxDrop { points: 0.5, float_top1: 92.0 };

    fn bracket(goal: Goal, rows: &[Row]) -> Bracket {
        let mut bracket = Bracket::new([0.0, 1.0]);
        rows.iter().for_each(|row| bracket.record(row.point.method.gamma, goal.excess(row)));
        bracket
    }

    #[test]
    fn the_nearest_to_a_target_is_picked() {
        let rows = [row(0.1, 0.50, 91.0, 9), row(0.2, 0.638, 90.0, 8), row(0.3, 0.65, 92.0, 7)];
        assert_eq!(TARGET.pick(&rows), Some(&rows[1]));
        assert!(TARGET.is_met(&rows, 0.005) && !TARGET.is_met(&rows, 0.001));
        assert!(!TARGET.is_met(&[], 1.0));
        let open = bracket(TARGET, &rows);
        let found = TARGET.verdict(&rows, 0.005, &open).unwrap();
        assert_eq!(found, "found gamma=0.2,init_scale=0.3,seed=1 with 63.80 % zeros");
        let error = TARGET.verdict(&rows, 0.001, &open).unwrap_err();
        assert!(
            error.starts_with("no point has 64.00 % zeros; the nearest is gamma=0.2"),
            "{error}"
        );
    }

    #[test]
    fn a_target_beyond_an_end_is_out_of_reach() {
        for (at, sparsity, part) in [(0.0, 0.7, "none has fewer"), (1.0, 0.6, "none has more")] {
            let rows = [row(at, sparsity, 90.0, 9)];
            let error = TARGET.verdict(&rows, 0.005, &bracket(TARGET, &rows)).unwrap_err();
            assert!(error.contains(&format!("out of reach: {part}; the nearest is")), "{error}");
        }
    }

    #[test]
    fn the_sparsest_that_loses_little_is_picked() {
        let mut rows =
            vec![row(0.1, 0.60, 91.8, 9), row(0.3, 0.70, 91.5, 8), row(0.9, 0.90, 91.4, 7)];
        assert_eq!(DROP.pick(&rows), Some(&rows[1]));
        assert!(!DROP.is_met(&rows, 0.005));
        rows.push(row(0.4, 0.704, 91.4, 8));
        assert!(DROP.is_met(&rows, 0.005));
        let found = DROP.verdict(&rows, 0.005, &bracket(DROP, &rows)).unwrap();
        assert!(found.contains("gamma=0.3") && found.contains("91.50 % instead of 92"), "{found}");

        // 90.2 − 90.1 is 0.10000000000000853 in floats.
        let exact = Goal::MaxDrop { points: 0.1, float_top1: 90.2 };
        assert!(exact.pick(&[row(0.1, 0.6, 90.1, 9)]).is_some());

        for (gamma, reach) in [(0.0, "out of reach: "), (0.2, "")] {
            let worse = [row(gamma, 0.5, 91.0, 9)];
            assert_eq!(DROP.pick(&worse), None);
            let error = DROP.verdict(&worse, 0.005, &bracket(DROP, &worse)).unwrap_err();
            assert_eq!(error, format!("{reach}every point loses more than --max-drop allows"));
        }
    }

    #[test]
    fn the_largest_file_that_is_small_enough_is_picked() {
        let goal = Goal::TargetSize(1000);
        let mut rows = vec![row(0.1, 0.60, 91.8, 1500), row(0.5, 0.90, 90.0, 600)];
        assert_eq!(goal.pick(&rows), Some(&rows[1]));
        assert!(!goal.is_met(&rows, 0.05));
        assert!(goal.excess(&rows[0]) < 0.0 && goal.excess(&rows[1]) > 0.0);
        rows.push(row(0.3, 0.75, 91.0, 960));
        assert!(goal.is_met(&rows, 0.05) && !goal.is_met(&rows, 0.01));
        let found = goal.verdict(&rows, 0.01, &bracket(goal, &rows)).unwrap();
        assert_eq!(
            found,
            "found gamma=0.3,init_scale=0.3,seed=1 with 75.00 % zeros: 960 of at most 1,000 bytes"
        );
        assert!(goal.is_met(&[row(0.1, 0.6, 91.0, 1000)], 0.0), "exactly so many bytes fit");

        for (gamma, reach) in [(1.0, "out of reach: "), (0.4, "")] {
            let large = [row(gamma, 0.6, 91.0, 1001)];
            assert_eq!(goal.pick(&large), None);
            let error = goal.verdict(&large, 0.01, &bracket(goal, &large)).unwrap_err();
            assert_eq!(error, format!("{reach}every file is larger than --target-size"));
        }
    }

    #[test]
    fn a_size_is_aimed_at_by_entropy() {
        assert!((entropy_bits(1.0 / 3.0) - 3f64.log2()).abs() < 1e-12);
        assert_eq!((entropy_bits(1.0), entropy_bits(0.5)), (0.0, 1.5));
        for zeros in [0.4, 0.64, 0.9, 0.99] {
            assert!((sparsity_of(entropy_bits(zeros)) - zeros).abs() < 1e-9);
        }
        let goal = Goal::TargetSize(1000);
        let aim = |bytes| goal.aim(&[row(0.1, 0.64, 91.0, bytes)], 0.5);
        assert!((aim(1000) - 0.5).abs() < 1e-9, "it has that size already");
        assert!(aim(2000) > 0.6 && aim(500) < 0.4, "{} {}", aim(2000), aim(500));
    }

    #[test]
    fn the_next_aim_is_off_by_what_the_last_point_was() {
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        close(TARGET.aim(&[row(0.1, 0.60, 91.0, 9)], 0.5), 0.54);
        close(DROP.aim(&[row(0.1, 0.60, 91.9, 9)], 0.5), 0.55);
        close(DROP.aim(&[row(0.1, 0.60, 91.9, 9), row(0.1, 0.65, 91.0, 9)], 0.5), 0.4);
    }

    #[test]
    fn each_method_has_its_knob() {
        for method in [Method::Ec2t, Method::Ttq, Method::Twn] {
            let knob = Knob::of(method);
            let options = Ec2tOptions { method, ..Ec2tOptions::default() };
            for value in knob.domain {
                knob.set(options, value).validate().unwrap();
                assert_eq!(knob.get(knob.set(options, value)), value);
            }
            let gamma = knob.set(options, 0.7).gamma;
            assert_eq!(gamma == 0.7, method == Method::Ec2t);
        }
        let wide = Ec2tOptions { threshold: 5.0, ..Ec2tOptions::default() };
        assert_eq!(Knob::of(Method::Twn).get(wide), 2.9999);
    }
}
