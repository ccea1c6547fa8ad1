//! Training steps against PyTorch.
//!
//! Every number below was printed by PyTorch 2.15.0 on a CPU, in float64, for
//! the same networks, written with `torch.nn.functional` and stepped by
//! `torch.optim`. Its own float32 differs from them by at most 4e-7 in a loss,
//! 2e-6 in a logit and 1e-6 in a checksum, which leaves a factor of five to the
//! tolerances.

use candle_core::Device;
use ec2t_data::AugmentOptions;
use ec2t_format::graph::{Activation, Conv2d, GraphBuilder, Linear, Op, Padding, ParamKind};
use ec2t_format::graph::{Pool2d, Shape};
use ec2t_format::tensor::DenseTensor;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::engine::Engine;
use crate::{Backend, DistillOptions, Keep, LoopOptions, Schedule, Target};

mod image_networks;

const BATCH: usize = 8;

/// `digits-cnn`: `SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)`.
const DIGITS: Expected = Expected {
    losses: [2.297_503_5, 2.152_940_6, 1.406_943_1],
    logits: [
        0.329_274_5,
        -0.121_729_8,
        0.194_756_1,
        -0.022_330_6,
        -0.348_332_4, //
        0.094_584_0,
        0.122_707_1,
        -0.083_373_4,
        -0.163_168_1,
        0.034_729_6,
    ],
    checksums: &[
        ("conv1.weight", -10.533_402_8),
        ("bn1.weight", -0.403_774_0),
        ("bn1.bias", 0.435_466_7),
        ("bn1.running_mean", 0.093_960_3),
        ("bn1.running_var", -0.536_299_1),
        ("conv2.weight", -82.764_577_7),
        ("bn2.weight", -0.389_435_7),
        ("bn2.bias", 1.109_037_4),
        ("bn2.running_mean", 0.035_880_7),
        ("bn2.running_var", -0.922_866_2),
        ("conv3.weight", -107.994_321_9),
        ("bn3.weight", -0.095_328_8),
        ("bn3.bias", 0.910_252_8),
        ("bn3.running_mean", 0.012_257_9),
        ("bn3.running_var", -1.072_337_2),
        ("conv4.weight", -195.114_922_8),
        ("bn4.weight", -0.081_602_0),
        ("bn4.bias", 1.385_348_1),
        ("bn4.running_mean", -0.140_294_4),
        ("bn4.running_var", -2.441_742_8),
        ("conv5.weight", -240.572_416_1),
        ("bn5.weight", 0.396_459_5),
        ("bn5.bias", 1.146_522_8),
        ("bn5.running_mean", -0.316_578_6),
        ("bn5.running_var", -2.879_882_9),
        ("linear.weight", -10.244_560_7),
        ("linear.bias", -0.003_627_2),
    ],
};

/// [`mixed`]: `Adam(lr=0.01, weight_decay=5e-4)`.
const MIXED: Expected = Expected {
    losses: [2.715_938_4, 2.227_050_7, 1.867_423_5],
    logits: [
        0.596_142_7,
        -2.415_252_0,
        -0.774_221_0,
        -1.438_319_0,
        1.118_734_0, //
        0.432_096_2,
        0.692_896_8,
        -0.003_693_8,
        -1.672_588_0,
        0.328_849_0,
    ],
    checksums: &[
        ("conv1.weight", -28.567_195_9),
        ("bn1.weight", 0.363_927_9),
        ("bn1.bias", 0.191_564_3),
        ("bn1.running_mean", 0.024_794_1),
        ("bn1.running_var", 0.895_576_9),
        ("conv2.weight", -20.914_040_4),
        ("conv2.bias", -0.072_949_1),
        ("gate.weight", 32.008_586_0),
        ("gate.bias", -0.021_464_6),
        ("conv3.weight", -87.070_361_1),
        ("bn3.weight", -0.739_861_0),
        ("bn3.bias", 0.122_779_6),
        ("bn3.running_mean", 0.637_241_0),
        ("bn3.running_var", -0.133_569_6),
        ("linear.weight", -26.862_131_6),
    ],
};

/// What three steps on one batch come to.
struct Expected {
    /// Loss of each step.
    losses: [f64; 3],
    /// Those of the first image after the steps, in evaluation.
    logits: [f64; 10],
    /// Product of each parameter, after the steps, with `ramp(_, 7)`.
    checksums: &'static [(&'static str, f64)],
}

#[test]
fn the_digits_network_steps_as_in_pytorch() {
    let graph = ec2t_scale::build("digits-cnn", &ec2t_scale::ArchOptions::default()).unwrap();
    let options = PretrainOptions { common: common(0.1), ..options(OptimizerKind::Sgd) };
    check(&graph, 1.0, &options, &DIGITS);
}

#[test]
fn every_other_operation_steps_as_in_pytorch() {
    let options = PretrainOptions { common: common(0.01), ..options(OptimizerKind::Adam) };
    check(&mixed(), 3.0, &options, &MIXED);
}

fn options(optimizer: OptimizerKind) -> PretrainOptions {
    PretrainOptions { common: common(0.0), optimizer, momentum: 0.9, weight_decay: 5e-4 }
}

fn common(lr: f32) -> LoopOptions {
    let (augment, schedule) = (AugmentOptions::default(), Schedule::Constant);
    LoopOptions {
        epochs: 3,
        batch: BATCH,
        lr,
        schedule,
        label_smoothing: 0.0,
        distillation: DistillOptions::default(),
        augment,
        keep: Keep::Best,
        bn_batches: 0,
        checkpoint_steps: 0,
        log_steps: 0,
    }
}

/// A residual network of all operations that `digits-cnn` lacks, on an image of
/// odd size.
fn mixed() -> Graph {
    let mut g = GraphBuilder::new("mixed", Shape::new(3, 9, 9));
    let x = g.conv("conv1", g.input(), 8, 3, 1);
    let x = g.batch_norm("bn1", x);
    let x = g.push("swish", Op::Activation(Activation::Swish), &[x]);
    let pooled = g.max_pool("pool", x, 2);
    let x = g.push("conv2", with_bias(8, 3, 4), &[pooled]);
    let x = g.push("hard_swish", Op::Activation(Activation::HardSwish), &[x]);
    let gate = g.global_avg_pool("squeeze", x);
    let gate = g.push("gate", with_bias(8, 1, 1), &[gate]);
    let gate = g.push("sigmoid", Op::Activation(Activation::Sigmoid), &[gate]);
    let x = g.push("excite", Op::Multiply, &[x, gate]);
    let x = g.push("relu6", Op::Activation(Activation::Relu6), &[x]);
    let x = g.dropout("dropout", x, 0.0);
    let x = g.conv("conv3", x, 16, 3, 2);
    let x = g.batch_norm("bn3", x);
    let shortcut = g.pad_shortcut("shortcut", pooled, 16, 2);
    let x = g.add("add", x, shortcut);
    let x = g.relu("relu", x);
    let x = g.push("mean", Op::AvgPool(Pool2d::square(2)), &[x]);
    let x = g.flatten("flatten", x);
    let linear = Linear { in_features: 16, out_features: 10, bias: false };
    g.push("linear", Op::Linear(linear), &[x]);
    g.finish().unwrap()
}

fn with_bias(channels: usize, kernel: usize, groups: usize) -> Op {
    Op::Conv2d(Conv2d {
        in_channels: channels,
        out_channels: channels,
        kernel: [kernel; 2],
        stride: [1; 2],
        padding: Padding::all(kernel / 2),
        dilation: [1; 2],
        groups,
        bias: true,
        scale: false,
    })
}

/// Both engines compute the same numbers.
fn check(graph: &Graph, gain: f64, options: &PretrainOptions, expected: &Expected) {
    let phase = Pretrain::new(&initial(graph, gain), options);
    let candle = Engine::candle(graph, phase.weights(), Device::Cpu).unwrap();
    check_engine(candle, phase, graph, expected);

    let phase = Pretrain::new(&initial(graph, gain), options);
    let cpu = Engine::new(Backend::Cpu, graph, phase.weights()).unwrap();
    check_engine(cpu, phase, graph, expected);
}

fn check_engine(mut engine: Engine, mut phase: Pretrain, graph: &Graph, expected: &Expected) {
    let images: Vec<f32> = ramp(BATCH * graph.input.numel(), 1000).collect();
    let labels: Vec<u32> = (0..BATCH as u32).map(|i| i * 3 % 10).collect();

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for loss in expected.losses {
        let step =
            engine.train(phase.weights_mut(), &images, &Target::labels(&labels), &mut rng).unwrap();
        assert_close("loss", step.mean, loss, 2e-6);
        phase.update(engine.gradients(), 1.0).unwrap();
    }
    let logits = engine.logits(phase.weights(), &images, BATCH).unwrap();
    for (&found, expected) in logits.iter().zip(expected.logits) {
        assert_close("logit", f64::from(found), expected, 1e-5);
    }
    assert_eq!(phase.weights().params().len(), expected.checksums.len());
    for ((param, values), &(name, expected)) in phase.weights().iter().zip(expected.checksums) {
        assert_eq!(param.name, name);
        let products = values.iter().zip(ramp(values.len(), 7));
        let found = products.map(|(&value, factor)| f64::from(value) * f64::from(factor)).sum();
        assert_close(name, found, expected, 5e-6);
    }
}

fn assert_close(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() < tolerance, "{what} is {found}, in PyTorch {expected}");
}

/// Numbers from −1 to 1 that both sides can make.
fn ramp(len: usize, seed: usize) -> impl Iterator<Item = f32> {
    (0..len).map(move |i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.0 - 1.0)
}

/// Ramps about the usual initial values, of the position's seed.
fn initial(graph: &Graph, gain: f64) -> Network {
    let tensor = |(seed, param): (usize, ec2t_format::graph::Param)| {
        let fan_in: usize = param.shape[1..].iter().product();
        let (centre, slope) = match param.kind {
            ParamKind::Weight => (0.0, (gain * (2.0 / fan_in as f64).sqrt()) as f32),
            ParamKind::NormWeight | ParamKind::RunningVar => (1.0, 0.2),
            _ => (0.0, 0.1),
        };
        let values = ramp(param.numel(), seed).map(|value| centre + slope * value).collect();
        (param.name, DenseTensor::new(param.shape, values).unwrap().into())
    };
    let tensors = graph.params().into_iter().enumerate().map(tensor).collect();
    Network::new(graph.clone(), tensors).unwrap()
}
