//! Convolution and matrix product with weights −`w_neg`, 0 or +`w_pos`.
//!
//! Each output has two lists of offsets into its input: where its positive and
//! where its negative weights read. The sums over both lists need no weights
//! and skip the zeros; one multiplication per centroid follows, and then the
//! [`Epilogue`]:
//!
//! `sum[o] = w_pos · Σ₊x − w_neg · Σ₋x`
//!
//! This is the matrix product by centroid of Wiedemann et al. 2018 (CER),
//! vectorised over pixels: see the layout in `planes.rs`, which makes every tap
//! of a convolution one contiguous run.

use crate::epilogue::Epilogue;
use crate::planes::{Planes, SumTaps};
use crate::shape::{ConvShape, TooLarge};

/// Codes −1, 0 and +1 in row-major order, with what they stand for.
#[derive(Clone, Copy, Debug)]
pub struct TernaryWeights<'a> {
    /// One code for each weight.
    pub codes: &'a [i8],
    /// Magnitude of the weights of code −1.
    pub w_neg: f32,
    /// Value of the weights of code +1.
    pub w_pos: f32,
}

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
    planes: Planes,
    packed: Packed,
}

impl TernaryConv {
    /// Packs weights `[O, C / groups, KH, KW]`.
    ///
    /// # Errors
    /// [`TooLarge`] where the padded input exceeds 2^32 values.
    ///
    /// # Panics
    /// Where the number of codes or the epilogue's of outputs does not fit the
    /// shape.
    pub fn new(
        shape: ConvShape,
        weights: TernaryWeights<'_>,
        epilogue: Epilogue,
    ) -> Result<Self, TooLarge> {
        assert_eq!(weights.codes.len(), shape.weight_len(), "one code per weight");
        assert_eq!(epilogue.outputs(), shape.out_channels, "outputs of the epilogue");
        let planes = Planes::new(shape)?;
        let mut packed = Packed::new(weights, epilogue);
        for (o, codes) in weights.codes.chunks_exact(shape.taps()).enumerate() {
            packed.push(codes, planes.offsets(o));
        }
        Ok(Self { planes, packed })
    }

    /// Number of values that [`run`](Self::run) needs as scratch space.
    pub fn workspace_len(&self) -> usize {
        self.planes.workspace_len()
    }

    /// Bytes of memory that the packed weights take.
    pub fn weight_bytes(&self) -> usize {
        self.packed.weight_bytes()
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
        self.planes.convolve(&self.packed, input, residual, output, workspace);
    }
}

/// A packed ternary matrix product with its epilogue.
#[derive(Clone, Debug)]
pub struct TernaryLinear {
    in_features: usize,
    packed: Packed,
}

impl TernaryLinear {
    /// Packs weights `[O, I]` with I = `in_features`.
    ///
    /// # Panics
    /// Where the number of codes is not `in_features` for each output of the
    /// epilogue.
    pub fn new(in_features: usize, weights: TernaryWeights<'_>, epilogue: Epilogue) -> Self {
        let expected = in_features * epilogue.outputs();
        assert_eq!(weights.codes.len(), expected, "one code per weight");
        let mut packed = Packed::new(weights, epilogue);
        for codes in weights.codes.chunks_exact(in_features) {
            packed.push(codes, 0..);
        }
        Self { in_features, packed }
    }

    /// Bytes of memory that the packed weights take.
    pub fn weight_bytes(&self) -> usize {
        self.packed.weight_bytes()
    }

    /// Multiplies one vector; overwrites `output`.
    ///
    /// # Panics
    /// Where `input`, `residual` or `output` has the wrong length.
    pub fn run(&self, input: &[f32], residual: Option<&[f32]>, output: &mut [f32]) {
        assert_eq!(input.len(), self.in_features, "length of the input");
        assert_eq!(output.len(), self.packed.epilogue.outputs(), "length of the output");
        for (o, value) in output.iter_mut().enumerate() {
            [*value] = self.packed.sum(o, input);
        }
        self.packed.epilogue.apply_each(output, residual);
    }
}

/// For every output, where its nonzero weights read.
#[derive(Clone, Debug)]
struct Packed {
    /// The lists of output 0, those of output 1, …; of each output the
    /// positive list, then the negative one.
    offsets: Vec<u32>,
    /// Ends of both lists of each output.
    ends: Vec<[usize; 2]>,
    w_neg: f32,
    w_pos: f32,
    epilogue: Epilogue,
}

impl Packed {
    fn new(weights: TernaryWeights<'_>, epilogue: Epilogue) -> Self {
        let TernaryWeights { codes, w_neg, w_pos } = weights;
        let nonzero = codes.iter().filter(|code| **code != 0).count();
        Self { offsets: Vec::with_capacity(nonzero), ends: Vec::new(), w_neg, w_pos, epilogue }
    }

    /// Adds an output with these codes and the offset of each.
    fn push(&mut self, codes: &[i8], offsets: impl Iterator<Item = u32> + Clone) {
        let ends = [1, -1].map(|sign| {
            let taps = codes.iter().zip(offsets.clone());
            self.offsets.extend(taps.filter(|(code, _)| **code == sign).map(|(_, offset)| offset));
            self.offsets.len()
        });
        self.ends.push(ends);
    }

    fn weight_bytes(&self) -> usize {
        size_of_val(&self.offsets[..]) + size_of_val(&self.ends[..])
    }
}

impl SumTaps for Packed {
    fn sum<const N: usize>(&self, o: usize, copy: &[f32]) -> [f32; N] {
        let start = o.checked_sub(1).map_or(0, |before| self.ends[before][1]);
        let [middle, end] = self.ends[o];
        let pos = sum_runs::<N>(copy, &self.offsets[start..middle]);
        let neg = sum_runs::<N>(copy, &self.offsets[middle..end]);
        std::array::from_fn(|i| self.w_pos * pos[i] - self.w_neg * neg[i])
    }

    fn epilogue(&self) -> &Epilogue {
        &self.epilogue
    }
}

/// Sum of the runs of `N` values that start at each offset.
fn sum_runs<const N: usize>(copy: &[f32], offsets: &[u32]) -> [f32; N] {
    let mut sums = [0.0; N];
    for &offset in offsets {
        let run = &copy[offset as usize..][..N];
        for (sum, value) in sums.iter_mut().zip(run) {
            *sum += value;
        }
    }
    sums
}
