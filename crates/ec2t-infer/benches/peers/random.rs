//! Seeded numbers, the same on every machine.

use ec2t_format::TernaryTensor;
use ec2t_format::tensor::TensorError;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A generator for this seed.
pub(super) fn seeded(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A number from 0 to 1, without 1.
pub(super) fn unit(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// Numbers from −`limit` to `limit`.
pub(super) fn uniform(rng: &mut ChaCha8Rng, len: usize, limit: f32) -> Vec<f32> {
    (0..len).map(|_| (2.0 * unit(rng) - 1.0) * limit).collect()
}

/// A ternary tensor with this percentage of zeros at random places; of the others,
/// each is positive or negative as chance will have it. Centroids keep the variance of
/// a signal that a rectifier halves (He et al. 2015).
pub(super) fn ternary(
    rng: &mut ChaCha8Rng,
    shape: &[usize],
    zeros: usize,
) -> Result<TernaryTensor, TensorError> {
    let len: usize = shape.iter().product();
    let mut codes = vec![0; len];
    for code in &mut codes[len * zeros / 100..] {
        *code = (rng.next_u32() & 2) as i8 - 1;
    }
    // Fisher and Yates's shuffle.
    for last in (1..len).rev() {
        let place = (unit(rng) * (last + 1) as f32) as usize;
        codes.swap(place.min(last), last);
    }
    let density = (100 - zeros) as f32 / 100.0;
    let centroid = (2.0 / (fan_in(shape) * density)).sqrt();
    // Of unequal size, as trained ones are.
    TernaryTensor::new(shape.to_vec(), codes, 0.9 * centroid, 1.1 * centroid)
}

/// Dense weights that keep the variance as those of [`ternary`] do.
pub(super) fn dense(rng: &mut ChaCha8Rng, shape: &[usize]) -> Vec<f32> {
    uniform(rng, shape.iter().product(), (6.0 / fan_in(shape)).sqrt())
}

/// Products that an output is the sum of.
fn fan_in(shape: &[usize]) -> f32 {
    shape[1..].iter().product::<usize>() as f32
}
