//! Pools and the option-A shortcut on bytes.
//!
//! Tensors are `[C, H, W]`. Maxima and shortcuts keep the grid of what they read.

use super::fill::thin;
use super::grid::Grid;
use crate::arch::{Operation, Simd, dispatch};
use crate::shape::PoolShape;
use crate::spatial;

/// Maximum over windows; padding is in none of them.
///
/// # Panics
/// Where input or output has the wrong length.
pub fn max_pool(shape: &PoolShape, input: &[u8], output: &mut [u8]) {
    spatial::pool(shape, input, output, |window| window.max().unwrap_or(0));
}

/// Mean over all pixels of each channel, `[C, H, W]` → `[C]`, as floats.
///
/// # Panics
/// Where `input` is not `output.len()` channels of `plane` pixels.
pub fn global_avg_pool(grid: Grid, plane: usize, input: &[u8], output: &mut [f32]) {
    assert_eq!(input.len(), plane * output.len(), "length of the input");
    let zeros = plane as i64 * i64::from(grid.zero);
    for (value, channel) in output.iter_mut().zip(input.chunks_exact(plane)) {
        // Sums of some pixels fit into 32 bits, which are quicker to add.
        let sum_of = |part: &[u8]| part.iter().map(|q| u32::from(*q)).sum::<u32>();
        let sum: i64 = channel.chunks(1 << 16).map(|part| i64::from(sum_of(part))).sum();
        *value = (sum - zeros) as f32 * grid.scale / plane as f32;
    }
}

/// Option-A shortcut: as [`spatial::pad_shortcut`], where `zero` stands for 0.
///
/// # Panics
/// Where input or output has the wrong length.
pub fn pad_shortcut(
    input_size: [usize; 2],
    stride: usize,
    zero: u8,
    input: &[u8],
    output: &mut [u8],
) {
    spatial::pad_shortcut_with(zero, input_size, stride, input, output, |image, channel| {
        match stride {
            2 => dispatch(Halve { size: input_size, image, channel }),
            _ => spatial::thin(input_size[1], stride, image, channel),
        }
    });
}

/// Every second pixel of every second row of an image of this size.
struct Halve<'a> {
    size: [usize; 2],
    image: &'a [u8],
    channel: &'a mut [u8],
}

impl Operation for Halve<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let [height, width] = self.size;
        let [rows, columns] = [height.div_ceil(2), width.div_ceil(2)];
        thin(simd, self.image, self.channel, [rows, columns], [2 * width, columns]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxima_of_bytes() {
        let shape = PoolShape {
            channels: 1,
            input: [2, 3],
            kernel: [2, 2],
            stride: [2, 2],
            padding: [0, 1, 0, 0],
            output: [1, 2],
        };
        let mut output = [0; 2];
        max_pool(&shape, &[1, 200, 3, 4, 5, 255], &mut output);
        assert_eq!(output, [4, 255]);
    }

    #[test]
    fn means_of_bytes() {
        let grid = Grid { scale: 0.5, zero: 10 };
        let mut output = [0.0; 2];
        global_avg_pool(grid, 3, &[10, 13, 16, 0, 0, 3], &mut output);
        assert_eq!(output, [1.5, -4.5]);
    }

    #[test]
    fn every_second_pixel_of_every_second_row() {
        for size in [[1_usize, 1], [2, 2], [3, 5], [5, 64], [16, 16], [33, 31], [32, 32], [4, 200]]
        {
            let [height, width] = size;
            let input: Vec<u8> = (0..2 * height * width).map(|i| (i * 7 % 251) as u8).collect();
            let mut output = vec![9; 2 * height.div_ceil(2) * width.div_ceil(2)];
            pad_shortcut(size, 2, 0, &input, &mut output);
            let rows = input.chunks_exact(width).enumerate();
            let rows = rows.filter(|(row, _)| (row % height).is_multiple_of(2));
            let expected = rows.flat_map(|(_, row)| row.iter().step_by(2).copied());
            assert!(expected.eq(output), "{size:?}");
        }
    }

    #[test]
    fn added_channels_stand_for_zero() {
        let mut output = [0; 3];
        pad_shortcut([2, 2], 2, 7, &[1, 2, 3, 4], &mut output);
        assert_eq!(output, [7, 1, 7]);
    }
}
