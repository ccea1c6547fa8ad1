//! The fast kernels against the definitions, over a table of shapes and over
//! random ones.

mod shapes;

use std::ops::Range;

use ec2t_kernels::arch::Isa;
use ec2t_kernels::{
    Activation, ConvPart, ConvShape, DenseConv, DenseLinear, Epilogue, TernaryConv, TernaryLinear,
    TernaryWeights, elementwise, reference,
};
use proptest::prelude::*;

use shapes::{Values, shape, shapes};

const W_NEG: f32 = 0.3;
const W_POS: f32 = 0.7;

/// What follows the sums of a layer.
struct Side {
    scale: Vec<f32>,
    bias: Vec<f32>,
    residual: Option<Vec<f32>>,
    activation: Option<Activation>,
}

impl Side {
    /// Any of the combinations, for `outputs` channels of `plane` pixels.
    fn random(outputs: usize, plane: usize, values: &mut Values) -> Self {
        let activations = [
            None,
            Some(Activation::Relu),
            Some(Activation::Relu6),
            Some(Activation::Swish),
            Some(Activation::HardSwish),
            Some(Activation::Sigmoid),
        ];
        let choice = (3.0 * (values.next() + 1.0)) as usize;
        Self {
            scale: values.floats(outputs),
            bias: values.floats(outputs),
            residual: (values.next() < 0.0).then(|| values.floats(outputs * plane)),
            activation: activations[choice],
        }
    }

    fn epilogue(&self) -> Epilogue {
        let epilogue = Epilogue::new(self.bias.len()).scale(&self.scale[..]).bias(&self.bias[..]);
        match self.activation {
            Some(activation) => epilogue.activation(activation),
            None => epilogue,
        }
    }

    fn residual(&self) -> Option<&[f32]> {
        self.residual.as_deref()
    }

    /// What the activation is applied to.
    fn before_activation(&self, sums: &[f32]) -> Vec<f32> {
        let plane = sums.len() / self.bias.len();
        let value = |(i, sum): (usize, &f32)| {
            let residual = self.residual().map_or(0.0, |residual| residual[i]);
            sum * self.scale[i / plane] + self.bias[i / plane] + residual
        };
        sums.iter().enumerate().map(value).collect()
    }

    /// Asserts that values are what follows these sums, to 1e-5 of the largest
    /// that the activation is applied to.
    fn assert_follows(&self, found: &[f32], sums: &[f32], what: &str) {
        let before = self.before_activation(sums);
        let largest = before.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert_eq!(found.len(), before.len(), "{what}");
        for (index, (a, before)) in found.iter().zip(before).enumerate() {
            let b = self.activation.map_or(before, |function| by_definition(function, before));
            let function = self.activation;
            assert!(
                (a - b).abs() <= 1e-5 * largest,
                "{what}, {function:?}: {a} for {b} at {index}"
            );
        }
    }
}

fn by_definition(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Relu => elementwise::relu(x),
        Activation::Relu6 => elementwise::relu6(x),
        Activation::Swish => elementwise::swish(x),
        Activation::HardSwish => elementwise::hard_swish(x),
        Activation::Sigmoid => elementwise::sigmoid(x),
    }
}

/// Sums of a convolution by definition.
fn sums(shape: &ConvShape, weights: &[f32], input: &[f32]) -> Vec<f32> {
    let mut output = vec![0.0; shape.output_len()];
    reference::conv2d(shape, weights, input, &mut output);
    output
}

/// What codes stand for.
fn floats(codes: &[i8]) -> Vec<f32> {
    let float = |code: &i8| match code {
        1 => W_POS,
        -1 => -W_NEG,
        _ => 0.0,
    };
    codes.iter().map(float).collect()
}

/// A part in two.
type Halves<'o> = (ConvPart<'o>, Option<ConvPart<'o>>);

/// Computes a part as so many threads would share it.
fn run_in_parts<'o>(
    part: ConvPart<'o>,
    threads: usize,
    split: &impl Fn(ConvPart<'o>, [usize; 2]) -> Halves<'o>,
    run: &impl Fn(ConvPart<'o>),
) {
    if threads == 1 {
        return run(part);
    }
    let halves = [threads / 2, threads - threads / 2];
    let (first, second) = split(part, halves);
    for (part, threads) in [Some(first), second].into_iter().zip(halves) {
        if let Some(part) = part {
            run_in_parts(part, threads, split, run);
        }
    }
}

/// Checks both convolutions of a shape with every instruction set of this CPU: the
/// plain one against the definition, the others, and all in parts, for the same bits.
fn check_conv(shape: ConvShape, codes: &[i8], values: &mut Values) {
    // At a line of the cache, where some kernels read it without a copy.
    let memory = values.floats(shape.input_len() + 16);
    let first = memory.as_ptr().align_offset(64).min(16);
    let input = &memory[first..][..shape.input_len()];
    let side = Side::random(shape.out_channels, shape.output_plane(), values);
    let weights = values.floats(shape.weight_len());
    let sums = [floats(codes), weights.clone()].map(|weights| sums(&shape, &weights, input));

    let mut plain: Option<[Vec<f32>; 2]> = None;
    for isa in Isa::available() {
        let what = format!("{} {shape:?}", isa.name());
        let run = |run: &dyn Fn(&mut [f32], &mut [f32]), workspace: usize| {
            let mut output = vec![f32::NAN; shape.output_len()];
            run(&mut output, &mut vec![f32::NAN; workspace]);
            output
        };
        let codes = TernaryWeights { codes, w_neg: W_NEG, w_pos: W_POS };
        let ternary = TernaryConv::with_isa(isa, shape, codes, side.epilogue()).unwrap();
        let dense = DenseConv::with_isa(isa, shape, &weights, side.epilogue()).unwrap();
        let residual = side.residual();
        let found = [
            run(&|out, work| ternary.run(input, residual, out, work), ternary.workspace_len()),
            run(&|out, work| dense.run(input, residual, out, work), dense.workspace_len() + 5),
        ];
        for threads in [2, 3, 8] {
            let [mut ternary_parts, mut dense_parts] =
                [(); 2].map(|()| vec![f32::NAN; shape.output_len()]);
            run_in_parts(
                ternary.whole(&mut ternary_parts),
                threads,
                &|part, threads| ternary.split(part, threads),
                &|part| {
                    let workspace = &mut vec![f32::NAN; ternary.workspace_len()];
                    ternary.run_part(part, input, residual, workspace);
                },
            );
            run_in_parts(
                dense.whole(&mut dense_parts),
                threads,
                &|part, threads| dense.split(part, threads),
                &|part| {
                    let workspace = &mut vec![f32::NAN; dense.workspace_len()];
                    dense.run_part(part, input, residual, workspace);
                },
            );
            assert_same(
                &found,
                &[ternary_parts, dense_parts],
                &format!("{threads} parts of {what}"),
            );
        }
        let work = || vec![f32::NAN; ternary.workspace_len().max(dense.workspace_len())];
        let channels = [
            in_two_runs(shape.out_channels, shape.output_plane(), &|outputs, out| {
                ternary.run_part(ternary.outputs(outputs, out), input, residual, &mut work());
            }),
            in_two_runs(shape.out_channels, shape.output_plane(), &|outputs, out| {
                dense.run_part(dense.outputs(outputs, out), input, residual, &mut work());
            }),
        ];
        assert_same(&found, &channels, &format!("channels of {what}"));
        if dense.is_sliced() {
            let outputs = shape.out_channels / shape.groups;
            let len = outputs * shape.output_plane();
            let slices = in_two_runs(shape.groups, len, &|inputs, out| {
                let input = &input[inputs.start * shape.input_plane()..];
                let input = &input[..inputs.len() * shape.input_plane()];
                let part = dense.slice(inputs, out);
                dense.run_part(part, input, residual, &mut work());
            });
            assert_same(&found[1..], &[slices], &format!("slices of {what}"));
        }
        match &plain {
            None => {
                side.assert_follows(&found[0], &sums[0], &what);
                side.assert_follows(&found[1], &sums[1], &what);
                plain = Some(found);
            }
            Some(plain) => assert_same(plain, &found, &what),
        }
    }
}

/// Computes the channels of an output, `len` values each, in two runs of their own.
fn in_two_runs(channels: usize, len: usize, run: &dyn Fn(Range<usize>, &mut [f32])) -> Vec<f32> {
    let mut output = vec![f32::NAN; channels * len];
    let middle = channels / 3;
    let (first, second) = output.split_at_mut(middle * len);
    run(0..middle, first);
    run(middle..channels, second);
    output
}

fn assert_same(expected: &[Vec<f32>], found: &[Vec<f32>], what: &str) {
    let [expected, found] = [expected, found].map(|all| all.iter().flatten().map(|x| x.to_bits()));
    assert!(expected.eq(found), "{what}");
}

#[test]
fn every_kernel_stride_dilation_and_grouping() {
    let mut values = Values(1);
    let mut checked = 0;
    for kernel in 1..=7 {
        for (stride, dilation) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)] {
            for (channels, groups) in [([3, 5], 1), ([4, 6], 2), ([4, 4], 4), ([1, 1], 1)] {
                for input in [[1, 1], [5, 13], [11, 7], [8, 8]] {
                    let pad = kernel / 2 * dilation;
                    let shape = shape(
                        channels,
                        groups,
                        input,
                        [kernel; 2],
                        [stride; 2],
                        [dilation; 2],
                        [pad; 4],
                    );
                    let Some(shape) = shape else { continue };
                    let codes = values.codes(shape.weight_len(), 0.5);
                    check_conv(shape, &codes, &mut values);
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
    let odd = (1..=40).chain([47, 48, 49, 56, 63, 64, 65, 112, 127, 128, 129, 196, 257]);
    for width in odd {
        for (kernel, height) in [([1, 1], 1), ([3, 3], 1 + width % 17), ([1, 3], 2)] {
            let pad = [kernel[0] / 2, kernel[1] / 2];
            let padding = [pad[0], pad[1], pad[0], pad[1]];
            let stride = [1, 1 + usize::from(width % 5 == 0)];
            let shape = shape([3, 2], 1, [height, width], kernel, stride, [1, 1], padding).unwrap();
            let codes = values.codes(shape.weight_len(), 0.4);
            check_conv(shape, &codes, &mut values);
        }
    }
}

#[test]
fn several_blocks_of_inputs_and_chunks_of_outputs() {
    let mut values = Values(6);
    for (channels, groups, input, kernel) in [
        ([300, 70], 1, [4, 5], 1),
        ([64, 130], 2, [9, 9], 3),
        ([90, 3], 1, [33, 32], 3),
        ([40, 65], 1, [8, 8], 5),
    ] {
        let padding = [kernel / 2; 4];
        let shape = shape(channels, groups, input, [kernel; 2], [1, 1], [1, 1], padding).unwrap();
        for zeros in [0.1, 0.6, 0.97] {
            let codes = values.codes(shape.weight_len(), zeros);
            check_conv(shape, &codes, &mut values);
        }
    }
}

#[test]
fn depthwise_layers_of_every_size_of_tile_and_strip() {
    let mut values = Values(8);
    for (index, width) in (1..=34).chain([56, 63, 64, 65, 112, 130]).enumerate() {
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)] {
            let (height, outputs) = (1 + (7 * index) % 41, 3 * (1 + index % 2));
            let left = (index + kernel) % 4;
            let padding = [kernel / 2, left, index % 3, kernel - left.min(kernel - 1)];
            let size = [height + kernel, width];
            let shape =
                shape([3, outputs], 3, size, [kernel; 2], [stride; 2], [1, 1], padding).unwrap();
            let codes = values.codes(shape.weight_len(), 0.4);
            check_conv(shape, &codes, &mut values);
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
    ];
    for (kernel, stride, dilation, padding) in cases {
        let shape = shape([2, 3], 1, [9, 6], kernel, stride, dilation, padding).unwrap();
        let codes = values.codes(shape.weight_len(), 0.3);
        check_conv(shape, &codes, &mut values);
    }
}

#[test]
fn strides_over_rows_of_whole_vectors() {
    let mut values = Values(9);
    for width in [4, 8, 16, 32] {
        for stride in [[2, 2], [1, 2], [2, 1], [3, 2], [5, 2]] {
            for (rows, above, below) in [(1, 0, 0), (2, 1, 0), (3, 1, 1), (4, 0, 2), (3, 14, 9)] {
                let input = [1 + (width + rows) % 13, width * stride[1]];
                let padding = [above, 1, below, 1];
                let shape = shape([3, 2], 1, input, [rows, 3], stride, [1, 1], padding);
                let Some(shape) = shape else { continue };
                let codes = values.codes(shape.weight_len(), 0.4);
                check_conv(shape, &codes, &mut values);
            }
        }
    }
}

#[test]
fn rows_of_padding_beyond_the_kernel() {
    let mut values = Values(7);
    for width in [4, 8, 16, 32, 5] {
        for padding in [[20, 1, 0, 1], [0, 1, 20, 1], [9, 1, 11, 1]] {
            let shape = shape([3, 2], 1, [3, width], [3, 3], [1, 1], [1, 1], padding).unwrap();
            let codes = values.codes(shape.weight_len(), 0.4);
            check_conv(shape, &codes, &mut values);
        }
    }
}

#[test]
fn zeros_and_one_sign_only() {
    let mut values = Values(3);
    let shape = shape([3, 4], 1, [6, 6], [3, 3], [1, 1], [1, 1], [1; 4]).unwrap();
    for zeros in [0.0, 1.1] {
        let codes = values.codes(shape.weight_len(), zeros);
        check_conv(shape, &codes, &mut values);
    }
    for keep in [-1, 1] {
        let mut codes = values.codes(shape.weight_len(), 0.3);
        codes.iter_mut().filter(|code| **code != keep).for_each(|code| *code = 0);
        check_conv(shape, &codes, &mut values);
    }
    let mut single = vec![0; shape.weight_len()];
    single[shape.weight_len() - 1] = -1;
    check_conv(shape, &single, &mut values);
}

#[test]
fn matrix_products() {
    let mut values = Values(4);
    let sizes = [(1, 1, 0.0), (7, 3, 0.5), (64, 10, 0.9), (33, 5, 1.1)];
    for (inputs, outputs, zeros) in sizes.repeat(10) {
        let input = values.floats(inputs);
        let side = Side::random(outputs, 1, &mut values);
        let codes = values.codes(inputs * outputs, zeros);
        let weights = floats(&codes);
        let mut sums = vec![0.0; outputs];
        reference::linear(&weights, &input, &mut sums);

        let mut output = vec![f32::NAN; outputs];
        let ternary = TernaryWeights { codes: &codes, w_neg: W_NEG, w_pos: W_POS };
        let kernel = TernaryLinear::new(inputs, ternary, side.epilogue());
        kernel.run(&input, side.residual(), &mut output);
        side.assert_follows(&output, &sums, "ternary");
        let mut parts = vec![f32::NAN; outputs];
        for first in 0..outputs {
            let residual = side.residual().map(|residual| &residual[first..=first]);
            kernel.run_outputs(first, &input, residual, &mut parts[first..=first]);
        }
        assert_eq!(parts, output);
        output.fill(f32::NAN);
        let kernel = DenseLinear::new(inputs, &weights, side.epilogue());
        kernel.run(&input, side.residual(), &mut output);
        side.assert_follows(&output, &sums, "dense");
        for range in [0..outputs / 2, outputs / 2..outputs] {
            let residual = side.residual().map(|residual| &residual[range.clone()]);
            kernel.run_outputs(range.start, &input, residual, &mut parts[range]);
        }
        assert_eq!(parts, output);
    }
}

#[test]
fn taps_that_are_far_apart_take_no_memory() {
    let far = 1 << 24;
    let shape =
        shape([1, 1], 1, [1, 1], [3, 3], [1, 1], [far; 2], [far; 4]).expect("one window fits");
    let codes = TernaryWeights { codes: &[1; 9], w_neg: W_NEG, w_pos: W_POS };
    let kernel = TernaryConv::new(shape, codes, Epilogue::new(1)).unwrap();
    assert!(kernel.workspace_len() < 10_000);
    let mut output = [0.0];
    kernel.run(&[2.0], None, &mut output, &mut vec![0.0; kernel.workspace_len()]);
    assert_eq!(output, [2.0 * W_POS]);
}

#[test]
fn a_kernel_beyond_all_offsets_is_refused() {
    let shape =
        shape([1, 1], 1, [300; 2], [300; 2], [1, 1], [1, 1], [0; 4]).expect("one window fits");
    let weights = vec![1.0; shape.weight_len()];
    let error = DenseConv::new(shape, &weights, Epilogue::new(1)).unwrap_err();
    assert_eq!(error.kernel, [300; 2]);
    let codes = TernaryWeights { codes: &[1; 90_000], w_neg: W_NEG, w_pos: W_POS };
    assert!(TernaryConv::new(shape, codes, Epilogue::new(1)).is_err());
}

proptest! {
    #[test]
    fn random_shapes(shape in shapes(), seed: u64, zeros in 0.0..1.0f32) {
        if let Some(shape) = shape {
            let mut values = Values(seed);
            let codes = values.codes(shape.weight_len(), zeros);
            check_conv(shape, &codes, &mut values);
        }
    }
}
