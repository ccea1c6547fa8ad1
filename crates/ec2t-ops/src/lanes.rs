//! Vectors over slices of any length, and functions of each element.
//!
//! Slices are read and written a vector at a time, through [`get`] and [`put`],
//! which pass over places behind the end; so no algorithm has a second path for
//! what does not fill a vector. A truth value for each element is kept as one bit:
//! [`LINE`] elements, a whole number of vectors of every instruction set, share
//! a word.

use std::array;
use std::ops::{Deref, Range};

use ec2t_kernels::arch::{Operation, Simd, dispatch};
use rayon::prelude::*;

use crate::chunks::{self, CHUNKS};

/// Elements whose bits share a word.
pub(crate) const LINE: usize = u16::BITS as usize;

/// Pixels whose sum in `f32` is added to a total: one long sum is less exact.
pub(crate) const BLOCK: usize = 64;

/// Number of words that hold a bit for each of `len` values.
pub const fn mask_len(len: usize) -> usize {
    len.div_ceil(LINE)
}

/// The vector at `at`, with zeros behind the end of the values.
#[inline(always)]
pub(crate) fn get<S: Simd>(simd: S, values: &[f32], at: usize) -> S::F32 {
    match values.get(at..at + S::LANES) {
        Some(values) => simd.load(values),
        None => simd.load_partial(values.get(at..).unwrap_or_default()),
    }
}

/// Writes a vector at `at`, up to the end of the values.
#[inline(always)]
pub(crate) fn put<S: Simd>(simd: S, v: S::F32, values: &mut [f32], at: usize) {
    match values.get_mut(at..at + S::LANES) {
        Some(values) => simd.store(v, values),
        None => simd.store_partial(v, values.get_mut(at..).unwrap_or_default()),
    }
}

/// The mask of the vector at `at`, a multiple of the lanes.
#[inline(always)]
pub(crate) fn mask<S: Simd>(simd: S, words: &[u16], at: usize) -> S::Mask {
    let word = words.get(at / LINE).copied().unwrap_or_default();
    simd.mask_from_bits(word >> (at % LINE))
}

/// What a chunk covers of `len` values when whole units stay together.
pub(crate) fn part(len: usize, unit: usize, chunk: usize) -> Range<usize> {
    let units = chunks::images(len.div_ceil(unit), chunk);
    (units.start * unit).min(len)..(units.end * unit).min(len)
}

/// Takes the next values off a slice.
pub(crate) fn take<'a, T>(values: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    values.split_off_mut(..len).expect("operands of equal lengths")
}

/// A function of single elements, that maps `I` inputs and the old values of `O`
/// outputs to the new ones.
pub(crate) trait Pointwise<const I: usize, const O: usize>: Copy + Send + Sync {
    /// The function, of a vector of elements each.
    fn eval<S: Simd>(self, simd: S, inputs: [S::F32; I], outputs: [S::F32; O]) -> [S::F32; O];
}

/// Applies a function to all elements.
///
/// # Panics
///
/// If the slices differ in length.
pub(crate) fn apply<F: Pointwise<I, O>, const I: usize, const O: usize>(
    function: F,
    inputs: [&[f32]; I],
    mut outputs: [&mut [f32]; O],
) {
    let len = outputs[0].len();
    assert!(inputs.iter().all(|input| input.len() == len), "inputs are not {len} values");
    assert!(outputs.iter().all(|output| output.len() == len), "outputs are not {len} values");
    if len <= SERIAL {
        return dispatch(Sweep { function, inputs, outputs });
    }
    let sweeps: [_; CHUNKS] = array::from_fn(|chunk| {
        let part = part(len, LINE, chunk);
        Sweep {
            function,
            inputs: inputs.map(|input| &input[part.clone()]),
            outputs: outputs.each_mut().map(|output| take(output, part.len())),
        }
    });
    sweeps.into_par_iter().for_each(dispatch);
}

/// Values that one thread deals with sooner than others wake up.
pub(crate) const SERIAL: usize = 1 << 14;

struct Sweep<'a, F, const I: usize, const O: usize> {
    function: F,
    inputs: [&'a [f32]; I],
    outputs: [&'a mut [f32]; O],
}

impl<F: Pointwise<I, O>, const I: usize, const O: usize> Operation for Sweep<'_, F, I, O> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        sweep(simd, self.function, self.inputs, self.outputs);
    }
}

/// [`apply`] within an operation: the caller sees to equal lengths.
#[inline(always)]
pub(crate) fn sweep<S: Simd, F: Pointwise<I, O>, const I: usize, const O: usize>(
    simd: S,
    function: F,
    inputs: [&[f32]; I],
    mut outputs: [&mut [f32]; O],
) {
    for at in (0..outputs[0].len()).step_by(S::LANES) {
        let new = function.eval(simd, get_each(simd, &inputs, at), get_each(simd, &outputs, at));
        for (output, v) in outputs.iter_mut().zip(new) {
            put(simd, v, output, at);
        }
    }
}

/// The vectors of several slices at `at`.
///
/// A loop, because closures of [`array::from_fn`] are compiled on their own at
/// times, without the vector instructions.
#[inline(always)]
pub(crate) fn get_each<S: Simd, T: Deref<Target = [f32]>, const N: usize>(
    simd: S,
    slices: &[T; N],
    at: usize,
) -> [S::F32; N] {
    let mut vectors = [simd.splat(0.0); N];
    for (vector, values) in vectors.iter_mut().zip(slices) {
        *vector = get(simd, values, at);
    }
    vectors
}
