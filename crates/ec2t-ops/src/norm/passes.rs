//! The passes over memory of batch normalisation, one chunk each.

use std::ops::Range;

use ec2t_kernels::arch::{Operation, Simd};

use super::{OutputGradient, ResidualGradient};
use crate::lanes::{LINE, get, mask, mask_len, put};
use crate::sums::Factor;

impl Factor for OutputGradient<'_> {
    #[inline(always)]
    fn eval<S: Simd>(self, simd: S, at: usize, _: S::F32) -> S::F32 {
        let g = get(simd, self.values, at);
        match self.mask {
            Some(words) => simd.select(mask(simd, words, at), g, simd.splat(0.0)),
            None => g,
        }
    }

    fn part(self, part: Range<usize>) -> Self {
        let words = part.start / LINE..mask_len(part.end);
        Self { values: &self.values[part], mask: self.mask.map(|mask| &mask[words]) }
    }
}

/// [`BatchNorm::forward`] of one chunk; tables are scale and shift of a period.
pub(super) struct Forward<'a> {
    pub(super) x: &'a [f32],
    pub(super) residual: Option<&'a [f32]>,
    pub(super) tables: [&'a [f32]; 2],
    pub(super) bounds: [f32; 2],
    pub(super) y: &'a mut [f32],
    pub(super) mask: Option<&'a mut [u16]>,
}

impl Operation for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { x, residual, tables: [scale, shift], bounds, y, mut mask } = self;
        let [least, greatest] = bounds.map(|bound| simd.splat(bound));
        for start in (0..x.len()).step_by(scale.len()) {
            for line in (start..x.len().min(start + scale.len())).step_by(LINE) {
                let mut bits = 0;
                for lane in (0..LINE).step_by(S::LANES) {
                    let (at, place) = (line + lane, line + lane - start);
                    let (scale, shift) = (get(simd, scale, place), get(simd, shift, place));
                    let mut v = simd.fma(get(simd, x, at), scale, shift);
                    if let Some(residual) = residual {
                        v = simd.add(v, get(simd, residual, at));
                    }
                    let above = simd.mask_to_bits(simd.gt(v, least));
                    let below = simd.mask_to_bits(simd.gt(greatest, v));
                    bits |= (above & below) << lane;
                    put(simd, simd.min(greatest, simd.max(least, v)), y, at);
                }
                if let Some(mask) = &mut mask {
                    mask[line / LINE] = bits;
                }
            }
        }
    }
}

/// [`BatchNorm::backward`] of one chunk, after the sums; tables hold the factors
/// of g and x and the rest, of a period.
pub(super) struct Backward<'a> {
    pub(super) x: &'a [f32],
    pub(super) gradient: OutputGradient<'a>,
    pub(super) tables: [&'a [f32]; 3],
    pub(super) gx: &'a mut [f32],
    pub(super) residual: ResidualGradient<'a>,
}

impl Operation for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { x, gradient, tables: [of_g, of_x, rest], gx, mut residual } = self;
        for start in (0..x.len()).step_by(rest.len()) {
            for at in (start..x.len().min(start + rest.len())).step_by(S::LANES) {
                let place = at - start;
                let values = get(simd, x, at);
                let g = gradient.eval(simd, at, values);
                let linear = simd.fma(values, get(simd, of_x, place), get(simd, rest, place));
                put(simd, simd.fma(g, get(simd, of_g, place), linear), gx, at);
                match &mut residual {
                    ResidualGradient::None => {}
                    ResidualGradient::Write(values) => put(simd, g, values, at),
                    ResidualGradient::Accumulate(values) => {
                        put(simd, simd.add(g, get(simd, values, at)), values, at);
                    }
                }
            }
        }
    }
}
