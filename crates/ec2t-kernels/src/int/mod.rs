//! Ternary convolutions of images in 8 bits.
//!
//! Activations are bytes, which stand for numbers as a [`Grid`] says. Sums of bytes are
//! taken in 16-bit lanes, apart for positive and negative weights; they are exact. One step
//! then scales and adds the two, adds bias and residual, ends in a rectifier, and rounds to a
//! byte of the output's grid, in whole numbers as well. Results have the same bits with any
//! instruction set.
//!
//! The loops are those of [`conv`](crate::conv): tiles of pixels whose sums stay in
//! registers, over a copy of what they read. Padding is the byte that stands for zero.
//!
//! | module | what it holds |
//! |---|---|
//! | `grid` | bytes and what they stand for |
//! | `layout`, `fill` | tiles, and the copy of what a tile reads |
//! | `lists` | weights as lists of taps, and the sums over them |
//! | `outputs` | the loop over outputs: sums, and where they go |
//! | `requantize` | from sums to bytes |
//! | [`spatial`] | pools and the option-A shortcut |

mod fill;
mod grid;
mod layout;
mod lists;
mod outputs;
mod requantize;
pub mod spatial;

pub use grid::Grid;
pub use requantize::Grids;

use std::fmt;

use crate::arch::{Isa, Operation, Simd, isa};
use crate::epilogue::Epilogue;
use crate::shape::{ConvShape, TooLarge};
use crate::weights::TernaryWeights;
use fill::Fill;
use layout::{Layout, MAX_VECTORS, Tile};
use lists::Lists;
use outputs::{Loop, Outputs};
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
/// # Ok::<(), ec2t_kernels::int::IntError>(())
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
    /// [`IntError`] where a kernel has more than 257 taps, or the steps of the grids are too
    /// far apart for whole numbers of 32 bits.
    ///
    /// # Panics
    /// Where the number of codes or the epilogue's of outputs does not fit the shape, or
    /// the epilogue's activation is no rectifier.
    pub fn new(
        shape: ConvShape,
        weights: TernaryWeights<'_>,
        epilogue: Epilogue,
        grids: Grids,
    ) -> Result<Self, IntError> {
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
    ) -> Result<Self, IntError> {
        assert_eq!(weights.codes.len(), shape.weight_len(), "one code per weight");
        assert_eq!(epilogue.outputs(), shape.out_channels, "outputs of the epilogue");
        let layout = Layout::new(shape, isa, weights)?;
        Ok(Self {
            lists: Lists::new(&layout, weights),
            requantize: Requantize::new(weights, grids, &epilogue)?,
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
        let Scratch { bytes, sums, flushed } = scratch;
        let skipped = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let copy: &mut Copied = bytes[skipped..].first_chunk_mut().expect("a scratch that fits");
        self.layout.isa.run(Tiles { conv: self, input, residual, output, copy, sums, flushed });
    }
}

/// A convolution that can't be computed in integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntError {
    /// The kernel has too many taps.
    TooLarge(TooLarge),
    /// What this output channel adds up to does not fit into 32 bits, counted in steps of the
    /// output's grid, or is not a number.
    Steps {
        /// The output channel.
        output: usize,
    },
}

impl From<TooLarge> for IntError {
    fn from(error: TooLarge) -> Self {
        Self::TooLarge(error)
    }
}

impl fmt::Display for IntError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(error) => error.fmt(f),
            Self::Steps { output } => {
                write!(f, "output {output} is out of all proportion to the steps of its grid")
            }
        }
    }
}

impl std::error::Error for IntError {}

/// Bytes before the copy, so that it can start at a cache line.
const ALIGNMENT: usize = 64;

/// Bytes of the longest vectors, or more.
const MAX_LANES: usize = 64;

/// The copy of a block, in room for all that offsets of 16 bits may mean: so no load has to be
/// checked, which would take as long as to add it. Taps of a tile that is no whole number of
/// vectors read beyond their copy, what nobody looks at.
type Copied = [u8; (1 << u16::BITS) + MAX_VECTORS * MAX_LANES];

/// Memory that convolutions need while they run.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// The copy that tiles read.
    bytes: Vec<u8>,
    /// Sums that wait for the next block.
    sums: Vec<u16>,
    /// Totals of sums that have been flushed.
    flushed: Vec<i32>,
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
        let sums = if layout.blocks().count() > 1 { layout.sums_len() } else { 0 };
        grow(&mut self.bytes, ALIGNMENT + size_of::<Copied>());
        grow(&mut self.sums, sums);
        grow(&mut self.flushed, if conv.lists.has_flushes() { sums / 2 } else { 0 });
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
    /// What a tile reads of a block of channels.
    copy: &'a mut Copied,
    /// Sums that wait for the next block.
    sums: &'a mut [u16],
    /// Totals of the blocks before, where words could not hold the sums.
    flushed: &'a mut [i32],
}

impl Operation for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        for tile in self.conv.layout.tiles() {
            self.tile(simd, tile);
        }
    }
}

impl Tiles<'_> {
    /// All output channels of a tile.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, tile: Tile) {
        let conv = self.conv;
        let blocks = conv.layout.blocks().count();
        for (chunk, (group, outputs)) in conv.layout.blocks().chunks().enumerate() {
            for block in 0..blocks {
                simd.outline(Fill {
                    layout: &conv.layout,
                    tile,
                    channels: conv.layout.blocks().channels(group, block),
                    input: self.input,
                    padding: conv.padding,
                    copy: self.copy,
                });
                let part = conv.lists.part(block, chunk);
                let is_last = block + 1 == blocks;
                let outputs = outputs.clone();
                self.outputs(simd, Outputs { tile, outputs, part, is_last });
            }
        }
    }

    /// Picks the loop for the vectors of a tile.
    #[inline(always)]
    fn outputs<S: Simd>(&mut self, simd: S, outputs: Outputs) {
        match self.conv.layout.vectors(outputs.tile) {
            1 => self.outline::<S, 1>(simd, outputs),
            2 => self.outline::<S, 2>(simd, outputs),
            4 => self.outline::<S, 4>(simd, outputs),
            7 => self.outline::<S, 7>(simd, outputs),
            8 => self.outline::<S, 8>(simd, outputs),
            vectors => unreachable!("no tile has {vectors} vectors"),
        }
    }

    #[inline(always)]
    fn outline<S: Simd, const N: usize>(&mut self, simd: S, outputs: Outputs) {
        let Self { conv, input, residual, .. } = *self;
        let Self { output, copy, sums, flushed, .. } = self;
        let tiles = Tiles { conv, input, residual, output, copy, sums, flushed };
        simd.outline(Loop::<N> { tiles, outputs });
    }
}
