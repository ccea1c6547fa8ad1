//! 3×3 convolution with stride 1 by minimal filtering, Winograd's F(4×4, 3×3).
//!
//! A tile of 4×4 pixels of the target depends on 6×6 pixels of the source. Both are
//! transformed ([`lines`]) to 36 positions, at each of which the channels are
//! multiplied like those of a 1×1 convolution: 36 products for 16 pixels, where
//! the plain sum takes 144. Per block of tiles:
//!
//! ```text
//! forward, input gradient:  V[p] = Bᵀ x B,   M[p] = V[p] · U[p],     y = Aᵀ M A
//! weight gradient:          V[p] = Bᵀ x B,   dU[p] += V[p]ᵀ · D[p],  D = A gy Aᵀ
//! ```
//!
//! with U = G w Gᵀ, and Gᵀ dU G as the weights' gradient at the end. The input
//! gradient is the same filtering with kernels turned by 180°. Blocks are so small
//! that their V and M stay in the second-level cache; where both gradients are wanted
//! ([`gradients`]), they take the blocks in turn, so that `gy` comes from memory once.
//! Errors are about twice those of plain sums in `f32`.

mod filter;
mod gradients;
mod lines;
mod plane;
mod read;

use ec2t_kernels::ConvShape;
use ec2t_kernels::arch::Isa;
use rayon::prelude::*;

use self::filter::{AllBlocks, Filter, TransformWeights};
use self::gradients::{Gradients, Sizes};
use self::plane::{Plane, TILE, WINDOW};
use super::Backward;
use super::pack::{Direction, Panels};
use super::product::RunningSums;
use super::sums::ChannelSums;
use super::tile::TileShape;
use super::weight_gradient::{parts, reduce_parts};
use crate::chunks::{CHUNKS, images, split, split_mut, split_scratch};
use crate::lanes::LINE;
use crate::scratch::Scratch;
use crate::shares::Shares;

/// Products for a tile.
const POSITIONS: usize = WINDOW * WINDOW;

/// Taps of the kernel.
const TAPS: usize = 9;

/// Values of V and M of a block of tiles, about.
const BLOCK_VALUES: usize = 1 << 16;

/// Channels that make the transforms worth their time.
const MIN_CHANNELS: usize = 12;

/// Weights, without taps, whose 36 transformed ones are still near the cache.
const MAX_WEIGHTS: usize = 1 << 16;

/// A layer that is convolved in this way.
#[derive(Clone, Debug)]
pub(super) struct Winograd {
    shape: ConvShape,
    isa: Isa,
    forward: Plane,
    backward: Plane,
    /// The product at one position.
    position: ConvShape,
}

/// Whether a layer's geometry fits, and gains by it.
pub(super) fn is_winograd(shape: &ConvShape) -> bool {
    let ConvShape { in_channels, out_channels, .. } = *shape;
    let fits = shape.kernel == [3, 3]
        && shape.stride == [1, 1]
        && shape.dilation == [1, 1]
        && shape.groups == 1
        && shape.padding[..2].iter().all(|&padding| padding < 3);
    let channels =
        in_channels.min(out_channels) >= MIN_CHANNELS && in_channels * out_channels <= MAX_WEIGHTS;
    // At least half of the pixels of the tiles lie inside the image.
    let tiles = shape.output.map(|size| size.next_multiple_of(TILE));
    fits && channels && tiles[0] * tiles[1] <= 2 * shape.output_plane()
}

impl Winograd {
    pub(super) fn new(shape: ConvShape, isa: Isa) -> Self {
        let [top, left, ..] = shape.padding;
        let forward = Plane { source: shape.input, target: shape.output, padding: [top, left] };
        let backward =
            Plane { source: shape.output, target: shape.input, padding: [2 - top, 2 - left] };
        let position = ConvShape { kernel: [1; 2], padding: [0; 4], ..shape };
        Self { shape, isa, forward, backward, position }
    }

    pub(super) fn forward(
        &self,
        batch: usize,
        x: &[f32],
        weights: &[f32],
        y: &mut [f32],
        sums: Option<&mut ChannelSums>,
        scratch: &mut Scratch,
    ) {
        self.filter(Direction::Forward, batch, x, weights, y, false, sums, scratch);
    }

    pub(super) fn input_gradient(
        &self,
        batch: usize,
        gy: &[f32],
        weights: &[f32],
        gx: &mut [f32],
        accumulate: bool,
        scratch: &mut Scratch,
    ) {
        self.filter(Direction::Backward, batch, gy, weights, gx, accumulate, None, scratch);
    }

    #[expect(clippy::too_many_arguments, reason = "both directions in one")]
    fn filter(
        &self,
        direction: Direction,
        batch: usize,
        source: &[f32],
        weights: &[f32],
        target: &mut [f32],
        accumulate: bool,
        sums: Option<&mut ChannelSums>,
        scratch: &mut Scratch,
    ) {
        let panels = Panels::new(&self.shape, direction, TileShape::of(self.isa));
        let plane = match direction {
            Direction::Forward => self.forward,
            Direction::Backward => self.backward,
        };
        let blocks = Blocks::new(panels.depth, panels.columns);
        let packed_len = panels.packed_len(1);
        let (block, total) = match &sums {
            Some(_) => (2 * panels.slots(), 2 * panels.columns),
            None => (0, 0),
        };
        let lens = [TAPS * packed_len, POSITIONS * packed_len, CHUNKS * block];
        let shares = Shares::count() * blocks.len();
        let (mut floats, totals) =
            scratch.take(lens.iter().sum::<usize>() + shares, CHUNKS * total);
        let [taps, packed, sum_blocks] =
            lens.map(|len| floats.split_off_mut(..len).expect("sum of lengths"));
        sum_blocks.fill(0.0);
        totals.fill(0.0);
        self.transform_weights(panels, direction, weights, taps, packed);

        let (packed, shares) = (&*packed, Shares::new(floats));
        let (wanted, parts) = (sums.is_some(), split_scratch(sum_blocks, block));
        (split_mut(target, batch), split(source, batch), parts, split_scratch(totals, total))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(target, source, block, total)| {
                let sums = wanted.then_some(RunningSums { block, total });
                shares.with(|share| {
                    let filter =
                        Filter { plane, panels, blocks, packed, source, target, accumulate, sums };
                    self.isa.run(AllBlocks { filter, share });
                });
            });
        if let Some(sums) = sums {
            sums.reduce(totals);
        }
    }

    pub(super) fn weight_gradient(
        &self,
        batch: usize,
        x: &[f32],
        gy: &[f32],
        gw: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let sizes = Sizes::new(self);
        let len = sizes.sums;
        let parts = parts(len);
        let (floats, _) = scratch.take(parts * len + Shares::count() * sizes.share(), 0);
        let (sums, floats) = floats.split_at_mut(parts * len);
        let shares = Shares::new(floats);
        sums.par_chunks_exact_mut(len).enumerate().with_max_len(1).for_each(|(part, sums)| {
            let chunks = CHUNKS / parts;
            let first = images(batch, part * chunks).start;
            let last = images(batch, part * chunks + chunks - 1).end;
            let of_images = |image: usize| first * image..last * image;
            let x = &x[of_images(self.shape.input_len())];
            let gy = &gy[of_images(self.shape.output_len())];
            shares.with(|share| {
                let (share, du) = share.split_at_mut(sizes.blocks.len());
                let correlate = sizes.correlate(self, x, gy, du);
                self.isa.run(Gradients { correlate, filter: None, share, sums });
            });
        });
        reduce_parts(&self.shape, sizes.padded, sums, gw);
    }

    pub(super) fn backward(&self, batch: usize, operands: Backward<'_>, scratch: &mut Scratch) {
        let Backward { x, gy, w, gx, accumulate, gw } = operands;
        let sizes = Sizes::new(self);
        let len = sizes.sums;
        if parts(len) < CHUNKS {
            // So few parts would keep few threads busy with the gradient of the input.
            self.weight_gradient(batch, x, gy, gw, scratch);
            self.input_gradient(batch, gy, w, gx, accumulate, scratch);
            return;
        }
        let panels = Panels::new(&self.shape, Direction::Backward, TileShape::of(self.isa));
        let blocks = Blocks::new(panels.depth, panels.columns);
        let packed_len = panels.packed_len(1);
        let lens = [TAPS * packed_len, POSITIONS * packed_len, CHUNKS * len];
        let shares = Shares::count() * sizes.share();
        let (mut floats, _) = scratch.take(lens.iter().sum::<usize>() + shares, 0);
        let [taps, packed, sums] =
            lens.map(|len| floats.split_off_mut(..len).expect("sum of lengths"));
        self.transform_weights(panels, Direction::Backward, w, taps, packed);

        let (packed, shares) = (&*packed, Shares::new(floats));
        let (gradients, inputs) = (split(gy, batch), split(x, batch));
        (split_mut(gx, batch), gradients, inputs, split_scratch(sums, len))
            .into_par_iter()
            .with_max_len(1)
            .for_each(|(target, source, x, sums)| {
                shares.with(|share| {
                    let (share, du) = share.split_at_mut(sizes.blocks.len());
                    let correlate = sizes.correlate(self, x, source, du);
                    let filter = Filter {
                        plane: self.backward,
                        panels,
                        blocks,
                        packed,
                        source,
                        target,
                        accumulate,
                        sums: None,
                    };
                    self.isa.run(Gradients { correlate, filter: Some(filter), share, sums });
                });
            });
        reduce_parts(&self.shape, sizes.padded, sums, gw);
    }

    /// Packs the weights of a direction, by way of `taps`.
    fn transform_weights(
        &self,
        panels: Panels,
        direction: Direction,
        weights: &[f32],
        taps: &mut [f32],
        packed: &mut [f32],
    ) {
        let order: Vec<usize> = match direction {
            Direction::Forward => (0..TAPS).collect(),
            Direction::Backward => (0..TAPS).rev().collect(),
        };
        panels.pack(&self.shape, direction, &order, weights, taps);
        self.isa.run(TransformWeights { panels, taps, packed });
    }
}

/// Sizes of a block of tiles.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    /// Tiles of a block.
    tiles: usize,
    /// Values from one position to the next, of the first operand and of the second.
    strides: [usize; 2],
}

impl Blocks {
    fn new(first: usize, second: usize) -> Self {
        let tiles = BLOCK_VALUES / (POSITIONS * (first + second));
        let tiles = tiles.clamp(16, 64) / 8 * 8;
        // Positions that are a power of two apart would share few sets of the cache.
        let stride = |channels: usize| (tiles * channels).next_multiple_of(LINE) + LINE;
        Self { tiles, strides: [first, second].map(stride) }
    }

    /// Values of both operands at all positions.
    fn len(&self) -> usize {
        POSITIONS * self.strides.iter().sum::<usize>()
    }
}
