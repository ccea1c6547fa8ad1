//! After its first image, a session allocates nothing at all, nor gives
//! anything back.
//!
//! One test alone, because it counts what all threads of the process do.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use ec2t_format::graph::{Param, ParamKind, Shape};
use ec2t_format::{DenseTensor, Graph, Network, Tensor, TernaryTensor};
use ec2t_infer::{Model, Precision, calibrate};
use ec2t_scale::ArchOptions;

/// The system's allocator, counted.
struct Counted;

/// Calls of the allocator.
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: both functions are the system's; the atomic does not allocate.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above, and `alloc` has the pointer from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Every other weight tensor ternary, the others dense.
fn network(graph: Graph) -> Network {
    let tensor = |(index, param): (usize, Param)| {
        let numel = param.numel();
        let tensor: Tensor = match param.kind {
            ParamKind::Weight if index % 2 == 0 => {
                let codes = (0..numel).map(|i| (i * 7 % 3) as i8 - 1).collect();
                TernaryTensor::new(param.shape, codes, 0.1, 0.1).unwrap().into()
            }
            _ => DenseTensor::new(param.shape, vec![0.1; numel]).unwrap().into(),
        };
        (param.name, tensor)
    };
    let tensors = graph.params().into_iter().enumerate().map(tensor).collect();
    Network::new(graph, tensors).unwrap()
}

#[test]
fn a_session_allocates_nothing_after_its_first_image() {
    let before = CALLS.load(Ordering::Relaxed);
    drop(black_box(vec![1u8]));
    assert_eq!(CALLS.load(Ordering::Relaxed), before + 2, "allocations are not seen");

    // Two threads that have taken work from each other: the first time, rayon allocates.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let both = Barrier::new(2);
    for _ in 0..2 {
        pool.install(|| rayon::join(|| both.wait(), || both.wait()));
        pool.broadcast(|_| ());
    }

    let small = Some(Shape::new(3, 64, 64));
    for (arch, input) in [("lenet5", None), ("resnet20", None), ("efficientnet_b0", small)] {
        let options = ArchOptions { input, ..ArchOptions::default() };
        let network = network(ec2t_scale::build(arch, &options).unwrap());
        let image = vec![0.1; network.graph().input.numel()];
        let grids = calibrate(&network, &image, 1).unwrap();
        let network = network.with_grids(grids).unwrap();
        for precision in [Precision::F32, Precision::U8] {
            let model = Model::with_precision(network.clone(), precision).unwrap();
            let what = format!("{arch} in {precision:?}");
            assert_allocates_nothing(&model, 1, &what);
            pool.install(|| assert_allocates_nothing(&model, 2, &what));
        }
    }
}

/// Asserts that a session on so many threads allocates nothing for its second image.
fn assert_allocates_nothing(model: &Model, threads: usize, what: &str) {
    let image = vec![0.1; model.input_len()];
    let pixels = vec![100; model.input_len()];
    let mut session = model.session_on(threads);
    session.run(&image).unwrap();
    let before = CALLS.load(Ordering::Relaxed);
    session.run(&image).unwrap();
    session.run_pixels(&pixels).unwrap();
    assert_eq!(CALLS.load(Ordering::Relaxed), before, "{what} on {threads} threads");
}
