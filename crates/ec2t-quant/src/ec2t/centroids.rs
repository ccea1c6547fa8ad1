//! The two centroids of a layer: how they begin, and how small they may get.
//!
//! Both are magnitudes: the ternary values are −`neg`, 0 and +`pos`. A layer
//! without weights of one sign has no use for that sign's centroid: it begins
//! at 0 and its cluster stays empty. A centroid of 0 is harmless, because the
//! cluster of the zeros wins every tie.
//!
//! The floor keeps a centroid from collapsing to 0 in training; it is the
//! reference implementation's, not the thesis's. As there, it comes after the
//! first step and not at the beginning.

use super::{Ec2tError, Ec2tOptions, InitRule, Method, WeightStatistics, baselines};

/// Magnitudes of a layer's two centroids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Centroids {
    /// `a_n`: the negative ternary value is −`neg`.
    pub neg: f32,
    /// `a_p`: the positive ternary value is +`pos`.
    pub pos: f32,
}

impl Centroids {
    /// The centroids that a layer begins with, by the rule of `options`.
    pub fn initial(weights: &[f32], statistics: &WeightStatistics, options: &Ec2tOptions) -> Self {
        match (options.method, options.init) {
            (Method::Ec2t | Method::Reference, InitRule::MaxScaling) => {
                let robust = statistics.with_extremes_at(options.extreme_quantile, weights);
                Self::max_scaling(&robust, options.init_scale)
            }
            (Method::Ec2t | Method::Reference, InitRule::Kmeans) => Self::kmeans(weights),
            (method @ (Method::Ttq | Method::Twn), _) => {
                let thresholds = baselines::thresholds(options, weights, statistics);
                baselines::means(method, weights, thresholds)
            }
        }
    }

    /// `a_n = s·|min W|` and `a_p = s·max W` (thesis, eq. 4.16).
    ///
    /// The reference takes `|max W|` also where all weights are negative; a
    /// centroid among no weights is of no use, so it is 0 here.
    pub fn max_scaling(statistics: &WeightStatistics, scale: f64) -> Self {
        let scaled = |extreme: f32| (f64::from(extreme) * scale) as f32;
        Self { neg: scaled(statistics.extreme_neg), pos: scaled(statistics.extreme_pos) }
    }

    /// The best three centroids in the least-squares sense, one fixed at 0.
    ///
    /// With the middle one fixed, the two signs are independent, and each has
    /// an exact solution; so there is nothing to iterate. The reference's
    /// k-means divides cluster sums by the number of all weights, stops on a
    /// signed sum of changes and returns a negative magnitude.
    pub fn kmeans(weights: &[f32]) -> Self {
        let of_sign = |sign: f32| weights.iter().map(|&w| sign * w).filter(|&w| w > 0.0).collect();
        Self { neg: best_beside_zero(of_sign(-1.0)), pos: best_beside_zero(of_sign(1.0)) }
    }

    /// The centroids, each raised to at least `floor`.
    ///
    /// A value that is not a number stays so, for [`validate`](Self::validate)
    /// to find.
    pub fn raised_to(self, floor: f32) -> Self {
        let raise = |magnitude| if magnitude <= floor { floor } else { magnitude };
        Self { neg: raise(self.neg), pos: raise(self.pos) }
    }

    /// Checks that both are finite magnitudes.
    ///
    /// # Errors
    /// [`Ec2tError::Centroid`] where one is negative, infinite or not a number.
    pub fn validate(self) -> Result<(), Ec2tError> {
        let bad = |value: f32| !value.is_finite() || value.is_sign_negative();
        match [("negative", self.neg), ("positive", self.pos)].into_iter().find(|s| bad(s.1)) {
            Some((side, value)) => Err(Ec2tError::Centroid { side, value }),
            None => Ok(()),
        }
    }
}

/// The centroid `a` that minimises `Σ min(w², (w − a)²)` over `magnitudes`.
///
/// The weights nearer to `a` than to 0 are the `k` largest for some `k`, their
/// best `a` is their mean, and it lowers the sum by `(Σ w)²/k`.
fn best_beside_zero(mut magnitudes: Vec<f32>) -> f32 {
    magnitudes.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut sum, mut best_gain, mut best_mean) = (0.0, 0.0, 0.0);
    for (k, magnitude) in (1usize..).zip(magnitudes) {
        sum += f64::from(magnitude);
        let mean = sum / k as f64;
        if sum * mean > best_gain {
            (best_gain, best_mean) = (sum * mean, mean);
        }
    }
    best_mean as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::testing::{Random, assert_close};

    /// Sum of squared distances to the nearest of −`neg`, 0 and +`pos`.
    fn distortion(weights: &[f32], centroids: Centroids) -> f64 {
        let values = [-f64::from(centroids.neg), 0.0, f64::from(centroids.pos)];
        let nearest = |w: f64| values.map(|c| (w - c).powi(2)).into_iter().fold(f64::MAX, f64::min);
        weights.iter().map(|&w| nearest(f64::from(w))).sum()
    }

    fn max_scaling(weights: &[f32]) -> Centroids {
        Centroids::max_scaling(&WeightStatistics::of(weights).unwrap(), 0.5)
    }

    #[test]
    fn max_scaling_is_per_sign() {
        assert_eq!(max_scaling(&[-2.0, 0.5, 1.0]), Centroids { neg: 1.0, pos: 0.5 });
        assert_eq!(max_scaling(&[0.25, 1.0]), Centroids { neg: 0.0, pos: 0.5 });
        assert_eq!(max_scaling(&[-1.0, -1.0]), Centroids { neg: 0.5, pos: 0.0 });
        assert_eq!(max_scaling(&[0.0, -0.0]), Centroids { neg: 0.0, pos: 0.0 });
    }

    #[test]
    fn kmeans_beats_every_other_pair() {
        let mut random = Random::new(2);
        for layer in random.layers(2000) {
            let best = Centroids::kmeans(&layer);
            let least = distortion(&layer, best);
            let reach = max_scaling(&layer);
            for step in 0..200 {
                let scale = step as f32 / 100.0;
                let neg = Centroids { neg: scale * reach.neg, ..best };
                let pos = Centroids { pos: scale * reach.pos, ..best };
                for other in [neg, pos] {
                    let found = distortion(&layer, other);
                    assert!(least <= found * (1.0 + 1e-6), "{best:?} {least} {other:?} {found}");
                }
            }
        }
    }

    #[test]
    fn kmeans_centroids_are_the_means_of_their_clusters() {
        let mut random = Random::new(3);
        let layer: Vec<f32> = (0..3000).map(|_| random.normal()).collect();
        let Centroids { neg, pos } = Centroids::kmeans(&layer);
        let mean = |sign: f32, centroid: f32| {
            let members = layer.iter().map(|w| sign * w).filter(|&w| w > centroid / 2.0);
            let (sum, count) = members.fold((0.0, 0.0), |(s, n), w| (s + f64::from(w), n + 1.0));
            sum / count
        };
        assert_close(f64::from(neg), mean(-1.0, neg), 1e-6);
        assert_close(f64::from(pos), mean(1.0, pos), 1e-6);
    }

    #[test]
    fn kmeans_of_special_layers() {
        assert_eq!(Centroids::kmeans(&[0.0; 9]), Centroids { neg: 0.0, pos: 0.0 });
        assert_eq!(Centroids::kmeans(&[0.75; 9]), Centroids { neg: 0.0, pos: 0.75 });
        assert_eq!(Centroids::kmeans(&[-0.5, 0.0, -0.5]), Centroids { neg: 0.5, pos: 0.0 });
        let separate = [-3.0, -3.0, 0.0, 0.125, -0.125, 5.0];
        assert_eq!(Centroids::kmeans(&separate), Centroids { neg: 3.0, pos: 5.0 });
    }

    #[test]
    fn floor_raises_and_hides_nothing() {
        let centroids = Centroids { neg: -0.1, pos: 0.5 };
        assert_eq!(centroids.raised_to(0.25), Centroids { neg: 0.25, pos: 0.5 });
        assert_eq!(centroids.raised_to(0.0), Centroids { neg: 0.0, pos: 0.5 });
        let negative_zero = Centroids { neg: -0.0, pos: 0.5 };
        assert_eq!(negative_zero.raised_to(0.0).validate(), Ok(()));
        let broken = Centroids { pos: f32::NAN, ..centroids }.raised_to(0.25);
        let error = broken.validate().unwrap_err();
        assert!(matches!(error, Ec2tError::Centroid { side: "positive", .. }), "{error}");
    }
}
