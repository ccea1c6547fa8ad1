//! The register tile: a few rows by a few vectors of the product, kept in
//! registers over the whole sum.

use super::gather::Rows;
use ec2t_kernels::arch::{Isa, Operation, Simd};

/// Size of the register tile for an instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TileShape {
    /// Values of a vector.
    pub(super) lanes: usize,
    /// Rows: as many as leave registers for one row of weights and a factor.
    pub(super) rows: usize,
    /// Vectors side by side.
    pub(super) vectors: usize,
}

impl TileShape {
    /// The shape for an instruction set.
    pub(super) fn of(isa: Isa) -> Self {
        struct Ask;
        impl Operation for Ask {
            type Output = TileShape;
            #[inline(always)]
            fn eval<S: Simd>(self, _: S) -> TileShape {
                TileShape::new::<S>()
            }
        }
        isa.run(Ask)
    }

    #[inline(always)]
    pub(super) fn new<S: Simd>() -> Self {
        let (rows, vectors) = match (S::REGISTERS, S::LANES) {
            (..32, _) => (6, 2),
            (_, ..16) => (6, 4),
            _ => (8, 2),
        };
        Self { lanes: S::LANES, rows, vectors }
    }
}

/// Source values and how the rows find theirs.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, R> {
    pub(super) rows: R,
    pub(super) values: &'a [f32],
    /// Channels of a pixel.
    pub(super) channels: usize,
    /// As many zeros as a row is deep.
    pub(super) zeros: &'a [f32],
}

impl<'a, R: Rows> Source<'a, R> {
    #[inline(always)]
    fn row(&self, row: usize, tap: usize, first: usize, depth: usize) -> &'a [f32] {
        match self.rows.source(row, tap) {
            Some(pixel) => &self.values[pixel * self.channels + first..][..depth],
            None => &self.zeros[..depth],
        }
    }
}

/// Multiplies `ROWS` rows from `first_row` on with one panel of weights,
/// `[tap][depth][vector]`; `channel` is the panel's first source channel.
#[inline(always)]
pub(super) fn multiply<S: Simd, R: Rows, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    source: &Source<'_, R>,
    first_row: usize,
    channel: usize,
    depth: usize,
    weights: &[[S::F32; VECTORS]],
) -> [[S::F32; VECTORS]; ROWS] {
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    for (tap, weights) in weights.chunks_exact(depth).enumerate() {
        let mut rows = [source.zeros; ROWS];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = source.row(first_row + i, tap, channel, depth);
        }
        for (k, weights) in weights[..depth].iter().enumerate() {
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let factor = simd.splat(row[k]);
                for (sum, &weight) in sums.iter_mut().zip(weights) {
                    *sum = simd.fma(factor, weight, *sum);
                }
            }
        }
    }
    sums
}
