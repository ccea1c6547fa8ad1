//! Convolution: forward pass, gradient of the input, gradient of the weights.
//!
//! Activations are `[N, H, W, C]`, weights `[O, I / groups, KH, KW]`. Any kernel,
//! stride, dilation, padding (each side its own) and number of groups.
//!
//! | module | what it holds |
//! |---|---|
//! | `axis` | what each tap reads along one axis, in both directions |
//! | `gather` | tables of the implicit matrix product's rows |
//! | `pack` | weights in the order in which the product reads them |
//! | `tile`, `product` | register tile and loops of the product |
//! | `dense` | forward pass and input gradient by that product |
//! | `weight_gradient` | the third product, whose sum runs over pixels |
//! | `depthwise` | all three for one channel per group |
//! | `winograd` | all three for 3×3 kernels with stride 1, with fewer products |
//!
//! No patch matrix is ever built (compare im2col): the product reads its rows in
//! place, by tables that are made once for a layer. The idea of the indirection
//! is Dukhan's ("The Indirect Convolution Algorithm", 2019).

mod axis;
mod dense;
mod depthwise;
mod gather;
mod pack;
mod product;
mod sums;
mod tile;
mod weight_gradient;
mod winograd;

pub use sums::ChannelSums;

use crate::scratch::Scratch;
use dense::Dense;
use depthwise::Depthwise;
use ec2t_kernels::{
    ConvShape,
    arch::{Isa, isa},
};
use winograd::Winograd;

/// A convolution layer's geometry, with the tables that its operators read.
///
/// ```
/// use ec2t_kernels::ConvShape;
/// use ec2t_ops::{Scratch, conv::Conv};
///
/// // 1×1, from two channels to one: y = x₀ + 10 x₁.
/// let conv = Conv::new(ConvShape {
///     in_channels: 2,
///     out_channels: 1,
///     input: [1, 2],
///     kernel: [1, 1],
///     stride: [1, 1],
///     dilation: [1, 1],
///     padding: [0; 4],
///     groups: 1,
///     output: [1, 2],
/// });
/// let mut scratch = Scratch::new();
/// let (x, w) = ([1.0, 2.0, 3.0, 4.0], [1.0, 10.0]);
///
/// let mut y = [0.0; 2];
/// conv.forward(1, &x, &w, &mut y, None, &mut scratch);
/// assert_eq!(y, [21.0, 43.0]);
///
/// let gy = [1.0, -1.0];
/// let (mut gx, mut gw) = ([0.0; 4], [0.0; 2]);
/// conv.input_gradient(1, &gy, &w, &mut gx, false, &mut scratch);
/// conv.weight_gradient(1, &x, &gy, &mut gw, &mut scratch);
/// assert_eq!(gx, [1.0, 10.0, -1.0, -10.0]);
/// assert_eq!(gw, [-2.0, -2.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Conv {
    kind: Kind,
    shape: ConvShape,
}

#[derive(Clone, Debug)]
enum Kind {
    Dense(Dense),
    Depthwise(Depthwise),
    Winograd(Winograd),
}

/// What a backward pass reads and writes.
#[derive(Debug)]
pub struct Backward<'a> {
    /// The input.
    pub x: &'a [f32],
    /// The gradient of the output.
    pub gy: &'a [f32],
    /// The weights.
    pub w: &'a [f32],
    /// Where the gradient of the input goes.
    pub gx: &'a mut [f32],
    /// Adds to `gx` instead of replacing it.
    pub accumulate: bool,
    /// Where the gradient of the weights goes.
    pub gw: &'a mut [f32],
}

impl Conv {
    /// Tables for a layer, with the instruction set in use, [`isa()`].
    ///
    /// # Panics
    ///
    /// If the groups do not divide the channels.
    pub fn new(shape: ConvShape) -> Self {
        Self::with_isa(shape, isa())
    }

    /// [`Conv::new`] with an instruction set of the caller's choice.
    ///
    /// # Panics
    ///
    /// If the groups do not divide the channels.
    pub fn with_isa(shape: ConvShape, isa: Isa) -> Self {
        let divided = |channels: usize| channels.is_multiple_of(shape.groups);
        assert!(divided(shape.in_channels) && divided(shape.out_channels), "groups of {shape:?}");
        let kind = if depthwise::is_depthwise(&shape) {
            Kind::Depthwise(Depthwise::new(shape, isa))
        } else if winograd::is_winograd(&shape) {
            Kind::Winograd(Winograd::new(shape, isa))
        } else {
            Kind::Dense(Dense::new(shape, isa))
        };
        Self { kind, shape }
    }

    /// The geometry.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// `y = w ∗ x`; if wanted, sets the sums over each channel of `y`.
    ///
    /// # Panics
    ///
    /// If a slice's length is not what shape and batch say.
    pub fn forward(
        &self,
        batch: usize,
        x: &[f32],
        w: &[f32],
        y: &mut [f32],
        sums: Option<&mut ChannelSums>,
        scratch: &mut Scratch,
    ) {
        self.check(batch, x, w, y);
        if let Some(sums) = &sums {
            let channels = [sums.sums.len(), sums.squares.len()];
            assert_eq!(channels, [self.shape.out_channels; 2], "channels of the sums");
        }
        match &self.kind {
            Kind::Dense(conv) => conv.forward(batch, x, w, y, sums, scratch),
            Kind::Depthwise(conv) => conv.forward(batch, x, w, y, sums, scratch),
            Kind::Winograd(conv) => conv.forward(batch, x, w, y, sums, scratch),
        }
    }

    /// The gradient of the input, from the gradient of the output; added to `gx`
    /// if `accumulate`, else replacing it.
    ///
    /// # Panics
    ///
    /// If a slice's length is not what shape and batch say.
    pub fn input_gradient(
        &self,
        batch: usize,
        gy: &[f32],
        w: &[f32],
        gx: &mut [f32],
        accumulate: bool,
        scratch: &mut Scratch,
    ) {
        self.check(batch, gx, w, gy);
        match &self.kind {
            Kind::Dense(conv) => conv.input_gradient(batch, gy, w, gx, accumulate, scratch),
            Kind::Depthwise(conv) => conv.input_gradient(batch, gy, w, gx, accumulate, scratch),
            Kind::Winograd(conv) => conv.input_gradient(batch, gy, w, gx, accumulate, scratch),
        }
    }

    /// The gradient of the weights, from input and gradient of the output.
    ///
    /// # Panics
    ///
    /// If a slice's length is not what shape and batch say.
    pub fn weight_gradient(
        &self,
        batch: usize,
        x: &[f32],
        gy: &[f32],
        gw: &mut [f32],
        scratch: &mut Scratch,
    ) {
        self.check(batch, x, gw, gy);
        match &self.kind {
            Kind::Dense(conv) => conv.weight_gradient(batch, x, gy, gw, scratch),
            Kind::Depthwise(conv) => conv.weight_gradient(batch, x, gy, gw, scratch),
            Kind::Winograd(conv) => conv.weight_gradient(batch, x, gy, gw, scratch),
        }
    }

    /// Both gradients: what [`input_gradient`](Self::input_gradient) and
    /// [`weight_gradient`](Self::weight_gradient) compute, with less memory to read.
    ///
    /// # Panics
    ///
    /// If a slice's length is not what shape and batch say.
    pub fn backward(&self, batch: usize, operands: Backward<'_>, scratch: &mut Scratch) {
        self.check(batch, operands.x, operands.w, operands.gy);
        let lens = [operands.gx.len(), operands.gw.len()];
        assert_eq!(lens, [operands.x.len(), operands.w.len()], "values of the gradients");
        match &self.kind {
            Kind::Depthwise(conv) => conv.backward(batch, operands, scratch),
            Kind::Winograd(conv) => conv.backward(batch, operands, scratch),
            Kind::Dense(_) => {
                let Backward { x, gy, w, gx, accumulate, gw } = operands;
                self.weight_gradient(batch, x, gy, gw, scratch);
                self.input_gradient(batch, gy, w, gx, accumulate, scratch);
            }
        }
    }

    fn check(&self, batch: usize, x: &[f32], w: &[f32], y: &[f32]) {
        assert_eq!(x.len(), batch * self.shape.input_len(), "values of the input");
        assert_eq!(w.len(), self.shape.weight_len(), "weights");
        assert_eq!(y.len(), batch * self.shape.output_len(), "values of the output");
    }
}
