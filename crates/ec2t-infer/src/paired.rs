//! What the same images say about the difference of two models' accuracies.
//!
//! Where both are right, or both wrong, nothing can be learnt about which is better; so
//! the test and the interval rest on the images that one alone has right:
//!
//! - McNemar, Q.: Note on the sampling error of the difference between correlated
//!   proportions or percentages. Psychometrika 12 (1947), 153–157; here exact, by the
//!   binomial distribution.
//! - Newcombe, R. G.: Improved confidence intervals for the difference between binomial
//!   proportions based on paired data. Statistics in Medicine 17 (1998), 2635–2650, method
//!   10: Wilson's intervals of both shares, joined by their correlation. It keeps its level
//!   near 0 and 100 %, where the textbook's interval does not.

/// The 97.5 % quantile of the normal distribution: an interval between both of its tails
/// has 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Images by which of two models has them right.
///
/// ```
/// use ec2t_infer::PairedCounts;
///
/// let counts = PairedCounts { both: 9000, first: 200, second: 120, neither: 680 };
/// assert_eq!(counts.difference(), -0.008);
/// let [low, high] = counts.interval();
/// assert!(low < -0.008 && high < 0.0 && counts.p_value() < 0.001);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairedCounts {
    /// Both are right.
    pub both: usize,
    /// Only the first is.
    pub first: usize,
    /// Only the second is.
    pub second: usize,
    /// Neither is.
    pub neither: usize,
}

impl PairedCounts {
    /// Number of images.
    pub fn images(&self) -> usize {
        self.both + self.first + self.second + self.neither
    }

    /// Images that each model has right.
    pub fn correct(&self) -> [usize; 2] {
        [self.both + self.first, self.both + self.second]
    }

    /// Counts one image more.
    pub(crate) fn add(&mut self, right: [bool; 2]) {
        *match right {
            [true, true] => &mut self.both,
            [true, false] => &mut self.first,
            [false, true] => &mut self.second,
            [false, false] => &mut self.neither,
        } += 1;
    }

    /// Share of right images of the second model less that of the first, −1…1; 0 without
    /// images.
    pub fn difference(&self) -> f64 {
        (self.second as f64 - self.first as f64) / self.images().max(1) as f64
    }

    /// The 95 % confidence interval of the difference; without images, all that it can be.
    pub fn interval(&self) -> [f64; 2] {
        let n = self.images();
        if n == 0 {
            return [-1.0, 1.0];
        }
        let [first, second] = self.correct().map(|correct| Wilson::new(correct, n));
        let correlation = self.correlation();
        let reach = |a: f64, b: f64| (a * a - 2.0 * correlation * a * b + b * b).max(0.0).sqrt();
        let difference = self.difference();
        [
            difference - reach(second.below, first.above),
            difference + reach(second.above, first.below),
        ]
    }

    /// Correlation of being right, with Newcombe's correction for continuity.
    fn correlation(&self) -> f64 {
        let [both, first, second, neither] =
            [self.both, self.first, self.second, self.neither].map(|count| count as f64);
        let spread = (both + first) * (second + neither) * (both + second) * (first + neither);
        let excess = both * neither - first * second;
        let corrected = match excess > 0.0 {
            true => (excess - self.images() as f64 / 2.0).max(0.0),
            false => excess,
        };
        if spread > 0.0 { corrected / spread.sqrt() } else { 0.0 }
    }

    /// The probability of a difference as large as this, or larger, in either direction, if
    /// the models were equally good.
    pub fn p_value(&self) -> f64 {
        let flips = self.first + self.second;
        let fewer = self.first.min(self.second);
        // ln of C(flips, k) / 2^flips, from one k to the next.
        let mut log_term = -(flips as f64) * std::f64::consts::LN_2;
        let mut tail = log_term.exp();
        for k in 1..=fewer {
            log_term += ((flips - k + 1) as f64 / k as f64).ln();
            tail += log_term.exp();
        }
        (2.0 * tail).min(1.0)
    }
}

/// How far Wilson's interval reaches from a share.
struct Wilson {
    below: f64,
    above: f64,
}

impl Wilson {
    fn new(correct: usize, n: usize) -> Self {
        let (n, share) = (n as f64, correct as f64 / n as f64);
        let middle = share + Z * Z / (2.0 * n);
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        let whole = 1.0 + Z * Z / n;
        let [low, high] = [middle - half, middle + half].map(|end| end / whole);
        Self { below: share - low, above: high - share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(both: usize, first: usize, second: usize, neither: usize) -> PairedCounts {
        PairedCounts { both, first, second, neither }
    }

    #[track_caller]
    fn assert_interval(counts: PairedCounts, expected: [f64; 2]) {
        let found = counts.interval();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 5e-5, "{counts:?}: {found}, not {expected}");
        }
    }

    #[test]
    fn intervals_are_those_of_others() {
        // What the R package `contingencytables` prints, with the sides exchanged.
        assert_interval(counts(59, 6, 16, 80), [0.0046, 0.1186]);
        // Computed apart, for an empty cell and for a negative correlation.
        assert_interval(counts(14, 5, 0, 22), [-0.226_493, -0.011_483]);
        assert_interval(counts(18, 0, 14, 18), [0.144_083, 0.396_325]);
        assert_interval(counts(3, 20, 15, 2), [-0.389372, 0.159844]);
    }

    #[test]
    fn intervals_and_tests_are_the_same_from_either_side() {
        let (one, other) = (counts(40, 7, 3, 10), counts(40, 3, 7, 10));
        let [low, high] = other.interval();
        assert_eq!(one.interval(), [-high, -low]);
        assert_eq!(one.p_value(), other.p_value());
    }

    #[test]
    fn nothing_known_is_everything_possible() {
        assert_eq!(counts(0, 0, 0, 0).interval(), [-1.0, 1.0]);
        assert_eq!((counts(0, 0, 0, 0).difference(), counts(5, 0, 0, 1).p_value()), (0.0, 1.0));
        let [low, high] = counts(100, 0, 0, 0).interval();
        assert!(low < 0.0 && low > -0.06 && high == -low, "{low} {high}");
    }

    #[test]
    fn the_exact_test_is_that_of_a_fair_coin() {
        // Two tails of 9 or 10 heads in ten throws: 2 · 11 / 1024.
        assert!((counts(3, 9, 1, 4).p_value() - 22.0 / 1024.0).abs() < 1e-15);
        assert_eq!(counts(3, 5, 5, 4).p_value(), 1.0);
        // A normal tail of 6.3 deviations; powers of ½ alone would be below the least f64.
        let p = counts(0, 2200, 1800, 0).p_value();
        assert!((2e-10..4e-10).contains(&p), "{p}");
    }
}
