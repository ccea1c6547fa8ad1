//! How an integer convolution is cut into tiles, and where a tile finds its taps.
//!
//! The plan is that of [`conv`](crate::conv): what a tile of output pixels reads of a
//! block of input channels is copied, so that every tap of every pixel is an aligned
//! load from the first-level cache. Lanes have 16 bits, so vectors are long beside the
//! images that small networks end in, and several rows of pixels share a vector:
//!
//! * A *band* is what a row of vectors holds: one row of pixels, in one vector or
//!   several, or, where half a vector is wide enough for a row, two, four, … rows.
//! * A kernel of `KW` columns gives `KW` copies, each shifted by the column of its tap.
//! * Of each, there are as many *groups* of bands as taps begin their bands at different
//!   rows. Where stride and dilation of the rows are 1, tap row `i` of a band of `R` rows
//!   is band `⌊i ∕ R⌋` of group `i mod R`, which starts `i mod R` rows lower: so a band
//!   of one row has one group, which all taps share. Else each tap row has a group.
//!
//! So a copy is `[channels of the block][KW][groups][bands][vectors]`, and a tap is one
//! offset in vectors, the same for all pixels of all tiles.

use std::ops::Range;

use crate::arch::Isa;
use crate::shape::{ConvShape, TooLarge};

/// Bytes of the copy of one block of channels: about the smallest first-level cache.
const BLOCK_BYTES: usize = 31 << 10;

/// Taps of a block for each output. So many bytes of 255 add up to less than 2¹⁶.
pub(super) const MAX_TAPS: usize = 257;

/// Output channels that share a copy: so many partial sums wait in the cache.
const CHUNK: usize = 256;

/// Bands that a tile may have, and vectors in a band: there is a loop for each pair
/// that has no more than [`MAX_VECTORS`] vectors.
const SIZES: [usize; 5] = [1, 2, 4, 7, 8];

/// Vectors of a tile at most: sums of one sign that are kept in registers.
pub(super) const MAX_VECTORS: usize = 8;

/// The same where kernels have one tap: these are short of additions for each output
/// and block, so blocks are long and tiles small.
const POINTWISE_VECTORS: usize = 4;

/// Tiles, blocks and offsets of one convolution.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The convolution; of single pixels, in one row.
    pub(super) shape: ConvShape,
    pub(super) isa: Isa,
    /// Lanes of a vector.
    pub(super) lanes: usize,
    /// Rows of pixels in a band.
    pub(super) rows: usize,
    /// Vectors in a band; one, where it has several rows.
    pub(super) vectors: usize,
    /// Bands of a whole tile.
    pub(super) bands: usize,
    /// Whether tap rows share groups.
    pub(super) shares_rows: bool,
    /// Input channels of a block, but for the last one of a group of channels.
    block: usize,
}

impl Layout {
    /// # Errors
    /// Where a kernel has more taps than a block may have.
    pub(super) fn new(shape: ConvShape, isa: Isa) -> Result<Self, TooLarge> {
        let [kernel_rows, kernel_columns] = shape.kernel;
        if kernel_rows.saturating_mul(kernel_columns) > MAX_TAPS {
            return Err(TooLarge { kernel: shape.kernel });
        }
        let shape = shape.in_one_row();
        let lanes = 2 * isa.lanes();
        let rows = band_rows(&shape, lanes);
        let most = if shape.kernel == [1, 1] { POINTWISE_VECTORS } else { MAX_VECTORS };
        let vectors = vectors_of(shape.output[1], lanes).min(most);
        let bands = bands_of(shape.output[0].div_ceil(rows), most / vectors);
        let shares_rows = shape.stride[0] == 1 && shape.dilation[0] == 1;
        let mut layout = Self { shape, isa, lanes, rows, vectors, bands, shares_rows, block: 1 };
        layout.block = layout.channels_per_block();
        Ok(layout)
    }

    /// As many channels as the cache holds and sums may have, shared out evenly over the
    /// blocks.
    fn channels_per_block(&self) -> usize {
        let [rows, columns] = self.shape.kernel;
        let bytes = self.channel_vectors() * self.lanes * size_of::<u16>();
        let most = (BLOCK_BYTES / bytes).clamp(1, MAX_TAPS / (rows * columns));
        let channels = self.group_channels();
        channels.div_ceil(channels.div_ceil(most))
    }

    /// Input channels of each group of channels.
    fn group_channels(&self) -> usize {
        self.shape.in_channels / self.shape.groups
    }

    /// Output channels of each group of channels.
    fn group_outputs(&self) -> usize {
        self.shape.out_channels / self.shape.groups
    }

    /// Blocks of channels in each group of channels.
    pub(super) fn blocks(&self) -> usize {
        self.group_channels().div_ceil(self.block)
    }

    /// Input channels of a block of a group of channels.
    pub(super) fn block_channels(&self, group: usize, block: usize) -> Range<usize> {
        let first = group * self.group_channels();
        let start = block * self.block;
        first + start..first + (start + self.block).min(self.group_channels())
    }

    /// Chunks of output channels that are computed together, `(group, outputs)`.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let outputs = self.group_outputs();
        (0..self.shape.groups).flat_map(move |group| {
            let (first, end) = (group * outputs, (group + 1) * outputs);
            (first..end).step_by(CHUNK).map(move |start| (group, start..(start + CHUNK).min(end)))
        })
    }

    /// Groups of bands in each copy.
    pub(super) fn groups(&self) -> usize {
        let taps = self.shape.kernel[0];
        if self.shares_rows { taps.min(self.rows) } else { taps }
    }

    /// Group and band that a tile's first band reads for a row of taps.
    fn tap_band(&self, row: usize) -> [usize; 2] {
        if self.shares_rows { [row % self.rows, row / self.rows] } else { [row, 0] }
    }

    /// Bands of a group that a tile of so many bands reads.
    pub(super) fn group_bands(&self, group: usize, bands: usize) -> usize {
        let beyond = (self.shape.kernel[0] - 1).saturating_sub(group) / self.rows;
        if self.shares_rows { bands + beyond } else { bands }
    }

    /// Bands of a copy before a group.
    pub(super) fn first_band(&self, group: usize) -> usize {
        (0..group).map(|group| self.group_bands(group, self.bands)).sum()
    }

    /// Bands of a copy.
    pub(super) fn copy_bands(&self) -> usize {
        self.first_band(self.groups())
    }

    /// Vectors of all copies of a channel.
    fn channel_vectors(&self) -> usize {
        self.shape.kernel[1] * self.copy_bands() * self.vectors
    }

    /// Vectors between a tap and the next one below it in the same group.
    pub(super) fn band_step(&self) -> usize {
        self.vectors
    }

    /// Where the taps of a block start in the copy, in vectors: `[channels, KH, KW]`.
    pub(super) fn offsets(&self, block: usize) -> Vec<u16> {
        let [rows, columns] = self.shape.kernel;
        let taps = (0..self.block_channels(0, block).len()).flat_map(|channel| {
            (0..rows).flat_map(move |row| (0..columns).map(move |column| [channel, row, column]))
        });
        let offset = |[channel, row, column]: [usize; 3]| {
            let [group, band] = self.tap_band(row);
            let copy = channel * columns + column;
            let band = copy * self.copy_bands() + self.first_band(group) + band;
            u16::try_from(band * self.vectors).expect("a block is far smaller")
        };
        taps.map(offset).collect()
    }

    /// Position of an output's first weight of a block among all weights.
    pub(super) fn first_weight(&self, output: usize, block: usize) -> usize {
        let channel = self.block_channels(0, block).start;
        (output * self.group_channels() + channel) * self.shape.kernel[0] * self.shape.kernel[1]
    }

    /// Lanes of the copy of a block, and as many as a tile may read beyond.
    pub(super) fn copy_len(&self) -> usize {
        (self.block * self.channel_vectors() + MAX_VECTORS) * self.lanes
    }

    /// Lanes of the sums of a chunk of outputs, of both signs.
    pub(super) fn sums_len(&self) -> usize {
        2 * CHUNK.min(self.group_outputs()) * MAX_VECTORS * self.lanes
    }

    /// Lines of bytes that are staged of a channel for a tile of so many bands.
    pub(super) fn lines(&self, bands: usize) -> usize {
        match self.shares_rows {
            true => bands * self.rows + self.shape.kernel[0] - 1,
            false => self.shape.kernel[0] * bands * self.rows,
        }
    }

    /// First line of a band of a group.
    pub(super) fn line(&self, bands: usize, group: usize, band: usize) -> usize {
        let first = if self.shares_rows { group } else { group * bands * self.rows };
        first + band * self.rows
    }

    /// Row of the input, which may be in the padding, that a line of a tile is.
    pub(super) fn source_row(&self, first_row: usize, bands: usize, line: usize) -> isize {
        let ConvShape { stride, dilation, padding, .. } = self.shape;
        let row = match self.shares_rows {
            true => first_row + line,
            false => {
                let (tap, row) = (line / (bands * self.rows), line % (bands * self.rows));
                (first_row + row) * stride[0] + tap * dilation[0]
            }
        };
        row as isize - padding[0] as isize
    }

    /// Bytes of a line. Where a band has several rows, these are as many vectors as the
    /// band has, times the stride.
    pub(super) fn line_len(&self) -> usize {
        let ConvShape { input, kernel, stride, dilation, .. } = self.shape;
        match self.rows {
            1 => {
                let taps = (kernel[1] - 1).saturating_mul(dilation[1]);
                let pixels = (self.vectors * self.lanes).saturating_mul(stride[1]);
                pixels.saturating_add(taps).min(input[1])
            }
            rows => stride[1] * self.lanes / rows,
        }
    }

    /// Bytes before and behind the lines, which are read with vectors that reach beyond.
    pub(super) fn margin(&self) -> usize {
        2 * self.lanes
    }

    /// Bytes of the lines of a block and of what is around them.
    pub(super) fn stage_len(&self) -> usize {
        self.block * self.lines(self.bands) * self.line_len() + 2 * self.margin()
    }
}

/// Rows of a band: as many as fit into a vector, one output row each, if the input's rows
/// fit too.
fn band_rows(shape: &ConvShape, lanes: usize) -> usize {
    let fits = |rows: usize| {
        let columns = lanes / rows;
        shape.output[1] <= columns && shape.input[1] <= shape.stride[1].saturating_mul(columns)
    };
    let mut rows = 1;
    while rows < shape.output[0] && 2 * rows <= lanes && fits(2 * rows) {
        rows *= 2;
    }
    rows
}

/// Vectors that a row of the output takes.
fn vectors_of(width: usize, lanes: usize) -> usize {
    let vectors = width.div_ceil(lanes);
    SIZES.into_iter().find(|size| *size >= vectors).unwrap_or(vectors)
}

/// Bands of a tile of no more than `most`, that cover the image in the fewest tiles.
fn bands_of(bands: usize, most: usize) -> usize {
    let fitting = SIZES.into_iter().filter(|size| *size <= most);
    fitting.min_by_key(|size| (bands.div_ceil(*size), *size)).unwrap_or(1)
}

/// Splits a number of bands into those of tiles, `(first, bands)`.
pub(super) fn pieces(bands: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let size = largest_piece(most.min(bands - start))?;
        start += size;
        Some((start - size, size))
    })
}

/// The most bands of a tile, or vectors of its bands, that do not exceed `most`.
pub(super) fn largest_piece(most: usize) -> Option<usize> {
    SIZES.into_iter().rev().find(|size| *size <= most)
}
