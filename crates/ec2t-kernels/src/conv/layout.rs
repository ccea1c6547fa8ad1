//! How a convolution is cut into tiles, and where a tile finds its taps.
//!
//! A *tile* is a rectangle of output pixels that fits into vector registers. What
//! it reads is copied beforehand, a block of input channels at a time, so that it
//! lies in the first-level cache and every tap of every pixel is an aligned load.
//!
//! * A kernel of `KW` columns gives `KW` copies of each channel, each shifted by
//!   the column of its tap (times dilation) and thinned by the stride: pixel `x`
//!   of copy `j` is what tap column `j` reads for output column `x`.
//! * Where the rows of a tile are two vectors long, one vector holds the even and one
//!   the odd columns: two *phases*. What tap column `j` reads for the odd columns is
//!   then what `j + 1` reads for the even ones, so there are `KW + 1` copies of half a
//!   row instead of `KW` of a whole one.
//! * Tap rows share rows, unless they are dilated: with stride `s` there are `s` groups of
//!   every `s`-th row, and tap row `i` of output row `y` is row `y + i ∕ s` of group
//!   `i mod s`. Dilated tap rows have rows of their own.
//!
//! So a copy is `[channels of the block][copies][rows][columns]`, and a tap is one
//! offset, the same for all pixels of all tiles. Offsets count granules of
//! [`GRANULE`] values and fit into 16 bits.
//!
//! A convolution of single pixels (1×1, stride 1, no padding) has no rows: its
//! image counts as one long row.

use crate::arch::Isa;
use crate::blocks::{Blocks, even_length};
use crate::shape::{ConvShape, TooLarge};

/// Values that an offset counts in: the narrowest vectors.
pub(super) const GRANULE: usize = 4;

/// Bytes of the copy of one block of channels: about the smallest first-level cache.
/// (Fewer give more blocks to begin and end; with 40 KB loops wait for memory.)
const BLOCK_BYTES: usize = 31 << 10;

/// Output pixels of a tile that the size of a block is reckoned with. It does not
/// depend on the instruction set, because the order of additions must not.
const NOMINAL_TILE: usize = 128;

/// Lanes that it is reckoned with.
const NOMINAL_LANES: usize = 16;

/// Pixels of a tile, and nominal ones, where kernels have one tap: these are short of
/// additions for each output and block, so blocks are long and tiles small.
const POINTWISE_TILE: usize = 64;

/// Output channels that share a copy: so many partial sums wait in the cache.
const CHUNK: usize = 2048;

/// Rows that a tile may have, and vectors in a row: there is a loop for each pair
/// that has no more than [`MAX_VECTORS`] vectors.
const SIZES: [usize; 5] = [1, 2, 4, 7, 8];

/// Vectors of a tile at most: sums that are kept in registers.
pub(super) const MAX_VECTORS: usize = 8;

/// Tiles, blocks and offsets of one convolution.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The convolution; of single pixels, in one row.
    pub(super) shape: ConvShape,
    pub(super) isa: Isa,
    /// Rows and columns, of one phase, of a whole tile.
    pub(super) tile: [usize; 2],
    /// 2 where even and odd columns are apart, else 1.
    pub(super) phases: usize,
    /// Whether a tap row reads the rows below those of the tap row above it.
    pub(super) shares_rows: bool,
    /// Input channels of a block, but for the last one of a group.
    block: usize,
}

impl Layout {
    /// # Errors
    /// Where one channel's taps are more than 16-bit offsets reach.
    pub(super) fn new(shape: ConvShape, isa: Isa) -> Result<Self, TooLarge> {
        let shape = shape.in_one_row();
        let isa = best_isa(shape.output, isa);
        let phases = if has_phases(&shape, isa.lanes()) { 2 } else { 1 };
        let width = shape.output[1].div_ceil(phases);
        let tile = match shape.is_pointwise() {
            true => [1, pointwise_vectors(&shape, isa.lanes()) * isa.lanes()],
            false => tile_of([shape.output[0], width], isa.lanes(), MAX_VECTORS / phases),
        };
        let shares_rows = shape.stride[0] == 1 && shape.dilation[0] == 1;
        let mut layout = Self { shape, isa, tile, phases, shares_rows, block: 1 };
        // The first condition keeps the second from overflowing.
        let [rows, columns] = shape.kernel;
        let reach = usize::from(u16::MAX) + 1;
        if rows * columns > reach || layout.channel_len() / GRANULE > reach {
            return Err(TooLarge { kernel: shape.kernel });
        }
        layout.block = even_length(&shape, layout.most_channels());
        Ok(layout)
    }

    /// Whether it is a convolution of single pixels, in one row.
    pub(super) fn is_pointwise(&self) -> bool {
        self.shape.is_pointwise()
    }

    /// Its blocks and chunks.
    pub(super) fn blocks(&self) -> Blocks<'_> {
        Blocks { shape: &self.shape, length: self.block, chunk: CHUNK }
    }

    /// As many channels as the cache holds.
    fn most_channels(&self) -> usize {
        let ConvShape { kernel, output: [height, width], .. } = self.shape;
        let nominal = if kernel == [1, 1] { POINTWISE_TILE } else { NOMINAL_TILE };
        let columns = width.next_multiple_of(8).min(nominal);
        let tile_rows = (nominal / columns).clamp(1, height);
        let rows = self.row_groups() * self.group_rows(0, tile_rows);
        let columns = match has_phases(&self.shape, NOMINAL_LANES) {
            true => columns / 2 * (kernel[1] + 1),
            false => columns * kernel[1],
        };
        let bytes = rows * columns * size_of::<f32>();
        (BLOCK_BYTES / bytes).max(1)
    }

    /// First column of each tile in so many columns of the output, and the vectors of a
    /// phase that it takes.
    pub(super) fn row_tiles(&self, columns: usize) -> impl Iterator<Item = (usize, usize)> {
        let (lanes, step) = (self.isa.lanes(), self.isa.lanes() * self.phases);
        let [most, mut left] = [self.tile[1] / lanes, columns.div_ceil(step)];
        let is_pointwise = self.is_pointwise();
        let is_one_tile = self.shape.output[1] <= most * step;
        let mut column = 0;
        std::iter::from_fn(move || {
            let vectors = match left {
                0 => return None,
                _ if is_pointwise => left.div_ceil(left.div_ceil(most)),
                _ if is_one_tile => most,
                _ => largest_piece(left.min(most))?,
            };
            left = left.saturating_sub(vectors);
            column += vectors * step;
            Some((column - vectors * step, vectors))
        })
    }

    /// Rows of the copy of one channel for one column of taps.
    fn copy_rows(&self) -> usize {
        self.row_groups() * self.group_rows(0, self.tile[0])
    }

    /// Whether a kernel is three columns wide, and each row of the output one vector of each
    /// phase, from as many columns times the stride: the usual case, which
    /// [`Fill`](super::fill::Fill) is quicker with.
    pub(super) fn is_centered(&self, lanes: usize) -> bool {
        let ConvShape { kernel, stride, dilation, padding, input, output, .. } = self.shape;
        let is_one_vector = self.tile[1] == lanes && output[1] == lanes * self.phases;
        let is_whole = stride[1] <= 2 && input[1] == stride[1] * output[1];
        is_one_vector && is_whole && dilation == [1, 1] && kernel[1] == 3 && padding[1] == 1
    }

    /// Values of the copy of one channel.
    pub(super) fn channel_len(&self) -> usize {
        self.copies() * self.copy_rows() * self.tile[1]
    }

    /// Copies of each channel.
    pub(super) fn copies(&self) -> usize {
        self.shape.kernel[1] + self.phases - 1
    }

    /// Values of the copy of a block, and as many as a tile may read beyond.
    pub(super) fn copy_len(&self) -> usize {
        self.block * self.channel_len() + self.vectors_len()
    }

    /// Values of the sums that wait for the next block.
    pub(super) fn partial_len(&self) -> usize {
        self.blocks().longest_chunk() * self.vectors_len()
    }

    fn vectors_len(&self) -> usize {
        MAX_VECTORS * self.isa.lanes()
    }

    /// Granules between a tap and the one below it in the same column.
    pub(super) fn row_step(&self) -> usize {
        self.tile[1] / GRANULE
    }

    /// Granules between what the even and the odd columns read.
    pub(super) fn phase_step(&self) -> usize {
        self.copy_rows() * self.row_step()
    }

    /// Where the taps of a block start in the copy, in granules: `[channels, KH, KW]`.
    pub(super) fn offsets(&self, block: usize) -> Vec<u16> {
        let offset = |[channel, row, column]: [usize; 3]| {
            let stride = self.shape.stride[0];
            let [group, below] = match self.has_groups() {
                true => [row % stride, row / stride],
                false => [row, 0],
            };
            let line = channel * self.copies() * self.copy_rows() + self.copy_row(column, group);
            let line = line + below;
            u16::try_from(line * self.row_step()).expect("checked when the layout was made")
        };
        self.blocks().taps(block).map(offset).collect()
    }

    /// Whether tap rows share groups of rows.
    fn has_groups(&self) -> bool {
        self.shape.dilation[0] == 1
    }

    /// Groups of rows in a copy.
    pub(super) fn row_groups(&self) -> usize {
        let (rows, stride) = (self.shape.kernel[0], self.shape.stride[0]);
        if self.has_groups() { rows.min(stride) } else { rows }
    }

    /// Rows of a group that a tile of so many rows reads; the first group has the most.
    pub(super) fn group_rows(&self, group: usize, tile_rows: usize) -> usize {
        let (rows, stride) = (self.shape.kernel[0], self.shape.stride[0]);
        tile_rows + if self.has_groups() { (rows - 1 - group) / stride } else { 0 }
    }

    /// First row of a group in the copy of a channel.
    pub(super) fn copy_row(&self, column: usize, group: usize) -> usize {
        column * self.copy_rows() + group * self.group_rows(0, self.tile[0])
    }

    /// Source row, which may be in the padding, that a group of rows reads first.
    pub(super) fn source_row(&self, first_row: usize, group: usize) -> isize {
        let ConvShape { stride, dilation, padding, .. } = self.shape;
        (first_row * stride[0] + group * dilation[0]) as isize - padding[0] as isize
    }

    /// Source column, which may be in the padding, that a tap column reads first.
    pub(super) fn source_column(&self, first_column: usize, tap: usize) -> isize {
        let ConvShape { stride, dilation, padding, .. } = self.shape;
        (first_column * stride[1] + tap * dilation[1]) as isize - padding[1] as isize
    }
}

/// Whether the rows of a tile are two vectors long and can be parted into even and odd
/// columns.
fn has_phases(shape: &ConvShape, lanes: usize) -> bool {
    let is_dense = shape.stride[1] == 1 && shape.dilation[1] == 1;
    is_dense && shape.kernel[1] > 1 && (lanes + 1..=2 * lanes).contains(&shape.output[1])
}

/// The instruction set whose vectors waste the fewest lanes.
///
/// Narrower vectors take twice as many instructions, so they have to be better by
/// an eighth.
fn best_isa(output: [usize; 2], isa: Isa) -> Isa {
    let used = |isa: Isa| isa.lanes() * row_vectors(output[1], isa.lanes());
    let narrower = isa.narrower().filter(|narrow| 9 * used(*narrow) < 8 * used(isa));
    narrower.unwrap_or(isa)
}

/// Vectors of a tile of a convolution of single pixels: about as many pixels as
/// [`POINTWISE_TILE`] or, where few channels are one block with large tiles as well, as many
/// as there are loops for, shared out evenly.
fn pointwise_vectors(shape: &ConvShape, lanes: usize) -> usize {
    let channels = shape.in_channels / shape.groups;
    let is_small = channels * MAX_VECTORS * lanes * size_of::<f32>() <= BLOCK_BYTES;
    let usual = if is_small { MAX_VECTORS } else { POINTWISE_TILE / lanes };
    let vectors = shape.output[1].div_ceil(lanes);
    let tiles = (vectors / usual).max(vectors.div_ceil(MAX_VECTORS)).max(1);
    vectors.div_ceil(tiles)
}

/// Vectors that a row of the output takes.
fn row_vectors(width: usize, lanes: usize) -> usize {
    let vectors = width.div_ceil(lanes);
    SIZES.into_iter().find(|width| *width >= vectors).unwrap_or(vectors)
}

/// Rows and columns of a tile of no more than `most` vectors.
fn tile_of([height, width]: [usize; 2], lanes: usize, most: usize) -> [usize; 2] {
    let columns = row_vectors(width, lanes).min(most);
    [rows_of(height, most / columns), columns * lanes]
}

/// The fewest rows of a tile, no more than `most`, that take the fewest tiles.
pub(super) fn rows_of(height: usize, most: usize) -> usize {
    let fitting = SIZES.into_iter().filter(|rows| *rows <= most);
    fitting.min_by_key(|rows| (height.div_ceil(*rows), *rows)).unwrap_or(1)
}

/// Splits a number of rows into those of tiles, `(first, rows)`.
pub(super) fn pieces(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let size = largest_piece(most.min(rows - start))?;
        start += size;
        Some((start - size, size))
    })
}

/// The most rows of a tile, or vectors of its rows, that do not exceed `most`.
fn largest_piece(most: usize) -> Option<usize> {
    SIZES.into_iter().rev().find(|size| *size <= most)
}
