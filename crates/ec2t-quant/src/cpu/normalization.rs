//! Batch normalisation, with the sum and the rectifier behind it.

use ec2t_format::graph::NodeId;
use ec2t_ops::norm::{
    AffineGradient, BatchNorm, OutputGradient, Rectifier, ResidualGradient, Statistics,
};
use ec2t_ops::{ChannelSums, mask_len};

use super::layer::{Layer, Mode, Pass, Target};
use crate::weights::Weights;

/// `rectifier(norm(x) (+ residual))`; the residual is the second input.
pub(super) struct Normalization {
    /// The batch normalisation among the fused nodes.
    pub(super) node: NodeId,
    /// The convolution that leaves the sums of its output, if there is one.
    pub(super) producer: Option<NodeId>,
    /// Positions of the parameters.
    pub(super) weight: usize,
    pub(super) bias: usize,
    pub(super) momentum: f32,
    pub(super) rectifier: Rectifier,
    pub(super) statistics: Statistics,
    /// Sums of an input that no convolution has summed.
    pub(super) own_sums: ChannelSums,
    /// Values of each channel in the last training batch.
    pub(super) pixels: usize,
    /// Where the rectifier passes gradients, a bit each.
    pub(super) mask: Vec<u16>,
}

impl Normalization {
    fn measure(&mut self, pass: &mut Pass, x: &[f32]) {
        let sums = match self.producer.and_then(|node| pass.sums[node.index()].as_ref()) {
            Some(sums) => sums,
            None => {
                self.own_sums.measure(x, pass.scratch);
                &self.own_sums
            }
        };
        self.statistics.set_batch(x, sums, pass.scratch);
        self.pixels = x.len() / self.own_sums.sums.len();
    }

    fn has_rectifier(&self) -> bool {
        self.rectifier != Rectifier::Identity
    }
}

impl Layer for Normalization {
    fn forward(&mut self, pass: &mut Pass, mode: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        let training = matches!(mode, Mode::Train(_));
        match training {
            true => self.measure(pass, inputs[0]),
            false => {
                if let Some([mean, var]) = pass.weights.running_statistics(self.node) {
                    self.statistics.set_running(mean, var);
                }
            }
        }
        let norm = BatchNorm {
            weight: pass.weights.get(self.weight),
            bias: pass.weights.get(self.bias),
            statistics: &self.statistics,
        };
        let mask = match training && self.has_rectifier() {
            true => {
                self.mask.resize(mask_len(y.len()), 0);
                Some(self.mask.as_mut_slice())
            }
            false => None,
        };
        norm.forward(inputs[0], inputs.get(1).copied(), self.rectifier, y, mask, pass.scratch);
    }

    fn backward(
        &mut self,
        pass: &mut Pass,
        inputs: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        let mask = self.has_rectifier().then_some(self.mask.as_slice());
        let gradient = OutputGradient { values: g, mask };
        let (target, rest) = targets.split_at_mut(1);
        let residual = match rest {
            [Some(Target { values, add: true, .. })] => ResidualGradient::Accumulate(values),
            [Some(Target { values, add: false, .. })] => ResidualGradient::Write(values),
            _ => ResidualGradient::None,
        };
        let Pass { weights, gradients, scratch, .. } = pass;
        let norm = BatchNorm {
            weight: weights.get(self.weight),
            bias: weights.get(self.bias),
            statistics: &self.statistics,
        };
        let Some([weight, bias]) = gradients.pair_mut(self.weight, self.bias) else { return };
        let parameters = AffineGradient { weight, bias };
        let backward = |gx: &mut [f32]| {
            norm.backward(inputs[0], gradient, gx, residual, parameters, scratch);
        };
        if let Some(target) = &mut target[0] {
            target.set(backward);
        }
    }

    /// The residual leaves its mask.
    fn reads(&self, input: usize) -> bool {
        input == 0
    }

    fn adds(&self, input: usize) -> bool {
        input == 1
    }

    /// The parameters' gradients come in the same pass.
    fn needs_target(&self, input: usize) -> bool {
        input == 0
    }

    fn update_running(&self, weights: &mut Weights, share: Option<f32>) {
        // One value has no variance to learn from.
        if self.pixels > 1
            && let Some([mean, var]) = weights.running_statistics_mut(self.node)
        {
            let share = share.unwrap_or(self.momentum);
            self.statistics.update_running(self.pixels, share, mean, var);
        }
    }
}
