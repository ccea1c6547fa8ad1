//! Random numbers that depend on nothing but their key.
//!
//! Each stream is ChaCha8 keyed by (purpose, seed, epoch, index). There is no
//! generator that runs through an epoch, so a sample draws the same numbers
//! whatever was drawn before it: order, threads and resuming change nothing.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Keeps streams of one seed apart.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// Which images are split off.
    Split = 1,
    /// The order of an epoch.
    Order = 2,
    /// The augmentation of one sample.
    Augment = 3,
    /// The part of a picture that becomes one sample.
    Part = 4,
}

/// One stream of random numbers.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of this key.
    pub(crate) fn new(purpose: Purpose, seed: u64, epoch: u64, index: u64) -> Self {
        let mut key = [0u8; 32];
        let words = [purpose as u64, seed, epoch, index];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// An integer of 0…`n` − 1, each as likely as the others to within 2⁻⁶⁴ · `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// A float of `low`…`high`, from 2²⁴ equally likely steps.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32;
        low + (high - low) * unit
    }

    /// Puts items into random order (Fisher–Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_counts() {
        let first = |purpose, seed, epoch, index| {
            Stream::new(purpose, seed, epoch, index).below(usize::MAX)
        };
        let base = first(Purpose::Order, 1, 2, 3);
        assert_eq!(base, first(Purpose::Order, 1, 2, 3));
        assert_ne!(base, first(Purpose::Split, 1, 2, 3));
        assert_ne!(base, first(Purpose::Order, 0, 2, 3));
        assert_ne!(base, first(Purpose::Order, 1, 0, 3));
        assert_ne!(base, first(Purpose::Order, 1, 2, 0));
    }

    #[test]
    fn numbers_stay_in_range_and_fill_it() {
        let mut stream = Stream::new(Purpose::Augment, 0, 0, 0);
        let mut counts = [0u32; 5];
        for _ in 0..10_000 {
            counts[stream.below(5)] += 1;
            assert!((0.7..=1.3).contains(&stream.between(0.7, 1.3)));
        }
        assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{counts:?}");
    }

    #[test]
    fn shuffling_keeps_the_items() {
        let mut items: Vec<u32> = (0..100).collect();
        Stream::new(Purpose::Order, 7, 0, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
