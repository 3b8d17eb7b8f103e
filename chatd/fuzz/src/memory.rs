//! How much memory a thread takes: an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Held now; below zero where a thread frees what another allocated.
    static HELD: Cell<isize> = const { Cell::new(0) };
    /// The most held.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// What `work` gives, and the most memory that this thread holds at one time for `work`, beyond what it held before.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, usize::try_from(PEAK.get().saturating_sub(before)).unwrap_or_default())
}

/// The system's, counted.
#[derive(Debug)]
pub(crate) struct Counted;

fn took(bytes: usize) {
    let held = HELD.get().saturating_add_unsigned(bytes);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

fn gave(bytes: usize) {
    HELD.set(HELD.get().saturating_sub_unsigned(bytes));
}

// SAFETY: every call is passed on to the system's allocator unchanged. Counting neither allocates nor panics: the cells
// are initialised at compile time and have no destructor.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise about `layout` is the one that is asked for here; so below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may be there at one time.
        took(size);
        gave(layout.size());
        // SAFETY: as above; `block` is one of the system's.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: as above; `block` is one of the system's.
        unsafe { System.dealloc(block, layout) }
    }
}
