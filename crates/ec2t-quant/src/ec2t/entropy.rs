//! Cluster shares, their information, and the strength λ of the constraint.
//!
//! Shares are those of a nearest-neighbour assignment of the current weights.
//! They are changed in two ways that the thesis does not have and the method
//! needs: an empty cluster counts as one weight, so that its information is
//! finite; and the zeros have at least half of all weights, so that zero is
//! always the cheapest value. With both, `I_x − I_0` is never negative.
//!
//! Where we differ from the reference implementation: shares sum to 1 (it
//! overwrites the negative share while it still needs the old one, and does not
//! count the weight that it adds to an empty cluster); a side whose bound on λ
//! is not a positive number sets none (it takes the lesser of both bounds, even
//! a negative one); and λ = 0 in one step does not turn the constraint off in
//! all later ones.

use ec2t_format::tensor::TernaryCounts;

use super::{Centroids, WeightStatistics};

/// Shares of the three clusters, 0…1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Share of the negative cluster.
    pub neg: f64,
    /// Share of the zeros.
    pub zero: f64,
    /// Share of the positive cluster.
    pub pos: f64,
}

impl Shares {
    /// The shares of counted clusters, an empty one counted as one weight.
    pub fn of(counts: TernaryCounts) -> Self {
        let [neg, zero, pos] =
            [counts.neg, counts.zero, counts.pos].map(|count| count.max(1) as f64);
        let total = neg + zero + pos;
        Self { neg: neg / total, zero: zero / total, pos: pos / total }
    }

    /// The same with the zeros' share raised to at least one half, taken from
    /// the other two in proportion.
    ///
    /// ```
    /// use ec2t_quant::ec2t::Shares;
    ///
    /// let shares = Shares { neg: 0.375, zero: 0.25, pos: 0.375 };
    /// let raised = Shares { neg: 0.25, zero: 0.5, pos: 0.25 };
    /// assert_eq!(shares.with_zero_raised(), raised);
    /// assert_eq!(raised.with_zero_raised(), raised);
    /// ```
    pub fn with_zero_raised(self) -> Self {
        if self.zero >= 0.5 {
            return self;
        }
        let scale = 0.5 / (1.0 - self.zero);
        Self { neg: self.neg * scale, zero: 0.5, pos: self.pos * scale }
    }

    /// The exponential mean of shares over steps: `smoothing` of those before, the rest
    /// of these.
    ///
    /// ```
    /// use ec2t_quant::ec2t::Shares;
    ///
    /// let before = Shares { neg: 0.25, zero: 0.5, pos: 0.25 };
    /// let now = Shares { neg: 0.5, zero: 0.25, pos: 0.25 };
    /// let mean = now.smoothed(before, 0.75);
    /// assert_eq!(mean, Shares { neg: 0.3125, zero: 0.4375, pos: 0.25 });
    /// ```
    pub fn smoothed(self, before: Self, smoothing: f64) -> Self {
        let mean = |before: f64, now: f64| smoothing * before + (1.0 - smoothing) * now;
        let (neg, zero) = (mean(before.neg, self.neg), mean(before.zero, self.zero));
        Self { neg, zero, pos: mean(before.pos, self.pos) }
    }

    /// Information of each cluster.
    pub fn information(self) -> Information {
        let bits = |share: f64| -share.log2();
        Information { neg: bits(self.neg), zero: bits(self.zero), pos: bits(self.pos) }
    }
}

/// Information `I_c = −log₂ P_c` of the three clusters, in bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Information {
    /// Information of the negative cluster.
    pub neg: f64,
    /// Information of the zeros.
    pub zero: f64,
    /// Information of the positive cluster.
    pub pos: f64,
}

impl Information {
    /// How much more information a negative weight has than a zero.
    pub fn excess_neg(self) -> f64 {
        self.neg - self.zero
    }

    /// How much more information a positive weight has than a zero.
    pub fn excess_pos(self) -> f64 {
        self.pos - self.zero
    }
}

/// The λ at which the first of the two clusters loses its last weight
/// (thesis, eqs. 4.12–4.14).
///
/// On each side that is where the extreme weight `m` costs as much as zero:
///
/// ```text
/// λ_max,x = (m_x² − (a_x − m_x)²) / (I_x − I_0)        x ∈ {n, p}
/// ```
///
/// A side without weights beyond `a_x/2` has no last weight to lose, and one
/// with `I_x = I_0` loses none at any λ; neither bounds λ. Where no side does,
/// λ has no effect, and 0 is returned.
pub fn lambda_max(
    statistics: &WeightStatistics,
    centroids: Centroids,
    information: Information,
) -> f64 {
    let neg = side_bound(statistics.extreme_neg, centroids.neg, information.excess_neg());
    let pos = side_bound(statistics.extreme_pos, centroids.pos, information.excess_pos());
    [neg, pos].into_iter().flatten().reduce(f64::min).unwrap_or(0.0)
}

/// `λ_max` of one side, if it sets any.
fn side_bound(extreme: f32, centroid: f32, excess: f64) -> Option<f64> {
    let (m, a) = (f64::from(extreme), f64::from(centroid));
    // The same as m² − (a − m)², without cancellation.
    let advantage = a * (2.0 * m - a);
    (advantage > 0.0 && excess > 0.0).then(|| advantage / excess)
}

/// `δ`: weakens the constraint in small layers, which have little to gain
/// (thesis, eq. 4.9).
///
/// ```text
/// δ = (N/N_max + ς) / (1 + ς)
/// ```
///
/// `count` is the number of weights of the layer, `largest` that of the largest
/// layer ternarized along with it, `sustain` is ς.
///
/// ```
/// use ec2t_quant::ec2t::size_decay;
///
/// assert_eq!(size_decay(100, 100, 0.05), 1.0);
/// assert_eq!(size_decay(25, 100, 0.25), 0.4);
/// ```
pub fn size_decay(count: usize, largest: usize, sustain: f64) -> f64 {
    let ratio = count as f64 / largest.max(1) as f64;
    (ratio + sustain) / (1.0 + sustain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::testing::assert_close;

    fn shares(neg: usize, zero: usize, pos: usize) -> Shares {
        Shares::of(TernaryCounts { neg, zero, pos })
    }

    /// Statistics of a layer from −`neg` to `pos`.
    fn extremes(neg: f32, pos: f32) -> WeightStatistics {
        WeightStatistics::of(&[-neg, 0.0, pos]).unwrap()
    }

    #[test]
    fn zeros_have_at_least_half() {
        let raised = shares(4, 2, 4).with_zero_raised();
        assert_close(raised.neg, 0.25, 1e-15);
        assert_close(raised.zero, 0.5, 1e-15);
        assert_close(raised.pos, 0.25, 1e-15);
        let kept = shares(1, 8, 1);
        assert_eq!(kept.with_zero_raised(), kept);
    }

    #[test]
    fn shares_sum_to_one_and_zero_has_the_least_information() {
        for counts in [(0, 0, 1), (0, 9, 0), (7, 0, 0), (0, 0, 0), (5, 1, 0), (1000, 999, 1)] {
            let raised = shares(counts.0, counts.1, counts.2).with_zero_raised();
            assert_close(raised.neg + raised.zero + raised.pos, 1.0, 1e-15);
            let information = raised.information();
            assert!(information.excess_neg() > 0.0, "{counts:?}");
            assert!(information.excess_pos() > 0.0, "{counts:?}");
            assert!(information.neg.is_finite() && information.pos.is_finite());
        }
    }

    #[test]
    fn information_of_known_shares() {
        let information = shares(1, 2, 1).information();
        assert_eq!(information, Information { neg: 2.0, zero: 1.0, pos: 2.0 });
        // Thesis, figure 4.4.
        let information = shares(31, 50, 19).information();
        assert_close(information.neg, 1.69, 1e-3);
        assert_close(information.pos, 2.40, 2e-3);
    }

    #[test]
    fn lesser_bound_limits() {
        let information = Information { neg: 2.0, zero: 1.0, pos: 3.0 };
        let centroids = Centroids { neg: 0.5, pos: 0.5 };
        // Negative side: (1 − 0.25)/1; positive side: (1 − 0.25)/2.
        assert_eq!(lambda_max(&extremes(1.0, 1.0), centroids, information), 0.375);
        // Negative side: (0.25 − 0.0)/1.
        assert_eq!(lambda_max(&extremes(0.5, 1.0), centroids, information), 0.25);
    }

    #[test]
    fn side_beyond_its_extreme_sets_no_bound() {
        let information = Information { neg: 2.0, zero: 1.0, pos: 2.0 };
        let centroids = Centroids { neg: 1.0, pos: 0.5 };
        // a_n > 2·m_n would make λ negative, a_n = 2·m_n would make it 0.
        for extreme in [0.25, 0.5] {
            assert_eq!(lambda_max(&extremes(extreme, 1.0), centroids, information), 0.75);
        }
    }

    #[test]
    fn side_without_weights_or_excess_sets_no_bound() {
        let centroids = Centroids { neg: 0.5, pos: 0.5 };
        let uneven = Information { neg: 1.0, zero: 1.0, pos: 2.0 };
        assert_eq!(lambda_max(&extremes(1.0, 1.0), centroids, uneven), 0.75);
        let one_signed = WeightStatistics::of(&[0.25, 1.0]).unwrap();
        let even = Information { neg: 2.0, zero: 1.0, pos: 2.0 };
        assert_eq!(lambda_max(&one_signed, centroids, even), 0.75);
        let collapsed = Centroids { neg: 0.0, pos: 0.5 };
        assert_eq!(lambda_max(&extremes(1.0, 1.0), collapsed, even), 0.75);
    }

    #[test]
    fn no_bound_at_all_is_no_constraint() {
        let zeros = WeightStatistics::of(&[0.0; 4]).unwrap();
        let centroids = Centroids { neg: 0.5, pos: 0.5 };
        let information = shares(0, 4, 0).with_zero_raised().information();
        assert_eq!(lambda_max(&zeros, centroids, information), 0.0);
        let equal = Information { neg: 1.0, zero: 1.0, pos: 1.0 };
        assert_eq!(lambda_max(&extremes(1.0, 1.0), centroids, equal), 0.0);
    }

    #[test]
    fn decay_lies_between_its_limits() {
        for (count, sustain) in [(1, 0.0), (1, 0.05), (500, 0.05), (1000, 0.9)] {
            let delta = size_decay(count, 1000, sustain);
            assert!(sustain / (1.0 + sustain) < delta && delta <= 1.0, "{delta}");
        }
        assert!(size_decay(0, 0, 0.0) == 0.0);
    }
}
