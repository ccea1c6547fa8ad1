//! Speed of the codecs and of whole files, in weights per second.
//!
//! `cargo bench -p ec2t-format [-- FILTER]`. The weights are those of a trained
//! ResNet-20 in `docs/results`, nearly all in 3×3 kernels, and the same number of
//! random ones in 1×1 kernels, which have nothing to be predicted from.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ec2t_format::codec::{CodecId, Effort, Kernels};
use ec2t_format::{Network, Tensor, TernaryTensor, read, write, write_with};

const RESNET20: &[u8] = include_bytes!("../../../docs/results/models/resnet20-64-s1.ec2t");

/// The ternary tensors of a network.
fn ternary(network: &Network) -> Vec<TernaryTensor> {
    let ternary = |tensor: &Tensor| match tensor {
        Tensor::Ternary(ternary) => Some(ternary.clone()),
        Tensor::Dense(_) => None,
    };
    network.tensors().values().filter_map(ternary).collect()
}

/// Layers of 1×1 kernels with 64 % zeros at random places.
fn pointwise() -> Vec<TernaryTensor> {
    let mut state = 1u64;
    let mut code = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match state >> 56 {
            0..164 => 0,
            164..210 => 1,
            _ => -1,
        }
    };
    let layer = |[outputs, inputs]: [usize; 2]| {
        let codes = (0..outputs * inputs).map(|_| code()).collect();
        TernaryTensor::new(vec![outputs, inputs, 1, 1], codes, 0.5, 0.5).expect("ternary")
    };
    [[96, 16], [24, 96], [144, 24], [192, 144], [320, 192], [512, 320]].map(layer).into()
}

fn codecs(criterion: &mut Criterion) {
    let network = read(RESNET20).expect("a good file");
    for (name, tensors) in [("resnet20", ternary(&network)), ("pointwise", pointwise())] {
        let weights: usize = tensors.iter().map(|tensor| tensor.codes().len()).sum();
        for codec in CodecId::ALL {
            let pairs: Vec<_> = tensors
                .iter()
                .map(|tensor| {
                    let kernels = Kernels::of_shape(tensor.shape());
                    (kernels, tensor.codes(), codec.encode(tensor.codes(), kernels))
                })
                .collect();
            let mut group = criterion.benchmark_group(format!("{name}/{}", codec.name()));
            group.throughput(Throughput::Elements(weights as u64));
            group.bench_function("encode", |bencher| {
                bencher.iter(|| {
                    for (kernels, codes, _) in &pairs {
                        black_box(codec.encode(codes, *kernels));
                    }
                });
            });
            group.bench_function("decode", |bencher| {
                bencher.iter(|| {
                    for (kernels, _, bytes) in &pairs {
                        black_box(codec.decode(bytes, *kernels)).expect("its own bytes");
                    }
                });
            });
        }
    }
}

fn files(criterion: &mut Criterion) {
    let network = read(RESNET20).expect("a good file");
    for (name, effort) in
        [("balanced", Effort::Balanced), ("max", Effort::Max), ("ready", Effort::Ready)]
    {
        let file = write_with(&network, effort);
        criterion.bench_function(&format!("file/{name}/read"), |bencher| {
            bencher.iter(|| black_box(read(&file)).expect("a good file"));
        });
    }
    criterion.bench_function("file/balanced/write", |bencher| bencher.iter(|| write(&network)));
}

criterion_group!(benches, codecs, files);
criterion_main!(benches);
