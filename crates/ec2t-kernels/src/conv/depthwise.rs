//! Depthwise convolutions: each group has one input channel.
//!
//! An output has so few taps that lists and offsets would cost more than the products.
//! Here loops over the taps are unrolled:
//!
//! ```text
//! for some input channels                           // what is read fits into the cache
//!     for each strip of output rows
//!         copy what it reads, with its padding
//!         for each tile of R rows of the strip
//!             for each output channel, and vector of columns
//!                 for each column of taps           // its weights in registers
//!                     for each row that the tile reads
//!                         all sums that it belongs to += weight · row
//! ```
//!
//! So each row is loaded once for each column of taps. With a stride of 2 even and odd
//! columns lie apart in the copy, and each tap finds its pixels in a row again.
//!
//! As in [`dense`](super::dense), product and sum are rounded each, and the order of the
//! additions, column by column, is the same for all instruction sets.

use std::iter;
use std::ops::Range;

use super::finish::{Destination, Finish};
use super::layout::{MAX_VECTORS, pieces, rows_of};
use super::{ALIGNMENT, ConvPart, ConvWork};
use crate::arch::{Isa, Operation, Simd, strided};
use crate::shape::ConvShape;

/// Bytes of the copy: half of a small first-level cache.
const STRIP_BYTES: usize = 16 << 10;

/// A packed depthwise convolution.
#[derive(Clone, Debug)]
pub(super) struct Depthwise {
    shape: ConvShape,
    isa: Isa,
    rows: Rows,
    /// Output rows of a tile and of a strip.
    tile: usize,
    strip: usize,
    /// Input channels that are copied together.
    channels: usize,
    /// `[O, KW, KH]`.
    weights: Vec<f32>,
}

/// Where a row of the input lies in its row of the copy, `[phases][pitch]`.
///
/// Column `x` of the padded input has the phase `x % phases` and the place
/// `origins[phase] + x / phases`, where `phases` is the stride.
#[derive(Clone, Copy, Debug)]
struct Rows {
    phases: usize,
    pitch: usize,
    /// Of each phase, so that its first column of the input is at a whole vector.
    origins: [usize; 2],
    /// Columns of padding before the first one of the input.
    left: usize,
    /// Vectors of a row of the output.
    vectors: usize,
}

impl Rows {
    fn new(shape: &ConvShape, lanes: usize) -> Self {
        let (phases, left) = (shape.stride[1], shape.padding[1]);
        let inputs = shape.input[1].div_ceil(phases * lanes);
        let vectors = shape.output[1].div_ceil(lanes);
        let origins = [0, 1].map(|phase| {
            // With one or two phases.
            let first = (left + (phase + left) % phases) / phases;
            first.next_multiple_of(lanes) - first
        });
        let origin = origins[0].max(origins[1]);
        let written = left.div_ceil(phases) + inputs * lanes;
        let read = (shape.kernel[1] - 1) / phases + vectors * lanes;
        let pitch = (origin + written.max(read)).next_multiple_of(ALIGNMENT);
        Self { phases, pitch, origins, left, vectors }
    }

    /// Values of a row.
    fn len(self) -> usize {
        self.phases * self.pitch
    }

    /// Place of a column of the padded input.
    #[inline(always)]
    fn place<const STRIDE: usize>(self, column: usize) -> usize {
        let phase = column % STRIDE;
        phase * self.pitch + self.origins[phase] + column / STRIDE
    }
}

impl Depthwise {
    /// Packs weights `[O, 1, KH, KW]`, none where only the work is asked for; `None` for
    /// shapes without a loop here.
    pub(super) fn new(isa: Isa, shape: ConvShape, weights: &[f32]) -> Option<Self> {
        if !Self::has_loop(&shape) {
            return None;
        }
        let ConvShape { kernel: [height, width], stride, .. } = shape;
        let isa = best_isa(shape.output[1], isa);
        let rows = Rows::new(&shape, isa.lanes());
        // Loops over longer kernels would be too long to be unrolled.
        let most = if height > 5 { MAX_VECTORS / 2 } else { MAX_VECTORS };
        let tile = rows_of(shape.output[0], most);
        let fitting = STRIP_BYTES / (rows.len() * size_of::<f32>() * stride[0]);
        let tiles = fitting.saturating_sub(height) / tile;
        let strip = (tiles.max(1) * tile).min(shape.output[0]);
        let bytes = ((strip - 1) * stride[0] + height) * rows.len() * size_of::<f32>();
        let channels = (STRIP_BYTES / bytes).clamp(1, shape.in_channels);
        let transposed = weights.chunks_exact(height * width).flat_map(|weights| {
            let places = (0..width).flat_map(move |j| (0..height).map(move |i| i * width + j));
            places.map(|place| weights[place])
        });
        let weights = transposed.collect();
        Some(Self { shape, isa, rows, tile, strip, channels, weights })
    }

    /// Whether there is a loop for such a shape.
    pub(super) fn has_loop(shape: &ConvShape) -> bool {
        let is_depthwise = shape.groups == shape.in_channels && shape.dilation == [1, 1];
        is_depthwise
            && matches!(shape.kernel[0], 3 | 5 | 7)
            && matches!(shape.stride, [1, 1] | [2, 2])
    }

    /// Values of workspace.
    pub(super) fn workspace_len(&self) -> usize {
        ALIGNMENT + self.copy_len()
    }

    fn copy_len(&self) -> usize {
        self.channels * self.channel_len()
    }

    /// Values of the copy of one channel.
    fn channel_len(&self) -> usize {
        self.rows_read(self.strip) * self.rows.len()
    }

    /// Rows of the input, or of its padding, that some rows of the output read.
    fn rows_read(&self, rows: usize) -> usize {
        (rows - 1) * self.shape.stride[0] + self.shape.kernel[0]
    }

    /// Bytes of memory that the weights take.
    pub(super) fn weight_bytes(&self) -> usize {
        size_of_val(&self.weights[..])
    }

    /// What there is to do for one image.
    pub(super) fn work(&self) -> ConvWork {
        let ConvShape { in_channels, out_channels, output: [height, _], .. } = self.shape;
        let lanes = self.isa.lanes();
        let strips = height.div_ceil(self.strip);
        ConvWork {
            lanes,
            vectors: height * self.rows.vectors,
            fills: strips * in_channels.div_ceil(self.channels),
            copied: strips * in_channels * self.channel_len() / lanes,
            visits: out_channels * height.div_ceil(self.tile) * self.rows.vectors,
        }
    }

    pub(super) fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// What some input channels alone give.
    pub(super) fn slice<'o>(&self, inputs: Range<usize>, output: &'o mut [f32]) -> ConvPart<'o> {
        let [start, end] = [inputs.start, inputs.end].map(|input| input * self.multiplier());
        ConvPart { inputs, ..ConvPart::outputs(&self.shape, start..end, output) }
    }

    /// Output channels of each input channel.
    fn multiplier(&self) -> usize {
        self.shape.out_channels / self.shape.groups
    }

    /// Splits a part between input channels.
    pub(super) fn split<'o>(
        &self,
        part: ConvPart<'o>,
        threads: [usize; 2],
    ) -> (ConvPart<'o>, Option<ConvPart<'o>>) {
        part.split_groups(self.multiplier(), threads)
    }

    /// Convolves one image, or a part of it; `input` has the input channels of the part.
    ///
    /// # Panics
    /// Where `input` has the wrong length or `workspace` is too short.
    pub(super) fn run(&self, input: &[f32], finish: Finish<'_>, workspace: &mut [f32]) {
        let inputs = finish.part.inputs.len();
        assert_eq!(input.len(), inputs * self.shape.input_plane(), "length of the input");
        let skipped = workspace.as_ptr().align_offset(64).min(ALIGNMENT);
        let copy = &mut workspace[skipped..][..self.copy_len()];
        // Strips overwrite all of it but the padding at the sides, and where there is
        // only one, that above and below.
        copy.fill(0.0);
        self.isa.run(Channels { conv: self, input, finish, copy });
    }
}

/// The instruction set that takes the least time for rows of so many columns: vectors half
/// as wide take two thirds of the time.
fn best_isa(columns: usize, isa: Isa) -> Isa {
    let vectors = |isa: Isa| columns.div_ceil(isa.lanes());
    let narrower = isa.narrower().filter(|narrow| 2 * vectors(*narrow) < 3 * vectors(isa));
    narrower.unwrap_or(isa)
}

/// All channels of an image.
struct Channels<'a> {
    conv: &'a Depthwise,
    input: &'a [f32],
    finish: Finish<'a>,
    copy: &'a mut [f32],
}

impl Operation for Channels<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let ConvShape { kernel, stride, .. } = self.conv.shape;
        match (kernel[0], stride[0]) {
            (3, 1) => self.channels::<S, 3, 1>(simd),
            (5, 1) => self.channels::<S, 5, 1>(simd),
            (7, 1) => self.channels::<S, 7, 1>(simd),
            (3, 2) => self.channels::<S, 3, 2>(simd),
            (5, 2) => self.channels::<S, 5, 2>(simd),
            (7, 2) => self.channels::<S, 7, 2>(simd),
            shape => unreachable!("no loop for a kernel of (rows, stride) {shape:?}"),
        }
    }
}

impl Channels<'_> {
    /// Kernels of `KH` rows and a stride of `STRIDE`.
    #[inline(always)]
    fn channels<S: Simd, const KH: usize, const STRIDE: usize>(mut self, simd: S) {
        let Depthwise { shape, strip, channels, .. } = *self.conv;
        let outputs = &self.finish.part.outputs;
        // A part may begin or end between the outputs of a channel.
        let multiplier = self.conv.multiplier();
        let [begin, end] = [outputs.start / multiplier, outputs.end.div_ceil(multiplier)];
        for first in (begin..end).step_by(channels) {
            let channels = first..(first + channels).min(end);
            for first in (0..shape.output[0]).step_by(strip) {
                let rows = first..(first + strip).min(shape.output[0]);
                let part = Part { channels: channels.clone(), rows };
                let Self { conv, input, copy, finish } = &mut self;
                let first_input = finish.part.inputs.start;
                simd.outline(CopyPart { conv, input, first_input, copy, part: &part });
                self.tiles::<S, KH, STRIDE>(simd, &part);
            }
        }
    }

    /// All tiles of a part, which is in the copy.
    #[inline(always)]
    fn tiles<S: Simd, const KH: usize, const STRIDE: usize>(&mut self, simd: S, part: &Part) {
        let Self { conv, finish, copy, .. } = self;
        for (row, count) in pieces(part.rows.len(), conv.tile) {
            let copy = &copy[row * STRIDE * conv.rows.len()..];
            let channels = part.channels.clone();
            let tile = Tile { conv, finish, copy, channels, row: part.rows.start + row };
            match count {
                1 => simd.outline(SizedTile::<KH, STRIDE, 1>(tile)),
                2 => simd.outline(SizedTile::<KH, STRIDE, 2>(tile)),
                4 => simd.outline(SizedTile::<KH, STRIDE, 4>(tile)),
                7 => simd.outline(SizedTile::<KH, STRIDE, 7>(tile)),
                8 => simd.outline(SizedTile::<KH, STRIDE, 8>(tile)),
                count => unreachable!("no tile has {count} rows"),
            }
        }
    }
}

/// A strip of some channels.
struct Part {
    /// Input channels.
    channels: Range<usize>,
    /// Output rows.
    rows: Range<usize>,
}

/// Copies what a part reads.
struct CopyPart<'a> {
    conv: &'a Depthwise,
    input: &'a [f32],
    /// Its first channel.
    first_input: usize,
    copy: &'a mut [f32],
    part: &'a Part,
}

impl Operation for CopyPart<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Depthwise { shape, rows, .. } = self.conv;
        let part = self.part;
        let [height, width] = shape.input;
        let plane = shape.input_plane();
        let first = part.rows.start * shape.stride[0];
        // Rows of the padding above, of the input, and of the padding below.
        let read = first..first + self.conv.rows_read(part.rows.len());
        let inside = [shape.padding[0], shape.padding[0] + height];
        let [start, end] = inside.map(|row| row.clamp(read.start, read.end) - read.start);
        let is_whole = part.rows.len() == shape.output[0];
        let copies = self.copy.chunks_exact_mut(self.conv.channel_len());
        for (copy, channel) in copies.zip(part.channels.clone()) {
            let (above, rest) = copy.split_at_mut(start * rows.len());
            let (copy, below) = rest.split_at_mut((end - start) * rows.len());
            if !is_whole {
                above.fill(0.0);
                below.fill(0.0);
            }
            let skipped = (first + start).saturating_sub(shape.padding[0]) * width;
            let source = &self.input[(channel - self.first_input) * plane..][..plane][skipped..];
            let lines = source.chunks_exact(width).zip(copy.chunks_exact_mut(rows.len()));
            match rows.phases {
                1 => lines.for_each(
                    #[inline(always)]
                    |(source, line)| {
                        copy_row(simd, source, &mut line[rows.place::<1>(rows.left)..])
                    },
                ),
                _ => lines.for_each(
                    #[inline(always)]
                    |(source, line)| split_row(simd, *rows, source, line),
                ),
            }
        }
    }
}

/// Copies a row in whole vectors, zeros behind it.
#[inline(always)]
fn copy_row<S: Simd>(simd: S, source: &[f32], copy: &mut [f32]) {
    let whole = source.len() / S::LANES * S::LANES;
    let (copies, rest) = copy.split_at_mut(whole);
    for (values, copy) in source.chunks_exact(S::LANES).zip(copies.chunks_exact_mut(S::LANES)) {
        simd.store(simd.load(values), copy);
    }
    if whole < source.len() {
        simd.store(simd.load_partial(&source[whole..]), rest);
    }
}

/// Copies even and odd columns of a row apart, zeros behind them.
#[inline(always)]
fn split_row<S: Simd>(simd: S, rows: Rows, source: &[f32], line: &mut [f32]) {
    let places = [0, 1].map(|column| rows.place::<2>(rows.left + column));
    let pairs = source.chunks_exact(2 * S::LANES);
    let (whole, rest) = (pairs.len(), pairs.remainder());
    for (pair, values) in pairs.enumerate() {
        let (low, high) = values.split_at(S::LANES);
        let places = places.map(|place| place + pair * S::LANES);
        split_pair(simd, [simd.load(low), simd.load(high)], line, places);
    }
    if !rest.is_empty() {
        let (low, high) = rest.split_at(rest.len().min(S::LANES));
        let places = places.map(|place| place + whole * S::LANES);
        split_pair(simd, [simd.load_partial(low), simd.load_partial(high)], line, places);
    }
}

/// Writes the even and the odd values of two vectors to two places of a line.
#[inline(always)]
fn split_pair<S: Simd>(simd: S, [low, high]: [S::F32; 2], line: &mut [f32], places: [usize; 2]) {
    for (values, place) in simd.deinterleave(low, high).into_iter().zip(places) {
        simd.store(values, &mut line[place..]);
    }
}

/// Some rows of some channels.
struct Tile<'t, 'a> {
    conv: &'t Depthwise,
    finish: &'t mut Finish<'a>,
    /// From the first row on that the tile reads of the first channel.
    copy: &'t [f32],
    /// Input channels.
    channels: Range<usize>,
    /// The first one.
    row: usize,
}

/// A tile of `R` rows in a function of its own: its loops fill all registers.
struct SizedTile<'t, 'a, const KH: usize, const STRIDE: usize, const R: usize>(Tile<'t, 'a>);

impl<const KH: usize, const STRIDE: usize, const R: usize> Operation
    for SizedTile<'_, '_, KH, STRIDE, R>
{
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Tile { conv, finish, copy, channels, row } = self.0;
        let width = conv.shape.output[1];
        let taps = conv.shape.taps();
        let outputs = conv.multiplier();
        let copies = (0..channels.len()).flat_map(|c| iter::repeat_n(c, outputs));
        let weights = conv.weights[channels.start * outputs * taps..].chunks_exact(taps);
        for ((o, channel), weights) in (channels.start * outputs..).zip(copies).zip(weights) {
            if !finish.part.outputs.contains(&o) {
                continue;
            }
            let copy = &copy[channel * conv.channel_len()..];
            for column in (0..conv.rows.vectors).map(|vector| vector * S::LANES) {
                let mut sums = [simd.splat(0.0); R];
                for (tap, weights) in weights.as_chunks::<KH>().0.iter().enumerate() {
                    let copy = &copy[conv.rows.place::<STRIDE>(tap) + column..];
                    add::<S, KH, STRIDE, R>(simd, &mut sums, weights, copy, conv.rows.len());
                }
                finish.scale(simd, o, &mut sums);
                // Whole vectors, the usual case, have loops of their own.
                let columns = S::LANES.min(width - column);
                let destination = finish.destination([row, column], columns, 1);
                if columns == S::LANES {
                    let destination = Destination { columns: S::LANES, ..destination };
                    finish.write(simd, o, destination, sums);
                } else {
                    finish.write(simd, o, destination, sums);
                }
            }
        }
    }
}

/// Adds the products of one column of taps.
#[inline(always)]
fn add<S: Simd, const KH: usize, const STRIDE: usize, const R: usize>(
    simd: S,
    sums: &mut [S::F32; R],
    weights: &[f32; KH],
    copy: &[f32],
    pitch: usize,
) {
    add_every::<S, KH, STRIDE, R, 0>(simd, sums, weights, copy, pitch);
    if STRIDE == 2 {
        add_every::<S, KH, STRIDE, R, 1>(simd, sums, weights, copy, pitch);
    }
}

/// Adds those of every `STRIDE`-th tap from `FIRST` on: they share rows with each other.
#[inline(always)]
fn add_every<S: Simd, const KH: usize, const STRIDE: usize, const R: usize, const FIRST: usize>(
    simd: S,
    sums: &mut [S::F32; R],
    weights: &[f32; KH],
    copy: &[f32],
    pitch: usize,
) {
    let taps = (KH - FIRST).div_ceil(STRIDE);
    let rows = strided(&copy[FIRST * pitch..], STRIDE * pitch, S::LANES, R - 1 + taps);
    for (row, values) in rows.enumerate() {
        let x = simd.load(values);
        for (i, sum) in sums.iter_mut().enumerate() {
            if (i..i + taps).contains(&row) {
                let tap = FIRST + STRIDE * (row - i);
                *sum = simd.add(*sum, simd.mul(simd.splat(weights[tap]), x));
            }
        }
    }
}
