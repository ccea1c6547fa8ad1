//! The kernel that computes a node, with its weights packed.

use std::ops::Range;

use ec2t_format::graph::{Activation, Conv2d, Linear, Node, Pool2d, Shape};
use ec2t_format::{Network, Op, Tensor, TernaryTensor};
use ec2t_kernels::int::{Grids, IntConv, IntError};
use ec2t_kernels::{
    ConvPart, ConvShape, DenseConv, DenseLinear, Epilogue, PoolShape, TernaryConv, TernaryLinear,
    TernaryWeights, TooLarge, elementwise, spatial,
};

use crate::cost;
use crate::parallel::{Outputs, run_parts};

/// How a node is computed.
///
/// The kernels of the second group work in place: they change their first
/// operand.
#[derive(Debug)]
pub(crate) enum Kernel {
    TernaryConv(TernaryConv),
    DenseConv(DenseConv),
    TernaryLinear(TernaryLinear),
    DenseLinear(DenseLinear),
    MaxPool(PoolShape),
    AvgPool(PoolShape),
    GlobalAvgPool { plane: usize },
    PadShortcut { input: [usize; 2], stride: usize },

    BatchNorm { plane: usize, affine: Vec<(f32, f32)> },
    Activation(elementwise::Activation),
    Add,
    Multiply,
    MultiplyChannels { plane: usize },
}

impl Kernel {
    /// Chooses and packs the kernel of a node that reads `inputs`. A layer with
    /// weights ends in `fused`.
    ///
    /// # Errors
    /// Where a convolution is too large.
    ///
    /// # Panics
    /// Where the node computes nothing.
    pub(crate) fn new(
        network: &Network,
        node: &Node,
        inputs: &[Shape],
        fused: Option<Activation>,
    ) -> Result<Self, TooLarge> {
        let params = Params { network, layer: &node.name, fused };
        Ok(match &node.op {
            Op::Conv2d(conv) => params.conv(conv, inputs[0])?,
            Op::Linear(linear) => params.linear(linear),
            Op::MaxPool(pool) => Kernel::MaxPool(pool_shape(pool, inputs[0])),
            Op::AvgPool(pool) => Kernel::AvgPool(pool_shape(pool, inputs[0])),
            Op::GlobalAvgPool => Kernel::GlobalAvgPool { plane: plane(inputs[0]) },
            Op::PadShortcut(pad) => {
                Kernel::PadShortcut { input: size(inputs[0]), stride: pad.stride }
            }
            Op::BatchNorm(norm) => {
                Kernel::BatchNorm { plane: plane(inputs[0]), affine: params.affine(norm.eps) }
            }
            Op::Activation(function) => Kernel::Activation(activation(*function)),
            Op::Add => Kernel::Add,
            Op::Multiply if inputs[0] == inputs[1] => Kernel::Multiply,
            Op::Multiply => Kernel::MultiplyChannels { plane: plane(inputs[0]) },
            Op::Input | Op::Dropout { .. } | Op::Flatten => {
                unreachable!("layer `{}` computes nothing", node.name)
            }
        })
    }

    /// Whether the kernel changes its first operand instead of writing
    /// elsewhere.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(
            self,
            Kernel::BatchNorm { .. }
                | Kernel::Activation(_)
                | Kernel::Add
                | Kernel::Multiply
                | Kernel::MultiplyChannels { .. }
        )
    }

    /// Whether it reads ternary weights.
    pub(crate) fn is_ternary(&self) -> bool {
        matches!(self, Kernel::TernaryConv(_) | Kernel::TernaryLinear(_))
    }

    /// Number of values of scratch space that the kernel needs.
    pub(crate) fn workspace_len(&self) -> usize {
        match self {
            Kernel::TernaryConv(conv) => conv.workspace_len(),
            Kernel::DenseConv(conv) => conv.workspace_len(),
            _ => 0,
        }
    }

    /// Bytes of memory that the packed weights of a layer take.
    pub(crate) fn weight_bytes(&self) -> Option<usize> {
        match self {
            Kernel::TernaryConv(conv) => Some(conv.weight_bytes()),
            Kernel::DenseConv(conv) => Some(conv.weight_bytes()),
            Kernel::TernaryLinear(linear) => Some(linear.weight_bytes()),
            Kernel::DenseLinear(linear) => Some(linear.weight_bytes()),
            _ => None,
        }
    }

    /// Computes `output` from `input`. A kernel in place finds its first
    /// operand in `output`; its second one, if it has one, is `input`. Layers
    /// with weights add `residual`, and are shared by as many threads as there are
    /// workspaces.
    pub(crate) fn run(
        &self,
        input: &[f32],
        residual: Option<&[f32]>,
        output: &mut [f32],
        workspaces: &mut [Vec<f32>],
    ) {
        match self {
            Kernel::TernaryConv(conv) => {
                self.run_part(conv.whole(output), input, residual, workspaces);
            }
            Kernel::DenseConv(conv) => {
                self.run_part(conv.whole(output), input, residual, workspaces);
            }
            Kernel::TernaryLinear(linear) => run_parts(
                Outputs { first: 0, residual, values: output },
                workspaces,
                &Outputs::split,
                &|part, _| linear.run_outputs(part.first, input, part.residual, part.values),
            ),
            Kernel::DenseLinear(linear) => run_parts(
                Outputs { first: 0, residual, values: output },
                workspaces,
                &Outputs::split,
                &|part, _| linear.run_outputs(part.first, input, part.residual, part.values),
            ),
            Kernel::MaxPool(shape) => spatial::max_pool(shape, input, output),
            Kernel::AvgPool(shape) => spatial::avg_pool(shape, input, output),
            Kernel::GlobalAvgPool { plane } => spatial::global_avg_pool(*plane, input, output),
            Kernel::PadShortcut { input: size, stride } => {
                spatial::pad_shortcut(*size, *stride, input, output);
            }
            Kernel::BatchNorm { plane, affine } => elementwise::batch_norm(output, *plane, affine),
            Kernel::Activation(function) => elementwise::activate(output, *function),
            Kernel::Add => elementwise::add(output, input),
            Kernel::Multiply => elementwise::multiply(output, input),
            Kernel::MultiplyChannels { plane } => {
                elementwise::multiply_channels(output, *plane, input);
            }
        }
    }

    /// Computes some output channels of a convolution, or what some input channels of a
    /// depthwise one give; then `input` has these alone.
    ///
    /// # Panics
    /// Where it is no convolution.
    pub(crate) fn run_channels(
        &self,
        channels: Range<usize>,
        input: &[f32],
        output: &mut [f32],
        workspaces: &mut [Vec<f32>],
    ) {
        let part = match self {
            Kernel::TernaryConv(conv) => conv.outputs(channels, output),
            Kernel::DenseConv(conv) if conv.is_sliced() => conv.slice(channels, output),
            Kernel::DenseConv(conv) => conv.outputs(channels, output),
            _ => unreachable!("{} has no channels to be computed apart", self.name()),
        };
        self.run_part(part, input, None, workspaces);
    }

    /// Computes a part of a convolution.
    fn run_part(
        &self,
        part: ConvPart<'_>,
        input: &[f32],
        residual: Option<&[f32]>,
        workspaces: &mut [Vec<f32>],
    ) {
        match self {
            Kernel::TernaryConv(conv) => run_parts(
                part,
                workspaces,
                &|part, threads| conv.split(part, threads),
                &|part, workspace| conv.run_part(part, input, residual, workspace),
            ),
            Kernel::DenseConv(conv) => run_parts(
                part,
                workspaces,
                &|part, threads| conv.split(part, threads),
                &|part, workspace| conv.run_part(part, input, residual, workspace),
            ),
            _ => unreachable!("{} is no convolution", self.name()),
        }
    }

    /// Name of the kernel, for profiles; without what is fused into it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kernel::TernaryConv(_) => "ternary-conv",
            Kernel::DenseConv(_) => "dense-conv",
            Kernel::TernaryLinear(_) => "ternary-linear",
            Kernel::DenseLinear(_) => "dense-linear",
            Kernel::MaxPool(_) => "max-pool",
            Kernel::AvgPool(_) => "avg-pool",
            Kernel::GlobalAvgPool { .. } => "global-avg-pool",
            Kernel::PadShortcut { .. } => "pad-shortcut",
            Kernel::BatchNorm { .. } => "batch-norm",
            Kernel::Activation(function) => function.name(),
            Kernel::Add => "add",
            Kernel::Multiply => "multiply",
            Kernel::MultiplyChannels { .. } => "multiply-channels",
        }
    }
}

/// The kernels' word for an activation of a graph.
pub(crate) fn activation(function: Activation) -> elementwise::Activation {
    match function {
        Activation::Relu => elementwise::Activation::Relu,
        Activation::Relu6 => elementwise::Activation::Relu6,
        Activation::Swish => elementwise::Activation::Swish,
        Activation::HardSwish => elementwise::Activation::HardSwish,
        Activation::Sigmoid => elementwise::Activation::Sigmoid,
    }
}

/// The tensors of one layer.
pub(crate) struct Params<'n> {
    pub(crate) network: &'n Network,
    pub(crate) layer: &'n str,
    /// What the layer ends in.
    pub(crate) fused: Option<Activation>,
}

impl Params<'_> {
    /// A tensor that the layer has, because a network is complete.
    fn tensor(&self, suffix: &str) -> &Tensor {
        let name = format!("{}.{suffix}", self.layer);
        self.network.tensor(&name).expect("a network has every tensor that its graph names")
    }

    fn epilogue(&self, outputs: usize, scale: bool, bias: bool) -> Epilogue {
        let mut epilogue = Epilogue::new(outputs);
        if scale {
            epilogue = epilogue.scale(self.tensor("scale").to_f32());
        }
        if bias {
            epilogue = epilogue.bias(self.tensor("bias").to_f32());
        }
        if let Some(function) = self.fused {
            epilogue = epilogue.activation(activation(function));
        }
        epilogue
    }

    fn conv(&self, conv: &Conv2d, input: Shape) -> Result<Kernel, TooLarge> {
        let shape = conv_shape(conv, input);
        let epilogue = self.epilogue(conv.out_channels, conv.scale, conv.bias);
        Ok(match self.tensor("weight") {
            Tensor::Ternary(weight) if cost::is_conv_dense(shape, weight) => {
                Kernel::DenseConv(DenseConv::new(shape, &weight.to_f32(), epilogue)?)
            }
            Tensor::Ternary(weight) => {
                Kernel::TernaryConv(TernaryConv::new(shape, ternary(weight), epilogue)?)
            }
            Tensor::Dense(weight) => {
                Kernel::DenseConv(DenseConv::new(shape, weight.data(), epilogue)?)
            }
        })
    }

    /// A convolution with ternary weights that ends in nothing or a rectifier.
    pub(crate) fn int_conv(
        &self,
        op: &Op,
        input: Shape,
        grids: Grids,
    ) -> Result<Option<IntConv>, IntError> {
        let is_simple = matches!(self.fused, None | Some(Activation::Relu | Activation::Relu6));
        match op {
            Op::Conv2d(conv) if is_simple => {
                let Tensor::Ternary(weight) = self.tensor("weight") else { return Ok(None) };
                let epilogue = self.epilogue(conv.out_channels, conv.scale, conv.bias);
                IntConv::new(conv_shape(conv, input), ternary(weight), epilogue, grids).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn linear(&self, linear: &Linear) -> Kernel {
        let inputs = linear.in_features;
        let epilogue = self.epilogue(linear.out_features, false, linear.bias);
        match self.tensor("weight") {
            Tensor::Ternary(weight) if cost::is_linear_dense(weight) => {
                Kernel::DenseLinear(DenseLinear::new(inputs, &weight.to_f32(), epilogue))
            }
            Tensor::Ternary(weight) => {
                Kernel::TernaryLinear(TernaryLinear::new(inputs, ternary(weight), epilogue))
            }
            Tensor::Dense(weight) => {
                Kernel::DenseLinear(DenseLinear::new(inputs, weight.data(), epilogue))
            }
        }
    }

    /// Scale and shift of each channel of a batch normalisation.
    fn affine(&self, eps: f32) -> Vec<(f32, f32)> {
        let [weight, bias, mean, var] = ["weight", "bias", "running_mean", "running_var"]
            .map(|suffix| self.tensor(suffix).to_f32());
        (0..weight.len())
            .map(|c| elementwise::batch_norm_affine(weight[c], bias[c], mean[c], var[c], eps))
            .collect()
    }
}

fn ternary(tensor: &TernaryTensor) -> TernaryWeights<'_> {
    TernaryWeights { codes: tensor.codes(), w_neg: tensor.w_neg(), w_pos: tensor.w_pos() }
}

pub(crate) fn conv_shape(conv: &Conv2d, input: Shape) -> ConvShape {
    let geometry = conv.geometry(size(input)).expect("the network's shapes are traced");
    ConvShape {
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        input: size(input),
        kernel: conv.kernel,
        stride: conv.stride,
        dilation: conv.dilation,
        padding: geometry.padding,
        groups: conv.groups,
        output: geometry.output,
    }
}

pub(crate) fn pool_shape(pool: &Pool2d, input: Shape) -> PoolShape {
    let geometry = pool.geometry(size(input)).expect("the network's shapes are traced");
    PoolShape {
        channels: input.channels,
        input: size(input),
        kernel: pool.kernel,
        stride: pool.stride,
        padding: geometry.padding,
        output: geometry.output,
    }
}

pub(crate) fn size(shape: Shape) -> [usize; 2] {
    [shape.height, shape.width]
}

pub(crate) fn plane(shape: Shape) -> usize {
    shape.height * shape.width
}
