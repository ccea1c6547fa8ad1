//! Convolution and matrix product by their definitions.
//!
//! Slow and obviously right: the fast kernels are tested against these. Sums
//! are in `f64` and rounded once.

use crate::shape::ConvShape;

/// Convolution of one image with weights `[O, C / groups, KH, KW]`:
/// `out[o, y, x] = Σ w[o, c, i, j] · in[c, y·s + i·d − top, x·s + j·d − left]`.
///
/// # Panics
/// Where a slice has the wrong length.
pub fn conv2d(shape: &ConvShape, weights: &[f32], input: &[f32], output: &mut [f32]) {
    assert_eq!(weights.len(), shape.weight_len(), "length of the weights");
    assert_eq!(input.len(), shape.input_len(), "length of the input");
    assert_eq!(output.len(), shape.output_len(), "length of the output");
    let [out_height, out_width] = shape.output;
    let mut values = output.iter_mut();
    for (o, weights) in weights.chunks_exact(shape.taps()).enumerate() {
        for y in 0..out_height {
            for x in 0..out_width {
                let value = values.next().expect("one value per pixel");
                *value = pixel(shape, weights, input, [o, y, x]);
            }
        }
    }
}

/// One output value; `weights` are those of its channel.
fn pixel(shape: &ConvShape, weights: &[f32], input: &[f32], [o, y, x]: [usize; 3]) -> f32 {
    let ConvShape { input: [height, width], kernel, stride, dilation, padding, .. } = *shape;
    let mut sum = 0.0;
    for (tap, weight) in weights.iter().enumerate() {
        let c = shape.first_input(o) + tap / (kernel[0] * kernel[1]);
        let (i, j) = (tap / kernel[1] % kernel[0], tap % kernel[1]);
        let row = (y * stride[0] + i * dilation[0]).checked_sub(padding[0]);
        let column = (x * stride[1] + j * dilation[1]).checked_sub(padding[1]);
        if let (Some(row), Some(column)) = (row, column)
            && row < height
            && column < width
        {
            let value = input[(c * height + row) * width + column];
            sum += f64::from(*weight) * f64::from(value);
        }
    }
    sum as f32
}

/// Product of a matrix `[O, I]` and a vector `[I]`.
///
/// # Panics
/// Where a slice has the wrong length.
pub fn linear(weights: &[f32], input: &[f32], output: &mut [f32]) {
    assert_eq!(weights.len(), input.len() * output.len(), "length of the weights");
    for (value, row) in output.iter_mut().zip(weights.chunks_exact(input.len())) {
        let products = row.iter().zip(input).map(|(w, x)| f64::from(*w) * f64::from(*x));
        *value = products.sum::<f64>() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_by_hand() {
        let shape = ConvShape {
            in_channels: 1,
            out_channels: 1,
            input: [2, 3],
            kernel: [2, 2],
            stride: [1, 2],
            dilation: [1, 1],
            padding: [0, 1, 0, 0],
            groups: 1,
            output: [1, 2],
        };
        let mut output = [0.0; 2];
        conv2d(&shape, &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut output);
        // Windows [0 1; 0 4] and [2 3; 5 6].
        assert_eq!(output, [2.0 + 16.0, 2.0 + 6.0 + 15.0 + 24.0]);
    }

    #[test]
    fn groups_read_their_own_channels() {
        let shape = ConvShape {
            in_channels: 2,
            out_channels: 4,
            input: [1, 1],
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0; 4],
            groups: 2,
            output: [1, 1],
        };
        let mut output = [0.0; 4];
        conv2d(&shape, &[1.0, 2.0, 3.0, 4.0], &[10.0, 100.0], &mut output);
        assert_eq!(output, [10.0, 20.0, 300.0, 400.0]);
    }

    #[test]
    fn a_matrix_product_by_hand() {
        let mut output = [0.0; 2];
        linear(&[1.0, 2.0, 3.0, 4.0], &[10.0, 1.0], &mut output);
        assert_eq!(output, [12.0, 34.0]);
    }
}
