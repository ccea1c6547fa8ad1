//! Optimizers and learning-rate schedules, with PyTorch's definitions.
//!
//! An optimizer keeps its state in slots, one for each list of values that it
//! steps. All arithmetic is f32 on the host.

use ec2t_ops::optim;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::QuantError;

/// Which optimizer trains the float network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Gradient descent with Nesterov momentum.
    Sgd,
    /// Adam.
    Adam,
}

/// How the learning rate changes over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Half a cosine from the full rate to 0.
    Cosine,
    /// Half a cosine up from a 25th of the full rate, over three tenths of the
    /// steps, and half a cosine down to a 250,000th: PyTorch's `OneCycleLR` with
    /// its defaults, but for the momentum, which stays (L. N. Smith, N. Topin,
    /// "Super-Convergence", 2017).
    OneCycle,
}

impl Schedule {
    /// Factor on the learning rate at `step` of `total`.
    pub fn factor(self, step: u64, total: u64) -> f32 {
        match self {
            Schedule::Constant => 1.0,
            Schedule::Cosine => anneal(1.0, 0.0, step as f64 / total.max(1) as f64),
            Schedule::OneCycle => one_cycle(step as f64, total as f64),
        }
    }
}

fn one_cycle(step: f64, total: f64) -> f32 {
    const FIRST: f64 = 1.0 / 25.0;
    const LAST: f64 = FIRST / 1e4;
    // The highest rate lies between two steps, and before the first one of few.
    let top = 0.3 * total - 1.0;
    match step <= top {
        true => anneal(FIRST, 1.0, step / top),
        false => anneal(1.0, LAST, ((step - top) / (total - 1.0 - top)).min(1.0)),
    }
}

/// Half a cosine between two values, at `progress` from 0 to 1.
fn anneal(from: f64, to: f64, progress: f64) -> f32 {
    (to + 0.5 * (from - to) * (1.0 + (std::f64::consts::PI * progress).cos())) as f32
}

/// Learning rate and weight decay of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) lr: f32,
    /// L2 penalty, added to the gradient.
    pub(crate) decay: f32,
}

impl Rate {
    /// The same with the learning rate times `factor`.
    pub(crate) fn scaled(self, factor: f32) -> Self {
        Self { lr: self.lr * factor, ..self }
    }
}

/// Stochastic gradient descent with Nesterov momentum.
#[derive(Clone, Debug)]
pub(crate) struct Sgd {
    momentum: f32,
    velocity: Vec<Vec<f32>>,
}

impl Sgd {
    /// An optimizer for lists of these sizes.
    pub(crate) fn new(momentum: f32, sizes: &[usize]) -> Self {
        Self { momentum, velocity: zeros(sizes) }
    }

    /// One step of the values in `slot`.
    pub(crate) fn step(&mut self, slot: usize, rate: Rate, values: &mut [f32], gradient: &[f32]) {
        let Rate { lr, decay } = rate;
        let step = optim::Sgd { lr, momentum: self.momentum, decay };
        step.step(gradient, values, &mut self.velocity[slot]);
    }

    /// Writes the state under `prefix`, a name for each slot.
    pub(crate) fn save(&self, checkpoint: &mut Checkpoint, prefix: &str, names: &[String]) {
        put_all(checkpoint, &format!("{prefix}.velocity"), names, &self.velocity);
    }

    /// Reads what [`save`](Self::save) wrote.
    pub(crate) fn load(
        &mut self,
        checkpoint: &Checkpoint,
        prefix: &str,
        names: &[String],
    ) -> Result<(), QuantError> {
        load_all(checkpoint, &format!("{prefix}.velocity"), names, &mut self.velocity)
    }
}

/// Adam (Kingma & Ba 2015), β = (0.9, 0.999), ε = 1e-8.
#[derive(Clone, Debug)]
pub(crate) struct Adam {
    steps: u64,
    mean: Vec<Vec<f32>>,
    square: Vec<Vec<f32>>,
}

impl Adam {
    /// An optimizer for lists of these sizes.
    pub(crate) fn new(sizes: &[usize]) -> Self {
        Self { steps: 0, mean: zeros(sizes), square: zeros(sizes) }
    }

    /// Counts a step; [`step`](Self::step) of each slot follows.
    pub(crate) fn begin(&mut self) {
        self.steps += 1;
    }

    /// One step of the values in `slot`.
    pub(crate) fn step(&mut self, slot: usize, rate: Rate, values: &mut [f32], gradient: &[f32]) {
        let step = optim::Adam::new(self.steps, rate.lr, rate.decay);
        step.step(gradient, values, &mut self.mean[slot], &mut self.square[slot]);
    }

    /// Writes the state under `prefix`, a name for each slot.
    pub(crate) fn save(&self, checkpoint: &mut Checkpoint, prefix: &str, names: &[String]) {
        checkpoint.put_count(&format!("{prefix}.steps"), self.steps);
        put_all(checkpoint, &format!("{prefix}.mean"), names, &self.mean);
        put_all(checkpoint, &format!("{prefix}.square"), names, &self.square);
    }

    /// Reads what [`save`](Self::save) wrote.
    pub(crate) fn load(
        &mut self,
        checkpoint: &Checkpoint,
        prefix: &str,
        names: &[String],
    ) -> Result<(), QuantError> {
        self.steps = checkpoint.count(&format!("{prefix}.steps"))?;
        load_all(checkpoint, &format!("{prefix}.mean"), names, &mut self.mean)?;
        load_all(checkpoint, &format!("{prefix}.square"), names, &mut self.square)
    }
}

fn zeros(sizes: &[usize]) -> Vec<Vec<f32>> {
    sizes.iter().map(|&size| vec![0.0; size]).collect()
}

fn put_all(checkpoint: &mut Checkpoint, prefix: &str, names: &[String], slots: &[Vec<f32>]) {
    for (name, values) in names.iter().zip(slots) {
        checkpoint.put(&format!("{prefix}/{name}"), values);
    }
}

fn load_all(
    checkpoint: &Checkpoint,
    prefix: &str,
    names: &[String],
    slots: &mut [Vec<f32>],
) -> Result<(), QuantError> {
    for (name, values) in names.iter().zip(slots) {
        checkpoint.load(&format!("{prefix}/{name}"), values)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRADIENTS: [[f32; 2]; 3] = [[0.1, -0.2], [0.3, 0.05], [-0.4, 0.0]];

    /// Numbers printed by `torch.optim.SGD(lr=0.1, momentum=0.9, nesterov=True,
    /// weight_decay=0.01)` on the same three gradients.
    #[test]
    fn sgd_steps_as_pytorch_does() {
        let mut values = [1.0f32, -2.0];
        let mut sgd = Sgd::new(0.9, &[2]);
        for gradient in GRADIENTS {
            sgd.step(0, Rate { lr: 0.1, decay: 0.01 }, &mut values, &gradient);
        }
        assert_close(&values, &[0.952_486_1, -1.928_887_5]);
    }

    /// Numbers printed by `torch.optim.Adam(lr=0.1, weight_decay=0.01)` on the
    /// same three gradients.
    #[test]
    fn adam_steps_as_pytorch_does() {
        let mut values = [1.0f32, -2.0];
        let mut adam = Adam::new(&[2]);
        for gradient in GRADIENTS {
            adam.begin();
            adam.step(0, Rate { lr: 0.1, decay: 0.01 }, &mut values, &gradient);
        }
        assert_close(&values, &[0.810_521_5, -1.795_639_3]);
    }

    #[test]
    fn the_cosine_runs_from_one_to_zero() {
        assert_eq!(Schedule::Cosine.factor(0, 100), 1.0);
        assert_eq!(Schedule::Cosine.factor(50, 100), 0.5);
        assert!(Schedule::Cosine.factor(100, 100).abs() < 1e-7);
        assert_eq!(Schedule::Constant.factor(99, 100), 1.0);
    }

    /// Numbers printed by `torch.optim.lr_scheduler.OneCycleLR(max_lr,
    /// total_steps, cycle_momentum=False)`, as parts of `max_lr`.
    #[test]
    fn one_cycle_is_that_of_pytorch() {
        let of_seven = [0.04, 0.980_557, 0.919_044, 0.672_684, 0.357_739, 0.099_297, 4e-6];
        let of_eight =
            [0.04, 0.819_275, 0.971_942, 0.811_746, 0.555_984, 0.283_061, 0.076_642, 4e-6];
        for (total, expected) in [(7, &of_seven[..]), (8, &of_eight)] {
            let found = (0..total).map(|step| Schedule::OneCycle.factor(step, total));
            assert_close(&found.collect::<Vec<_>>(), expected);
        }
        let of_hundred = [(0, 0.04), (15, 0.545_987), (29, 1.0), (64, 0.500_002), (99, 4e-6)];
        for (step, expected) in of_hundred {
            assert_close(&[Schedule::OneCycle.factor(step, 100)], &[expected]);
        }
        assert_close(&[Schedule::OneCycle.factor(0, 1)], &[4e-6]);
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }
}
