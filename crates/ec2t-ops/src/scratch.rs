//! Memory that operators work in, kept by the caller.

/// Values per 64-byte line of the cache, which is also the longest vector.
const LINE: usize = 16;

/// A buffer that grows to the largest request and is then used again: operators
/// that get the same scratch at every step allocate in the first one only.
///
/// ```
/// let mut scratch = ec2t_ops::Scratch::new();
/// let (floats, doubles) = scratch.take(100, 10);
/// assert_eq!((floats.len(), doubles.len()), (100, 10));
/// assert!(floats.as_ptr().addr().is_multiple_of(64));
/// ```
#[derive(Debug, Default)]
pub struct Scratch {
    floats: Vec<f32>,
    doubles: Vec<f64>,
}

impl Scratch {
    /// An empty scratch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Values to work in. The floats start at a multiple of 64 bytes. They hold
    /// what the last user left.
    pub fn take(&mut self, floats: usize, doubles: usize) -> (&mut [f32], &mut [f64]) {
        grow(&mut self.floats, floats + LINE);
        grow(&mut self.doubles, doubles);
        let start = self.floats.as_ptr().align_offset(LINE * size_of::<f32>());
        (&mut self.floats[start..start + floats], &mut self.doubles[..doubles])
    }
}

/// Replaces a buffer that is too short by a longer one; the values are lost.
fn grow<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        *buffer = Vec::new();
        *buffer = vec![T::default(); len];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_and_aligned() {
        let mut scratch = Scratch::new();
        let largest = scratch.take(1000, 50).0.as_ptr();
        for floats in [1, 999, 1000] {
            let (values, _) = scratch.take(floats, 0);
            assert_eq!((values.as_ptr(), values.len()), (largest, floats));
        }
        assert!(scratch.take(5000, 0).0.as_ptr().addr().is_multiple_of(64));
    }
}
