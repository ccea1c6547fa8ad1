//! Averages of weights over steps.
//!
//! A trained network wanders around what it has learnt; the mean of the places where
//! it has been is often better than the last of them, and depends less on the step
//! that happens to be the last. Two means are usual, and are one here:
//!
//! | decay | mean |
//! |---|---|
//! | below 1 | exponential: each step counts `decay` times as much as the next one (Polyak & Juditsky 1992) |
//! | 1 | plain, over all steps (stochastic weight averaging: Izmailov et al. 2018) |
//!
//! The step `t` has the share `max(1 − decay, 1/t)`, so that an exponential mean begins
//! as a plain one and what was before the first step never counts.
//!
//! What only follows from other values, the running statistics of batch normalisation,
//! is no mean of theirs: it has to be measured anew (see [`crate::running`]).
//!
//! Each value is averaged alone and in the same way, so values that are equal at every
//! step have equal means: a ternary layer with frozen codes stays ternary, and its
//! centroids are the means of its centroids.

use rayon::prelude::*;

use crate::checkpoint::Checkpoint;
use crate::error::QuantError;
use crate::weights::Weights;

/// Where the mean is kept in a checkpoint.
const PREFIX: &str = "average";

/// The mean of the weights of all steps so far.
#[derive(Clone, Debug)]
pub(crate) struct Average {
    decay: f32,
    steps: u64,
    mean: Weights,
}

impl Average {
    /// Before the first step of a network with these weights; none at a decay of 0,
    /// where it would be the last weights.
    pub(crate) fn new(decay: f32, weights: &Weights) -> Option<Self> {
        (decay > 0.0).then(|| Self { decay, steps: 0, mean: weights.clone() })
    }

    /// The mean.
    pub(crate) fn mean(&self) -> &Weights {
        &self.mean
    }

    /// The mean, for what follows from other values to be set.
    pub(crate) fn mean_mut(&mut self) -> &mut Weights {
        &mut self.mean
    }

    /// Takes in the weights after a step.
    pub(crate) fn observe(&mut self, weights: &Weights) {
        self.steps += 1;
        let share = (1.0 - self.decay).max(1.0 / self.steps as f32);
        let lists = self.mean.lists_mut().par_iter_mut().zip(weights.params());
        let trained = lists.enumerate().filter(|(_, (_, param))| param.kind.is_trainable());
        trained.for_each(|(position, (mean, _))| {
            let values = mean.iter_mut().zip(weights.get(position));
            values.for_each(|(mean, value)| *mean += share * (value - *mean));
        });
    }

    pub(crate) fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_count(&format!("{PREFIX}.steps"), self.steps);
        self.mean.save(checkpoint, PREFIX);
    }

    pub(crate) fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError> {
        self.steps = checkpoint.count(&format!("{PREFIX}.steps"))?;
        self.mean.load(checkpoint, PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ec2t_format::graph::{GraphBuilder, ParamKind, Shape};

    /// A layer and its normalisation, all of whose values are `value`.
    fn weights(value: f32) -> Weights {
        let mut g = GraphBuilder::new("t", Shape::new(2, 1, 1));
        let x = g.linear("fc", g.input(), 2);
        g.batch_norm("bn", x);
        let network = crate::initialize(&g.finish().unwrap(), 1).unwrap();
        let mut weights = Weights::from_network(&network);
        weights.lists_mut().iter_mut().for_each(|values| values.fill(value));
        weights
    }

    /// Means after steps whose weights are these.
    fn means(decay: f32, steps: &[f32]) -> Vec<f32> {
        let mut average = Average::new(decay, &weights(1e6)).unwrap();
        let mean = |value: &f32| {
            average.observe(&weights(*value));
            average.mean().get(0)[0]
        };
        steps.iter().map(mean).collect()
    }

    #[test]
    fn a_decay_of_one_is_the_plain_mean() {
        assert_eq!(means(1.0, &[8.0, 4.0, 0.0, 8.0]), [8.0, 6.0, 4.0, 5.0]);
    }

    /// The first steps count alike; with the third, 1 − decay is more than 1/t.
    #[test]
    fn an_exponential_mean_begins_as_a_plain_one() {
        assert_eq!(means(0.5, &[8.0, 4.0, 0.0, 8.0]), [8.0, 6.0, 3.0, 5.5]);
    }

    #[test]
    fn running_statistics_are_no_means() {
        let mut average = Average::new(1.0, &weights(1.0)).unwrap();
        average.observe(&weights(3.0));
        for (param, values) in average.mean().iter() {
            let running = matches!(param.kind, ParamKind::RunningMean | ParamKind::RunningVar);
            assert_eq!(values[0], if running { 1.0 } else { 3.0 }, "{}", param.name);
        }
    }

    #[test]
    fn no_decay_is_no_average() {
        assert!(Average::new(0.0, &weights(1.0)).is_none());
    }
}
