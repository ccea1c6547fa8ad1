//! Batches that are made ahead of their use, on a thread of their own.
//!
//! Three batches go round between the thread, which fills them, and their
//! user, who reads one at a time. So memory is bounded and allocated once, and
//! the thread rests while all batches but the one in use are full. It goes on
//! with the next epoch while the user validates.
//!
//! ```
//! use ec2t_data::{BatchOptions, Batches, Loader, LoadOptions, load};
//!
//! let digits = load("digits", &LoadOptions::default())?.train;
//! let options = BatchOptions { size: 32, drop_last: true, seed: 1, augment: Default::default() };
//! let batches = Batches::train(&digits, &[0.5], &[0.5], &options, 0)?;
//! std::thread::scope(|scope| {
//!     let mut loader = Loader::start(scope, batches, 1);
//!     assert_eq!(loader.next_batch()?.labels.len(), 32);
//!     // The other batches are not wanted: the thread ends.
//!     Ok::<(), ec2t_data::DataError>(())
//! })?;
//! # Ok::<(), ec2t_data::DataError>(())
//! ```

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::batches::{Batch, Batches};
use crate::error::DataError;

/// Batches in memory: the one in use, and two ahead of it.
const BUFFERS: usize = 3;

/// The user's end.
pub struct Loader {
    full: Receiver<Result<Batch, DataError>>,
    empty: SyncSender<Batch>,
    current: Option<Batch>,
    wait: Duration,
}

impl Loader {
    /// Starts to load what is left of a pass, and so many passes in all. The
    /// thread ends when the loader is dropped.
    pub fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        batches: Batches<'env>,
        passes: usize,
    ) -> Self {
        // With room for all batches, no sender ever waits.
        let (empty, to_fill) = sync_channel(BUFFERS);
        let (filled, full) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            empty.send(batches.room()).expect("its receiver is in this function");
        }
        scope.spawn(move || fill_all(batches, passes, &to_fill, &filled));
        Self { full, empty, current: None, wait: Duration::ZERO }
    }

    /// The next batch, which takes the place of the last one.
    ///
    /// # Errors
    /// Where a picture cannot be decoded. That ends the thread.
    ///
    /// # Panics
    /// After the last batch of all and after an error, and where the thread has panicked.
    pub fn next_batch(&mut self) -> Result<&Batch, DataError> {
        if let Some(used) = self.current.take() {
            // A thread that has filled its last batch wants no more.
            let _ = self.empty.send(used);
        }
        let asked = Instant::now();
        let batch = self.full.recv().expect("a batch is left, and the thread lives");
        self.wait += asked.elapsed();
        Ok(self.current.insert(batch?))
    }

    /// How long the user has waited for batches since this was last asked.
    pub fn take_wait(&mut self) -> Duration {
        std::mem::take(&mut self.wait)
    }
}

/// The thread: ends after the last pass or an error, or when the other end is gone.
fn fill_all(
    mut batches: Batches,
    passes: usize,
    empty: &Receiver<Batch>,
    full: &SyncSender<Result<Batch, DataError>>,
) {
    for _ in 0..passes {
        while batches.len() > 0 {
            let Ok(mut batch) = empty.recv() else { return };
            let filled = batches.fill(&mut batch).map(|_| batch);
            let failed = filled.is_err();
            if full.send(filled).is_err() || failed {
                return;
            }
        }
        batches.next_pass();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::catch_unwind;

    use super::*;
    use crate::augment::AugmentOptions;
    use crate::batches::BatchOptions;
    use crate::dataset::Dataset;

    fn data() -> Dataset {
        let images = (0..10 * 64).map(|i| (i * 7 % 256) as u8).collect();
        let classes = (0..10).map(|class| class.to_string()).collect();
        Dataset::new("noise", [1, 8, 8], images, (0..10).collect(), classes).unwrap()
    }

    fn batches(data: &Dataset, epoch: u64) -> Batches<'_> {
        let augment = AugmentOptions { hflip: true, crop_pad: 2, ..AugmentOptions::default() };
        let options = BatchOptions { size: 4, drop_last: false, seed: 5, augment };
        Batches::train(data, &[0.5], &[0.25], &options, epoch).unwrap()
    }

    #[test]
    fn loaded_batches_are_those_of_the_passes() {
        let data = data();
        let rest = batches(&data, 3).starting_at(2);
        let all = rest.chain(batches(&data, 4)).chain(batches(&data, 5));
        let expected: Vec<Batch> = all.map(Result::unwrap).collect();
        std::thread::scope(|scope| {
            let mut loader = Loader::start(scope, batches(&data, 3).starting_at(2), 3);
            let mut places = BTreeSet::new();
            for expected in &expected {
                let batch = loader.next_batch().unwrap();
                assert_eq!(batch, expected);
                places.insert(batch.images.as_ptr());
            }
            assert!(places.len() <= BUFFERS, "{} buffers", places.len());
            assert!(loader.take_wait() > Duration::ZERO);
            assert_eq!(loader.take_wait(), Duration::ZERO);
        });
    }

    /// Each of these would hang if the thread did not end with its user.
    #[test]
    fn the_thread_ends_with_its_user() {
        let data = data();
        for steps in [0, 1, 5] {
            std::thread::scope(|scope| {
                let mut loader = Loader::start(scope, batches(&data, 0), usize::MAX);
                for _ in 0..steps {
                    assert_eq!(loader.next_batch().unwrap().images.len() % 64, 0);
                }
            });
        }
        let user = catch_unwind(|| {
            std::thread::scope(|scope| {
                let _loader = Loader::start(scope, batches(&data, 0), usize::MAX);
                panic!("of the user");
            })
        });
        assert_eq!(user.unwrap_err().downcast_ref::<&str>(), Some(&"of the user"));
    }

    #[test]
    #[should_panic(expected = "a batch is left")]
    fn there_is_no_batch_after_the_last() {
        let data = data();
        std::thread::scope(|scope| {
            let mut loader = Loader::start(scope, batches(&data, 0).starting_at(2), 1);
            loader.next_batch().unwrap();
            let _ = loader.next_batch();
        });
    }
}
