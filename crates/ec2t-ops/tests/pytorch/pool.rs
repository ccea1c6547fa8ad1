//! Maxima and means over windows, means over all pixels.

use ec2t_ops::pool::{Windows, global_mean_backward, global_mean_forward};
use serde::Deserialize;

use crate::common::values;
use crate::fixture::cases;

#[derive(Deserialize)]
#[serde(remote = "Windows")]
struct Geometry {
    channels: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    output: [usize; 2],
}

#[test]
fn windows() {
    #[derive(Deserialize)]
    struct Case {
        kind: String,
        batch: usize,
        #[serde(with = "Geometry")]
        windows: Windows,
    }
    for (Case { kind, batch, windows }, expected) in cases("pool") {
        let [x_len, y_len] = [windows.input, windows.output]
            .map(|[rows, columns]| batch * rows * columns * windows.channels);
        let (x, g) = (values(1, x_len), values(2, y_len));
        let (mut y, mut gx) = (vec![f32::NAN; y_len], vec![f32::NAN; x_len]);
        if kind == "max" {
            let mut taps = vec![0; y_len];
            windows.max_forward(batch, &x, &mut y, &mut taps);
            windows.max_backward(batch, &taps, &g, &mut gx);
        } else {
            windows.mean_forward(batch, &x, &mut y);
            windows.mean_backward(batch, &g, &mut gx);
        }
        expected.assert_close("y", &y, 1e-6);
        expected.assert_close("gx", &gx, 1e-6);
    }
}

#[test]
fn global_means() {
    #[derive(Deserialize)]
    struct Case {
        batch: usize,
        pixels: usize,
        channels: usize,
    }
    for (Case { batch, pixels, channels }, expected) in cases("global_mean") {
        let (x, g) = (values(1, batch * pixels * channels), values(2, batch * channels));
        let [mut y, mut gx] = [&g, &x].map(|like| vec![f32::NAN; like.len()]);
        global_mean_forward(batch, channels, &x, &mut y);
        global_mean_backward(batch, channels, &g, &mut gx);
        expected.assert_close("y", &y, 1e-6);
        expected.assert_close("gx", &gx, 1e-6);
    }
}
