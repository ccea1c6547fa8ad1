//! Logistic regression on log odds, and the contexts that feed it.
//!
//! All in whole numbers: log odds in 1/256, weights in 1/65536.

use alloc::vec;
use alloc::vec::Vec;
use core::num::Wrapping;

use super::adaptive::{Adaptive, bounded};
use super::logistic::{squash, stretch};
use super::range::BitCoder;

/// Weights stay within ±16.
const HEAVIEST: i32 = 1 << 20;

/// A sum of inputs, each times a weight that learns.
///
/// The first `D` inputs are given, the other `S` come from contexts.
pub(super) struct Mixer<const D: usize, const S: usize> {
    given: [Wrapping<i32>; D],
    slots: [Wrapping<i32>; S],
    tables: [SlotTable; S],
    decisions: u32,
}

impl<const D: usize, const S: usize> Mixer<D, S> {
    /// Weights to start from, in 1/256, and how many contexts each of the `S`
    /// has.
    pub(super) fn new(given: [i32; D], slots: [i32; S], contexts: [usize; S]) -> Self {
        let scale = |weight: i32| Wrapping(weight << 8);
        Self {
            given: given.map(scale),
            slots: slots.map(scale),
            tables: contexts.map(SlotTable::new),
            decisions: 0,
        }
    }

    /// Codes a decision and learns it. `base` is the log odds that the inputs
    /// add to.
    #[inline]
    pub(super) fn code(
        &mut self,
        coder: &mut impl BitCoder,
        base: Wrapping<i32>,
        given: [Wrapping<i32>; D],
        contexts: [usize; S],
        bit: bool,
    ) -> bool {
        let guess = base + dot(&self.given, &given);
        let mut inputs = [Wrapping(0); S];
        for ((input, table), &context) in inputs.iter_mut().zip(&mut self.tables).zip(&contexts) {
            *input = table.input(context, base, guess);
        }
        let p1 = squash((guess + dot(&self.slots, &inputs)).0);
        let bit = coder.code(bounded(p1 << 8), bit);

        let error = Wrapping((i32::from(bit) << 16).wrapping_sub(p1 as i32));
        let shift = self.rate();
        learn(&mut self.given, &given, error, shift);
        learn(&mut self.slots, &inputs, error, shift);
        for (table, &context) in self.tables.iter_mut().zip(&contexts) {
            table.learn(context, bit);
        }
        bit
    }

    /// The step is error × input × 2^−rate: large at first.
    fn rate(&mut self) -> usize {
        self.decisions = self.decisions.saturating_add(1);
        match self.decisions {
            0..=256 => 14,
            257..=2048 => 15,
            _ => 16,
        }
    }
}

/// Inputs times weights, in 1/256.
#[inline]
fn dot<const N: usize>(weights: &[Wrapping<i32>; N], inputs: &[Wrapping<i32>; N]) -> Wrapping<i32> {
    let product = |(weight, input): (&Wrapping<i32>, &Wrapping<i32>)| {
        i64::from(weight.0).wrapping_mul(i64::from(input.0))
    };
    let sum = weights.iter().zip(inputs).map(product).fold(0i64, i64::wrapping_add);
    Wrapping((sum >> 16) as i32)
}

/// A step down the gradient of what the decision cost, rounded.
#[inline]
fn learn<const N: usize>(
    weights: &mut [Wrapping<i32>; N],
    inputs: &[Wrapping<i32>; N],
    error: Wrapping<i32>,
    shift: usize,
) {
    for (weight, &input) in weights.iter_mut().zip(inputs) {
        let step = (((error * input) >> shift.wrapping_sub(1)) + Wrapping(1)) >> 1;
        *weight = Wrapping((*weight + step).0.clamp(-HEAVIEST, HEAVIEST));
    }
}

/// An adaptive probability for each context, none of them known at first.
struct SlotTable(Vec<Adaptive>);

impl SlotTable {
    fn new(contexts: usize) -> Self {
        Self(vec![Adaptive::new(1 << 15, 0); contexts])
    }

    /// Log odds of a context above `base`, the less the less it has seen. One
    /// that has seen nothing takes over the guess.
    #[inline]
    fn input(
        &mut self,
        context: usize,
        base: Wrapping<i32>,
        guess: Wrapping<i32>,
    ) -> Wrapping<i32> {
        debug_assert!(context < self.0.len(), "context {context}");
        let Some(slot) = self.0.get_mut(context) else { return Wrapping(0) };
        let seen = slot.seen();
        if seen == 0 {
            *slot = Adaptive::new(squash(guess.0), 0);
            return Wrapping(0);
        }
        let trust = TRUST.get(usize::from(seen)).copied().unwrap_or(0);
        ((Wrapping(stretch(slot.p1() >> 12)) - base) * Wrapping(trust)) >> 8
    }

    #[inline]
    fn learn(&mut self, context: usize, bit: bool) {
        if let Some(slot) = self.0.get_mut(context) {
            slot.learn(bit);
        }
    }
}

/// `n / (n + 1)` in 1/256.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const TRUST: [i32; 256] = {
    let mut trust = [0; 256];
    let mut n = 0;
    while n < 256 {
        trust[n] = 256 * n as i32 / (n as i32 + 1);
        n += 1;
    }
    trust
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::range::Encoder;

    /// Codes decisions that the first input foretells and the second does not.
    fn trained() -> (Mixer<2, 1>, usize) {
        let mut mixer = Mixer::new([64, 64], [64], [2]);
        let mut coder = Encoder::new();
        for at in 0..4000u32 {
            let sign = |bit: bool| Wrapping(if bit { 256 } else { -256 });
            let bit = at.wrapping_mul(2_654_435_761) >> 31 == 1;
            let given = [sign(bit), sign(at % 3 == 0)];
            assert_eq!(mixer.code(&mut coder, Wrapping(0), given, [0], bit), bit);
        }
        (mixer, coder.finish().len())
    }

    #[test]
    fn an_input_that_foretells_gains_weight() {
        let (mixer, bytes) = trained();
        let [good, bad] = mixer.given.map(|weight| weight.0);
        assert!(good > 2 << 16 && bad.abs() < 1 << 16, "{good} {bad}");
        assert!(bytes < 4000 / 8 / 5, "{bytes} bytes");
    }

    #[test]
    fn a_slot_takes_over_the_guess_and_then_learns() {
        let mut table = SlotTable::new(3);
        assert_eq!(table.input(1, Wrapping(100), Wrapping(700)), Wrapping(0));
        table.learn(1, true);
        let once = table.input(1, Wrapping(100), Wrapping(0));
        assert!(once > Wrapping(300), "{once}");
        table.learn(1, true);
        assert!(table.input(1, Wrapping(100), Wrapping(0)) > once);
        assert_eq!(table.input(2, Wrapping(100), Wrapping(0)), Wrapping(0));
    }
}
