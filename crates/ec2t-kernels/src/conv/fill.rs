//! Copies what a tile reads, a block of channels, as [`Layout`] says.

use std::ops::Range;

use super::layout::Layout;
use crate::arch::Simd;

/// A rectangle of output pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// First row and column.
    pub(super) start: [usize; 2],
    /// Rows and columns.
    pub(super) size: [usize; 2],
}

/// A row of the source, as one column of taps reads it.
struct Line<'a> {
    /// The input, from the first value of the channel on.
    image: &'a [f32],
    /// First value of the row.
    row: usize,
    /// Columns of the row.
    width: usize,
    /// Column that the first pixel reads; it may lie in the padding.
    column: isize,
    stride: usize,
}

/// Copies `channels` of the input for a tile.
#[inline(always)]
pub(super) fn fill<S: Simd>(
    simd: S,
    layout: &Layout,
    tile: Tile,
    channels: Range<usize>,
    input: &[f32],
    copy: &mut [f32],
) {
    let plane = layout.shape.input_plane();
    for (channel, copy) in channels.zip(copy.chunks_exact_mut(layout.channel_len())) {
        fill_channel(simd, layout, tile, &input[channel * plane..], copy);
    }
}

#[inline(always)]
fn fill_channel<S: Simd>(simd: S, layout: &Layout, tile: Tile, image: &[f32], copy: &mut [f32]) {
    let [height, width] = layout.shape.input;
    let stride = layout.shape.stride[1];
    let count = tile.size[1];
    for (tap, copy) in copy.chunks_exact_mut(layout.copy_rows() * layout.tile[1]).enumerate() {
        let column = layout.source_column(tile.start[1], tap);
        for (row, line) in copy.chunks_exact_mut(layout.tile[1]).enumerate() {
            let line = &mut line[..count.next_multiple_of(S::LANES)];
            let source = usize::try_from(layout.source_row(tile.start[0], row));
            match source.ok().filter(|source| *source < height) {
                Some(source) => {
                    let row = source * width;
                    Line { image, row, width, column, stride }.copy(simd, count, line);
                }
                None => zero(simd, line),
            }
        }
    }
}

impl Line<'_> {
    /// Copies `count` pixels and as many zeros as fill whole vectors; pixels in the
    /// padding are 0.
    #[inline(always)]
    fn copy<S: Simd>(&self, simd: S, count: usize, line: &mut [f32]) {
        let inside = self.inside(count);
        match self.stride {
            1 => self.shift(simd, inside, line),
            _ => {
                zero(simd, line);
                let first = self.row as isize + self.column + (inside.start * self.stride) as isize;
                let source = usize::try_from(first).ok().and_then(|first| self.image.get(first..));
                thin(source.unwrap_or_default(), self.stride, &mut line[inside]);
            }
        }
    }

    /// The pixels that are not in the padding.
    #[inline(always)]
    fn inside(&self, count: usize) -> Range<usize> {
        let first = (-self.column).max(0) as usize;
        let end = (self.width as isize - self.column).max(0) as usize;
        let first = first.div_ceil(self.stride).min(count);
        first..end.div_ceil(self.stride).clamp(first, count)
    }

    /// Copies a shifted row: whole vectors, with what comes before and after it in
    /// memory masked out; near the ends of the input, value by value.
    #[inline(always)]
    fn shift<S: Simd>(&self, simd: S, inside: Range<usize>, line: &mut [f32]) {
        let start = self.row as isize + self.column;
        let source = usize::try_from(start).ok();
        match source.and_then(|start| self.image.get(start..start + line.len())) {
            Some(source) => {
                let vectors = source.chunks_exact(S::LANES).zip(line.chunks_exact_mut(S::LANES));
                for (vector, (from, to)) in vectors.enumerate() {
                    let bits = bits_inside::<S>(vector * S::LANES, &inside);
                    simd.store(masked(simd, bits, simd.load(from)), to);
                }
            }
            None => {
                zero(simd, line);
                if !inside.is_empty() {
                    let first = (start + inside.start as isize) as usize;
                    line[inside.clone()].copy_from_slice(&self.image[first..][..inside.len()]);
                }
            }
        }
    }
}

/// A bit for each lane of the vector that starts at `position`: whether its pixel is
/// inside.
#[inline(always)]
fn bits_inside<S: Simd>(position: usize, inside: &Range<usize>) -> u16 {
    let lane = |end: usize| end.saturating_sub(position).min(S::LANES);
    ((1_u32 << lane(inside.end)) - (1_u32 << lane(inside.start))) as u16
}

/// Zero in the lanes whose bit is not set.
#[inline(always)]
fn masked<S: Simd>(simd: S, bits: u16, vector: S::F32) -> S::F32 {
    match u32::from(bits) == (1_u32 << S::LANES) - 1 {
        true => vector,
        false => simd.select(simd.mask_from_bits(bits), vector, simd.splat(0.0)),
    }
}

#[inline(always)]
fn zero<S: Simd>(simd: S, line: &mut [f32]) {
    for to in line.chunks_exact_mut(S::LANES) {
        simd.store(simd.splat(0.0), to);
    }
}

/// Every `stride`-th value.
#[inline(always)]
fn thin(source: &[f32], stride: usize, line: &mut [f32]) {
    // Pairs are a shape that compilers turn into vector instructions.
    let pairs = if stride == 2 { source.as_chunks::<2>().0 } else { &[] };
    for (value, [even, _]) in line.iter_mut().zip(pairs) {
        *value = *even;
    }
    for (value, from) in line.iter_mut().zip(source.iter().step_by(stride)).skip(pairs.len()) {
        *value = *from;
    }
}
