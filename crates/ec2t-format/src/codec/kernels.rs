//! What a codec knows of a tensor's shape.

/// A tensor as output channels × input channels × kernel rows × columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    /// Output channels.
    pub outputs: usize,
    /// Input channels that each of them sees.
    pub inputs: usize,
    /// Rows of a kernel.
    pub rows: usize,
    /// Columns of a kernel.
    pub cols: usize,
}

impl Kernels {
    /// From the shape of a weight: OIHW of a convolution, OI of a linear layer.
    /// Dimensions that are missing are 1; more than four are columns.
    ///
    /// ```
    /// use ec2t_format::codec::Kernels;
    ///
    /// let linear = Kernels::of_shape(&[10, 64]);
    /// assert_eq!((linear.outputs, linear.inputs, linear.rows, linear.cols), (10, 64, 1, 1));
    /// ```
    pub fn of_shape(shape: &[usize]) -> Self {
        let dim = |axis: usize| shape.get(axis).copied().unwrap_or(1);
        let cols = shape.iter().skip(3).fold(1usize, |product, &dim| product.saturating_mul(dim));
        Self { outputs: dim(0), inputs: dim(1), rows: dim(2), cols }
    }

    /// Weights of one kernel.
    pub fn area(self) -> usize {
        self.rows.saturating_mul(self.cols)
    }

    /// Weights of one output channel.
    pub fn row_len(self) -> usize {
        self.inputs.saturating_mul(self.area())
    }

    /// All weights.
    pub fn count(self) -> usize {
        self.outputs.saturating_mul(self.row_len())
    }
}
