//! One step on several threads.
//!
//! A step is halved until there is a part for each thread, and each half offered to the
//! rayon pool by [`rayon::join`]. Steps take some ten microseconds, so what counts is how
//! soon another thread takes a half and how soon its end is seen. Rayon's idle threads
//! give the processor away between any two looks (half a microsecond on Linux), and
//! sleep after thirty. So other threads are kept awake while an image is computed, and
//! who waits for a half looks for its end itself. Both give up after some microseconds,
//! so none waits for what others will never do. If nobody takes a half, the caller
//! computes it, and loses next to nothing.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// States of a second half.
const WAITING: u8 = 0;
const STARTED: u8 = 1;
const ENDED: u8 = 2;

/// How often a thread looks whether the other half has ended, before it leaves the
/// waiting to rayon: some microseconds.
const LOOKS: usize = 200;

/// Waits a little for a second half that another thread has begun.
fn wait_for_end(state: &AtomicU8) {
    for _ in 0..LOOKS {
        if state.load(Ordering::Relaxed) != STARTED {
            break;
        }
        hint::spin_loop();
    }
}

/// How often a helper looks for something to do, in vain, before it leaves that to rayon:
/// some ten microseconds.
const SEARCHES: usize = 300;

/// Runs work that calls [`run_parts`] in the rayon pool, while so many threads with
/// itself are kept awake.
pub(crate) fn with_helpers(threads: usize, work: &mut (dyn FnMut() + Send)) {
    let is_over = AtomicBool::new(false);
    keep_awake(threads, &is_over, work);
}

fn keep_awake(threads: usize, is_over: &AtomicBool, work: &mut (dyn FnMut() + Send)) {
    match threads {
        0 | 1 => {
            let _over = Over(is_over);
            work();
        }
        _ => {
            rayon::join(|| keep_awake(threads - 1, is_over, work), || help(is_over));
        }
    }
}

/// Calls off the helpers, also when work panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes up what the pool has to do, until the work is over or there is nothing for a
/// while.
fn help(is_over: &AtomicBool) {
    let mut searches = 0;
    while searches < SEARCHES && !is_over.load(Ordering::Relaxed) {
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => searches = 0,
            _ => searches += 1,
        }
        hint::spin_loop();
    }
}

/// Runs the parts of something for as many threads as there are workspaces.
///
/// `split` parts something in two, for so many threads each, unless it is too small.
pub(crate) fn run_parts<P: Send>(
    whole: P,
    workspaces: &mut [Vec<f32>],
    split: &(impl Fn(P, [usize; 2]) -> (P, Option<P>) + Sync),
    run: &(impl Fn(P, &mut [f32]) + Sync),
) {
    let (first_half, second_half) = workspaces.split_at_mut(workspaces.len().div_ceil(2));
    let parts = match second_half.len() {
        0 => (whole, None),
        threads => split(whole, [first_half.len(), threads]),
    };
    match parts {
        (whole, None) => run(whole, &mut first_half[0]),
        (first, Some(second)) => {
            let state = AtomicU8::new(WAITING);
            rayon::join(
                || {
                    run_parts(first, first_half, split, run);
                    wait_for_end(&state);
                },
                || {
                    state.store(STARTED, Ordering::Relaxed);
                    run_parts(second, second_half, split, run);
                    state.store(ENDED, Ordering::Relaxed);
                },
            );
        }
    }
}

/// Some outputs of a matrix product.
pub(crate) struct Outputs<'a> {
    /// Position of the first.
    pub(crate) first: usize,
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) values: &'a mut [f32],
}

impl Outputs<'_> {
    /// Splits them for so many threads each.
    pub(crate) fn split(self, [first, second]: [usize; 2]) -> (Self, Option<Self>) {
        let Self { first: start, residual, values } = self;
        let middle = values.len() * first / (first + second);
        let [before, after] = match residual.map(|residual| residual.split_at(middle)) {
            Some((before, after)) => [Some(before), Some(after)],
            None => [None; 2],
        };
        let (values, rest) = values.split_at_mut(middle);
        let second = Self { first: start + middle, residual: after, values: rest };
        (Self { first: start, residual: before, values }, Some(second))
    }
}
