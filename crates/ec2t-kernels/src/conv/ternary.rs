//! The convolution with weights −`w_neg`, 0 and +`w_pos`.

use std::ops::Range;

use super::finish::Finish;
use super::layout::Layout;
use super::lists::Lists;
use super::pointwise::{Channels, Pixels};
use super::{ConvPart, Convolve, workspace_len};
use crate::arch::{Isa, isa};
use crate::epilogue::Epilogue;
use crate::shape::{ConvShape, TooLarge};
use crate::weights::TernaryWeights;

/// A packed ternary convolution with its epilogue.
///
/// ```
/// use ec2t_kernels::{ConvShape, Epilogue, TernaryConv, TernaryWeights};
///
/// // The horizontal difference of an image of 1 × 3 pixels.
/// let shape = ConvShape {
///     in_channels: 1,
///     out_channels: 1,
///     input: [1, 3],
///     kernel: [1, 2],
///     stride: [1, 1],
///     dilation: [1, 1],
///     padding: [0; 4],
///     groups: 1,
///     output: [1, 2],
/// };
/// let weights = TernaryWeights { codes: &[-1, 1], w_neg: 0.5, w_pos: 0.5 };
/// let conv = TernaryConv::new(shape, weights, Epilogue::new(1).bias([10.0]))?;
///
/// let mut output = [0.0; 2];
/// conv.run(&[1.0, 2.0, 5.0], None, &mut output, &mut vec![0.0; conv.workspace_len()]);
/// assert_eq!(output, [10.5, 11.5]);
/// # Ok::<(), ec2t_kernels::TooLarge>(())
/// ```
#[derive(Clone, Debug)]
pub struct TernaryConv {
    layout: Layout,
    lists: AnyLists,
    /// Weights that are not zero before each output, and of all.
    totals: Vec<u32>,
    epilogue: Epilogue,
}

/// The weights of one tap for each channel, or of many.
#[derive(Clone, Debug)]
enum AnyLists {
    Channels(Channels),
    Taps(Lists),
}

impl TernaryConv {
    /// Packs weights `[O, C / groups, KH, KW]`.
    ///
    /// # Errors
    /// [`TooLarge`] where a kernel has too many taps.
    ///
    /// # Panics
    /// Where the number of codes or the epilogue's of outputs does not fit the
    /// shape.
    pub fn new(
        shape: ConvShape,
        weights: TernaryWeights<'_>,
        epilogue: Epilogue,
    ) -> Result<Self, TooLarge> {
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
        weights: TernaryWeights<'_>,
        epilogue: Epilogue,
    ) -> Result<Self, TooLarge> {
        assert_eq!(weights.codes.len(), shape.weight_len(), "one code per weight");
        assert_eq!(epilogue.outputs(), shape.out_channels, "outputs of the epilogue");
        let layout = Layout::new(shape, isa)?;
        let lists = match layout.is_pointwise() {
            true => AnyLists::Channels(Channels::new(&layout, weights)),
            false => AnyLists::Taps(Lists::new(&layout, weights)),
        };
        let totals = weights.totals(shape.taps());
        Ok(Self { layout, lists, totals, epilogue: epilogue.times(weights.factor()) })
    }

    /// Number of values that [`run`](Self::run) needs as scratch space.
    pub fn workspace_len(&self) -> usize {
        workspace_len(&self.layout)
    }

    /// Bytes of memory that the packed weights take.
    pub fn weight_bytes(&self) -> usize {
        let lists = match &self.lists {
            AnyLists::Channels(channels) => channels.bytes(),
            AnyLists::Taps(lists) => lists.bytes(),
        };
        lists + size_of_val(&self.totals[..])
    }

    /// Convolves one image; overwrites `output` and `workspace`.
    ///
    /// # Panics
    /// Where `input`, `residual` or `output` has the wrong length or
    /// `workspace` is too short.
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
        ConvPart::whole(&self.layout.shape, output)
    }

    /// Some channels of an output, `[channels, H, W]`, as a part.
    ///
    /// # Panics
    /// Where `output` has the wrong length.
    pub fn outputs<'o>(&self, outputs: Range<usize>, output: &'o mut [f32]) -> ConvPart<'o> {
        ConvPart::outputs(&self.layout.shape, outputs, output)
    }

    /// Splits a part in two, for so many threads each, unless it is too small.
    pub fn split<'o>(
        &self,
        part: ConvPart<'o>,
        threads: [usize; 2],
    ) -> (ConvPart<'o>, Option<ConvPart<'o>>) {
        part.split(&self.layout, |output| self.totals[output] as usize, threads)
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
        let Self { layout, lists, epilogue, .. } = self;
        let finish = Finish::new(&layout.shape, epilogue, residual, part);
        match lists {
            AnyLists::Channels(channels) => {
                Pixels { layout, channels, input, finish }.run(workspace);
            }
            AnyLists::Taps(taps) => Convolve { layout, taps, input, finish }.run(workspace),
        }
    }
}
