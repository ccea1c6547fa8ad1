//! Codec 3: one adaptive probability for each decision.
//!
//! A weight takes two decisions, whether it is not zero and, if so, whether it
//! is positive. What is known of its surroundings selects the probability:
//!
//! * not zero: how dense its output and its input channel have been so far, how
//!   dense this kernel has been, and whether the weights to the left and above
//!   are zero;
//! * positive: the sum of the signs of this kernel so far, and the signs to the
//!   left and above.
//!
//! Kernels of trained networks are smooth, and some channels matter more than
//! others; that weights are worth coding with adaptive contexts is the idea of
//! Wiedemann et al., *DeepCABAC* (2020). All probabilities start from a formula
//! in the density of the tensor, so that a small tensor need not learn them.

use alloc::vec;
use core::num::Wrapping;

use super::adaptive::{Adaptive, Contexts};
use super::density::{Density, mixed_share};
use super::kernels::Kernels;
use super::logistic::squash;
use super::range::BitCoder;

/// Stands for a weight outside of the kernel.
pub(super) const OUTSIDE: i8 = 2;

pub(super) fn code(
    coder: &mut impl BitCoder,
    codes: &mut [i8],
    kernels: Kernels,
    density: Density,
) {
    let mut model = Model::new(density, kernels.cols);
    let area = kernels.area().max(1);
    let mut inputs = vec![0u32; kernels.inputs];
    let mut seen_input = 0u32;
    for row in codes.chunks_exact_mut(kernels.row_len().max(1)) {
        let (mut output, mut seen_output) = (0u32, 0u32);
        for (kernel, input) in row.chunks_exact_mut(area).zip(&mut inputs) {
            let odds = density.odds_of_part(*input, seen_input)
                + density.odds_of_part(output, seen_output);
            let nonzero = model.code_kernel(coder, kernel, channel_step(odds));
            *input = input.wrapping_add(nonzero);
            output = output.wrapping_add(nonzero);
            seen_output = seen_output.wrapping_add(area as u32);
        }
        seen_input = seen_input.wrapping_add(area as u32);
    }
}

/// Bound of the memory that coding takes.
pub(super) fn working_bytes(kernels: Kernels) -> usize {
    let contexts = const { (ZERO_CONTEXTS + SIGN_CONTEXTS) * size_of::<Adaptive>() };
    kernels.inputs.saturating_mul(size_of::<u32>()).saturating_add(contexts)
}

/// The probabilities of a tensor.
struct Model {
    density: Density,
    cols: usize,
    zero: Contexts,
    sign: Contexts,
}

impl Model {
    fn new(density: Density, cols: usize) -> Self {
        Self { density, cols, zero: zero_contexts(density), sign: sign_contexts() }
    }

    /// Codes a kernel and gives the number of its weights that are not zero.
    #[inline]
    fn code_kernel(
        &mut self,
        coder: &mut impl BitCoder,
        kernel: &mut [i8],
        channels: usize,
    ) -> u32 {
        let mut fill = Fill::new(self.density);
        let (mut sum, mut left, mut col) = (0i32, OUTSIDE, 0usize);
        for at in 0..kernel.len() {
            let above = kernel.get(at.wrapping_sub(self.cols)).copied().unwrap_or(OUTSIDE);
            let Some(weight) = kernel.get_mut(at) else { break };
            let context = zero_context(channels, fill.step(), left, above);
            let nonzero = self.zero.code(coder, context, *weight != 0);
            fill.learn(nonzero);
            *weight = match nonzero {
                false => 0,
                true => match self.sign.code(coder, sign_context(sum, left, above), *weight > 0) {
                    true => 1,
                    false => -1,
                },
            };
            sum = sum.wrapping_add(i32::from(*weight));
            col = col.wrapping_add(1);
            left = *weight;
            if col == self.cols {
                (left, col) = (OUTSIDE, 0);
            }
        }
        fill.nonzero
    }
}

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

#[inline]
pub(super) fn zero_context(channels: usize, fill: usize, left: i8, above: i8) -> usize {
    let kernel = (channels << 2 | fill).wrapping_mul(9);
    kernel.wrapping_add(side(left).wrapping_mul(3)).wrapping_add(side(above))
}

/// Log odds of the tensor, plus 0.6 of the channels', plus 0.32 either
/// way for the kernel, plus 0.7 and 0.5 times what the sides have above the
/// density; worth 20 observations.
fn zero_contexts(density: Density) -> Contexts {
    let share = Wrapping(density.share() as i32);
    let seen_side = |weight: i32, side: usize| match side {
        0 => Wrapping(0),
        side => {
            (Wrapping(weight) * (Wrapping(side.saturating_sub(1) as i32) * Wrapping(4096) - share))
                >> 12
        }
    };
    Contexts::new(ZERO_CONTEXTS, |context| {
        let (kernel, sides) = (context / 9, context % 9);
        let channels = (Wrapping((kernel >> 2) as i32) << 7) - Wrapping(960);
        let fill = match kernel & 3 {
            1 => Wrapping(-82),
            3 => Wrapping(82),
            _ => Wrapping(0),
        };
        let odds = density.odds()
            + ((channels * Wrapping(154)) >> 8)
            + fill
            + seen_side(179, sides / 3)
            + seen_side(128, sides % 3);
        Adaptive::new(squash(odds.0).clamp(131, 65405), 20)
    })
}

/// Number of [`sign_context`]s.
pub(super) const SIGN_CONTEXTS: usize = 7 * 9;

#[inline]
pub(super) fn sign_context(sum: i32, left: i8, above: i8) -> usize {
    // Outside counts as zero.
    let side = |weight: i8| (weight % 2).wrapping_add(1) as usize;
    let sum = sum.clamp(-3, 3).wrapping_add(3) as usize;
    sum.wrapping_mul(9).wrapping_add(side(left).wrapping_mul(3)).wrapping_add(side(above))
}

/// 0.3 for each sign of the sum, 1 for that to the left and 0.8 for that above;
/// worth 4 observations.
fn sign_contexts() -> Contexts {
    Contexts::new(SIGN_CONTEXTS, |context| {
        let part = |value: usize, middle: i32, weight: i32| {
            (Wrapping(value as i32) - Wrapping(middle)) * Wrapping(weight)
        };
        let (sum, sides) = (context / 9, context % 9);
        let odds = part(sum, 3, 77) + part(sides / 3, 1, 256) + part(sides % 3, 1, 205);
        Adaptive::new(squash(odds.0), 4)
    })
}
