//! Copies what a tile reads, a block of channels, as [`Layout`] says.

use std::ops::Range;

use super::MAX_LANES;
use super::layout::{Layout, Tile};
use crate::arch::{Operation, Simd, strided};

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
        let [row_copies, column_copies] = layout.copies();
        for tap in 0..column_copies {
            let columns = Columns {
                first: layout.source_column(tile.start[1], tap),
                count: tile.size[1],
                inside: layout.inside(tile.start[1], tap, tile.size[1]),
            };
            for row_copy in 0..row_copies {
                let rows = Rows {
                    simd,
                    layout,
                    first: layout.source_row(tile.start[0], row_copy),
                    count: layout.copy_rows(row_copy, tile.size[0]),
                    padding,
                };
                let start = (row_copy * column_copies + tap) * layout.copy_len();
                let copies = copy[start..].chunks_mut(layout.channel_len());
                let copies = channels.clone().map(|channel| channel * plane).zip(copies);
                match layout.border(rows.first, tap) {
                    Some(border) => rows.shift(input, columns.first, border, copies),
                    None => rows.copy(input, &columns, copies),
                }
            }
        }
    }
}

/// What a column of taps reads of each row.
struct Columns {
    /// Source column of the first pixel, which may be in the padding.
    first: isize,
    /// Pixels of the tile's rows.
    count: usize,
    /// Those that are not in the padding.
    inside: Range<usize>,
}

/// Rows of a copy.
#[derive(Clone, Copy)]
struct Rows<'a, S> {
    simd: S,
    layout: &'a Layout,
    /// Source row of the first one, which may be in the padding.
    first: isize,
    count: usize,
    padding: u8,
}

impl<S: Simd> Rows<'_, S> {
    /// All rows in whole vectors, for planes from some places on.
    #[inline(always)]
    fn shift<'c>(
        self,
        input: &[u8],
        first_column: isize,
        border: &[u8],
        copies: impl Iterator<Item = (usize, &'c mut [u8])>,
    ) {
        let pitch = self.layout.pitch();
        let len = (self.count * pitch).next_multiple_of(4 * S::LANES);
        let first = self.first * pitch as isize + first_column;
        let Self { simd, padding, .. } = self;
        let shift = Shift { simd, input, border: &border[..len], padding };
        let copies = copies.map(|(plane, copy)| (plane as isize + first, copy));
        // A single vector, as small images have, in a loop that knows it.
        let lanes = 4 * S::LANES;
        match len == lanes {
            true => Shift { border: &border[..lanes], ..shift }.run(copies),
            false => shift.run(copies),
        }
    }

    /// Row by row, for planes from some places on. A row may be written beyond its end, before
    /// the next one is.
    #[inline(always)]
    fn copy<'c>(
        self,
        input: &[u8],
        columns: &Columns,
        copies: impl Iterator<Item = (usize, &'c mut [u8])>,
    ) {
        let Self { simd, layout, .. } = self;
        let pitch = layout.pitch();
        let ([height, width], [row_stride, stride]) = (layout.shape.input, layout.shape.stride);
        let inside = columns.inside.clone();
        let above = ((-self.first).max(0) as usize).div_ceil(row_stride).min(self.count);
        let end = ((height as isize - self.first).max(0) as usize).div_ceil(row_stride);
        let end = end.clamp(above, self.count);
        // The first pixel that is inside of the image, if there is one.
        let row = self.first + (above * row_stride) as isize;
        let column = columns.first + (inside.start * stride) as isize;
        let first = row * width as isize + column;
        let (rows, steps) = (end - above, [row_stride * width, pitch]);
        for (plane, copy) in copies {
            let copy = &mut copy[..self.count * pitch];
            self.pad_rows(&mut copy[..above * pitch]);
            if rows > 0 && !inside.is_empty() {
                let from = &input[plane + first as usize..];
                let to = &mut copy[above * pitch + inside.start..];
                match stride {
                    1 => each_row(from, to, rows, steps, |from, to| {
                        to[..inside.len()].copy_from_slice(&from[..inside.len()]);
                    }),
                    2 => thin(simd, from, to, [rows, inside.len()], steps),
                    stride => each_row(from, to, rows, steps, |from, to| {
                        pick(from, stride, &mut to[..inside.len()]);
                    }),
                }
            }
            self.pad_rows(&mut copy[end * pitch..]);
            self.pad(columns, copy);
        }
    }

    /// Puts the padding into whole rows: mostly none, for which a call would take longer.
    #[inline(always)]
    fn pad_rows(self, rows: &mut [u8]) {
        if !rows.is_empty() {
            rows.fill(self.padding);
        }
    }

    /// Puts the padding into the columns outside of the image: mostly one, so that a fill of
    /// each row would take longer.
    #[inline(always)]
    fn pad(self, columns: &Columns, copy: &mut [u8]) {
        let Columns { inside, count, .. } = columns;
        for column in (0..inside.start).chain(inside.end..*count) {
            for pixel in copy[column..].iter_mut().step_by(self.layout.pitch()).take(self.count) {
                *pixel = self.padding;
            }
        }
    }
}

/// Parts of planes with the padding around them.
struct Shift<'a, S> {
    simd: S,
    input: &'a [u8],
    /// 0 in the padding, 255 elsewhere; whole vectors.
    border: &'a [u8],
    padding: u8,
}

impl<S: Simd> Shift<'_, S> {
    /// Copies the parts from some places on, which in the first and last channel may lie
    /// beyond the input.
    #[inline(always)]
    fn run<'c>(self, copies: impl Iterator<Item = (isize, &'c mut [u8])>) {
        let Self { simd, input, border, padding } = self;
        let lanes = 4 * S::LANES;
        let padding = simd.splat_u16(u16::from_ne_bytes([padding; 2]));
        for (start, copy) in copies {
            let places = border.chunks_exact(lanes).zip(copy.chunks_exact_mut(lanes));
            let inside = usize::try_from(start).ok();
            match inside.and_then(|start| input.get(start..start + border.len())) {
                Some(input) => {
                    for ((border, place), pixels) in places.zip(input.chunks_exact(lanes)) {
                        let [border, pixels] = [simd.load_pairs(border), simd.load_pairs(pixels)];
                        simd.store_bytes(simd.blend_u16(border, pixels, padding), place);
                    }
                }
                None => {
                    for (first, (border, place)) in (start..).step_by(lanes).zip(places) {
                        let border = simd.load_pairs(border);
                        let pixels = simd.load_pairs(&vector_at(input, first, lanes));
                        simd.store_bytes(simd.blend_u16(border, pixels, padding), place);
                    }
                }
            }
        }
    }
}

/// So many bytes from a place on that may lie outside; anything where there are none.
#[inline(always)]
fn vector_at(input: &[u8], first: isize, lanes: usize) -> [u8; MAX_LANES] {
    let mut bytes = [0; MAX_LANES];
    let skipped = ((-first).max(0) as usize).min(lanes);
    let from = input.get(first.max(0) as usize..).unwrap_or_default();
    let len = from.len().min(lanes - skipped);
    bytes[skipped..skipped + len].copy_from_slice(&from[..len]);
    bytes
}

/// Calls a function for rows that lie so far apart in the source and in the copy.
#[inline(always)]
fn each_row(
    from: &[u8],
    to: &mut [u8],
    rows: usize,
    steps: [usize; 2],
    copy: impl Fn(&[u8], &mut [u8]),
) {
    for row in 0..rows {
        copy(&from[row * steps[0]..], &mut to[row * steps[1]..]);
    }
}

/// Copies every second byte of rows, `columns` of each. The last vector of a row may reach
/// into the next row, so it goes first.
#[inline(always)]
pub(super) fn thin<S: Simd>(
    simd: S,
    from: &[u8],
    to: &mut [u8],
    [rows, columns]: [usize; 2],
    steps: [usize; 2],
) {
    let lanes = 4 * S::LANES;
    for column in (0..columns).step_by(lanes / 2).rev() {
        let (from, to) = (&from[2 * column..], &mut to[column..]);
        // At the end of the input a vector may lead beyond it.
        let whole = match from.len() >= (rows - 1) * steps[0] + lanes {
            true => rows,
            false => from.len().checked_sub(lanes).map_or(0, |room| room / steps[0] + 1),
        };
        for (row, pixels) in strided(from, steps[0], lanes, whole).enumerate() {
            simd.store_even(simd.load_pairs(pixels), &mut to[row * steps[1]..]);
        }
        for row in whole..rows {
            let left = (columns - column).min(lanes / 2);
            pick(&from[row * steps[0]..], 2, &mut to[row * steps[1]..][..left]);
        }
    }
}

/// Every `stride`-th byte.
#[inline(always)]
fn pick(from: &[u8], stride: usize, to: &mut [u8]) {
    to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
}
