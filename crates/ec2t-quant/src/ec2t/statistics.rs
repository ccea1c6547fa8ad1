//! Extremes and deviation of a layer's background weights.

use ec2t_ops::ternary::Descent;

use super::Ec2tError;

/// What the method needs to know of a layer's weights as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightStatistics {
    /// `m_n`: magnitude of the most negative weight, 0 where none is negative.
    pub extreme_neg: f32,
    /// `m_p`: the most positive weight, 0 where none is positive.
    pub extreme_pos: f32,
    /// Unbiased standard deviation (divisor n − 1); 0 for a single weight.
    pub std: f64,
}

impl WeightStatistics {
    /// The statistics of a layer.
    ///
    /// The moments are taken about the first weight, in `f64`, so that they
    /// stay exact to many digits for weights far from 0.
    ///
    /// # Errors
    /// Where there are no weights, or one is infinite or not a number.
    ///
    /// ```
    /// use ec2t_quant::ec2t::WeightStatistics;
    ///
    /// let statistics = WeightStatistics::of(&[-1.0, 0.0, 4.0])?;
    /// assert_eq!((statistics.extreme_neg, statistics.extreme_pos), (1.0, 4.0));
    /// assert_eq!(statistics.std, 7f64.sqrt());
    /// # Ok::<_, ec2t_quant::ec2t::Ec2tError>(())
    /// ```
    pub fn of(weights: &[f32]) -> Result<Self, Ec2tError> {
        let origin = f64::from(*weights.first().ok_or(Ec2tError::Empty)?);
        let (mut extreme_neg, mut extreme_pos) = (0.0, 0.0);
        let (mut sum, mut squares) = (0.0, 0.0);
        for &weight in weights {
            extreme_neg = if -weight > extreme_neg { -weight } else { extreme_neg };
            extreme_pos = if weight > extreme_pos { weight } else { extreme_pos };
            let offset = f64::from(weight) - origin;
            sum += offset;
            squares += offset * offset;
        }
        // Finite weights cannot overflow an f64 sum, and others spoil it.
        if !sum.is_finite() {
            return Err(first_not_finite(weights));
        }
        let n = weights.len() as f64;
        let variance = (squares - sum * sum / n).max(0.0) / (n - 1.0).max(1.0);
        Ok(Self { extreme_neg, extreme_pos, std: variance.sqrt() })
    }

    /// The same with a quantile of the magnitudes of either sign for its extreme: the
    /// least magnitude that no less than this part of them, above 0 and at most 1, is
    /// not beyond. `weights` are those of the statistics.
    ///
    /// ```
    /// use ec2t_quant::ec2t::WeightStatistics;
    ///
    /// let weights = [-1.0, 0.25, 0.5, 0.75, 9.0];
    /// let robust = WeightStatistics::of(&weights)?.with_extremes_at(0.75, &weights);
    /// assert_eq!((robust.extreme_neg, robust.extreme_pos), (1.0, 0.75));
    /// # Ok::<_, ec2t_quant::ec2t::Ec2tError>(())
    /// ```
    pub fn with_extremes_at(self, quantile: f64, weights: &[f32]) -> Self {
        if quantile >= 1.0 {
            return self;
        }
        let extreme = |sign| magnitude_at(quantile, weights, sign);
        Self { extreme_neg: extreme(-1.0), extreme_pos: extreme(1.0), ..self }
    }

    /// The same from sums that a step has taken on its way, exact to about six
    /// digits. Where they say less, of weights that are not finite, hardly
    /// deviate from their mean or have squares beyond the range of `f32`, it is
    /// [`of`](Self::of) the weights.
    pub(super) fn after(descent: &Descent, weights: &[f32]) -> Result<Self, Ec2tError> {
        let n = weights.len() as f64;
        let (mean, mean_square) = (descent.sum / n, descent.squares / n);
        let variance = mean_square - mean * mean;
        let in_range = mean_square > LEAST_SQUARE && mean_square.is_finite();
        if !in_range || variance * MEAN_TO_VARIANCE < mean * mean {
            return Self::of(weights);
        }
        let [extreme_neg, extreme_pos] = descent.extremes;
        Ok(Self { extreme_neg, extreme_pos, std: (variance * n / (n - 1.0)).sqrt() })
    }
}

/// The quantile of the magnitudes of the weights of one sign, 0 where there are none.
///
/// Bits of positive floats are in the order of their values, so they are found like
/// digits, from the highest on: counts of what begins with a digit tell which digit the
/// value has. Three passes and no memory, where sorting a copy would take both.
fn magnitude_at(quantile: f64, weights: &[f32], sign: f32) -> f32 {
    const DIGIT_BITS: usize = 11;
    let bits = || weights.iter().map(|w| sign * w).filter(|w| *w > 0.0).map(f32::to_bits);
    let count = bits().count();
    // How many are not beyond it, counted from those that the digits so far leave.
    let mut rank = ((quantile * count as f64).ceil() as usize).max(1);
    let (mut known, mut unknown_bits) = (0, 3 * DIGIT_BITS);
    while unknown_bits > 0 && count > 0 {
        let mut counts = [0usize; 1 << DIGIT_BITS];
        let rest = unknown_bits - DIGIT_BITS;
        for bits in bits().map(u64::from).filter(|bits| bits >> unknown_bits == known) {
            counts[(bits >> rest) as usize % counts.len()] += 1;
        }
        let mut digit = 0;
        while counts[digit] < rank {
            rank -= counts[digit];
            digit += 1;
        }
        known = known << DIGIT_BITS | digit as u64;
        unknown_bits = rest;
    }
    f32::from_bits(known as u32)
}

/// Mean square below which single squares may have underflown.
const LEAST_SQUARE: f64 = 1e-30;
/// Ratio of squared mean and variance above which the difference of sums says too
/// little of the variance.
const MEAN_TO_VARIANCE: f64 = 100.0;

fn first_not_finite(weights: &[f32]) -> Ec2tError {
    let position = weights.iter().position(|weight| !weight.is_finite()).unwrap_or(0);
    Ec2tError::Weight { value: weights[position], position }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::testing::{Random, assert_close};

    #[test]
    fn moments_agree_with_two_passes() {
        let mut random = Random::new(1);
        for offset in [0.0, -3.0, 4096.0] {
            let weights: Vec<f32> = (0..5000).map(|_| offset + random.normal()).collect();
            let n = weights.len() as f64;
            let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / n;
            let squares = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>();
            let statistics = WeightStatistics::of(&weights).unwrap();
            assert_close(statistics.std, (squares / (n - 1.0)).sqrt(), 1e-10);
        }
    }

    #[test]
    fn extremes_of_one_sign_are_zero_on_the_other() {
        let positive = WeightStatistics::of(&[0.5, 2.0]).unwrap();
        assert_eq!((positive.extreme_neg, positive.extreme_pos), (0.0, 2.0));
        let negative = WeightStatistics::of(&[-0.5, -2.0]).unwrap();
        assert_eq!((negative.extreme_neg, negative.extreme_pos), (2.0, 0.0));
        let zeros = WeightStatistics::of(&[0.0, -0.0]).unwrap();
        assert_eq!((zeros.extreme_neg, zeros.extreme_pos), (0.0, 0.0));
        assert!(zeros.extreme_neg.is_sign_positive());
    }

    /// Against a sort, for weights of every kind and one without a sign.
    #[test]
    fn quantiles_are_those_of_sorted_magnitudes() {
        let mut random = Random::new(7);
        let mut layers = random.layers(997);
        layers.push(vec![0.0, -0.0]);
        for weights in layers {
            let statistics = WeightStatistics::of(&weights).unwrap();
            for quantile in [1e-9, 0.25, 0.5, 0.999, 1.0] {
                let found = statistics.with_extremes_at(quantile, &weights);
                for (sign, extreme) in [(-1.0, found.extreme_neg), (1.0, found.extreme_pos)] {
                    let mut magnitudes: Vec<f32> =
                        weights.iter().map(|w| sign * w).filter(|w| *w > 0.0).collect();
                    magnitudes.sort_unstable_by(f32::total_cmp);
                    let last = (quantile * magnitudes.len() as f64).ceil() as usize;
                    let expected = magnitudes.get(last.max(1) - 1).copied().unwrap_or(0.0);
                    assert_eq!(extreme, expected, "{quantile} of {} weights", magnitudes.len());
                }
                assert_eq!(found.std, statistics.std);
            }
        }
    }

    #[test]
    fn constant_and_single_weights_do_not_deviate() {
        for weights in [&[0.1f32; 1000][..], &[-7.5], &[f32::MAX, f32::MAX]] {
            let statistics = WeightStatistics::of(weights).unwrap();
            assert_eq!(statistics.std, 0.0);
        }
    }

    #[test]
    fn bad_weights_are_located() {
        assert_eq!(WeightStatistics::of(&[]), Err(Ec2tError::Empty));
        for value in [f32::INFINITY, f32::NEG_INFINITY] {
            let found = WeightStatistics::of(&[1.0, value, 2.0]);
            assert_eq!(found, Err(Ec2tError::Weight { value, position: 1 }));
        }
        for weights in [[f32::NAN, 0.0], [f32::NAN, f32::INFINITY]] {
            let found = WeightStatistics::of(&weights);
            assert!(matches!(found, Err(Ec2tError::Weight { position: 0, .. })), "{found:?}");
        }
    }
}
