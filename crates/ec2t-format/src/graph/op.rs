//! The operations that a node can compute.

use serde::{Deserialize, Serialize};

/// What a [`Node`](super::Node) computes.
///
/// Activations are NCHW; shapes below leave out the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// The network's input; only node 0.
    Input,
    /// Convolution, `[C, H, W]` → `[O, H', W']`.
    Conv2d(Conv2d),
    /// Matrix product, `[I]` → `[O]`.
    Linear(Linear),
    /// Normalisation per channel.
    BatchNorm(BatchNorm),
    /// A function of each element.
    Activation(Activation),
    /// Sum of two equal shapes.
    Add,
    /// Product of two equal shapes, or of `[C, H, W]` and `[C, 1, 1]`.
    Multiply,
    /// Maximum over windows; padding counts as −∞.
    MaxPool(Pool2d),
    /// Mean over windows; padding counts as 0 and is part of the divisor.
    AvgPool(Pool2d),
    /// Mean over all pixels, `[C, H, W]` → `[C, 1, 1]`.
    GlobalAvgPool,
    /// ResNet's parameter-free "option A" shortcut.
    PadShortcut(PadShortcut),
    /// Zeroes elements at random in training; the identity otherwise.
    Dropout {
        /// Probability of a zero.
        p: f32,
    },
    /// `[C, H, W]` → `[C·H·W]`.
    Flatten,
}

impl Op {
    /// The operation's name, as in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Conv2d(_) => "conv2d",
            Op::Linear(_) => "linear",
            Op::BatchNorm(_) => "batch_norm",
            Op::Activation(_) => "activation",
            Op::Add => "add",
            Op::Multiply => "multiply",
            Op::MaxPool(_) => "max_pool",
            Op::AvgPool(_) => "avg_pool",
            Op::GlobalAvgPool => "global_avg_pool",
            Op::PadShortcut(_) => "pad_shortcut",
            Op::Dropout { .. } => "dropout",
            Op::Flatten => "flatten",
        }
    }
}

/// Convolution with weights `[O, C / groups, KH, KW]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Input channels C.
    pub in_channels: usize,
    /// Output channels O.
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Step in rows and columns.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// Distance between taps in rows and columns.
    pub dilation: [usize; 2],
    /// Number of groups; C for a depthwise convolution.
    pub groups: usize,
    /// Whether `NAME.bias`, `[O]`, is added.
    pub bias: bool,
    /// Whether the sum is multiplied by `NAME.scale`, `[O]`, before the bias is
    /// added: what batch normalisation becomes when it is folded into a layer
    /// whose weights must stay ternary.
    pub scale: bool,
}

/// Zeros around the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Rows and columns added at `[top, left, bottom, right]`.
    Explicit([usize; 4]),
    /// TensorFlow's "same": output `ceil(input / stride)`, the odd row or
    /// column going to the bottom and right.
    Same,
}

impl Padding {
    /// The same padding on all four sides.
    pub const fn all(pad: usize) -> Self {
        Padding::Explicit([pad; 4])
    }
}

/// Matrix product with weights `[out_features, in_features]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Length of the input.
    pub in_features: usize,
    /// Length of the output.
    pub out_features: usize,
    /// Whether `NAME.bias` is added.
    pub bias: bool,
}

/// `(x − running_mean) / √(running_var + eps) · weight + bias`, per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Number of channels.
    pub channels: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Weight of the newest batch in the running statistics (PyTorch's sense).
    pub momentum: f32,
}

impl BatchNorm {
    /// PyTorch's defaults: eps 1e-5, momentum 0.1.
    pub const fn new(channels: usize) -> Self {
        Self { channels, eps: 1e-5, momentum: 0.1 }
    }
}

/// A function of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`; its gradient at 0 is 0.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · sigmoid(x)`, also known as SiLU.
    Swish,
    /// `x · relu6(x + 3) / 6`.
    HardSwish,
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
}

/// Windows of a pooling layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool2d {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Step in rows and columns.
    pub stride: [usize; 2],
    /// Rows and columns added at `[top, left, bottom, right]`.
    pub padding: [usize; 4],
}

impl Pool2d {
    /// Square windows that do not overlap.
    pub const fn square(size: usize) -> Self {
        Self { kernel: [size; 2], stride: [size; 2], padding: [0; 4] }
    }
}

/// Takes every `stride`-th pixel and puts half of the missing channels, as
/// zeros, before and the rest after the existing ones (He et al. 2015, option
/// A, in the form of the CIFAR ResNets).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PadShortcut {
    /// Step in rows and columns.
    pub stride: usize,
    /// Channels of the result.
    pub out_channels: usize,
}
