//! What the processors give: a loop in registers, which shares no memory.
//!
//! With all threads it is as much faster as the machine has processors to itself, which
//! is what the same ratio of a training step is to be held against.

use std::hint::black_box;

use ec2t_ops::chunks::CHUNKS;
use rayon::prelude::*;

use super::{Work, timed};

/// Independent sums, enough to hide how long an addition takes.
const SUMS: usize = 8;
const STEPS: usize = 1 << 21;

/// As many equal parts as a batch has, each a loop of additions and multiplications.
pub(super) fn registers() -> Work {
    let part = |chunk: usize| {
        let mut sums: [f32; SUMS] = black_box([chunk as f32; SUMS]);
        for _ in 0..STEPS {
            sums.iter_mut().for_each(|sum| *sum = *sum * 0.999 + 0.5);
        }
        black_box(sums);
    };
    let run = move || {
        timed(|| {
            (0..CHUNKS).into_par_iter().with_max_len(1).for_each(part);
            Ok(())
        })
    };
    Work { parameters: 0, repetitions: 1, run: Box::new(run) }
}
