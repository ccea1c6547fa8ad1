//! Probabilities that follow what they have predicted.

use alloc::vec::Vec;

use super::range::{BitCoder, EVEN, PRECISION};

/// The largest probability.
const LAST: u32 = (1 << PRECISION) - 1;

/// A probability in 1/2²⁴, moved to at least 1/2048 away from 0 and 1.
#[inline]
pub(super) fn bounded(p1: u32) -> u32 {
    p1.clamp(1 << (PRECISION - 11), (1 << PRECISION) - (1 << (PRECISION - 11)))
}

/// Probability of a true decision whose every observation weighs the same: the
/// estimator of Krichevsky and Trofimov (1981), `(ones + ½) / (all + 1)`. From an
/// even start that costs at most ½·log₂ n + 1 bits more than knowing the share in advance,
/// and a bit for every eleven million decisions where nearly all are alike.
#[derive(Clone, Copy, Default)]
pub(super) struct Share {
    ones: u64,
    all: u64,
}

impl Share {
    /// Of what is seldom true: starts as if seven had been false.
    pub(super) const SELDOM: Self = Self { ones: 0, all: 7 };

    /// In 1/2²⁴, neither 0 nor 1.
    pub(super) fn p1(self) -> u32 {
        let ones = (self.ones << 1 | 1) << (PRECISION - 1);
        let p1 = ones.checked_div(self.all.wrapping_add(1)).unwrap_or(0);
        p1.clamp(1, u64::from(LAST)) as u32
    }

    pub(super) fn learn(&mut self, bit: bool) {
        self.ones = self.ones.wrapping_add(u64::from(bit));
        self.all = self.all.wrapping_add(1);
    }
}

/// Probability of a true decision that starts from a guess and moves by
/// `1 / (n + 2.5)` of each error, n being what it has seen, guess included, and at
/// most 255.
///
/// Packed as 24 bits of probability above 8 bits of n.
#[derive(Clone, Copy)]
pub(super) struct Adaptive(u32);

impl Adaptive {
    /// A guess `p1`, in 1/65536, worth `seen` observations.
    pub(super) const fn new(p1: u32, seen: u8) -> Self {
        Self(p1 << 16 | seen as u32)
    }

    /// In 1/2²⁴, at least 1/2048 away from 0 and 1.
    #[inline]
    pub(super) fn p1(self) -> u32 {
        bounded(self.0 >> 8)
    }

    /// Observations so far, at most 255.
    #[inline]
    pub(super) fn seen(self) -> u8 {
        self.0 as u8
    }

    #[inline]
    pub(super) fn learn(&mut self, bit: bool) {
        let (p, seen) = (self.0 >> 8, self.seen());
        let rate = u64::from(RATES.get(usize::from(seen)).copied().unwrap_or(0));
        let part = |distance: u32| ((u64::from(distance).wrapping_mul(rate)) >> 16) as u32;
        let p = match bit {
            true => p.wrapping_add(part(0xff_ffff_u32.wrapping_sub(p))),
            false => p.wrapping_sub(part(p)),
        };
        self.0 = p << 8 | u32::from(seen.saturating_add(1));
    }
}

/// A probability for each context.
pub(super) struct Contexts(Vec<Adaptive>);

impl Contexts {
    /// The guesses of `count` contexts.
    pub(super) fn new(count: usize, guess: impl Fn(usize) -> Adaptive) -> Self {
        Self((0..count).map(guess).collect())
    }

    /// Codes a decision with the probability of a context, which learns it.
    #[inline]
    pub(super) fn code(&mut self, coder: &mut impl BitCoder, context: usize, bit: bool) -> bool {
        debug_assert!(context < self.0.len(), "context {context}");
        let Some(adaptive) = self.0.get_mut(context) else { return coder.code(EVEN, bit) };
        let bit = coder.code(adaptive.p1(), bit);
        adaptive.learn(bit);
        bit
    }
}

/// `1 / (n + 2.5)` in 1/65536.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const RATES: [u32; 256] = {
    let mut rates = [0; 256];
    let mut n = 0;
    while n < 256 {
        rates[n] = 131_072 / (2 * n as u32 + 5);
        n += 1;
    }
    rates
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_krichevsky_and_trofimov() {
        let mut share = Share::default();
        assert_eq!(share.p1(), EVEN);
        share.learn(true);
        assert_eq!(share.p1(), 3 << 22);
        share.ones = 1 << 31;
        share.all = 1 << 31;
        assert_eq!(share.p1(), LAST);
    }

    #[test]
    fn a_guess_gives_way_to_what_is_seen() {
        let (mut weak, mut strong) = (Adaptive::new(32768, 0), Adaptive::new(32768, 20));
        weak.learn(true);
        strong.learn(true);
        assert_eq!(weak.p1() >> 8, 45874);
        assert!((EVEN + 1..EVEN + EVEN / 16).contains(&strong.p1()), "{}", strong.p1());
        for _ in 0..10_000 {
            strong.learn(false);
        }
        assert_eq!((strong.p1(), strong.seen()), (1 << 13, 255));
        for _ in 0..10_000 {
            strong.learn(true);
        }
        assert_eq!(strong.p1(), (1 << 24) - (1 << 13));
    }
}
