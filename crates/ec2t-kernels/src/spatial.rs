//! Operators that move or combine pixels without weights: pools and the
//! option-A shortcut.
//!
//! Tensors are `[C, H, W]`.

use crate::shape::PoolShape;

/// Maximum over windows; padding counts as −∞.
///
/// # Panics
/// Where input or output has the wrong length.
pub fn max_pool(shape: &PoolShape, input: &[f32], output: &mut [f32]) {
    pool(shape, input, output, |window| window.fold(f32::NEG_INFINITY, f32::max));
}

/// Mean over windows; padding counts as 0 and is part of the divisor.
///
/// # Panics
/// Where input or output has the wrong length.
pub fn avg_pool(shape: &PoolShape, input: &[f32], output: &mut [f32]) {
    let divisor = (shape.kernel[0] * shape.kernel[1]) as f32;
    pool(shape, input, output, |window| window.sum::<f32>() / divisor);
}

/// Reduces the pixels of every window, without padding, to one value.
pub(crate) fn pool<T: Copy>(
    shape: &PoolShape,
    input: &[T],
    output: &mut [T],
    reduce: impl Fn(&mut dyn Iterator<Item = T>) -> T,
) {
    let [height, width] = shape.input;
    let [out_height, out_width] = shape.output;
    assert_eq!(input.len(), shape.channels * height * width, "length of the input");
    assert_eq!(output.len(), shape.channels * out_height * out_width, "length of the output");
    let images = input.chunks_exact(height * width);
    for (image, channel) in images.zip(output.chunks_exact_mut(out_height * out_width)) {
        for (index, value) in channel.iter_mut().enumerate() {
            let rows = window(shape, 0, index / out_width);
            let columns = window(shape, 1, index % out_width);
            let mut pixels = rows.flat_map(|y| image[y * width..][columns.clone()].iter().copied());
            *value = reduce(&mut pixels);
        }
    }
}

/// Rows (axis 0) or columns (axis 1) of a window that lie inside the input.
fn window(shape: &PoolShape, axis: usize, position: usize) -> std::ops::Range<usize> {
    let start = position * shape.stride[axis];
    let end = start + shape.kernel[axis];
    let inside = |padded: usize| padded.saturating_sub(shape.padding[axis]).min(shape.input[axis]);
    inside(start)..inside(end)
}

/// Channels whose means are taken at the same time.
const SIDE_BY_SIDE: usize = 8;

/// Mean over all pixels of each channel, `[C, H, W]` → `[C]`.
///
/// # Panics
/// Where `input` is not `output.len()` channels of `plane` pixels.
pub fn global_avg_pool(plane: usize, input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), plane * output.len(), "length of the input");
    // Channels side by side, because each addition of a sum waits for the one before.
    for (values, channels) in
        output.chunks_mut(SIDE_BY_SIDE).zip(input.chunks(SIDE_BY_SIDE * plane))
    {
        let mut planes: [&[f32]; SIDE_BY_SIDE] = [&channels[..plane]; SIDE_BY_SIDE];
        planes.iter_mut().zip(channels.chunks_exact(plane)).for_each(|(to, from)| *to = from);
        let mut sums = [0.0; SIDE_BY_SIDE];
        for pixel in 0..plane {
            sums.iter_mut().zip(planes).for_each(|(sum, channel)| *sum += channel[pixel]);
        }
        values.iter_mut().zip(sums).for_each(|(value, sum)| *value = sum / plane as f32);
    }
}

/// Option-A shortcut (He et al. 2015): takes every `stride`-th pixel; of the
/// channels that `output` has more, half (rounded down) are zeros before and
/// the others zeros after those of the input.
///
/// # Panics
/// Where input or output has the wrong length.
pub fn pad_shortcut(input_size: [usize; 2], stride: usize, input: &[f32], output: &mut [f32]) {
    pad_shortcut_with(0.0, input_size, stride, input, output, |image, channel| {
        thin(input_size[1], stride, image, channel);
    });
}

/// The same for values of any type, among which `zero` stands for 0; `thin` makes the channel
/// of the output from that of the input.
pub(crate) fn pad_shortcut_with<T: Copy>(
    zero: T,
    [height, width]: [usize; 2],
    stride: usize,
    input: &[T],
    output: &mut [T],
    thin: impl Fn(&[T], &mut [T]),
) {
    let plane = height.div_ceil(stride) * width.div_ceil(stride);
    assert_eq!(input.len() % (height * width), 0, "whole channels of input");
    assert_eq!(output.len() % plane, 0, "whole channels of output");
    let channels = input.len() / (height * width);
    let missing = (output.len() / plane).checked_sub(channels).expect("at least as many channels");
    let zeros = missing / 2 * plane;
    let kept = channels * plane;
    output[..zeros].fill(zero);
    output[zeros + kept..].fill(zero);
    let images = input.chunks_exact(height * width);
    for (image, channel) in images.zip(output[zeros..][..kept].chunks_exact_mut(plane)) {
        thin(image, channel);
    }
}

/// Takes every `stride`-th pixel of every `stride`-th row.
pub(crate) fn thin<T: Copy>(width: usize, stride: usize, image: &[T], channel: &mut [T]) {
    let rows = image.chunks_exact(width).step_by(stride);
    for (row, values) in rows.zip(channel.chunks_exact_mut(width.div_ceil(stride))) {
        match stride {
            // The usual case has a loop whose step is known.
            2 => pick::<T, 2>(row, values),
            _ => row.iter().step_by(stride).zip(values).for_each(|(x, value)| *value = *x),
        }
    }
}

/// Takes every `STEP`-th pixel of a row.
fn pick<T: Copy, const STEP: usize>(row: &[T], values: &mut [T]) {
    let (whole, rest) = row.as_chunks::<STEP>();
    let (first, last) = values.split_at_mut(whole.len());
    for (value, pixels) in first.iter_mut().zip(whole) {
        *value = pixels[0];
    }
    for (value, pixel) in last.iter_mut().zip(rest) {
        *value = *pixel;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_of_a_small_image() {
        let image: Vec<f32> = (0..12).map(|v| v as f32).collect(); // 3 rows of 4
        let mut shape = PoolShape {
            channels: 1,
            input: [3, 4],
            kernel: [2, 2],
            stride: [2, 2],
            padding: [0; 4],
            output: [1, 2],
        };
        let mut output = [0.0; 2];
        max_pool(&shape, &image, &mut output);
        assert_eq!(output, [5.0, 7.0]);
        avg_pool(&shape, &image, &mut output);
        assert_eq!(output, [2.5, 4.5]);

        // Padding on the left and at the top: windows of 1, 2, 2 and 4 pixels.
        shape.padding = [1, 1, 0, 0];
        shape.output = [2, 2];
        let mut output = [0.0; 4];
        let negative: Vec<f32> = image.iter().map(|v| -v).collect();
        max_pool(&shape, &negative, &mut output);
        assert_eq!(output, [0.0, -1.0, -4.0, -5.0]);
        avg_pool(&shape, &image, &mut output);
        assert_eq!(output, [0.0, 0.75, 3.0, 7.5]);
    }

    #[test]
    fn global_mean_of_each_channel() {
        let mut output = [0.0; 2];
        global_avg_pool(2, &[1.0, 2.0, -3.0, -4.0], &mut output);
        assert_eq!(output, [1.5, -3.5]);
    }

    #[test]
    fn the_shortcut_centres_the_channels() {
        let image: Vec<f32> = (1..=9).map(|v| v as f32).collect();
        let mut output = [9.0; 16];
        pad_shortcut([3, 3], 2, &image, &mut output); // 1 channel into 4: one before, two after
        let expected = [[0.0; 4], [1.0, 3.0, 7.0, 9.0], [0.0; 4], [0.0; 4]];
        assert_eq!(output.as_chunks::<4>().0, expected);
    }
}
