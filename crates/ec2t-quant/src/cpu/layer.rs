//! What all layers of the plan have in common.

use ec2t_ops::elementwise::accumulate;
use ec2t_ops::{ChannelSums, Scratch};
use rand_chacha::ChaCha8Rng;

use crate::engine::Gradients;
use crate::weights::Weights;

/// A step of the plan: one layer, or several fused.
pub(super) trait Layer {
    /// Writes the output; in training, keeps what the backward pass needs
    /// besides the inputs.
    fn forward(&mut self, pass: &mut Pass, mode: &mut Mode, inputs: &[&[f32]], y: &mut [f32]);

    /// Writes the gradients of the parameters and of those inputs that have a
    /// target, from that of the output, `g`, which may be overwritten. Inputs
    /// that it does not read are empty.
    fn backward(
        &mut self,
        pass: &mut Pass,
        inputs: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    );

    /// Whether the backward pass reads an input, which is then kept for it.
    fn reads(&self, input: usize) -> bool;

    /// Whether the backward pass can add to a gradient that is there. Where it
    /// can't, it gets memory for what is to be added.
    fn adds(&self, input: usize) -> bool;

    /// Whether the backward pass can't do without the target of an input, even
    /// if nobody wants that gradient.
    fn needs_target(&self, input: usize) -> bool {
        let _ = input;
        false
    }

    /// Moves running statistics towards those of the last training batch, by `share`
    /// of the way, or else by as much as the graph says.
    fn update_running(&self, weights: &mut Weights, share: Option<f32>) {
        let _ = (weights, share);
    }
}

/// How layers behave that differ between training and evaluation.
pub(super) enum Mode<'a> {
    /// Statistics of the batch; the random numbers decide what dropout zeroes.
    Train(&'a mut ChaCha8Rng),
    /// Running statistics, no dropout.
    Eval,
}

/// What layers share while a batch runs.
pub(super) struct Pass<'a> {
    /// Number of images.
    pub(super) batch: usize,
    pub(super) weights: &'a Weights,
    pub(super) gradients: &'a mut Gradients,
    /// Sums over each channel that convolutions leave for the normalisation
    /// behind them, by node.
    pub(super) sums: &'a mut [Option<ChannelSums>],
    pub(super) scratch: &'a mut Scratch,
}

/// Where the gradient of an input goes.
pub(super) struct Target<'a> {
    pub(super) values: &'a mut [f32],
    /// Whether to add to what is there.
    pub(super) add: bool,
    /// Memory for what is to be added, for layers that can't add.
    pub(super) part: Option<&'a mut [f32]>,
}

impl Target<'_> {
    /// Lets `write` fill the gradient, and adds it where that is due.
    pub(super) fn set(&mut self, write: impl FnOnce(&mut [f32])) {
        write(self.room());
        self.settle();
    }

    /// Where to write the gradient; [`settle`](Self::settle) is to follow.
    pub(super) fn room(&mut self) -> &mut [f32] {
        self.part.as_deref_mut().unwrap_or(self.values)
    }

    /// Adds the gradient where that is due.
    pub(super) fn settle(&mut self) {
        if let Some(part) = &self.part {
            accumulate(part, self.values);
        }
    }

    /// Takes a gradient as it is.
    pub(super) fn pass_on(&mut self, g: &[f32]) {
        match self.add {
            true => accumulate(g, self.values),
            false => self.values.copy_from_slice(g),
        }
    }
}
