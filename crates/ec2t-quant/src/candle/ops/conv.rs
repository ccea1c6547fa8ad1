//! Convolution through candle's own operator, which knows only square settings.

use candle_core::{Result, Tensor, bail};
use ec2t_format::graph::Conv2d;

/// Convolution of `x`, `[N, C, H, W]`, with `weight`, `[O, C/g, KH, KW]`.
pub(crate) fn conv2d(conv: &Conv2d, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (_, channels, height, width) = x.dims4()?;
    let Some(geometry) = conv.geometry([height, width]) else {
        bail!("no window of {:?} fits an input of {height}×{width}", conv.kernel);
    };
    if channels != conv.in_channels {
        bail!("expected {} input channels, found {channels}", conv.in_channels);
    }
    let ([stride, stride_w], [dilation, dilation_w]) = (conv.stride, conv.dilation);
    if stride != stride_w || dilation != dilation_w {
        bail!("this device needs equal strides and dilations in rows and columns");
    }
    let [top, left, bottom, right] = geometry.padding;
    if [left, bottom, right] == [top; 3] {
        return x.conv2d(weight, top, stride, dilation, conv.groups);
    }
    let padded = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    padded.conv2d(weight, 0, stride, dilation, conv.groups)
}
