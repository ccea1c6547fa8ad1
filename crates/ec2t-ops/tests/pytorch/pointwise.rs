//! Activations, products, sums, the option-A shortcut.

use ec2t_ops::activation::{self, Activation};
use ec2t_ops::elementwise;
use ec2t_ops::shape::PadShortcut;
use serde::Deserialize;

use crate::common::values;
use crate::fixture::cases;

#[derive(Deserialize)]
#[serde(remote = "Activation", rename_all = "snake_case")]
enum Kind {
    Relu,
    Relu6,
    Sigmoid,
    Swish,
    HardSwish,
}

#[test]
fn activations() {
    #[derive(Deserialize)]
    struct Case {
        #[serde(with = "Kind")]
        kind: Activation,
        special: Vec<f32>,
        random: usize,
    }
    for (Case { kind, special, random }, expected) in cases("activation") {
        let random = values(1, random).into_iter().map(|x| 8.0 * x);
        let x: Vec<f32> = special.into_iter().chain(random).collect();
        let mut y = vec![f32::NAN; x.len()];
        activation::forward(kind, &x, &mut y);
        expected.assert_close("y", &y, 1e-6);
        let mut g = values(2, x.len());
        activation::backward(kind, &x, &mut g);
        expected.assert_close("gx", &g, 1e-6);
    }
}

#[test]
fn squeeze_and_excitation() {
    #[derive(Deserialize)]
    struct Case {
        batch: usize,
        pixels: usize,
        channels: usize,
    }
    for (Case { batch, pixels, channels }, expected) in cases("multiply") {
        let [x, g] = [1, 3].map(|seed| values(seed, batch * pixels * channels));
        let factor = values(2, batch * channels);
        let [mut y, mut gx, mut gfactor] = [&x, &x, &factor].map(|like| vec![f32::NAN; like.len()]);
        elementwise::multiply(batch, &x, &factor, &mut y);
        elementwise::multiply_backward(batch, [&x, &factor], &g, [&mut gx, &mut gfactor]);
        expected.assert_close("y", &y, 1e-7);
        expected.assert_close("gx", &gx, 1e-7);
        expected.assert_close("gfactor", &gfactor, 1e-6);
    }
}

/// A sum, and the gradient of an operand that has another reader too.
#[test]
fn sums() {
    #[derive(Deserialize)]
    struct Case {
        count: usize,
    }
    for (Case { count }, expected) in cases("add") {
        let [a, b, g, mut ga] = [1, 2, 3, 4].map(|seed| values(seed, count));
        let mut y = vec![f32::NAN; count];
        elementwise::add(&a, &b, &mut y);
        expected.assert_close("y", &y, 1e-7);
        elementwise::accumulate(&g, &mut ga);
        expected.assert_close("ga", &ga, 1e-7);
    }
}

#[test]
fn shortcuts() {
    #[derive(Deserialize)]
    struct Case {
        batch: usize,
        input: [usize; 3],
        out_channels: usize,
        stride: usize,
    }
    for (Case { batch, input, out_channels, stride }, expected) in cases("shortcut") {
        let shortcut = PadShortcut { input, out_channels, stride };
        let [x_len, y_len] =
            [input, shortcut.output()].map(|shape| batch * shape.iter().product::<usize>());
        let (mut y, mut gx) = (vec![f32::NAN; y_len], vec![f32::NAN; x_len]);
        shortcut.forward(batch, &values(1, x_len), &mut y);
        expected.assert_close("y", &y, 0.0);
        shortcut.backward(batch, &values(2, y_len), &mut gx);
        expected.assert_close("gx", &gx, 0.0);
    }
}
