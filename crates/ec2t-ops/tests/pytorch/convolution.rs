//! Convolution, and linear layers, which are convolutions of one pixel; on every
//! instruction set of this CPU.

use ec2t_kernels::ConvShape;
use ec2t_kernels::arch::Isa;
use ec2t_ops::{ChannelSums, Conv, Scratch};
use serde::Deserialize;

use crate::common::values;
use crate::fixture::cases;

/// [`ConvShape`] as the fixture holds it.
#[derive(Deserialize)]
#[serde(remote = "ConvShape")]
struct Shape {
    in_channels: usize,
    out_channels: usize,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 4],
    groups: usize,
    output: [usize; 2],
}

/// Output, channel sums, gradients of input and weights.
struct Results {
    y: Vec<f32>,
    sums: ChannelSums,
    gx: Vec<f32>,
    gw: Vec<f32>,
}

fn run(isa: Isa, batch: usize, shape: ConvShape) -> Results {
    let conv = Conv::with_isa(shape, isa);
    let x = values(1, batch * shape.input_len());
    let w = values(2, shape.weight_len());
    let gy = values(3, batch * shape.output_len());
    let [mut y, mut gx, mut gw] = [&gy, &x, &w].map(|like| vec![f32::NAN; like.len()]);
    let mut sums = ChannelSums::new(shape.out_channels);
    let scratch = &mut Scratch::new();
    conv.forward(batch, &x, &w, &mut y, Some(&mut sums), scratch);
    conv.input_gradient(batch, &gy, &w, &mut gx, false, scratch);
    conv.weight_gradient(batch, &x, &gy, &mut gw, scratch);
    Results { y, sums, gx, gw }
}

#[test]
fn convolutions() {
    #[derive(Deserialize)]
    struct Case {
        batch: usize,
        #[serde(with = "Shape")]
        shape: ConvShape,
    }
    for (Case { batch, shape }, expected) in cases("convolution") {
        for isa in Isa::available() {
            let Results { y, sums, gx, gw } = run(isa, batch, shape);
            expected.assert_close("y", &y, 1e-5);
            expected.assert_close("gx", &gx, 1e-5);
            expected.assert_close("gw", &gw, 1e-5);
            let narrow = |sums: Vec<f64>| sums.iter().map(|&sum| sum as f32).collect::<Vec<_>>();
            expected.assert_close("sums", &narrow(sums.sums), 1e-5);
            expected.assert_close("squares", &narrow(sums.squares), 1e-5);
        }
    }
}

/// The gradient of a bias is the sum over each channel.
#[test]
fn linear_layers() {
    #[derive(Deserialize)]
    struct Case {
        batch: usize,
        inputs: usize,
        outputs: usize,
    }
    for (Case { batch, inputs, outputs }, expected) in cases("linear") {
        let shape = ConvShape {
            in_channels: inputs,
            out_channels: outputs,
            input: [1; 2],
            kernel: [1; 2],
            stride: [1; 2],
            dilation: [1; 2],
            padding: [0; 4],
            groups: 1,
            output: [1; 2],
        };
        for isa in Isa::available() {
            let Results { y, gx, gw, .. } = run(isa, batch, shape);
            expected.assert_close("y", &y, 1e-6);
            expected.assert_close("gx", &gx, 1e-6);
            expected.assert_close("gw", &gw, 1e-6);
        }
        let mut sums = ChannelSums::new(outputs);
        sums.measure(&values(3, batch * outputs), &mut Scratch::new());
        let gb: Vec<f32> = sums.sums.iter().map(|&sum| sum as f32).collect();
        expected.assert_close("gb", &gb, 1e-6);
    }
}
