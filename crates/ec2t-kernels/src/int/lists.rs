//! Ternary weights as lists of taps, and the sums of bytes over them.
//!
//! Each output channel has, for each block of input channels, the taps with code +1 and
//! then those with code −1, and a sum of each. A block has at most [`MAX_TAPS`] taps, whose
//! bytes add up to less than 2¹⁶; where the taps of several blocks may add up to more, sums
//! are *flushed* between them, to floats that hold whole numbers up to 2²⁴.
//!
//! Taps of one column and sign whose bands lie one below the other are one *run*: each
//! band of pixels is loaded once for all of them.

use super::layout::{Layout, MAX_TAPS};
use crate::arch::Simd;
use crate::shape::TooLarge;
use crate::weights::TernaryWeights;

/// Taps in a run, at most.
const LONGEST_RUN: usize = 3;

/// Most taps of one sign: so many bytes of 255 add up to less than 2²⁴.
const MOST_TAPS: usize = (1 << 24) / 255;

/// Number of runs of one output for one block: of one, two and three positive taps, then of
/// negative ones.
type Counts = [[u16; LONGEST_RUN]; 2];

/// The taps of all outputs.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    /// First tap of each run, in vectors: block by block, output by output, in the order of
    /// [`Counts`].
    offsets: Vec<u16>,
    /// Of each block and output.
    counts: Vec<Counts>,
    /// Of each block and chunk of outputs.
    parts: Vec<Part>,
    chunks: usize,
    /// Vectors between the taps of a run.
    step: usize,
    /// Whether there are runs of several taps.
    has_runs: bool,
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
    ///
    /// # Errors
    /// Where an output has more taps of one sign than floats can count.
    pub(super) fn new(layout: &Layout, weights: TernaryWeights<'_>) -> Result<Self, TooLarge> {
        let mut lists = Self {
            offsets: Vec::new(),
            counts: Vec::with_capacity(layout.blocks() * layout.shape.out_channels),
            parts: Vec::new(),
            chunks: layout.chunks().count(),
            step: layout.band_step(),
            has_runs: layout.shares_rows && layout.shape.kernel[0] > layout.rows,
        };
        lists.offsets.reserve_exact(weights.codes.iter().filter(|code| **code != 0).count());
        let mut runs = Runs::default();
        for block in 0..layout.blocks() {
            let offsets = layout.offsets(block);
            for (_, outputs) in layout.chunks() {
                let [offset, output] = [lists.offsets.len(), lists.counts.len()].map(narrow);
                lists.parts.push(Part {
                    cursor: Cursor { offset, output },
                    is_fresh: block == 0,
                    is_flushed: false,
                    flushes: false,
                });
                for o in outputs {
                    let first = layout.first_weight(o, block);
                    runs.collect(layout, weights, first, &offsets);
                    lists.push(&mut runs);
                }
            }
        }
        lists.offsets.shrink_to_fit();
        lists.plan_flushes(layout)?;
        Ok(lists)
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

    /// Adds the runs of an output, and empties them.
    fn push(&mut self, runs: &mut Runs) {
        let count = |list: &Vec<u16>| u16::try_from(list.len()).expect("no more than taps");
        self.counts.push(runs.0.each_ref().map(|runs| runs.each_ref().map(count)));
        for list in runs.0.iter_mut().flatten() {
            self.offsets.append(list);
        }
    }

    /// Has sums flushed before those of any output could reach 2¹⁶.
    fn plan_flushes(&mut self, layout: &Layout) -> Result<(), TooLarge> {
        let sizes: Vec<usize> = layout.chunks().map(|(_, outputs)| outputs.len()).collect();
        for (chunk, outputs) in sizes.into_iter().enumerate() {
            let mut sums = vec![[0; 2]; outputs];
            let mut totals = sums.clone();
            for block in 0..layout.blocks() {
                let index = block * self.chunks + chunk;
                let first = self.parts[index].cursor.output as usize;
                let counts: Vec<_> = self.counts[first..][..outputs].iter().map(taps).collect();
                let add = |sums: &mut [[usize; 2]]| {
                    let sums = sums.iter_mut().flatten().zip(counts.iter().flatten());
                    sums.map(|(sum, count)| (*sum += count, *sum).1).max().unwrap_or(0)
                };
                if add(&mut totals) > MOST_TAPS {
                    return Err(TooLarge { kernel: layout.shape.kernel });
                }
                if add(&mut sums) > MAX_TAPS {
                    self.parts[index - self.chunks].flushes = true;
                    self.parts[index].is_fresh = true;
                    sums.clone_from(&counts);
                }
                self.parts[index].is_flushed = block > 0 && {
                    let before = self.parts[index - self.chunks];
                    before.is_flushed || before.flushes
                };
            }
        }
        Ok(())
    }

    /// Adds the bytes of the output channel at the cursor, which moves on to the next one,
    /// over a block to sums: `N` vectors of pixels, in bands of `V` vectors, of each sign.
    #[inline(always)]
    pub(super) fn sum<S: Simd, const N: usize, const V: usize>(
        &self,
        simd: S,
        cursor: &mut Cursor,
        copy: &[u16],
        [mut plus, mut minus]: [[S::U16; N]; 2],
    ) -> [[S::U16; N]; 2] {
        let [positive, negative] = self.counts[cursor.output as usize];
        let mut rest = &self.offsets[cursor.offset as usize..];
        let length = rest.len();
        let mut take = |count: u16| {
            let (list, after) = rest.split_at(count.into());
            rest = after;
            list
        };
        let terms = Terms { simd, copy, step: self.step };
        terms.add_runs::<N, V, 1>(&mut plus, take(positive[0]));
        if self.has_runs {
            terms.add_runs::<N, V, 2>(&mut plus, take(positive[1]));
            terms.add_runs::<N, V, 3>(&mut plus, take(positive[2]));
        }
        terms.add_runs::<N, V, 1>(&mut minus, take(negative[0]));
        if self.has_runs {
            terms.add_runs::<N, V, 2>(&mut minus, take(negative[1]));
            terms.add_runs::<N, V, 3>(&mut minus, take(negative[2]));
        }
        cursor.offset += (length - rest.len()) as u32;
        cursor.output += 1;
        [plus, minus]
    }
}

/// Number of taps of each sign.
fn taps(counts: &Counts) -> [usize; 2] {
    counts.map(|runs| runs.iter().zip(1..).map(|(count, taps)| usize::from(*count) * taps).sum())
}

/// The runs of one output, positive ones and negative ones, by their length.
#[derive(Default)]
struct Runs([[Vec<u16>; LONGEST_RUN]; 2]);

impl Runs {
    /// Finds those among the weights from `first` on, whose taps lie at `offsets`.
    fn collect(
        &mut self,
        layout: &Layout,
        weights: TernaryWeights<'_>,
        first: usize,
        offsets: &[u16],
    ) {
        let [rows, columns] = layout.shape.kernel;
        // Taps of a group, from one to the next.
        let step = layout.rows * columns;
        let (most, groups) = match layout.shares_rows {
            true => (LONGEST_RUN, layout.rows.min(rows)),
            false => (1, rows),
        };
        let codes = weights.codes[first..].chunks_exact(rows * columns);
        for (codes, offsets) in codes.zip(offsets.chunks_exact(rows * columns)) {
            for start in 0..groups * columns {
                let mut tap = start;
                while let Some(&code) = codes.get(tap) {
                    let same = codes[tap..].iter().step_by(step).take(most);
                    let length = same.take_while(|other| **other == code).count();
                    if let Some(list) = weights.list(code) {
                        self.0[list][length - 1].push(offsets[tap]);
                    }
                    // Rows that share no group are starts of their own.
                    tap = if most == 1 { codes.len() } else { tap + length * step };
                }
            }
        }
    }
}

/// A position in the lists; a network has fewer than 2³² weights.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).expect("fewer weights than 2^32")
}

/// What runs are added from.
#[derive(Clone, Copy)]
struct Terms<'a, S: Simd> {
    simd: S,
    copy: &'a [u16],
    /// Vectors between the taps of a run.
    step: usize,
}

impl<S: Simd> Terms<'_, S> {
    /// Adds runs of `T` taps to `N` vectors of pixels, in bands of `V` vectors.
    #[inline(always)]
    fn add_runs<const N: usize, const V: usize, const T: usize>(
        &self,
        sums: &mut [S::U16; N],
        offsets: &[u16],
    ) {
        for &offset in offsets {
            // A single band of pixels shares none.
            if T == 1 || N == V {
                for tap in 0..T {
                    let bands = self.vectors(usize::from(offset) + tap * self.step, N);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = self.simd.add_u16(*sum, self.vector(bands, i));
                    }
                }
            } else {
                let count = N + (T - 1) * V;
                let bands = self.vectors(usize::from(offset), count);
                for i in 0..count {
                    let bytes = self.vector(bands, i);
                    for tap in 0..T {
                        if (tap * V..tap * V + N).contains(&i) {
                            let sum = &mut sums[i - tap * V];
                            *sum = self.simd.add_u16(*sum, bytes);
                        }
                    }
                }
            }
        }
    }

    /// Lanes of `count` vectors from an offset on.
    #[inline(always)]
    fn vectors(&self, offset: usize, count: usize) -> &[u16] {
        let lanes = 2 * S::LANES;
        &self.copy[offset * lanes..offset * lanes + count * lanes]
    }

    #[inline(always)]
    fn vector(&self, vectors: &[u16], i: usize) -> S::U16 {
        self.simd.load_u16(&vectors[i * 2 * S::LANES..])
    }
}
