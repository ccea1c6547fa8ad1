//! Ternary weights of convolutions of single pixels, as lists of channels.
//!
//! As in [`lists`](super::lists), the channels with code +1 and those with code −1 of each
//! output and block, and `sum = ratio · Σ₊x − Σ₋x`. With one tap for each channel there
//! are no runs and few additions, so what an output costs besides them counts: its lists
//! are two numbers and the channels.

use super::Taps;
use super::layout::{GRANULE, Layout};
use crate::arch::Simd;
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
    starts: Vec<Cursor>,
    chunks: usize,
    /// Whether the input is read without a copy.
    reads_input: bool,
    /// Granules between channels of what is read.
    pitch: usize,
    ratio: f32,
}

/// A place in the lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    channel: usize,
    output: usize,
}

impl Channels {
    /// Sorts the codes `[O, C / groups]` of a convolution into lists.
    pub(super) fn new(layout: &Layout, weights: TernaryWeights<'_>) -> Self {
        let reads_input = layout.reads_input();
        let pitch = if reads_input { layout.shape.input_plane() } else { layout.channel_len() };
        let mut lists = Self {
            channels: Vec::with_capacity(weights.codes.iter().filter(|code| **code != 0).count()),
            counts: Vec::with_capacity(layout.blocks().count() * layout.shape.out_channels),
            starts: Vec::new(),
            chunks: layout.blocks().chunks().count(),
            reads_input,
            pitch: pitch / GRANULE,
            ratio: weights.ratio(),
        };
        for block in 0..layout.blocks().count() {
            let length = layout.blocks().channels(0, block).len();
            for (_, outputs) in layout.blocks().chunks() {
                let [channel, output] = [lists.channels.len(), lists.counts.len()];
                lists.starts.push(Cursor { channel, output });
                for o in outputs {
                    lists.push(
                        weights,
                        &weights.codes[layout.blocks().first_weight(o, block)..][..length],
                    );
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
}

impl Taps for Channels {
    type Cursor = Cursor;

    #[inline(always)]
    fn reads_input(&self) -> bool {
        self.reads_input
    }

    #[inline(always)]
    fn start(&self, block: usize, chunk: usize) -> Cursor {
        self.starts[block * self.chunks + chunk]
    }

    #[inline(always)]
    fn skip(&self, cursor: Cursor, outputs: usize) -> Cursor {
        let counts = self.counts[cursor.output..][..outputs].as_flattened().iter();
        let channel = cursor.channel + counts.map(|count| usize::from(*count)).sum::<usize>();
        Cursor { channel, output: cursor.output + outputs }
    }

    #[inline(always)]
    fn sum<S: Simd, const N: usize, const V: usize, const P: usize>(
        &self,
        simd: S,
        cursor: &mut Cursor,
        copy: &[[f32; GRANULE]],
    ) -> [S::F32; N] {
        let [positive, negative] = self.counts[cursor.output].map(usize::from);
        let lists = &self.channels[cursor.channel..][..positive + negative];
        let (positive, negative) = lists.split_at(positive);
        let pixels = |channel: u16| {
            let first = usize::from(channel) * self.pitch;
            copy[first..][..N * S::LANES / GRANULE].as_flattened()
        };
        let mut sums = [simd.splat(0.0); N];
        for &channel in positive {
            let pixels = pixels(channel);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = simd.add(*sum, simd.load(&pixels[i * S::LANES..]));
            }
        }
        let ratio = simd.splat(self.ratio);
        for sum in &mut sums {
            *sum = simd.mul(ratio, *sum);
        }
        for &channel in negative {
            let pixels = pixels(channel);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = simd.sub(*sum, simd.load(&pixels[i * S::LANES..]));
            }
        }
        cursor.channel += lists.len();
        cursor.output += 1;
        sums
    }
}
