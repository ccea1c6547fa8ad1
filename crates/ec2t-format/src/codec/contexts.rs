//! What the surroundings of a weight say, as small numbers that select a
//! probability.
//!
//! Codecs 3 and 4 share them. The context of a zero decision joins how dense the
//! two channels have been, how dense the kernel has been, and whether the weights
//! to the left and above are zero; that of a sign decision joins the sum of the
//! kernel's signs and the signs to the left and above.

use core::num::Wrapping;

use super::density::{Density, mixed_share};

/// Stands for a weight outside of the kernel.
pub(super) const OUTSIDE: i8 = 2;

/// How many weights of a kernel so far are not zero.
pub(super) struct Fill {
    /// The density of the tensor, in 1/512.
    density: u64,
    pub(super) nonzero: u32,
    seen: u32,
}

impl Fill {
    pub(super) fn new(density: Density) -> Self {
        Self { density: u64::from(density.share() >> 3), nonzero: 0, seen: 0 }
    }

    #[inline]
    pub(super) fn learn(&mut self, nonzero: bool) {
        self.nonzero = self.nonzero.wrapping_add(u32::from(nonzero));
        self.seen = self.seen.wrapping_add(1);
    }

    /// The share of the kernel and one weight of the tensor's density, in
    /// 1/4096.
    #[inline]
    pub(super) fn share(&self, density: Density) -> u32 {
        mixed_share(self.nonzero, self.seen, 1, density.share())
    }

    /// 0 at the first weight; then 1, 2 or 3 as the kernel, together with one
    /// weight of the tensor's density, has less than 3/4 of that density, about
    /// as much, or more than 4/3.
    #[inline]
    pub(super) fn step(&self) -> usize {
        let found = (u64::from(self.nonzero) << 9).wrapping_add(self.density);
        let even = u64::from(self.seen.wrapping_add(1)).wrapping_mul(self.density);
        if self.seen == 0 {
            0
        } else if found << 2 < even.wrapping_mul(3) {
            1
        } else if found.wrapping_mul(3) > even << 2 {
            3
        } else {
            2
        }
    }
}

/// Log odds of both channels above those of the tensor, added, as one of 16
/// steps of one half.
#[inline]
pub(super) fn channel_step(odds: Wrapping<i32>) -> usize {
    ((odds.0 >> 7).clamp(-8, 7) as usize).wrapping_add(8)
}

/// 0 outside, 1 for a zero, 2 for another weight.
#[inline]
fn side(weight: i8) -> usize {
    match weight {
        OUTSIDE => 0,
        0 => 1,
        _ => 2,
    }
}

/// Number of [`zero_context`]s.
pub(super) const ZERO_CONTEXTS: usize = 16 * 4 * 9;

/// Which of the probabilities of a zero decision, 0 to 575.
#[inline]
pub(super) fn zero_context(channels: usize, fill: usize, left: i8, above: i8) -> usize {
    let kernel = (channels << 2 | fill).wrapping_mul(9);
    kernel.wrapping_add(side(left).wrapping_mul(3)).wrapping_add(side(above))
}

/// Number of [`sign_context`]s.
pub(super) const SIGN_CONTEXTS: usize = 7 * 9;

/// Which of the probabilities of a sign decision, 0 to 62. `sum` is that of the
/// kernel's signs so far.
#[inline]
pub(super) fn sign_context(sum: i32, left: i8, above: i8) -> usize {
    // Outside counts as zero.
    let side = |weight: i8| (weight % 2).wrapping_add(1) as usize;
    let sum = sum.clamp(-3, 3).wrapping_add(3) as usize;
    sum.wrapping_mul(9).wrapping_add(side(left).wrapping_mul(3)).wrapping_add(side(above))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn contexts_fill_their_tables() {
        let sides = [OUTSIDE, 0, 1];
        let pairs = || sides.into_iter().flat_map(|left| sides.map(|above| (left, above)));
        let zero: BTreeSet<usize> = (0..64)
            .flat_map(|step| pairs().map(move |(l, a)| zero_context(step / 4, step % 4, l, a)))
            .collect();
        assert!(zero.into_iter().eq(0..ZERO_CONTEXTS));
        let signs = [-1, 0, 1];
        let pairs = || signs.into_iter().flat_map(|left| signs.map(|above| (left, above)));
        let sign: BTreeSet<usize> =
            (-9..=9).flat_map(|sum| pairs().map(move |(l, a)| sign_context(sum, l, a))).collect();
        assert!(sign.into_iter().eq(0..SIGN_CONTEXTS));
        assert_eq!(sign_context(2, OUTSIDE, 1), sign_context(2, 0, 1));
    }

    #[test]
    fn steps_compare_with_the_whole_tensor() {
        let step = |odds| channel_step(Wrapping(odds));
        assert_eq!([-4000, -1, 0, 127, 128, 4000].map(step), [0, 7, 8, 8, 9, 15]);
        let mut fill = Fill::new(Density::of(&[0, 0, 1, -1]));
        let mut steps = std::vec![fill.step()];
        for nonzero in [true, false, false, false] {
            fill.learn(nonzero);
            steps.push(fill.step());
        }
        assert_eq!(steps, [0, 3, 2, 1, 1]);
    }
}
