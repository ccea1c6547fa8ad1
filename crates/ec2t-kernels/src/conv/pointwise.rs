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
//!             copy the tile, N whole vectors of each channel
//!             for each output channel
//!                 sums in registers += channels of its lists
//!                 add what waits in memory
//!             scale, bias, residual, activation     // after the last block
//! ```
//!
//! A channel of the copy is `[vector; N]`, which the loops know, so that finding one in a
//! list takes a single check.

use std::ops::Range;

use super::finish::{Finish, load_row, store_row};
use super::layout::Layout;
use super::workspace_parts;
use crate::arch::{Operation, Simd};
use crate::weights::TernaryWeights;

/// The channels of all outputs.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    /// Counted from the first one of the block: block by block, output by output,
    /// positive ones before negative ones.
    channels: Vec<u16>,
    /// Numbers of both, of each block and output.
    counts: Vec<[u16; 2]>,
    /// Of each block and chunk of outputs, where it starts in both.
    starts: Vec<[usize; 2]>,
    chunks: usize,
    ratio: f32,
}

impl Channels {
    /// Sorts the codes `[O, C / groups]` of a convolution into lists.
    pub(super) fn new(layout: &Layout, weights: TernaryWeights<'_>) -> Self {
        let mut lists = Self {
            channels: Vec::with_capacity(weights.codes.iter().filter(|code| **code != 0).count()),
            counts: Vec::with_capacity(layout.blocks().count() * layout.shape.out_channels),
            starts: Vec::new(),
            chunks: layout.blocks().chunks().count(),
            ratio: weights.ratio(),
        };
        for block in 0..layout.blocks().count() {
            let length = layout.blocks().channels(0, block).len();
            for (_, outputs) in layout.blocks().chunks() {
                lists.starts.push([lists.channels.len(), lists.counts.len()]);
                for o in outputs {
                    let first = layout.blocks().first_weight(o, block);
                    lists.push(weights, &weights.codes[first..][..length]);
                }
            }
        }
        lists
    }

    /// Adds the lists of an output.
    fn push(&mut self, weights: TernaryWeights<'_>, codes: &[i8]) {
        let counts = [0, 1].map(|list| {
            let before = self.channels.len();
            let coded = (0_u16..).zip(codes).filter(|(_, code)| weights.list(**code) == Some(list));
            self.channels.extend(coded.map(|(channel, _)| channel));
            u16::try_from(self.channels.len() - before).expect("no more than channels of a block")
        });
        self.counts.push(counts);
    }

    /// Bytes of memory that the lists take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.channels[..])
            + size_of_val(&self.counts[..])
            + size_of_val(&self.starts[..])
    }

    /// The lists of some outputs of a chunk for a block, `skipped` ones after its first.
    #[inline(always)]
    fn lists(&self, block: usize, chunk: usize, outputs: usize, skipped: usize) -> Lists<'_> {
        let [channel, output] = self.starts[block * self.chunks + chunk];
        let (before, counts) = self.counts[output..][..skipped + outputs].split_at(skipped);
        let before = before.as_flattened().iter().map(|count| usize::from(*count));
        let channels = &self.channels[channel + before.sum::<usize>()..];
        Lists { counts, channels, ratio: self.ratio }
    }
}

/// The lists of some outputs for a block.
struct Lists<'a> {
    counts: &'a [[u16; 2]],
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
            let wanted = &self.pixels.finish.part.outputs;
            let skipped = wanted.start.saturating_sub(outputs.start);
            let outputs = outputs.start + skipped..outputs.end.min(wanted.end);
            if outputs.is_empty() {
                continue;
            }
            for block in 0..blocks {
                let step = Step {
                    columns: columns.clone(),
                    inputs: layout.blocks().channels(group, block),
                    first_output: outputs.start,
                    lists: channels.lists(block, chunk, outputs.len(), skipped),
                    is_first: block == 0,
                    is_last: block + 1 == blocks,
                };
                match vectors {
                    1 => simd.outline(SizedStep::<1>(self, step)),
                    2 => simd.outline(SizedStep::<2>(self, step)),
                    3 => simd.outline(SizedStep::<3>(self, step)),
                    4 => simd.outline(SizedStep::<4>(self, step)),
                    5 => simd.outline(SizedStep::<5>(self, step)),
                    6 => simd.outline(SizedStep::<6>(self, step)),
                    7 => simd.outline(SizedStep::<7>(self, step)),
                    8 => simd.outline(SizedStep::<8>(self, step)),
                    _ => unreachable!("no tile has {vectors} vectors"),
                }
            }
        }
    }
}

/// Outputs that are computed for a tile from one block of channels.
struct Step<'a> {
    columns: Range<usize>,
    inputs: Range<usize>,
    first_output: usize,
    lists: Lists<'a>,
    is_first: bool,
    is_last: bool,
}

/// A step for a tile of `N` vectors in a function of its own: its loops fill all registers.
struct SizedStep<'t, 'a, const N: usize>(&'t mut Tiles<'a>, Step<'a>);

impl<const N: usize> Operation for SizedStep<'_, '_, N> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self(tiles, step) = self;
        let plane = tiles.pixels.layout.shape.input_plane();
        let input = tiles.pixels.input[step.inputs.start * plane..].chunks_exact(plane);
        let copies = tiles.copy.chunks_exact_mut(N * S::LANES);
        for (copy, channel) in copies.zip(input.take(step.inputs.len())) {
            let pixels = load_row::<S, N>(simd, &channel[step.columns.clone()]);
            store_row(simd, pixels, copy);
        }
        let copy = simd.as_vectors(tiles.copy).as_chunks().0;
        let partial = tiles.partial.chunks_exact_mut(N * S::LANES);
        let mut channels = step.lists.channels;
        for ((o, partial), counts) in (step.first_output..).zip(partial).zip(step.lists.counts) {
            let [positive, negative] = counts.map(|count| {
                let (list, rest) = channels.split_at(count.into());
                channels = rest;
                list
            });
            let mut sums: [S::F32; N] = sum(simd, step.lists.ratio, positive, negative, copy);
            if !step.is_first {
                for (sum, before) in sums.iter_mut().zip(partial.chunks_exact(S::LANES)) {
                    *sum = simd.add(simd.load(before), *sum);
                }
            }
            match step.is_last {
                true => {
                    let finish = &mut tiles.pixels.finish;
                    finish.scale(simd, o, &mut sums);
                    finish.write_row(simd, o, step.columns.clone(), sums);
                }
                false => store_row(simd, sums, partial),
            }
        }
    }
}

/// The sums of an output over a block.
#[inline(always)]
fn sum<S: Simd, const N: usize>(
    simd: S,
    ratio: f32,
    positive: &[u16],
    negative: &[u16],
    copy: &[[S::F32; N]],
) -> [S::F32; N] {
    let mut sums = [simd.splat(0.0); N];
    for channel in positive {
        for (sum, x) in sums.iter_mut().zip(&copy[usize::from(*channel)]) {
            *sum = simd.add(*sum, *x);
        }
    }
    let ratio = simd.splat(ratio);
    for sum in &mut sums {
        *sum = simd.mul(ratio, *sum);
    }
    for channel in negative {
        for (sum, x) in sums.iter_mut().zip(&copy[usize::from(*channel)]) {
            *sum = simd.sub(*sum, *x);
        }
    }
    sums
}
