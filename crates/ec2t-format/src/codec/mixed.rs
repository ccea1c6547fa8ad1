//! Codec 4: decisions predicted by logistic regression that learns as it goes.
//!
//! The decisions are those of codec 3. The log odds of each are a sum of inputs
//! times weights: some inputs say what was counted or lies beside the weight,
//! others are the adaptive probabilities of finer contexts. After each decision
//! the weights move down the gradient of what it cost. This is the mixing of
//! Mahoney's PAQ (2005), with inputs made for kernels.
//!
//! The weights start near where they ended on other networks: the ResNet-20 and
//! -32 of CIFAR-10 and the depthwise layers of EfficientNet-Lite0, ternarized at
//! 50 to 90 % zeros without training.

use alloc::vec;
use alloc::vec::Vec;
use core::num::Wrapping;

use super::adaptive::Adaptive;
use super::contexts::{
    Fill, OUTSIDE, SIGN_CONTEXTS, ZERO_CONTEXTS, channel_step, sign_context, zero_context,
};
use super::density::{Density, mixed_share};
use super::kernels::Kernels;
use super::logistic::stretch;
use super::mixer::Mixer;
use super::range::BitCoder;

/// Log odds of 1.
const ONE: Wrapping<i32> = Wrapping(256);
/// Log odds of 0.6: the input that is always there, and that of a sign in the
/// sum of the kernel.
const BIAS: Wrapping<i32> = Wrapping(154);
/// First weights, in 1/256, of what is given for a zero decision: the densities of
/// the input channel, the output channel, the kernel, and this position in either
/// channel; left, above; the bias.
const ZERO_WEIGHTS: [i32; 8] = [91, 89, 14, 49, 24, 122, 89, 12];
/// First weights, in 1/256, of what is given for a sign decision: the signs of the
/// input channel, the output channel, and this position in either; left, above,
/// above left, above right; the sum of the kernel; the kernels before in the
/// output and in the input channel; the bias.
const SIGN_WEIGHTS: [i32; 12] = [40, 22, 29, 16, 191, 165, 18, 79, 0, 36, 28, 6];
/// How many positions in a kernel contexts tell apart; those behind are as one.
fn positions(kernels: Kernels) -> usize {
    kernels.area().clamp(1, 32)
}

/// Contexts of each slot of a zero decision: that of codec 3, the neighbours,
/// the zeros before.
fn zero_slots(kernels: Kernels) -> [usize; 3] {
    let by_position = positions(kernels).wrapping_mul(256);
    [ZERO_CONTEXTS, by_position, by_position]
}

/// Contexts of each slot of a sign decision: that of codec 3, the neighbours, the
/// weights before.
fn sign_slots(kernels: Kernels) -> [usize; 3] {
    let positions = positions(kernels);
    [SIGN_CONTEXTS, positions.wrapping_mul(256), positions.wrapping_mul(243)]
}

pub(super) fn code(
    coder: &mut impl BitCoder,
    codes: &mut [i8],
    kernels: Kernels,
    density: Density,
) {
    let mut model = Model::new(kernels, density);
    let area = kernels.area().max(1);
    for start in (0..codes.len()).step_by(area) {
        model.enter_kernel();
        for at in 0..area {
            let around = Around::of(codes, start, at, kernels);
            let Some(weight) = codes.get_mut(start.wrapping_add(at)) else { return };
            *weight = model.code_weight(coder, *weight, at, &around);
        }
        model.leave_kernel();
    }
}

/// Bound of the memory that coding takes.
pub(super) fn working_bytes(kernels: Kernels) -> usize {
    let tables = zero_slots(kernels).into_iter().chain(sign_slots(kernels));
    let slots = tables.fold(0usize, |sum, contexts| sum.saturating_add(contexts));
    let parts = kernels
        .area()
        .saturating_mul(kernels.inputs.saturating_add(1))
        .saturating_add(kernels.inputs);
    slots
        .saturating_mul(size_of::<Adaptive>())
        .saturating_add(parts.saturating_mul(size_of::<Part>()))
}

/// The weights around one: in its kernel, and at its position in the kernels of
/// the input channel and of the output channel before.
struct Around {
    left: i8,
    above: i8,
    above_left: i8,
    above_right: i8,
    input_before: i8,
    output_before: i8,
}

impl Around {
    #[inline]
    fn of(codes: &[i8], start: usize, at: usize, kernels: Kernels) -> Self {
        let here = start.wrapping_add(at);
        let back = |distance: usize, within: bool| match within {
            true => codes.get(here.wrapping_sub(distance)).copied().unwrap_or(OUTSIDE),
            false => OUTSIDE,
        };
        let (cols, row_len) = (kernels.cols.max(1), kernels.row_len().max(1));
        let col = at.checked_rem(cols).unwrap_or(0);
        let (first, last) = (col == 0, col.wrapping_add(1) == cols);
        let below = at >= cols;
        Self {
            left: back(1, !first),
            above: back(cols, below),
            above_left: back(cols.wrapping_add(1), below && !first),
            above_right: back(cols.wrapping_sub(1), below && !last),
            input_before: back(kernels.area(), !start.is_multiple_of(row_len)),
            output_before: back(row_len, start >= row_len),
        }
    }
}

/// The sign of a weight as log odds; nothing where there is none.
fn sign(weight: i8) -> Wrapping<i32> {
    Wrapping(i32::from(weight % 2)) * ONE
}

/// What was counted in a part of the tensor so far.
#[derive(Clone, Copy, Default)]
struct Part {
    nonzero: u32,
    positive: u32,
}

impl Part {
    fn learn(&mut self, weight: i8) {
        self.nonzero = self.nonzero.wrapping_add(u32::from(weight != 0));
        self.positive = self.positive.wrapping_add(u32::from(weight > 0));
    }

    /// Log odds of a positive sign, as if `before` signs, half of them positive,
    /// had come before.
    fn sign_odds(self, before: u32) -> Wrapping<i32> {
        Wrapping(stretch(mixed_share(self.positive, self.nonzero, before, 2048)))
    }
}

struct Model {
    kernels: Kernels,
    density: Density,
    zero: Mixer<8, 3>,
    sign: Mixer<12, 3>,
    /// Output and input channel of the kernel.
    output: usize,
    input: usize,
    /// Of the output channel, and of it by position.
    of_output: Part,
    of_output_at: Vec<Part>,
    /// Of each input channel, and of each by position.
    of_input: Vec<Part>,
    of_input_at: Vec<Part>,
    kernel: KernelSoFar,
}

/// What was coded of a kernel.
struct KernelSoFar {
    fill: Fill,
    sum: i32,
    /// Which of the last eight weights are not zero, the last one lowest.
    nonzero: usize,
    /// The last five weights as digits to base three.
    weights: usize,
}

impl KernelSoFar {
    fn new(density: Density) -> Self {
        Self { fill: Fill::new(density), sum: 0, nonzero: 0, weights: 0 }
    }

    fn learn(&mut self, weight: i8) {
        self.fill.learn(weight != 0);
        self.sum = self.sum.wrapping_add(i32::from(weight));
        self.nonzero = (self.nonzero << 1 | usize::from(weight != 0)) & 0xff;
        let digit = weight.wrapping_add(1) as usize;
        self.weights = self.weights.wrapping_mul(3).wrapping_add(digit) % 243;
    }
}

impl Model {
    fn new(kernels: Kernels, density: Density) -> Self {
        let at = |channels: usize| vec![Part::default(); channels.saturating_mul(kernels.area())];
        Self {
            kernels,
            density,
            zero: Mixer::new(ZERO_WEIGHTS, [39, 59, 30], zero_slots(kernels)),
            sign: Mixer::new(SIGN_WEIGHTS, [95, 60, 45], sign_slots(kernels)),
            output: 0,
            input: 0,
            of_output: Part::default(),
            of_output_at: at(1),
            of_input: vec![Part::default(); kernels.inputs],
            of_input_at: at(kernels.inputs),
            kernel: KernelSoFar::new(density),
        }
    }

    fn enter_kernel(&mut self) {
        self.kernel = KernelSoFar::new(self.density);
    }

    fn leave_kernel(&mut self) {
        self.input = self.input.wrapping_add(1);
        if self.input == self.kernels.inputs {
            self.input = 0;
            self.output = self.output.wrapping_add(1);
            self.of_output = Part::default();
            self.of_output_at.fill(Part::default());
        }
    }

    fn code_weight(
        &mut self,
        coder: &mut impl BitCoder,
        weight: i8,
        at: usize,
        around: &Around,
    ) -> i8 {
        let input = self.input;
        let input_at = input.wrapping_mul(self.kernels.area()).wrapping_add(at);
        let parts = Parts {
            output: self.of_output,
            output_at: self.of_output_at.get(at).copied().unwrap_or_default(),
            input: self.of_input.get(input).copied().unwrap_or_default(),
            input_at: self.of_input_at.get(input_at).copied().unwrap_or_default(),
        };
        let nonzero = self.code_zero(coder, weight != 0, &parts, at, around);
        let weight = match nonzero {
            false => 0,
            true if self.code_sign(coder, weight > 0, &parts, at, around) => 1,
            true => -1,
        };
        self.kernel.learn(weight);
        self.of_output.learn(weight);
        for part in [
            self.of_output_at.get_mut(at),
            self.of_input.get_mut(input),
            self.of_input_at.get_mut(input_at),
        ] {
            part.into_iter().for_each(|part| part.learn(weight));
        }
        weight
    }

    /// How many codes of a channel came before: those of `kernels` whole kernels and
    /// those up to `at`.
    fn seen(&self, kernels: usize, at: usize) -> u32 {
        kernels.wrapping_mul(self.kernels.area()).wrapping_add(at) as u32
    }

    /// A context by the position in the kernel.
    fn at_position(&self, context: usize, at: usize) -> usize {
        let positions = positions(self.kernels);
        context.wrapping_mul(positions).wrapping_add(at.min(positions.saturating_sub(1)))
    }

    fn code_zero(
        &mut self,
        coder: &mut impl BitCoder,
        nonzero: bool,
        parts: &Parts,
        at: usize,
        around: &Around,
    ) -> bool {
        let density = self.density;
        let base = density.odds();
        let above_base = |share: u32| Wrapping(stretch(share)) - base;

        let input = density.share_of_part(parts.input.nonzero, self.seen(self.output, at));
        let output = density.share_of_part(parts.output.nonzero, self.seen(self.input, at));
        let input_at = mixed_share(parts.input_at.nonzero, self.output as u32, 5, input);
        let output_at = mixed_share(parts.output_at.nonzero, self.input as u32, 5, output);
        let (of_input, of_output) = (above_base(input), above_base(output));
        let side = |weight: i8| match weight {
            OUTSIDE => Wrapping(0),
            weight => {
                Wrapping(i32::from(weight != 0) << 8) - Wrapping((density.share() >> 4) as i32)
            }
        };
        let given = [
            of_input,
            of_output,
            above_base(self.kernel.fill.share(density)),
            above_base(input_at),
            above_base(output_at),
            side(around.left),
            side(around.above),
            BIAS,
        ];
        let channels = channel_step(of_input + of_output);
        let contexts = [
            zero_context(channels, self.kernel.fill.step(), around.left, around.above),
            self.at_position(neighbours(around), at),
            self.at_position(self.kernel.nonzero, at),
        ];
        self.zero.code(coder, base, given, contexts, nonzero)
    }

    fn code_sign(
        &mut self,
        coder: &mut impl BitCoder,
        positive: bool,
        parts: &Parts,
        at: usize,
        around: &Around,
    ) -> bool {
        let sum = self.kernel.sum;
        let given = [
            parts.input.sign_odds(6),
            parts.output.sign_odds(6),
            parts.input_at.sign_odds(2),
            parts.output_at.sign_odds(2),
            sign(around.left),
            sign(around.above),
            sign(around.above_left),
            sign(around.above_right),
            Wrapping(sum.clamp(-32, 32)) * BIAS,
            sign(around.input_before),
            sign(around.output_before),
            BIAS,
        ];
        let contexts = [
            sign_context(sum, around.left, around.above),
            self.at_position(neighbours(around), at),
            self.at_position(self.kernel.weights, at),
        ];
        self.sign.code(coder, Wrapping(0), given, contexts, positive)
    }
}

/// Counts that a weight belongs to.
struct Parts {
    output: Part,
    output_at: Part,
    input: Part,
    input_at: Part,
}

/// The four weights around one in its kernel, two bits each.
#[inline]
fn neighbours(around: &Around) -> usize {
    [around.left, around.above, around.above_left, around.above_right]
        .into_iter()
        .fold(0, |bits, weight| bits << 2 | weight.wrapping_add(1) as usize)
}
