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
//! * Tap rows share copies, unless they are dilated, or not strided and a tile is a single
//!   vector: with stride `s`, tap row `i` is copy `i mod s`, of every `s`-th row, from row
//!   `i ∕ s` on.
//!
//! So a tap is one offset in bytes, the same for all pixels of all tiles. Loads from shared
//! copies are not aligned, as they are in [`conv`](crate::conv): each takes three additions
//! and shifts, which limit these loops as well.
//!
//! A convolution of single pixels (1×1, stride 1, no padding) has no rows: its
//! image counts as one long row.

use std::ops::Range;

use crate::arch::Isa;
use crate::blocks::{Blocks, even_length};
use crate::shape::{ConvShape, TooLarge};
use crate::weights::TernaryWeights;

/// Bytes of the copy of one block of channels: a little more than the smallest first-level
/// cache, so that 64 channels of 8×8 pixels are one block, whose sums need not wait.
const BLOCK_BYTES: usize = 36 << 10;

/// Taps of one sign that an output may have in a block. So many bytes of 255 add up to less
/// than 2¹⁶.
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

/// Bytes of the borders of a layer, at most: three columns of taps on an image of 224² take
/// less.
const MAX_BORDERS: usize = 256 << 10;

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
    /// Input channels of a block, but for the last one of a group.
    block: usize,
    /// Where rows of the copy are whole rows of the input, for each column of taps: what
    /// it reads of a plane with the padding around it, 255 in the image and 0 elsewhere.
    /// None for very large images.
    borders: Vec<Vec<u8>>,
}

impl Layout {
    /// # Errors
    /// Where a kernel has more taps than a block may have.
    pub(super) fn new(
        shape: ConvShape,
        isa: Isa,
        weights: TernaryWeights<'_>,
    ) -> Result<Self, TooLarge> {
        let [rows, columns] = shape.kernel;
        if rows.saturating_mul(columns) > MAX_TAPS {
            return Err(TooLarge { kernel: shape.kernel });
        }
        let shape = shape.in_one_row();
        let lanes = 4 * isa.lanes();
        let mut most = match shape.kernel {
            [1, 1] => POINTWISE_VECTORS,
            // Two sums for each sign of each vector: those of one sign must not have to wait in
            // memory while the others are added.
            _ => (isa.registers() / 8).min(MAX_VECTORS),
        };
        let tile = tile_of(shape.output, most * lanes);
        let mut layout = Self { shape, isa, lanes, tile, block: 1, borders: Vec::new() };
        while layout.channel_len() > REACH / 2 {
            most /= 2;
            layout.tile = tile_of(shape.output, most * lanes);
        }
        // As many channels as the cache holds, unless sums can't.
        let most = (BLOCK_BYTES / layout.channel_len()).max(1);
        layout.block = even_length(&shape, most);
        if layout.longest_list(weights) > MAX_TAPS {
            layout.block = even_length(&shape, most.min(MAX_TAPS / (rows * columns)));
        }
        if layout.has_borders() {
            layout.borders = (0..columns).map(|tap| layout.border_of(tap)).collect();
        }
        Ok(layout)
    }

    /// Its blocks and chunks.
    pub(super) fn blocks(&self) -> Blocks<'_> {
        Blocks { shape: &self.shape, length: self.block, chunk: CHUNK }
    }

    /// The most taps of one sign that an output has in a block.
    fn longest_list(&self, weights: TernaryWeights<'_>) -> usize {
        let taps_of = |codes: &[i8], list| {
            codes.iter().filter(|code| weights.list(**code) == Some(list)).count()
        };
        let longest = |block| {
            let taps = self.blocks().taps(block).count();
            let outputs = 0..self.shape.out_channels;
            let codes =
                outputs.map(|o| &weights.codes[self.blocks().first_weight(o, block)..][..taps]);
            codes.flat_map(|codes| [0, 1].map(|list| taps_of(codes, list))).max().unwrap_or(0)
        };
        (0..self.blocks().count()).map(longest).max().unwrap_or(0)
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
    pub(super) fn copy_rows(&self, copy: usize, rows: usize) -> usize {
        let ConvShape { kernel, stride, .. } = self.shape;
        match self.shares_rows() {
            true => rows + (kernel[0] - 1 - copy) / stride[0],
            false => rows,
        }
    }

    /// Copies of each channel, `[rows, columns]`.
    pub(super) fn copies(&self) -> [usize; 2] {
        let [rows, columns] = self.shape.kernel;
        [if self.shares_rows() { rows.min(self.shape.stride[0]) } else { rows }, columns]
    }

    /// Whether tap rows share copies. Where a tile is one vector, copies of their own are
    /// whole vectors too, which no load has to put together.
    fn shares_rows(&self) -> bool {
        let is_one_vector = self.tile[0] * self.tile[1] <= self.lanes;
        self.shape.dilation[0] == 1 && !(is_one_vector && self.shape.stride == [1, 1])
    }

    /// The copy that a tap row reads, and its first row in it.
    fn place_of_row(&self, row: usize) -> [usize; 2] {
        let stride = self.shape.stride[0];
        if self.shares_rows() { [row % stride, row / stride] } else { [row, 0] }
    }

    /// Bytes of one copy, whole vectors.
    pub(super) fn copy_len(&self) -> usize {
        (self.copy_rows(0, self.tile[0]) * self.pitch()).next_multiple_of(self.lanes)
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
            let [copy, first_row] = self.place_of_row(row);
            let start = (copy * columns + column) * self.copy_len() + first_row * self.pitch();
            narrow(channel * self.channel_len() + start)
        };
        self.blocks().taps(block).map(offset).collect()
    }

    /// Numbers that the sums of a chunk of outputs take: for each sign and vector two of
    /// half as many lanes.
    pub(super) fn sums_len(&self) -> usize {
        2 * self.blocks().longest_chunk() * MAX_VECTORS * self.lanes
    }

    /// Source row, which may be in the padding, of the first row of a copy.
    pub(super) fn source_row(&self, first_row: usize, copy: usize) -> isize {
        let ConvShape { stride, dilation, padding, .. } = self.shape;
        (first_row * stride[0] + copy * dilation[0]) as isize - padding[0] as isize
    }

    /// Source column, which may be in the padding, that a tap column reads first.
    pub(super) fn source_column(&self, first_column: usize, tap: usize) -> isize {
        let ConvShape { stride, dilation, padding, .. } = self.shape;
        (first_column * stride[1] + tap * dilation[1]) as isize - padding[1] as isize
    }

    /// Of `count` columns those that a tap column reads inside of the image.
    pub(super) fn inside(&self, first_column: usize, tap: usize, count: usize) -> Range<usize> {
        let first = self.source_column(first_column, tap);
        let stride = self.shape.stride[1];
        let start = ((-first).max(0) as usize).div_ceil(stride).min(count);
        let end = ((self.shape.input[1] as isize - first).max(0) as usize).div_ceil(stride);
        start..end.clamp(start, count)
    }

    /// The border that a copy from a source row on has for a column of taps, if its rows are
    /// whole rows of the input.
    pub(super) fn border(&self, source_row: isize, tap: usize) -> Option<&[u8]> {
        let first = source_row + self.shape.padding[0] as isize;
        self.borders.get(tap).map(|border| &border[first as usize * self.pitch()..])
    }

    /// Whether rows of the copy are whole rows of the input, and borders are not too large.
    fn has_borders(&self) -> bool {
        let ConvShape { kernel, stride, input, output, .. } = self.shape;
        let is_whole = stride == [1, 1] && self.tile[1] == input[1] && output[1] == input[1];
        is_whole && kernel[1].saturating_mul(self.border_len()) <= MAX_BORDERS
    }

    /// Bytes of all rows that are read of a plane, and of a copy, so that the last one, which
    /// is whole vectors, finds as many.
    fn border_len(&self) -> usize {
        let ConvShape { kernel, dilation, output: [height, width], .. } = self.shape;
        let rows = height.saturating_add((kernel[0] - 1).saturating_mul(dilation[0]));
        rows.saturating_mul(width).saturating_add(self.copy_len())
    }

    fn border_of(&self, tap: usize) -> Vec<u8> {
        let ConvShape { padding, input: [height, width], .. } = self.shape;
        let columns = self.inside(0, tap, width);
        let rows = padding[0]..padding[0] + height;
        let is_inside =
            |place| rows.contains(&(place / width)) && columns.contains(&(place % width));
        let byte = |place| if is_inside(place) { 255 } else { 0 };
        (0..self.border_len()).map(byte).collect()
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
