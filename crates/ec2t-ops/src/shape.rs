//! Operators that move values and compute nothing.

use rayon::prelude::*;

use crate::chunks::{split, split_mut};

/// `[N, C, pixels]`, as loaders give batches, to `[N, pixels, C]`.
///
/// # Panics
///
/// If lengths differ, or are not whole images of `channels`.
pub fn nchw_to_nhwc(batch: usize, channels: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "operands");
    let image = x.len().checked_div(batch).unwrap_or_default().max(1);
    assert!(
        image.is_multiple_of(channels) || x.is_empty(),
        "{image} values of {channels} channels"
    );
    let parts = (split(x, batch), split_mut(y, batch));
    parts.into_par_iter().for_each(|(x, y)| {
        for (x, y) in x.chunks_exact(image).zip(y.chunks_exact_mut(image)) {
            for (channel, plane) in x.chunks_exact(image / channels).enumerate() {
                let places = y[channel..].iter_mut().step_by(channels);
                places.zip(plane).for_each(|(place, &value)| *place = value);
            }
        }
    });
}

/// ResNet's parameter-free "option A" shortcut (He et al. 2015): every
/// `stride`-th pixel, with zero channels around the existing ones, half of them
/// before, the rest after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PadShortcut {
    /// Rows, columns and channels of the input.
    pub input: [usize; 3],
    /// Channels of the output, not fewer.
    pub out_channels: usize,
    /// Step in rows and columns.
    pub stride: usize,
}

impl PadShortcut {
    /// Rows, columns and channels of the output.
    pub fn output(&self) -> [usize; 3] {
        let [height, width, _] = self.input;
        [height.div_ceil(self.stride), width.div_ceil(self.stride), self.out_channels]
    }

    /// Writes the shortcut of a batch.
    ///
    /// # Panics
    ///
    /// If lengths are not those of the shapes.
    pub fn forward(&self, batch: usize, x: &[f32], y: &mut [f32]) {
        let [input, output] = self.image_lens(batch, x.len(), y.len());
        let parts = (split(x, batch), split_mut(y, batch));
        parts.into_par_iter().for_each(|(x, y)| {
            y.fill(0.0);
            for (x, y) in x.chunks_exact(input).zip(y.chunks_exact_mut(output)) {
                for (from, to) in self.pixels() {
                    y[to..to + self.input[2]].copy_from_slice(&x[from..from + self.input[2]]);
                }
            }
        });
    }

    /// Writes the gradient of the input, from that of the output.
    ///
    /// # Panics
    ///
    /// If lengths are not those of the shapes.
    pub fn backward(&self, batch: usize, g: &[f32], gx: &mut [f32]) {
        let [input, output] = self.image_lens(batch, gx.len(), g.len());
        let parts = (split(g, batch), split_mut(gx, batch));
        parts.into_par_iter().for_each(|(g, gx)| {
            gx.fill(0.0);
            for (g, gx) in g.chunks_exact(output).zip(gx.chunks_exact_mut(input)) {
                for (from, to) in self.pixels() {
                    gx[from..from + self.input[2]].copy_from_slice(&g[to..to + self.input[2]]);
                }
            }
        });
    }

    /// Values of an image of the input and of the output.
    fn image_lens(&self, batch: usize, x: usize, y: usize) -> [usize; 2] {
        let lens = [self.input, self.output()].map(|shape| shape.iter().product());
        assert_eq!([x, y], lens.map(|len: usize| batch * len), "operands");
        lens
    }

    /// For each output pixel, where its channels start in the input and where
    /// they go in the output.
    fn pixels(&self) -> impl Iterator<Item = (usize, usize)> {
        let Self { input: [_, width, channels], stride, out_channels } = *self;
        let [rows, columns, _] = self.output();
        let before = (out_channels - channels) / 2;
        (0..rows).flat_map(move |row| {
            (0..columns).map(move |column| {
                let from = (row * width + column) * stride;
                (from * channels, (row * columns + column) * out_channels + before)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, dot, gradient, in_pools, random, wide};

    #[test]
    fn channels_become_the_last_dimension() {
        let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut y = [f32::NAN; 12];
        nchw_to_nhwc(2, 2, &x, &mut y);
        assert_eq!(y, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
    }

    #[test]
    fn the_shortcut_subsamples_and_pads() {
        let pad = PadShortcut { input: [3, 3, 1], out_channels: 4, stride: 2 };
        assert_eq!(pad.output(), [2, 2, 4]);
        let x: Vec<f32> = (1..=9).map(|i| i as f32).collect();
        let mut y = [f32::NAN; 16];
        pad.forward(1, &x, &mut y);
        let picked: [f32; 4] = std::array::from_fn(|pixel| y[4 * pixel + 1]);
        assert_eq!(picked, [1.0, 3.0, 7.0, 9.0]);
        assert_eq!(y.iter().sum::<f32>(), 20.0);
        let mut gx = [f32::NAN; 9];
        pad.backward(1, &[1.0; 16], &mut gx);
        assert_eq!(gx, [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
    }

    /// As for any linear map, `⟨g, f(x)⟩ = ⟨fᵀ(g), x⟩`; all values are whole.
    #[test]
    fn backward_is_the_transpose_of_forward() {
        let cases = [([1, 1, 3], 3, 1), ([4, 5, 3], 6, 2), ([7, 2, 17], 20, 3)];
        for (input, out_channels, stride) in cases {
            for batch in [1, 5, 18] {
                let pad = PadShortcut { input, out_channels, stride };
                let len = |shape: [usize; 3]| batch * shape.iter().product::<usize>();
                let whole = |values: Vec<f32>| values.iter().map(|v| (v * 4.0).round()).collect();
                let x: Vec<f32> = whole(random(len(input), 1));
                let g: Vec<f32> = whole(random(len(pad.output()), 2));
                let (y, gx) = in_pools(|| {
                    let (mut y, mut gx) = (vec![f32::NAN; g.len()], vec![f32::NAN; x.len()]);
                    pad.forward(batch, &x, &mut y);
                    pad.backward(batch, &g, &mut gx);
                    (y, gx)
                });
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                assert_eq!(dot(&g, &y), dot(&gx, &x), "{pad:?}");
            }
        }
    }

    #[test]
    fn the_shortcut_and_its_gradient_are_those_of_the_definition() {
        let pad = PadShortcut { input: [5, 4, 3], out_channels: 8, stride: 2 };
        let ([rows, columns, channels], batch, before) = ([3, 2, 8], 2, 2);
        assert_eq!(pad.output(), [rows, columns, channels]);
        let defined = |x: &[f64]| -> Vec<f64> {
            let places = (0..batch * rows * columns * channels).map(|i| {
                let (pixel, channel) = (i / channels, i % channels);
                let (image, row, column) =
                    (pixel / columns / rows, pixel / columns % rows, pixel % columns);
                let from = (image * 5 + 2 * row) * 4 + 2 * column;
                (before..before + 3).contains(&channel).then(|| x[from * 3 + channel - before])
            });
            places.map(Option::unwrap_or_default).collect()
        };
        let (x, g) = (random(batch * 5 * 4 * 3, 1), random(batch * rows * columns * channels, 2));
        let (mut y, mut gx) = (vec![f32::NAN; g.len()], vec![f32::NAN; x.len()]);
        pad.forward(batch, &x, &mut y);
        pad.backward(batch, &g, &mut gx);
        assert_close(&y, &defined(&wide(&x)));
        assert_close(&gx, &gradient(&wide(&x), |x| dot(&defined(x), &g)));
    }
}
