//! One ternarized layer through training.
//!
//! A training step of the learning phase is, in the order of the thesis's
//! algorithm 2 and the reference implementation:
//!
//! 1. forward and backward through the network with the ternary weights `T`
//!    gives `g = ∂loss/∂T`;
//! 2. [`gradients`](TernaryLayer::gradients) turns `g` into the gradients of the
//!    background weights and centroids, by the codes that `g` belongs to;
//! 3. optimizers step both;
//! 4. [`requantize`](TernaryLayer::requantize) floors the centroids and assigns
//!    all weights anew;
//! 5. [`write_ternary`](TernaryLayer::write_ternary) gives the next step's `T`.
//!
//! With frozen assignment the background weights rest, and
//! [`raise_centroids`](TernaryLayer::raise_centroids) takes the place of
//! `requantize`: codes never change. The reference floors there by weights left
//! over from the last learning epoch; here they are those of the codes.
//!
//! Training does steps 2 to 5 in one call, [`learn`](TernaryLayer::learn) or
//! [`tune`](TernaryLayer::tune); the methods above are what that is tested against.
//!
//! ```
//! use ec2t_quant::ec2t::{Ec2tOptions, TernaryLayer, size_decay};
//!
//! let options = Ec2tOptions { init_scale: 0.5, ..Ec2tOptions::default() };
//! let mut layer = TernaryLayer::new(vec![1.0, -0.125, -0.5, 0.25], &options)?;
//! let mut ternary = [0.0; 4];
//! layer.write_ternary(&mut ternary)?;
//! assert_eq!(ternary, [0.5, 0.0, -0.25, 0.0]);
//!
//! let mut gradient = [0.5, 0.25, -1.0, 0.0];
//! let by_centroids = layer.gradients(&mut gradient)?;
//! let descend = |value: &mut f32, slope: &f32| *value -= 0.01 * slope;
//! layer.weights_mut().iter_mut().zip(&gradient).for_each(|(w, g)| descend(w, g));
//! layer.centroids_mut().iter_mut().zip(&by_centroids).for_each(|(a, g)| descend(a, g));
//!
//! let delta = size_decay(layer.len(), 36_864, options.sustain);
//! let result = layer.requantize(&options, delta)?;
//! assert_eq!(result.counts, layer.counts());
//! # Ok::<_, ec2t_quant::ec2t::Ec2tError>(())
//! ```

mod fused;

pub use fused::{LayerMoments, LearningStep};

use ec2t_format::tensor::TernaryCounts;

use super::assign::{self, Constraint, Requantized, Thresholds};
use super::error::check_length;
use super::{
    Centroids, Ec2tError, Ec2tOptions, Method, Shares, WeightStatistics, background_gradient,
    baselines, centroid_gradient, reference,
};

/// A layer's background weights, centroids and codes.
#[derive(Clone, Debug, PartialEq)]
pub struct TernaryLayer {
    weights: Vec<f32>,
    /// `[a_n, a_p]`, as an optimizer steps them.
    centroids: [f32; 2],
    codes: Vec<i8>,
    counts: TernaryCounts,
    /// The mean of the clusters' shares over steps, where it is taken; see
    /// [`Ec2tOptions::share_smoothing`].
    mean_shares: Option<Shares>,
}

impl TernaryLayer {
    /// A layer at the start of training: initial centroids, without a floor, and
    /// each weight at the nearest.
    ///
    /// # Errors
    /// Where there are no weights, one is infinite or not a number, or an option
    /// is out of range.
    pub fn new(weights: Vec<f32>, options: &Ec2tOptions) -> Result<Self, Ec2tError> {
        options.validate()?;
        let statistics = WeightStatistics::of(&weights)?;
        let centroids = Centroids::initial(&weights, &statistics, options);
        let mut codes = vec![0; weights.len()];
        let thresholds = match options.method {
            Method::Ec2t | Method::Reference => Thresholds::nearest(centroids),
            Method::Ttq | Method::Twn => baselines::thresholds(options, &weights, &statistics),
        };
        let counts = assign::assign(&weights, thresholds, &mut codes);
        let centroids = [centroids.neg, centroids.pos];
        Ok(Self { weights, centroids, codes, counts, mean_shares: None })
    }

    /// A layer as a checkpoint holds it.
    ///
    /// # Errors
    /// Where lengths differ, a weight is not finite, a centroid is no finite
    /// magnitude or a code is not −1, 0 or 1.
    pub fn from_parts(
        weights: Vec<f32>,
        centroids: Centroids,
        codes: Vec<i8>,
    ) -> Result<Self, Ec2tError> {
        WeightStatistics::of(&weights)?;
        centroids.validate()?;
        check_length("codes", weights.len(), codes.len())?;
        let counts = count(&codes)?;
        let centroids = [centroids.neg, centroids.pos];
        Ok(Self { weights, centroids, codes, counts, mean_shares: None })
    }

    /// Number of weights, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a layer is never empty")]
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// The background weights.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The background weights, for an optimizer to step.
    pub fn weights_mut(&mut self) -> &mut [f32] {
        &mut self.weights
    }

    /// Magnitudes of the centroids.
    pub fn centroids(&self) -> Centroids {
        let [neg, pos] = self.centroids;
        Centroids { neg, pos }
    }

    /// Magnitudes of the centroids, `[a_n, a_p]`, for an optimizer to step.
    pub fn centroids_mut(&mut self) -> &mut [f32; 2] {
        &mut self.centroids
    }

    /// −1, 0 or 1 for each weight.
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// How many weights have which code.
    pub fn counts(&self) -> TernaryCounts {
        self.counts
    }

    /// The mean of the clusters' shares over steps; none before the first of them, and
    /// without [`share_smoothing`](Ec2tOptions::share_smoothing).
    pub fn mean_shares(&self) -> Option<Shares> {
        self.mean_shares
    }

    /// Goes on with a mean that a checkpoint holds.
    pub fn set_mean_shares(&mut self, shares: Option<Shares>) {
        self.mean_shares = shares;
    }

    /// Turns `∂loss/∂T` into the gradient of the background weights, in place,
    /// and returns that of the centroids, `[∂a_n, ∂a_p]`.
    ///
    /// # Errors
    /// [`Ec2tError::Length`] where `gradient` has not one value per weight.
    pub fn gradients(&self, gradient: &mut [f32]) -> Result<[f32; 2], Ec2tError> {
        check_length("gradient", self.len(), gradient.len())?;
        let by_centroids = centroid_gradient(gradient, &self.codes);
        background_gradient(gradient, &self.codes, self.centroids());
        Ok(by_centroids)
    }

    /// Floors the centroids and assigns all weights anew under a constraint of
    /// the strength γ·`delta`; see [`size_decay`](super::size_decay).
    ///
    /// # Errors
    /// Where training has made a weight or centroid infinite or not a number, or
    /// `delta` is not from 0 to 1 or an option out of range. Codes are then those
    /// of before.
    pub fn requantize(
        &mut self,
        options: &Ec2tOptions,
        delta: f64,
    ) -> Result<Requantized, Ec2tError> {
        let strength = options.strength(delta)?;
        let statistics = WeightStatistics::of(&self.weights)?;
        self.raise_centroids(options.floor(&statistics))?;
        let nearest = Thresholds::nearest(self.centroids());
        let nearest = assign::assign(&self.weights, nearest, &mut self.codes);
        self.smooth(nearest, options);
        let constraint = self.constrain(nearest, &statistics, options, strength);
        self.follow(options.method, constraint.thresholds);
        self.counts = assign::assign(&self.weights, constraint.thresholds, &mut self.codes);
        Ok(Requantized { constraint, counts: self.counts })
    }

    /// Takes the clusters of a nearest-neighbour assignment into the mean of the shares.
    fn smooth(&mut self, nearest: TernaryCounts, options: &Ec2tOptions) {
        if options.share_smoothing > 0.0 {
            let now = Shares::of(nearest);
            let before = self.mean_shares.unwrap_or(now);
            self.mean_shares = Some(now.smoothed(before, options.share_smoothing));
        }
    }

    /// What decides on the codes, given the counts of a nearest-neighbour assignment:
    /// the mean of the shares, where there is one, has them.
    fn constrain(
        &self,
        nearest: TernaryCounts,
        statistics: &WeightStatistics,
        options: &Ec2tOptions,
        strength: f64,
    ) -> Constraint {
        let centroids = self.centroids();
        let robust = || statistics.with_extremes_at(options.extreme_quantile, &self.weights);
        match options.method {
            Method::Ec2t => {
                let shares = self.mean_shares.unwrap_or(Shares::of(nearest));
                Constraint::of_shares(shares, &robust(), centroids, strength)
            }
            Method::Reference => reference::constraint(nearest, &robust(), centroids, strength),
            Method::Ttq | Method::Twn => {
                let thresholds = baselines::thresholds(options, &self.weights, statistics);
                Constraint { shares: Shares::of(nearest), lambda: 0.0, thresholds }
            }
        }
    }

    /// Sets the centroids where they follow from the thresholds.
    fn follow(&mut self, method: Method, thresholds: Thresholds) {
        if method == Method::Twn {
            let Centroids { neg, pos } = baselines::means(method, &self.weights, thresholds);
            self.centroids = [neg, pos];
        }
    }

    /// Raises the centroids to at least `floor`, and leaves the codes alone; see
    /// [`Ec2tOptions::floor`].
    ///
    /// # Errors
    /// Where training has made a centroid infinite or not a number.
    pub fn raise_centroids(&mut self, floor: f32) -> Result<(), Ec2tError> {
        let raised = self.centroids().raised_to(floor);
        raised.validate()?;
        self.centroids = [raised.neg, raised.pos];
        Ok(())
    }

    /// Writes the ternary weights: −`a_n`, 0 or +`a_p` for each.
    ///
    /// # Errors
    /// [`Ec2tError::Length`] where `ternary` has not one place per weight.
    pub fn write_ternary(&self, ternary: &mut [f32]) -> Result<(), Ec2tError> {
        check_length("ternary weights", self.len(), ternary.len())?;
        let [neg, pos] = self.centroids;
        for (value, &code) in ternary.iter_mut().zip(&self.codes) {
            *value = match code {
                1 => pos,
                -1 => -neg,
                _ => 0.0,
            };
        }
        Ok(())
    }
}

impl TernaryLayer {
    /// Writes the weights of a pruned layer: 0 where the code is, else the background
    /// weight.
    ///
    /// # Errors
    /// [`Ec2tError::Length`] where `pruned` has not one place per weight.
    pub fn write_pruned(&self, pruned: &mut [f32]) -> Result<(), Ec2tError> {
        check_length("pruned weights", self.len(), pruned.len())?;
        for ((value, &weight), &code) in pruned.iter_mut().zip(&self.weights).zip(&self.codes) {
            *value = if code == 0 { 0.0 } else { weight };
        }
        Ok(())
    }
}

/// Counts codes that may be damaged.
fn count(codes: &[i8]) -> Result<TernaryCounts, Ec2tError> {
    let mut counts = TernaryCounts::default();
    for (position, &code) in codes.iter().enumerate() {
        match code {
            1 => counts.pos += 1,
            -1 => counts.neg += 1,
            0 => counts.zero += 1,
            _ => return Err(Ec2tError::Code { code, position }),
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2t::testing::Random;

    fn options() -> Ec2tOptions {
        Ec2tOptions::default()
    }

    fn normal_layer(seed: u64) -> TernaryLayer {
        let mut random = Random::new(seed);
        let weights = (0..2000).map(|_| 0.1 * random.normal()).collect();
        TernaryLayer::new(weights, &options()).unwrap()
    }

    /// One step with a random gradient and plain gradient descent.
    fn step(layer: &mut TernaryLayer, random: &mut Random, rate: f32, frozen: bool) {
        let mut gradient: Vec<f32> = (0..layer.len()).map(|_| random.normal()).collect();
        let by_centroids = layer.gradients(&mut gradient).unwrap();
        for (centroid, slope) in layer.centroids_mut().iter_mut().zip(by_centroids) {
            *centroid -= rate * slope;
        }
        if frozen {
            let statistics = WeightStatistics::of(layer.weights()).unwrap();
            layer.raise_centroids(options().floor(&statistics)).unwrap();
        } else {
            for (weight, slope) in layer.weights_mut().iter_mut().zip(&gradient) {
                *weight -= rate * slope;
            }
            layer.requantize(&options(), 1.0).unwrap();
        }
    }

    #[test]
    fn ternary_weights_follow_codes_and_centroids() {
        let weights = vec![-1.0, -0.1, 0.0, 0.5, 0.05];
        let half = Ec2tOptions { init_scale: 0.5, ..options() };
        let layer = TernaryLayer::new(weights, &half).unwrap();
        assert_eq!(layer.codes(), [-1, 0, 0, 1, 0]);
        assert_eq!(layer.counts(), TernaryCounts { neg: 1, zero: 3, pos: 1 });
        let mut ternary = [9.0; 5];
        layer.write_ternary(&mut ternary).unwrap();
        assert_eq!(ternary, [-0.5, 0.0, 0.0, 0.25, 0.0]);
    }

    #[test]
    fn both_gradients_are_of_the_same_loss_gradient() {
        let layer = TernaryLayer::new(vec![-1.0, 0.0, 2.0, -1.0], &options()).unwrap();
        let Centroids { neg, pos } = layer.centroids();
        let mut gradient = [4.0, 5.0, 6.0, -7.0];
        assert_eq!(layer.gradients(&mut gradient).unwrap(), [3.0, 6.0]);
        assert_eq!(gradient, [4.0 * neg, 5.0, 6.0 * pos, -7.0 * neg]);
    }

    #[test]
    fn constraint_is_in_proportion_to_gamma_and_delta() {
        let lambda = |gamma, delta| {
            let options = Ec2tOptions { gamma, ..options() };
            normal_layer(18).requantize(&options, delta).unwrap().constraint.lambda
        };
        assert!(lambda(1.0, 1.0) > 0.0);
        assert_eq!(lambda(0.5, 1.0), 0.5 * lambda(1.0, 1.0));
        assert_eq!(lambda(0.5, 0.25), 0.125 * lambda(1.0, 1.0));
        assert_eq!(lambda(0.0, 1.0), 0.0);
    }

    /// Shares of a step are not those of the mean, which the constraint takes, in the
    /// step as when it is asked for again.
    #[test]
    fn smoothed_shares_decide_on_the_codes() {
        let smooth = Ec2tOptions { share_smoothing: 0.75, ..options() };
        let mut layer = normal_layer(19);
        let mut shares = Vec::new();
        for centroid in [0.05, 0.1, 0.2] {
            *layer.centroids_mut() = [centroid; 2];
            let mut plain = layer.clone();
            plain.set_mean_shares(None);
            plain.requantize(&options(), 1.0).unwrap();
            assert_eq!(plain.mean_shares(), None);
            let nearest = assign::assign(
                plain.weights(),
                Thresholds::nearest(plain.centroids()),
                &mut vec![0; plain.len()],
            );
            shares.push(Shares::of(nearest));

            let found = layer.requantize(&smooth, 1.0).unwrap().constraint;
            assert_eq!(layer.constraint(&smooth, 1.0), Ok(found));
            let means = shares.iter().copied().reduce(|mean, now| now.smoothed(mean, 0.75));
            assert_eq!(layer.mean_shares(), means);
            assert_eq!(Some(found.shares), means.map(Shares::with_zero_raised));
        }
        assert_ne!(layer.mean_shares(), shares.last().copied());
    }

    /// One weight far out makes first centroids and λ_max those of nothing else; with a
    /// quantile it is one weight of many.
    #[test]
    fn a_stray_weight_does_not_decide_alone() {
        let mut weights = normal_layer(20).weights().to_vec();
        weights[7] = 50.0;
        let positive = |extreme_quantile| {
            let options = Ec2tOptions { extreme_quantile, ..options() };
            let mut layer = TernaryLayer::new(weights.clone(), &options).unwrap();
            // Both centroids where they might be after a while.
            let first = layer.centroids().pos;
            *layer.centroids_mut() = [0.1; 2];
            let constraint = layer.requantize(&options, 1.0).unwrap().constraint;
            (first, constraint.thresholds.pos)
        };
        let (first, threshold) = positive(1.0);
        assert!(first == 15.0 && threshold > 0.07, "{first} {threshold}");
        let (first, robust) = positive(0.99);
        assert!(first < 0.2 && robust < threshold, "{first} {robust}");
    }

    #[test]
    fn learning_changes_codes_and_frozen_steps_never_do() {
        let mut layer = normal_layer(9);
        let mut random = Random::new(10);
        let initial = layer.codes().to_vec();
        for _ in 0..20 {
            step(&mut layer, &mut random, 0.01, false);
        }
        let (learnt, weights) = (layer.codes().to_vec(), layer.weights().to_vec());
        assert_ne!(learnt, initial);

        let centroids = layer.centroids();
        for _ in 0..20 {
            // A rate that throws the centroids about.
            step(&mut layer, &mut random, 0.1, true);
        }
        assert_ne!(layer.centroids(), centroids);
        assert_eq!(layer.codes(), learnt);
        assert_eq!(layer.weights(), weights);
    }

    #[test]
    fn training_is_reproducible() {
        let train = || {
            let (mut layer, mut random) = (normal_layer(11), Random::new(12));
            (0..10).for_each(|_| step(&mut layer, &mut random, 0.01, false));
            layer
        };
        assert_eq!(train(), train());
    }

    #[test]
    fn checkpoint_parts_make_the_same_layer() {
        let mut layer = normal_layer(13);
        layer.requantize(&options(), 0.5).unwrap();
        let codes = layer.codes().to_vec();
        let restored = TernaryLayer::from_parts(layer.weights().to_vec(), layer.centroids(), codes);
        assert_eq!(restored.unwrap(), layer);
    }

    #[test]
    fn damaged_checkpoint_parts_are_named() {
        let good = Centroids { neg: 0.5, pos: 0.5 };
        let parts = |weight, centroids, codes| {
            TernaryLayer::from_parts(vec![weight, 1.0], centroids, codes).unwrap_err().to_string()
        };
        let cases = [
            (parts(f32::INFINITY, good, vec![0, 1]), "weight inf at position 0 is not finite"),
            (
                parts(0.0, Centroids { neg: -0.5, ..good }, vec![0, 1]),
                "the negative centroid -0.5 is not a finite magnitude",
            ),
            (parts(0.0, good, vec![0, 2]), "code 2 at position 1 is not −1, 0 or 1"),
            (parts(0.0, good, vec![0; 3]), "codes: the layer has 2 weights, found 3 values"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn collapsing_centroids_are_floored() {
        let mut layer = normal_layer(14);
        *layer.centroids_mut() = [-3.0, 1e-9];
        let statistics = WeightStatistics::of(layer.weights()).unwrap();
        layer.requantize(&options(), 1.0).unwrap();
        let floor = (0.675 * statistics.std) as f32;
        assert_eq!(layer.centroids(), Centroids { neg: floor, pos: floor });
    }

    #[test]
    fn layers_without_spread_train_on() {
        for weights in [vec![0.0; 8], vec![0.5; 8], vec![-0.5; 8], vec![0.5]] {
            let mut layer = TernaryLayer::new(weights.clone(), &options()).unwrap();
            let codes = layer.codes().to_vec();
            let expected = weights[0].partial_cmp(&0.0).unwrap() as i8;
            assert_eq!(codes, vec![expected; weights.len()]);
            for delta in [0.0, 0.5, 1.0] {
                layer.requantize(&options(), delta).unwrap();
                assert_eq!(layer.codes(), codes);
            }
        }
    }

    #[test]
    fn diverged_training_is_an_error_and_keeps_the_codes() {
        let before = normal_layer(15);
        for value in [f32::NAN, f32::INFINITY] {
            let mut layer = before.clone();
            layer.weights_mut()[7] = value;
            let error = layer.requantize(&options(), 1.0).unwrap_err();
            assert!(matches!(error, Ec2tError::Weight { position: 7, .. }), "{error}");
            assert_eq!(layer.codes(), before.codes());

            let mut layer = before.clone();
            layer.centroids_mut()[1] = value;
            let error = layer.requantize(&options(), 1.0).unwrap_err();
            assert!(matches!(error, Ec2tError::Centroid { side: "positive", .. }), "{error}");
        }
        let error = before.clone().requantize(&options(), f64::NAN).unwrap_err();
        assert!(matches!(error, Ec2tError::OutOfRange { name: "delta", .. }), "{error}");
        assert!(TernaryLayer::new(vec![0.0, f32::NAN], &options()).is_err());
    }

    #[test]
    fn options_out_of_range_are_errors() {
        let broken = Ec2tOptions { gamma: f64::NAN, ..options() };
        let expected = |error| matches!(error, Ec2tError::OutOfRange { name: "gamma", .. });
        assert!(expected(TernaryLayer::new(vec![1.0], &broken).unwrap_err()));
        assert!(expected(normal_layer(17).requantize(&broken, 1.0).unwrap_err()));
    }

    #[test]
    fn slices_of_another_length_are_errors() {
        let layer = normal_layer(16);
        let short = Err(Ec2tError::Length { what: "gradient", expected: 2000, found: 1999 });
        assert_eq!(layer.gradients(&mut [0.0; 1999]), short);
        assert!(layer.write_ternary(&mut [0.0; 2001]).is_err());
    }
}
