//! Access to the values of candle tensors on the CPU.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// Images, channels or chunks are dealt to at most this many tasks; a constant,
/// so that sums over tasks have the same order on every machine.
pub(super) const CHUNKS: usize = 16;

/// The values of a contiguous f32 operand.
pub(super) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("operand of shape {:?} is not contiguous", layout.shape()),
    }
}

/// Calls `f` with the values of a tensor, copied first where they are not
/// contiguous.
pub(super) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(values(storage, layout)?),
        _ => bail!("expected a tensor on the CPU"),
    }
}

/// Sum of a slice: eight running sums in f32, which vectorise, then f64.
pub(super) fn sum(values: &[f32]) -> f64 {
    sum_with(values, |x| x)
}

/// Sum of `f` over a slice, as [`sum`].
pub(super) fn sum_with(values: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; 8];
    let (blocks, tail) = values.as_chunks::<8>();
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane += f(value);
        }
    }
    let tail: f64 = tail.iter().map(|&value| f64::from(f(value))).sum();
    lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + tail
}

/// Sum of the products of two slices, as [`sum`].
pub(super) fn dot(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0f32; 8];
    let (a_blocks, a_tail) = a.as_chunks::<8>();
    let (b_blocks, b_tail) = b.as_chunks::<8>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    let tail: f64 = a_tail.iter().zip(b_tail).map(|(&a, &b)| f64::from(f(a, b))).sum();
    lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + tail
}
