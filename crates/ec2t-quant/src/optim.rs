//! Optimizers and learning-rate schedules, with PyTorch's definitions.
//!
//! An optimizer steps many lists of values at once, on all threads, and keeps its
//! state in as many. All arithmetic is f32 on the host.

use ec2t_ops::optim::{self, Moments};
use rayon::prelude::*;
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
        Self { momentum, velocity: sizes.iter().map(|&size| vec![0.0; size]).collect() }
    }

    /// One step of all lists that have a gradient.
    pub(crate) fn step(
        &mut self,
        rate: Rate,
        values: &mut [Vec<f32>],
        gradients: &[Option<Vec<f32>>],
    ) {
        let Rate { lr, decay } = rate;
        let sgd = optim::Sgd { lr, momentum: self.momentum, decay };
        let lists = (values, gradients, &mut self.velocity).into_par_iter();
        lists.for_each(|(values, gradient, velocity)| {
            if let Some(gradient) = gradient {
                sgd.step(gradient, values, velocity);
            }
        });
    }

    /// Writes the state under `prefix`, a name for each list.
    pub(crate) fn save(&self, checkpoint: &mut Checkpoint, prefix: &str, names: &[String]) {
        for (name, velocity) in names.iter().zip(&self.velocity) {
            checkpoint.put(&format!("{prefix}.velocity/{name}"), velocity);
        }
    }

    /// Reads what [`save`](Self::save) wrote.
    pub(crate) fn load(
        &mut self,
        checkpoint: &Checkpoint,
        prefix: &str,
        names: &[String],
    ) -> Result<(), QuantError> {
        for (name, velocity) in names.iter().zip(&mut self.velocity) {
            checkpoint.load(&format!("{prefix}.velocity/{name}"), velocity)?;
        }
        Ok(())
    }
}

/// Adam (Kingma & Ba 2015), β = (0.9, 0.999), ε = 1e-8.
#[derive(Clone, Debug)]
pub(crate) struct Adam {
    steps: u64,
    /// None of lists that are not its to step.
    moments: Vec<Option<Moments>>,
}

impl Adam {
    /// An optimizer for lists of these sizes, but for those without one.
    pub(crate) fn new(sizes: impl IntoIterator<Item = Option<usize>>) -> Self {
        let moments = sizes.into_iter().map(|size| size.map(Moments::new)).collect();
        Self { steps: 0, moments }
    }

    /// The last step at another rate, for lists that are stepped elsewhere.
    pub(crate) fn at(&self, rate: Rate) -> optim::Adam {
        optim::Adam::new(self.steps, rate.lr, rate.decay)
    }

    /// One step of all its lists that have a gradient.
    pub(crate) fn step(
        &mut self,
        rate: Rate,
        values: &mut [Vec<f32>],
        gradients: &[Option<Vec<f32>>],
    ) {
        self.steps += 1;
        let adam = self.at(rate);
        let lists = (values, gradients, &mut self.moments).into_par_iter();
        lists.for_each(|(values, gradient, moments)| {
            if let (Some(gradient), Some(moments)) = (gradient, moments) {
                adam.step(gradient, values, moments);
            }
        });
    }

    /// Writes the state under `prefix`, a name for each list.
    pub(crate) fn save(&self, checkpoint: &mut Checkpoint, prefix: &str, names: &[String]) {
        checkpoint.put_count(&format!("{prefix}.steps"), self.steps);
        for (name, moments) in names.iter().zip(&self.moments) {
            if let Some(moments) = moments {
                save_moments(checkpoint, prefix, name, moments);
            }
        }
    }

    /// Reads what [`save`](Self::save) wrote.
    pub(crate) fn load(
        &mut self,
        checkpoint: &Checkpoint,
        prefix: &str,
        names: &[String],
    ) -> Result<(), QuantError> {
        self.steps = checkpoint.count(&format!("{prefix}.steps"))?;
        for (name, moments) in names.iter().zip(&mut self.moments) {
            if let Some(moments) = moments {
                load_moments(checkpoint, prefix, name, moments)?;
            }
        }
        Ok(())
    }
}

/// Writes what Adam remembers of a list.
pub(crate) fn save_moments(
    checkpoint: &mut Checkpoint,
    prefix: &str,
    name: &str,
    moments: &Moments,
) {
    checkpoint.put(&format!("{prefix}.mean/{name}"), &moments.mean);
    checkpoint.put(&format!("{prefix}.square/{name}"), &moments.square);
}

/// Reads what [`save_moments`] wrote.
pub(crate) fn load_moments(
    checkpoint: &Checkpoint,
    prefix: &str,
    name: &str,
    moments: &mut Moments,
) -> Result<(), QuantError> {
    checkpoint.load(&format!("{prefix}.mean/{name}"), &mut moments.mean)?;
    checkpoint.load(&format!("{prefix}.square/{name}"), &mut moments.square)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { lr: 0.1, decay: 0.01 };

    /// Lists with and without a gradient.
    fn lists() -> (Vec<Vec<f32>>, Vec<Option<Vec<f32>>>) {
        let list = |len: usize| -> Vec<f32> { (0..len).map(|i| (i as f32).sin()).collect() };
        let gradients = [Some(3), None, Some(20_000), Some(5)];
        ([3, 7, 20_000, 5].map(list).into(), gradients.map(|len| len.map(list)).into())
    }

    /// Every list steps as if it were the only one; those without a gradient rest.
    #[test]
    fn all_lists_step_at_once() {
        let (start, gradients) = lists();
        let (mut by_sgd, mut by_adam) = (start.clone(), start.clone());
        let mut sgd = Sgd::new(0.9, &[3, 7, 20_000, 5]);
        let mut adam = Adam::new([Some(3), Some(7), Some(20_000), None]);
        for _ in 0..2 {
            sgd.step(RATE, &mut by_sgd, &gradients);
            adam.step(RATE, &mut by_adam, &gradients);
        }
        for (i, (start, gradient)) in start.into_iter().zip(gradients).enumerate() {
            let (mut expected, mut velocity) = (start.clone(), vec![0.0; start.len()]);
            let (mut adapted, mut moments) = (start.clone(), Moments::new(start.len()));
            for step in [1, 2] {
                if let Some(gradient) = &gradient {
                    let sgd = optim::Sgd { lr: 0.1, momentum: 0.9, decay: 0.01 };
                    sgd.step(gradient, &mut expected, &mut velocity);
                    optim::Adam::new(step, 0.1, 0.01).step(gradient, &mut adapted, &mut moments);
                }
            }
            assert_eq!(by_sgd[i], expected);
            assert_eq!(by_adam[i], if i == 3 { start } else { adapted });
        }
    }

    /// An optimizer that is written and read back goes on as the one that was not.
    #[test]
    fn state_survives_a_checkpoint() {
        let names = ["a", "b", "c", "d"].map(String::from);
        let (start, gradients) = lists();
        let sizes = [Some(3), None, Some(20_000), None];
        let (mut values, mut adam) = (start, Adam::new(sizes));
        adam.step(RATE, &mut values, &gradients);
        let mut checkpoint = Checkpoint::default();
        adam.save(&mut checkpoint, "adam", &names);
        let mut again = (values.clone(), Adam::new(sizes));
        again.1.load(&checkpoint, "adam", &names).unwrap();
        for (values, adam) in [(&mut values, &mut adam), (&mut again.0, &mut again.1)] {
            adam.step(RATE, values, &gradients);
        }
        assert_eq!(values, again.0);
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
