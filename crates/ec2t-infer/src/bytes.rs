//! Kernels that read or write activations in 8 bits.

use ec2t_format::graph::{Activation, Node, Shape};
use ec2t_format::{Network, Op};
use ec2t_kernels::PoolShape;
use ec2t_kernels::int::{self, Grid, Grids, IntConv, IntError, Scratch};

use crate::kernel::{Params, plane, pool_shape, size};
use crate::layout::Form;

/// How a node is computed from bytes, or bytes are made of floats and floats of bytes.
#[derive(Debug)]
pub(crate) enum ByteKernel {
    Quantize(Grid),
    Dequantize(Grid),
    Conv(Box<IntConv>),
    MaxPool(PoolShape),
    PadShortcut { input: [usize; 2], stride: usize, zero: u8 },
    GlobalAvgPool { grid: Grid, plane: usize },
}

/// What a kernel writes.
pub(crate) enum Output<'a> {
    Floats(&'a mut [f32]),
    Bytes(&'a mut [u8]),
}

impl ByteKernel {
    /// The kernel of a convolution with ternary weights that ends in `fused`; `None` where
    /// none computes it in integers.
    pub(crate) fn conv(
        network: &Network,
        node: &Node,
        input: Shape,
        fused: Option<Activation>,
        grids: Grids,
    ) -> Result<Option<Self>, IntError> {
        let params = Params { network, layer: &node.name, fused };
        Ok(params.int_conv(&node.op, input, grids)?.map(|conv| ByteKernel::Conv(Box::new(conv))))
    }

    /// The kernel of a node whose input is in bytes and stays on its grid, or is a mean of
    /// them; `None` where there is none.
    pub(crate) fn spatial(op: &Op, input: Shape, grid: Grid) -> Option<Self> {
        Some(match op {
            Op::MaxPool(pool) => ByteKernel::MaxPool(pool_shape(pool, input)),
            Op::PadShortcut(pad) => {
                let (input, stride, zero) = (size(input), pad.stride, grid.zero);
                ByteKernel::PadShortcut { input, stride, zero }
            }
            Op::GlobalAvgPool => ByteKernel::GlobalAvgPool { grid, plane: plane(input) },
            _ => return None,
        })
    }

    /// The form of what the kernel writes.
    pub(crate) fn writes(&self) -> Form {
        match self {
            ByteKernel::Dequantize(_) | ByteKernel::GlobalAvgPool { .. } => Form::Floats,
            _ => Form::Bytes,
        }
    }

    /// Makes bytes of floats.
    ///
    /// # Panics
    /// Where the kernel does something else.
    pub(crate) fn run_on_floats(&self, input: &[f32], output: Output<'_>) {
        match (self, output) {
            (ByteKernel::Quantize(grid), Output::Bytes(output)) => grid.quantize(input, output),
            _ => unreachable!("{} does not make bytes of floats", self.name()),
        }
    }

    /// Computes the output from bytes; a convolution adds the residual.
    ///
    /// # Panics
    /// Where the kernel reads floats, or the output has not the form that it writes.
    pub(crate) fn run(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        output: Output<'_>,
        scratch: &mut Scratch,
    ) {
        match (self, output) {
            (ByteKernel::Conv(conv), Output::Bytes(output)) => {
                conv.run(input, residual, output, scratch);
            }
            (ByteKernel::MaxPool(shape), Output::Bytes(output)) => {
                int::spatial::max_pool(shape, input, output);
            }
            (ByteKernel::PadShortcut { input: size, stride, zero }, Output::Bytes(output)) => {
                int::spatial::pad_shortcut(*size, *stride, *zero, input, output);
            }
            (ByteKernel::GlobalAvgPool { grid, plane }, Output::Floats(output)) => {
                int::spatial::global_avg_pool(*grid, *plane, input, output);
            }
            (ByteKernel::Dequantize(grid), Output::Floats(output)) => {
                grid.dequantize(input, output);
            }
            _ => unreachable!("{} with an output of another form", self.name()),
        }
    }

    /// Bytes of memory that the packed weights of a layer take.
    pub(crate) fn weight_bytes(&self) -> Option<usize> {
        match self {
            ByteKernel::Conv(conv) => Some(conv.weight_bytes()),
            _ => None,
        }
    }

    /// Name of the kernel, for profiles; without what is fused into it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            ByteKernel::Quantize(_) => "quantize",
            ByteKernel::Dequantize(_) => "dequantize",
            ByteKernel::Conv(_) => "int-ternary-conv",
            ByteKernel::MaxPool(_) => "int-max-pool",
            ByteKernel::PadShortcut { .. } => "int-pad-shortcut",
            ByteKernel::GlobalAvgPool { .. } => "int-global-avg-pool",
        }
    }
}
