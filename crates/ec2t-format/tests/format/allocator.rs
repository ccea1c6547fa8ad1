//! Counts what a thread allocates, so that tests can see that a reader stays
//! within its budget.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, watched.
struct Watched;

#[global_allocator]
static WATCHED: Watched = Watched;

thread_local! {
    /// Bytes that this thread has allocated and not freed; below zero where it
    /// frees what others have allocated.
    static HELD: Cell<isize> = const { Cell::new(0) };
    /// The largest value of `HELD` since that was last asked for.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: both functions are the system's; the counters do not allocate.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get() + layout.size() as isize;
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        // SAFETY: the caller's promises are those that the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: as above; the pointer comes from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A function's result, and the most bytes that it held at any moment.
pub(crate) fn peak<T>(function: impl FnOnce() -> T) -> (T, u64) {
    let before = HELD.get();
    PEAK.set(before);
    let result = function();
    (result, (PEAK.get() - before) as u64)
}

#[test]
fn growing_counts_old_and_new() {
    let (kept, most) = peak(|| {
        drop(vec![0u8; 1000]);
        let mut bytes = vec![0u8; 300];
        bytes.reserve_exact(300);
        bytes
    });
    assert_eq!((kept.len(), most), (300, 1000));
    let (_, most) = peak(|| {
        let mut bytes = vec![0u8; 1000];
        bytes.reserve_exact(1000);
        bytes
    });
    assert_eq!(most, 1000 + 2000);
}
