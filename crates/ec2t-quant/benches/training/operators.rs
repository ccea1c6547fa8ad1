//! Parts of networks, forward and backward, with the gradients of their parameters
//! and of their input.
//!
//! They call the operators as the engine does: convolutions leave the channel sums
//! for the normalisation, which takes along residual and rectifier. Activations
//! are `[N, H, W, C]`; that of the input and the gradient of the output are given.

use ec2t_kernels::ConvShape;
use ec2t_ops::conv::Backward;
use ec2t_ops::norm::{
    AffineGradient, BatchNorm, OutputGradient, Rectifier, ResidualGradient, Statistics,
};
use ec2t_ops::{ChannelSums, Conv, Scratch, mask_len};

use super::{Work, random, timed};

const BATCH: usize = 128;
/// Rows and columns.
const SIDE: usize = 16;
const HIDDEN: usize = 96;

/// The block of MobileNetV2 (Sandler et al. 2018): 1×1 from 16 to 96 channels, 3×3
/// depthwise, 1×1 back to 16, and the input is added.
pub(super) fn mobilenet_block() -> Work {
    const CHANNELS: usize = 16;
    let mut expand = Unit::new([CHANNELS, HIDDEN], 1, 1, Rectifier::Relu6);
    let mut filter = Unit::new([HIDDEN, HIDDEN], 3, HIDDEN, Rectifier::Relu6);
    let mut project = Unit::new([HIDDEN, CHANNELS], 1, 1, Rectifier::Identity);
    let parameters = [&expand, &filter, &project].map(Unit::parameters).iter().sum();

    let values = |channels| random(BATCH * SIDE * SIDE * channels);
    let (x, gradient) = (values(CHANNELS), values(CHANNELS));
    let (mut gx, mut gexpanded, mut gfiltered) = (values(CHANNELS), values(HIDDEN), values(HIDDEN));
    let mut scratch = Scratch::new();
    let run = move || {
        timed(|| {
            expand.forward(&x, None, &mut scratch);
            filter.forward(&expand.z, None, &mut scratch);
            project.forward(&filter.z, Some(&x), &mut scratch);

            let residual = ResidualGradient::Write(&mut gx);
            project.norm_backward(&gradient, residual, &mut scratch);
            project.conv_backward(&filter.z, &mut gfiltered, false, &mut scratch);
            filter.norm_backward(&gfiltered, ResidualGradient::None, &mut scratch);
            filter.conv_backward(&expand.z, &mut gexpanded, false, &mut scratch);
            expand.norm_backward(&gexpanded, ResidualGradient::None, &mut scratch);
            expand.conv_backward(&x, &mut gx, true, &mut scratch);
            Ok(())
        })
    };
    Work { parameters, repetitions: 1, run: Box::new(run) }
}

/// A depthwise convolution of 96 channels.
pub(super) fn depthwise(kernel: usize) -> Work {
    let shape = shape([HIDDEN, HIDDEN], kernel, HIDDEN);
    let conv = Conv::new(shape);
    let (x, w, gy) = (
        random(BATCH * shape.input_len()),
        random(shape.weight_len()),
        random(BATCH * shape.output_len()),
    );
    let (mut y, mut gx, mut gw) = (gy.clone(), x.clone(), w.clone());
    let mut scratch = Scratch::new();
    let run = move || {
        timed(|| {
            conv.forward(BATCH, &x, &w, &mut y, None, &mut scratch);
            let (gx, gw) = (&mut gx, &mut gw);
            let operands = Backward { x: &x, gy: &gy, w: &w, gx, accumulate: false, gw };
            conv.backward(BATCH, operands, &mut scratch);
            Ok(())
        })
    };
    Work { parameters: shape.weight_len(), repetitions: 1, run: Box::new(run) }
}

fn shape([inputs, outputs]: [usize; 2], kernel: usize, groups: usize) -> ConvShape {
    ConvShape {
        in_channels: inputs,
        out_channels: outputs,
        input: [SIDE; 2],
        kernel: [kernel; 2],
        stride: [1; 2],
        dilation: [1; 2],
        padding: [kernel / 2; 4],
        groups,
        output: [SIDE; 2],
    }
}

/// A parameter and its gradient.
struct Parameter {
    values: Vec<f32>,
    gradient: Vec<f32>,
}

impl Parameter {
    fn new(values: Vec<f32>) -> Self {
        Self { gradient: values.clone(), values }
    }
}

/// Convolution, batch normalisation, rectifier.
struct Unit {
    conv: Conv,
    kernel: Parameter,
    weight: Parameter,
    bias: Parameter,
    sums: ChannelSums,
    statistics: Statistics,
    /// Mean and variance.
    running: [Vec<f32>; 2],
    rectifier: Rectifier,
    /// Where the rectifier passes gradients.
    mask: Vec<u16>,
    /// Output of the convolution, its gradient, output of all.
    y: Vec<f32>,
    gy: Vec<f32>,
    z: Vec<f32>,
}

impl Unit {
    fn new(channels: [usize; 2], kernel: usize, groups: usize, rectifier: Rectifier) -> Self {
        let shape = shape(channels, kernel, groups);
        let [_, channels] = channels;
        let y = random(BATCH * shape.output_len());
        Self {
            conv: Conv::new(shape),
            kernel: Parameter::new(random(shape.weight_len())),
            weight: Parameter::new(vec![1.0; channels]),
            bias: Parameter::new(vec![0.0; channels]),
            sums: ChannelSums::new(channels),
            statistics: Statistics::new(channels, 1e-5),
            running: [vec![0.0; channels], vec![1.0; channels]],
            rectifier,
            mask: vec![0; mask_len(y.len())],
            gy: y.clone(),
            z: y.clone(),
            y,
        }
    }

    fn parameters(&self) -> usize {
        [&self.kernel, &self.weight, &self.bias]
            .map(|parameter| parameter.values.len())
            .iter()
            .sum()
    }

    fn forward(&mut self, x: &[f32], residual: Option<&[f32]>, scratch: &mut Scratch) {
        let sums = Some(&mut self.sums);
        self.conv.forward(BATCH, x, &self.kernel.values, &mut self.y, sums, scratch);
        self.statistics.set_batch(&self.y, &self.sums, scratch);
        let [mean, var] = &mut self.running;
        self.statistics.update_running(BATCH * SIDE * SIDE, 0.1, mean, var);
        let (weight, bias) = (&self.weight.values, &self.bias.values);
        let norm = BatchNorm { weight, bias, statistics: &self.statistics };
        let mask = match self.rectifier {
            Rectifier::Identity => None,
            _ => Some(self.mask.as_mut_slice()),
        };
        norm.forward(&self.y, residual, self.rectifier, &mut self.z, mask, scratch);
    }

    /// Gradients of the normalisation's parameters and of its input.
    fn norm_backward(&mut self, gz: &[f32], residual: ResidualGradient<'_>, scratch: &mut Scratch) {
        let mask = (self.rectifier != Rectifier::Identity).then_some(self.mask.as_slice());
        let gradient = OutputGradient { values: gz, mask };
        let (weight, bias) = (&self.weight.values, &self.bias.values);
        let norm = BatchNorm { weight, bias, statistics: &self.statistics };
        let (weight, bias) = (&mut self.weight.gradient, &mut self.bias.gradient);
        let parameters = AffineGradient { weight, bias };
        norm.backward(&self.y, gradient, &mut self.gy, residual, parameters, scratch);
    }

    /// Gradients of the kernel and of the input, after
    /// [`norm_backward`](Self::norm_backward).
    fn conv_backward(
        &mut self,
        x: &[f32],
        gx: &mut [f32],
        accumulate: bool,
        scratch: &mut Scratch,
    ) {
        let (w, gw) = (&self.kernel.values, &mut self.kernel.gradient);
        let operands = Backward { x, gy: &self.gy, w, gx, accumulate, gw };
        self.conv.backward(BATCH, operands, scratch);
    }
}
