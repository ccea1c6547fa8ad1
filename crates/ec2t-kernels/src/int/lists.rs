//! Ternary weights as lists of taps, and the sums of bytes over them.
//!
//! Each output channel has, for each block of input channels, the taps with code +1 and
//! then those with code −1, and a sum of each. A list has at most [`MAX_TAPS`] taps, whose
//! bytes add up to less than 2¹⁶; where the taps of several blocks may add up to more, sums
//! are *flushed* between them, to totals of 32 bits. Sums begin [`HALF`] below zero, modulo
//! 2¹⁶, so that they are signed numbers, which is what is multiplied in the end.
//!
//! Vectors of bytes are added as they are, in lanes of two: what overflows from the even
//! bytes into the odd ones is known from a second sum, of the odd ones alone:
//!
//! `Σ even = Σ pairs − 256 · Σ odd` modulo 2¹⁶
//!
//! So a tap takes one load, one shift and two additions for each vector, and bytes are
//! never taken apart.

use super::Copied;
use super::layout::{Layout, MAX_TAPS};
use crate::arch::Simd;
use crate::weights::{TernaryWeights, narrow};

/// What sums are below what they stand for.
pub(super) const HALF: u16 = 1 << 15;

/// The sums of some vectors of bytes.
#[derive(Clone, Copy)]
pub(super) struct Sums<S: Simd, const N: usize> {
    /// Of both bytes of each lane as one number, modulo 2¹⁶.
    pub(super) pairs: [S::U16; N],
    /// Of the odd bytes.
    pub(super) odd: [S::U16; N],
}

impl<S: Simd, const N: usize> Sums<S, N> {
    /// Sums of nothing: `HALF` in even and odd bytes alone.
    #[inline(always)]
    pub(super) fn zero(simd: S) -> Self {
        Self { pairs: [simd.splat_u16(HALF); N], odd: [simd.splat_u16(HALF); N] }
    }

    /// The sums of the even and of the odd bytes of a vector.
    #[inline(always)]
    pub(super) fn parts(&self, simd: S, i: usize) -> [S::U16; 2] {
        [simd.even_bytes(self.pairs[i], self.odd[i]), self.odd[i]]
    }
}

/// The taps of all outputs.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    /// Taps: block by block, output by output, positive ones and then negative ones.
    offsets: Vec<u16>,
    /// Number of taps of each sign, of each block and output.
    counts: Vec<[u16; 2]>,
    /// Of each block and chunk of outputs.
    parts: Vec<Part>,
    chunks: usize,
}

/// The lists of a block for a chunk of outputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) cursor: Cursor,
    /// Whether sums begin at zero, because there are none before or they have been flushed.
    pub(super) is_fresh: bool,
    /// Whether sums have been flushed before.
    pub(super) is_flushed: bool,
    /// Whether sums are flushed afterwards.
    pub(super) flushes: bool,
}

/// A place in the lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    offset: u32,
    output: u32,
}

impl Lists {
    /// Sorts the codes `[O, C / groups, KH, KW]` of a convolution into lists.
    pub(super) fn new(layout: &Layout, weights: TernaryWeights<'_>) -> Self {
        let mut lists = Self {
            offsets: Vec::new(),
            counts: Vec::with_capacity(layout.blocks().count() * layout.shape.out_channels),
            parts: Vec::new(),
            chunks: layout.blocks().chunks().count(),
        };
        for block in 0..layout.blocks().count() {
            let offsets = layout.offsets(block);
            for (_, outputs) in layout.blocks().chunks() {
                let [offset, output] = [lists.offsets.len(), lists.counts.len()].map(narrow);
                lists.parts.push(Part {
                    cursor: Cursor { offset, output },
                    is_fresh: block == 0,
                    is_flushed: false,
                    flushes: false,
                });
                for o in outputs {
                    let codes =
                        &weights.codes[layout.blocks().first_weight(o, block)..][..offsets.len()];
                    lists.counts.push([0, 1].map(|list| {
                        let taps = codes.iter().zip(&offsets);
                        let listed = taps.filter(|(code, _)| weights.list(**code) == Some(list));
                        let before = lists.offsets.len();
                        lists.offsets.extend(listed.map(|(_, offset)| *offset));
                        u16::try_from(lists.offsets.len() - before).expect("a block has few taps")
                    }));
                }
            }
        }
        lists.offsets.shrink_to_fit();
        lists.plan_flushes(layout);
        lists
    }

    /// Bytes of memory that the lists take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.offsets[..])
            + size_of_val(&self.counts[..])
            + size_of_val(&self.parts[..])
    }

    /// Whether sums are ever flushed.
    pub(super) fn has_flushes(&self) -> bool {
        self.parts.iter().any(|part| part.flushes)
    }

    /// The lists of a block for a chunk of outputs.
    #[inline(always)]
    pub(super) fn part(&self, block: usize, chunk: usize) -> Part {
        self.parts[block * self.chunks + chunk]
    }

    /// Has sums flushed before those of any output could reach 2¹⁶.
    fn plan_flushes(&mut self, layout: &Layout) {
        let sizes: Vec<usize> =
            layout.blocks().chunks().map(|(_, outputs)| outputs.len()).collect();
        for (chunk, outputs) in sizes.into_iter().enumerate() {
            let mut sums = vec![[0; 2]; outputs];
            for block in 0..layout.blocks().count() {
                let index = block * self.chunks + chunk;
                let first = self.parts[index].cursor.output as usize;
                let taps = &self.counts[first..][..outputs];
                let lists = sums.as_flattened_mut().iter_mut().zip(taps.as_flattened());
                let longest = lists.map(|(sum, taps)| (*sum += taps, *sum).1).max();
                if usize::from(longest.unwrap_or(0)) > MAX_TAPS {
                    self.parts[index - self.chunks].flushes = true;
                    self.parts[index].is_fresh = true;
                    sums.copy_from_slice(taps);
                }
                self.parts[index].is_flushed = block > 0 && {
                    let before = self.parts[index - self.chunks];
                    before.is_flushed || before.flushes
                };
            }
        }
    }

    /// Adds the bytes of the output channel at the cursor, which moves on to the next one,
    /// over a block to the sums of each sign.
    #[inline(always)]
    pub(super) fn sum<S: Simd, const N: usize>(
        &self,
        simd: S,
        cursor: &mut Cursor,
        copy: &Copied,
        [mut plus, mut minus]: [Sums<S, N>; 2],
    ) -> [Sums<S, N>; 2] {
        let [positive, negative] = self.counts[cursor.output as usize].map(usize::from);
        let offsets = &self.offsets[cursor.offset as usize..][..positive + negative];
        let (positive, negative) = offsets.split_at(positive);
        add(simd, &mut plus, copy, positive);
        add(simd, &mut minus, copy, negative);
        cursor.offset += offsets.len() as u32;
        cursor.output += 1;
        [plus, minus]
    }
}

/// Adds the bytes from each offset on.
#[inline(always)]
fn add<S: Simd, const N: usize>(simd: S, sums: &mut Sums<S, N>, copy: &Copied, offsets: &[u16]) {
    let lanes = 4 * S::LANES;
    let Sums { mut pairs, mut odd } = *sums;
    for offset in offsets {
        let start = usize::from(*offset);
        let bytes = &copy[start..start + N * lanes];
        for i in 0..N {
            let bytes = simd.load_pairs(&bytes[i * lanes..]);
            pairs[i] = simd.add_u16(pairs[i], bytes);
            odd[i] = simd.add_u16(odd[i], simd.odd_bytes(bytes));
        }
    }
    *sums = Sums { pairs, odd };
}
