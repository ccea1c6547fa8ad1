//! Convolution and matrix product with ordinary weights.
//!
//! The convolution reads the same layout as the ternary one (`planes.rs`) and
//! adds, tap by tap, a contiguous run times a weight. It serves the layers that
//! stay in full precision: stems, depthwise convolutions, classifiers.

use crate::epilogue::Epilogue;
use crate::planes::{Planes, SumTaps};
use crate::shape::{ConvShape, TooLarge};

/// A packed dense convolution with its epilogue.
#[derive(Clone, Debug)]
pub struct DenseConv {
    planes: Planes,
    packed: Packed,
}

impl DenseConv {
    /// Packs weights `[O, C / groups, KH, KW]`.
    ///
    /// # Errors
    /// [`TooLarge`] where the padded input exceeds 2^32 values.
    ///
    /// # Panics
    /// Where the number of weights or the epilogue's of outputs does not fit
    /// the shape.
    pub fn new(shape: ConvShape, weights: &[f32], epilogue: Epilogue) -> Result<Self, TooLarge> {
        assert_eq!(weights.len(), shape.weight_len(), "length of the weights");
        assert_eq!(epilogue.outputs(), shape.out_channels, "outputs of the epilogue");
        let planes = Planes::new(shape)?;
        let outputs_per_group = shape.out_channels / shape.groups;
        let offsets = (0..shape.groups).flat_map(|group| planes.offsets(group * outputs_per_group));
        let packed = Packed {
            weights: weights.to_vec(),
            offsets: offsets.collect(),
            taps: shape.taps(),
            outputs_per_group,
            epilogue,
        };
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

/// Weights as given, and the offset of each tap of each group.
#[derive(Clone, Debug)]
struct Packed {
    weights: Vec<f32>,
    offsets: Vec<u32>,
    taps: usize,
    outputs_per_group: usize,
    epilogue: Epilogue,
}

impl Packed {
    fn weight_bytes(&self) -> usize {
        size_of_val(&self.weights[..]) + size_of_val(&self.offsets[..])
    }
}

impl SumTaps for Packed {
    fn sum<const N: usize>(&self, o: usize, copy: &[f32]) -> [f32; N] {
        let weights = &self.weights[o * self.taps..][..self.taps];
        let group = o / self.outputs_per_group;
        let offsets = &self.offsets[group * self.taps..][..self.taps];
        let mut sums = [0.0; N];
        for (&weight, &offset) in weights.iter().zip(offsets) {
            let run = &copy[offset as usize..][..N];
            for (sum, value) in sums.iter_mut().zip(run) {
                *sum += weight * value;
            }
        }
        sums
    }

    fn epilogue(&self) -> &Epilogue {
        &self.epilogue
    }
}

/// A packed dense matrix product with its epilogue.
///
/// The weights are transposed, so that the inner loop runs over all outputs.
#[derive(Clone, Debug)]
pub struct DenseLinear {
    /// `[I, O]`.
    columns: Vec<f32>,
    in_features: usize,
    epilogue: Epilogue,
}

impl DenseLinear {
    /// Packs weights `[O, I]` with I = `in_features`.
    ///
    /// # Panics
    /// Where the number of weights is not `in_features` for each output of the
    /// epilogue.
    pub fn new(in_features: usize, weights: &[f32], epilogue: Epilogue) -> Self {
        assert_eq!(weights.len(), in_features * epilogue.outputs(), "length of the weights");
        let column = |i: usize| weights.iter().skip(i).step_by(in_features);
        Self {
            columns: (0..in_features).flat_map(column).copied().collect(),
            in_features,
            epilogue,
        }
    }

    /// Bytes of memory that the packed weights take.
    pub fn weight_bytes(&self) -> usize {
        size_of_val(&self.columns[..])
    }

    /// Multiplies one vector; overwrites `output`.
    ///
    /// # Panics
    /// Where `input`, `residual` or `output` has the wrong length.
    pub fn run(&self, input: &[f32], residual: Option<&[f32]>, output: &mut [f32]) {
        assert_eq!(input.len(), self.in_features, "length of the input");
        assert_eq!(output.len(), self.epilogue.outputs(), "length of the output");
        output.fill(0.0);
        for (value, column) in input.iter().zip(self.columns.chunks_exact(output.len())) {
            for (sum, weight) in output.iter_mut().zip(column) {
                *sum += weight * value;
            }
        }
        self.epilogue.apply_each(output, residual);
    }
}
