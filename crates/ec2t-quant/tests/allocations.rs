//! After its first step, training allocates nothing large: loader, forward and
//! backward pass, optimizers and ternarization all work in memory that is there.
//!
//! One test alone, because it watches all threads of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ec2t_data::{AugmentOptions, Dataset, Splits};
use ec2t_format::Graph;
use ec2t_format::graph::{Activation, Conv2d, GraphBuilder, Op, Padding, Pool2d, Shape};
use ec2t_quant::ec2t::Ec2tOptions;
use ec2t_quant::{
    Backend, DistillOptions, Keep, LoopOptions, Observer, OptimizerKind, Outcome, PretrainOptions,
    PruneOptions, QuantError, Schedule, Session, StepReport, TernarizeOptions, initialize,
    pretrain, ternarize,
};

/// The largest allocation that is allowed, in bytes.
const LIMIT: usize = 64 << 10;
/// Images per step; a large value of one image is many times the limit.
const BATCH: usize = 32;
/// Steps per epoch; the last one has fewer images.
const STEPS: u64 = 4;
const EPOCHS: usize = 2;

/// The system's allocator, watched.
struct Watched;

/// The largest allocation since this was last asked for, in bytes.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: both functions are the system's; the atomic does not allocate.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above, and `alloc` has the pointer from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Asserts that every step but the first of an epoch stays below the limit.
struct Watch<'a> {
    stage: &'a str,
    steps: usize,
}

impl Observer for Watch<'_> {
    fn step(&mut self, report: &StepReport) {
        let largest = LARGEST.swap(0, Ordering::Relaxed);
        if report.step % STEPS != 1 {
            let Self { stage, steps } = self;
            let step = report.step;
            assert!(largest <= LIMIT, "{stage}: step {step} allocates {largest} bytes at once");
            *steps += 1;
        }
    }
}

#[test]
fn steps_after_the_first_allocate_nothing_large() {
    LARGEST.store(0, Ordering::Relaxed);
    drop(vec![0u8; LIMIT + 1]);
    assert_eq!(LARGEST.load(Ordering::Relaxed), LIMIT + 1, "allocations are not seen");

    let resnet20 = ec2t_scale::build("resnet20", &ec2t_scale::ArchOptions::default()).unwrap();
    for graph in [resnet20, mixed()] {
        let float = initialize(&graph, 1).unwrap();
        for optimizer in [OptimizerKind::Sgd, OptimizerKind::Adam] {
            let options =
                PretrainOptions { common: common(), optimizer, momentum: 0.9, weight_decay: 5e-4 };
            watch(&format!("{optimizer:?}"), |data, session| {
                pretrain(&float, data, &options, session)
            });
        }
        let options = TernarizeOptions {
            common: common(),
            centroid_lr: 1e-5,
            weight_decay: 0.0,
            ec2t: Ec2tOptions::default(),
            target_sparsity: 0.0,
            pruning: PruneOptions::default(),
        };
        watch("ternarize", |data, session| ternarize(&float, data, &options, session));
    }
}

/// Runs a stage in a folder of its own.
fn watch(stage: &str, train: impl FnOnce(&Splits, &mut Session) -> Result<Outcome, QuantError>) {
    let folder = tempfile::tempdir().unwrap();
    let mut observer = Watch { stage, steps: 0 };
    let mut session = Session {
        folder: folder.path().to_owned(),
        logs: None,
        backend: Backend::Cpu,
        teacher: None,
        seed: 1,
        restart: false,
        stop: &AtomicBool::new(false),
        observer: &mut observer,
    };
    let train_images = BATCH * (STEPS as usize - 1) + 5;
    let data = Splits { train: noise(train_images), validation: noise(1), test: noise(0) };
    train(&data, &mut session).unwrap();
    assert_eq!(observer.steps, EPOCHS * (STEPS as usize - 1));
}

fn noise(images: usize) -> Dataset {
    let pixels = (0..images * 3 * 32 * 32).map(|i| (i * 7919 % 251) as u8).collect();
    let labels = (0..images as u32).map(|i| i % 10).collect();
    Dataset::new("noise", [3, 32, 32], pixels, labels, vec![String::new(); 10]).unwrap()
}

fn common() -> LoopOptions {
    let augment = AugmentOptions { crop_pad: 4, ..AugmentOptions::default() };
    let schedule = Schedule::OneCycle;
    LoopOptions {
        epochs: EPOCHS,
        batch: BATCH,
        lr: 1e-3,
        schedule,
        label_smoothing: 0.1,
        distillation: DistillOptions::default(),
        augment,
        keep: Keep::Best,
        bn_batches: 0,
        checkpoint_steps: 0,
        log_steps: 0,
    }
}

/// Every layer that ResNet-20 lacks.
fn mixed() -> Graph {
    let mut g = GraphBuilder::new("mixed", Shape::new(3, 32, 32));
    let x = g.push("stem", conv(3, 32, 3, 1), &[g.input()]);
    let x = g.push("hard_swish", Op::Activation(Activation::HardSwish), &[x]);
    let x = g.push("depthwise", conv(32, 32, 5, 32), &[x]);
    let x = g.batch_norm("bn", x);
    let x = g.push("relu6", Op::Activation(Activation::Relu6), &[x]);
    let gate = g.global_avg_pool("squeeze", x);
    let gate = g.push("gate", conv(32, 32, 1, 1), &[gate]);
    let gate = g.push("sigmoid", Op::Activation(Activation::Sigmoid), &[gate]);
    let x = g.push("excite", Op::Multiply, &[x, gate]);
    let largest = g.max_pool("largest", x, 2);
    let mean = g.push("mean", Op::AvgPool(Pool2d::square(2)), &[x]);
    let x = g.add("pools", largest, mean);
    let x = g.push("swish", Op::Activation(Activation::Swish), &[x]);
    // With more weights than the limit has bytes.
    let x = g.conv("body", x, 256, 3, 2);
    let x = g.dropout("dropout", x, 0.5);
    let x = g.flatten("flatten", x);
    g.linear("linear", x, 10);
    g.finish().unwrap()
}

/// A convolution with a bias, that keeps the size.
fn conv(inputs: usize, outputs: usize, kernel: usize, groups: usize) -> Op {
    Op::Conv2d(Conv2d {
        in_channels: inputs,
        out_channels: outputs,
        kernel: [kernel; 2],
        stride: [1; 2],
        padding: Padding::all(kernel / 2),
        dilation: [1; 2],
        groups,
        bias: true,
        scale: false,
    })
}
