//! Matrix products with one vector, with ternary and with ordinary weights.

use crate::epilogue::Epilogue;
use crate::weights::TernaryWeights;

/// A packed ternary matrix product with its epilogue.
///
/// Each output has a list of the inputs that its positive weights read, and one for
/// its negative ones.
#[derive(Clone, Debug)]
pub struct TernaryLinear {
    in_features: usize,
    /// The lists of output 0, those of output 1, …
    inputs: Vec<u32>,
    /// Ends of both lists of each output.
    ends: Vec<[usize; 2]>,
    ratio: f32,
    epilogue: Epilogue,
}

impl TernaryLinear {
    /// Packs weights `[O, I]` with I = `in_features`.
    ///
    /// # Panics
    /// Where the number of codes is not `in_features` for each output of the
    /// epilogue.
    pub fn new(in_features: usize, weights: TernaryWeights<'_>, epilogue: Epilogue) -> Self {
        let outputs = epilogue.outputs();
        assert_eq!(weights.codes.len(), in_features * outputs, "one code per weight");
        let mut inputs = Vec::new();
        let mut ends = Vec::with_capacity(outputs);
        for o in 0..outputs {
            ends.push([0, 1].map(|list| {
                let row = 0..in_features;
                let codes = &weights.codes[o * in_features..];
                let listed = row.filter(|i| weights.list(codes[*i]) == Some(list));
                inputs.extend(listed.map(|i| u32::try_from(i).expect("fewer inputs than 2^32")));
                inputs.len()
            }));
        }
        let epilogue = epilogue.times(weights.factor());
        Self { in_features, inputs, ends, ratio: weights.ratio(), epilogue }
    }

    /// Bytes of memory that the packed weights take.
    pub fn weight_bytes(&self) -> usize {
        size_of_val(&self.inputs[..]) + size_of_val(&self.ends[..])
    }

    /// Multiplies one vector; overwrites `output`.
    ///
    /// # Panics
    /// Where `input`, `residual` or `output` has the wrong length.
    pub fn run(&self, input: &[f32], residual: Option<&[f32]>, output: &mut [f32]) {
        assert_eq!(output.len(), self.epilogue.outputs(), "length of the output");
        self.run_outputs(0, input, residual, output);
    }

    /// As [`run`](Self::run), for the outputs from `first` on that `output` has room for;
    /// `residual` is theirs.
    ///
    /// # Panics
    /// Where `input` or `residual` has the wrong length, or there are fewer outputs.
    pub fn run_outputs(
        &self,
        first: usize,
        input: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) {
        assert_eq!(input.len(), self.in_features, "length of the input");
        let sum = |list: &[u32]| list.iter().map(|i| input[*i as usize]).sum::<f32>();
        let (before, ends) = self.ends[..first + output.len()].split_at(first);
        let mut start = before.last().map_or(0, |[_, end]| *end);
        for (value, [middle, end]) in output.iter_mut().zip(ends) {
            let (positive, negative) = (&self.inputs[start..*middle], &self.inputs[*middle..*end]);
            *value = self.ratio * sum(positive) - sum(negative);
            start = *end;
        }
        self.epilogue.apply_each(first, output, residual);
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
        assert_eq!(output.len(), self.epilogue.outputs(), "length of the output");
        self.run_outputs(0, input, residual, output);
    }

    /// As [`run`](Self::run), for the outputs from `first` on that `output` has room for;
    /// `residual` is theirs.
    ///
    /// # Panics
    /// Where `input` or `residual` has the wrong length, or there are fewer outputs.
    pub fn run_outputs(
        &self,
        first: usize,
        input: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) {
        assert_eq!(input.len(), self.in_features, "length of the input");
        output.fill(0.0);
        let outputs = first..first + output.len();
        for (value, column) in input.iter().zip(self.columns.chunks_exact(self.epilogue.outputs()))
        {
            for (sum, weight) in output.iter_mut().zip(&column[outputs.clone()]) {
                *sum += weight * value;
            }
        }
        self.epilogue.apply_each(first, output, residual);
    }
}
