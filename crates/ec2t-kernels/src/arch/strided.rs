//! Pieces of a slice at even distances, with one check of the bounds for all.

use std::iter;

/// The `count` pieces of `width` values that begin `step` values apart, the first
/// at the start. All have the length `width`: where that is a constant, loads
/// from the pieces need no check of their own, which inner loops live on.
///
/// ```
/// use ec2t_kernels::arch::strided;
///
/// let pieces: Vec<_> = strided(&[0.0, 1.0, 2.0, 3.0, 4.0], 3, 2, 2).collect();
/// assert_eq!(pieces, [[0.0, 1.0], [3.0, 4.0]]);
/// ```
///
/// # Panics
///
/// If the last piece ends beyond the values.
#[inline(always)]
pub fn strided<T>(
    values: &[T],
    step: usize,
    width: usize,
    count: usize,
) -> impl Iterator<Item = &[T]> {
    let last = count.saturating_sub(1).checked_mul(step).expect("values fit into memory");
    let room = values.len().checked_sub(last).is_some_and(|room| width <= room);
    assert!(room || count == 0, "pieces out of bounds");
    let mut start = 0_usize;
    iter::repeat_n((), count).map(move |()| {
        // SAFETY: the closure runs at most `count` times, so `start ≤ last`, and
        // `width` values follow `last`.
        let piece = unsafe { values.get_unchecked(start..start.unchecked_add(width)) };
        start = start.wrapping_add(step);
        piece
    })
}
