//! Integer convolutions against a plain loop in numbers that are not rounded: bytes are the
//! nearest, and the same with every instruction set.

mod shapes;

use ec2t_kernels::arch::Isa;
use ec2t_kernels::int::{Grid, Grids, IntConv, IntError, Scratch};
use ec2t_kernels::{Activation, ConvShape, Epilogue, TernaryWeights};
use proptest::prelude::*;

use shapes::{Values, shape, shapes};

/// One convolution with all that it reads.
struct Case {
    shape: ConvShape,
    codes: Vec<i8>,
    w_neg: f32,
    w_pos: f32,
    scale: Vec<f32>,
    bias: Vec<f32>,
    activation: Option<Activation>,
    grids: Grids,
    input: Vec<u8>,
    residual: Option<Vec<u8>>,
}

fn bytes(values: &mut Values, len: usize) -> Vec<u8> {
    (0..len).map(|_| (128.0 * (values.next() + 1.0)) as u8).collect()
}

impl Case {
    /// Anything around codes of a shape.
    fn random(shape: ConvShape, codes: Vec<i8>, values: &mut Values) -> Self {
        let choice = (1.5 * (values.next() + 1.0)) as usize;
        let activation = [None, Some(Activation::Relu), Some(Activation::Relu6)][choice];
        let mut grid = |scale: f32| {
            let zero = if values.next() < 0.0 { 0 } else { bytes(values, 1)[0] };
            Grid { scale: scale * (2.0 + values.next()), zero }
        };
        let taps = shape.taps() as f32;
        let grids = Grids {
            input: grid(0.01),
            residual: Some(grid(0.05)),
            output: grid(0.01 * taps.sqrt()),
        };
        let has_residual = values.next() < 0.0;
        let residual = has_residual.then(|| bytes(values, shape.output_len()));
        Self {
            codes,
            w_neg: 0.3,
            w_pos: 0.7,
            scale: values.floats(shape.out_channels),
            bias: values.floats(shape.out_channels),
            activation,
            grids: Grids { residual: grids.residual.filter(|_| has_residual), ..grids },
            input: bytes(values, shape.input_len()),
            residual,
            shape,
        }
    }

    fn conv(&self, isa: Isa) -> IntConv {
        let codes = TernaryWeights { codes: &self.codes, w_neg: self.w_neg, w_pos: self.w_pos };
        let epilogue = Epilogue::new(self.scale.len()).scale(&self.scale[..]).bias(&self.bias[..]);
        let epilogue = match self.activation {
            Some(activation) => epilogue.activation(activation),
            None => epilogue,
        };
        IntConv::with_isa(isa, self.shape, codes, epilogue, self.grids).unwrap()
    }

    /// Sums of the bytes that the positive and the negative weights of an output meet.
    fn sums(&self, [o, y, x]: [usize; 3]) -> [i64; 2] {
        let ConvShape { input: [height, width], kernel, stride, dilation, padding, .. } =
            self.shape;
        let codes = &self.codes[o * self.shape.taps()..][..self.shape.taps()];
        let mut sums = [0, 0];
        for (tap, code) in codes.iter().enumerate() {
            let c = self.shape.first_input(o) + tap / (kernel[0] * kernel[1]);
            let (i, j) = (tap / kernel[1] % kernel[0], tap % kernel[1]);
            let row = (y * stride[0] + i * dilation[0]).checked_sub(padding[0]);
            let column = (x * stride[1] + j * dilation[1]).checked_sub(padding[1]);
            let byte = match (row, column) {
                (Some(row), Some(column)) if row < height && column < width => {
                    self.input[(c * height + row) * width + column]
                }
                _ => self.grids.input.zero,
            };
            match code {
                1 => sums[0] += i64::from(byte),
                -1 => sums[1] += i64::from(byte),
                _ => {}
            }
        }
        sums
    }

    /// The output by its definition, before it is rounded: in steps of its grid, between the
    /// ends.
    ///
    /// With each comes how far a byte may be from it: by half a step, and by what rounding the
    /// factors to 16 bits, and less where totals would not fit into 32, makes of all sums.
    fn expected(&self) -> Vec<[f64; 2]> {
        let [height, width] = self.shape.output;
        let Grids { input, residual, output } = self.grids;
        let [step, zero] = [f64::from(output.scale), f64::from(output.zero)];
        let [first, last] = match self.activation {
            None => [0.0, 255.0],
            Some(Activation::Relu6) => [zero, (zero + 6.0 / step).min(255.0)],
            Some(_) => [zero, 255.0],
        };
        let mut places = Vec::new();
        for o in 0..self.shape.out_channels {
            let codes = &self.codes[o * self.shape.taps()..][..self.shape.taps()];
            let counts = [1, -1].map(|code| codes.iter().filter(|c| **c == code).count() as i64);
            let factor = f64::from(input.scale) * f64::from(self.scale[o]);
            let most = 255.0 * (counts[0] + counts[1]) as f64;
            let error = (most * 2.0_f64.powi(-30)).max(2.0_f64.powi(-15));
            let distance = 0.501 + most * f64::from(self.w_pos) * factor.abs() / step * error;
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let [p, n] = self.sums([o, y, x]);
                let [p, n] = [(p, counts[0]), (n, counts[1])]
                    .map(|(sum, count)| (sum - count * i64::from(input.zero)) as f64);
                let mut value = (p * f64::from(self.w_pos) - n * f64::from(self.w_neg)) * factor
                    + f64::from(self.bias[o]);
                if let (Some(grid), Some(bytes)) = (residual, &self.residual) {
                    let byte = i32::from(bytes[(o * height + y) * width + x]);
                    value += f64::from(byte - i32::from(grid.zero)) * f64::from(grid.scale);
                }
                // What is not a number comes out as the first place.
                places.push([(value / step + zero).max(first).min(last), distance]);
            }
        }
        places
    }

    /// Compares every instruction set with the definition, and with the others: factors are
    /// rounded, so what is nearly half a step may go to either side, but on all alike.
    fn check(&self) {
        let expected = self.expected();
        let mut first_found = None;
        for isa in Isa::available() {
            let conv = self.conv(isa);
            let mut output = vec![99; self.shape.output_len()];
            let mut scratch = Scratch::for_conv(&conv);
            // The second image finds what the first one has left.
            for _ in 0..2 {
                conv.run(&self.input, self.residual.as_deref(), &mut output, &mut scratch);
                let is_wrong = |(byte, [place, distance]): (&u8, &[f64; 2])| {
                    (f64::from(*byte) - place).abs() > *distance
                };
                let place = output.iter().zip(&expected).position(is_wrong);
                let what = (isa.name(), self.shape, self.grids);
                let found = place.map(|place| (place, output[place], expected[place]));
                assert_eq!(found, None, "{what:?}");
                assert_eq!(&output, first_found.get_or_insert(output.clone()), "{what:?}");
            }
        }
    }
}

fn check(shape: ConvShape, codes: Vec<i8>, values: &mut Values) {
    Case::random(shape, codes, values).check();
}

#[test]
fn every_kernel_stride_dilation_and_grouping() {
    let mut values = Values(1);
    let mut checked = 0;
    for kernel in 1..=7 {
        for (stride, dilation) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)] {
            for (channels, groups) in [([3, 5], 1), ([4, 6], 2), ([4, 4], 4), ([1, 1], 1)] {
                for input in [[1, 1], [5, 13], [11, 7], [8, 8]] {
                    let pad = [kernel / 2 * dilation; 4];
                    let (kernel, stride, dilation) = ([kernel; 2], [stride; 2], [dilation; 2]);
                    let shape = shape(channels, groups, input, kernel, stride, dilation, pad);
                    let Some(shape) = shape else { continue };
                    let codes = values.codes(shape.weight_len(), 0.5);
                    check(shape, codes, &mut values);
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 600, "{checked} shapes");
}

#[test]
fn every_size_of_tile() {
    let mut values = Values(5);
    let odd = (1..=40).chain([47, 48, 49, 56, 63, 64, 65, 112, 127, 128, 129, 196, 255, 256, 257]);
    for width in odd.chain([300, 513]) {
        for (kernel, height) in [([1, 1], 1), ([3, 3], 1 + width % 17), ([1, 3], 2), ([5, 2], 9)] {
            let pad = [kernel[0] / 2, kernel[1] / 2];
            let padding = [pad[0], pad[1], pad[0], pad[1]];
            let stride = [1, 1 + usize::from(width % 5 == 0)];
            let shape = shape([3, 2], 1, [height, width], kernel, stride, [1, 1], padding).unwrap();
            let codes = values.codes(shape.weight_len(), 0.4);
            check(shape, codes, &mut values);
        }
    }
}

#[test]
fn layers_of_small_networks() {
    let mut values = Values(8);
    for (channels, side, stride) in [
        ([16, 16], 32, 1),
        ([16, 32], 32, 2),
        ([32, 32], 16, 1),
        ([32, 64], 16, 2),
        ([64, 64], 8, 1),
    ] {
        let shape = shape(channels, 1, [side; 2], [3; 2], [stride; 2], [1; 2], [1; 4]).unwrap();
        for zeros in [0.3, 0.64, 0.95] {
            let codes = values.codes(shape.weight_len(), zeros);
            check(shape, codes, &mut values);
        }
    }
}

#[test]
fn images_of_more_rows_than_are_masked() {
    let mut values = Values(10);
    let shape = shape([2, 2], 1, [300, 300], [3; 2], [1; 2], [1; 2], [1; 4]).unwrap();
    let codes = values.codes(shape.weight_len(), 0.5);
    check(shape, codes, &mut values);
}

#[test]
fn several_blocks_of_inputs_and_chunks_of_outputs() {
    let mut values = Values(6);
    for (channels, groups, input, kernel) in [
        ([900, 70], 1, [4, 5], 1),
        ([64, 530], 2, [9, 9], 3),
        ([90, 3], 1, [33, 32], 3),
        ([40, 65], 1, [8, 8], 5),
        ([3, 4], 1, [20, 20], 16),
    ] {
        let padding = [kernel / 2; 4];
        let shape = shape(channels, groups, input, [kernel; 2], [1, 1], [1, 1], padding).unwrap();
        for zeros in [0.1, 0.6, 0.97] {
            let codes = values.codes(shape.weight_len(), zeros);
            check(shape, codes, &mut values);
        }
    }
}

#[test]
fn uneven_windows_and_paddings() {
    let mut values = Values(2);
    let cases = [
        ([3, 1], [1, 2], [1, 1], [1, 0, 0, 2]),
        ([1, 5], [2, 1], [1, 3], [0, 6, 0, 6]),
        ([2, 3], [3, 2], [2, 1], [0, 0, 2, 1]),
        ([4, 4], [5, 7], [1, 1], [3, 3, 3, 3]),
        ([3, 3], [1, 1], [1, 1], [20, 30, 20, 30]),
        ([3, 3], [1, 9], [1, 1], [1, 30, 1, 30]),
    ];
    for (kernel, stride, dilation, padding) in cases {
        let shape = shape([2, 3], 1, [9, 6], kernel, stride, dilation, padding).unwrap();
        let codes = values.codes(shape.weight_len(), 0.3);
        check(shape, codes, &mut values);
    }
}

#[test]
fn the_largest_sums_do_not_overflow() {
    let mut values = Values(9);
    // Lists of 257 and of more taps, in one block and in several.
    for (channels, kernel) in [(257, 1), (258, 1), (515, 1), (2000, 1), (1, 16), (2, 16), (300, 3)]
    {
        let input = [kernel.max(2), kernel.max(3)];
        let shape = shape([channels, 3], 1, input, [kernel; 2], [1, 1], [1, 1], [0; 4]).unwrap();
        for code in [1, -1] {
            let mut case = Case::random(shape, vec![code; shape.weight_len()], &mut values);
            case.input.fill(255);
            // Steps that leave something of the largest sums.
            case.grids.input = Grid { scale: 1.0, zero: 0 };
            case.grids.output = Grid { scale: shape.taps() as f32 * 1.1, zero: 128 };
            case.scale = vec![0.9, -0.8, 0.5];
            case.check();
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let with = |shape: ConvShape, scale: f32| {
        let codes = vec![1; shape.weight_len()];
        let weights = TernaryWeights { codes: &codes, w_neg: 1.0, w_pos: scale };
        let grid = Grid { scale: 1.0, zero: 0 };
        let grids = Grids { input: grid, residual: None, output: grid };
        IntConv::new(shape, weights, Epilogue::new(1), grids).err()
    };
    let kernel = |side| shape([1, 1], 1, [side; 2], [side; 2], [1; 2], [1; 2], [0; 4]).unwrap();
    assert!(matches!(with(kernel(17), 1.0), Some(IntError::TooLarge(_))));
    assert_eq!(with(kernel(16), 1.0), None);
    // Steps of 2⁻¹⁶ of what a weight adds.
    assert_eq!(with(kernel(1), 32_767.0), None);
    let refused = Some(IntError::Steps { output: 0 });
    for scale in [32_768.0, f32::INFINITY, f32::NAN] {
        assert_eq!(with(kernel(1), scale), refused, "{scale}");
    }
    let channels = |count| shape([count, 1], 1, [1; 2], [1; 2], [1; 2], [1; 2], [0; 4]).unwrap();
    assert_eq!([100_000, 9_000_000].map(|count| with(channels(count), 1.0)), [None, refused]);
}

#[test]
fn zeros_and_one_sign_only() {
    let mut values = Values(3);
    let shape = shape([3, 4], 1, [6, 6], [3, 3], [1, 1], [1, 1], [1; 4]).unwrap();
    for zeros in [0.0, 1.1] {
        let codes = values.codes(shape.weight_len(), zeros);
        check(shape, codes, &mut values);
    }
    for keep in [-1, 1] {
        let mut codes = values.codes(shape.weight_len(), 0.3);
        codes.iter_mut().filter(|code| **code != keep).for_each(|code| *code = 0);
        check(shape, codes, &mut values);
    }
}

#[test]
fn numbers_that_are_none_become_the_first_byte() {
    let mut values = Values(4);
    let shape = shape([3, 4], 1, [6, 6], [3, 3], [1, 1], [1, 1], [1; 4]).unwrap();
    let mut case = Case::random(shape, values.codes(shape.weight_len(), 0.3), &mut values);
    case.bias = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
    case.activation = None;
    let plane = shape.output_plane();
    let expected = case.expected();
    case.check();
    assert!(expected[..plane].iter().all(|[place, _]| *place == 0.0));
    assert!(expected[plane..2 * plane].iter().all(|[place, _]| *place == 255.0));
}

proptest! {
    #[test]
    fn random_shapes(shape in shapes(), seed: u64, zeros in 0.0..1.0f32) {
        if let Some(shape) = shape {
            let mut values = Values(seed);
            let codes = values.codes(shape.weight_len(), zeros);
            check(shape, codes, &mut values);
        }
    }
}
