//! Gradient of the weights of some images, `dU[p] += V[p]ᵀ · D[p]`, and with it, block by
//! block, that of the input.

use std::ops::Range;

use ec2t_kernels::ConvShape;
use ec2t_kernels::arch::{Operation, Simd};

use super::super::tile::TileShape;
use super::super::weight_gradient::Part;
use super::filter::Filter;
use super::lines::{Rows, Six, WeightGradient, transform};
use super::plane::{Images, Positions};
use super::read::{Read, ReadGradient, ReadSource};
use super::{Blocks, POSITIONS, TAPS, Winograd};
use crate::lanes::LINE;

/// Sizes of what the gradient of the weights is summed in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) blocks: Blocks,
    /// Output channels, filled up to whole vectors.
    pub(super) padded: usize,
    /// Values of the sums of a part of the batch.
    pub(super) sums: usize,
    /// Values of dU.
    du: usize,
}

impl Sizes {
    pub(super) fn new(layer: &Winograd) -> Self {
        let ConvShape { in_channels: inputs, out_channels: outputs, .. } = layer.shape;
        let padded = outputs.next_multiple_of(TileShape::of(layer.isa).lanes);
        let (sums, du) = (TAPS * inputs * padded, POSITIONS * inputs * padded);
        Self { blocks: Blocks::new(inputs, outputs), padded, sums, du }
    }

    /// Values of the operands of a block and of dU, in whole lines.
    pub(super) fn share(&self) -> usize {
        (self.blocks.len() + self.du).next_multiple_of(LINE)
    }

    pub(super) fn correlate<'a>(
        &self,
        layer: &'a Winograd,
        x: &'a [f32],
        gy: &'a [f32],
        du: &'a mut [f32],
    ) -> Correlate<'a> {
        let Self { blocks, padded, .. } = *self;
        Correlate { layer, blocks, padded, x, gy, du: &mut du[..self.du] }
    }
}

/// Gradient of the weights from some images, before its transform.
pub(super) struct Correlate<'a> {
    layer: &'a Winograd,
    blocks: Blocks,
    /// Output channels, filled up to whole vectors.
    padded: usize,
    x: &'a [f32],
    gy: &'a [f32],
    /// `[position][input][output]`, to be added to.
    du: &'a mut [f32],
}

impl Correlate<'_> {
    /// Tiles of all images.
    #[inline(always)]
    fn tiles(&self) -> usize {
        self.gy.len() / self.layer.shape.output_len() * self.layer.forward.tiles()
    }

    #[inline(always)]
    fn block<S: Simd>(&mut self, simd: S, tiles: Range<usize>, share: &mut [f32]) {
        let Winograd { shape, forward: plane, position, .. } = self.layer;
        let [v_stride, d_stride] = self.blocks.strides;
        let (v, d) = share.split_at_mut(POSITIONS * v_stride);
        let x = Images { values: self.x, size: shape.input, channels: shape.in_channels };
        let gy = Images { values: self.gy, size: shape.output, channels: shape.out_channels };
        let count = tiles.len();
        let read =
            |source, v, stride| Read { plane: *plane, tiles: tiles.clone(), source, v, stride };
        simd.outline(ReadSource(read(x, &mut *v, v_stride)));
        simd.outline(ReadGradient(read(gy, &mut *d, d_stride)));
        let operands = v.chunks_exact(v_stride).zip(d.chunks_exact(d_stride));
        let du = self.du.chunks_exact_mut(shape.in_channels * self.padded);
        for ((x, gy), sums) in operands.zip(du) {
            let (x, gy) = (&x[..count * shape.in_channels], &gy[..count * shape.out_channels]);
            Part { shape: position, padded: self.padded, x, gy, sums }.eval(simd);
        }
    }
}

/// The gradient of the weights from some images and, where somebody wants it, that of
/// the input: both read the same tiles of `gy`, one soon after the other.
pub(super) struct Gradients<'a> {
    pub(super) correlate: Correlate<'a>,
    pub(super) filter: Option<Filter<'a>>,
    /// Operands of a block.
    pub(super) share: &'a mut [f32],
    /// `[tap][input][output]`, to be written.
    pub(super) sums: &'a mut [f32],
}

impl Operation for Gradients<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { mut correlate, mut filter, share, sums } = self;
        correlate.du.fill(0.0);
        // Without padding, the input has more tiles than the output.
        let (tiles, filtered) = (correlate.tiles(), filter.as_ref().map_or(0, Filter::tiles));
        let step = correlate.blocks.tiles;
        for first in (0..tiles.max(filtered)).step_by(step) {
            if first < tiles {
                correlate.block(simd, first..tiles.min(first + step), share);
            }
            if let Some(filter) = filter.as_mut().filter(|_| first < filtered) {
                filter.block(simd, first..filtered.min(first + step), share);
            }
        }
        simd.outline(TransformGradient { du: correlate.du, sums });
    }
}

/// `Gᵀ dU G`.
struct TransformGradient<'a> {
    /// `[position][input][output]`.
    du: &'a [f32],
    /// `[tap][input][output]`.
    sums: &'a mut [f32],
}

impl Operation for TransformGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { du, sums } = self;
        let stride = sums.len() / TAPS;
        for at in (0..stride).step_by(S::LANES) {
            let du = Positions { values: &du[at..], stride, width: S::LANES };
            let mut target = KernelGradient { values: &mut sums[at..], step: stride };
            transform::<WeightGradient, S>(simd, &du, &mut target);
        }
    }
}

/// A vector of weights' gradients for each of 3×3 taps.
struct KernelGradient<'a> {
    /// From the first tap's on.
    values: &'a mut [f32],
    /// From one tap to the next.
    step: usize,
}

impl<S: Simd> Rows<S> for KernelGradient<'_> {
    #[inline(always)]
    fn write(&mut self, simd: S, row: usize, values: Six<S>) {
        let places = self.values[3 * row * self.step..].chunks_mut(self.step);
        for (place, value) in places.zip(values).take(3) {
            simd.store(value, place);
        }
    }
}
