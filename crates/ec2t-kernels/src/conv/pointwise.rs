//! Ternary convolutions of single pixels.
//!
//! Weights are lists of channels: those with code +1 and those with code −1 of each output
//! and block, and `sum = ratio · Σ₊x − Σ₋x` as in [`lists`](super::lists). With one tap for
//! each channel there are no runs and few additions, so what an output costs besides them
//! counts. So there are loops of their own:
//!
//! ```text
//! for each tile of N vectors of pixels
//!     for each chunk of output channels             // of one group
//!         for each block of input channels
//!             copy the tile, N whole vectors of each channel    // unless for few outputs
//!             for each output channel
//!                 sums in registers += channels of its lists
//!                 add what waits in memory
//!             scale, bias, residual, activation     // after the last block
//! ```
//!
//! A channel of the copy is `[vector; N]`, which the loops know, so that finding one in a
//! list takes a single check.
//!
//! Many outputs are taken up in the order of the lengths of their lists: processors foretell
//! the ends of loops that were as long before.

use std::ops::Range;

use super::finish::{Finish, load_row, store_row};
use super::layout::Layout;
use super::workspace_parts;
use crate::arch::{Operation, Simd};
use crate::weights::TernaryWeights;

/// Outputs for which a tile is not copied.
const FEW_OUTPUTS: usize = 80;

/// Outputs of a chunk from which on many have lists of the same lengths.
const MANY_OUTPUTS: usize = 128;

/// The channels of all outputs.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    /// Counted from the first one of the block: block by block, output by output,
    /// positive ones before negative ones.
    channels: Vec<u16>,
    /// Of each block and output.
    outputs: Vec<Output>,
    /// Of each block and chunk of outputs, where it starts in both.
    starts: Vec<[usize; 2]>,
    chunks: usize,
    ratio: f32,
}

/// An output with the numbers of its channels in a block.
#[derive(Clone, Copy, Debug)]
struct Output {
    /// Counted from the first one of the chunk.
    place: u16,
    /// Positive and negative channels.
    counts: [u16; 2],
}

impl Channels {
    /// Sorts the codes `[O, C / groups]` of a convolution into lists.
    pub(super) fn new(layout: &Layout, weights: TernaryWeights<'_>) -> Self {
        let mut lists = Self {
            channels: Vec::with_capacity(weights.codes.iter().filter(|code| **code != 0).count()),
            outputs: Vec::with_capacity(layout.blocks().count() * layout.shape.out_channels),
            starts: Vec::new(),
            chunks: layout.blocks().chunks().count(),
            ratio: weights.ratio(),
        };
        for block in 0..layout.blocks().count() {
            let length = layout.blocks().channels(0, block).len();
            for (_, outputs) in layout.blocks().chunks() {
                lists.starts.push([lists.channels.len(), lists.outputs.len()]);
                let codes = |place: u16| {
                    let output = outputs.start + usize::from(place);
                    &weights.codes[layout.blocks().first_weight(output, block)..][..length]
                };
                let places = 0..u16::try_from(outputs.len()).expect("a chunk has few outputs");
                let first = lists.outputs.len();
                lists.outputs.extend(places.map(|place| Output::new(place, weights, codes(place))));
                if outputs.len() >= MANY_OUTPUTS {
                    lists.outputs[first..].sort_by_key(|output| output.counts);
                }
                for output in &lists.outputs[first..] {
                    let codes = codes(output.place);
                    lists
                        .channels
                        .extend(listed(weights, codes, 0).chain(listed(weights, codes, 1)));
                }
            }
        }
        lists
    }

    /// Bytes of memory that the lists take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.channels[..])
            + size_of_val(&self.outputs[..])
            + size_of_val(&self.starts[..])
    }

    /// The lists of a chunk of `outputs` for a block: of the `wanted` ones, or of all where
    /// their order is another.
    #[inline(always)]
    fn lists(
        &self,
        [block, chunk]: [usize; 2],
        outputs: &Range<usize>,
        wanted: &Range<usize>,
    ) -> Lists<'_> {
        let [channel, first] = self.starts[block * self.chunks + chunk];
        let all = &self.outputs[first..][..outputs.len()];
        let wanted = match outputs.len() < MANY_OUTPUTS {
            true => wanted.start - outputs.start..wanted.end - outputs.start,
            false => 0..outputs.len(),
        };
        let skipped = all[..wanted.start].iter().flat_map(|output| output.counts);
        let skipped: usize = skipped.map(usize::from).sum();
        Lists {
            outputs: &all[wanted],
            channels: &self.channels[channel + skipped..],
            ratio: self.ratio,
        }
    }
}

impl Output {
    /// An output with these codes.
    fn new(place: u16, weights: TernaryWeights<'_>, codes: &[i8]) -> Self {
        let count = |list| listed(weights, codes, list).count();
        let counts = [0, 1].map(count).map(|count| u16::try_from(count).expect("few channels"));
        Self { place, counts }
    }
}

/// The channels of a list among codes.
fn listed(weights: TernaryWeights<'_>, codes: &[i8], list: usize) -> impl Iterator<Item = u16> {
    let coded = (0_u16..).zip(codes).filter(move |(_, code)| weights.list(**code) == Some(list));
    coded.map(|(channel, _)| channel)
}

/// The lists of a chunk of outputs for a block.
struct Lists<'a> {
    outputs: &'a [Output],
    channels: &'a [u16],
    ratio: f32,
}

/// One image on its way through a convolution, or a part of it.
pub(super) struct Pixels<'a> {
    pub(super) layout: &'a Layout,
    pub(super) channels: &'a Channels,
    pub(super) input: &'a [f32],
    pub(super) finish: Finish<'a>,
}

impl Pixels<'_> {
    /// Convolves.
    ///
    /// # Panics
    /// Where `input` has the wrong length or `workspace` is too short.
    pub(super) fn run(self, workspace: &mut [f32]) {
        assert_eq!(self.input.len(), self.layout.shape.input_len(), "length of the input");
        let [copy, partial] = workspace_parts(self.layout, workspace);
        self.layout.isa.run(Tiles { pixels: self, copy, partial });
    }
}

/// All tiles of a part.
struct Tiles<'a> {
    pixels: Pixels<'a>,
    /// A tile of a block of channels.
    copy: &'a mut [f32],
    /// Sums that wait for the next block.
    partial: &'a mut [f32],
}

impl Operation for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, simd: S) {
        let columns = self.pixels.finish.part.columns.clone();
        for (first, vectors) in self.pixels.layout.row_tiles(columns.len()) {
            let first = columns.start + first;
            let columns = first..columns.end.min(first + vectors * S::LANES);
            self.tile(simd, columns, vectors);
        }
    }
}

impl Tiles<'_> {
    /// All output channels of a tile that the part has.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, columns: Range<usize>, vectors: usize) {
        let Pixels { layout, channels, .. } = self.pixels;
        let blocks = layout.blocks().count();
        for (chunk, (group, outputs)) in layout.blocks().chunks().enumerate() {
            let part = &self.pixels.finish.part.outputs;
            let wanted = outputs.start.max(part.start)..outputs.end.min(part.end);
            if wanted.is_empty() {
                continue;
            }
            let in_place = self.is_in_place::<S>(&columns, wanted.len());
            for block in 0..blocks {
                let step = Step {
                    columns: columns.clone(),
                    inputs: layout.blocks().channels(group, block),
                    first_output: outputs.start,
                    lists: channels.lists([block, chunk], &outputs, &wanted),
                    wanted: wanted.clone(),
                    is_first: block == 0,
                    is_last: block + 1 == blocks,
                };
                match (vectors, in_place) {
                    (1, false) => simd.outline(Copied::<1>(self, step)),
                    (2, false) => simd.outline(Copied::<2>(self, step)),
                    (3, false) => simd.outline(Copied::<3>(self, step)),
                    (4, false) => simd.outline(Copied::<4>(self, step)),
                    (5, false) => simd.outline(Copied::<5>(self, step)),
                    (6, false) => simd.outline(Copied::<6>(self, step)),
                    (7, false) => simd.outline(Copied::<7>(self, step)),
                    (8, false) => simd.outline(Copied::<8>(self, step)),
                    (1, true) => simd.outline(InPlace::<1>(self, step)),
                    (2, true) => simd.outline(InPlace::<2>(self, step)),
                    (3, true) => simd.outline(InPlace::<3>(self, step)),
                    (4, true) => simd.outline(InPlace::<4>(self, step)),
                    (5, true) => simd.outline(InPlace::<5>(self, step)),
                    (6, true) => simd.outline(InPlace::<6>(self, step)),
                    (7, true) => simd.outline(InPlace::<7>(self, step)),
                    (8, true) => simd.outline(InPlace::<8>(self, step)),
                    _ => unreachable!("no tile has {vectors} vectors"),
                }
            }
        }
    }

    /// Whether a tile is read where it is: copying is not worth it for few outputs, if all of
    /// the input is whole vectors.
    #[inline(always)]
    fn is_in_place<S: Simd>(&self, columns: &Range<usize>, outputs: usize) -> bool {
        let plane = self.pixels.layout.shape.input_plane();
        let is_whole = [plane, columns.start, columns.end].iter().all(|len| len % S::LANES == 0);
        let is_aligned = self.pixels.input.as_ptr().align_offset(64) == 0;
        outputs <= FEW_OUTPUTS && is_whole && is_aligned
    }
}

/// Outputs of a chunk that are computed for a tile from one block of channels.
struct Step<'a> {
    columns: Range<usize>,
    inputs: Range<usize>,
    /// First output of the chunk.
    first_output: usize,
    lists: Lists<'a>,
    /// The outputs that are computed, of those that have lists.
    wanted: Range<usize>,
    is_first: bool,
    is_last: bool,
}

/// A step for a tile of `N` vectors in a function of its own: its loops fill all registers.
struct Copied<'t, 'a, const N: usize>(&'t mut Tiles<'a>, Step<'a>);

impl<const N: usize> Operation for Copied<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self(tiles, step) = self;
        let Tiles { pixels, copy, partial } = tiles;
        let plane = pixels.layout.shape.input_plane();
        let input = &pixels.input[step.inputs.start * plane..step.inputs.end * plane];
        let copies = copy.chunks_exact_mut(N * S::LANES);
        for (copy, channel) in copies.zip(input.chunks_exact(plane)) {
            let row = load_row::<S, N>(simd, &channel[step.columns.clone()]);
            store_row(simd, row, copy);
        }
        let copy = simd.as_vectors(copy).as_chunks::<N>().0;
        step.run(
            simd,
            &mut pixels.finish,
            partial,
            #[inline(always)]
            |channel| &copy[channel],
        );
    }
}

/// The same, where the tile is read where it is.
struct InPlace<'t, 'a, const N: usize>(&'t mut Tiles<'a>, Step<'a>);

impl<const N: usize> Operation for InPlace<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self(tiles, step) = self;
        let Tiles { pixels, partial, .. } = tiles;
        let plane = pixels.layout.shape.input_plane();
        let input = &pixels.input[step.inputs.start * plane..step.inputs.end * plane];
        let (input, pitch) = (simd.as_vectors(input), plane / S::LANES);
        let first = step.columns.start / S::LANES;
        step.run(
            simd,
            &mut pixels.finish,
            partial,
            #[inline(always)]
            |channel| input[channel * pitch + first..].first_chunk::<N>().expect("a whole tile"),
        );
    }
}

impl Step<'_> {
    /// Computes the outputs from the vectors of each channel.
    #[inline(always)]
    fn run<'c, S: Simd, const N: usize>(
        self,
        simd: S,
        finish: &mut Finish<'_>,
        partial: &mut [f32],
        row: impl Fn(usize) -> &'c [S::F32; N],
    ) where
        S::F32: 'c,
    {
        let mut channels = self.lists.channels;
        for output in self.lists.outputs {
            let [positive, negative] = output.counts.map(|count| {
                let (list, rest) = channels.split_at(count.into());
                channels = rest;
                list
            });
            let place = usize::from(output.place);
            let o = self.first_output + place;
            if !self.wanted.contains(&o) {
                continue;
            }
            let partial = &mut partial[place * N * S::LANES..][..N * S::LANES];
            let mut sums = sum(simd, self.lists.ratio, positive, negative, &row);
            if !self.is_first {
                for (sum, before) in sums.iter_mut().zip(partial.chunks_exact(S::LANES)) {
                    *sum = simd.add(simd.load(before), *sum);
                }
            }
            match self.is_last {
                true => {
                    finish.scale(simd, o, &mut sums);
                    finish.write_row(simd, o, self.columns.clone(), sums);
                }
                false => store_row(simd, sums, partial),
            }
        }
    }
}

/// The sums of an output over a block.
#[inline(always)]
fn sum<'c, S: Simd, const N: usize>(
    simd: S,
    ratio: f32,
    positive: &[u16],
    negative: &[u16],
    row: &impl Fn(usize) -> &'c [S::F32; N],
) -> [S::F32; N]
where
    S::F32: 'c,
{
    let mut sums = [simd.splat(0.0); N];
    for channel in positive {
        for (sum, x) in sums.iter_mut().zip(row(usize::from(*channel))) {
            *sum = simd.add(*sum, *x);
        }
    }
    let ratio = simd.splat(ratio);
    for sum in &mut sums {
        *sum = simd.mul(ratio, *sum);
    }
    for channel in negative {
        for (sum, x) in sums.iter_mut().zip(row(usize::from(*channel))) {
            *sum = simd.sub(*sum, *x);
        }
    }
    sums
}
