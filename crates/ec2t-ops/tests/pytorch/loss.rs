//! Softmax cross entropy, and steps of the optimizers.

use ec2t_ops::loss::{Target, cross_entropy};
use ec2t_ops::optim::{Adam, Moments, Sgd};
use serde::Deserialize;

use crate::common::values;
use crate::fixture::cases;

#[test]
fn cross_entropies() {
    #[derive(Deserialize)]
    struct Case {
        classes: usize,
        labels: Vec<u32>,
        smoothing: f32,
        gain: f32,
    }
    for (Case { classes, labels, smoothing, gain }, expected) in cases("cross_entropy") {
        let logits = values(1, labels.len() * classes);
        let logits: Vec<f32> = logits.iter().map(|x| gain * x).collect();
        let mut gradient = vec![f32::NAN; logits.len()];
        let target = Target { smoothing, ..Target::labels(&labels) };
        let loss = cross_entropy(&logits, &target, &mut gradient);
        expected.assert_close("y", &[loss.mean as f32], 1e-6);
        expected.assert_close("gx", &gradient, 1e-6);
    }
}

/// Three steps, each with a gradient of its own.
#[test]
fn optimizers() {
    #[derive(Deserialize)]
    struct Case {
        kind: String,
        count: usize,
        steps: u64,
    }
    for (Case { kind, count, steps }, expected) in cases("optimizer") {
        let mut x = values(1, count);
        let (mut velocity, mut moments) = (vec![0.0; count], Moments::new(count));
        for step in 0..steps {
            let gradient = values(2 + step, count);
            if kind == "sgd" {
                let sgd = Sgd { lr: 0.1, momentum: 0.9, decay: 5e-4 };
                sgd.step(&gradient, &mut x, &mut velocity);
            } else {
                let adam = Adam::new(step + 1, 0.01, 5e-4);
                adam.step(&gradient, &mut x, &mut moments);
            }
        }
        expected.assert_close("x", &x, 1e-6);
        if kind == "sgd" {
            expected.assert_close("momentum_buffer", &velocity, 1e-6);
        } else {
            expected.assert_close("exp_avg", &moments.mean, 1e-6);
            expected.assert_close("exp_avg_sq", &moments.square, 1e-6);
        }
    }
}
