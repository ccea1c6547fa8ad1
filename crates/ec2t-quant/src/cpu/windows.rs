//! Pooling layers.

use ec2t_ops::pool::Windows;

use super::layer::{Layer, Mode, Pass, Target};

/// Maximum over windows.
pub(super) struct MaxPool {
    pub(super) windows: Windows,
    /// Which tap of each window was the largest.
    pub(super) taps: Vec<u16>,
}

impl Layer for MaxPool {
    fn forward(&mut self, pass: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        self.taps.resize(y.len(), 0);
        self.windows.max_forward(pass.batch, inputs[0], y, &mut self.taps);
    }

    fn backward(
        &mut self,
        pass: &mut Pass,
        _: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        if let Some(target) = &mut targets[0] {
            let (windows, taps) = (&self.windows, &self.taps);
            target.set(|gx| windows.max_backward(pass.batch, taps, g, gx));
        }
    }

    fn reads(&self, _: usize) -> bool {
        false
    }

    fn adds(&self, _: usize) -> bool {
        false
    }
}

/// Mean over windows; over all pixels too.
pub(super) struct MeanPool(pub(super) Windows);

impl Layer for MeanPool {
    fn forward(&mut self, pass: &mut Pass, _: &mut Mode, inputs: &[&[f32]], y: &mut [f32]) {
        self.0.mean_forward(pass.batch, inputs[0], y);
    }

    fn backward(
        &mut self,
        pass: &mut Pass,
        _: &[&[f32]],
        g: &mut [f32],
        targets: &mut [Option<Target>],
    ) {
        if let Some(target) = &mut targets[0] {
            target.set(|gx| self.0.mean_backward(pass.batch, g, gx));
        }
    }

    fn reads(&self, _: usize) -> bool {
        false
    }

    fn adds(&self, _: usize) -> bool {
        false
    }
}
