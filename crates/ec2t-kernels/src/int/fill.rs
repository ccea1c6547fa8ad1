//! Copies what a tile reads, a block of channels, as [`Layout`] says.

use std::ops::Range;

use super::layout::{Layout, Tile};
use crate::arch::{Operation, Simd};

/// Copies some channels of the input for a tile.
pub(super) struct Fill<'a> {
    pub(super) layout: &'a Layout,
    pub(super) tile: Tile,
    pub(super) channels: Range<usize>,
    pub(super) input: &'a [u8],
    /// What stands for zero.
    pub(super) padding: u8,
    pub(super) copy: &'a mut [u8],
}

impl Operation for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { layout, tile, channels, input, padding, copy } = self;
        let plane = layout.shape.input_plane();
        let [tap_rows, tap_columns] = layout.copies();
        for tap in 0..tap_columns {
            let columns = Columns::new(layout, tile, tap);
            for tap_row in 0..tap_rows {
                let rows = Rows {
                    first: layout.source_row(tile.start[0], tap_row),
                    count: layout.copy_rows(tile.size[0]),
                    padding,
                };
                let start = (tap_row * tap_columns + tap) * layout.copy_len();
                let copies = copy[start..].chunks_mut(layout.channel_len());
                for (channel, copy) in channels.clone().zip(copies) {
                    let source = Source { input, start: channel * plane };
                    match columns.are_whole {
                        true => rows.shift(layout, source, &columns, copy),
                        false => rows.copy(simd, layout, source, &columns, copy),
                    }
                }
            }
        }
    }
}

/// A channel of the input.
#[derive(Clone, Copy)]
struct Source<'a> {
    input: &'a [u8],
    /// Where it starts.
    start: usize,
}

/// What a column of taps reads of each row.
struct Columns {
    /// Source column of the first pixel, which may be in the padding.
    first: isize,
    stride: usize,
    /// Pixels of the tile's rows.
    count: usize,
    /// Those that are not in the padding.
    inside: Range<usize>,
    /// Whether rows of the tile and of the input have the same length, and a row lies one
    /// step of the copy below the other.
    are_whole: bool,
}

impl Columns {
    #[inline(always)]
    fn new(layout: &Layout, tile: Tile, tap: usize) -> Self {
        let [row_stride, stride] = layout.shape.stride;
        let width = layout.shape.input[1];
        let (first, count) = (layout.source_column(tile.start[1], tap), tile.size[1]);
        let start = ((-first).max(0) as usize).div_ceil(stride).min(count);
        let end = ((width as isize - first).max(0) as usize).div_ceil(stride);
        let is_shifted = first.unsigned_abs() < width;
        let is_dense = row_stride == 1 && stride == 1 && count == width;
        Self {
            first,
            stride,
            count,
            inside: start..end.clamp(start, count),
            are_whole: is_dense && is_shifted && count == layout.pitch(),
        }
    }
}

/// Rows of a copy.
#[derive(Clone, Copy)]
struct Rows {
    /// Source row of the first one, which may be in the padding.
    first: isize,
    count: usize,
    padding: u8,
}

impl Rows {
    /// All rows of a channel at once: the plane, shifted, and then the padding on one side.
    #[inline(always)]
    fn shift(self, layout: &Layout, source: Source<'_>, columns: &Columns, copy: &mut [u8]) {
        let [height, width] = layout.shape.input;
        let copy = &mut copy[..self.count * width];
        let above = ((-self.first).max(0) as usize).min(self.count);
        let first = self.first.max(0) as usize;
        let inside = height.saturating_sub(first).min(self.count - above);
        copy[..above * width].fill(self.padding);
        copy[(above + inside) * width..].fill(self.padding);
        let rows = &mut copy[above * width..][..inside * width];
        if inside == 0 {
            return;
        }
        // In the first and last channel the shift may lead beyond the input.
        let start = (source.start + first * width) as isize + columns.first;
        let before = (-start).max(0) as usize;
        let from = &source.input[start.max(0) as usize..];
        let len = from.len().min(rows.len() - before);
        rows[before..before + len].copy_from_slice(&from[..len]);
        self.pad(columns, width, rows);
    }

    /// Puts the padding into the columns outside of the image: mostly one, so that a fill of
    /// each row would take longer.
    #[inline(always)]
    fn pad(self, columns: &Columns, pitch: usize, rows: &mut [u8]) {
        let Columns { inside, count, .. } = columns;
        for column in (0..inside.start).chain(inside.end..*count) {
            for pixel in rows[column..].iter_mut().step_by(pitch).take(self.count) {
                *pixel = self.padding;
            }
        }
    }

    /// Row by row.
    #[inline(always)]
    fn copy<S: Simd>(
        self,
        simd: S,
        layout: &Layout,
        source: Source<'_>,
        columns: &Columns,
        copy: &mut [u8],
    ) {
        let [height, width] = layout.shape.input;
        let stride = layout.shape.stride[0];
        let Columns { inside, count, .. } = columns;
        self.pad(columns, layout.pitch(), copy);
        for (row, pixels) in copy.chunks_mut(layout.pitch()).take(self.count).enumerate() {
            let pixels = &mut pixels[..*count];
            let row = self.first + (row * stride) as isize;
            let row = usize::try_from(row).ok().filter(|row| *row < height && !inside.is_empty());
            let Some(row) = row else {
                pixels.fill(self.padding);
                continue;
            };
            // In the image, where a pixel is inside of it.
            let first = (columns.first + (inside.start * columns.stride) as isize) as usize;
            let from = &source.input[source.start + row * width + first..];
            let pixels = &mut pixels[inside.clone()];
            match columns.stride {
                1 => pixels.copy_from_slice(&from[..inside.len()]),
                2 => thin(simd, from, pixels),
                stride => pick(from, stride, pixels),
            }
        }
    }
}

/// Every second byte.
#[inline(always)]
fn thin<S: Simd>(simd: S, mut from: &[u8], to: &mut [u8]) {
    for to in to.chunks_mut(2 * S::LANES) {
        // At the end of the image a vector may lead beyond it.
        match from.split_at_checked(4 * S::LANES) {
            Some((pairs, rest)) => {
                simd.store_even(simd.load_pairs(pairs), to);
                from = rest;
            }
            None => {
                pick(from, 2, to);
                from = from.get(2 * to.len()..).unwrap_or_default();
            }
        }
    }
}

/// Every `stride`-th byte.
#[inline(always)]
fn pick(from: &[u8], stride: usize, to: &mut [u8]) {
    to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
}
