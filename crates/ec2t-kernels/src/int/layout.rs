//! How an integer convolution is cut into tiles, and where a tile finds its taps.
//!
//! A *tile* is some rows of output pixels, or a part of a single one, whose sums fit into
//! vector registers. Its pixels count as one sequence, row behind row, so that vectors of
//! bytes, which are long beside the rows that small networks end in, are filled whatever
//! the width. What a tile reads is copied beforehand, a block of input channels at a time,
//! so that it lies in the first-level cache and is a sequence of the same kind:
//!
//! * A kernel of `KW` columns gives `KW` copies of each channel, each shifted by the column
//!   of its tap and thinned by the stride, with padding where that leaves the row.
//! * Where stride and dilation of the rows are 1, tap row `i` is the copy from row `i` on.
//!   Else each tap row has copies of its own.
//!
//! So a tap is one offset in bytes, the same for all pixels of all tiles. Loads are not
//! aligned, as they are in [`conv`](crate::conv): each takes three additions and shifts,
//! which are what limits these loops.
//!
//! A convolution of single pixels (1×1, stride 1, no padding) has no rows: its
//! image counts as one long row.

use crate::arch::Isa;
use crate::blocks::{Blocks, even_length};
use crate::shape::{ConvShape, TooLarge};

/// Bytes of the copy of one block of channels: about the smallest first-level cache.
const BLOCK_BYTES: usize = 31 << 10;

/// Taps of a block for each output. So many bytes of 255 add up to less than 2¹⁶.
pub(super) const MAX_TAPS: usize = 257;

/// Output channels that share a copy: so many partial sums wait in the cache.
const CHUNK: usize = 256;

/// Numbers of vectors that a tile may have: there is a loop for each.
const SIZES: [usize; 5] = [1, 2, 4, 7, 8];

/// Vectors of a tile at most.
pub(super) const MAX_VECTORS: usize = 8;

/// The same where kernels have one tap: these are short of additions for each output
/// and block, so blocks are long and tiles small.
const POINTWISE_VECTORS: usize = 2;

/// Bytes that 16-bit offsets reach.
const REACH: usize = 1 << 16;

/// A rectangle of output pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// First row and column.
    pub(super) start: [usize; 2],
    /// Rows and columns; the columns are all of the image where there are several rows.
    pub(super) size: [usize; 2],
}

impl Tile {
    pub(super) fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }
}

/// Tiles, blocks and offsets of one convolution.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The convolution; of single pixels, in one row.
    pub(super) shape: ConvShape,
    pub(super) isa: Isa,
    /// Bytes of a vector.
    pub(super) lanes: usize,
    /// Rows and columns of a whole tile.
    tile: [usize; 2],
    /// Whether tap rows share copies.
    pub(super) shares_rows: bool,
    /// Input channels of a block, but for the last one of a group.
    block: usize,
}

impl Layout {
    /// # Errors
    /// Where a kernel has more taps than a block may have.
    pub(super) fn new(shape: ConvShape, isa: Isa) -> Result<Self, TooLarge> {
        let [rows, columns] = shape.kernel;
        if rows.saturating_mul(columns) > MAX_TAPS {
            return Err(TooLarge { kernel: shape.kernel });
        }
        let shape = shape.in_one_row();
        let lanes = 4 * isa.lanes();
        let mut most = match shape.kernel {
            [1, 1] => POINTWISE_VECTORS,
            // Two sums for each sign of each vector.
            _ => (isa.registers() / 4).min(MAX_VECTORS),
        };
        let shares_rows = shape.stride[0] == 1 && shape.dilation[0] == 1;
        let tile = tile_of(shape.output, most * lanes);
        let mut layout = Self { shape, isa, lanes, tile, shares_rows, block: 1 };
        while layout.channel_len() > REACH / 2 {
            most /= 2;
            layout.tile = tile_of(shape.output, most * lanes);
        }
        layout.block = even_length(&shape, layout.most_channels());
        Ok(layout)
    }

    /// Its blocks and chunks.
    pub(super) fn blocks(&self) -> Blocks<'_> {
        Blocks { shape: &self.shape, length: self.block, chunk: CHUNK }
    }

    /// As many channels as the cache holds and sums may have.
    fn most_channels(&self) -> usize {
        let [rows, columns] = self.shape.kernel;
        (BLOCK_BYTES / self.channel_len()).clamp(1, MAX_TAPS / (rows * columns))
    }

    /// All tiles of an image.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Tile> {
        let ([height, width], [rows, columns]) = (self.shape.output, self.tile);
        (0..height).step_by(rows).flat_map(move |row| {
            (0..width).step_by(columns).map(move |column| Tile {
                start: [row, column],
                size: [rows.min(height - row), columns.min(width - column)],
            })
        })
    }

    /// Vectors of the loop for a tile.
    pub(super) fn vectors(&self, tile: Tile) -> usize {
        let vectors = tile.pixels().div_ceil(self.lanes);
        SIZES.into_iter().find(|size| *size >= vectors).unwrap_or(MAX_VECTORS)
    }

    /// Bytes between a row of a copy and the next one.
    pub(super) fn pitch(&self) -> usize {
        self.tile[1]
    }

    /// Rows of a copy that a tile of so many rows reads.
    pub(super) fn copy_rows(&self, rows: usize) -> usize {
        if self.shares_rows { rows + self.shape.kernel[0] - 1 } else { rows }
    }

    /// Copies of each channel, `[rows, columns]`, of taps that have their own.
    pub(super) fn copies(&self) -> [usize; 2] {
        let [rows, columns] = self.shape.kernel;
        [if self.shares_rows { 1 } else { rows }, columns]
    }

    /// Bytes of one copy.
    pub(super) fn copy_len(&self) -> usize {
        self.copy_rows(self.tile[0]) * self.pitch()
    }

    /// Bytes of all copies of a channel.
    pub(super) fn channel_len(&self) -> usize {
        let [rows, columns] = self.copies();
        rows * columns * self.copy_len()
    }

    /// Where the taps of a block start, in bytes: `[channels, KH, KW]`.
    pub(super) fn offsets(&self, block: usize) -> Vec<u16> {
        let columns = self.shape.kernel[1];
        let offset = |[channel, row, column]: [usize; 3]| {
            let copy = match self.shares_rows {
                true => column * self.copy_len() + row * self.pitch(),
                false => (row * columns + column) * self.copy_len(),
            };
            narrow(channel * self.channel_len() + copy)
        };
        self.blocks().taps(block).map(offset).collect()
    }

    /// Offset of a tap that reads zeros, behind the copies of a block.
    pub(super) fn zeros(&self) -> u16 {
        narrow(self.block * self.channel_len())
    }

    /// Bytes of the copies of a block and of the zeros behind them. Taps of a tile that is
    /// no whole number of vectors read beyond their copy, what nobody looks at.
    pub(super) fn block_len(&self) -> usize {
        usize::from(self.zeros()) + MAX_VECTORS * self.lanes
    }

    /// Numbers that the sums of a chunk of outputs take: for each sign and vector two of
    /// half as many lanes.
    pub(super) fn sums_len(&self) -> usize {
        2 * self.blocks().longest_chunk() * MAX_VECTORS * self.lanes
    }

    /// Source row, which may be in the padding, of the first row of a copy.
    pub(super) fn source_row(&self, first_row: usize, tap: usize) -> isize {
        let ConvShape { stride, dilation, padding, .. } = self.shape;
        (first_row * stride[0] + tap * dilation[0]) as isize - padding[0] as isize
    }

    /// Source column, which may be in the padding, that a tap column reads first.
    pub(super) fn source_column(&self, first_column: usize, tap: usize) -> isize {
        let ConvShape { stride, dilation, padding, .. } = self.shape;
        (first_column * stride[1] + tap * dilation[1]) as isize - padding[1] as isize
    }
}

/// A position in a block, which 16 bits hold.
fn narrow(position: usize) -> u16 {
    u16::try_from(position).expect("a block is smaller than the reach of offsets")
}

/// Rows and columns of tiles of at most so many pixels, shared out evenly over the rows.
fn tile_of([height, width]: [usize; 2], most: usize) -> [usize; 2] {
    match most / width {
        0 => [1, most],
        rows => [height.div_ceil(height.div_ceil(rows)), width],
    }
}
