//! A safe face for the `gemm` crate: `out = lhs · rhs` on slices.

/// A matrix laid over a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix that covers `data` exactly.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "matrix of {rows}×{cols}");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// `out = lhs · rhs`, or `out += lhs · rhs`, for a row-major `out`; on the
/// calling thread.
pub(super) fn matmul(out: &mut [f32], lhs: Matrix, rhs: Matrix, accumulate: bool) {
    assert_eq!(lhs.cols, rhs.rows, "inner dimensions of a product");
    assert_eq!(out.len(), lhs.rows * rhs.cols, "size of a product");
    // SAFETY: `Matrix` covers its slice exactly, in either order of strides, and
    // `out` has rows × cols values at strides (cols, 1), as asserted above; so
    // every element that gemm touches is inside one of the three slices. `out`
    // is borrowed mutably and can't overlap the operands.
    unsafe {
        gemm::gemm(
            lhs.rows,
            rhs.cols,
            lhs.cols,
            out.as_mut_ptr(),
            1,
            rhs.cols as isize,
            accumulate,
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_all_orders() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 2.0, 0.0, 1.0, 3.0];
        let mut out = [0.0; 4];
        // [1 2 3; 4 5 6] · [1 0; 2 0; 1 3]
        matmul(&mut out, Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2), false);
        assert_eq!(out, [8.0, 9.0, 20.0, 18.0]);
        matmul(&mut out, Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2), true);
        assert_eq!(out, [16.0, 18.0, 40.0, 36.0]);
        // [1 2 3; 4 5 6] · [1 0 2; 0 1 3]ᵀ
        matmul(&mut out, Matrix::new(&a, 2, 3), Matrix::new(&b, 2, 3).transposed(), false);
        assert_eq!(out, [7.0, 11.0, 16.0, 23.0]);
    }
}
