//! How much memory a call takes at its highest: an allocator that counts, each thread for itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    /// Bytes that this thread has taken and not given back. It may fall below zero, since what one
    /// thread takes another may give back.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static HIGHEST: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: isize) {
    // A thread that is ending has nothing to count with any more.
    let held = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        held.get()
    });
    if let Ok(held) = held {
        let _ = HIGHEST.try_with(|highest| highest.set(highest.get().max(held)));
    }
}

// Safety: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(memory, layout) }
    }

    // For a moment both may be there, the old block and the new one.
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize);
        let memory = unsafe { System.realloc(memory, layout, size) };
        count(-(layout.size() as isize));
        memory
    }
}

/// Does it, and checks that at no time it held more than `most` bytes beyond what was held before.
pub fn within<T>(most: usize, call: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    HIGHEST.set(before);
    let result = call();
    let taken = HIGHEST.get() - before;
    assert!(taken <= most as isize, "{taken} bytes were taken, and {most} are the most");
    result
}
