//! Copies what a tile reads, a block of channels, as [`Layout`] says.
//!
//! In two passes: rows of bytes are staged one below the other, with the padding that
//! belongs above and below; then they are read in whole vectors from the column of each
//! tap on, and widened. A vector that begins left of a row, or ends right of it, reads
//! what is beside the row in the stage: a mask puts the padding there.

use std::ops::Range;

use super::layout::Layout;
use crate::arch::{Operation, Simd};

/// Lanes of the longest vectors, or more.
pub(super) const MAX_LANES: usize = 64;

/// A rectangle of output pixels, in bands of whole vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// First row and column.
    pub(super) start: [usize; 2],
    pub(super) bands: usize,
    /// Vectors in a band.
    pub(super) vectors: usize,
}

/// Copies some channels of the input for a tile.
pub(super) struct Fill<'a> {
    pub(super) layout: &'a Layout,
    pub(super) tile: Tile,
    pub(super) channels: Range<usize>,
    pub(super) input: &'a [u8],
    /// What stands for zero.
    pub(super) padding: u8,
    pub(super) stage: &'a mut [u8],
    pub(super) copy: &'a mut [u16],
}

impl Operation for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        self.stage();
        match self.layout.shape.stride[1] {
            1 => self.widen::<S, 1>(simd),
            2 => self.widen::<S, 2>(simd),
            _ => self.widen::<S, 0>(simd),
        }
    }
}

impl Fill<'_> {
    /// Columns of the input that the tile reads.
    fn columns(&self) -> Range<usize> {
        let layout = self.layout;
        let start = layout.shape.padding[1].min(self.tile.start[1] * layout.shape.stride[1]);
        let start = self.tile.start[1] * layout.shape.stride[1] - start;
        let start = start.min(layout.shape.input[1]);
        start..(start + layout.line_len()).min(layout.shape.input[1])
    }

    /// Copies rows of bytes.
    #[inline(always)]
    fn stage(&mut self) {
        let layout = self.layout;
        let [height, width] = layout.shape.input;
        let (columns, line_len) = (self.columns(), layout.line_len());
        let lines = layout.lines(self.tile.bands);
        let stage = &mut self.stage[layout.margin()..];
        let channels = stage.chunks_exact_mut(lines * line_len);
        for (channel, stage) in self.channels.clone().zip(channels) {
            let plane = &self.input[channel * height * width..][..height * width];
            let first = layout.source_row(self.tile.start[0], self.tile.bands, 0);
            if layout.shares_rows && columns.len() == line_len && line_len == width {
                // All rows at once.
                let above = usize::try_from(-first).unwrap_or(0).min(lines);
                let row = usize::try_from(first).unwrap_or(0).min(height);
                let inside = (height - row).min(lines - above);
                let (before, rest) = stage.split_at_mut(above * width);
                let (rows, after) = rest.split_at_mut(inside * width);
                before.fill(self.padding);
                rows.copy_from_slice(&plane[row * width..][..inside * width]);
                after.fill(self.padding);
                continue;
            }
            for (line, bytes) in stage.chunks_exact_mut(line_len).enumerate() {
                let row = layout.source_row(self.tile.start[0], self.tile.bands, line);
                match usize::try_from(row).ok().filter(|row| *row < height) {
                    Some(row) => {
                        let from = &plane[row * width..][columns.clone()];
                        bytes[..columns.len()].copy_from_slice(from);
                    }
                    None => bytes.fill(self.padding),
                }
            }
        }
    }

    /// Fills the copies from the stage. `STRIDE` is that of the columns, 0 for any.
    #[inline(always)]
    fn widen<S: Simd, const STRIDE: usize>(&mut self, simd: S) {
        let layout = self.layout;
        let columns = layout.shape.kernel[1];
        for tap in 0..columns {
            for vector in 0..self.tile.vectors {
                let lanes = Lanes::new(simd, self, tap, vector);
                self.widen_tap::<S, STRIDE>(simd, tap, vector, &lanes);
            }
        }
    }

    /// One vector of each band, for one column of taps.
    #[inline(always)]
    fn widen_tap<S: Simd, const STRIDE: usize>(
        &mut self,
        simd: S,
        tap: usize,
        vector: usize,
        lanes: &Lanes<S>,
    ) {
        let Self { layout, ref stage, ref mut copy, .. } = *self;
        let bands = self.tile.bands;
        let [lines, line_len] = [layout.lines(bands), layout.line_len()];
        let [copy_bands, vectors] = [layout.copy_bands(), layout.vectors];
        for channel in 0..self.channels.len() {
            for group in 0..layout.groups() {
                let line = channel * lines + layout.line(bands, group, 0);
                let mut from = lanes.first.wrapping_add_unsigned(line * line_len);
                let band = (channel * layout.shape.kernel[1] + tap) * copy_bands;
                let band = band + layout.first_band(group);
                let to = &mut copy[(band * vectors + vector) * 2 * S::LANES..];
                let to = to.chunks_mut(vectors * 2 * S::LANES);
                for to in to.take(layout.group_bands(group, bands)) {
                    let bytes = match lanes.is_empty {
                        true => simd.splat_u16(0),
                        false => pick::<S, STRIDE>(simd, stage, from, layout.shape.stride[1]),
                    };
                    let inside = simd.and_u16(bytes, lanes.inside);
                    simd.store_u16(simd.or_u16(inside, lanes.padding), to);
                    from = from.wrapping_add_unsigned(layout.rows * line_len);
                }
            }
        }
    }
}

/// Every `stride`-th byte of the stage from a position on; `STRIDE` is the stride, or 0.
/// The margins hold what vectors read outside of the lines; where bytes are picked one by
/// one, there may be none.
#[inline(always)]
fn pick<S: Simd, const STRIDE: usize>(simd: S, stage: &[u8], from: isize, stride: usize) -> S::U16 {
    match STRIDE {
        1 => simd.widen(&stage[from as usize..]),
        2 => simd.widen_even(&stage[from as usize..]),
        _ => {
            let mut bytes = [0; MAX_LANES];
            for (lane, byte) in bytes[..2 * S::LANES].iter_mut().enumerate() {
                let place = from.wrapping_add_unsigned(lane * stride);
                let picked = usize::try_from(place).ok().and_then(|place| stage.get(place));
                *byte = picked.copied().unwrap_or(0);
            }
            simd.widen(&bytes)
        }
    }
}

/// What the lanes of a vector read for a column of taps.
struct Lanes<S: Simd> {
    /// Where the first lane of a tile's first row reads in the stage, if not all are in
    /// the padding.
    first: isize,
    /// Whether all lanes are in the padding.
    is_empty: bool,
    /// All bits of the lanes that are not in the padding.
    inside: S::U16,
    /// What stands for zero, in the others.
    padding: S::U16,
}

impl<S: Simd> Lanes<S> {
    #[inline(always)]
    fn new(simd: S, fill: &Fill<'_>, tap: usize, vector: usize) -> Self {
        let layout = fill.layout;
        let [stride, dilation] = [layout.shape.stride[1], layout.shape.dilation[1]];
        let [width, lanes] = [layout.shape.input[1], 2 * S::LANES];
        let pixel = fill.tile.start[1] + vector * lanes;
        let column = (pixel * stride + tap * dilation) as isize - layout.shape.padding[1] as isize;
        let (mut inside, mut padding) = ([0; MAX_LANES], [u16::from(fill.padding); MAX_LANES]);
        let mut is_empty = true;
        for row in 0..layout.rows {
            let first = row * (lanes / layout.rows);
            for lane in first..first + lanes / layout.rows {
                let column = column.wrapping_add_unsigned((lane - first) * stride);
                if (0..width as isize).contains(&column) {
                    (inside[lane], padding[lane], is_empty) = (u16::MAX, 0, false);
                }
            }
        }
        Self {
            first: (layout.margin() as isize + column) - fill.columns().start as isize,
            is_empty,
            inside: simd.load_u16(&inside),
            padding: simd.load_u16(&padding),
        }
    }
}
