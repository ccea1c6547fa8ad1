//! Optimizer steps, with PyTorch's definitions.
//!
//! Each call steps the values of one parameter, in one pass over them, their
//! gradient and their state; long ones on all threads. The weight decay, which
//! is added to the gradient, may differ between parameters.

use ec2t_kernels::arch::Simd;

use crate::lanes::{Pointwise, apply};

/// Gradient descent with Nesterov momentum.
///
/// ```
/// use ec2t_ops::optim::Sgd;
///
/// let sgd = Sgd { lr: 0.5, momentum: 0.5, decay: 0.0 };
/// let (mut values, mut velocity) = ([1.0], [0.0]);
/// sgd.step(&[1.0], &mut values, &mut velocity);
/// assert_eq!((values, velocity), ([0.25], [1.0]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Part of the velocity that is kept.
    pub momentum: f32,
    /// Weight decay.
    pub decay: f32,
}

impl Sgd {
    /// Steps values and their velocity, which starts at 0.
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn step(&self, gradient: &[f32], values: &mut [f32], velocity: &mut [f32]) {
        apply(*self, [gradient], [values, velocity]);
    }
}

impl Pointwise<1, 2> for Sgd {
    #[inline(always)]
    fn eval<S: Simd>(
        self,
        simd: S,
        [gradient]: [S::F32; 1],
        [value, velocity]: [S::F32; 2],
    ) -> [S::F32; 2] {
        let momentum = simd.splat(self.momentum);
        let gradient = simd.fma(simd.splat(self.decay), value, gradient);
        let velocity = simd.fma(momentum, velocity, gradient);
        let ahead = simd.fma(momentum, velocity, gradient);
        [simd.fma(simd.splat(-self.lr), ahead, value), velocity]
    }
}

/// One step of Adam (Kingma & Ba 2015), β = (0.9, 0.999), ε = 1e-8.
///
/// ```
/// use ec2t_ops::optim::{Adam, Moments};
///
/// let (mut values, mut moments) = ([1.0], Moments::new(1));
/// Adam::new(1, 0.1, 0.0).step(&[5.0], &mut values, &mut moments);
/// assert!((values[0] - 0.9).abs() < 1e-6); // the first step is one learning rate
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate, corrected for means that start at 0.
    lr: f32,
    decay: f32,
    /// Factor on the root of the mean square, for the same reason.
    correction: f32,
}

impl Adam {
    const BETA1: f64 = 0.9;
    const BETA2: f64 = 0.999;
    const EPSILON: f32 = 1e-8;

    /// Step number `step`, counted from 1.
    pub fn new(step: u64, lr: f32, decay: f32) -> Self {
        let missing = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            lr: (f64::from(lr) / missing(Self::BETA1)) as f32,
            decay,
            correction: (1.0 / missing(Self::BETA2).sqrt()) as f32,
        }
    }

    /// Steps values and their moments.
    ///
    /// # Panics
    ///
    /// If lengths differ.
    pub fn step(&self, gradient: &[f32], values: &mut [f32], moments: &mut Moments) {
        let Moments { mean, square } = moments;
        apply(*self, [gradient], [values, mean, square]);
    }
}

/// What Adam remembers of a parameter's gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub mean: Vec<f32>,
    /// Running mean of its square.
    pub square: Vec<f32>,
}

impl Moments {
    /// Zeros, before the first step of `len` values.
    pub fn new(len: usize) -> Self {
        Self { mean: vec![0.0; len], square: vec![0.0; len] }
    }
}

impl Pointwise<1, 3> for Adam {
    #[inline(always)]
    fn eval<S: Simd>(
        self,
        simd: S,
        [gradient]: [S::F32; 1],
        [value, mean, square]: [S::F32; 3],
    ) -> [S::F32; 3] {
        let gradient = simd.fma(simd.splat(self.decay), value, gradient);
        let news = simd.sub(gradient, mean);
        let mean = simd.fma(simd.splat((1.0 - Self::BETA1) as f32), news, mean);
        let news = simd.sub(simd.mul(gradient, gradient), square);
        let square = simd.fma(simd.splat((1.0 - Self::BETA2) as f32), news, square);
        let root = simd.mul(simd.sqrt(square), simd.splat(self.correction));
        let step = simd.mul(simd.splat(self.lr), mean);
        let step = simd.div(step, simd.add(root, simd.splat(Self::EPSILON)));
        [simd.sub(value, step), mean, square]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_within, in_pools, random};

    const GRADIENTS: [[f32; 2]; 3] = [[0.1, -0.2], [0.3, 0.05], [-0.4, 0.0]];

    /// Numbers printed by `torch.optim.SGD(lr=0.1, momentum=0.9, nesterov=True,
    /// weight_decay=0.01)` on the same three gradients.
    #[test]
    fn sgd_steps_as_pytorch_does() {
        let (mut values, mut velocity) = ([1.0f32, -2.0], [0.0; 2]);
        for gradient in GRADIENTS {
            let sgd = Sgd { lr: 0.1, momentum: 0.9, decay: 0.01 };
            sgd.step(&gradient, &mut values, &mut velocity);
        }
        assert_within(5e-7, &values, &[0.952_486_1, -1.928_887_5]);
    }

    /// Numbers printed by `torch.optim.Adam(lr=0.1, weight_decay=0.01)` on the
    /// same three gradients.
    #[test]
    fn adam_steps_as_pytorch_does() {
        let (mut values, mut moments) = ([1.0f32, -2.0], Moments::new(2));
        for (gradient, step) in GRADIENTS.into_iter().zip(1..) {
            Adam::new(step, 0.1, 0.01).step(&gradient, &mut values, &mut moments);
        }
        assert_within(5e-7, &values, &[0.810_521_5, -1.795_639_3]);
    }

    /// A long parameter, which threads share, steps as its pieces do.
    #[test]
    fn long_parameters_step_as_short_ones() {
        let gradient = random(50_003, 1);
        let sgd = Sgd { lr: 0.1, momentum: 0.9, decay: 0.01 };
        let adam = Adam::new(3, 0.1, 0.01);
        let mut start = [2, 3, 4, 5].map(|seed| random(gradient.len(), seed));
        start[3].iter_mut().for_each(|square| *square *= *square);
        let run = |piece: usize| {
            let pieces = gradient.chunks(piece).enumerate().map(|(i, gradient)| {
                let part = |values: &Vec<f32>| values[i * piece..][..gradient.len()].to_vec();
                let [mut values, mut velocity, mean, square] = start.each_ref().map(part);
                let mut moments = Moments { mean, square };
                sgd.step(gradient, &mut values, &mut velocity);
                adam.step(gradient, &mut values, &mut moments);
                [values, velocity, moments.mean, moments.square]
            });
            let pieces: Vec<[Vec<f32>; 4]> = pieces.collect();
            [0, 1, 2, 3].map(|i| pieces.iter().flat_map(|piece| piece[i].clone()).collect())
        };
        let expected: [Vec<f32>; 4] = run(999);
        assert_eq!(in_pools(|| run(gradient.len())), expected);
    }
}
