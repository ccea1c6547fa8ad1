//! How much there is to do in a convolution, counted in vectors.

use super::depthwise::Depthwise;
use super::layout::Layout;
use crate::arch::Isa;
use crate::shape::{ConvShape, TooLarge};

/// What a convolution does for one image, but for its sums: these take
/// [`vectors`](Self::vectors) additions for each weight of an output that is not zero.
///
/// All numbers are of vectors of [`lanes`](Self::lanes) values. Tiles at the edges are
/// counted like whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvWork {
    /// Lanes of the vectors, which may be narrower than those that were asked for.
    pub lanes: usize,
    /// Vectors of pixels in the tiles.
    pub vectors: usize,
    /// How often a block of the input is copied for a tile.
    pub fills: usize,
    /// Vectors that these copies have.
    pub copied: usize,
    /// How often the sums of an output for a tile are taken up, once for each block.
    pub visits: usize,
}

impl ConvWork {
    /// The work of [`TernaryConv`](super::TernaryConv) with a convolution of that shape, with
    /// an instruction set.
    ///
    /// # Errors
    /// [`TooLarge`] where a kernel has too many taps.
    pub fn ternary(shape: ConvShape, isa: Isa) -> Result<Self, TooLarge> {
        Ok(Self::of_tiles(&Layout::new(shape, isa)?))
    }

    /// The work of [`DenseConv`](super::DenseConv).
    ///
    /// # Errors
    /// As for [`ternary`](Self::ternary).
    pub fn dense(shape: ConvShape, isa: Isa) -> Result<Self, TooLarge> {
        match Depthwise::new(isa, shape, &[]) {
            Some(depthwise) => Ok(depthwise.work()),
            None => Ok(Self::of_tiles(&Layout::new(shape, isa)?)),
        }
    }

    fn of_tiles(layout: &Layout) -> Self {
        let shape = &layout.shape;
        let lanes = layout.isa.lanes();
        let [rows, columns] = layout.tile;
        let [height, width] = shape.output;
        let tiles = height.div_ceil(rows) * width.div_ceil(columns * layout.phases);
        let vectors = tiles * rows * (columns / lanes) * layout.phases;
        let chunks_of_group = layout.blocks().chunks().count() / shape.groups;
        Self {
            lanes,
            vectors,
            fills: tiles * layout.blocks().chunks().count() * layout.blocks().count(),
            copied: tiles * chunks_of_group * shape.in_channels * layout.channel_len() / lanes,
            visits: tiles * layout.blocks().count() * shape.out_channels,
        }
    }
}
