//! Pooling: maximum and mean over windows, mean over all pixels.
//!
//! Windows may overlap, leave pixels out and reach into padding, which counts as
//! −∞ for the maximum and as 0 for the mean, whose divisor is always the whole
//! window. Of equal values the first in row-major order is the maximum and has
//! the gradient, and what is not a number is greater than all others: both as in
//! PyTorch.

use ec2t_kernels::arch::{Operation, Simd, dispatch};
use rayon::prelude::*;

use crate::chunks::{split, split_mut};
use crate::lanes::{BLOCK, get, put};

/// Windows over `[N, H, W, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Channels.
    pub channels: usize,
    /// Rows and columns of the input.
    pub input: [usize; 2],
    /// Rows and columns of a window, at most [`u16::MAX`] pixels.
    pub kernel: [usize; 2],
    /// Step in rows and columns.
    pub stride: [usize; 2],
    /// Rows above and columns left of the input.
    pub padding: [usize; 2],
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

/// The tap of a window that sees nothing of the input.
const NOWHERE: u16 = u16::MAX;

impl Windows {
    /// Writes the maximum of each window to `y`, and to `taps` where in its
    /// window it was, for the backward pass.
    ///
    /// # Panics
    ///
    /// If lengths are not those of the shapes.
    pub fn max_forward(&self, batch: usize, x: &[f32], y: &mut [f32], taps: &mut [u16]) {
        let [input, output] = self.image_lens(batch, x.len(), y.len());
        assert_eq!(taps.len(), y.len(), "taps");
        let parts = (split(x, batch), split_mut(y, batch), split_mut(taps, batch));
        parts.into_par_iter().for_each(|(x, y, taps)| {
            let outputs = y.chunks_exact_mut(output).zip(taps.chunks_exact_mut(output));
            for (x, (y, taps)) in x.chunks_exact(input).zip(outputs) {
                dispatch(Max { windows: self, x, y, taps });
            }
        });
    }

    /// Writes the gradient of the input, from that of the output.
    ///
    /// # Panics
    ///
    /// If lengths are not those of the shapes.
    pub fn max_backward(&self, batch: usize, taps: &[u16], g: &[f32], gx: &mut [f32]) {
        let [input, output] = self.image_lens(batch, gx.len(), g.len());
        assert_eq!(taps.len(), g.len(), "taps");
        let parts = (split(taps, batch), split(g, batch), split_mut(gx, batch));
        parts.into_par_iter().for_each(|(taps, g, gx)| {
            gx.fill(0.0);
            let outputs = taps.chunks_exact(output).zip(g.chunks_exact(output));
            for (gx, (taps, g)) in gx.chunks_exact_mut(input).zip(outputs) {
                dispatch(MaxBackward { windows: self, taps, g, gx });
            }
        });
    }

    /// Writes the mean of each window.
    ///
    /// # Panics
    ///
    /// If lengths are not those of the shapes.
    pub fn mean_forward(&self, batch: usize, x: &[f32], y: &mut [f32]) {
        let [input, output] = self.image_lens(batch, x.len(), y.len());
        let parts = (split(x, batch), split_mut(y, batch));
        parts.into_par_iter().for_each(|(x, y)| {
            for (x, y) in x.chunks_exact(input).zip(y.chunks_exact_mut(output)) {
                dispatch(Mean { windows: self, x, y });
            }
        });
    }

    /// Writes the gradient of the input, from that of the output.
    ///
    /// # Panics
    ///
    /// If lengths are not those of the shapes.
    pub fn mean_backward(&self, batch: usize, g: &[f32], gx: &mut [f32]) {
        let [input, output] = self.image_lens(batch, gx.len(), g.len());
        let parts = (split(g, batch), split_mut(gx, batch));
        parts.into_par_iter().for_each(|(g, gx)| {
            gx.fill(0.0);
            for (g, gx) in g.chunks_exact(output).zip(gx.chunks_exact_mut(input)) {
                dispatch(MeanBackward { windows: self, g, gx });
            }
        });
    }

    /// Values of an image of the input and of the output.
    fn image_lens(&self, batch: usize, x: usize, y: usize) -> [usize; 2] {
        let Self { channels, input, output, kernel, .. } = self;
        assert!(kernel[0] * kernel[1] <= NOWHERE.into(), "windows of {kernel:?}");
        let lens = [input, output].map(|size| size[0] * size[1] * channels);
        assert_eq!([x, y], lens.map(|len| batch * len), "operands");
        lens
    }

    fn mean_factor(&self) -> f32 {
        (self.kernel[0] as f32 * self.kernel[1] as f32).recip()
    }

    /// Row and column of all windows.
    #[inline(always)]
    fn windows(&self) -> impl Iterator<Item = [usize; 2]> {
        let [rows, columns] = self.output;
        (0..rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
    }

    /// The pixel of the input that a window sees through a tap, if any.
    #[inline(always)]
    fn pixel(&self, window: [usize; 2], tap: usize) -> Option<usize> {
        let taps = [tap / self.kernel[1], tap % self.kernel[1]];
        let [row, column] = std::array::from_fn(|axis| {
            (window[axis] * self.stride[axis] + taps[axis])
                .checked_sub(self.padding[axis])
                .filter(|&position| position < self.input[axis])
        });
        Some(row? * self.input[1] + column?)
    }

    /// All taps through which a window sees a pixel, each with the pixel.
    #[inline(always)]
    fn pixels(&self, window: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
        (0..self.kernel[0] * self.kernel[1])
            .filter_map(move |tap| Some((tap, self.pixel(window, tap)?)))
    }
}

/// The operators of one image. Their loops over channels are plain: compilers
/// vectorise them.
struct Max<'a> {
    windows: &'a Windows,
    x: &'a [f32],
    y: &'a mut [f32],
    taps: &'a mut [u16],
}

impl Operation for Max<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Self { windows, x, y, taps } = self;
        let channels = windows.channels;
        let outputs = y.chunks_exact_mut(channels).zip(taps.chunks_exact_mut(channels));
        for (window, (y, taps)) in windows.windows().zip(outputs) {
            y.fill(f32::NEG_INFINITY);
            taps.fill(windows.pixels(window).next().map_or(NOWHERE, |(tap, _)| tap as u16));
            for (tap, pixel) in windows.pixels(window) {
                let x = &x[pixel * channels..][..channels];
                for ((y, best), &x) in y.iter_mut().zip(taps.iter_mut()).zip(x) {
                    let better = (x > *y) | x.is_nan();
                    *y = if better { x } else { *y };
                    *best = if better { tap as u16 } else { *best };
                }
            }
        }
    }
}

struct MaxBackward<'a> {
    windows: &'a Windows,
    taps: &'a [u16],
    g: &'a [f32],
    gx: &'a mut [f32],
}

impl Operation for MaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Self { windows, taps, g, gx } = self;
        let channels = windows.channels;
        let outputs = taps.chunks_exact(channels).zip(g.chunks_exact(channels));
        for (window, (taps, g)) in windows.windows().zip(outputs) {
            for (tap, pixel) in windows.pixels(window) {
                let gx = &mut gx[pixel * channels..][..channels];
                for (gx, (&best, &g)) in gx.iter_mut().zip(taps.iter().zip(g)) {
                    *gx += if usize::from(best) == tap { g } else { 0.0 };
                }
            }
        }
    }
}

struct Mean<'a> {
    windows: &'a Windows,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Operation for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Self { windows, x, y } = self;
        let channels = windows.channels;
        let factor = windows.mean_factor();
        for (window, y) in windows.windows().zip(y.chunks_exact_mut(channels)) {
            y.fill(0.0);
            for (_, pixel) in windows.pixels(window) {
                let x = &x[pixel * channels..][..channels];
                y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
            }
            y.iter_mut().for_each(|y| *y *= factor);
        }
    }
}

struct MeanBackward<'a> {
    windows: &'a Windows,
    g: &'a [f32],
    gx: &'a mut [f32],
}

impl Operation for MeanBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Self { windows, g, gx } = self;
        let channels = windows.channels;
        let factor = windows.mean_factor();
        for (window, g) in windows.windows().zip(g.chunks_exact(channels)) {
            for (_, pixel) in windows.pixels(window) {
                let gx = &mut gx[pixel * channels..][..channels];
                gx.iter_mut().zip(g).for_each(|(gx, g)| *gx += g * factor);
            }
        }
    }
}

/// Writes the mean of all pixels, `[N, pixels, C]` → `[N, C]`.
///
/// # Panics
///
/// If lengths are not whole pixels of every image.
pub fn global_mean_forward(batch: usize, channels: usize, x: &[f32], y: &mut [f32]) {
    let image = image_len(batch, channels, x.len(), y.len());
    let parts = (split(x, batch), split_mut(y, batch));
    parts.into_par_iter().for_each(|(x, y)| {
        for (x, y) in x.chunks_exact(image).zip(y.chunks_exact_mut(channels)) {
            dispatch(GlobalMean { x, y });
        }
    });
}

/// Writes the gradient of the input, from that of the output.
///
/// # Panics
///
/// If lengths are not whole pixels of every image.
pub fn global_mean_backward(batch: usize, channels: usize, g: &[f32], gx: &mut [f32]) {
    let image = image_len(batch, channels, gx.len(), g.len());
    let factor = (image as f32 / channels as f32).recip();
    let parts = (split(g, batch), split_mut(gx, batch));
    parts.into_par_iter().for_each(|(g, gx)| {
        for (g, gx) in g.chunks_exact(channels).zip(gx.chunks_exact_mut(image)) {
            for gx in gx.chunks_exact_mut(channels) {
                gx.iter_mut().zip(g).for_each(|(gx, g)| *gx = g * factor);
            }
        }
    });
}

/// Values of one image of `x`.
fn image_len(batch: usize, channels: usize, x: usize, y: usize) -> usize {
    assert_eq!(y, batch * channels, "output of {batch} × {channels}");
    assert!(x.is_multiple_of(y.max(1)) && x >= y, "{x} values of {batch} × {channels}");
    x.checked_div(batch).unwrap_or(channels)
}

struct GlobalMean<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Operation for GlobalMean<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { x, y } = self;
        let channels = y.len();
        let count = simd.splat((x.len() / channels) as f32);
        for at in (0..channels).step_by(S::LANES) {
            let mut total = simd.splat(0.0);
            for block in x.chunks(BLOCK * channels) {
                let mut sum = simd.splat(0.0);
                for pixel in block.chunks_exact(channels) {
                    sum = simd.add(sum, get(simd, pixel, at));
                }
                total = simd.add(total, sum);
            }
            put(simd, simd.div(total, count), y, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, dot, gradient, in_pools, random, wide};

    /// Shapes with overlap, gaps, uneven padding, one pixel, and a window that
    /// sees padding only.
    fn table() -> Vec<(usize, Windows)> {
        let case = |batch, channels, input, kernel, stride, padding, output| {
            (batch, Windows { channels, input, kernel, stride, padding, output })
        };
        vec![
            case(1, 1, [1, 1], [1, 1], [1, 1], [0, 0], [1, 1]),
            case(2, 3, [4, 6], [2, 2], [2, 2], [0, 0], [2, 3]),
            case(1, 17, [5, 4], [3, 3], [2, 2], [1, 1], [3, 2]),
            case(18, 2, [3, 3], [3, 2], [1, 2], [1, 0], [3, 1]),
            case(1, 8, [5, 5], [2, 2], [3, 3], [0, 0], [2, 2]),
            case(1, 5, [2, 2], [2, 2], [2, 2], [2, 0], [3, 1]),
        ]
    }

    /// The values that a window sees, in row-major order.
    fn seen<'a>(w: &'a Windows, x: &'a [f64], image: usize, at: usize) -> Vec<f64> {
        let (pixel, channel) = (at / w.channels, at % w.channels);
        let (row, column) = (pixel / w.output[1], pixel % w.output[1]);
        let mut values = Vec::new();
        for dy in 0..w.kernel[0] {
            for dx in 0..w.kernel[1] {
                let y = (row * w.stride[0] + dy) as isize - w.padding[0] as isize;
                let x_ = (column * w.stride[1] + dx) as isize - w.padding[1] as isize;
                let inside = |p: isize, axis: usize| (0..w.input[axis] as isize).contains(&p);
                if inside(y, 0) && inside(x_, 1) {
                    let pixel = (image * w.input[0] + y as usize) * w.input[1] + x_ as usize;
                    values.push(x[pixel * w.channels + channel]);
                }
            }
        }
        values
    }

    /// A pooling by its definition.
    fn defined(batch: usize, w: &Windows, x: &[f64], pool: impl Fn(Vec<f64>) -> f64) -> Vec<f64> {
        let outputs = w.output[0] * w.output[1] * w.channels;
        (0..batch * outputs).map(|i| pool(seen(w, x, i / outputs, i % outputs))).collect()
    }

    fn lens(batch: usize, w: &Windows) -> [usize; 2] {
        [w.input, w.output].map(|size| batch * size[0] * size[1] * w.channels)
    }

    #[test]
    fn maxima_and_their_gradients_are_those_of_the_definition() {
        for (batch, windows) in table() {
            let [x_len, y_len] = lens(batch, &windows);
            let (x, g) = (random(x_len, 1), random(y_len, 2));
            let (y, gx) = in_pools(|| {
                let (mut y, mut taps) = (vec![f32::NAN; y_len], vec![0; y_len]);
                windows.max_forward(batch, &x, &mut y, &mut taps);
                let mut gx = vec![f32::NAN; x_len];
                windows.max_backward(batch, &taps, &g, &mut gx);
                (y, gx)
            });
            let greatest = |seen: Vec<f64>| seen.into_iter().fold(f64::NEG_INFINITY, f64::max);
            let expected = defined(batch, &windows, &wide(&x), greatest);
            assert_eq!(wide(&y), expected, "{windows:?}");
            // Zero weight keeps windows without a value out of the differences.
            let finite: Vec<f32> =
                g.iter().zip(&y).map(|(g, y)| if y.is_finite() { *g } else { 0.0 }).collect();
            let loss = |x: &[f64]| {
                let y = defined(batch, &windows, x, greatest);
                dot(&y.iter().map(|y| y.max(-1e9)).collect::<Vec<_>>(), &finite)
            };
            assert_close(&gx, &gradient(&wide(&x), loss));
        }
    }

    #[test]
    fn means_and_their_gradients_are_those_of_the_definition() {
        for (batch, windows) in table() {
            let [x_len, y_len] = lens(batch, &windows);
            let (x, g) = (random(x_len, 1), random(y_len, 2));
            let (y, gx) = in_pools(|| {
                let (mut y, mut gx) = (vec![f32::NAN; y_len], vec![f32::NAN; x_len]);
                windows.mean_forward(batch, &x, &mut y);
                windows.mean_backward(batch, &g, &mut gx);
                (y, gx)
            });
            let taps = (windows.kernel[0] * windows.kernel[1]) as f64;
            let mean = |seen: Vec<f64>| seen.iter().sum::<f64>() / taps;
            assert_close(&y, &defined(batch, &windows, &wide(&x), mean));
            let loss = |x: &[f64]| dot(&defined(batch, &windows, x, mean), &g);
            assert_close(&gx, &gradient(&wide(&x), loss));
        }
    }

    #[test]
    fn global_means_and_their_gradients_are_those_of_the_definition() {
        for [batch, pixels, channels] in [[1, 1, 1], [2, 6, 3], [17, 4, 5], [1, 70, 24]] {
            let (x, g) = (random(batch * pixels * channels, 1), random(batch * channels, 2));
            let (y, gx) = in_pools(|| {
                let (mut y, mut gx) = (vec![f32::NAN; g.len()], vec![f32::NAN; x.len()]);
                global_mean_forward(batch, channels, &x, &mut y);
                global_mean_backward(batch, channels, &g, &mut gx);
                (y, gx)
            });
            let defined = |x: &[f64]| -> Vec<f64> {
                let images = x.chunks(pixels * channels);
                let mean = |image: &[f64], channel| {
                    image.iter().skip(channel).step_by(channels).sum::<f64>() / pixels as f64
                };
                images.flat_map(|x| (0..channels).map(move |c| mean(x, c))).collect()
            };
            assert_close(&y, &defined(&wide(&x)));
            assert_close(&gx, &gradient(&wide(&x), |x| dot(&defined(x), &g)));
        }
    }

    /// `torch.nn.functional.max_pool2d(x, 3, 2, 1, return_indices=True)` of PyTorch
    /// 2.15 prints the values `1 4 nan 9` at the pixels `0 3 8 9`, and
    /// `avg_pool2d` of 0 to 11, with `set_printoptions(precision=8)`, the means below.
    #[test]
    fn ties_padding_and_what_is_not_a_number_are_as_in_pytorch() {
        let windows = Windows {
            channels: 1,
            input: [3, 4],
            kernel: [3, 3],
            stride: [2, 2],
            padding: [1, 1],
            output: [2, 2],
        };
        let x = [1.0, 1.0, 2.0, 4.0, 0.0, 1.0, 3.0, -4.0, f32::NAN, 9.0, 9.0, 9.0];
        let (mut y, mut taps, mut gx) = ([0.0; 4], [0; 4], [f32::NAN; 12]);
        windows.max_forward(1, &x, &mut y, &mut taps);
        assert_eq!([y[0], y[1], y[3]], [1.0, 4.0, 9.0]);
        assert!(y[2].is_nan());
        windows.max_backward(1, &taps, &[1.0; 4], &mut gx);
        assert_eq!(gx, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);

        let ramp: Vec<f32> = (0..12).map(|i| i as f32).collect();
        windows.mean_forward(1, &ramp, &mut y);
        assert_close(&y, &[1.111_111_16, 2.666_666_75, 2.888_888_84, 5.333_333_49]);
    }

    #[test]
    fn of_equally_low_values_the_first_is_the_maximum() {
        let windows = table()[1].1;
        let (mut y, mut taps) = ([0.0; 18], [9; 18]);
        windows.max_forward(1, &[f32::NEG_INFINITY; 72], &mut y, &mut taps);
        assert_eq!((y, taps), ([f32::NEG_INFINITY; 18], [0; 18]));
    }
}
