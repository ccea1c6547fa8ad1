//! Which buffer holds which value, and when it is free again.

/// Buffers of one session, handed out and returned while a plan is made.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    lens: Vec<usize>,
    free: Vec<usize>,
}

impl Buffers {
    /// Takes a free buffer for `len` values: the smallest that is long enough,
    /// else the longest, which grows, else a new one.
    pub(crate) fn take(&mut self, len: usize) -> usize {
        let fit = |&position: &usize| {
            let held = self.lens[self.free[position]];
            (held < len, held.abs_diff(len))
        };
        let buffer = match (0..self.free.len()).min_by_key(fit) {
            Some(position) => self.free.swap_remove(position),
            None => {
                self.lens.push(0);
                self.lens.len() - 1
            }
        };
        self.lens[buffer] = self.lens[buffer].max(len);
        buffer
    }

    /// Returns a buffer whose value nobody reads any more.
    pub(crate) fn release(&mut self, buffer: usize) {
        self.free.push(buffer);
    }

    /// Length of every buffer.
    pub(crate) fn into_lens(self) -> Vec<usize> {
        self.lens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_free_buffer_is_reused() {
        let mut buffers = Buffers::default();
        let [small, large] = [10, 100].map(|len| buffers.take(len));
        buffers.release(large);
        buffers.release(small);
        assert_eq!(buffers.take(8), small);
        assert_eq!(buffers.take(8), large);
        buffers.release(small);
        assert_eq!(buffers.take(50), small);
        assert_eq!(buffers.into_lens(), [50, 100]);
    }
}
