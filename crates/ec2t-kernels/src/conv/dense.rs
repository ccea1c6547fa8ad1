//! The convolution with ordinary weights.
//!
//! It serves the layers that stay in full precision, stems above all; most depthwise ones
//! have [loops of their own](super::depthwise). Tap by tap, a weight times the pixels that
//! it meets is added to sums in registers: those of one output, or of two, for which pixels
//! are loaded once, where the registers suffice. Product and sum are rounded each: fused,
//! they would depend on the instruction set.

use std::ops::Range;

use super::depthwise::Depthwise;
use super::finish::Finish;
use super::layout::{GRANULE, Layout};
use super::{ConvPart, Convolve, Taps, workspace_len};
use crate::arch::{Isa, Simd, isa};
use crate::epilogue::Epilogue;
use crate::shape::{ConvShape, TooLarge};

/// A packed dense convolution with its epilogue.
#[derive(Clone, Debug)]
pub struct DenseConv {
    loops: Loops,
    epilogue: Epilogue,
}

/// How it is computed.
#[derive(Clone, Debug)]
enum Loops {
    Depthwise(Depthwise),
    Any(Layout, Weights),
}

impl DenseConv {
    /// Packs weights `[O, C / groups, KH, KW]`.
    ///
    /// # Errors
    /// [`TooLarge`] where a kernel has too many taps.
    ///
    /// # Panics
    /// Where the number of weights or the epilogue's of outputs does not fit the
    /// shape.
    pub fn new(shape: ConvShape, weights: &[f32], epilogue: Epilogue) -> Result<Self, TooLarge> {
        Self::with_isa(isa(), shape, weights, epilogue)
    }

    /// As [`new`](Self::new), for an instruction set of choice.
    ///
    /// # Errors
    /// As `new`.
    ///
    /// # Panics
    /// As `new`.
    pub fn with_isa(
        isa: Isa,
        shape: ConvShape,
        weights: &[f32],
        epilogue: Epilogue,
    ) -> Result<Self, TooLarge> {
        assert_eq!(weights.len(), shape.weight_len(), "length of the weights");
        assert_eq!(epilogue.outputs(), shape.out_channels, "outputs of the epilogue");
        let loops = match Depthwise::new(isa, shape, weights) {
            Some(depthwise) => Loops::Depthwise(depthwise),
            None => {
                let layout = Layout::new(shape, isa)?;
                let weights = Weights::new(&layout, weights);
                Loops::Any(layout, weights)
            }
        };
        Ok(Self { loops, epilogue })
    }

    /// Number of values that [`run`](Self::run) needs as scratch space.
    pub fn workspace_len(&self) -> usize {
        match &self.loops {
            Loops::Depthwise(depthwise) => depthwise.workspace_len(),
            Loops::Any(layout, _) => workspace_len(layout),
        }
    }

    /// Bytes of memory that the packed weights take.
    pub fn weight_bytes(&self) -> usize {
        match &self.loops {
            Loops::Depthwise(depthwise) => depthwise.weight_bytes(),
            Loops::Any(_, weights) => weights.bytes(),
        }
    }

    /// Convolves one image; overwrites `output` and `workspace`.
    ///
    /// # Panics
    /// Where `input`, `residual` or `output` has the wrong length or `workspace` is
    /// too short.
    pub fn run(
        &self,
        input: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
        workspace: &mut [f32],
    ) {
        self.run_part(self.whole(output), input, residual, workspace);
    }

    /// All of an output, as a part.
    ///
    /// # Panics
    /// Where `output` has the wrong length.
    pub fn whole<'o>(&self, output: &'o mut [f32]) -> ConvPart<'o> {
        ConvPart::whole(self.shape(), output)
    }

    /// Some channels of an output, `[channels, H, W]`, as a part.
    ///
    /// # Panics
    /// Where `output` has the wrong length.
    pub fn outputs<'o>(&self, outputs: Range<usize>, output: &'o mut [f32]) -> ConvPart<'o> {
        ConvPart::outputs(self.shape(), outputs, output)
    }

    /// What some input channels of a convolution that [is sliced](Self::is_sliced) give,
    /// `[channels, H, W]`, as a part: [`run_part`](Self::run_part) takes an input of these
    /// channels alone.
    ///
    /// # Panics
    /// Where it is not sliced, or `output` has the wrong length.
    pub fn slice<'o>(&self, inputs: Range<usize>, output: &'o mut [f32]) -> ConvPart<'o> {
        match &self.loops {
            Loops::Depthwise(depthwise) => depthwise.slice(inputs, output),
            Loops::Any(..) => panic!("a convolution whose channels depend on each other"),
        }
    }

    /// Whether channels are computed apart from each other: most depthwise convolutions.
    pub fn is_sliced(&self) -> bool {
        Self::slices(self.shape())
    }

    /// Whether convolutions of this shape [are sliced](Self::is_sliced).
    pub fn slices(shape: &ConvShape) -> bool {
        Depthwise::has_loop(shape)
    }

    fn shape(&self) -> &ConvShape {
        match &self.loops {
            Loops::Depthwise(depthwise) => depthwise.shape(),
            Loops::Any(layout, _) => &layout.shape,
        }
    }

    /// Splits a part in two, for so many threads each, unless it is too small.
    pub fn split<'o>(
        &self,
        part: ConvPart<'o>,
        threads: [usize; 2],
    ) -> (ConvPart<'o>, Option<ConvPart<'o>>) {
        match &self.loops {
            Loops::Depthwise(depthwise) => depthwise.split(part, threads),
            Loops::Any(layout, _) => part.split(layout, |output| output, threads),
        }
    }

    /// As [`run`](Self::run), for a part of the output; `input` and `residual` are
    /// those of all of it. The bits do not depend on how it was split.
    ///
    /// # Panics
    /// Where `input` or `residual` has the wrong length, the part is one of another
    /// convolution or `workspace` is too short.
    pub fn run_part(
        &self,
        part: ConvPart<'_>,
        input: &[f32],
        residual: Option<&[f32]>,
        workspace: &mut [f32],
    ) {
        match &self.loops {
            Loops::Depthwise(depthwise) => {
                let finish = Finish::new(depthwise.shape(), &self.epilogue, residual, part);
                depthwise.run(input, finish, workspace);
            }
            Loops::Any(layout, taps) => {
                let finish = Finish::new(&layout.shape, &self.epilogue, residual, part);
                Convolve { layout, taps, input, finish }.run(workspace);
            }
        }
    }
}

/// Weights as given, and the offset of each tap of a block.
#[derive(Clone, Debug)]
struct Weights {
    /// `[O, C / groups, KH, KW]`.
    weights: Vec<f32>,
    /// Weights of an output.
    taps: usize,
    /// Of the taps of the first block, which is the longest.
    offsets: Vec<u16>,
    /// Of each block, its first weight in each output, and their number.
    blocks: Vec<[usize; 2]>,
    /// First output of each chunk.
    chunks: Vec<usize>,
    /// Granules between phases of the copy.
    phase_step: usize,
}

impl Weights {
    fn new(layout: &Layout, weights: &[f32]) -> Self {
        let [rows, columns] = layout.shape.kernel;
        let block = |block| {
            let taps = layout.blocks().channels(0, block).len() * rows * columns;
            [layout.blocks().first_weight(0, block), taps]
        };
        Self {
            weights: weights.to_vec(),
            taps: layout.shape.taps(),
            // Blocks start alike, and the first one is the longest.
            offsets: layout.offsets(0),
            blocks: (0..layout.blocks().count()).map(block).collect(),
            chunks: layout.blocks().chunks().map(|(_, outputs)| outputs.start).collect(),
            phase_step: layout.phase_step(),
        }
    }

    fn bytes(&self) -> usize {
        size_of_val(&self.weights[..]) + size_of_val(&self.offsets[..])
    }

    /// The weights of an output in a block.
    #[inline(always)]
    fn of_output(&self, [block, first]: [usize; 2]) -> &[f32] {
        &self.weights[first..][..self.blocks[block][1]]
    }

    /// Adds the products of a tap's pixels and its weights of `O` outputs; each vector of
    /// pixels is loaded once.
    #[inline(always)]
    fn add<S: Simd, const O: usize, const N: usize, const P: usize>(
        &self,
        simd: S,
        sums: &mut [[S::F32; N]; O],
        weights: [f32; O],
        offset: u16,
        copy: &[[f32; GRANULE]],
    ) {
        for phase in 0..P {
            let pixels = &copy[usize::from(offset) + phase * self.phase_step..];
            let pixels = pixels[..N / P * S::LANES / GRANULE].as_flattened();
            for i in 0..N / P {
                let x = simd.load(&pixels[i * S::LANES..]);
                for (sums, weight) in sums.iter_mut().zip(weights) {
                    let sum = &mut sums[phase * (N / P) + i];
                    *sum = simd.add(*sum, simd.mul(simd.splat(weight), x));
                }
            }
        }
    }
}

impl Taps for Weights {
    /// The block, and the first weight of the output in it.
    type Cursor = [usize; 2];

    /// A product takes a load as well as an addition, which would limit the loop.
    const SHARES_LOADS: bool = true;

    #[inline(always)]
    fn start(&self, block: usize, chunk: usize) -> [usize; 2] {
        [block, self.chunks[chunk] * self.taps + self.blocks[block][0]]
    }

    #[inline(always)]
    fn skip(&self, [block, first]: [usize; 2], outputs: usize) -> [usize; 2] {
        [block, first + outputs * self.taps]
    }

    #[inline(always)]
    fn sum<S: Simd, const N: usize, const V: usize, const P: usize>(
        &self,
        simd: S,
        cursor: &mut [usize; 2],
        copy: &[[f32; GRANULE]],
    ) -> [S::F32; N] {
        let weights = self.of_output(*cursor);
        let mut sums = [[simd.splat(0.0); N]; 1];
        for (weight, offset) in weights.iter().zip(&self.offsets) {
            self.add::<S, 1, N, P>(simd, &mut sums, [*weight], *offset, copy);
        }
        cursor[1] += self.taps;
        sums[0]
    }

    #[inline(always)]
    fn sum_two<S: Simd, const N: usize, const V: usize, const P: usize>(
        &self,
        simd: S,
        cursor: &mut [usize; 2],
        copy: &[[f32; GRANULE]],
    ) -> [[S::F32; N]; 2] {
        let [block, first] = *cursor;
        let weights = self.of_output(*cursor).iter();
        let weights = weights.zip(self.of_output([block, first + self.taps]));
        let mut sums = [[simd.splat(0.0); N]; 2];
        for ((first, second), offset) in weights.zip(&self.offsets) {
            self.add::<S, 2, N, P>(simd, &mut sums, [*first, *second], *offset, copy);
        }
        cursor[1] += 2 * self.taps;
        sums
    }
}
