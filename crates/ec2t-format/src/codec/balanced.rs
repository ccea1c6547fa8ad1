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
use super::contexts::{
    Fill, OUTSIDE, SIGN_CONTEXTS, ZERO_CONTEXTS, channel_step, sign_context, zero_context,
};
use super::density::Density;
use super::kernels::Kernels;
use super::logistic::squash;
use super::range::BitCoder;

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
