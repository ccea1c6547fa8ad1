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
    /// The work of a convolution of that shape with an instruction set.
    ///
    /// # Errors
    /// [`TooLarge`] where a kernel has too many taps.
    pub fn new(shape: ConvShape, isa: Isa) -> Result<Self, TooLarge> {
        if let Some(depthwise) = Depthwise::new(isa, shape, &[]) {
            return Ok(depthwise.work());
        }
        let layout = Layout::new(shape, isa)?;
        let lanes = layout.isa.lanes();
        let [rows, columns] = layout.tile;
        let [height, width] = layout.shape.output;
        let tiles = height.div_ceil(rows) * width.div_ceil(columns * layout.phases);
        let vectors = tiles * rows * (columns / lanes) * layout.phases;
        // Tiles whose input is copied, and how often.
        let copies = if layout.reads_input() { 0 } else { tiles };
        let chunks_of_group = layout.blocks.chunks().count() / shape.groups;
        Ok(Self {
            lanes,
            vectors,
            fills: copies * layout.blocks.chunks().count() * layout.blocks.count(),
            copied: copies * chunks_of_group * shape.in_channels * layout.channel_len() / lanes,
            visits: tiles * layout.blocks.count() * shape.out_channels,
        })
    }
}
