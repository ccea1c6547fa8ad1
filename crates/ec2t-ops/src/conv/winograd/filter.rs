//! Forward pass and input gradient of some images: `M[p] = V[p] · U[p]`, `y = Aᵀ M A`.

use std::ops::Range;

use ec2t_kernels::arch::{Operation, Simd};

use super::super::gather::Identity;
use super::super::pack::Panels;
use super::super::product::{Product, RunningSums};
use super::super::tile::Source;
use super::lines::{Columns, Output, Six, Weight, transform};
use super::plane::{Images, Plane, Positions, TileTarget};
use super::read::{Read, ReadSource};
use super::{Blocks, POSITIONS, TAPS};

/// Forward pass or input gradient of some images.
pub(super) struct Filter<'a> {
    pub(super) plane: Plane,
    pub(super) panels: Panels,
    pub(super) blocks: Blocks,
    /// `[position][panel][depth][column]`.
    pub(super) packed: &'a [f32],
    pub(super) source: &'a [f32],
    pub(super) target: &'a mut [f32],
    pub(super) accumulate: bool,
    pub(super) sums: Option<RunningSums<'a>>,
}

/// A filter alone.
pub(super) struct AllBlocks<'a> {
    pub(super) filter: Filter<'a>,
    /// V and M of a block.
    pub(super) share: &'a mut [f32],
}

impl Operation for AllBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { mut filter, share } = self;
        let (tiles, step) = (filter.tiles(), filter.blocks.tiles);
        for first in (0..tiles).step_by(step) {
            filter.block(simd, first..tiles.min(first + step), share);
        }
    }
}

impl Filter<'_> {
    /// Tiles of all images.
    #[inline(always)]
    pub(super) fn tiles(&self) -> usize {
        let pixels: usize = self.plane.source.iter().product();
        self.source.len() / (pixels * self.panels.depth) * self.plane.tiles()
    }

    /// Some of the tiles; their operands go to `share`.
    #[inline(always)]
    pub(super) fn block<S: Simd>(&mut self, simd: S, tiles: Range<usize>, share: &mut [f32]) {
        let Self { plane, panels, blocks, source: values, .. } = *self;
        let (v, m) = share.split_at_mut(POSITIONS * blocks.strides[0]);
        let source = Images { values, size: plane.source, channels: panels.depth };
        let stride = blocks.strides[0];
        simd.outline(ReadSource(Read { plane, tiles: tiles.clone(), source, v, stride }));
        self.multiply(simd, tiles.len(), v, m);
        simd.outline(WriteTarget { filter: self, tiles, m });
    }

    /// `M[p] = V[p] · U[p]` at every position.
    #[inline(always)]
    fn multiply<S: Simd>(&self, simd: S, tiles: usize, v: &[f32], m: &mut [f32]) {
        let Self { panels, blocks, .. } = *self;
        let weights = self.packed.chunks_exact(panels.packed_len(1));
        let operands = v.chunks_exact(blocks.strides[0]).zip(m.chunks_exact_mut(blocks.strides[1]));
        for ((values, target), weights) in operands.zip(weights) {
            let rows = Identity { pixels: tiles };
            let source = Source { rows, values, channels: panels.depth, zeros: &[] };
            Product { panels, source, weights, target, accumulate: false, sums: None }.eval(simd);
        }
    }
}

/// `y = Aᵀ M A` for a block of tiles.
struct WriteTarget<'a, 'f> {
    filter: &'a mut Filter<'f>,
    tiles: Range<usize>,
    /// `[position][tile][channel]`.
    m: &'a [f32],
}

impl Operation for WriteTarget<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { filter, tiles, m } = self;
        let Filter { plane, panels, blocks, accumulate, .. } = *filter;
        let channels = panels.columns;
        for (place, tile) in tiles.map(|number| plane.tile(number)).enumerate() {
            for channel in (0..channels).step_by(S::LANES) {
                let width = S::LANES.min(channels - channel);
                let (values, stride) = (&m[place * channels + channel..], blocks.strides[1]);
                let products = Positions { values, stride, width };
                let mut target = TileTarget {
                    values: filter.target,
                    size: plane.target,
                    channels,
                    tile,
                    channel,
                    accumulate,
                    sums: [simd.splat(0.0); 2],
                };
                transform::<Output, S>(simd, &products, &mut target);
                let sums = target.sums;
                if let Some(running) = &mut filter.sums {
                    running.add_vectors(simd, channel, sums);
                }
            }
        }
        if let Some(sums) = &mut filter.sums {
            sums.close_block(&panels);
        }
    }
}

/// `U = G w Gᵀ` for packed weights, panel by panel.
pub(super) struct TransformWeights<'a> {
    pub(super) panels: Panels,
    /// `[panel][tap][depth][column]`.
    pub(super) taps: &'a [f32],
    /// `[position][panel][depth][column]`.
    pub(super) packed: &'a mut [f32],
}

impl Operation for TransformWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { panels, taps, packed } = self;
        for panel in panels.iter() {
            let len = panels.padded_columns(&panel) * panels.depth;
            let first = panel.slot * panels.depth;
            let taps = &taps[TAPS * first..][..TAPS * len];
            for at in (0..len).step_by(S::LANES) {
                let kernel = Kernel { values: &taps[at..], step: len };
                let (values, stride) = (&mut packed[first + at..], panels.packed_len(1));
                let mut target = Positions { values, stride, width: S::LANES };
                transform::<Weight, S>(simd, &kernel, &mut target);
            }
        }
    }
}

/// A vector of weights for each of 3×3 taps.
struct Kernel<'a> {
    /// From the first tap's on.
    values: &'a [f32],
    /// From one tap to the next.
    step: usize,
}

impl<S: Simd> Columns<S> for Kernel<'_> {
    #[inline(always)]
    fn column(&self, simd: S, column: usize) -> Six<S> {
        let [a, b, c] = simd.load_strided(&self.values[column * self.step..], 3 * self.step);
        let zero = simd.splat(0.0);
        [a, b, c, zero, zero, zero]
    }
}
