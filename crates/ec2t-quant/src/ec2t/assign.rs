//! Codes of the weights: the argmin of the cost, in closed form.
//!
//! With `ΔI_x = I_x − I_0 ≥ 0`, the least of `C_c(w) = (w − c)² + λ·I_c`
//! (thesis, eq. 4.4) is decided by one threshold a side:
//!
//! ```text
//! t_x = a_x/2 + λ·ΔI_x / (2·a_x)       w > t_p: +1     w < −t_n: −1     else 0
//! ```
//!
//! With λ a part of the λ_max of the side that limits it, `λ = γ·δ·λ_max`, that
//! side's threshold is `(1 − γδ)·a/2 + γδ·m` for its extreme weight `m`: it does
//! not depend on the shares at all.
//!
//! The reference implementation computes three costs for every weight, and
//! leaves ties to its framework; here the zeros win them.

use ec2t_format::tensor::TernaryCounts;

use super::{Centroids, Information, Shares, WeightStatistics, lambda_max};

/// The magnitudes beyond which a weight is not zero.
///
/// Infinite on the side of a centroid that is 0, which never beats the zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// A weight below −`neg` is negative.
    pub neg: f32,
    /// A weight above `pos` is positive.
    pub pos: f32,
}

impl Thresholds {
    /// The thresholds of nearest-neighbour assignment, λ = 0.
    pub fn nearest(centroids: Centroids) -> Self {
        Self { neg: threshold(centroids.neg, 0.0), pos: threshold(centroids.pos, 0.0) }
    }

    /// The thresholds under the constraint of strength `lambda`.
    pub fn constrained(centroids: Centroids, information: Information, lambda: f64) -> Self {
        Self {
            neg: threshold(centroids.neg, lambda * information.excess_neg()),
            pos: threshold(centroids.pos, lambda * information.excess_pos()),
        }
    }
}

/// The threshold of a side whose cluster costs `price` more than the zeros.
fn threshold(centroid: f32, price: f64) -> f32 {
    match f64::from(centroid) {
        a if a > 0.0 => round_down(0.5 * (a + price / a)),
        _ => f32::INFINITY,
    }
}

/// The largest `f32` that is not above `value`: the same weights are above it.
fn round_down(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) > value { nearest.next_down() } else { nearest }
}

/// Writes the code of each weight, and counts them.
///
/// Both slices have the same length.
///
/// ```
/// use ec2t_quant::ec2t::{Centroids, Thresholds, assign};
///
/// let thresholds = Thresholds::nearest(Centroids { neg: 1.0, pos: 0.5 });
/// let mut codes = [0; 4];
/// let counts = assign(&[-2.0, 0.25, -0.4, 0.3], thresholds, &mut codes);
/// assert_eq!(codes, [-1, 0, 0, 1]);
/// assert_eq!((counts.neg, counts.zero, counts.pos), (1, 2, 1));
/// ```
pub fn assign(weights: &[f32], thresholds: Thresholds, codes: &mut [i8]) -> TernaryCounts {
    debug_assert_eq!(weights.len(), codes.len());
    let (mut neg, mut pos) = (0, 0);
    for (&weight, code) in weights.iter().zip(codes) {
        let (below, above) = (weight < -thresholds.neg, weight > thresholds.pos);
        *code = i8::from(above) - i8::from(below);
        neg += usize::from(below);
        pos += usize::from(above);
    }
    TernaryCounts { neg, zero: weights.len() - neg - pos, pos }
}

/// The entropy constraint on a layer's assignment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constraint {
    /// Shares of the preliminary nearest-neighbour assignment, the zeros' raised
    /// to one half.
    pub shares: Shares,
    /// λ: strength of the constraint.
    pub lambda: f64,
    /// The thresholds that follow.
    pub thresholds: Thresholds,
}

impl Constraint {
    /// The constraint at `λ = strength·λ_max` (thesis, eq. 4.8), where `strength`
    /// is `γ·δ`.
    ///
    /// `nearest` counts what [`Thresholds::nearest`] makes of the same weights as
    /// `statistics` are of; it is not iterated.
    pub fn new(
        nearest: TernaryCounts,
        statistics: &WeightStatistics,
        centroids: Centroids,
        strength: f64,
    ) -> Self {
        Self::of_shares(Shares::of(nearest), statistics, centroids, strength)
    }

    /// [`new`](Self::new), given the shares of the assignment.
    pub(super) fn of_shares(
        shares: Shares,
        statistics: &WeightStatistics,
        centroids: Centroids,
        strength: f64,
    ) -> Self {
        let shares = shares.with_zero_raised();
        let information = shares.information();
        let lambda = strength * lambda_max(statistics, centroids, information);
        let thresholds = Thresholds::constrained(centroids, information, lambda);
        Self { shares, lambda, thresholds }
    }
}

/// How a layer was assigned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requantized {
    /// What decided on the codes.
    pub constraint: Constraint,
    /// How many weights got which code.
    pub counts: TernaryCounts,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::testing::{Random, assert_close};

    const STRENGTHS: [f64; 5] = [0.0, 0.05, 0.15, 0.4, 1.0];

    /// Assigns under the constraint of a strength γ·δ.
    fn requantize(
        weights: &[f32],
        statistics: &WeightStatistics,
        centroids: Centroids,
        strength: f64,
        codes: &mut [i8],
    ) -> Requantized {
        let nearest = assign(weights, Thresholds::nearest(centroids), codes);
        let constraint = Constraint::new(nearest, statistics, centroids, strength);
        let counts = assign(weights, constraint.thresholds, codes);
        Requantized { constraint, counts }
    }

    /// Statistics, centroids and what assignment makes of a layer.
    struct Case {
        statistics: WeightStatistics,
        centroids: Centroids,
        codes: Vec<i8>,
        result: Requantized,
    }

    impl Case {
        fn with(weights: &[f32], centroids: Centroids, strength: f64) -> Self {
            let statistics = WeightStatistics::of(weights).unwrap();
            let mut codes = vec![0; weights.len()];
            let result = requantize(weights, &statistics, centroids, strength, &mut codes);
            Self { statistics, centroids, codes, result }
        }

        fn new(weights: &[f32], strength: f64) -> Self {
            let statistics = WeightStatistics::of(weights).unwrap();
            Self::with(weights, Centroids::max_scaling(&statistics, 0.3), strength)
        }

        /// Costs of the codes −1, 0 and 1 for a weight.
        fn costs(&self, weight: f32) -> [f64; 3] {
            let Information { neg, zero, pos } = self.result.constraint.shares.information();
            let cost = |centroid: f64, information: f64| {
                (f64::from(weight) - centroid).powi(2) + self.result.constraint.lambda * information
            };
            let (a_n, a_p) = (f64::from(self.centroids.neg), f64::from(self.centroids.pos));
            [cost(-a_n, neg), cost(0.0, zero), cost(a_p, pos)]
        }

        /// Compares every code with the argmin of its costs; where costs differ
        /// by rounding alone, either code is right.
        fn check(&self, weights: &[f32]) {
            for (&weight, &code) in weights.iter().zip(&self.codes) {
                let costs = self.costs(weight);
                let least = costs.into_iter().fold(f64::INFINITY, f64::min);
                let found = costs[(code + 1) as usize];
                assert!(
                    found <= least + 1e-13 * least.abs(),
                    "weight {weight}: code {code} of costs {costs:?} in {:?}",
                    self.result
                );
            }
            assert_eq!(self.result.counts, counts_of(&self.codes));
        }
    }

    fn counts_of(codes: &[i8]) -> TernaryCounts {
        let count = |code| codes.iter().filter(|&&c| c == code).count();
        TernaryCounts { neg: count(-1), zero: count(0), pos: count(1) }
    }

    #[test]
    fn closed_form_is_the_argmin_of_the_cost() {
        let mut random = Random::new(4);
        for weights in random.layers(5000) {
            for strength in STRENGTHS {
                Case::new(&weights, strength).check(&weights);
            }
        }
    }

    #[test]
    fn closed_form_holds_for_any_centroids() {
        let mut random = Random::new(5);
        for weights in random.layers(1000) {
            let reach = weights.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            for _ in 0..20 {
                let [neg, pos] = [(); 2].map(|()| 2.5 * reach * random.uniform().abs());
                for centroids in [(neg, pos), (0.0, pos), (neg, 0.0)] {
                    let centroids = Centroids { neg: centroids.0, pos: centroids.1 };
                    for strength in STRENGTHS {
                        Case::with(&weights, centroids, strength).check(&weights);
                    }
                }
            }
        }
    }

    #[test]
    fn zeros_win_ties() {
        let centroids = Centroids { neg: 0.5, pos: 0.25 };
        let weights = [-0.25, 0.125, (-0.25f32).next_down(), 0.125f32.next_up()];
        assert_eq!(Case::with(&weights, centroids, 0.0).codes, [0, 0, -1, 1]);
    }

    #[test]
    fn few_zeros_are_counted_as_half() {
        let weights = [-1.0, -1.0, -1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        let shares = Case::new(&weights, 0.15).result.constraint.shares;
        assert_close(shares.neg, 0.25, 1e-15);
        assert_close(shares.zero, 0.5, 1e-15);
        assert_close(shares.pos, 0.25, 1e-15);
    }

    #[test]
    fn limiting_threshold_does_not_depend_on_shares() {
        let mut random = Random::new(6);
        for weights in random.layers(3000) {
            let strength = 0.15 * 0.7;
            let case = Case::new(&weights, strength);
            let Centroids { neg, pos } = case.centroids;
            let sides = [
                (case.result.constraint.thresholds.neg, neg, case.statistics.extreme_neg),
                (case.result.constraint.thresholds.pos, pos, case.statistics.extreme_pos),
            ];
            // The limiting side is where the threshold is nearest to the extreme.
            let used = sides.into_iter().filter(|&(_, centroid, _)| centroid > 0.0);
            let limiting = used.max_by(|a, b| (a.0 / a.2).total_cmp(&(b.0 / b.2)));
            let Some((threshold, centroid, extreme)) = limiting else { continue };
            let (a, m) = (f64::from(centroid), f64::from(extreme));
            let expected = (1.0 - strength) * a / 2.0 + strength * m;
            assert_close(f64::from(threshold), expected, 1e-6);
        }
    }

    #[test]
    fn limiting_side_keeps_its_extreme_weight_up_to_full_strength() {
        let mut random = Random::new(7);
        let weights: Vec<f32> = (0..4000).map(|_| random.normal()).collect();
        let below = Case::new(&weights, 0.999).result.counts;
        assert!(below.neg > 0 && below.pos > 0, "{below:?}");
        // The extreme weight itself is a tie but for rounding.
        let full = Case::new(&weights, 1.0).result.counts;
        assert!(full.neg <= 1 || full.pos <= 1, "{full:?}");
    }

    #[test]
    fn stronger_constraint_never_gives_fewer_zeros() {
        let mut random = Random::new(8);
        for weights in random.layers(3000) {
            let zeros = |step| Case::new(&weights, f64::from(step) / 50.0).result.counts.zero;
            let zeros: Vec<usize> = (0..=50).map(zeros).collect();
            assert!(zeros.is_sorted(), "{zeros:?}");
        }
    }

    #[test]
    fn rounded_threshold_separates_the_same_weights() {
        for value in [0.1f64, 1.0, 1.0 + 1e-12, 1.0 - 1e-12, 1e-50, 3.5e38, f64::INFINITY] {
            let rounded = round_down(value);
            assert!(f64::from(rounded) <= value, "{value}");
            assert!(rounded.is_infinite() || f64::from(rounded.next_up()) > value, "{value}");
        }
    }
}
