//! Throughput of convolution and its gradients, in GFLOP/s.
//!
//! `cargo bench -p ec2t-ops [-- NAME]` measures the layers whose name contains
//! `NAME`, on all threads of rayon's pool, with each instruction set, or the one
//! that `EC2T_ISA` names: instruction sets and operators alternate, and each figure
//! is the median of the rounds. The first line is what multiply-adds in registers alone reach.
#![expect(clippy::print_stdout, reason = "a program's output")]

use ec2t_kernels::{
    ConvShape,
    arch::{ISA_VARIABLE, Isa, Operation, Simd, isa},
};
use ec2t_ops::{ChannelSums, Conv, Scratch};
use rayon::prelude::*;
use std::{env, hint::black_box, time::Instant};

const BATCH: usize = 128;
const ROUNDS: usize = 15;

struct Layer {
    name: &'static str,
    shape: ConvShape,
}

fn layer(name: &'static str, [c, o, groups]: [usize; 3], size: usize, [k, s]: [usize; 2]) -> Layer {
    let shape = ConvShape {
        in_channels: c,
        out_channels: o,
        input: [size; 2],
        kernel: [k; 2],
        stride: [s; 2],
        dilation: [1; 2],
        padding: [k / 2; 4],
        groups,
        output: [(size - 1) / s + 1; 2],
    };
    Layer { name, shape }
}

fn layers() -> Vec<Layer> {
    vec![
        layer("resnet stem 3x3 3->16 @32", [3, 16, 1], 32, [3, 1]),
        layer("resnet 3x3 16->16 @32", [16, 16, 1], 32, [3, 1]),
        layer("resnet 3x3/2 16->32 @32", [16, 32, 1], 32, [3, 2]),
        layer("resnet 3x3 32->32 @16", [32, 32, 1], 16, [3, 1]),
        layer("resnet 3x3/2 32->64 @16", [32, 64, 1], 16, [3, 2]),
        layer("resnet 3x3 64->64 @8", [64, 64, 1], 8, [3, 1]),
        layer("mobilenet 1x1 16->96 @16", [16, 96, 1], 16, [1, 1]),
        layer("mobilenet 1x1 96->16 @16", [96, 16, 1], 16, [1, 1]),
        layer("mobilenet 1x1 96->24 @16", [96, 24, 1], 16, [1, 1]),
        layer("mobilenet 1x1 160->960 @4", [160, 960, 1], 4, [1, 1]),
        layer("depthwise 3x3 96 @16", [96, 96, 96], 16, [3, 1]),
        layer("depthwise 3x3/2 96 @16", [96, 96, 96], 16, [3, 2]),
        layer("depthwise 5x5 96 @16", [96, 96, 96], 16, [5, 1]),
    ]
}

/// Buffers of one layer.
struct Work {
    conv: Conv,
    x: Vec<f32>,
    w: Vec<f32>,
    y: Vec<f32>,
    gx: Vec<f32>,
    gw: Vec<f32>,
    sums: ChannelSums,
    scratch: Scratch,
}

impl Work {
    fn new(shape: ConvShape, isa: Isa) -> Self {
        let ramp = |len: usize| (0..len).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect::<Vec<_>>();
        Self {
            conv: Conv::with_isa(shape, isa),
            x: ramp(BATCH * shape.input_len()),
            w: ramp(shape.weight_len()),
            y: ramp(BATCH * shape.output_len()),
            gx: ramp(BATCH * shape.input_len()),
            gw: ramp(shape.weight_len()),
            sums: ChannelSums::new(shape.out_channels),
            scratch: Scratch::new(),
        }
    }

    /// Seconds of forward pass, input gradient, weight gradient.
    fn seconds(&mut self) -> [f64; 3] {
        let Self { conv, x, w, y, gx, gw, sums, scratch } = self;
        [
            timed(|| conv.forward(BATCH, x, w, y, Some(sums), scratch)),
            timed(|| conv.input_gradient(BATCH, y, w, gx, false, scratch)),
            timed(|| conv.weight_gradient(BATCH, x, y, gw, scratch)),
        ]
    }
}

fn timed(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Multiply-adds without memory, on every thread.
struct Peak;

const PEAK_STEPS: usize = 4_000_000;
const PEAK_CHAINS: usize = 12;

impl Operation for Peak {
    type Output = f32;

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) -> f32 {
        let factor = simd.splat(black_box(0.5));
        let mut sums = [simd.splat(black_box(1.0)); PEAK_CHAINS];
        for _ in 0..PEAK_STEPS {
            for sum in &mut sums {
                *sum = simd.fma(*sum, factor, factor);
            }
        }
        sums.into_iter().map(|sum| simd.sum(sum)).sum()
    }
}

fn peak(isa: Isa) -> f64 {
    struct Lanes;
    impl Operation for Lanes {
        type Output = usize;
        fn eval<S: Simd>(self, _: S) -> usize {
            S::LANES
        }
    }
    let threads = rayon::current_num_threads();
    let flops = 2 * PEAK_STEPS * PEAK_CHAINS * isa.run(Lanes) * threads;
    let round = || {
        let seconds = timed(|| {
            (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
                black_box(isa.run(Peak));
            });
        });
        flops as f64 / seconds / 1e9
    };
    median((0..9).map(|_| round()).collect())
}

fn main() {
    let filter = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let filter = filter.unwrap_or_default();
    let isas: Vec<Isa> = match env::var_os(ISA_VARIABLE) {
        Some(_) => vec![isa()],
        None => Isa::available().collect(),
    };
    println!("GFLOP/s, batch {BATCH}, {} threads", rayon::current_num_threads());
    println!("{:28} {:9} {:>8} {:>8} {:>8}   ms", "", "", "forward", "input", "weight");
    for &isa in &isas {
        println!("{:28} {:9} {:8.0}", "multiply-adds alone", isa.name(), peak(isa));
    }
    for Layer { name, shape } in layers().into_iter().filter(|l| l.name.contains(&filter)) {
        let mut works: Vec<_> = isas.iter().map(|&isa| (isa, Work::new(shape, isa))).collect();
        let mut seconds = vec![[const { Vec::new() }; 3]; works.len()];
        for _ in 0..=ROUNDS {
            for ((_, work), seconds) in works.iter_mut().zip(&mut seconds) {
                for (all, one) in seconds.iter_mut().zip(work.seconds()) {
                    all.push(one);
                }
            }
        }
        let flops = 2.0 * (BATCH * shape.output_len() * shape.taps()) as f64;
        for ((isa, _), seconds) in works.iter().zip(seconds) {
            let [forward, input, weight] = seconds.map(median);
            let rate = |seconds: f64| flops / seconds / 1e9;
            let [f, i, w] = [forward, input, weight].map(rate);
            let [fm, im, wm] = [forward, input, weight].map(|seconds| seconds * 1e3);
            let isa = isa.name();
            println!("{name:28} {isa:9} {f:8.1} {i:8.1} {w:8.1}   {fm:.2} {im:.2} {wm:.2}");
        }
    }
}
