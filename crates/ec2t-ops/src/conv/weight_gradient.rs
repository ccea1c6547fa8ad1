//! Gradient of the weights of a convolution that sums over channels.
//!
//! `gw[o, i, ky, kx] = Σ gy[p, o] · x[p at (ky, kx), i]` over all output pixels `p`
//! of all images. For each tap, a register tile of a few input channels by a few
//! vectors of output channels runs over the pixels whose window has the tap inside
//! the image; a block of rows at a time, so that both operands stay in the cache.
//! Each part of the batch has sums of its own, `[group][tap][input][output]`,
//! added in order at the end.

use super::{
    dense::{Dense, is_pointwise},
    tile::TileShape,
};
use crate::{
    chunks::{CHUNKS, images},
    scratch::Scratch,
};
use ec2t_kernels::{
    ConvShape,
    arch::{Operation, Simd, strided},
};
use rayon::prelude::*;
use std::ops::Range;

/// Values of all parts' sums together, at most: layers with many weights are cut
/// into fewer parts.
const PARTS_VALUES: usize = 1 << 22;

/// Values of the wider operand in a block of pixels, which stay in the first-level
/// cache.
const BLOCK_VALUES: usize = 4096;

impl Dense {
    pub(super) fn weight_gradient(
        &self,
        batch: usize,
        x: &[f32],
        gy: &[f32],
        gw: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let lanes = TileShape::of(self.isa).lanes;
        let outputs = self.shape.out_channels / self.shape.groups;
        let padded = outputs.next_multiple_of(lanes);
        let len = self.shape.weight_len() / outputs * padded;
        let parts = parts(len);
        let (sums, _) = scratch.take(parts * len, 0);
        sums.par_chunks_exact_mut(len).enumerate().with_max_len(1).for_each(|(part, sums)| {
            let chunks = CHUNKS / parts;
            let first = images(batch, part * chunks).start;
            let last = images(batch, part * chunks + chunks - 1).end;
            let of_images = |image: usize| first * image..last * image;
            let x = &x[of_images(self.shape.input_len())];
            let gy = &gy[of_images(self.shape.output_len())];
            sums.fill(0.0);
            self.isa.run(Part { shape: &self.shape, padded, x, gy, sums });
        });
        reduce_parts(&self.shape, padded, sums, gw);
    }
}

/// Adds the parts' sums, `[group][tap][input][output]` with padded outputs, in
/// order, to the gradient `[O, I / groups, KH, KW]`.
pub(super) fn reduce_parts(shape: &ConvShape, padded: usize, sums: &mut [f32], gw: &mut [f32]) {
    const SPAN: usize = 4096;
    let len = gw.len() / (shape.out_channels / shape.groups) * padded;
    let (total, others) = sums.split_at_mut(len);
    total.par_chunks_mut(SPAN).enumerate().for_each(|(span, total)| {
        for part in others.chunks_exact(len) {
            let part = &part[span * SPAN..];
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    });
    transpose(shape, padded, total, gw);
}

/// Number of parts of the batch with sums of their own: [`CHUNKS`], or halves of it.
pub(super) fn parts(len: usize) -> usize {
    let mut parts = CHUNKS;
    while parts > 2 && parts * len > PARTS_VALUES {
        parts /= 2;
    }
    parts
}

/// `[group][tap][input][output]`, with padded outputs, to `[O, I / groups, KH, KW]`.
fn transpose(shape: &ConvShape, padded: usize, sums: &[f32], gw: &mut [f32]) {
    let area = shape.kernel[0] * shape.kernel[1];
    let inputs = shape.in_channels / shape.groups;
    let outputs = shape.out_channels / shape.groups;
    gw.par_chunks_exact_mut(inputs * area).enumerate().with_min_len(8).for_each(|(output, gw)| {
        let (group, column) = (output / outputs, output % outputs);
        let sums = &sums[group * area * inputs * padded + column..];
        for (input, gw) in gw.chunks_exact_mut(area).enumerate() {
            for (tap, gw) in gw.iter_mut().enumerate() {
                *gw = sums[(tap * inputs + input) * padded];
            }
        }
    });
}

/// Adds the products over some images to sums.
pub(super) struct Part<'a> {
    pub(super) shape: &'a ConvShape,
    /// Output channels of a group, filled up to whole vectors.
    pub(super) padded: usize,
    pub(super) x: &'a [f32],
    pub(super) gy: &'a [f32],
    pub(super) sums: &'a mut [f32],
}

impl Operation for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        // The pixels of all images under a 1×1 kernel are one run, which is seen as
        // images of one row.
        let pointwise = is_pointwise(self.shape);
        let [input, output] = if pointwise {
            let width = block_pixels(self.shape);
            [width * self.shape.in_channels, width * self.shape.out_channels]
        } else {
            [self.shape.input_len(), self.shape.output_len()]
        };
        for (x, gy) in self.x.chunks(input).zip(self.gy.chunks(output)) {
            let row = [1, x.len() / self.shape.in_channels];
            let [input, output] =
                if pointwise { [row; 2] } else { [self.shape.input, self.shape.output] };
            self.map(simd, Map { input, output, x, gy });
        }
    }
}

/// Output pixels of a block.
#[inline(always)]
fn block_pixels(shape: &ConvShape) -> usize {
    (BLOCK_VALUES / shape.in_channels.max(shape.out_channels)).clamp(64, 512)
}

/// An input and its output's gradient.
#[derive(Clone, Copy)]
struct Map<'a> {
    input: [usize; 2],
    output: [usize; 2],
    x: &'a [f32],
    gy: &'a [f32],
}

/// Pixels that one tap joins: output pixels in a rectangle, and for the first of
/// them, where the input is.
#[derive(Clone, Copy)]
struct Window {
    rows: usize,
    columns: usize,
    /// Values from the start of `x` and of `gy`.
    start: [usize; 2],
    /// Values from one row to the next.
    row_step: [usize; 2],
    /// Values from one pixel to the next.
    step: [usize; 2],
}

impl Part<'_> {
    /// Adds one map, block by block.
    #[inline(always)]
    fn map<S: Simd>(&mut self, simd: S, map: Map<'_>) {
        let rows = (block_pixels(self.shape) / map.output[1].max(1)).max(1);
        let [height, width] = self.shape.kernel;
        for first in (0..map.output[0]).step_by(rows) {
            let block = first..map.output[0].min(first + rows);
            for ky in 0..height {
                for kx in 0..width {
                    if let Some(window) = self.window(&map, block.clone(), [ky, kx]) {
                        self.tap(simd, &map, ky * width + kx, window);
                    }
                }
            }
        }
    }

    /// The pixels of a block of rows for which a tap lies inside the image.
    #[inline(always)]
    fn window(&self, map: &Map<'_>, block: Range<usize>, tap: [usize; 2]) -> Option<Window> {
        let inside = |dim: usize| {
            let (stride, padding) = (self.shape.stride[dim], self.shape.padding[dim]);
            let offset = tap[dim] * self.shape.dilation[dim];
            let first = padding.saturating_sub(offset).div_ceil(stride);
            let last = (map.input[dim] + padding).saturating_sub(offset).div_ceil(stride);
            (first..last.min(map.output[dim]), offset, stride, padding)
        };
        let (rows, row_offset, row_stride, top) = inside(0);
        let (columns, column_offset, column_stride, left) = inside(1);
        let rows = rows.start.max(block.start)..rows.end.min(block.end);
        if rows.is_empty() || columns.is_empty() {
            return None;
        }
        let y = rows.start * row_stride + row_offset - top;
        let x = columns.start * column_stride + column_offset - left;
        let channels = [self.shape.in_channels, self.shape.out_channels];
        let pixels = [y * map.input[1] + x, rows.start * map.output[1] + columns.start];
        Some(Window {
            rows: rows.len(),
            columns: columns.len(),
            start: [pixels[0] * channels[0], pixels[1] * channels[1]],
            row_step: [row_stride * map.input[1] * channels[0], map.output[1] * channels[1]],
            step: [column_stride * channels[0], channels[1]],
        })
    }

    /// Adds the pixels of one tap, tile by tile of the channels.
    #[inline(always)]
    fn tap<S: Simd>(&mut self, simd: S, map: &Map<'_>, tap: usize, window: Window) {
        let tile = TileShape::new::<S>();
        let area = self.shape.kernel[0] * self.shape.kernel[1];
        let inputs = self.shape.in_channels / self.shape.groups;
        let outputs = self.shape.out_channels / self.shape.groups;
        for group in 0..self.shape.groups {
            for input in (0..inputs).step_by(tile.rows) {
                for output in (0..outputs).step_by(tile.lanes * tile.vectors) {
                    let mut window = window;
                    window.start[0] += group * inputs + input;
                    window.start[1] += group * outputs + output;
                    let first = ((group * area + tap) * inputs + input) * self.padded + output;
                    let tile = Tile {
                        map: *map,
                        window,
                        sums: &mut self.sums[first..],
                        padded: self.padded,
                        columns: (tile.lanes * tile.vectors).min(outputs - output),
                    };
                    tile.with_rows(simd, TileShape::new::<S>().rows.min(inputs - input));
                }
            }
        }
    }
}

/// A register tile of sums.
struct Tile<'a> {
    map: Map<'a>,
    window: Window,
    /// From the first of the tile on, with rows `padded` apart.
    sums: &'a mut [f32],
    padded: usize,
    /// Output channels, without the zeros.
    columns: usize,
}

impl Tile<'_> {
    #[inline(always)]
    fn with_rows<S: Simd>(self, simd: S, rows: usize) {
        let most = TileShape::new::<S>().rows;
        match rows {
            1 => self.with_vectors::<S, 1>(simd),
            2 => self.with_vectors::<S, 2>(simd),
            3 => self.with_vectors::<S, 3>(simd),
            4 => self.with_vectors::<S, 4>(simd),
            5 => self.with_vectors::<S, 5>(simd),
            6 => self.with_vectors::<S, 6>(simd),
            7 if most >= 7 => self.with_vectors::<S, 7>(simd),
            _ if most >= 8 => self.with_vectors::<S, 8>(simd),
            _ => unreachable!("a tile has no more rows than its shape says"),
        }
    }

    #[inline(always)]
    fn with_vectors<S: Simd, const ROWS: usize>(self, simd: S) {
        let most = TileShape::new::<S>().vectors;
        match self.columns.div_ceil(S::LANES) {
            1 => self.add::<S, ROWS, 1>(simd),
            2 => self.add::<S, ROWS, 2>(simd),
            3 if most >= 3 => self.add::<S, ROWS, 3>(simd),
            _ if most >= 4 => self.add::<S, ROWS, 4>(simd),
            _ => unreachable!("a tile is no wider than its shape says"),
        }
    }

    #[inline(always)]
    fn add<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        if self.columns == VECTORS * S::LANES {
            simd.outline(Pixels::<ROWS, VECTORS, true>(self));
        } else {
            simd.outline(Pixels::<ROWS, VECTORS, false>(self));
        }
    }
}

/// The sums of a tile over all pixels of its window; `FULL` if the columns fill
/// all vectors.
struct Pixels<'a, const ROWS: usize, const VECTORS: usize, const FULL: bool>(Tile<'a>);

impl<const ROWS: usize, const VECTORS: usize, const FULL: bool> Operation
    for Pixels<'_, ROWS, VECTORS, FULL>
{
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Tile { map, window, sums: target, padded, columns } = self.0;
        let width = if FULL { VECTORS * S::LANES } else { columns };
        let Window { rows, columns, start, row_step, step } = window;
        let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
        for row in 0..rows {
            let x = &map.x[start[0] + row * row_step[0]..];
            let gy = &map.gy[start[1] + row * row_step[1]..];
            let x = strided(x, step[0], ROWS, columns);
            for (x, gy) in x.zip(strided(gy, step[1], width, columns)) {
                let factors: &[f32; ROWS] = x.first_chunk().expect("width of the pieces");
                let mut vectors = [simd.splat(0.0); VECTORS];
                for (vector, gy) in vectors.iter_mut().zip(gy.chunks(S::LANES)) {
                    *vector = if FULL { simd.load(gy) } else { simd.load_partial(gy) };
                }
                for (sums, &factor) in sums.iter_mut().zip(factors) {
                    let factor = simd.splat(factor);
                    for (sum, &gy) in sums.iter_mut().zip(&vectors) {
                        *sum = simd.fma(factor, gy, *sum);
                    }
                }
            }
        }
        for (target, sums) in target.chunks_mut(padded).zip(&sums) {
            for (target, &sum) in target.chunks_exact_mut(S::LANES).zip(sums) {
                simd.store(simd.add(simd.load(target), sum), target);
            }
        }
    }
}
