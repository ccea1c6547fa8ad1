//! Random layers and comparisons for the tests of this module.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seeded source of random weights.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform over −1…1.
    pub(super) fn uniform(&mut self) -> f32 {
        self.0.next_u32() as i32 as f32 / 2f32.powi(31)
    }

    /// Close to a standard normal: a sum of twelve uniforms.
    pub(super) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() / 2.0
    }

    /// Symmetric with heavy tails, as trained weights have.
    pub(super) fn heavy_tailed(&mut self) -> f32 {
        self.normal().powi(3)
    }

    /// Layers of `count` weights each, of many kinds.
    pub(super) fn layers(&mut self, count: usize) -> Vec<Vec<f32>> {
        let mut layer = |draw: &mut dyn FnMut(&mut Self) -> f32| -> Vec<f32> {
            (0..count).map(|_| draw(self)).collect()
        };
        vec![
            layer(&mut |r| 0.05 * r.normal()),
            layer(&mut |r| r.uniform()),
            layer(&mut |r| 1e-3 * r.heavy_tailed()),
            layer(&mut |r| 0.4 + 0.1 * r.normal()),
            layer(&mut |r| -10.0 * r.uniform().abs()),
            layer(&mut |r| r.normal().abs()),
            // Nearly all weights at the extremes: few zeros.
            layer(&mut |r| r.uniform().signum() * (1.0 + 0.01 * r.normal())),
            // One sign that a single weight has.
            layer(&mut |r| r.uniform().abs()).into_iter().chain([-0.3]).collect(),
            // Multiples of 1/8, so that many weights lie on a boundary.
            layer(&mut |r| (8.0 * r.uniform()).round() / 8.0),
            vec![0.25; count],
            vec![-0.25; count],
            vec![0.0; count],
        ]
    }
}

/// Panics unless both agree to `tolerance`, relative to the second.
#[track_caller]
pub(super) fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs();
    assert!(error <= tolerance * expected.abs(), "found {found}, expected {expected}");
}
