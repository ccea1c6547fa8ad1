//! Geometry of convolutions and pools.
//!
//! Pairs are `[rows, columns]`, padding is `[top, left, bottom, right]`. The
//! padding is resolved and the output size is known: whoever builds a shape
//! has traced the network.

use std::fmt;

/// A two-dimensional convolution of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Input channels C.
    pub in_channels: usize,
    /// Output channels O.
    pub out_channels: usize,
    /// Input rows and columns.
    pub input: [usize; 2],
    /// Kernel rows and columns.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Distance between taps.
    pub dilation: [usize; 2],
    /// Zeros around the input, `[top, left, bottom, right]`.
    pub padding: [usize; 4],
    /// Number of groups; it divides both numbers of channels.
    pub groups: usize,
    /// Output rows and columns.
    pub output: [usize; 2],
}

impl ConvShape {
    /// Values of the input, `C·H·W`.
    pub fn input_len(&self) -> usize {
        self.in_channels * self.input_plane()
    }

    /// Values of the output, `O·H'·W'`.
    pub fn output_len(&self) -> usize {
        self.out_channels * self.output_plane()
    }

    /// Values of the weights, `O·(C / groups)·KH·KW`.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.taps()
    }

    /// Weights of one output channel, `(C / groups)·KH·KW`.
    pub fn taps(&self) -> usize {
        self.in_channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Pixels of one input channel.
    pub fn input_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Pixels of one output channel.
    pub fn output_plane(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether each output pixel reads the input pixel at its place alone: 1×1, stride 1,
    /// no padding.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0; 4]
    }

    /// A convolution of single pixels as one of a single row; any other as it is.
    pub(crate) fn in_one_row(self) -> Self {
        match self.is_pointwise() {
            true => {
                let row = [1, self.output_plane()];
                ConvShape { input: row, output: row, dilation: [1, 1], ..self }
            }
            false => self,
        }
    }

    /// First of the input channels that `output_channel` reads.
    pub fn first_input(&self, output_channel: usize) -> usize {
        let group = output_channel / (self.out_channels / self.groups);
        group * (self.in_channels / self.groups)
    }
}

/// A pooling of one image; windows do not mix channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Channels of input and output.
    pub channels: usize,
    /// Input rows and columns.
    pub input: [usize; 2],
    /// Window rows and columns.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: [usize; 2],
    /// Rows and columns around the input, `[top, left, bottom, right]`.
    pub padding: [usize; 4],
    /// Output rows and columns.
    pub output: [usize; 2],
}

/// A convolution whose kernel has more taps than 16-bit offsets reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Kernel rows and columns.
    pub kernel: [usize; 2],
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, columns] = self.kernel;
        write!(f, "a kernel of {rows}×{columns} has too many taps")
    }
}

impl std::error::Error for TooLarge {}
