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
//! that their V and M stay in the second-level cache. Errors are about twice those
//! of plain sums in `f32`.

mod lines;
mod plane;

use std::ops::Range;

use ec2t_kernels::ConvShape;
use ec2t_kernels::arch::{Isa, Operation, Simd};
use rayon::prelude::*;

use self::lines::{
    Columns, Input, Line, Output, OutputGradient, Rows, Six, Weight, WeightGradient, transform,
};
use self::plane::{Images, Plane, Positions, TILE, Tile, TileTarget, WINDOW};
use super::Backward;
use super::gather::Identity;
use super::pack::{Direction, Panels};
use super::product::{Product, RunningSums};
use super::sums::ChannelSums;
use super::tile::{Source, TileShape};
use super::weight_gradient::{Part, parts, reduce_parts};
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

/// Sizes of what the gradient of the weights is summed in.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    blocks: Blocks,
    /// Output channels, filled up to whole vectors.
    padded: usize,
    /// Values of the sums of a part of the batch.
    sums: usize,
    /// Values of dU.
    du: usize,
}

impl Sizes {
    fn new(layer: &Winograd) -> Self {
        let ConvShape { in_channels: inputs, out_channels: outputs, .. } = layer.shape;
        let padded = outputs.next_multiple_of(TileShape::of(layer.isa).lanes);
        let (sums, du) = (TAPS * inputs * padded, POSITIONS * inputs * padded);
        Self { blocks: Blocks::new(inputs, outputs), padded, sums, du }
    }

    /// Values of the operands of a block and of dU, in whole lines.
    fn share(&self) -> usize {
        (self.blocks.len() + self.du).next_multiple_of(LINE)
    }

    fn correlate<'a>(
        &self,
        layer: &'a Winograd,
        x: &'a [f32],
        gy: &'a [f32],
        du: &'a mut [f32],
    ) -> Correlate<'a> {
        let Self { blocks, padded, .. } = *self;
        Correlate { layer, blocks, padded, x, gy, du: &mut du[..self.du] }
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

/// `U = G w Gᵀ` for packed weights, panel by panel.
struct TransformWeights<'a> {
    panels: Panels,
    /// `[panel][tap][depth][column]`.
    taps: &'a [f32],
    /// `[position][panel][depth][column]`.
    packed: &'a mut [f32],
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

/// Forward pass or input gradient of some images.
struct Filter<'a> {
    plane: Plane,
    panels: Panels,
    blocks: Blocks,
    /// `[position][panel][depth][column]`.
    packed: &'a [f32],
    source: &'a [f32],
    target: &'a mut [f32],
    accumulate: bool,
    sums: Option<RunningSums<'a>>,
}

/// A filter alone.
struct AllBlocks<'a> {
    filter: Filter<'a>,
    /// V and M of a block.
    share: &'a mut [f32],
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
    fn tiles(&self) -> usize {
        let pixels: usize = self.plane.source.iter().product();
        self.source.len() / (pixels * self.panels.depth) * self.plane.tiles()
    }

    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, tiles: Range<usize>, share: &mut [f32]) {
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

/// Transforms pixels that tiles depend on.
struct Read<'a> {
    plane: Plane,
    tiles: Range<usize>,
    source: Images<'a>,
    /// `[position][tile][channel]`.
    v: &'a mut [f32],
    /// Values from one position to the next.
    stride: usize,
}

impl Read<'_> {
    #[inline(always)]
    fn eval<L: Line, S: Simd>(self, simd: S, corner: impl Fn(Tile) -> [isize; 2]) {
        let Self { plane, tiles, source, v, stride } = self;
        let channels = source.channels;
        for (place, tile) in tiles.map(|number| plane.tile(number)).enumerate() {
            for channel in (0..channels).step_by(S::LANES) {
                let width = S::LANES.min(channels - channel);
                let values = &mut v[place * channels + channel..];
                let mut target = Positions { values, stride, width };
                source.transform::<L, S>(simd, tile.image, corner(tile), channel, &mut target);
            }
        }
    }
}

/// `V = Bᵀ x B`.
struct ReadSource<'a>(Read<'a>);

impl Operation for ReadSource<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        self.0.eval::<Input, S>(simd, |tile| tile.window);
    }
}

/// `D = A gy Aᵀ`.
struct ReadGradient<'a>(Read<'a>);

impl Operation for ReadGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        self.0.eval::<OutputGradient, S>(simd, |tile| tile.corner.map(|at| at as isize));
    }
}

/// Gradient of the weights from some images, before its transform.
struct Correlate<'a> {
    layer: &'a Winograd,
    blocks: Blocks,
    /// Output channels, filled up to whole vectors.
    padded: usize,
    x: &'a [f32],
    gy: &'a [f32],
    /// `[position][input][output]`, to be added to.
    du: &'a mut [f32],
}

impl Correlate<'_> {
    /// Tiles of all images.
    #[inline(always)]
    fn tiles(&self) -> usize {
        self.gy.len() / self.layer.shape.output_len() * self.layer.forward.tiles()
    }

    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, tiles: Range<usize>, share: &mut [f32]) {
        let Winograd { shape, forward: plane, position, .. } = self.layer;
        let [v_stride, d_stride] = self.blocks.strides;
        let (v, d) = share.split_at_mut(POSITIONS * v_stride);
        let x = Images { values: self.x, size: shape.input, channels: shape.in_channels };
        let gy = Images { values: self.gy, size: shape.output, channels: shape.out_channels };
        let count = tiles.len();
        let read =
            |source, v, stride| Read { plane: *plane, tiles: tiles.clone(), source, v, stride };
        simd.outline(ReadSource(read(x, &mut *v, v_stride)));
        simd.outline(ReadGradient(read(gy, &mut *d, d_stride)));
        let operands = v.chunks_exact(v_stride).zip(d.chunks_exact(d_stride));
        let du = self.du.chunks_exact_mut(shape.in_channels * self.padded);
        for ((x, gy), sums) in operands.zip(du) {
            let (x, gy) = (&x[..count * shape.in_channels], &gy[..count * shape.out_channels]);
            Part { shape: position, padded: self.padded, x, gy, sums }.eval(simd);
        }
    }
}

/// The gradient of the weights from some images and, where somebody wants it, that of
/// the input: both read the same tiles of `gy`, one soon after the other.
struct Gradients<'a> {
    correlate: Correlate<'a>,
    filter: Option<Filter<'a>>,
    /// Operands of a block.
    share: &'a mut [f32],
    /// `[tap][input][output]`, to be written.
    sums: &'a mut [f32],
}

impl Operation for Gradients<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { mut correlate, mut filter, share, sums } = self;
        correlate.du.fill(0.0);
        // Without padding, the input has more tiles than the output.
        let (tiles, filtered) = (correlate.tiles(), filter.as_ref().map_or(0, Filter::tiles));
        let step = correlate.blocks.tiles;
        for first in (0..tiles.max(filtered)).step_by(step) {
            if first < tiles {
                correlate.block(simd, first..tiles.min(first + step), share);
            }
            if let Some(filter) = filter.as_mut().filter(|_| first < filtered) {
                filter.block(simd, first..filtered.min(first + step), share);
            }
        }
        simd.outline(TransformGradient { du: correlate.du, sums });
    }
}

/// `Gᵀ dU G`.
struct TransformGradient<'a> {
    /// `[position][input][output]`.
    du: &'a [f32],
    /// `[tap][input][output]`.
    sums: &'a mut [f32],
}

impl Operation for TransformGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { du, sums } = self;
        let stride = sums.len() / TAPS;
        for at in (0..stride).step_by(S::LANES) {
            let du = Positions { values: &du[at..], stride, width: S::LANES };
            let mut target = KernelGradient { values: &mut sums[at..], step: stride };
            transform::<WeightGradient, S>(simd, &du, &mut target);
        }
    }
}

/// A vector of weights' gradients for each of 3×3 taps.
struct KernelGradient<'a> {
    /// From the first tap's on.
    values: &'a mut [f32],
    /// From one tap to the next.
    step: usize,
}

impl<S: Simd> Rows<S> for KernelGradient<'_> {
    #[inline(always)]
    fn write(&mut self, simd: S, row: usize, values: Six<S>) {
        let places = self.values[3 * row * self.step..].chunks_mut(self.step);
        for (place, value) in places.zip(values).take(3) {
            simd.store(value, place);
        }
    }
}
