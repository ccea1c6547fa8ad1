//! Copies what a tile reads, a block of channels, as [`Layout`] says.

use std::hint::black_box;
use std::ops::Range;

use super::layout::{Layout, MAX_VECTORS};
use crate::arch::{Operation, Simd, strided};

/// A rectangle of output pixels, in rows of whole vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// First row and column.
    pub(super) start: [usize; 2],
    /// Rows and columns.
    pub(super) size: [usize; 2],
    /// Vectors in a row of one phase, of which the last may be a part.
    pub(super) vectors: usize,
}

/// Copies some channels of the input for a tile.
pub(super) struct Fill<'a> {
    pub(super) layout: &'a Layout,
    pub(super) tile: Tile,
    pub(super) channels: Range<usize>,
    pub(super) input: &'a [f32],
    pub(super) copy: &'a mut [f32],
}

impl Operation for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Layout { shape, phases, .. } = self.layout;
        match (self.layout.is_centered(S::LANES), shape.stride, phases) {
            (true, [1, 1], 1) => self.centered::<S, 1>(simd),
            (true, [1, 1], _) => self.centered::<S, 2>(simd),
            (true, [_, 2], _) => self.halved(simd),
            _ => self.lines(simd),
        }
    }
}

impl Fill<'_> {
    /// Any kernel: line by line, for each column of taps anew.
    #[inline(always)]
    fn lines<S: Simd>(self, simd: S) {
        let Self { layout, tile, channels, input, copy } = self;
        let [height, width] = layout.shape.input;
        let plane = layout.shape.input_plane();
        let [row_stride, column_stride] = layout.shape.stride;
        let column_stride = column_stride * layout.phases;
        for tap in 0..layout.copies() {
            let first_column = layout.source_column(tile.start[1], tap);
            let count = tile.size[1].div_ceil(layout.phases);
            let columns = inside(first_column, column_stride, width, count);
            let lines = Lines {
                simd,
                masks: masks(simd, &columns),
                columns,
                vectors: tile.vectors,
                pitch: layout.tile[1],
                channel_len: layout.channel_len(),
                channels: channels.len(),
            };
            for group in 0..layout.row_groups() {
                let first_row = layout.source_row(tile.start[0], group);
                let count = layout.group_rows(group, tile.size[0]);
                let rows = inside(first_row, row_stride, height, count);
                let copy = &mut copy[layout.copy_row(tap, group) * layout.tile[1]..];
                lines.zero(0..rows.start, copy);
                lines.zero(rows.end..count, copy);
                if rows.is_empty() {
                    continue;
                }
                let row = first_row + (rows.start * row_stride) as isize;
                let source = Source {
                    input,
                    start: (channels.start * plane) as isize + row * width as isize + first_column,
                    row_step: row_stride * width,
                    channel_step: plane,
                };
                let copy = &mut copy[rows.start * layout.tile[1]..];
                match column_stride {
                    1 => lines.copy::<1>(source, rows.len(), copy),
                    2 => lines.copy::<2>(source, rows.len(), copy),
                    stride => lines.pick(source, stride, 0..channels.len(), rows.len(), copy),
                }
            }
        }
    }

    /// Kernels of three columns over rows that are one vector of each of `P` phases:
    /// each row is read once, and shifted in registers.
    #[inline(always)]
    fn centered<S: Simd, const P: usize>(self, simd: S) {
        let Self { layout, tile, channels, input, copy } = self;
        let [height, width] = layout.shape.input;
        let plane = height * width;
        let first_row = layout.source_row(tile.start[0], 0);
        let count = layout.group_rows(0, tile.size[0]);
        let rows = inside(first_row, 1, height, count);
        // Negative where all rows are in the padding: then none is read.
        let first_inside = usize::try_from(first_row + rows.start as isize).unwrap_or(0);
        let source_len = rows.len() * width;
        for (channel, copy) in channels.zip(copy.chunks_exact_mut(layout.channel_len())) {
            let first = channel * plane + first_inside * width;
            let source = input.get(first..first + source_len).unwrap_or_default();
            // The next channel lies too far for the hardware to see.
            let next = input.get(first + plane..first + plane + source_len).unwrap_or(source);
            let (first, rest) = copy.split_at_mut(copy.len() / (P + 2));
            let (second, rest) = rest.split_at_mut(rest.len() / (P + 1));
            let (third, fourth) = rest.split_at_mut(rest.len() / P);
            for copy in [&mut *first, &mut *second, &mut *third, &mut *fourth] {
                // With one phase there is no fourth copy.
                if let Some(copy) = copy.get_mut(..count * S::LANES) {
                    zero_vectors(simd, &mut copy[..rows.start * S::LANES]);
                    zero_vectors(simd, &mut copy[rows.end * S::LANES..]);
                }
            }
            let skipped = rows.start * S::LANES;
            let first = first[skipped..].chunks_exact_mut(S::LANES);
            let second = second[skipped..].chunks_exact_mut(S::LANES);
            let third = third[skipped..].chunks_exact_mut(S::LANES);
            let fourth = fourth.get_mut(skipped..).unwrap_or_default().chunks_exact_mut(S::LANES);
            let lines = source.chunks_exact(P * S::LANES).zip(next.chunks_exact(P * S::LANES));
            shift_rows::<S, P>(simd, lines, first.zip(second).zip(third), fourth);
        }
    }

    /// The same where every second column counts, and rows are two vectors: tap columns
    /// read the odd ones shifted, the even and the odd ones.
    #[inline(always)]
    fn halved<S: Simd>(self, simd: S) {
        let Self { layout, tile, channels, input, copy } = self;
        let ([height, width], stride) = (layout.shape.input, layout.shape.stride[0]);
        let planes = input.chunks_exact(height * width).skip(channels.start).take(channels.len());
        for (plane, copy) in planes.zip(copy.chunks_exact_mut(layout.channel_len())) {
            let (first, rest) = copy.split_at_mut(copy.len() / 3);
            let (second, third) = rest.split_at_mut(rest.len() / 2);
            for group in 0..layout.row_groups() {
                let first_row = layout.source_row(tile.start[0], group);
                let count = layout.group_rows(group, tile.size[0]);
                let rows = inside(first_row, stride, height, count);
                let start = layout.copy_row(0, group) * S::LANES;
                let (begin, end) = (start + rows.start * S::LANES, start + rows.end * S::LANES);
                for copy in [&mut *first, &mut *second, &mut *third] {
                    zero_vectors(simd, &mut copy[start..begin]);
                    zero_vectors(simd, &mut copy[end..start + count * S::LANES]);
                }
                // Negative where all rows are in the padding: then none is read.
                let row = first_row + (rows.start * stride) as isize;
                let source = &plane[usize::try_from(row).unwrap_or(0).min(height) * width..];
                let first = first[begin..end].chunks_exact_mut(S::LANES);
                let second = second[begin..end].chunks_exact_mut(S::LANES);
                let third = third[begin..end].chunks_exact_mut(S::LANES);
                let lines = strided(source, stride * width, 2 * S::LANES, rows.len());
                for (line, ((first, second), third)) in lines.zip(first.zip(second).zip(third)) {
                    let [low, high] = [simd.load(line), simd.load(&line[S::LANES..])];
                    let [even, odd] = simd.deinterleave(low, high);
                    simd.store(simd.shift_up(odd), first);
                    simd.store(even, second);
                    simd.store(odd, third);
                }
            }
        }
    }
}

/// Copies rows of one vector of each of `P` phases, shifted for each column of taps; asks
/// for the row that comes with each.
#[inline(always)]
fn shift_rows<'a, S: Simd, const P: usize>(
    simd: S,
    lines: impl Iterator<Item = (&'a [f32], &'a [f32])>,
    places: impl Iterator<Item = ((&'a mut [f32], &'a mut [f32]), &'a mut [f32])>,
    fourth: impl Iterator<Item = &'a mut [f32]>,
) {
    if P == 1 {
        for ((line, next), ((first, second), third)) in lines.zip(places) {
            simd.prefetch(next);
            let column = simd.load(line);
            simd.store(simd.shift_up(column), first);
            simd.store(column, second);
            simd.store(simd.shift_down(column), third);
        }
    } else {
        let places = places.zip(fourth);
        for ((line, next), (((first, second), third), fourth)) in lines.zip(places) {
            simd.prefetch(next);
            let [low, high] = [simd.load(line), simd.load(&line[S::LANES..])];
            let [even, odd] = simd.deinterleave(low, high);
            simd.store(simd.shift_up(odd), first);
            simd.store(even, second);
            simd.store(odd, third);
            simd.store(simd.shift_down(even), fourth);
        }
    }
}

/// Writes zeros.
#[inline(always)]
fn zero_vectors<S: Simd>(simd: S, values: &mut [f32]) {
    // A zero that compilers see would make them call `memset` for each short row.
    let zero = simd.splat(black_box(0.0));
    for values in values.chunks_exact_mut(S::LANES) {
        simd.store(zero, values);
    }
}

/// The positions of `count` that are not in the padding, if the first one reads
/// `first` of `extent` and the others each `stride` more.
#[inline(always)]
fn inside(first: isize, stride: usize, extent: usize, count: usize) -> Range<usize> {
    let start = ((-first).max(0) as usize).div_ceil(stride).min(count);
    let end = (extent as isize - first).max(0) as usize;
    start..end.div_ceil(stride).clamp(start, count)
}

/// For each vector of a row, the lanes of the columns inside.
#[inline(always)]
fn masks<S: Simd>(simd: S, columns: &Range<usize>) -> [S::Mask; MAX_VECTORS] {
    let mut masks = [simd.mask_from_bits(0); MAX_VECTORS];
    for (vector, mask) in masks.iter_mut().enumerate() {
        let lane = |end: usize| end.saturating_sub(vector * S::LANES).min(S::LANES);
        let bits = (1_u32 << lane(columns.end)) - (1_u32 << lane(columns.start));
        *mask = simd.mask_from_bits(bits as u16);
    }
    masks
}

/// Where rows of some channels are read.
#[derive(Clone, Copy)]
struct Source<'a> {
    input: &'a [f32],
    /// Where the first pixel of the first row reads; if that is in the padding, a place
    /// in another row or outside of the input.
    start: isize,
    /// Values between rows and between channels.
    row_step: usize,
    channel_step: usize,
}

/// Rows of some channels of the copy, for one column of taps.
struct Lines<S: Simd> {
    simd: S,
    /// Columns that are not in the padding, and for each vector the lanes of them.
    columns: Range<usize>,
    masks: [S::Mask; MAX_VECTORS],
    /// Vectors in a row.
    vectors: usize,
    /// Values between rows and between channels.
    pitch: usize,
    channel_len: usize,
    channels: usize,
}

impl<S: Simd> Lines<S> {
    /// The rows are in the padding.
    #[inline(always)]
    fn zero(&self, rows: Range<usize>, copy: &mut [f32]) {
        // A zero that compilers see would make them call `memset` for each short row.
        let zero = self.simd.splat(black_box(0.0));
        for row in rows {
            for channel in 0..self.channels {
                let first = channel * self.channel_len + row * self.pitch;
                let line = &mut copy[first..][..self.vectors * S::LANES];
                for to in line.chunks_exact_mut(S::LANES) {
                    self.simd.store(zero, to);
                }
            }
        }
    }

    /// Copies every `STRIDE`-th value in whole vectors; in channels at the ends of the
    /// input, where these may reach beyond it, value by value.
    #[inline(always)]
    fn copy<const STRIDE: usize>(&self, source: Source<'_>, rows: usize, copy: &mut [f32]) {
        let Source { input, start, row_step, channel_step } = source;
        let length = (rows - 1) * row_step + STRIDE * self.vectors * S::LANES;
        let is_whole = |channel: usize| {
            let first = start + (channel * channel_step) as isize;
            first >= 0 && first as usize + length <= input.len()
        };
        let begin = (0..self.channels).find(|c| is_whole(*c)).unwrap_or(self.channels);
        let end = (begin..self.channels).rfind(|c| is_whole(*c)).map_or(begin, |last| last + 1);
        self.pick(source, STRIDE, 0..begin, rows, copy);
        self.pick(source, STRIDE, end..self.channels, rows, copy);
        match self.vectors {
            1 => self.copy_vectors::<STRIDE, 1>(source, begin..end, rows, copy),
            2 => self.copy_vectors::<STRIDE, 2>(source, begin..end, rows, copy),
            3 => self.copy_vectors::<STRIDE, 3>(source, begin..end, rows, copy),
            4 => self.copy_vectors::<STRIDE, 4>(source, begin..end, rows, copy),
            5 => self.copy_vectors::<STRIDE, 5>(source, begin..end, rows, copy),
            6 => self.copy_vectors::<STRIDE, 6>(source, begin..end, rows, copy),
            7 => self.copy_vectors::<STRIDE, 7>(source, begin..end, rows, copy),
            _ => self.copy_vectors::<STRIDE, MAX_VECTORS>(source, begin..end, rows, copy),
        }
    }

    /// Lanes in the padding hold what lies around the row in memory, until they are
    /// masked out.
    #[inline(always)]
    fn copy_vectors<const STRIDE: usize, const V: usize>(
        &self,
        source: Source<'_>,
        channels: Range<usize>,
        rows: usize,
        copy: &mut [f32],
    ) {
        if channels.is_empty() {
            return;
        }
        let simd = self.simd;
        let first = source.start + (channels.start * source.channel_step) as isize;
        let input = &source.input[first as usize..];
        let row_len = STRIDE * V * S::LANES;
        let channel_len = (rows - 1) * source.row_step + row_len;
        let masks = self.masks.first_chunk::<V>().expect("one for each vector");
        let mut first = channels.start * self.channel_len;
        for channel in strided(input, source.channel_step, channel_len, channels.len()) {
            let mut rest = &mut copy[first..];
            for row in strided(channel, source.row_step, row_len, rows) {
                for (v, mask) in masks.iter().enumerate() {
                    let from = &row[v * STRIDE * S::LANES..];
                    let values = if STRIDE == 1 { simd.load(from) } else { simd.load_even(from) };
                    let values = simd.select(*mask, values, simd.splat(0.0));
                    simd.store(values, &mut rest[v * S::LANES..]);
                }
                rest = rest.get_mut(self.pitch..).unwrap_or_default();
            }
            first += self.channel_len;
        }
    }

    /// Copies every `stride`-th value, one by one.
    #[inline(always)]
    fn pick(
        &self,
        source: Source<'_>,
        stride: usize,
        channels: Range<usize>,
        rows: usize,
        copy: &mut [f32],
    ) {
        for channel in channels {
            for row in 0..rows {
                let line = &mut copy[channel * self.channel_len + row * self.pitch..];
                let line = &mut line[..self.vectors * S::LANES];
                let before = channel * source.channel_step + row * source.row_step;
                for (x, to) in line.iter_mut().enumerate() {
                    let place = source.start + (before + x * stride) as isize;
                    let is_inside = self.columns.contains(&x);
                    *to = if is_inside { source.input[place as usize] } else { 0.0 };
                }
            }
        }
    }
}
