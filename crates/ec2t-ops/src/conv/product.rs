//! The implicit matrix product that forward pass and input gradient share.

use super::{
    gather::Rows,
    pack::{Panel, Panels},
    tile::{self, Source, TileShape},
};
use ec2t_kernels::arch::{Operation, Simd};
use std::ops::Range;

/// Source values of a block of rows, chosen to stay in the second-level cache
/// while all panels of weights pass by.
const BLOCK_VALUES: usize = 8192;

/// `target = rows · weights`, for the rows of one image, or of several whose
/// pixels are numbered through.
pub(super) struct Product<'a, R> {
    pub(super) panels: Panels,
    pub(super) source: Source<'a, R>,
    /// Packed, for as many taps as the rows read.
    pub(super) weights: &'a [f32],
    pub(super) target: &'a mut [f32],
    /// Adds to the target instead of replacing it.
    pub(super) accumulate: bool,
    pub(super) sums: Option<RunningSums<'a>>,
}

/// Sums of the target and of its squares over pixels: `f32` within a block of
/// pixels, `f64` beyond.
pub(super) struct RunningSums<'a> {
    /// Sums, then sums of squares, for each column with its panel's zeros.
    pub(super) block: &'a mut [f32],
    /// Sums, then sums of squares, for each channel; the block is added to them.
    pub(super) total: &'a mut [f64],
}

impl<R: Rows> Operation for Product<'_, R> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let tile = TileShape::new::<S>();
        let rows = self.source.rows.len();
        let block = (BLOCK_VALUES / self.panels.source_channels()).clamp(64, 1024);
        let block = block.next_multiple_of(tile.rows);
        let panel_values = self.weights.len() / self.panels.slots();
        for first in (0..rows).step_by(block) {
            for panel in self.panels.iter() {
                let vectors = panel.columns.div_ceil(tile.lanes);
                let weights = &self.weights[panel.slot * panel_values..]
                    [..vectors * tile.lanes * panel_values];
                let rows = first..rows.min(first + block);
                let product = &mut self;
                match vectors {
                    1 => simd.outline(PanelRows::<R, 1> { product, panel, rows, weights }),
                    2 => simd.outline(PanelRows::<R, 2> { product, panel, rows, weights }),
                    3 if tile.vectors >= 3 => {
                        simd.outline(PanelRows::<R, 3> { product, panel, rows, weights });
                    }
                    _ if tile.vectors >= 4 => {
                        simd.outline(PanelRows::<R, 4> { product, panel, rows, weights });
                    }
                    _ => unreachable!("a panel is no wider than the tile"),
                }
            }
            if let Some(sums) = &mut self.sums {
                sums.close_block(&self.panels);
            }
        }
    }
}

/// Some rows of a product, for one panel.
struct PanelRows<'a, 'p, R, const VECTORS: usize> {
    product: &'a mut Product<'p, R>,
    panel: Panel,
    rows: Range<usize>,
    /// Those of the panel.
    weights: &'a [f32],
}

impl<R: Rows, const VECTORS: usize> Operation for PanelRows<'_, '_, R, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { product, panel, rows: Range { start, end }, weights } = self;
        let (weights, _) = simd.as_vectors(weights).as_chunks::<VECTORS>();
        let rows = TileShape::new::<S>().rows;
        for row in (start..end).step_by(rows) {
            match rows.min(end - row) {
                1 => product.tile::<S, 1, VECTORS>(simd, panel, row, weights),
                2 => product.tile::<S, 2, VECTORS>(simd, panel, row, weights),
                3 => product.tile::<S, 3, VECTORS>(simd, panel, row, weights),
                4 => product.tile::<S, 4, VECTORS>(simd, panel, row, weights),
                5 => product.tile::<S, 5, VECTORS>(simd, panel, row, weights),
                6 => product.tile::<S, 6, VECTORS>(simd, panel, row, weights),
                7 if rows >= 7 => product.tile::<S, 7, VECTORS>(simd, panel, row, weights),
                _ if rows >= 8 => product.tile::<S, 8, VECTORS>(simd, panel, row, weights),
                _ => unreachable!("a tile has no more rows than its shape says"),
            }
        }
    }
}

impl<R: Rows> Product<'_, R> {
    /// Computes and writes a register tile of one panel.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        panel: Panel,
        row: usize,
        weights: &[[S::F32; VECTORS]],
    ) {
        let depth = self.panels.depth;
        let tile = tile::multiply::<S, R, ROWS, VECTORS>(
            simd,
            &self.source,
            row,
            panel.source,
            depth,
            weights,
        );
        let channels = self.panels.target_channels();
        for (i, values) in tile.iter().enumerate() {
            let start = self.source.rows.target(row + i) * channels + panel.target;
            let target = &mut self.target[start..][..panel.columns];
            for (target, &value) in target.chunks_mut(S::LANES).zip(values) {
                match (target.len() == S::LANES, self.accumulate) {
                    (true, false) => simd.store(value, target),
                    (true, true) => simd.store(simd.add(simd.load(target), value), target),
                    (false, false) => simd.store_partial(value, target),
                    (false, true) => {
                        let before = simd.load_partial(target);
                        simd.store_partial(simd.add(before, value), target);
                    }
                }
            }
        }
        if let Some(sums) = &mut self.sums {
            sums.add(simd, panel.slot, &tile);
        }
    }
}

impl RunningSums<'_> {
    /// The same sums, lent to one product.
    pub(super) fn reborrow(&mut self) -> RunningSums<'_> {
        RunningSums { block: self.block, total: self.total }
    }

    /// Adds the rows of a tile, and their squares.
    #[inline(always)]
    fn add<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        slot: usize,
        tile: &[[S::F32; VECTORS]; ROWS],
    ) {
        for v in 0..VECTORS {
            let mut tile_sum = tile[0][v];
            let mut tile_square = simd.mul(tile_sum, tile_sum);
            for row in &tile[1..] {
                tile_sum = simd.add(tile_sum, row[v]);
                tile_square = simd.fma(row[v], row[v], tile_square);
            }
            self.add_vectors(simd, slot + v * S::LANES, [tile_sum, tile_square]);
        }
    }

    /// Adds a vector of sums, and one of sums of squares.
    #[inline(always)]
    pub(super) fn add_vectors<S: Simd>(&mut self, simd: S, slot: usize, vectors: [S::F32; 2]) {
        let slots = self.block.len() / 2;
        for (place, vector) in [slot, slots + slot].into_iter().zip(vectors) {
            let sum = &mut self.block[place..];
            simd.store(simd.add(simd.load(sum), vector), sum);
        }
    }

    /// Moves the sums of a block into the totals.
    pub(super) fn close_block(&mut self, panels: &Panels) {
        let block = self.block.chunks_exact(panels.padded);
        for (total, block) in self.total.chunks_exact_mut(panels.columns).zip(block) {
            total.iter_mut().zip(block).for_each(|(total, sum)| *total += f64::from(*sum));
        }
        self.block.fill(0.0);
    }
}
