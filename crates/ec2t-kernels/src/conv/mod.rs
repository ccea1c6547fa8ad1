//! Convolutions of one image, with ternary and with ordinary weights.
//!
//! ```text
//! for each tile of output pixels                    // 64 or 128 of them
//!     for each chunk of output channels             // of one group
//!         for each block of input channels
//!             copy what the tile reads              // fill.rs, layout.rs
//!             for each output channel
//!                 sums in registers += taps         // lists.rs, dense.rs
//!         scale, bias, residual, activation         // finish.rs, then the output
//! ```
//!
//! Sums are kept in registers while they run over a block, and wait in memory, which the
//! caches hold, for the next one; the copy stays in the first-level cache. Ternary 1×1 and
//! depthwise convolutions have loops of their own (pointwise.rs, depthwise.rs). The order of
//! the additions of a pixel depends on the shape and the weights alone, so results are the
//! same bits with any instruction set, tile or number of threads. These may compute parts of
//! the output side by side (part.rs).

mod dense;
mod depthwise;
mod fill;
mod finish;
mod layout;
mod lists;
mod part;
mod pointwise;
mod ternary;
mod work;

pub use dense::DenseConv;
pub use part::ConvPart;
pub use ternary::TernaryConv;
pub use work::ConvWork;

use std::ops::Range;

use crate::arch::{Operation, Simd};
use fill::{Fill, Tile};
use finish::{Destination, Finish};
use layout::{GRANULE, Layout, pieces};

/// The weights of a convolution, and the sums over them.
trait Taps {
    /// A position in the weights.
    type Cursor: Copy;

    /// Whether two outputs have anything to share.
    const SHARES_LOADS: bool;

    /// Where the weights of a chunk of outputs for a block of channels start.
    fn start(&self, block: usize, chunk: usize) -> Self::Cursor;

    /// The cursor some outputs further on.
    fn skip(&self, cursor: Self::Cursor, outputs: usize) -> Self::Cursor;

    /// The sums of the output channel at the cursor, which moves on to the next one,
    /// over a block: of `N` vectors of pixels, `P` phases of rows of `V` vectors.
    fn sum<S: Simd, const N: usize, const V: usize, const P: usize>(
        &self,
        simd: S,
        cursor: &mut Self::Cursor,
        copy: &[[f32; GRANULE]],
    ) -> [S::F32; N];

    /// Those of two output channels.
    #[inline(always)]
    fn sum_two<S: Simd, const N: usize, const V: usize, const P: usize>(
        &self,
        simd: S,
        cursor: &mut Self::Cursor,
        copy: &[[f32; GRANULE]],
    ) -> [[S::F32; N]; 2] {
        [(); 2].map(
            #[inline(always)]
            |()| self.sum::<S, N, V, P>(simd, cursor, copy),
        )
    }
}

/// Values of workspace before the copy, so that it can start at a cache line.
const ALIGNMENT: usize = 64 / size_of::<f32>();

/// Number of values that a convolution needs as workspace.
fn workspace_len(layout: &Layout) -> usize {
    ALIGNMENT + layout.copy_len() + layout.partial_len()
}

/// The copy of a block, which starts at a cache line, and the sums that wait.
fn workspace_parts<'w>(layout: &Layout, workspace: &'w mut [f32]) -> [&'w mut [f32]; 2] {
    let skipped = workspace.as_ptr().align_offset(64).min(ALIGNMENT);
    let (copy, rest) = workspace[skipped..].split_at_mut(layout.copy_len());
    [copy, &mut rest[..layout.partial_len()]]
}

/// One image on its way through a convolution, or a part of it.
struct Convolve<'a, T> {
    layout: &'a Layout,
    taps: &'a T,
    input: &'a [f32],
    finish: Finish<'a>,
}

impl<'a, T: Taps> Convolve<'a, T> {
    /// Convolves.
    ///
    /// # Panics
    /// Where `input` has the wrong length or `workspace` is too short.
    fn run(self, workspace: &mut [f32]) {
        assert_eq!(self.input.len(), self.layout.shape.input_len(), "length of the input");
        let [copy, partial] = workspace_parts(self.layout, workspace);
        self.layout.isa.run(Tiles { convolve: self, copy, partial });
    }

    /// Computes some outputs of a tile from a block of channels.
    #[inline(always)]
    fn part<S: Simd, const N: usize, const V: usize, const P: usize>(
        &mut self,
        simd: S,
        part: Part<T::Cursor>,
        copy: &[f32],
        partial: &mut [f32],
    ) {
        let copy = copy.as_chunks().0;
        let mut cursor = part.cursor;
        let mut outputs = part.outputs.clone();
        let mut partial = partial.chunks_exact_mut(N * S::LANES);
        // Both sums, a weight of each and the pixels have to stay in registers.
        if T::SHARES_LOADS && 2 * N + 4 <= S::REGISTERS {
            while outputs.len() >= 2
                && let [Some(one), Some(other)] = [partial.next(), partial.next()]
            {
                let [first, second] = self.taps.sum_two::<S, N, V, P>(simd, &mut cursor, copy);
                self.end::<S, N, V, P>(simd, &part, outputs.start, first, one);
                self.end::<S, N, V, P>(simd, &part, outputs.start + 1, second, other);
                outputs.start += 2;
            }
        }
        for (o, partial) in outputs.zip(partial) {
            let sums: [S::F32; N] = self.taps.sum::<S, N, V, P>(simd, &mut cursor, copy);
            self.end::<S, N, V, P>(simd, &part, o, sums, partial);
        }
    }

    /// Adds what waits in memory to the sums of an output over a block, and writes them to
    /// the output or has them wait.
    #[inline(always)]
    fn end<S: Simd, const N: usize, const V: usize, const P: usize>(
        &mut self,
        simd: S,
        part: &Part<T::Cursor>,
        o: usize,
        mut sums: [S::F32; N],
        partial: &mut [f32],
    ) {
        if !part.is_first {
            for (sum, before) in sums.iter_mut().zip(partial.chunks_exact(S::LANES)) {
                *sum = simd.add(simd.load(before), *sum);
            }
        }
        match part.is_last {
            true => self.finish::<S, N, V, P>(simd, part.tile, o, sums),
            false => {
                for (sum, after) in sums.iter().zip(partial.chunks_exact_mut(S::LANES)) {
                    simd.store(*sum, after);
                }
            }
        }
    }

    /// Applies the epilogue to the sums of a tile and writes them to the output.
    #[inline(always)]
    fn finish<S: Simd, const N: usize, const V: usize, const P: usize>(
        &mut self,
        simd: S,
        tile: Tile,
        o: usize,
        sums: [S::F32; N],
    ) {
        let mut values = joined::<S, N, P>(simd, sums);
        // Once, before the loops for both cases: else compilers keep the values in memory.
        self.finish.scale(simd, o, &mut values);
        let destination = self.finish.destination(tile.start, tile.size[1], V * P);
        // Whole rows, the usual case, have loops of their own, whose length is known: several
        // rows of a tile are those of an image that is no wider.
        let columns = V * P * S::LANES;
        if tile.size[1] == columns {
            let destination = Destination { columns, pitch: columns, ..destination };
            self.finish.write::<S, N>(simd, o, destination, values);
        } else {
            self.finish.write::<S, N>(simd, o, destination, values);
        }
    }
}

/// The vectors of a tile row by row, even and odd columns in turn.
#[inline(always)]
fn joined<S: Simd, const N: usize, const P: usize>(simd: S, sums: [S::F32; N]) -> [S::F32; N] {
    let mut values = sums;
    if P == 2 {
        for row in 0..N / P {
            let [low, high] = simd.interleave(sums[row], sums[N / P + row]);
            (values[P * row], values[P * row + 1]) = (low, high);
        }
    }
    values
}

/// All tiles of a part.
struct Tiles<'a, T> {
    convolve: Convolve<'a, T>,
    /// What a tile reads of a block of channels.
    copy: &'a mut [f32],
    /// Sums that wait for the next block.
    partial: &'a mut [f32],
}

impl<T: Taps> Operation for Tiles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let layout = self.convolve.layout;
        let ConvPart { rows, columns, .. } = &self.convolve.finish.part;
        let (all_rows, all_columns) = (rows.clone(), columns.clone());
        for (row, rows) in pieces(all_rows.len(), layout.tile[0]) {
            for (column, vectors) in layout.row_tiles(all_columns.len()) {
                let columns = (all_columns.len() - column).min(vectors * S::LANES * layout.phases);
                let start = [all_rows.start + row, all_columns.start + column];
                self.tile(simd, Tile { start, size: [rows, columns], vectors });
            }
        }
    }
}

impl<'a, T: Taps> Tiles<'a, T> {
    /// All output channels of a tile that the part has.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, tile: Tile) {
        let layout = self.convolve.layout;
        let blocks = layout.blocks().count();
        for (chunk, (group, outputs)) in layout.blocks().chunks().enumerate() {
            let wanted = &self.convolve.finish.part.outputs;
            let skipped = wanted.start.saturating_sub(outputs.start);
            let outputs = outputs.start + skipped..outputs.end.min(wanted.end);
            if outputs.is_empty() {
                continue;
            }
            let taps = self.convolve.taps;
            for block in 0..blocks {
                let channels = layout.blocks().channels(group, block);
                let input = self.convolve.input;
                simd.outline(Fill { layout, tile, channels, input, copy: self.copy });
                let part = Part {
                    tile,
                    outputs: outputs.clone(),
                    cursor: taps.skip(taps.start(block, chunk), skipped),
                    is_first: block == 0,
                    is_last: block + 1 == blocks,
                };
                self.part(simd, part);
            }
        }
    }

    /// Picks the loop for the rows and the vectors of a row of a tile.
    #[inline(always)]
    fn part<S: Simd>(&mut self, simd: S, part: Part<T::Cursor>) {
        let [rows, vectors, phases] =
            [part.tile.size[0], part.tile.vectors, self.convolve.layout.phases];
        match [phases, rows, vectors] {
            [1, 1, 1] => self.outline::<S, 1, 1, 1>(simd, part),
            [1, 2, 1] => self.outline::<S, 2, 1, 1>(simd, part),
            [1, 4, 1] => self.outline::<S, 4, 1, 1>(simd, part),
            [1, 7, 1] => self.outline::<S, 7, 1, 1>(simd, part),
            [1, 8, 1] => self.outline::<S, 8, 1, 1>(simd, part),
            [1, 1, 2] => self.outline::<S, 2, 2, 1>(simd, part),
            [1, 2, 2] => self.outline::<S, 4, 2, 1>(simd, part),
            [1, 4, 2] => self.outline::<S, 8, 2, 1>(simd, part),
            [1, 1, 3] => self.outline::<S, 3, 3, 1>(simd, part),
            [1, 1, 4] => self.outline::<S, 4, 4, 1>(simd, part),
            [1, 2, 4] => self.outline::<S, 8, 4, 1>(simd, part),
            [1, 1, 5] => self.outline::<S, 5, 5, 1>(simd, part),
            [1, 1, 6] => self.outline::<S, 6, 6, 1>(simd, part),
            [1, 1, 7] => self.outline::<S, 7, 7, 1>(simd, part),
            [1, 1, 8] => self.outline::<S, 8, 8, 1>(simd, part),
            [2, 1, 1] => self.outline::<S, 2, 1, 2>(simd, part),
            [2, 2, 1] => self.outline::<S, 4, 1, 2>(simd, part),
            [2, 4, 1] => self.outline::<S, 8, 1, 2>(simd, part),
            _ => unreachable!("no tile has {phases} phases of {rows} rows of {vectors} vectors"),
        }
    }

    #[inline(always)]
    fn outline<S: Simd, const N: usize, const V: usize, const P: usize>(
        &mut self,
        simd: S,
        part: Part<T::Cursor>,
    ) {
        let Self { convolve, copy, partial } = self;
        simd.outline(Outputs::<T, N, V, P> { convolve, part, copy, partial });
    }
}

/// Outputs that are computed for a tile from one block of channels.
struct Part<C> {
    tile: Tile,
    outputs: Range<usize>,
    cursor: C,
    is_first: bool,
    is_last: bool,
}

/// A part in a function of its own: its loops fill all registers.
struct Outputs<'c, 'a, T: Taps, const N: usize, const V: usize, const P: usize> {
    convolve: &'c mut Convolve<'a, T>,
    part: Part<T::Cursor>,
    copy: &'c [f32],
    partial: &'c mut [f32],
}

impl<T: Taps, const N: usize, const V: usize, const P: usize> Operation
    for Outputs<'_, '_, T, N, V, P>
{
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        self.convolve.part::<S, N, V, P>(simd, self.part, self.copy, self.partial);
    }
}
