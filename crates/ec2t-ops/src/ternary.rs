//! Passes over a ternary layer's weights.
//!
//! Each weight has a code, −1, 0 or 1, which stands for −`neg`, 0 or `pos`: the
//! values that the network computes with. Behind it is a latent weight, which
//! Adam steps, and from which the next code follows by two thresholds. A step is
//! three passes, with a little arithmetic between them that is the caller's:
//! [`descend`], [`count`] and [`assign`].
//!
//! What there is two of, for the negative and the positive side, is a pair in
//! this order; thresholds and values are magnitudes. Sums are `f32` over short
//! blocks and `f64` above, in fixed order.

use std::{array, ops::Range};

use ec2t_kernels::arch::{Operation, Simd, dispatch};
use rayon::prelude::*;

use crate::chunks::CHUNKS;
use crate::lanes::{Pointwise, SERIAL, get, get_each, part, put, take};
use crate::optim::{Adam, Moments};

/// Weights that are summed and counted in `f32`.
const BLOCK: usize = 512;

/// What [`descend`] finds on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Descent {
    /// Sum of the gradient over the weights of either code.
    pub gradient: [f64; 2],
    /// Greatest magnitude among the new latent weights of either sign, 0 if there
    /// are none. Weights that are not numbers are passed over.
    pub extremes: [f32; 2],
    /// Sum of the new latent weights.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
}

impl Descent {
    fn plus(self, other: Self) -> Self {
        Self {
            gradient: array::from_fn(|side| self.gradient[side] + other.gradient[side]),
            extremes: array::from_fn(|side| self.extremes[side].max(other.extremes[side])),
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }
}

/// Steps latent weights, whose gradient is that of their ternary values times
/// the magnitude of these; times 1 where the code is 0.
///
/// # Panics
///
/// If lengths differ.
pub fn descend(
    adam: Adam,
    gradient: &[f32],
    codes: &[i8],
    magnitudes: [f32; 2],
    latent: &mut [f32],
    moments: &mut Moments,
) -> Descent {
    let len = latent.len();
    let Moments { mean, square } = moments;
    assert_eq!([gradient.len(), codes.len(), mean.len(), square.len()], [len; 4], "{len} weights");
    let mut state = [latent, mean, square];
    let parts = parts(len).map(|part| Descend {
        adam,
        gradient: &gradient[part.clone()],
        codes: &codes[part.clone()],
        magnitudes,
        state: state.each_mut().map(|values| take(values, part.len())),
    });
    total(len, parts, Descent::plus)
}

/// Sums of the gradient over the weights of either code: the part of [`descend`]
/// that is left where latent weights rest.
///
/// ```
/// let gradient = [0.5, 2.0, 0.25, 8.0];
/// assert_eq!(ec2t_ops::ternary::sum_by_code(&gradient, &[-1, 1, -1, 0]), [0.75, 2.0]);
/// ```
///
/// # Panics
///
/// If lengths differ.
pub fn sum_by_code(gradient: &[f32], codes: &[i8]) -> [f64; 2] {
    let len = gradient.len();
    assert_eq!(codes.len(), len, "{len} weights");
    let parts =
        parts(len).map(|part| SumByCode { gradient: &gradient[part.clone()], codes: &codes[part] });
    total(len, parts, |a, b| array::from_fn(|side| a[side] + b[side]))
}

/// Counts the latent weights below −`thresholds[0]` and above `thresholds[1]`.
///
/// ```
/// assert_eq!(ec2t_ops::ternary::count(&[-2.0, 0.25, -0.5, 0.3], [0.5, 0.25]), [1, 1]);
/// ```
pub fn count(latent: &[f32], thresholds: [f32; 2]) -> [usize; 2] {
    let parts = parts(latent.len()).map(|part| Count { latent: &latent[part], thresholds });
    total(latent.len(), parts, both)
}

/// Gives each latent weight its code and value: −1 and −`magnitudes[0]` below
/// −`thresholds[0]`, 1 and `magnitudes[1]` above `thresholds[1]`, else 0.
/// Counts the first two.
///
/// ```
/// use ec2t_ops::ternary::assign;
///
/// let (mut codes, mut values) = ([0; 3], [0.0; 3]);
/// let counts = assign(&[-2.0, 0.25, -0.5], [0.5, 0.125], [3.0, 4.0], &mut codes, &mut values);
/// assert_eq!((codes, values, counts), ([-1, 1, 0], [-3.0, 4.0, 0.0], [1, 1]));
/// ```
///
/// # Panics
///
/// If lengths differ.
pub fn assign(
    latent: &[f32],
    thresholds: [f32; 2],
    magnitudes: [f32; 2],
    mut codes: &mut [i8],
    mut values: &mut [f32],
) -> [usize; 2] {
    let len = latent.len();
    assert_eq!([codes.len(), values.len()], [len; 2], "{len} weights");
    let parts = parts(len).map(|part| Assign {
        thresholds,
        magnitudes,
        codes: take(&mut codes, part.len()),
        values: take(&mut values, part.len()),
        latent: &latent[part],
    });
    total(len, parts, both)
}

fn both([a, b]: [usize; 2], [c, d]: [usize; 2]) -> [usize; 2] {
    [a + c, b + d]
}

/// The part of each chunk, in whole blocks.
fn parts(len: usize) -> [Range<usize>; CHUNKS] {
    array::from_fn(|chunk| part(len, BLOCK, chunk))
}

/// Runs the operations of all chunks, those of long layers on all threads, and
/// adds what they yield, in order.
fn total<O>(
    len: usize,
    parts: [O; CHUNKS],
    plus: impl Fn(O::Output, O::Output) -> O::Output,
) -> O::Output
where
    O: Operation<Output: Default + Send> + Send,
{
    if len <= SERIAL {
        return parts.into_iter().map(dispatch).fold(O::Output::default(), plus);
    }
    let found: Vec<O::Output> = parts.into_par_iter().map(dispatch).collect();
    found.into_iter().fold(O::Output::default(), plus)
}

/// [`descend`] of one chunk.
struct Descend<'a> {
    adam: Adam,
    gradient: &'a [f32],
    codes: &'a [i8],
    magnitudes: [f32; 2],
    state: [&'a mut [f32]; 3],
}

impl Operation for Descend<'_> {
    type Output = Descent;

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) -> Descent {
        let Self { adam, gradient, codes, magnitudes, mut state } = self;
        let [neg, pos] = [simd.splat(magnitudes[0]), simd.splat(magnitudes[1])];
        let [zero, one] = [simd.splat(0.0), simd.splat(1.0)];
        let mut signs = [0.0; BLOCK];
        let mut total = Descent::default();
        for block in blocks(gradient.len()) {
            read_signs(&codes[block.clone()], &mut signs);
            let mut by_code = [zero; 2];
            let [mut lowest, mut highest, mut sum, mut squares] = [zero; 4];
            for at in block.clone().step_by(S::LANES) {
                let g = get(simd, gradient, at);
                let [low, high] =
                    add_by_sign(simd, g, get(simd, &signs, at - block.start), &mut by_code);
                let factor = simd.select(high, pos, simd.select(low, neg, one));

                let old = get_each(simd, &state, at);
                let new = adam.eval(simd, [simd.mul(g, factor)], old);
                for (values, v) in state.iter_mut().zip(new) {
                    put(simd, v, values, at);
                }
                // All that follows is not changed by a weight of 0, which is what
                // lanes behind the end hold.
                let [weight, ..] = new;
                lowest = simd.max(simd.sub(zero, weight), lowest);
                highest = simd.max(weight, highest);
                sum = simd.add(sum, weight);
                squares = simd.fma(weight, weight, squares);
            }
            total = total.plus(Descent {
                gradient: [simd.sum(by_code[0]).into(), simd.sum(by_code[1]).into()],
                extremes: [simd.max_lane(lowest), simd.max_lane(highest)],
                sum: simd.sum(sum).into(),
                squares: simd.sum(squares).into(),
            });
        }
        total
    }
}

/// [`sum_by_code`] of one chunk.
struct SumByCode<'a> {
    gradient: &'a [f32],
    codes: &'a [i8],
}

impl Operation for SumByCode<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) -> [f64; 2] {
        let Self { gradient, codes } = self;
        let mut signs = [0.0; BLOCK];
        let mut total = [0.0; 2];
        for block in blocks(gradient.len()) {
            read_signs(&codes[block.clone()], &mut signs);
            let mut by_code = [simd.splat(0.0); 2];
            for at in block.clone().step_by(S::LANES) {
                let sign = get(simd, &signs, at - block.start);
                add_by_sign(simd, get(simd, gradient, at), sign, &mut by_code);
            }
            total.iter_mut().zip(by_code).for_each(|(total, v)| *total += f64::from(simd.sum(v)));
        }
        total
    }
}

/// Reads codes as floats, in a loop that compilers turn into vectors.
#[inline(always)]
fn read_signs(codes: &[i8], signs: &mut [f32; BLOCK]) {
    signs.iter_mut().zip(codes).for_each(|(sign, &code)| *sign = code.into());
}

/// Adds values where signs are negative to the first sum and where they are
/// positive to the second; gives both masks.
#[inline(always)]
fn add_by_sign<S: Simd>(
    simd: S,
    values: S::F32,
    signs: S::F32,
    sums: &mut [S::F32; 2],
) -> [S::Mask; 2] {
    let zero = simd.splat(0.0);
    let masks = [simd.gt(zero, signs), simd.gt(signs, zero)];
    for (sum, mask) in sums.iter_mut().zip(masks) {
        *sum = simd.add(*sum, simd.select(mask, values, zero));
    }
    masks
}

/// [`count`] of one chunk.
struct Count<'a> {
    latent: &'a [f32],
    thresholds: [f32; 2],
}

impl Operation for Count<'_> {
    type Output = [usize; 2];

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) -> [usize; 2] {
        let Self { latent, thresholds } = self;
        let sides = Sides::new(simd, thresholds);
        let mut total = [0; 2];
        for block in blocks(latent.len()) {
            let mut counts = [simd.splat(0.0); 2];
            for at in block.step_by(S::LANES) {
                sides.masks(simd, get(simd, latent, at), &mut counts);
            }
            total = both(total, whole(simd, counts));
        }
        total
    }
}

/// [`assign`] of one chunk.
struct Assign<'a> {
    latent: &'a [f32],
    thresholds: [f32; 2],
    magnitudes: [f32; 2],
    codes: &'a mut [i8],
    values: &'a mut [f32],
}

impl Operation for Assign<'_> {
    type Output = [usize; 2];

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) -> [usize; 2] {
        let Self { latent, thresholds, magnitudes: [neg, pos], codes, values } = self;
        let sides = Sides::new(simd, thresholds);
        let [neg, zero, pos] = [simd.splat(-neg), simd.splat(0.0), simd.splat(pos)];
        let mut total = [0; 2];
        for block in blocks(latent.len()) {
            let mut counts = [zero; 2];
            for at in block.clone().step_by(S::LANES) {
                let [low, high] = sides.masks(simd, get(simd, latent, at), &mut counts);
                let value = simd.select(high, pos, simd.select(low, neg, zero));
                put(simd, value, values, at);
            }
            total = both(total, whole(simd, counts));
            // Bytes are not what vectors of floats are good at: a loop that
            // compilers turn into vectors.
            for (code, &weight) in codes[block.clone()].iter_mut().zip(&latent[block]) {
                *code = i8::from(weight > thresholds[1]) - i8::from(weight < -thresholds[0]);
            }
        }
        total
    }
}

/// Counts that lanes hold.
#[inline(always)]
fn whole<S: Simd>(simd: S, [neg, pos]: [S::F32; 2]) -> [usize; 2] {
    [simd.sum(neg) as usize, simd.sum(pos) as usize]
}

/// Vectors of both limits.
#[derive(Clone, Copy)]
struct Sides<S: Simd>([S::F32; 2]);

impl<S: Simd> Sides<S> {
    #[inline(always)]
    fn new(simd: S, [neg, pos]: [f32; 2]) -> Self {
        Self([simd.splat(-neg), simd.splat(pos)])
    }

    /// Which weights lie beyond either limit; adds 1 to the counts of those that do.
    #[inline(always)]
    fn masks(self, simd: S, weight: S::F32, counts: &mut [S::F32; 2]) -> [S::Mask; 2] {
        let Self([low, high]) = self;
        let masks = [simd.gt(low, weight), simd.gt(weight, high)];
        for (count, mask) in counts.iter_mut().zip(masks) {
            *count = simd.add(*count, simd.select(mask, simd.splat(1.0), simd.splat(0.0)));
        }
        masks
    }
}

/// Runs of [`BLOCK`] places.
#[inline(always)]
fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(BLOCK).map(move |start| start..len.min(start + BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_pools, random, wide};

    const LENGTHS: [usize; 10] = [0, 1, 3, 16, 17, 511, 512, 1025, 5000, 50_003];
    const MAGNITUDES: [f32; 2] = [0.75, 1.5];

    /// Codes of all kinds.
    fn codes(len: usize) -> Vec<i8> {
        random(len, 9).iter().map(|v| v.round().clamp(-1.0, 1.0) as i8).collect()
    }

    fn moments(len: usize) -> Moments {
        let square = random(len, 3).iter().map(|v| v * v).collect();
        Moments { mean: random(len, 2), square }
    }

    #[test]
    fn latent_weights_step_as_adam_does() {
        let adam = Adam::new(3, 0.1, 0.01);
        for len in LENGTHS {
            let (gradient, codes) = (random(len, 1), codes(len));
            let found = in_pools(|| {
                let (mut latent, mut moments) = (random(len, 4), moments(len));
                let found = descend(adam, &gradient, &codes, MAGNITUDES, &mut latent, &mut moments);
                (found, latent, moments)
            });

            let factor = |code: &i8| match code {
                1 => MAGNITUDES[1],
                -1 => MAGNITUDES[0],
                _ => 1.0,
            };
            let scaled: Vec<f32> =
                gradient.iter().zip(&codes).map(|(g, code)| g * factor(code)).collect();
            let (mut latent, mut moments) = (random(len, 4), moments(len));
            adam.step(&scaled, &mut latent, &mut moments);
            assert_eq!((&found.1, &found.2), (&latent, &moments), "{len} weights");

            let Descent { gradient: by_code, extremes, sum, squares } = found.0;
            let side = |sign: i8| {
                let of_code = gradient.iter().zip(&codes).filter(|(_, code)| **code == sign);
                of_code.map(|(g, _)| f64::from(*g)).sum::<f64>()
            };
            assert_near(len, by_code[0], side(-1));
            assert_near(len, by_code[1], side(1));
            assert_near(len, sum, wide(&latent).iter().sum());
            assert_near(len, squares, wide(&latent).iter().map(|w| w * w).sum());
            let extreme = |sign: f32| latent.iter().fold(0.0, |most: f32, w| most.max(sign * w));
            assert_eq!(extremes, [extreme(-1.0), extreme(1.0)], "{len} weights");
        }
    }

    /// Asserts that sums of so many values differ by rounding only.
    #[track_caller]
    fn assert_near(len: usize, found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-6 * (len as f64), "{found} is not {expected}");
    }

    #[test]
    fn gradients_are_summed_by_code() {
        for len in LENGTHS {
            let (gradient, codes) = (random(len, 1), codes(len));
            let found = in_pools(|| sum_by_code(&gradient, &codes));
            let (adam, mut latent) = (Adam::new(1, 0.1, 0.0), random(len, 4));
            let moments = &mut moments(len);
            let descent = descend(adam, &gradient, &codes, MAGNITUDES, &mut latent, moments);
            assert_eq!(found, descent.gradient, "{len} weights");
        }
    }

    #[test]
    fn codes_and_values_follow_the_thresholds() {
        const INFINITY: f32 = f32::INFINITY;
        for thresholds in [[0.5, 0.25], [0.0, 0.0], [INFINITY, 1.0], [3.0, INFINITY]] {
            for len in LENGTHS {
                // Multiples of 1/8, so that many lie at a threshold.
                let latent: Vec<f32> =
                    random(len, 5).iter().map(|w| (8.0 * w).round() / 8.0).collect();
                let found = in_pools(|| {
                    let (mut codes, mut values) = (vec![9; len], vec![9.0; len]);
                    let counts = assign(&latent, thresholds, MAGNITUDES, &mut codes, &mut values);
                    (codes, values, counts)
                });
                let code = |w: &f32| match *w {
                    w if w < -thresholds[0] => -1,
                    w if w > thresholds[1] => 1,
                    _ => 0,
                };
                let codes: Vec<i8> = latent.iter().map(code).collect();
                let value = |code: &i8| [-MAGNITUDES[0], 0.0, MAGNITUDES[1]][(code + 1) as usize];
                let values: Vec<f32> = codes.iter().map(value).collect();
                let counts = [-1, 1].map(|code| codes.iter().filter(|c| **c == code).count());
                assert_eq!(found, (codes, values, counts), "{len} weights at {thresholds:?}");
                assert_eq!(in_pools(|| count(&latent, thresholds)), counts);
            }
        }
    }

    #[test]
    #[should_panic(expected = "3 weights")]
    fn other_lengths_are_refused() {
        assign(&[0.0; 3], [1.0; 2], [1.0; 2], &mut [0; 3], &mut [0.0; 2]);
    }
}
