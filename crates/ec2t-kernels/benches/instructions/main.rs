//! Fixed work, to count its instructions.
//!
//! `cargo xtask bench instructions` runs this program under Callgrind, which counts
//! what is executed within [`measured`] and writes a file for each call. For each call
//! there is a line of output with the instruction set and the row, in the same order.
//! The rows are one image each:
//!
//! | row | is |
//! |---|---|
//! | `ternary-3x3-*` | ResNet-20's layers with 64 % zeros at random; a sum with another value where the shape does not change |
//! | `ternary-1x1-*` | a layer of EfficientNet-Lite0, so many zeros too |
//! | `depthwise-3x3-*`, `stem-3x3-*` | layers with ordinary weights |
//! | `baseline` | the stem by definition, in plain Rust: what a change of the compiler gives or takes |
//!
//! Names end in the channels of input and output and the rows of the output.
#![expect(clippy::print_stdout, reason = "a program's output")]

use std::hint::black_box;

use ec2t_kernels::arch::Isa;
use ec2t_kernels::{
    Activation, ConvShape, DenseConv, Epilogue, TernaryConv, TernaryWeights, TooLarge, reference,
};

/// Share of zeros in ternary weights.
const ZEROS: f32 = 0.64;

/// A layer to run.
struct Row {
    name: &'static str,
    shape: ConvShape,
    /// Whether another value is added to its output.
    residual: bool,
}

fn main() -> Result<(), TooLarge> {
    let ternary = [
        Row { name: "ternary-3x3-16-16-32", shape: conv(3, [16, 16], 32), residual: true },
        Row { name: "ternary-3x3-16-32-16", shape: halved(conv(3, [16, 32], 32)), residual: false },
        Row { name: "ternary-3x3-32-32-16", shape: conv(3, [32, 32], 16), residual: true },
        Row { name: "ternary-3x3-32-64-8", shape: halved(conv(3, [32, 64], 16)), residual: false },
        Row { name: "ternary-3x3-64-64-8", shape: conv(3, [64, 64], 8), residual: true },
        Row { name: "ternary-1x1-240-80-14", shape: conv(1, [240, 80], 14), residual: false },
    ];
    let depthwise = ConvShape { groups: 96, ..conv(3, [96, 96], 28) };
    let stem = conv(3, [3, 16], 32);
    let dense = [
        Row { name: "depthwise-3x3-96-96-28", shape: depthwise, residual: false },
        Row { name: "stem-3x3-3-16-32", shape: stem, residual: false },
    ];
    for isa in Isa::available() {
        for row in &ternary {
            row.run_ternary(isa)?;
        }
        for row in &dense {
            row.run_dense(isa)?;
        }
        run_baseline(isa, &stem);
    }
    Ok(())
}

/// What Callgrind counts. It knows this function by its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    // Something is left to do, or the call above would be a jump and take this function's place.
    black_box(work);
}

/// Counts work, and says that it is the next to be counted.
fn count(isa: Isa, row: &str, mut work: impl FnMut()) {
    measured(&mut work);
    println!("{} {row}", isa.name());
}

impl Row {
    fn run_ternary(&self, isa: Isa) -> Result<(), TooLarge> {
        let mut values = Values(1);
        let codes = values.codes(self.shape.weight_len());
        let weights = TernaryWeights { codes: &codes, w_neg: 0.3, w_pos: 0.7 };
        let layer = TernaryConv::with_isa(isa, self.shape, weights, self.epilogue(&mut values))?;
        self.run(isa, &mut values, layer.workspace_len(), |input, residual, output, workspace| {
            layer.run(input, residual, output, workspace);
        });
        Ok(())
    }

    fn run_dense(&self, isa: Isa) -> Result<(), TooLarge> {
        let mut values = Values(2);
        let weights = values.floats(self.shape.weight_len());
        let layer = DenseConv::with_isa(isa, self.shape, &weights, self.epilogue(&mut values))?;
        self.run(isa, &mut values, layer.workspace_len(), |input, residual, output, workspace| {
            layer.run(input, residual, output, workspace);
        });
        Ok(())
    }

    fn epilogue(&self, values: &mut Values) -> Epilogue {
        let outputs = self.shape.out_channels;
        let epilogue = Epilogue::new(outputs).scale(values.floats(outputs));
        epilogue.bias(values.floats(outputs)).activation(Activation::Relu)
    }

    fn run(
        &self,
        isa: Isa,
        values: &mut Values,
        workspace: usize,
        layer: impl Fn(&[f32], Option<&[f32]>, &mut [f32], &mut [f32]),
    ) {
        let input = values.floats(self.shape.input_len());
        let residual = self.residual.then(|| values.floats(self.shape.output_len()));
        let mut output = vec![0.0; self.shape.output_len()];
        let mut workspace = vec![0.0; workspace];
        count(isa, self.name, || layer(&input, residual.as_deref(), &mut output, &mut workspace));
    }
}

fn run_baseline(isa: Isa, shape: &ConvShape) {
    let mut values = Values(3);
    let weights = values.floats(shape.weight_len());
    let input = values.floats(shape.input_len());
    let mut output = vec![0.0; shape.output_len()];
    count(isa, "baseline", || reference::conv2d(shape, &weights, &input, &mut output));
}

/// A convolution that keeps the size of its square input.
fn conv(kernel: usize, [inputs, outputs]: [usize; 2], side: usize) -> ConvShape {
    ConvShape {
        in_channels: inputs,
        out_channels: outputs,
        input: [side; 2],
        kernel: [kernel; 2],
        stride: [1; 2],
        dilation: [1; 2],
        padding: [kernel / 2; 4],
        groups: 1,
        output: [side; 2],
    }
}

/// The same with a step of two.
fn halved(shape: ConvShape) -> ConvShape {
    ConvShape { stride: [2; 2], output: shape.output.map(|side| side / 2), ..shape }
}

/// Repeatable values that look random (Knuth's multiplicative generator).
struct Values(u64);

impl Values {
    /// Uniform in −1…1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }

    fn codes(&mut self, len: usize) -> Vec<i8> {
        let code = |v: f32| if v.abs() < ZEROS { 0 } else { v.signum() as i8 };
        (0..len).map(|_| code(self.next())).collect()
    }
}
