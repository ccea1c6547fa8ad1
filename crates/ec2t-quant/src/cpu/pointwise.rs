//! Layers that work value by value: activations, sums, products, dropout; and
//! those that only move values.

use ec2t_ops::activation::{self, Activation};
use ec2t_ops::dropout::Dropout;
use ec2t_ops::elementwise;
use ec2t_ops::mask_len;
use ec2t_ops::shape::{PadShortcut, nchw_to_nhwc};

use super::layer::{Layer, Mode, Pass, Target};

/// An activation function that follows no normalisation.
pub(super) struct Activate(pub(super) Activation);

impl Layer for Activate {
    fn forward(&mut self, _: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        activation::forward(self.0, inputs[0], y);
    }

    fn backward(
        &mut self,
        _: &mut Pass,
        inputs: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        activation::backward(self.0, inputs[0], g);
        pass_on(targets, g);
    }

    fn reads(&self, _: usize) -> bool {
        true
    }

    fn adds(&self, _: usize) -> bool {
        true
    }
}

/// Sum of two values.
pub(super) struct Add;

impl Layer for Add {
    fn forward(&mut self, _: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        elementwise::add(inputs[0], inputs[1], y);
    }

    fn backward(
        &mut self,
        _: &mut Pass,
        _: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        pass_on(targets, g);
    }

    fn reads(&self, _: usize) -> bool {
        false
    }

    fn adds(&self, _: usize) -> bool {
        true
    }
}

/// The same values again, for a layer that reads them twice.
pub(super) struct Copy;

impl Layer for Copy {
    fn forward(&mut self, _: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        y.copy_from_slice(inputs[0]);
    }

    fn backward(
        &mut self,
        _: &mut Pass,
        _: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        pass_on(targets, g);
    }

    fn reads(&self, _: usize) -> bool {
        false
    }

    fn adds(&self, _: usize) -> bool {
        true
    }
}

/// Product of two values of equal shape, or of each image's channels with a
/// factor each.
pub(super) struct Multiply {
    pub(super) per_channel: bool,
    pub(super) pixels: usize,
}

impl Multiply {
    /// Equal shapes are as many images as there are pixels.
    fn images(&self, batch: usize) -> usize {
        if self.per_channel { batch } else { batch * self.pixels }
    }
}

impl Layer for Multiply {
    fn forward(&mut self, pass: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        elementwise::multiply(self.images(pass.batch), inputs[0], inputs[1], y);
    }

    fn backward(
        &mut self,
        pass: &mut Pass,
        inputs: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        let [Some(x), Some(factor)] = targets else { return };
        let images = self.images(pass.batch);
        let operands = [inputs[0], inputs[1]];
        elementwise::multiply_backward(images, operands, g, [x.room(), factor.room()]);
        x.settle();
        factor.settle();
    }

    fn reads(&self, _: usize) -> bool {
        true
    }

    fn adds(&self, _: usize) -> bool {
        false
    }

    fn needs_target(&self, _: usize) -> bool {
        true
    }
}

/// Zeroes values at random in training.
pub(super) struct Drop {
    pub(super) dropout: Dropout,
    pub(super) mask: Vec<u16>,
}

impl Layer for Drop {
    fn forward(&mut self, _: &mut Pass, mode: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        y.copy_from_slice(inputs[0]);
        if let Mode::Train(rng) = mode {
            self.mask.resize(mask_len(y.len()), 0);
            self.dropout.draw(y.len(), rng, &mut self.mask);
            self.dropout.apply(&self.mask, y);
        }
    }

    fn backward(
        &mut self,
        _: &mut Pass,
        _: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        self.dropout.apply(&self.mask, g);
        pass_on(targets, g);
    }

    fn reads(&self, _: usize) -> bool {
        false
    }

    fn adds(&self, _: usize) -> bool {
        true
    }
}

/// Option-A shortcut.
pub(super) struct Shortcut(pub(super) PadShortcut);

impl Layer for Shortcut {
    fn forward(&mut self, pass: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        self.0.forward(pass.batch, inputs[0], y);
    }

    fn backward(
        &mut self,
        pass: &mut Pass,
        _: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        if let Some(target) = &mut targets[0] {
            target.set(|gx| self.0.backward(pass.batch, g, gx));
        }
    }

    fn reads(&self, _: usize) -> bool {
        false
    }

    fn adds(&self, _: usize) -> bool {
        false
    }
}

/// `[N, H, W, C]` to vectors in the order of `[C, H, W]`, which is the one that
/// weights of linear layers are in.
pub(super) struct Flatten {
    pub(super) channels: usize,
    pub(super) pixels: usize,
}

impl Layer for Flatten {
    fn forward(&mut self, pass: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        // Pixels and channels change places: the same as the other way round.
        nchw_to_nhwc(pass.batch, self.pixels, inputs[0], y);
    }

    fn backward(
        &mut self,
        pass: &mut Pass,
        _: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        if let Some(target) = &mut targets[0] {
            target.set(|gx| nchw_to_nhwc(pass.batch, self.channels, g, gx));
        }
    }

    fn reads(&self, _: usize) -> bool {
        false
    }

    fn adds(&self, _: usize) -> bool {
        false
    }
}

fn pass_on(targets: &mut [Option<Target>], g: &[f32]) {
    targets.iter_mut().flatten().for_each(|target| target.pass_on(g));
}
