//! Dropout (Srivastava et al. 2014): zeroes values at random and scales the
//! others, so that the mean stays.
//!
//! ```
//! use ec2t_ops::{dropout::Dropout, mask_len};
//! use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
//!
//! let dropout = Dropout::new(0.5);
//! let mut mask = [0; mask_len(4)];
//! dropout.draw(4, &mut ChaCha8Rng::seed_from_u64(1), &mut mask);
//!
//! let mut values = [1.0; 4];
//! dropout.apply(&mask, &mut values); // forward; with gradients, backward
//! assert!(values.iter().all(|&value| value == 0.0 || value == 2.0));
//! ```

use ec2t_kernels::arch::{Operation, Simd, dispatch};
use rand_chacha::rand_core::Rng;

use crate::lanes::{LINE, get, mask, mask_len, put};

/// A dropout layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    p: f32,
}

impl Dropout {
    /// Zeroes with probability `p`, below 1.
    pub fn new(p: f32) -> Self {
        Self { p }
    }

    /// Draws which of `len` values are kept, a random number for each in order:
    /// a bit each in `mask`, of [`mask_len`] words.
    ///
    /// # Panics
    ///
    /// If the mask has another length.
    pub fn draw(&self, len: usize, rng: &mut impl Rng, mask: &mut [u16]) {
        assert_eq!(mask.len(), mask_len(len), "mask of {len} values");
        let threshold = (f64::from(self.p) * f64::from(u32::MAX)) as u32;
        for (word, first) in mask.iter_mut().zip((0..len).step_by(LINE)) {
            let bits = 0..LINE.min(len - first);
            *word = bits.fold(0, |word, bit| word | u16::from(rng.next_u32() >= threshold) << bit);
        }
    }

    /// Zeroes and scales in place: the input, which becomes the output, or the
    /// output's gradient, which becomes the input's.
    ///
    /// # Panics
    ///
    /// If the mask is one of another number of values.
    pub fn apply(&self, mask: &[u16], values: &mut [f32]) {
        assert_eq!(mask.len(), mask_len(values.len()), "mask of {} values", values.len());
        dispatch(Keep { mask, factor: 1.0 / (1.0 - self.p), values });
    }
}

struct Keep<'a> {
    mask: &'a [u16],
    factor: f32,
    values: &'a mut [f32],
}

impl Operation for Keep<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let (factor, zero) = (simd.splat(self.factor), simd.splat(0.0));
        for at in (0..self.values.len()).step_by(S::LANES) {
            let scaled = simd.mul(get(simd, self.values, at), factor);
            let kept = simd.select(mask(simd, self.mask, at), scaled, zero);
            put(simd, kept, self.values, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, dot, gradient, random, wide};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn drawn(p: f32, len: usize) -> Vec<f32> {
        let mut mask = vec![0; mask_len(len)];
        Dropout::new(p).draw(len, &mut ChaCha8Rng::seed_from_u64(1), &mut mask);
        let mut values = vec![1.0; len];
        Dropout::new(p).apply(&mask, &mut values);
        values
    }

    #[test]
    fn the_mean_stays() {
        let values = drawn(0.2, 10_001);
        let zeros = values.iter().filter(|value| **value == 0.0).count();
        assert!((1900..2100).contains(&zeros), "{zeros} zeros");
        assert!(values.iter().all(|value| *value == 0.0 || *value == 1.25));
    }

    #[test]
    fn each_value_has_its_own_random_number() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for value in drawn(0.5, 100) {
            assert_eq!(value == 0.0, rng.next_u32() < u32::MAX / 2);
        }
    }

    #[test]
    fn nothing_is_zeroed_with_probability_0() {
        assert_eq!(drawn(0.0, 33), [1.0; 33]);
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        let (x, g) = (random(77, 1), random(77, 2));
        let factors = wide(&drawn(0.3, x.len()));
        let defined = |x: &[f64]| -> Vec<f64> {
            x.iter().zip(&factors).map(|(x, factor)| x * factor).collect()
        };
        let mut mask = vec![0; mask_len(x.len())];
        Dropout::new(0.3).draw(x.len(), &mut ChaCha8Rng::seed_from_u64(1), &mut mask);
        let [mut y, mut gx] = [x.clone(), g.clone()];
        Dropout::new(0.3).apply(&mask, &mut y);
        Dropout::new(0.3).apply(&mask, &mut gx);
        assert_close(&y, &defined(&wide(&x)));
        assert_close(&gx, &gradient(&wide(&x), |x| dot(&defined(x), &g)));
    }
}
