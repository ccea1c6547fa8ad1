//! From sums in registers to the output.

use std::ops::Range;

use super::part::ConvPart;
use crate::arch::Simd;
use crate::epilogue::Epilogue;
use crate::shape::ConvShape;

/// What follows the sums of a convolution, and where the results go.
pub(super) struct Finish<'a> {
    epilogue: &'a Epilogue,
    /// `[O, H, W]`.
    residual: Option<&'a [f32]>,
    pub(super) part: ConvPart<'a>,
    /// Columns of the output, and pixels of a channel of it.
    width: usize,
    plane: usize,
    /// Place of the part's first pixel in the plane.
    first_pixel: usize,
}

impl<'a> Finish<'a> {
    /// For a part of an output of this shape.
    ///
    /// # Panics
    /// Where the residual has the wrong length, or the part is one of another output.
    pub(super) fn new(
        shape: &ConvShape,
        epilogue: &'a Epilogue,
        residual: Option<&'a [f32]>,
        part: ConvPart<'a>,
    ) -> Self {
        assert!(part.is_of(shape), "a part of another convolution");
        let residual_len = residual.map_or(shape.output_len(), <[f32]>::len);
        assert_eq!(residual_len, shape.output_len(), "length of the residual");
        let (width, plane) = (shape.output[1], shape.output_plane());
        let first_pixel = part.rows.start * width + part.columns.start;
        Self { epilogue, residual, part, width, plane, first_pixel }
    }

    /// Where a tile goes that starts at a row and column: so many columns, in rows of so
    /// many vectors.
    #[inline(always)]
    pub(super) fn destination(
        &self,
        [row, column]: [usize; 2],
        columns: usize,
        vectors: usize,
    ) -> Destination {
        let first = row * self.width + column - self.first_pixel;
        Destination { first, pitch: self.width, columns, vectors }
    }

    /// Scales the sums of output channel `o` and adds the bias.
    #[inline(always)]
    pub(super) fn scale<S: Simd>(&self, simd: S, o: usize, sums: &mut [S::F32]) {
        self.epilogue.scale_vectors(simd, o, sums);
    }

    /// Adds the residual to scaled sums of output channel `o`, activates and stores.
    #[inline(always)]
    pub(super) fn write<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        o: usize,
        destination: Destination,
        mut values: [S::F32; N],
    ) {
        let output = self.part.values.channel(o - self.part.outputs.start);
        // One check of the bounds for all vectors, where their places are known.
        let len = (N / destination.vectors - 1) * destination.pitch + destination.columns;
        let output = &mut output[destination.first..][..len];
        if let Some(residual) = self.residual {
            let first = o * self.plane + self.first_pixel + destination.first;
            let residual = &residual[first..][..len];
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
            let output = &mut output[destination.vector::<S>(i)];
            match output.len() == S::LANES {
                true => simd.store(*value, output),
                false => simd.store_partial(*value, output),
            }
        }
        if self.epilogue.is_exponential() {
            for i in 0..N {
                self.epilogue.activate_exponential(&mut output[destination.vector::<S>(i)]);
            }
        }
    }

    /// As [`write`](Self::write), to some columns of the only row of an image, of which the
    /// last vector may have less than its lanes.
    #[inline(always)]
    pub(super) fn write_row<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        o: usize,
        columns: Range<usize>,
        mut values: [S::F32; N],
    ) {
        if let Some(residual) = self.residual {
            let residual = &residual[o * self.plane..][columns.clone()];
            for (value, x) in values.iter_mut().zip(load_row::<S, N>(simd, residual)) {
                *value = simd.add(*value, x);
            }
        }
        self.epilogue.activate_vectors(simd, &mut values);
        let first = columns.start - self.first_pixel;
        let output = self.part.values.channel(o - self.part.outputs.start);
        let output = &mut output[first..][..columns.len()];
        store_row(simd, values, output);
        if self.epilogue.is_exponential() {
            self.epilogue.activate_exponential(output);
        }
    }
}

/// Vectors of a row of values, of which the last may be short: zeros fill it.
///
/// # Panics
/// Where the row does not reach the last vector or goes beyond it.
#[inline(always)]
pub(super) fn load_row<S: Simd, const N: usize>(simd: S, row: &[f32]) -> [S::F32; N] {
    let (whole, last) = row.split_at((N - 1) * S::LANES);
    let mut vectors = [simd.splat(0.0); N];
    for (vector, values) in vectors.iter_mut().zip(whole.chunks_exact(S::LANES)) {
        *vector = simd.load(values);
    }
    vectors[N - 1] = match last.len() == S::LANES {
        true => simd.load(last),
        false => simd.load_partial(last),
    };
    vectors
}

/// Writes vectors to a row of values, of the last one as much as there is room for.
///
/// # Panics
/// As [`load_row`].
#[inline(always)]
pub(super) fn store_row<S: Simd, const N: usize>(simd: S, vectors: [S::F32; N], row: &mut [f32]) {
    let (whole, last) = row.split_at_mut((N - 1) * S::LANES);
    for (vector, values) in vectors.iter().zip(whole.chunks_exact_mut(S::LANES)) {
        simd.store(*vector, values);
    }
    match last.len() == S::LANES {
        true => simd.store(vectors[N - 1], last),
        false => simd.store_partial(vectors[N - 1], last),
    }
}

/// Rows of a channel of a part that a tile is written to.
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
    /// Places of the pixels of a vector, which may be only a part of it, or none, from the
    /// first pixel on.
    #[inline(always)]
    fn vector<S: Simd>(self, i: usize) -> Range<usize> {
        let (row, column) = (i / self.vectors, i % self.vectors * S::LANES);
        let line = row * self.pitch;
        line + column.min(self.columns)..line + (column + S::LANES).min(self.columns)
    }
}
