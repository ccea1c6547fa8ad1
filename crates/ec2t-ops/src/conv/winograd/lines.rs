//! The transforms of F(4×4, 3×3): matrices of Winograd's minimal filtering.
//!
//! Filtering six values with three taps gives four, by way of six products: the
//! values are seen as polynomials, which are multiplied at the points 0, ±α, ±β
//! and infinity (Toom–Cook; Winograd 1980; for convolution Lavin & Gray,
//! "Fast Algorithms for Convolutional Neural Networks", 2016):
//!
//! ```text
//! y = Aᵀ (G w ⊙ Bᵀ d)
//! ```
//!
//! The points are α = 1/√2 and β = √2 instead of the usual 1 and 2: with
//! reciprocal points all matrices have entries of similar size, and the error in
//! `f32` is about a third (compared with that of plain sums, twice instead of
//! five times). With their squares, ½ and 2, most factors are exact.
//!
//! A transform of one dimension is a [`Line`]; [`transform`] applies it to the columns
//! and then to the rows of a square. Gradients take the transposed matrices.

use std::f32::consts::{FRAC_1_SQRT_2 as ALPHA, SQRT_2 as BETA};

use ec2t_kernels::arch::Simd;

/// A row or column of a square, a vector of channels for each value. Squares of
/// less than six by six values go on with zeros.
pub(super) type Six<S> = [<S as Simd>::F32; 6];

/// A transform of one dimension.
pub(super) trait Line {
    /// Values that it reads, from the first on.
    const INPUTS: usize;

    /// Values that it makes; those behind are zeros.
    const OUTPUTS: usize;

    fn eval<S: Simd>(simd: S, x: Six<S>) -> Six<S>;
}

/// A square to read.
pub(super) trait Columns<S: Simd> {
    fn column(&self, simd: S, column: usize) -> Six<S>;
}

/// A square to write.
pub(super) trait Rows<S: Simd> {
    fn write(&mut self, simd: S, row: usize, values: Six<S>);
}

/// Applies a transform to the columns of a square and then to the rows.
///
/// Six times is written out, so that everything between is in registers.
#[inline(always)]
pub(super) fn transform<L: Line, S: Simd>(
    simd: S,
    source: &impl Columns<S>,
    target: &mut impl Rows<S>,
) {
    let zeros = [simd.splat(0.0); 6];
    macro_rules! column {
        ($i:literal) => {
            if $i < L::INPUTS { L::eval(simd, source.column(simd, $i)) } else { zeros }
        };
    }
    let [a, b, c, d, e, f] =
        [column!(0), column!(1), column!(2), column!(3), column!(4), column!(5)];
    macro_rules! row {
        ($i:literal) => {
            if $i < L::OUTPUTS {
                target.write(simd, $i, L::eval(simd, [a[$i], b[$i], c[$i], d[$i], e[$i], f[$i]]));
            }
        };
    }
    row!(0);
    row!(1);
    row!(2);
    row!(3);
    row!(4);
    row!(5);
}

/// `Bᵀ`: six pixels of the input.
pub(super) struct Input;

impl Line for Input {
    const INPUTS: usize = 6;
    const OUTPUTS: usize = 6;

    #[inline(always)]
    fn eval<S: Simd>(simd: S, [d0, d1, d2, d3, d4, d5]: Six<S>) -> Six<S> {
        let k = |value| simd.splat(value);
        let [near_even, near_odd] = [simd.fma(d2, k(-2.0), d4), simd.fma(d1, k(-2.0), d3)];
        let [far_even, far_odd] = [simd.fma(d2, k(-0.5), d4), simd.fma(d1, k(-0.5), d3)];
        [
            simd.fma(d2, k(-2.5), simd.add(d0, d4)),
            simd.fma(near_odd, k(ALPHA), near_even),
            simd.fma(near_odd, k(-ALPHA), near_even),
            simd.fma(far_odd, k(BETA), far_even),
            simd.fma(far_odd, k(-BETA), far_even),
            simd.fma(d3, k(-2.5), simd.add(d1, d5)),
        ]
    }
}

/// `G`: three taps of the kernel.
pub(super) struct Weight;

impl Line for Weight {
    const INPUTS: usize = 3;
    const OUTPUTS: usize = 6;

    #[inline(always)]
    fn eval<S: Simd>(simd: S, [w0, w1, w2, ..]: Six<S>) -> Six<S> {
        let k = |value| simd.splat(value);
        let near = simd.mul(simd.fma(w2, k(0.5), w0), k(NEAR));
        let far = simd.mul(simd.fma(w2, k(2.0), w0), k(FAR));
        [
            w0,
            simd.fma(w1, k(NEAR * ALPHA), near),
            simd.fma(w1, k(-NEAR * ALPHA), near),
            simd.fma(w1, k(FAR * BETA), far),
            simd.fma(w1, k(-FAR * BETA), far),
            w2,
        ]
    }
}

/// `Aᵀ`: the products, to four pixels of the output.
pub(super) struct Output;

impl Line for Output {
    const INPUTS: usize = 6;
    const OUTPUTS: usize = 4;

    #[inline(always)]
    fn eval<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5]: Six<S>) -> Six<S> {
        let k = |value| simd.splat(value);
        let [near_even, near_odd] = [simd.add(m1, m2), simd.sub(m1, m2)];
        let [far_even, far_odd] = [simd.add(m3, m4), simd.sub(m3, m4)];
        [
            simd.add(simd.add(m0, near_even), far_even),
            simd.fma(near_odd, k(ALPHA), simd.mul(far_odd, k(BETA))),
            simd.fma(near_even, k(0.5), simd.add(far_even, far_even)),
            simd.fma(near_odd, k(0.5 * ALPHA), simd.fma(far_odd, k(2.0 * BETA), m5)),
            k(0.0),
            k(0.0),
        ]
    }
}

/// `A`: four pixels of the output's gradient.
pub(super) struct OutputGradient;

impl Line for OutputGradient {
    const INPUTS: usize = 4;
    const OUTPUTS: usize = 6;

    #[inline(always)]
    fn eval<S: Simd>(simd: S, [g0, g1, g2, g3, ..]: Six<S>) -> Six<S> {
        let k = |value| simd.splat(value);
        let [near_even, near_odd] = [simd.fma(g2, k(0.5), g0), simd.fma(g3, k(0.5), g1)];
        let [far_even, far_odd] = [simd.fma(g2, k(2.0), g0), simd.fma(g3, k(2.0), g1)];
        [
            g0,
            simd.fma(near_odd, k(ALPHA), near_even),
            simd.fma(near_odd, k(-ALPHA), near_even),
            simd.fma(far_odd, k(BETA), far_even),
            simd.fma(far_odd, k(-BETA), far_even),
            g3,
        ]
    }
}

/// `Gᵀ`: sums of products, to three taps of the kernel's gradient.
pub(super) struct WeightGradient;

impl Line for WeightGradient {
    const INPUTS: usize = 6;
    const OUTPUTS: usize = 3;

    #[inline(always)]
    fn eval<S: Simd>(simd: S, [u0, u1, u2, u3, u4, u5]: Six<S>) -> Six<S> {
        let k = |value| simd.splat(value);
        let [near_even, near_odd] = [simd.add(u1, u2), simd.sub(u1, u2)];
        let [far_even, far_odd] = [simd.add(u3, u4), simd.sub(u3, u4)];
        [
            simd.fma(near_even, k(NEAR), simd.fma(far_even, k(FAR), u0)),
            simd.fma(near_odd, k(NEAR * ALPHA), simd.mul(far_odd, k(FAR * BETA))),
            simd.fma(near_even, k(NEAR * 0.5), simd.fma(far_even, k(FAR * 2.0), u5)),
            k(0.0),
            k(0.0),
            k(0.0),
        ]
    }
}

/// Divisor of Lagrange's polynomial at ±α, `2α²(α² − β²)`, inverted.
const NEAR: f32 = -2.0 / 3.0;

/// That at ±β, `2β²(β² − α²)`.
const FAR: f32 = 1.0 / 6.0;
