//! Convolution: one matrix product per image over its unfolded windows.
//!
//! With `col` the windows of an image, `[C/g·KH·KW, H'·W']`:
//!
//! | pass | product | shape |
//! |---|---|---|
//! | forward | `W · col` | `[O/g, H'·W']` |
//! | input gradient | `Wᵀ · g`, folded back | `[C/g·KH·KW, H'·W']` |
//! | weight gradient | `g · colᵀ`, summed over images | `[O/g, C/g·KH·KW]` |

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, bail};
use ec2t_format::graph::Conv2d;
use rayon::prelude::*;

use super::cpu::{CHUNKS, values, with_values};
use super::matmul::{Matrix, matmul};

/// Convolution of `x`, `[N, C, H, W]`, with `weight`, `[O, C/g, KH, KW]`.
///
/// `input_gradient` is false where nobody needs the gradient of `x`.
pub(crate) fn conv2d(
    conv: &Conv2d,
    x: &Tensor,
    weight: &Tensor,
    input_gradient: bool,
) -> Result<Tensor> {
    let geometry = Geometry::new(conv, x)?;
    match x.device() {
        Device::Cpu => {
            let op = CpuConv { geometry, input_gradient };
            x.contiguous()?.apply_op2(&weight.contiguous()?, op)
        }
        _ => candle_conv2d(&geometry, x, weight),
    }
}

/// The same through candle's own operator, which knows only square settings.
fn candle_conv2d(geometry: &Geometry, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let [stride, stride_w] = geometry.stride;
    let [dilation, dilation_w] = geometry.dilation;
    if stride != stride_w || dilation != dilation_w {
        bail!("this device needs equal strides and dilations in rows and columns");
    }
    let [top, left, bottom, right] = geometry.padding;
    if [left, bottom, right] == [top; 3] {
        return x.conv2d(weight, top, stride, dilation, geometry.groups);
    }
    let padded = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    padded.conv2d(weight, 0, stride, dilation, geometry.groups)
}

/// All numbers of one convolution.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    batch: usize,
    in_channels: usize,
    input: [usize; 2],
    out_channels: usize,
    output: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 4],
    groups: usize,
}

impl Geometry {
    fn new(conv: &Conv2d, x: &Tensor) -> Result<Self> {
        let (batch, in_channels, height, width) = x.dims4()?;
        let Some(geometry) = conv.geometry([height, width]) else {
            bail!("no window of {:?} fits an input of {height}×{width}", conv.kernel);
        };
        if in_channels != conv.in_channels {
            bail!("expected {} input channels, found {in_channels}", conv.in_channels);
        }
        Ok(Self {
            batch,
            in_channels,
            input: [height, width],
            out_channels: conv.out_channels,
            output: geometry.output,
            kernel: conv.kernel,
            stride: conv.stride,
            dilation: conv.dilation,
            padding: geometry.padding,
            groups: conv.groups,
        })
    }

    /// Values of one image's input.
    fn image(&self) -> usize {
        self.in_channels * self.input[0] * self.input[1]
    }

    /// Pixels of one output channel.
    fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Input channels of one group.
    fn group_inputs(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of one group.
    fn group_outputs(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Values in one window of one group.
    fn window(&self) -> usize {
        self.group_inputs() * self.kernel[0] * self.kernel[1]
    }

    /// Values of the weights.
    fn weights(&self) -> usize {
        self.out_channels * self.window()
    }

    fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.group_inputs(), self.kernel[0], self.kernel[1]]
    }

    /// Values of one group's windows of one image.
    fn columns(&self) -> usize {
        self.window() * self.pixels()
    }

    /// Whether the windows of an image are the image itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0; 4]
    }

    /// Calls `f(window, pixel, len)` for every tap and output row: `len` values
    /// of the windows from index `window` on are those of one group's input
    /// from index `pixel` on, in steps of the stride. Taps outside of the image
    /// are left out.
    fn for_each_run(&self, mut f: impl FnMut(usize, usize, usize)) {
        let [height, width] = self.input;
        let [out_height, out_width] = self.output;
        let [kernel_height, kernel_width] = self.kernel;
        for tap in 0..self.window() {
            let channel = tap / (kernel_height * kernel_width);
            let down = tap / kernel_width % kernel_height * self.dilation[0];
            let across = tap % kernel_width * self.dilation[1];
            let columns = inside(across, self.padding[1], self.stride[1], width, out_width);
            if columns.is_empty() {
                continue;
            }
            for row in inside(down, self.padding[0], self.stride[0], height, out_height) {
                let y = row * self.stride[0] + down - self.padding[0];
                let x = columns.start * self.stride[1] + across - self.padding[1];
                let window = (tap * out_height + row) * out_width + columns.start;
                f(window, (channel * height + y) * width + x, columns.len());
            }
        }
    }

    /// Writes the windows of one group's input into `columns`.
    fn unfold(&self, input: &[f32], columns: &mut [f32]) {
        columns.fill(0.0);
        let step = self.stride[1];
        self.for_each_run(|to, from, len| {
            let (to, from) = (&mut columns[to..to + len], &input[from..]);
            match step {
                1 => to.copy_from_slice(&from[..len]),
                _ => to.iter_mut().zip(from.iter().step_by(step)).for_each(|(t, f)| *t = *f),
            }
        });
    }

    /// Adds the windows in `columns` back onto one group's input.
    fn fold(&self, columns: &[f32], input: &mut [f32]) {
        let step = self.stride[1];
        self.for_each_run(|from, to, len| {
            let (from, to) = (&columns[from..from + len], &mut input[to..]);
            match step {
                1 => to[..len].iter_mut().zip(from).for_each(|(t, f)| *t += *f),
                _ => to.iter_mut().step_by(step).zip(from).for_each(|(t, f)| *t += *f),
            }
        });
    }
}

/// Output positions whose tap at `offset` lies inside the image.
fn inside(
    offset: usize,
    pad: usize,
    stride: usize,
    input: usize,
    output: usize,
) -> std::ops::Range<usize> {
    let first = pad.saturating_sub(offset).div_ceil(stride);
    let end = (input + pad).saturating_sub(offset).div_ceil(stride).min(output);
    first..end.max(first)
}

struct CpuConv {
    geometry: Geometry,
    input_gradient: bool,
}

impl CustomOp2 for CpuConv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let geometry = &self.geometry;
        let out = forward(geometry, values(x, x_layout)?, values(weight, weight_layout)?);
        let [height, width] = geometry.output;
        let shape = Shape::from((geometry.batch, geometry.out_channels, height, width));
        Ok((CpuStorage::F32(out), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let geometry = &self.geometry;
        with_values(gradient, |gradient| {
            let x_gradient = match self.input_gradient {
                true => {
                    let data = with_values(weight, |w| Ok(input_gradient(geometry, gradient, w)))?;
                    Some(Tensor::from_vec(data, x.shape(), x.device())?)
                }
                false => None,
            };
            let data = with_values(x, |x| Ok(weight_gradient(geometry, gradient, x)))?;
            let weight_gradient = Tensor::from_vec(data, &geometry.weight_shape(), x.device())?;
            Ok((x_gradient, Some(weight_gradient)))
        })
    }
}

fn forward(geometry: &Geometry, x: &[f32], weight: &[f32]) -> Vec<f32> {
    let (pixels, window) = (geometry.pixels(), geometry.window());
    let mut out = vec![0.0; geometry.batch * geometry.out_channels * pixels];
    let group_input = geometry.image() / geometry.groups;
    out.par_chunks_mut(geometry.out_channels * pixels)
        .zip(x.par_chunks(geometry.image()))
        .for_each_init(
            || vec![0.0; geometry.columns()],
            |columns, (out, x)| {
                let outputs = out.chunks_mut(geometry.group_outputs() * pixels);
                let weights = weight.chunks(geometry.group_outputs() * window);
                for ((out, x), weight) in outputs.zip(x.chunks(group_input)).zip(weights) {
                    let weight = Matrix::new(weight, geometry.group_outputs(), window);
                    let columns = match geometry.is_pointwise() {
                        true => x,
                        false => {
                            geometry.unfold(x, columns);
                            &*columns
                        }
                    };
                    matmul(out, weight, Matrix::new(columns, window, pixels), false);
                }
            },
        );
    out
}

fn input_gradient(geometry: &Geometry, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let (pixels, window) = (geometry.pixels(), geometry.window());
    let mut out = vec![0.0; geometry.batch * geometry.image()];
    let group_input = geometry.image() / geometry.groups;
    let gradients = gradient.par_chunks(geometry.out_channels * pixels);
    out.par_chunks_mut(geometry.image()).zip(gradients).for_each_init(
        || vec![0.0; geometry.columns()],
        |columns, (out, gradient)| {
            let gradients = gradient.chunks(geometry.group_outputs() * pixels);
            let weights = weight.chunks(geometry.group_outputs() * window);
            for ((out, gradient), weight) in out.chunks_mut(group_input).zip(gradients).zip(weights)
            {
                let weight = Matrix::new(weight, geometry.group_outputs(), window).transposed();
                let gradient = Matrix::new(gradient, geometry.group_outputs(), pixels);
                match geometry.is_pointwise() {
                    true => matmul(out, weight, gradient, false),
                    false => {
                        matmul(columns, weight, gradient, false);
                        geometry.fold(columns, out);
                    }
                }
            }
        },
    );
    out
}

fn weight_gradient(geometry: &Geometry, gradient: &[f32], x: &[f32]) -> Vec<f32> {
    let (pixels, window) = (geometry.pixels(), geometry.window());
    let chunk = geometry.batch.div_ceil(CHUNKS);
    let gradients = gradient.par_chunks(chunk * geometry.out_channels * pixels);
    let partial: Vec<Vec<f32>> = gradients
        .zip(x.par_chunks(chunk * geometry.image()))
        .map(|(gradient, x)| {
            let mut sum = vec![0.0; geometry.weights()];
            let mut columns = vec![0.0; geometry.columns()];
            let groups = x.chunks(geometry.image() / geometry.groups);
            let gradients = gradient.chunks(geometry.group_outputs() * pixels);
            for (index, (x, gradient)) in groups.zip(gradients).enumerate() {
                let columns = match geometry.is_pointwise() {
                    true => x,
                    false => {
                        geometry.unfold(x, &mut columns);
                        &columns
                    }
                };
                let size = geometry.group_outputs() * window;
                let group = index % geometry.groups * size;
                let gradient = Matrix::new(gradient, geometry.group_outputs(), pixels);
                let columns = Matrix::new(columns, window, pixels).transposed();
                matmul(&mut sum[group..group + size], gradient, columns, true);
            }
            sum
        })
        .collect();
    let mut sum = vec![0.0; geometry.weights()];
    for part in &partial {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use ec2t_format::graph::Padding;

    fn conv(channels: [usize; 2], kernel: [usize; 2], groups: usize) -> Conv2d {
        Conv2d {
            in_channels: channels[0],
            out_channels: channels[1],
            kernel,
            stride: [1; 2],
            padding: Padding::all(1),
            dilation: [1; 2],
            groups,
            bias: false,
            scale: false,
        }
    }

    fn ramp(shape: &[usize], seed: usize) -> Tensor {
        let numel: usize = shape.iter().product();
        let value = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.0 - 1.0;
        Tensor::from_vec((0..numel).map(value).collect(), shape, &Device::Cpu).unwrap()
    }

    /// Sum over windows, straight from the definition, in f64.
    fn by_definition(conv: &Conv2d, x: &Tensor, w: &Tensor) -> Vec<f64> {
        let g = Geometry::new(conv, x).unwrap();
        let xs = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let ws = w.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut out = Vec::new();
        for n in 0..g.batch {
            for o in 0..g.out_channels {
                let first = o / g.group_outputs() * g.group_inputs();
                for y in 0..g.output[0] {
                    for x in 0..g.output[1] {
                        let mut sum = 0.0;
                        for tap in 0..g.window() {
                            let [kh, kw] = g.kernel;
                            let (c, ky, kx) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                            let row =
                                (y * g.stride[0] + ky * g.dilation[0]).checked_sub(g.padding[0]);
                            let col =
                                (x * g.stride[1] + kx * g.dilation[1]).checked_sub(g.padding[1]);
                            let (Some(row), Some(col)) = (row, col) else { continue };
                            if row < g.input[0] && col < g.input[1] {
                                let channel = n * g.in_channels + first + c;
                                let value = xs[(channel * g.input[0] + row) * g.input[1] + col];
                                sum += f64::from(value) * f64::from(ws[o * g.window() + tap]);
                            }
                        }
                        out.push(sum);
                    }
                }
            }
        }
        out
    }

    fn cases() -> Vec<(Conv2d, [usize; 4])> {
        let mut strided = conv([4, 6], [3, 3], 1);
        strided.stride = [2, 2];
        let mut dilated = conv([3, 5], [3, 2], 1);
        dilated.dilation = [2, 3];
        dilated.padding = Padding::Explicit([2, 3, 1, 0]);
        let mut depthwise = conv([4, 4], [5, 5], 4);
        depthwise.padding = Padding::Same;
        depthwise.stride = [2, 1];
        let mut pointwise = conv([6, 8], [1, 1], 2);
        pointwise.padding = Padding::all(0);
        vec![
            (conv([3, 4], [3, 3], 1), [2, 3, 6, 5]),
            (strided, [18, 4, 7, 8]),
            (dilated, [2, 3, 9, 8]),
            (depthwise, [3, 4, 8, 7]),
            (pointwise, [2, 6, 4, 4]),
        ]
    }

    #[test]
    fn forward_follows_the_definition() {
        for (conv, shape) in cases() {
            let x = ramp(&shape, 1);
            let w = ramp(&Geometry::new(&conv, &x).unwrap().weight_shape(), 2);
            let out = conv2d(&conv, &x, &w, true).unwrap();
            let out = out.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let expected = by_definition(&conv, &x, &w);
            assert_eq!(out.len(), expected.len());
            for (found, expected) in out.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{conv:?}");
            }
        }
    }

    /// What other devices compute, where they can.
    #[test]
    fn candle_agrees_on_square_settings() {
        for (conv, shape) in cases() {
            let x = ramp(&shape, 1);
            let geometry = Geometry::new(&conv, &x).unwrap();
            let w = ramp(&geometry.weight_shape(), 2);
            let [stride, dilation] = [conv.stride, conv.dilation];
            let square = stride[0] == stride[1] && dilation[0] == dilation[1];
            let Ok(candle) = candle_conv2d(&geometry, &x, &w) else {
                assert!(!square, "{conv:?}");
                continue;
            };
            let difference = (candle - conv2d(&conv, &x, &w, true).unwrap()).unwrap();
            let largest = difference.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(square && largest.to_scalar::<f32>().unwrap() < 1e-5, "{conv:?}");
        }
    }

    /// A convolution is linear in both operands, so ⟨g, conv(dx, w)⟩ must be
    /// ⟨input gradient, dx⟩ for any dx, and likewise for the weights.
    #[test]
    fn gradients_are_the_adjoints() {
        let dot = |a: &Tensor, b: &Tensor| {
            let product = (a * b).unwrap().sum_all().unwrap();
            f64::from(product.to_scalar::<f32>().unwrap())
        };
        for (conv, shape) in cases() {
            let x = Var::from_tensor(&ramp(&shape, 1)).unwrap();
            let weights = Geometry::new(&conv, &x).unwrap().weight_shape();
            let w = Var::from_tensor(&ramp(&weights, 2)).unwrap();
            let out = conv2d(&conv, &x, &w, true).unwrap();
            let g = ramp(out.dims(), 3);
            let grads = (out * &g).unwrap().sum_all().unwrap().backward().unwrap();

            let dx = ramp(&shape, 4);
            let expected = dot(&g, &conv2d(&conv, &dx, &w, true).unwrap());
            let found = dot(grads.get(&x).unwrap(), &dx);
            assert!((found - expected).abs() < 1e-3, "{conv:?}: {found} {expected}");

            let dw = ramp(&weights, 5);
            let expected = dot(&g, &conv2d(&conv, &x, &dw, true).unwrap());
            let found = dot(grads.get(&w).unwrap(), &dw);
            assert!((found - expected).abs() < 1e-3, "{conv:?}: {found} {expected}");
        }
    }
}
