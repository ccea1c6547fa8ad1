//! Memory for activations and their gradients.

use std::collections::BTreeMap;

/// Buffers that nobody uses at the moment, by their length.
///
/// A training step takes and gives back the same lengths in the same order each
/// time, so after the first step every buffer that is asked for is there.
#[derive(Default)]
pub(super) struct Pool(BTreeMap<usize, Vec<Vec<f32>>>);

impl Pool {
    /// A buffer of this length, with values left over from earlier use.
    pub(super) fn take(&mut self, len: usize) -> Vec<f32> {
        let free = self.0.get_mut(&len).and_then(Vec::pop);
        free.unwrap_or_else(|| vec![0.0; len])
    }

    /// Gives a buffer back.
    pub(super) fn put(&mut self, buffer: Vec<f32>) {
        if !buffer.is_empty() {
            self.0.entry(buffer.len()).or_default().push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_given_back_is_used_again() {
        let mut pool = Pool::default();
        let buffer = pool.take(100);
        let place = buffer.as_ptr();
        pool.put(buffer);
        let (other, again) = (pool.take(99), pool.take(100));
        assert_ne!(other.as_ptr(), place);
        assert_eq!(again.as_ptr(), place);
    }
}
