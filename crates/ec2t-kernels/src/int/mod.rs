//! Ternary convolutions of images in 8 bits.
//!
//! Activations are bytes, which stand for numbers as a [`Grid`] says. Sums of bytes are
//! taken in 16-bit lanes, twice as many as of floats, apart for positive and negative
//! weights; they are exact. One step then scales and adds the two, adds bias and residual,
//! ends in a rectifier, and rounds to a byte of the output's grid. Results have the same
//! bits with any instruction set.
//!
//! The loops are those of [`conv`](crate::conv): tiles of pixels whose sums stay in
//! registers, over a copy of what they read. Padding is the byte that stands for zero.
//!
//! | module | what it holds |
//! |---|---|
//! | `grid` | bytes and what they stand for |
//! | `layout`, `fill` | tiles, and the copy of what a tile reads |
//! | `lists` | weights as lists of taps, and the sums over them |
//! | `requantize` | from sums to bytes |
//! | [`spatial`] | pools and the option-A shortcut |

mod fill;
mod grid;
mod layout;
mod lists;
mod requantize;
pub mod spatial;

pub use grid::Grid;
pub use requantize::Grids;

use std::ops::Range;

use crate::arch::{Isa, Operation, Simd, isa};
use crate::epilogue::Epilogue;
use crate::shape::{ConvShape, TooLarge};
use crate::weights::TernaryWeights;
use fill::{Fill, MAX_LANES, Tile};
use layout::{Layout, largest_piece, pieces};
use lists::{Cursor, Lists, Part};
use requantize::Requantize;

/// A packed ternary convolution from bytes to bytes.
///
/// ```
/// use ec2t_kernels::int::{Grid, Grids, IntConv, Scratch};
/// use ec2t_kernels::{ConvShape, Epilogue, TernaryWeights};
///
/// // The horizontal difference of an image of 1 × 3 pixels.
/// let shape = ConvShape {
///     in_channels: 1,
///     out_channels: 1,
///     input: [1, 3],
///     kernel: [1, 2],
///     stride: [1, 1],
///     dilation: [1, 1],
///     padding: [0; 4],
///     groups: 1,
///     output: [1, 2],
/// };
/// let weights = TernaryWeights { codes: &[-1, 1], w_neg: 0.5, w_pos: 0.5 };
/// let grids = Grids {
///     input: Grid { scale: 0.1, zero: 0 },
///     residual: None,
///     output: Grid { scale: 0.5, zero: 100 },
/// };
/// let conv = IntConv::new(shape, weights, Epilogue::new(1), grids)?;
///
/// let mut output = [0; 2];
/// conv.run(&[10, 20, 70], None, &mut output, &mut Scratch::for_conv(&conv));
/// assert_eq!(output, [101, 105]); // 0.5 and 2.5
/// # Ok::<(), ec2t_kernels::TooLarge>(())
/// ```
#[derive(Clone, Debug)]
pub struct IntConv {
    layout: Layout,
    lists: Lists,
    requantize: Requantize,
    /// The byte that stands for zero in the input.
    padding: u8,
    has_residual: bool,
}

impl IntConv {
    /// Packs weights `[O, C / groups, KH, KW]`.
    ///
    /// # Errors
    /// [`TooLarge`] where a kernel has more than 257 taps, or an output more than 65,793
    /// taps of one sign.
    ///
    /// # Panics
    /// Where the number of codes or the epilogue's of outputs does not fit the shape, or
    /// the epilogue's activation is no rectifier.
    pub fn new(
        shape: ConvShape,
        weights: TernaryWeights<'_>,
        epilogue: Epilogue,
        grids: Grids,
    ) -> Result<Self, TooLarge> {
        Self::with_isa(isa(), shape, weights, epilogue, grids)
    }

    /// As [`new`](Self::new), for an instruction set of choice.
    ///
    /// # Errors
    /// As `new`.
    ///
    /// # Panics
    /// As `new`.
    pub fn with_isa(
        isa: Isa,
        shape: ConvShape,
        weights: TernaryWeights<'_>,
        epilogue: Epilogue,
        grids: Grids,
    ) -> Result<Self, TooLarge> {
        assert_eq!(weights.codes.len(), shape.weight_len(), "one code per weight");
        assert_eq!(epilogue.outputs(), shape.out_channels, "outputs of the epilogue");
        let layout = Layout::new(shape, isa)?;
        Ok(Self {
            lists: Lists::new(&layout, weights)?,
            requantize: Requantize::new(weights, grids, &epilogue),
            padding: grids.input.zero,
            has_residual: grids.residual.is_some(),
            layout,
        })
    }

    /// Bytes of memory that the packed weights take.
    pub fn weight_bytes(&self) -> usize {
        self.lists.bytes()
    }

    /// Convolves one image; overwrites `output`.
    ///
    /// # Panics
    /// Where `input`, `residual` or `output` has the wrong length, a residual is given to a
    /// convolution without a grid for it or not given to one with it, or `scratch` does
    /// not [fit](Scratch::fit).
    pub fn run(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        output: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let shape = &self.layout.shape;
        assert_eq!(input.len(), shape.input_len(), "length of the input");
        assert_eq!(output.len(), shape.output_len(), "length of the output");
        assert_eq!(residual.is_some(), self.has_residual, "a residual where there is a grid");
        let residual_len = residual.map_or(shape.output_len(), <[u8]>::len);
        assert_eq!(residual_len, shape.output_len(), "length of the residual");
        let Scratch { stage, words, flushed } = scratch;
        let skipped = words.as_ptr().align_offset(64).min(ALIGNMENT);
        let (copy, rest) = words[skipped..].split_at_mut(self.layout.copy_len());
        let sums = &mut rest[..self.layout.sums_len()];
        self.layout.isa.run(Tiles {
            conv: self,
            input,
            residual,
            output,
            stage,
            copy,
            sums,
            flushed,
        });
    }
}

/// Words before the copy, so that it can start at a cache line.
const ALIGNMENT: usize = 64 / size_of::<u16>();

/// Memory that convolutions need while they run.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Rows of the input.
    stage: Vec<u8>,
    /// The copy that tiles read, and sums that wait for the next block.
    words: Vec<u16>,
    /// Sums that have been flushed.
    flushed: Vec<f32>,
}

impl Scratch {
    /// As much as one convolution needs.
    pub fn for_conv(conv: &IntConv) -> Self {
        let mut scratch = Self::default();
        scratch.fit(conv);
        scratch
    }

    /// Grows to what a convolution needs.
    pub fn fit(&mut self, conv: &IntConv) {
        let layout = &conv.layout;
        grow(&mut self.stage, layout.stage_len());
        grow(&mut self.words, ALIGNMENT + layout.copy_len() + layout.sums_len());
        grow(&mut self.flushed, if conv.lists.has_flushes() { layout.sums_len() } else { 0 });
    }
}

fn grow<T: Clone + Default>(values: &mut Vec<T>, len: usize) {
    values.resize(values.len().max(len), T::default());
}

/// All tiles of an image.
struct Tiles<'a> {
    conv: &'a IntConv,
    input: &'a [u8],
    residual: Option<&'a [u8]>,
    output: &'a mut [u8],
    stage: &'a mut [u8],
    /// What a tile reads of a block of channels.
    copy: &'a mut [u16],
    /// Sums that wait for the next block.
    sums: &'a mut [u16],
    /// Sums of the blocks before, where words could not hold them.
    flushed: &'a mut [f32],
}

impl Operation for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let layout = &self.conv.layout;
        let [height, width] = layout.shape.output;
        for (band, bands) in pieces(height.div_ceil(layout.rows), layout.bands) {
            let mut column = 0;
            while column < width {
                // Tiles are as wide as the image, or as many vectors as are left of it.
                let whole = layout.vectors * layout.lanes;
                let left = (width - column).div_ceil(layout.lanes).min(layout.vectors);
                let vectors = match width <= whole {
                    true => layout.vectors,
                    false => largest_piece(left).unwrap_or(1),
                };
                self.tile(simd, Tile { start: [band * layout.rows, column], bands, vectors });
                column += vectors * layout.lanes;
            }
        }
    }
}

impl Tiles<'_> {
    /// All output channels of a tile.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, tile: Tile) {
        let conv = self.conv;
        let blocks = conv.layout.blocks();
        for (chunk, (group, outputs)) in conv.layout.chunks().enumerate() {
            for block in 0..blocks {
                simd.outline(Fill {
                    layout: &conv.layout,
                    tile,
                    channels: conv.layout.block_channels(group, block),
                    input: self.input,
                    padding: conv.padding,
                    stage: self.stage,
                    copy: self.copy,
                });
                let part = conv.lists.part(block, chunk);
                let is_last = block + 1 == blocks;
                self.outputs(simd, Outputs { tile, outputs: outputs.clone(), part, is_last });
            }
        }
    }

    /// Picks the loop for the bands and the vectors of a band of a tile.
    #[inline(always)]
    fn outputs<S: Simd>(&mut self, simd: S, outputs: Outputs) {
        let Tile { bands, vectors, .. } = outputs.tile;
        match [bands, vectors] {
            [1, 1] => self.outline::<S, 1, 1>(simd, outputs),
            [2, 1] => self.outline::<S, 2, 1>(simd, outputs),
            [4, 1] => self.outline::<S, 4, 1>(simd, outputs),
            [7, 1] => self.outline::<S, 7, 1>(simd, outputs),
            [8, 1] => self.outline::<S, 8, 1>(simd, outputs),
            [1, 2] => self.outline::<S, 2, 2>(simd, outputs),
            [2, 2] => self.outline::<S, 4, 2>(simd, outputs),
            [4, 2] => self.outline::<S, 8, 2>(simd, outputs),
            [1, 4] => self.outline::<S, 4, 4>(simd, outputs),
            [2, 4] => self.outline::<S, 8, 4>(simd, outputs),
            [1, 7] => self.outline::<S, 7, 7>(simd, outputs),
            [1, 8] => self.outline::<S, 8, 8>(simd, outputs),
            _ => unreachable!("no tile has {bands} bands of {vectors} vectors"),
        }
    }

    #[inline(always)]
    fn outline<S: Simd, const N: usize, const V: usize>(&mut self, simd: S, outputs: Outputs) {
        let Self { conv, input, residual, ref mut output, .. } = *self;
        let Self { stage, copy, sums, flushed, .. } = self;
        let tiles = Tiles { conv, input, residual, output, stage, copy, sums, flushed };
        simd.outline(Loop::<N, V> { tiles, outputs });
    }
}

/// Outputs that are computed for a tile from one block of channels.
struct Outputs {
    tile: Tile,
    outputs: Range<usize>,
    part: Part,
    is_last: bool,
}

/// Outputs in a function of its own: its loops fill all registers.
struct Loop<'a, const N: usize, const V: usize> {
    tiles: Tiles<'a>,
    outputs: Outputs,
}

impl<const N: usize, const V: usize> Operation for Loop<'_, N, V> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let Outputs { tile, ref outputs, part, is_last } = self.outputs;
        let lists = &self.tiles.conv.lists;
        let mut cursor: Cursor = part.cursor;
        let lanes = 2 * S::LANES;
        for (index, o) in outputs.clone().enumerate() {
            let place = index * 2 * N * lanes..(index + 1) * 2 * N * lanes;
            let mut sums = [[simd.splat_u16(0); N]; 2];
            if !part.is_fresh {
                let before = self.tiles.sums[place.clone()].chunks_exact(lanes);
                for (sum, before) in sums.iter_mut().flatten().zip(before) {
                    *sum = simd.load_u16(before);
                }
            }
            let sums = lists.sum::<S, N, V>(simd, &mut cursor, self.tiles.copy, sums);
            if is_last {
                let flushed = if part.is_flushed { Some(place.start) } else { None };
                self.finish(simd, tile, o, sums, flushed);
            } else if part.flushes {
                self.flush(simd, sums, place, part.is_flushed);
            } else {
                let after = self.tiles.sums[place].chunks_exact_mut(lanes);
                for (sum, after) in sums.iter().flatten().zip(after) {
                    simd.store_u16(*sum, after);
                }
            }
        }
    }
}

impl<const N: usize, const V: usize> Loop<'_, N, V> {
    /// Adds sums to those that have been flushed before, if there are any.
    #[inline(always)]
    fn flush<S: Simd>(
        &mut self,
        simd: S,
        sums: [[S::U16; N]; 2],
        place: Range<usize>,
        is_flushed: bool,
    ) {
        let flushed = self.tiles.flushed[place].chunks_exact_mut(S::LANES);
        let floats = sums.iter().flatten().flat_map(
            #[inline(always)]
            |sum| simd.to_floats(*sum),
        );
        for (sum, flushed) in floats.zip(flushed) {
            let sum = if is_flushed { simd.add(simd.load(flushed), sum) } else { sum };
            simd.store(sum, flushed);
        }
    }

    /// Makes bytes of the sums of an output and writes them. `flushed` is where those are
    /// that have been flushed.
    #[inline(always)]
    fn finish<S: Simd>(
        &mut self,
        simd: S,
        tile: Tile,
        o: usize,
        sums: [[S::U16; N]; 2],
        flushed: Option<usize>,
    ) {
        for i in 0..N {
            let mut floats = [simd.to_floats(sums[0][i]), simd.to_floats(sums[1][i])];
            if let Some(first) = flushed {
                for (sign, floats) in floats.iter_mut().enumerate() {
                    let place = first + (sign * N + i) * 2 * S::LANES;
                    let before = self.tiles.flushed[place..].chunks_exact(S::LANES);
                    for (sum, before) in floats.iter_mut().zip(before) {
                        *sum = simd.add(simd.load(before), *sum);
                    }
                }
            }
            self.write(simd, tile, o, i, floats);
        }
    }

    /// Writes the bytes of vector `i` of a tile.
    #[inline(always)]
    fn write<S: Simd>(&mut self, simd: S, tile: Tile, o: usize, i: usize, sums: [[S::F32; 2]; 2]) {
        let Tiles { conv, residual, ref mut output, .. } = self.tiles;
        let layout = &conv.layout;
        let [height, width] = layout.shape.output;
        let lanes = 2 * S::LANES;
        let row = tile.start[0] + i / V * layout.rows;
        let column = tile.start[1] + i % V * lanes;
        let first = (o * height + row) * width + column;
        let pixels = match layout.rows {
            1 => width.saturating_sub(column),
            rows if rows * width == lanes => (height - row) * width,
            _ => 0,
        };
        if pixels >= lanes {
            let residual = residual.map(
                #[inline(always)]
                |residual| simd.widen(&residual[first..]),
            );
            let places = conv.requantize.places(simd, o, sums, residual);
            return simd.store_bytes(places, &mut output[first..]);
        }
        // Where lanes are left over: row by row.
        let line = lanes / layout.rows;
        let rows = layout.rows.min(height - row);
        let count = width.saturating_sub(column).min(line);
        let mut bytes = [0; MAX_LANES];
        let residual = residual.map(
            #[inline(always)]
            |residual| {
                for r in 0..rows {
                    let from = &residual[(first + r * width).min(residual.len())..][..count];
                    bytes[r * line..][..count].copy_from_slice(from);
                }
                simd.widen(&bytes)
            },
        );
        simd.store_bytes(conv.requantize.places(simd, o, sums, residual), &mut bytes);
        for r in 0..rows {
            let first = (first + r * width).min(output.len());
            output[first..][..count].copy_from_slice(&bytes[r * line..][..count]);
        }
    }
}
