//! Memory that begins with a line of the cache.

/// Values of a line of the cache.
const LINE: usize = 64 / size_of::<f32>();

/// Values whose vectors do not cross lines of the cache, since the first one begins one.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    values: Vec<f32>,
    start: usize,
}

impl Aligned {
    /// Zeros.
    pub(crate) fn new(len: usize) -> Self {
        let values = vec![0.0; len + LINE];
        let start = values.as_ptr().align_offset(64).min(LINE);
        Self { values, start }
    }

    /// The first values.
    pub(crate) fn first(&self, len: usize) -> &[f32] {
        &self.values[self.start..][..len]
    }

    /// The first values.
    pub(crate) fn first_mut(&mut self, len: usize) -> &mut [f32] {
        &mut self.values[self.start..][..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_begin_a_line() {
        for len in [0, 1, 100] {
            let mut values = Aligned::new(len);
            assert!(values.first(len).as_ptr().addr().is_multiple_of(64));
            values.first_mut(len).fill(1.0);
            assert_eq!(values.first(len), vec![1.0; len]);
        }
    }
}
