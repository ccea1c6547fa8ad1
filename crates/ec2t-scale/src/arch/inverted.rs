//! What the networks of inverted residuals share (Sandler et al. 2018).
//!
//! A block widens its input with a 1×1 convolution, filters each channel alone
//! with a depthwise one, and narrows the result with another 1×1. Batch
//! normalisation follows each of them, an activation the first two, and the
//! input is added where neither size nor channels change. The families differ
//! in names, activation, padding and in what else a block has.

use ec2t_format::graph::{Activation, BatchNorm, Conv2d, GraphBuilder, Padding};
use ec2t_format::{NodeId, Op};

use crate::scaling::Scaling;

/// Blocks of one kind, one after the other.
pub(super) struct Stage {
    /// Channels of the depthwise convolution over those of the input.
    pub(super) expand: usize,
    /// Rows and columns of the depthwise convolution.
    pub(super) kernel: usize,
    /// Stride of the first block; that of the others is 1.
    pub(super) stride: usize,
    pub(super) channels: usize,
    pub(super) blocks: usize,
}

impl Stage {
    /// Expansion, kernel, stride, channels and blocks, as the papers list them.
    pub(super) const fn new(row: [usize; 5]) -> Self {
        let [expand, kernel, stride, channels, blocks] = row;
        Self { expand, kernel, stride, channels, blocks }
    }

    /// The stage with its channels and blocks scaled.
    pub(super) fn scaled(&self, scaling: Scaling) -> Self {
        let (channels, blocks) = (scaling.channels(self.channels), scaling.blocks(self.blocks));
        Self { channels, blocks, ..*self }
    }

    /// Its blocks, for an input of so many channels.
    pub(super) fn blocks(&self, input: usize) -> impl Iterator<Item = Block> + use<> {
        let &Self { expand, kernel, stride, channels, .. } = self;
        (0..self.blocks).map(move |i| {
            let (input, stride) = if i == 0 { (input, stride) } else { (channels, 1) };
            Block { input, hidden: expand * input, kernel, stride, output: channels }
        })
    }
}

/// Numbers of one block.
pub(super) struct Block {
    pub(super) input: usize,
    /// Channels of the depthwise convolution.
    pub(super) hidden: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) output: usize,
}

impl Block {
    /// Whether there is a convolution before the depthwise one.
    pub(super) fn expands(&self) -> bool {
        self.hidden != self.input
    }

    /// The depthwise convolution.
    pub(super) fn depthwise(&self) -> Filter {
        let &Self { hidden, kernel, stride, .. } = self;
        Filter { out: hidden, kernel, stride, groups: hidden }
    }

    /// Whether the input is added to the output.
    pub(super) fn is_residual(&self) -> bool {
        self.stride == 1 && self.input == self.output
    }
}

/// Numbers of a convolution.
pub(super) struct Filter {
    pub(super) out: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) groups: usize,
}

impl Filter {
    /// 3×3 of stride 2: how all these networks begin.
    pub(super) fn stem(out: usize) -> Self {
        Self { out, kernel: 3, stride: 2, groups: 1 }
    }

    /// 1×1.
    pub(super) fn pointwise(out: usize) -> Self {
        Self { out, kernel: 1, stride: 1, groups: 1 }
    }
}

/// What is the same in all layers of a network.
pub(super) struct Style {
    pub(super) activation: Activation,
    /// Whether padding is TensorFlow's "same" instead of half the kernel.
    pub(super) same_padding: bool,
    pub(super) norm: Norm,
}

/// Numbers of all batch normalisations.
#[derive(Clone, Copy)]
pub(super) struct Norm {
    pub(super) eps: f32,
    pub(super) momentum: f32,
}

impl Norm {
    pub(super) const PYTORCH: Self = Self { eps: 1e-5, momentum: 0.1 };
}

/// Adds layers in one style.
pub(super) struct Layers {
    pub(super) g: GraphBuilder,
    pub(super) style: Style,
}

impl Layers {
    /// Convolution without bias, and batch normalisation.
    pub(super) fn conv(&mut self, names: [&str; 2], x: NodeId, filter: Filter) -> NodeId {
        let conv = Conv2d {
            in_channels: self.g.shape(x).channels,
            out_channels: filter.out,
            kernel: [filter.kernel; 2],
            stride: [filter.stride; 2],
            padding: match self.style.same_padding {
                true => Padding::Same,
                false => Padding::all(filter.kernel / 2),
            },
            dilation: [1; 2],
            groups: filter.groups,
            bias: false,
            scale: false,
        };
        let Norm { eps, momentum } = self.style.norm;
        let norm = BatchNorm { channels: filter.out, eps, momentum };
        let x = self.g.push(names[0], Op::Conv2d(conv), &[x]);
        self.g.push(names[1], Op::BatchNorm(norm), &[x])
    }

    /// The network's activation.
    pub(super) fn activation(&mut self, name: &str, x: NodeId) -> NodeId {
        self.g.activation(name, x, self.style.activation)
    }

    /// Convolution and batch normalisation, under the names that torchvision's
    /// `Conv2dNormActivation` gives them.
    pub(super) fn conv_norm(&mut self, name: &str, x: NodeId, filter: Filter) -> NodeId {
        self.conv([&format!("{name}.0"), &format!("{name}.1")], x, filter)
    }

    /// The same, and the activation.
    pub(super) fn unit(&mut self, name: &str, x: NodeId, filter: Filter) -> NodeId {
        let x = self.conv_norm(name, x, filter);
        self.activation(&format!("{name}.2"), x)
    }

    /// Pooling, dropout and the linear layer, under torchvision's names.
    pub(super) fn classifier(&mut self, x: NodeId, dropout: f32, classes: usize) {
        let x = self.g.global_avg_pool("avgpool", x);
        let x = self.g.flatten("flatten", x);
        let x = self.g.dropout("classifier.0", x, dropout);
        self.g.linear("classifier.1", x, classes);
    }
}
