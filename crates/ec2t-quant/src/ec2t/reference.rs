//! The constraint by the rules of the reference implementation, for comparisons.
//!
//! `d-becking/efficientCNNs` computes shares and λ as follows, where the thesis and we
//! do otherwise:
//!
//! - an empty cluster counts as one weight, which the total does not;
//! - where the zeros have less than half, the negative share is lowered first, and the
//!   positive one by what the lowered one leaves: the three no longer sum to 1;
//! - λ_max is the lesser bound even where it is negative.
//!
//! Besides, its gradient of the negative centroid has the other sign (see
//! [`Method::Reference`](super::Method)).

use ec2t_format::tensor::TernaryCounts;

use super::{Centroids, Constraint, Shares, Thresholds, WeightStatistics};

/// [`Constraint::new`] by these rules. A λ that is not finite, of equal shares, is 0.
pub(super) fn constraint(
    nearest: TernaryCounts,
    statistics: &WeightStatistics,
    centroids: Centroids,
    strength: f64,
) -> Constraint {
    let shares = shares(nearest);
    let information = shares.information();
    let bound = |extreme: f32, centroid: f32, excess: f64| {
        let (m, a) = (f64::from(extreme), f64::from(centroid));
        a * (2.0 * m - a) / excess
    };
    let neg = bound(statistics.extreme_neg, centroids.neg, information.excess_neg());
    let pos = bound(statistics.extreme_pos, centroids.pos, information.excess_pos());
    let lambda = Some(strength * neg.min(pos)).filter(|lambda| lambda.is_finite()).unwrap_or(0.0);
    let Thresholds { neg, pos } = Thresholds::constrained(centroids, information, lambda);
    // A negative λ may ask for more than every weight of a side.
    let thresholds = Thresholds { neg: neg.max(0.0), pos: pos.max(0.0) };
    Constraint { shares, lambda, thresholds }
}

fn shares(counts: TernaryCounts) -> Shares {
    let share = |count: usize| count.max(1) as f64 / counts.total() as f64;
    let [neg, zero, pos] = [counts.neg, counts.zero, counts.pos].map(share);
    if zero >= 0.5 {
        return Shares { neg, zero, pos };
    }
    let deficit = 0.5 - zero;
    let lowered = neg - deficit * neg / (neg + pos);
    Shares { neg: lowered, zero: 0.5, pos: pos - deficit * pos / (lowered + pos) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::testing::assert_close;

    fn counts(neg: usize, zero: usize, pos: usize) -> TernaryCounts {
        TernaryCounts { neg, zero, pos }
    }

    #[test]
    fn shares_are_lowered_one_after_the_other() {
        let Shares { neg, zero, pos } = shares(counts(4, 2, 4));
        assert_close(neg, 0.25, 1e-15);
        assert_eq!(zero, 0.5);
        assert_close(pos, 0.4 - 0.3 * 0.4 / 0.65, 1e-15);
        assert_eq!(shares(counts(0, 8, 2)), Shares { neg: 0.1, zero: 0.8, pos: 0.2 });
    }

    /// Where shares need no raising and both sides set a bound, the rules are ours.
    #[test]
    fn most_layers_are_constrained_alike() {
        let statistics = WeightStatistics::of(&[-1.0, -0.1, 0.0, 0.1, 0.8]).unwrap();
        let centroids = Centroids { neg: 0.4, pos: 0.5 };
        let of = |rule: fn(_, &_, _, _) -> Constraint| {
            rule(counts(1, 6, 3), &statistics, centroids, 0.2)
        };
        assert_eq!(of(constraint), of(Constraint::new));
    }

    #[test]
    fn a_centroid_beyond_its_weights_makes_lambda_negative() {
        let statistics = WeightStatistics::of(&[-0.1, 0.0, 0.8]).unwrap();
        let centroids = Centroids { neg: 0.5, pos: 0.5 };
        assert!(constraint(counts(1, 6, 3), &statistics, centroids, 0.2).lambda < 0.0);
        assert!(Constraint::new(counts(1, 6, 3), &statistics, centroids, 0.2).lambda > 0.0);
    }
}
