//! Ternary weights as lists of taps, and the sums over them.
//!
//! Each output channel has, for each block of input channels, the taps with code +1
//! and then those with code −1:
//!
//! `sum = ratio · Σ₊x − Σ₋x` with `ratio = w_pos / w_neg`
//!
//! which the epilogue multiplies by `w_neg`. Weights are not needed, zeros cost
//! nothing, and a tap is an addition whose operand comes from memory.
//!
//! Kernels of EC2T are smooth: codes of one column often come in *runs* of the same
//! sign. A run of two or three rows reads rows of pixels that overlap, and each is
//! loaded once. Loads are what limits these loops, so of the additions in a run
//! every other one is made by the multiplier (`x · 1 + sum`, which rounds the same).

use super::Taps;
use super::layout::{GRANULE, Layout};
use crate::arch::Simd;
use crate::weights::{TernaryWeights, narrow};

/// Taps in a run, at most.
const LONGEST_RUN: usize = 3;

/// Number of taps of one output for one block: runs of one, two and three positive
/// taps, then negative ones.
type Counts = [[u16; LONGEST_RUN]; 2];

/// The taps of all outputs.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    /// First tap of each run: block by block, output by output, in the order of
    /// [`Counts`].
    offsets: Vec<u16>,
    /// Of each block and output.
    counts: Vec<Counts>,
    /// Of each block and chunk of outputs, where it starts in both.
    starts: Vec<Cursor>,
    chunks: usize,
    /// Granules between rows of the copy and between its phases.
    steps: [usize; 2],
    /// Whether there are runs of several taps.
    has_runs: bool,
    ratio: f32,
    /// 1, which the compiler must not know: it would make a multiplication by 1 and an
    /// addition an addition.
    one: f32,
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
            starts: Vec::new(),
            chunks: layout.blocks().chunks().count(),
            steps: [layout.row_step(), layout.phase_step()],
            has_runs: layout.shares_rows && layout.shape.kernel[0] > 1,
            ratio: weights.ratio(),
            one: 1.0,
        };
        lists.offsets.reserve_exact(weights.codes.iter().filter(|code| **code != 0).count());
        let mut runs = Runs::new(layout.offsets(0).len());
        for block in 0..layout.blocks().count() {
            let offsets = layout.offsets(block);
            for (_, outputs) in layout.blocks().chunks() {
                let [offset, output] = [lists.offsets.len(), lists.counts.len()].map(narrow);
                lists.starts.push(Cursor { offset, output });
                for o in outputs {
                    let first = layout.blocks().first_weight(o, block);
                    runs.collect(layout, weights, first, &offsets);
                    lists.push(&mut runs);
                }
            }
        }
        lists.offsets.shrink_to_fit();
        lists
    }

    /// Bytes of memory that the lists take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.offsets[..])
            + size_of_val(&self.counts[..])
            + size_of_val(&self.starts[..])
    }

    /// Adds the runs of an output that have a sign, and empties all.
    fn push(&mut self, runs: &mut Runs) {
        let [positive, negative, _] = std::mem::take(&mut runs.counts);
        let count = |count: usize| u16::try_from(count).expect("no more than offsets");
        self.counts.push([positive, negative].map(|counts| counts.map(count)));
        let counts = positive.into_iter().chain(negative);
        for (list, count) in runs.lists.iter().flatten().zip(counts) {
            self.offsets.extend_from_slice(&list[..count]);
        }
    }
}

/// The runs of one output: positive ones, negative ones, and those of zeros, which nobody
/// wants, by their length.
struct Runs {
    /// With room for all taps of a block each.
    lists: [[Vec<u16>; LONGEST_RUN]; 3],
    counts: [[usize; LONGEST_RUN]; 3],
}

impl Runs {
    /// With room for so many taps.
    fn new(taps: usize) -> Self {
        let list = || vec![0; taps];
        Self { lists: [(); 3].map(|()| [(); LONGEST_RUN].map(|()| list())), counts: [[0; _]; 3] }
    }

    /// Finds those among the weights from `first` on, whose taps lie at `offsets`.
    ///
    /// Codes follow no rule that a processor could foretell, so none is a branch: a run is
    /// written wherever it might end, and counted where it does.
    fn collect(
        &mut self,
        layout: &Layout,
        weights: TernaryWeights<'_>,
        first: usize,
        offsets: &[u16],
    ) {
        let [rows, columns] = layout.shape.kernel;
        let most = if layout.shares_rows { LONGEST_RUN } else { 1 };
        let list_of = [-1, 0, 1].map(|code| weights.list(code).unwrap_or(2));
        let codes = weights.codes[first..].chunks_exact(rows * columns);
        for (codes, offsets) in codes.zip(offsets.chunks_exact(rows * columns)) {
            for column in 0..columns {
                // Taps of the run before this one.
                let mut before = 0;
                for tap in (column..rows * columns).step_by(columns) {
                    let code = codes[tap];
                    let list = list_of[(code.signum() + 1) as usize];
                    let count = &mut self.counts[list][before];
                    self.lists[list][before][*count] = offsets[tap - before * columns];
                    let ends = (codes.get(tap + columns) != Some(&code)) | (before + 1 == most);
                    *count += usize::from(ends);
                    before = if ends { 0 } else { before + 1 };
                }
            }
        }
    }
}

impl Taps for Lists {
    type Cursor = Cursor;

    /// Outputs have lists of their own.
    const SHARES_LOADS: bool = false;

    #[inline(always)]
    fn start(&self, block: usize, chunk: usize) -> Cursor {
        self.starts[block * self.chunks + chunk]
    }

    #[inline(always)]
    fn skip(&self, cursor: Cursor, outputs: usize) -> Cursor {
        let counts = &self.counts[cursor.output as usize..][..outputs];
        let runs = counts.as_flattened().as_flattened().iter();
        let offset = cursor.offset + runs.map(|count| u32::from(*count)).sum::<u32>();
        Cursor { offset, output: cursor.output + outputs as u32 }
    }

    #[inline(always)]
    fn sum<S: Simd, const N: usize, const V: usize, const P: usize>(
        &self,
        simd: S,
        cursor: &mut Cursor,
        copy: &[[f32; GRANULE]],
    ) -> [S::F32; N] {
        let [positive, negative] = self.counts[cursor.output as usize];
        let mut rest = &self.offsets[cursor.offset as usize..];
        let mut take = |count: u16| {
            let (list, after) = rest.split_at(count.into());
            rest = after;
            list
        };
        let mut sums = [simd.splat(0.0); N];
        let [row_step, phase_step] = self.steps;
        let plus = Terms { simd, copy, row_step, phase_step, one: simd.splat(self.one) };
        plus.add_runs::<N, V, P, 1, false>(&mut sums, take(positive[0]));
        if self.has_runs {
            plus.add_runs::<N, V, P, 2, false>(&mut sums, take(positive[1]));
            plus.add_runs::<N, V, P, 3, false>(&mut sums, take(positive[2]));
        }
        let ratio = simd.splat(self.ratio);
        sums = sums.map(
            #[inline(always)]
            |sum| simd.mul(ratio, sum),
        );
        let minus = Terms { one: simd.splat(-self.one), ..plus };
        minus.add_runs::<N, V, P, 1, true>(&mut sums, take(negative[0]));
        if self.has_runs {
            minus.add_runs::<N, V, P, 2, true>(&mut sums, take(negative[1]));
            minus.add_runs::<N, V, P, 3, true>(&mut sums, take(negative[2]));
        }
        cursor.offset +=
            positive.iter().chain(&negative).map(|count| u32::from(*count)).sum::<u32>();
        cursor.output += 1;
        sums
    }
}

/// What runs are added from.
#[derive(Clone, Copy)]
struct Terms<'a, S: Simd> {
    simd: S,
    copy: &'a [[f32; GRANULE]],
    /// Granules between rows and between phases.
    row_step: usize,
    phase_step: usize,
    /// 1 or −1: the sign of the terms.
    one: S::F32,
}

impl<S: Simd> Terms<'_, S> {
    /// Adds runs of `T` taps to `N` vectors of pixels, `P` phases of rows of `V` vectors;
    /// subtracts them if `NEGATIVE`.
    #[inline(always)]
    fn add_runs<
        const N: usize,
        const V: usize,
        const P: usize,
        const T: usize,
        const NEGATIVE: bool,
    >(
        &self,
        sums: &mut [S::F32; N],
        offsets: &[u16],
    ) {
        for &offset in offsets {
            for phase in 0..P {
                let offset = usize::from(offset) + phase * self.phase_step;
                // A single row of pixels shares none.
                if T == 1 || N == V * P {
                    self.add_apart::<N, P, T, NEGATIVE>(sums, phase, offset);
                } else {
                    self.add_shared::<N, V, P, T, NEGATIVE>(sums, phase, offset);
                }
            }
        }
    }

    /// Loads the rows of each tap.
    #[inline(always)]
    fn add_apart<const N: usize, const P: usize, const T: usize, const NEGATIVE: bool>(
        &self,
        sums: &mut [S::F32; N],
        phase: usize,
        offset: usize,
    ) {
        for tap in 0..T {
            let rows = self.vectors(offset + tap * self.row_step, N / P);
            for i in 0..N / P {
                let x = self.simd.load(&rows[i * S::LANES..]);
                let sum = &mut sums[phase * (N / P) + i];
                *sum = self.term::<NEGATIVE>(tap, x, *sum);
            }
        }
    }

    /// Loads each row once, for all taps that read it.
    #[inline(always)]
    fn add_shared<
        const N: usize,
        const V: usize,
        const P: usize,
        const T: usize,
        const NEGATIVE: bool,
    >(
        &self,
        sums: &mut [S::F32; N],
        phase: usize,
        offset: usize,
    ) {
        let count = N / P + (T - 1) * V;
        let rows = self.vectors(offset, count);
        for i in 0..count {
            let x = self.simd.load(&rows[i * S::LANES..]);
            for tap in 0..T {
                if (tap * V..tap * V + N / P).contains(&i) {
                    let sum = &mut sums[phase * (N / P) + i - tap * V];
                    *sum = self.term::<NEGATIVE>(tap, x, *sum);
                }
            }
        }
    }

    /// Values of `count` vectors from an offset on.
    #[inline(always)]
    fn vectors(&self, offset: usize, count: usize) -> &[f32] {
        self.copy[offset..][..count * S::LANES / GRANULE].as_flattened()
    }

    /// `sum ± x`, every other tap by the multiplier.
    #[inline(always)]
    fn term<const NEGATIVE: bool>(&self, tap: usize, x: S::F32, sum: S::F32) -> S::F32 {
        match (tap % 2, NEGATIVE) {
            (0, false) => self.simd.add(sum, x),
            (0, true) => self.simd.sub(sum, x),
            _ => self.simd.fma(x, self.one, sum),
        }
    }
}
