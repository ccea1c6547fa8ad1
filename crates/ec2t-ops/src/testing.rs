//! What the tests of all operators share.

use std::fmt::Debug;

use ec2t_kernels::arch::{ISA_VARIABLE, Isa, isa};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Values between −2 and 2.
pub(crate) fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.next_u32() as f32 / 2f32.powi(30) - 2.0).collect()
}

/// The same values in `f64`.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// What `f` yields, which must be the same in pools of 1, 2 and 3 threads.
pub(crate) fn in_pools<T: Debug + PartialEq + Send>(f: impl Fn() -> T + Sync) -> T {
    let run =
        |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&f);
    let one = run(1);
    assert_eq!(one, run(2), "two threads");
    assert_eq!(one, run(3), "three threads");
    one
}

/// Gradient of a function of `f64` by central differences.
pub(crate) fn gradient(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let centre = x[i];
            let mut at = |value| {
                x[i] = value;
                f(&x)
            };
            let slope = (at(centre + STEP) - at(centre - STEP)) / (2.0 * STEP);
            x[i] = centre;
            slope
        })
        .collect()
}

/// The sum of products: what a gradient `g` of `y` makes of `y`.
pub(crate) fn dot(y: &[f64], g: &[f32]) -> f64 {
    y.iter().zip(g).map(|(y, &g)| y * f64::from(g)).sum()
}

/// Asserts that the largest difference is below 1e-4 of the largest value.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f64]) {
    assert_within(1e-4, found, expected);
}

/// [`assert_close`] with another bound.
#[track_caller]
pub(crate) fn assert_within(bound: f64, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-6, |largest: f64, value| largest.max(value.abs()));
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs() / largest;
        assert!(error <= bound, "value {i}: {found} is not {expected}");
    }
}

/// Runs the unit tests again with each instruction set that is not in use, but
/// for those of convolution, which choose their own.
#[test]
fn every_instruction_set_passes_the_tests() {
    if std::env::var_os(ISA_VARIABLE).is_some() {
        return; // the rerun, or the user's choice
    }
    for other in Isa::available().filter(|other| *other != isa()) {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--skip", "conv::"])
            .env(ISA_VARIABLE, other.name())
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "with {}:\n{log}", other.name());
    }
}
