//! Sums and products of activations.

use ec2t_kernels::arch::{Operation, Simd, dispatch};
use rayon::prelude::*;

use crate::chunks::{split, split_mut};
use crate::lanes::{BLOCK, Pointwise, apply, get, put, sweep};

/// `y = a + b`, of equal shapes.
///
/// # Panics
///
/// If lengths differ.
pub fn add(a: &[f32], b: &[f32], y: &mut [f32]) {
    apply(Sum, [a, b], [y]);
}

/// `y += x`, of equal shapes: what a gradient does whose value was used twice.
///
/// # Panics
///
/// If lengths differ.
pub fn accumulate(x: &[f32], y: &mut [f32]) {
    apply(AddTo, [x], [y]);
}

#[derive(Clone, Copy)]
struct Sum;

impl Pointwise<2, 1> for Sum {
    #[inline(always)]
    fn eval<S: Simd>(self, simd: S, [a, b]: [S::F32; 2], _: [S::F32; 1]) -> [S::F32; 1] {
        [simd.add(a, b)]
    }
}

#[derive(Clone, Copy)]
struct AddTo;

impl Pointwise<1, 1> for AddTo {
    #[inline(always)]
    fn eval<S: Simd>(self, simd: S, [x]: [S::F32; 1], [y]: [S::F32; 1]) -> [S::F32; 1] {
        [simd.add(y, x)]
    }
}

/// `y[n, p, c] = x[n, p, c] · factor[n, c]`: each image's channels by a factor,
/// as in squeeze-and-excitation. The product of equal shapes is that of as many
/// images as there are pixels.
///
/// # Panics
///
/// If lengths differ, or are not whole pixels of every image.
pub fn multiply(batch: usize, x: &[f32], factor: &[f32], y: &mut [f32]) {
    let channels = channels(batch, factor, [x.len(), y.len()]);
    let parts = (split(x, batch), split(factor, batch), split_mut(y, batch));
    parts.into_par_iter().for_each(|(x, factor, y)| dispatch(Multiply { channels, x, factor, y }));
}

/// Writes the gradients of the operands of [`multiply`], from the gradient `g` of
/// its result.
///
/// # Panics
///
/// If lengths differ, or are not whole pixels of every image.
pub fn multiply_backward(
    batch: usize,
    [x, factor]: [&[f32]; 2],
    g: &[f32],
    [gx, gfactor]: [&mut [f32]; 2],
) {
    let channels = channels(batch, factor, [x.len(), g.len()]);
    assert_eq!([gx.len(), gfactor.len()], [x.len(), factor.len()], "gradients");
    let inputs = (split(x, batch), split(factor, batch), split(g, batch));
    let parts = (inputs, (split_mut(gx, batch), split_mut(gfactor, batch)));
    parts.into_par_iter().for_each(|((x, factor, g), (gx, gfactor))| {
        dispatch(MultiplyBackward { channels, x, factor, g, gx, gfactor });
    });
}

/// Channels of factors for each image.
fn channels(batch: usize, factor: &[f32], [x, y]: [usize; 2]) -> usize {
    assert_eq!(x, y, "operands");
    let channels = factor.len().checked_div(batch).unwrap_or_default().max(1);
    assert!(x.is_multiple_of(batch.max(1) * channels), "{x} values of {batch} × {channels}");
    channels
}

struct Multiply<'a> {
    channels: usize,
    x: &'a [f32],
    factor: &'a [f32],
    y: &'a mut [f32],
}

impl Operation for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { channels, x, factor, y } = self;
        let image = image_len(x, factor, channels);
        let images = x.chunks_exact(image).zip(y.chunks_exact_mut(image));
        for ((x, y), factor) in images.zip(factor.chunks_exact(channels)) {
            for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
                sweep(simd, Product, [x, factor], [y]);
            }
        }
    }
}

struct MultiplyBackward<'a> {
    channels: usize,
    x: &'a [f32],
    factor: &'a [f32],
    g: &'a [f32],
    gx: &'a mut [f32],
    gfactor: &'a mut [f32],
}

impl Operation for MultiplyBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { channels, x, factor, g, gx, gfactor } = self;
        let image = image_len(x, factor, channels);
        let inputs = x.chunks_exact(image).zip(g.chunks_exact(image));
        let factors = factor.chunks_exact(channels).zip(gfactor.chunks_exact_mut(channels));
        for (((x, g), gx), (factor, gfactor)) in inputs.zip(gx.chunks_exact_mut(image)).zip(factors)
        {
            for (g, gx) in g.chunks_exact(channels).zip(gx.chunks_exact_mut(channels)) {
                sweep(simd, Product, [g, factor], [gx]);
            }
            for at in (0..channels).step_by(S::LANES) {
                let mut total = simd.splat(0.0);
                for (x, g) in x.chunks(BLOCK * channels).zip(g.chunks(BLOCK * channels)) {
                    let mut sum = simd.splat(0.0);
                    for (x, g) in x.chunks_exact(channels).zip(g.chunks_exact(channels)) {
                        sum = simd.fma(get(simd, x, at), get(simd, g, at), sum);
                    }
                    total = simd.add(total, sum);
                }
                put(simd, total, gfactor, at);
            }
        }
    }
}

/// Values of one image in a chunk of images.
#[inline(always)]
fn image_len(x: &[f32], factor: &[f32], channels: usize) -> usize {
    (x.len() / (factor.len() / channels).max(1)).max(1)
}

#[derive(Clone, Copy)]
struct Product;

impl Pointwise<2, 1> for Product {
    #[inline(always)]
    fn eval<S: Simd>(self, simd: S, [a, b]: [S::F32; 2], _: [S::F32; 1]) -> [S::F32; 1] {
        [simd.mul(a, b)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, dot, gradient, in_pools, random, wide};

    #[test]
    fn sums_are_those_of_the_elements() {
        for len in [1, 17, 40_003] {
            let (a, b) = (random(len, 1), random(len, 2));
            let expected: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            let mut y = vec![f32::NAN; len];
            add(&a, &b, &mut y);
            assert_eq!(y, expected);
            let mut y = b.clone();
            accumulate(&a, &mut y);
            assert_eq!(y, expected);
        }
    }

    #[test]
    fn products_and_their_gradients_are_those_of_the_definition() {
        for [batch, pixels, channels] in [[1, 1, 1], [2, 9, 3], [19, 1, 17], [3, 5, 24], [1, 70, 8]]
        {
            let (x, factor) = (random(batch * pixels * channels, 1), random(batch * channels, 2));
            let g = random(x.len(), 3);
            let defined = |x: &[f64], factor: &[f64]| -> Vec<f64> {
                let channel = |i: usize| i / (pixels * channels) * channels + i % channels;
                x.iter().enumerate().map(|(i, x)| x * factor[channel(i)]).collect()
            };
            let (y, gx, gfactor) = in_pools(|| {
                let (mut y, mut gx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                let mut gfactor = vec![f32::NAN; factor.len()];
                multiply(batch, &x, &factor, &mut y);
                multiply_backward(batch, [&x, &factor], &g, [&mut gx, &mut gfactor]);
                (y, gx, gfactor)
            });
            let (x, factor) = (wide(&x), wide(&factor));
            assert_close(&y, &defined(&x, &factor));
            assert_close(&gx, &gradient(&x, |x| dot(&defined(x, &factor), &g)));
            assert_close(&gfactor, &gradient(&factor, |factor| dot(&defined(&x, factor), &g)));
        }
    }
}
