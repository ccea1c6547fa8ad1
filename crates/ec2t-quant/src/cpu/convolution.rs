//! Convolutions and linear layers, which are 1×1 convolutions of one pixel.

use ec2t_format::graph::NodeId;
use ec2t_kernels::ConvShape;
use ec2t_ops::conv::Backward;
use ec2t_ops::{ChannelSums, Conv};

use super::layer::{Layer, Mode, Pass, Target};

/// A convolution with its bias.
pub(super) struct Convolution {
    conv: Conv,
    node: NodeId,
    /// Positions of the parameters.
    weight: usize,
    bias: Option<usize>,
    channels: usize,
    /// Sums of the output's gradient, which are that of the bias.
    sums: ChannelSums,
}

impl Convolution {
    pub(super) fn new(shape: ConvShape, node: NodeId, weight: usize, bias: Option<usize>) -> Self {
        let channels = shape.out_channels;
        let sums = ChannelSums::new(channels);
        Self { conv: Conv::new(shape), node, weight, bias, channels, sums }
    }
}

impl Layer for Convolution {
    fn forward(&mut self, pass: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        let weight = pass.weights.get(self.weight);
        let sums = pass.sums[self.node.index()].as_mut();
        self.conv.forward(pass.batch, inputs[0], weight, y, sums, pass.scratch);
        if let Some(bias) = self.bias {
            let bias = pass.weights.get(bias);
            for pixel in y.chunks_exact_mut(self.channels) {
                pixel.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
        }
    }

    fn backward(
        &mut self,
        pass: &mut Pass,
        inputs: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        let Pass { batch, weights, gradients, scratch, .. } = pass;
        if let Some(gradient) = self.bias.and_then(|bias| gradients.get_mut(bias)) {
            self.sums.measure(g, scratch);
            gradient.iter_mut().zip(&self.sums.sums).for_each(|(bias, sum)| *bias = *sum as f32);
        }
        let (x, w, target) = (inputs[0], weights.get(self.weight), targets[0].as_mut());
        match (gradients.get_mut(self.weight), target) {
            (Some(gw), Some(&mut Target { ref mut values, add: accumulate, .. })) => {
                let operands = Backward { x, gy: g, w, gx: values, accumulate, gw };
                self.conv.backward(*batch, operands, scratch);
            }
            (Some(gw), None) => self.conv.weight_gradient(*batch, x, g, gw, scratch),
            (None, Some(&mut Target { ref mut values, add, .. })) => {
                self.conv.input_gradient(*batch, g, w, values, add, scratch);
            }
            (None, None) => {}
        }
    }

    fn reads(&self, _: usize) -> bool {
        true
    }

    fn adds(&self, _: usize) -> bool {
        true
    }
}
