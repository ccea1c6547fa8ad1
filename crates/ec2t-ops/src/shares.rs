//! Memory that threads take in turn.

use std::sync::{Mutex, PoisonError};

/// Equal parts of a buffer, one for each thread of rayon's pool: work on many
/// chunks of a batch needs no more memory than work on as many as there are
/// threads, and finds it in the cache.
pub(crate) struct Shares<'a>(Mutex<Vec<&'a mut [f32]>>);

impl<'a> Shares<'a> {
    /// How many shares there are.
    pub(crate) fn count() -> usize {
        rayon::current_num_threads()
    }

    /// Cuts a buffer of [`count`](Self::count) shares.
    pub(crate) fn new(buffer: &'a mut [f32]) -> Self {
        let share = (buffer.len() / Self::count()).max(1);
        Self(Mutex::new(buffer.chunks_exact_mut(share).collect()))
    }

    /// Works on a share, which holds what its last user left.
    ///
    /// # Panics
    ///
    /// If more threads than there are shares ask at the same time.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut [f32]) -> T) -> T {
        let shares = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares().pop().expect("a share for each thread");
        let result = work(share);
        shares().push(share);
        result
    }
}
