//! From sums in registers to the output.

use std::ops::Range;

use crate::arch::Simd;
use crate::epilogue::Epilogue;

/// What follows the sums of a convolution, and where the results go.
pub(super) struct Finish<'a> {
    pub(super) epilogue: &'a Epilogue,
    /// `[O, H, W]`, as the output.
    pub(super) residual: Option<&'a [f32]>,
    pub(super) output: &'a mut [f32],
}

impl Finish<'_> {
    /// Scales sums of output channel `o`, adds bias and residual, activates and stores.
    #[inline(always)]
    pub(super) fn write<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        o: usize,
        destination: Destination,
        mut values: [S::F32; N],
    ) {
        self.epilogue.scale_vectors(simd, o, &mut values);
        if let Some(residual) = self.residual {
            for (i, value) in values.iter_mut().enumerate() {
                let residual = &residual[destination.vector::<S>(i)];
                let residual = match residual.len() == S::LANES {
                    true => simd.load(residual),
                    false => simd.load_partial(residual),
                };
                *value = simd.add(*value, residual);
            }
        }
        self.epilogue.activate_vectors(simd, &mut values);
        for (i, value) in values.iter().enumerate() {
            let output = &mut self.output[destination.vector::<S>(i)];
            match output.len() == S::LANES {
                true => simd.store(*value, output),
                false => simd.store_partial(*value, output),
            }
            self.epilogue.activate_exponential(output);
        }
    }
}

/// Rows of the output that a tile is written to.
#[derive(Clone, Copy)]
pub(super) struct Destination {
    /// Place of the first pixel.
    pub(super) first: usize,
    /// Values between rows.
    pub(super) pitch: usize,
    /// Pixels of a row, and vectors that it takes or more.
    pub(super) columns: usize,
    pub(super) vectors: usize,
}

impl Destination {
    /// Places of the pixels of a vector, which may be only a part of it, or none.
    #[inline(always)]
    fn vector<S: Simd>(self, i: usize) -> Range<usize> {
        let (row, column) = (i / self.vectors, i % self.vectors * S::LANES);
        let line = self.first + row * self.pitch;
        line + column.min(self.columns)..line + (column + S::LANES).min(self.columns)
    }
}
