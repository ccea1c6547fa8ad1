//! A share of zeros as the goal.
//!
//! How many zeros a strength of the constraint gives is known only after training, as
//! the distribution of the weights changes. Given the share instead, the strength
//! follows it: after each step it moves in proportion to what is missing (integral
//! control). Assignments answer at once: by 0.3 to 1.4 per unit of γ, up to 5 per unit of
//! TTQ's threshold and 0.1 to 0.8 of TWN's (ResNet-20's float weights, up to 90 % zeros).
//! So the share is reached within tens to hundreds of steps and then held.

use crate::checkpoint::Checkpoint;
use crate::ec2t::{Ec2tOptions, Method};
use crate::error::QuantError;

/// Change of the strength per step and missing share.
const GAIN: f32 = 0.05;

/// Where the strength is kept in a checkpoint.
const KEY: &str = "target/strength";

/// Moves γ, or the baselines' threshold, towards a share of zeros.
pub(super) struct SparsityTarget {
    /// Zeros among all trained values, 0…1.
    share: f64,
    strength: f32,
    greatest: f32,
}

impl SparsityTarget {
    /// None where there is no goal. It begins with the strength of the options.
    pub(super) fn new(share: f64, options: &Ec2tOptions) -> Option<Self> {
        let greatest = match options.method {
            Method::Ec2t | Method::Reference => 1.0,
            Method::Ttq => 0.99,
            Method::Twn => f32::MAX,
        };
        let mut first = *options;
        let strength = *first.pull_mut() as f32;
        (share > 0.0).then_some(Self { share, strength, greatest })
    }

    /// Notes the share that the last step gave.
    pub(super) fn observe(&mut self, share: f64) {
        let moved = self.strength + GAIN * (self.share - share) as f32;
        self.strength = moved.clamp(0.0, self.greatest);
    }

    /// Gives the options their strength.
    pub(super) fn apply(&self, options: &mut Ec2tOptions) {
        *options.pull_mut() = self.strength.into();
    }

    pub(super) fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put(KEY, &[self.strength]);
    }

    pub(super) fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), QuantError> {
        checkpoint.load(KEY, std::slice::from_mut(&mut self.strength))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A share that answers to the strength as steeply as any method's.
    #[test]
    fn the_share_is_reached_and_held() {
        for (method, slope) in [(Method::Ec2t, 1.0), (Method::Ttq, 5.0), (Method::Twn, 0.4)] {
            let mut options =
                Ec2tOptions { method, gamma: 0.0, threshold: 0.0, ..Default::default() };
            let mut target = SparsityTarget::new(0.7, &options).unwrap();
            for step in 0..400 {
                target.apply(&mut options);
                let strength =
                    if method == Method::Ec2t { options.gamma } else { options.threshold };
                let share = 0.5 + slope * strength;
                assert!(step < 300 || (share - 0.7).abs() < 1e-3, "{method:?} {step}: {share}");
                target.observe(share);
            }
        }
    }

    #[test]
    fn what_is_out_of_reach_stays_at_the_end() {
        let mut options = Ec2tOptions { gamma: 0.9, ..Ec2tOptions::default() };
        let mut target = SparsityTarget::new(0.99, &options).unwrap();
        for _ in 0..100 {
            target.observe(0.5);
            target.apply(&mut options);
            assert_eq!(options.validate(), Ok(()));
        }
        assert_eq!(options.gamma, 1.0);
        assert!(SparsityTarget::new(0.0, &options).is_none());
    }
}
