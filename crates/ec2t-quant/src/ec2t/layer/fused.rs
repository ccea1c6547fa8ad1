//! Whole steps of a layer, in as few passes over its weights as they need.
//!
//! [`TernaryLayer::learn`] makes three: the first turns the gradient into that of
//! background weights and centroids, steps the former and sums up what the floor
//! needs to know; the second counts the clusters of nearest-neighbour assignment;
//! the third writes codes and ternary weights. [`TernaryLayer::tune`], with frozen
//! assignment, makes two. The passes are those of [`ec2t_ops::ternary`], and use
//! vectors and all threads.
//!
//! Both do what the plain methods do one after the other, and are tested against
//! them. Sums of floats may differ in the last digits: the centroids then do, but
//! not the codes of given weights and centroids.

use ec2t_format::tensor::TernaryCounts;
use ec2t_ops::optim::{Adam, Moments};
use ec2t_ops::ternary as passes;

use super::TernaryLayer;
use crate::ec2t::assign::{Constraint, Requantized, Thresholds, assign};
use crate::ec2t::error::check_length;
use crate::ec2t::{Ec2tError, Ec2tOptions, Method, WeightStatistics};

/// What a step of the learning phase does to a layer.
#[derive(Clone, Copy, Debug)]
pub struct LearningStep<'a> {
    /// Steps the background weights.
    pub background: Adam,
    /// Steps the centroids.
    pub centroids: Adam,
    /// Hyper-parameters of the method.
    pub options: &'a Ec2tOptions,
    /// δ: the layer's share of the constraint; see [`size_decay`](crate::ec2t::size_decay).
    pub delta: f64,
}

/// What optimizers remember of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMoments {
    /// Of the background weights.
    pub background: Moments,
    /// Of the centroids, `[a_n, a_p]`.
    pub centroids: Moments,
}

impl LayerMoments {
    /// Zeros, before the first step of a layer of `len` weights.
    pub fn new(len: usize) -> Self {
        Self { background: Moments::new(len), centroids: Moments::new(2) }
    }
}

impl TernaryLayer {
    /// One step of the learning phase, by `∂loss/∂T`; leaves the next ternary
    /// weights in `ternary`.
    ///
    /// The same as [`gradients`](Self::gradients), a step of both optimizers,
    /// [`requantize`](Self::requantize) and [`write_ternary`](Self::write_ternary).
    ///
    /// # Errors
    /// As these. Where the step has made a weight or centroid infinite or not a
    /// number, the codes are those of before.
    ///
    /// # Panics
    /// If `moments` are not those of a layer of this length.
    pub fn learn(
        &mut self,
        gradient: &[f32],
        step: &LearningStep,
        moments: &mut LayerMoments,
        ternary: &mut [f32],
    ) -> Result<Requantized, Ec2tError> {
        check_length("gradient", self.len(), gradient.len())?;
        check_length("ternary weights", self.len(), ternary.len())?;
        let strength = step.options.strength(step.delta)?;
        let LayerMoments { background, centroids } = moments;

        let method = step.options.method;
        // TWN's background weights take the gradient as it is; its centroids follow.
        let factors = if method == Method::Twn { [1.0; 2] } else { self.centroids };
        let (codes, weights) = (&self.codes, &mut self.weights);
        let found = passes::descend(step.background, gradient, codes, factors, weights, background);
        let [neg, pos] = found.gradient;
        match method {
            Method::Twn => {}
            Method::Reference => self.step_centroids([-neg, pos], step.centroids, centroids),
            Method::Ec2t | Method::Ttq => {
                self.step_centroids([neg, pos], step.centroids, centroids)
            }
        }
        let statistics = WeightStatistics::after(&found, &self.weights)?;
        self.raise_centroids(step.options.floor(&statistics))?;

        let constraint = self.decide_next(&statistics, step.options, strength);
        self.follow(method, constraint.thresholds);
        let Thresholds { neg, pos } = constraint.thresholds;
        let (weights, codes) = (&self.weights, &mut self.codes);
        let counts = passes::assign(weights, [neg, pos], self.centroids, codes, ternary);
        self.counts = self.of_sides(counts);
        Ok(Requantized { constraint, counts: self.counts })
    }

    /// One step of entropy-constrained pruning (thesis, §4.2.2), by `∂loss/∂T`, where
    /// `T` are the weights that are left; leaves the next ones in `pruned`.
    ///
    /// Centroids only say which weights are near to 0, and rest; background weights
    /// take the gradient as it is, also where they are left out (straight through).
    ///
    /// # Errors
    /// As [`learn`](Self::learn).
    ///
    /// # Panics
    /// As [`learn`](Self::learn).
    pub fn prune(
        &mut self,
        gradient: &[f32],
        step: &LearningStep,
        moments: &mut LayerMoments,
        pruned: &mut [f32],
    ) -> Result<Requantized, Ec2tError> {
        check_length("gradient", self.len(), gradient.len())?;
        check_length("pruned weights", self.len(), pruned.len())?;
        let strength = step.options.strength(step.delta)?;
        let (codes, weights) = (&self.codes, &mut self.weights);
        let (adam, moments) = (step.background, &mut moments.background);
        let found = passes::descend(adam, gradient, codes, [1.0; 2], weights, moments);
        let statistics = WeightStatistics::after(&found, &self.weights)?;
        let constraint = self.decide_next(&statistics, step.options, strength);
        self.counts = assign(&self.weights, constraint.thresholds, &mut self.codes);
        self.write_pruned(pruned)?;
        Ok(Requantized { constraint, counts: self.counts })
    }

    /// One step with frozen assignment, by `∂loss/∂T`: steps the centroids and
    /// raises them to `floor`; leaves the next ternary weights in `ternary`.
    ///
    /// # Errors
    /// Where slices have not one value per weight, or the step has made a centroid
    /// infinite or not a number.
    ///
    /// # Panics
    /// If `moments` are not those of two values.
    pub fn tune(
        &mut self,
        gradient: &[f32],
        adam: Adam,
        floor: f32,
        moments: &mut Moments,
        ternary: &mut [f32],
    ) -> Result<(), Ec2tError> {
        check_length("gradient", self.len(), gradient.len())?;
        let sums = passes::sum_by_code(gradient, &self.codes);
        self.step_centroids(sums, adam, moments);
        self.raise_centroids(floor)?;
        self.write_ternary(ternary)
    }

    /// The constraint of strength γ·`delta` on the weights as they are: that of the
    /// last step, if it was of the same strength.
    ///
    /// # Errors
    /// As [`requantize`](Self::requantize).
    pub fn constraint(&self, options: &Ec2tOptions, delta: f64) -> Result<Constraint, Ec2tError> {
        let strength = options.strength(delta)?;
        let statistics = WeightStatistics::of(&self.weights)?;
        Ok(self.constrain(self.count_nearest(), &statistics, options, strength))
    }

    /// [`constrain`](Self::constrain) in a step, with counts of a pass.
    fn decide_next(
        &mut self,
        statistics: &WeightStatistics,
        options: &Ec2tOptions,
        strength: f64,
    ) -> Constraint {
        let nearest = self.count_nearest();
        self.smooth(nearest, options);
        self.constrain(nearest, statistics, options, strength)
    }

    /// Steps the centroids by the sums of `∂loss/∂T` over both clusters.
    fn step_centroids(&mut self, [neg, pos]: [f64; 2], adam: Adam, moments: &mut Moments) {
        adam.step(&[-neg as f32, pos as f32], &mut self.centroids, moments);
    }

    /// The clusters of nearest-neighbour assignment.
    fn count_nearest(&self) -> TernaryCounts {
        let Thresholds { neg, pos } = Thresholds::nearest(self.centroids());
        self.of_sides(passes::count(&self.weights, [neg, pos]))
    }

    /// Counts of all codes from those of −1 and 1.
    fn of_sides(&self, [neg, pos]: [usize; 2]) -> TernaryCounts {
        TernaryCounts { neg, zero: self.len() - neg - pos, pos }
    }
}

#[cfg(test)]
mod tests;
