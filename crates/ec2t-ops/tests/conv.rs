//! Convolution and its gradients against the definition in `f64`, on every
//! instruction set of this CPU.

mod common;

use common::values;
use ec2t_kernels::{ConvShape, arch::Isa};
use ec2t_ops::conv::Backward;
use ec2t_ops::{ChannelSums, Conv, Scratch};

/// Geometry in short: `[C, O, groups]`, input, kernel, stride, dilation, padding.
fn shape(
    [in_channels, out_channels, groups]: [usize; 3],
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 4],
) -> ConvShape {
    let output = [0, 1].map(|d| {
        (input[d] + padding[d] + padding[d + 2] - (kernel[d] - 1) * dilation[d] - 1) / stride[d] + 1
    });
    ConvShape {
        in_channels,
        out_channels,
        input,
        kernel,
        stride,
        dilation,
        padding,
        groups,
        output,
    }
}

/// Batches and shapes: usual layers, and every awkward corner.
fn cases() -> Vec<(usize, ConvShape)> {
    let square = |channels, size, kernel, stride, padding| {
        shape(channels, [size; 2], [kernel; 2], [stride; 2], [1; 2], [padding; 4])
    };
    vec![
        // Layers of ResNet, narrow and wide, with their strided entries.
        (3, square([3, 16, 1], 12, 3, 1, 1)),
        (2, square([16, 16, 1], 11, 3, 1, 1)),
        (2, square([16, 32, 1], 10, 3, 2, 1)),
        (2, square([64, 64, 1], 5, 3, 1, 1)),
        (2, square([3, 20, 1], 15, 7, 2, 3)),
        (2, square([16, 32, 1], 7, 1, 2, 0)),
        // Channels around the widths of vectors and tiles.
        (1, square([1, 1, 1], 6, 3, 1, 1)),
        (2, square([7, 9, 1], 6, 3, 1, 1)),
        (2, square([17, 33, 1], 5, 3, 1, 1)),
        (2, square([15, 65, 1], 4, 3, 2, 1)),
        // 1×1: plain products, more images than chunks, one pixel, large depth.
        (19, square([24, 40, 1], 5, 1, 1, 0)),
        (1, square([96, 16, 1], 9, 1, 1, 0)),
        (5, square([130, 10, 1], 1, 1, 1, 0)),
        (33, square([5, 3, 1], 1, 1, 1, 0)),
        // One-pixel maps under larger kernels; outputs of one pixel.
        (4, square([8, 8, 1], 1, 3, 1, 1)),
        (3, square([6, 10, 1], 5, 5, 1, 0)),
        (2, square([6, 10, 1], 2, 5, 3, 2)),
        // Unequal sides, strides, dilations and paddings ("same" of TensorFlow).
        (2, shape([5, 6, 1], [7, 10], [3, 2], [2, 1], [1, 1], [0, 1, 1, 0])),
        (2, shape([8, 8, 1], [9, 8], [3, 3], [1, 2], [2, 3], [2, 3, 2, 3])),
        (2, shape([4, 4, 1], [8, 8], [3, 3], [2, 2], [1, 1], [0, 0, 1, 1])),
        (1, shape([4, 4, 1], [5, 6], [1, 3], [3, 3], [1, 1], [0, 2, 0, 2])),
        (2, shape([4, 4, 1], [6, 6], [1, 1], [1, 1], [1, 1], [1, 0, 2, 1])),
        (2, shape([3, 4, 1], [5, 5], [2, 2], [4, 3], [1, 1], [0; 4])),
        // Groups, also with a multiplier of one channel per group.
        (2, square([8, 12, 4], 6, 3, 1, 1)),
        (2, square([34, 38, 2], 5, 3, 2, 1)),
        (2, square([20, 40, 4], 4, 1, 1, 0)),
        (2, square([6, 12, 6], 5, 3, 1, 1)),
        // Depthwise.
        (2, square([96, 96, 96], 8, 3, 1, 1)),
        (2, square([32, 32, 32], 9, 5, 1, 2)),
        (17, square([16, 16, 16], 7, 3, 2, 1)),
        (2, square([50, 50, 50], 9, 5, 2, 2)),
        (3, square([3, 3, 3], 6, 3, 1, 1)),
        (1, square([24, 24, 24], 1, 3, 1, 1)),
        (1, square([40, 40, 40], 12, 7, 1, 3)),
        (2, shape([24, 24, 24], [8, 7], [3, 3], [2, 2], [1, 1], [0, 0, 1, 1])),
        (2, shape([20, 20, 20], [9, 11], [3, 5], [1, 3], [2, 2], [2, 4, 1, 3])),
        // Depthwise, of more than one band.
        (1, square([40, 40, 40], 43, 5, 1, 2)),
        (1, shape([36, 36, 36], [60, 41], [3, 3], [2, 2], [1, 1], [0, 0, 1, 1])),
    ]
}

#[derive(Clone)]
struct Operands {
    batch: usize,
    shape: ConvShape,
    x: Vec<f32>,
    w: Vec<f32>,
    gy: Vec<f32>,
}

impl Operands {
    fn new(batch: usize, shape: ConvShape) -> Self {
        let x = values(1, batch * shape.input_len());
        let w = values(2, shape.weight_len());
        let gy = values(3, batch * shape.output_len());
        Self { batch, shape, x, w, gy }
    }
}

/// Values, and the greatest sum of magnitudes that went into one of them.
#[derive(Default)]
struct Expected {
    values: Vec<f64>,
    magnitude: Vec<f64>,
}

impl Expected {
    fn new(len: usize) -> Self {
        Self { values: vec![0.0; len], magnitude: vec![0.0; len] }
    }

    fn add(&mut self, index: usize, a: f32, b: f32) {
        let product = f64::from(a) * f64::from(b);
        self.values[index] += product;
        self.magnitude[index] += product.abs();
    }

    fn assert_close(&self, found: &[f32], what: &str) {
        assert_eq!(found.len(), self.values.len());
        for (i, &found) in found.iter().enumerate() {
            let error = (f64::from(found) - self.values[i]).abs();
            let bound = 1e-6 * (self.magnitude[i] + 0.1);
            assert!(error <= bound, "{what} [{i}]: {found} instead of {}", self.values[i]);
        }
    }
}

/// Output, gradient of the input, gradient of the weights: the definition.
fn definition(operands: &Operands) -> [Expected; 3] {
    let Operands { batch, shape, x, w, gy } = operands;
    let [mut y, mut gx, mut gw] = [gy.len(), x.len(), w.len()].map(Expected::new);
    let inputs = shape.in_channels / shape.groups;
    for image in 0..*batch {
        for (oy, ox) in pairs(shape.output) {
            for (ky, kx) in pairs(shape.kernel) {
                let at = |d: usize, o: usize, k: usize| {
                    (o * shape.stride[d] + k * shape.dilation[d])
                        .checked_sub(shape.padding[d])
                        .filter(|&i| i < shape.input[d])
                };
                let (Some(iy), Some(ix)) = (at(0, oy, ky), at(1, ox, kx)) else { continue };
                for (o, i) in pairs([shape.out_channels, inputs]) {
                    let input = shape.first_input(o) + i;
                    let pixel = (image * shape.input[0] + iy) * shape.input[1] + ix;
                    let xi = pixel * shape.in_channels + input;
                    let pixel = (image * shape.output[0] + oy) * shape.output[1] + ox;
                    let yi = pixel * shape.out_channels + o;
                    let wi = ((o * inputs + i) * shape.kernel[0] + ky) * shape.kernel[1] + kx;
                    y.add(yi, w[wi], x[xi]);
                    gx.add(xi, w[wi], gy[yi]);
                    gw.add(wi, x[xi], gy[yi]);
                }
            }
        }
    }
    [y, gx, gw]
}

fn pairs([rows, columns]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

#[derive(Debug, PartialEq)]
struct Results {
    y: Vec<f32>,
    sums: ChannelSums,
    gx: Vec<f32>,
    gw: Vec<f32>,
}

/// All three operators. What they replace is filled with NaN before.
fn run(isa: Isa, operands: &Operands, scratch: &mut Scratch) -> Results {
    let Operands { batch, shape, x, w, gy } = operands;
    let conv = Conv::with_isa(*shape, isa);
    let [mut y, mut gx, mut gw] = [gy.len(), x.len(), w.len()].map(|len| vec![f32::NAN; len]);
    let mut sums = ChannelSums::new(shape.out_channels);
    conv.forward(*batch, x, w, &mut y, Some(&mut sums), scratch);
    conv.input_gradient(*batch, gy, w, &mut gx, false, scratch);
    conv.weight_gradient(*batch, x, gy, &mut gw, scratch);
    Results { y, sums, gx, gw }
}

#[test]
fn values_and_gradients_agree_with_the_definition() {
    for (batch, shape) in cases() {
        let operands = Operands::new(batch, shape);
        let [y, gx, gw] = definition(&operands);
        let mut scratch = Scratch::new();
        for isa in Isa::available() {
            let what = |name: &str| format!("{name} of {shape:?}, batch {batch}, {}", isa.name());
            let results = run(isa, &operands, &mut scratch);
            y.assert_close(&results.y, &what("output"));
            gx.assert_close(&results.gx, &what("input gradient"));
            gw.assert_close(&results.gw, &what("weight gradient"));
            // Again, in scratch memory that other values have passed through.
            assert!(results == run(isa, &operands, &mut scratch), "{}", what("second run"));
        }
    }
}

/// The output is linear in either operand, so that any step is small enough.
#[test]
fn gradients_are_slopes_of_the_output() {
    const STEP: f32 = 0.25;
    let few =
        |(batch, shape): &(usize, ConvShape)| batch * shape.input_len() + shape.weight_len() < 1100;
    let small: Vec<_> = cases().into_iter().filter(few).collect();
    assert!(small.len() >= 10, "only {} cases", small.len());
    for (batch, shape) in small {
        let operands = Operands::new(batch, shape);
        let loss = |operands: &Operands| -> f64 {
            let [y, ..] = definition(operands);
            y.values.iter().zip(&operands.gy).map(|(y, &gy)| y * f64::from(gy)).sum()
        };
        let slope = |pick: fn(&mut Operands) -> &mut Vec<f32>, index: usize| {
            let at = |step: f32| {
                let mut operands = operands.clone();
                pick(&mut operands)[index] += step;
                loss(&operands)
            };
            (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP)
        };
        let results = Isa::available().map(|isa| run(isa, &operands, &mut Scratch::new()));
        let results: Vec<_> = results.collect();
        let check = |expected: f64, found: &dyn Fn(&Results) -> f32| {
            for found in results.iter().map(found) {
                let close = (f64::from(found) - expected).abs() < 1e-5;
                assert!(close, "{found} instead of {expected}, {shape:?}");
            }
        };
        for i in 0..operands.x.len() {
            check(slope(|operands| &mut operands.x, i), &|results| results.gx[i]);
        }
        for i in 0..operands.w.len() {
            check(slope(|operands| &mut operands.w, i), &|results| results.gw[i]);
        }
    }
}

#[test]
fn channel_sums_are_those_of_the_output() {
    for (batch, shape) in cases() {
        let operands = Operands::new(batch, shape);
        for isa in Isa::available() {
            let Results { y, sums, .. } = run(isa, &operands, &mut Scratch::new());
            for channel in 0..shape.out_channels {
                let values = y.iter().skip(channel).step_by(shape.out_channels);
                let values = values.map(|&value| f64::from(value));
                let sum: f64 = values.clone().sum();
                let magnitude: f64 = values.clone().map(f64::abs).sum();
                let square: f64 = values.map(|value| value * value).sum();
                let close = |a: f64, b: f64, scale: f64| (a - b).abs() <= 1e-6 * scale;
                let close = close(sums.sums[channel], sum, magnitude)
                    && close(sums.squares[channel], square, square);
                assert!(close, "channel {channel} of {shape:?} on {}", isa.name());
            }
            let mut alone = vec![f32::NAN; y.len()];
            let conv = Conv::with_isa(shape, isa);
            let Operands { x, w, .. } = &operands;
            conv.forward(batch, x, w, &mut alone, None, &mut Scratch::new());
            assert!(alone == y, "output without sums, {shape:?} on {}", isa.name());
        }
    }
}

#[test]
fn accumulated_input_gradients_add() {
    for (batch, shape) in cases() {
        let operands = Operands::new(batch, shape);
        let before = values(4, operands.x.len());
        for isa in Isa::available() {
            let mut scratch = Scratch::new();
            let gx = run(isa, &operands, &mut scratch).gx;
            let mut total = before.clone();
            let conv = Conv::with_isa(shape, isa);
            let Operands { w, gy, .. } = &operands;
            conv.input_gradient(batch, gy, w, &mut total, true, &mut scratch);
            for ((total, before), gx) in total.iter().zip(&before).zip(&gx) {
                assert_eq!(*total, before + gx, "{shape:?} on {}", isa.name());
            }
        }
    }
}

#[test]
fn both_gradients_at_once_are_those_of_each() {
    for (batch, shape) in cases() {
        let operands = Operands::new(batch, shape);
        let Operands { x, w, gy, .. } = &operands;
        let before = values(4, x.len());
        for isa in Isa::available() {
            let mut scratch = Scratch::new();
            let expected = run(isa, &operands, &mut scratch);
            let conv = Conv::with_isa(shape, isa);
            for accumulate in [false, true] {
                let (mut gx, mut gw) = (before.clone(), vec![f32::NAN; w.len()]);
                let operands = Backward { x, gy, w, gx: &mut gx, accumulate, gw: &mut gw };
                conv.backward(batch, operands, &mut scratch);
                let what = format!("{shape:?} on {}, accumulate: {accumulate}", isa.name());
                assert!(gw == expected.gw, "weight gradient of {what}");
                let added = |(gx, before): (&f32, &f32)| if accumulate { before + gx } else { *gx };
                let expected: Vec<f32> = expected.gx.iter().zip(&before).map(added).collect();
                assert!(gx == expected, "input gradient of {what}");
            }
        }
    }
}

#[test]
fn gradients_are_adjoint_to_the_output() {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    for (batch, shape) in cases() {
        let operands = Operands::new(batch, shape);
        for isa in Isa::available() {
            let Results { y, gx, gw, .. } = run(isa, &operands, &mut Scratch::new());
            let by_output = dot(&y, &operands.gy);
            let scale = 1.0 + dot(&y, &y).sqrt() * dot(&operands.gy, &operands.gy).sqrt();
            for by_gradient in [dot(&gx, &operands.x), dot(&gw, &operands.w)] {
                let error = (by_output - by_gradient).abs() / scale;
                assert!(error < 1e-6, "{error} for {shape:?} on {}", isa.name());
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let [one, two, three] = [1, 2, 3].map(pool);
    for (batch, shape) in cases() {
        let operands = Operands::new(batch + 16, shape);
        for isa in Isa::available() {
            let results = one.install(|| run(isa, &operands, &mut Scratch::new()));
            for pool in [&two, &three] {
                let again = pool.install(|| run(isa, &operands, &mut Scratch::new()));
                assert!(again == results, "{shape:?} on {}", isa.name());
            }
        }
    }
}

#[test]
fn an_empty_batch_sums_to_zero() {
    for (_, shape) in cases() {
        let Results { sums, gw, .. } =
            run(Isa::available().last().unwrap(), &Operands::new(0, shape), &mut Scratch::new());
        assert!(gw.iter().all(|&gradient| gradient == 0.0));
        assert_eq!(sums, ChannelSums::new(shape.out_channels));
    }
}
