//! Places keys without `std`: a second panic handler, from a `std` that anything pulled in, would not compile.
#![no_std]

extern crate alloc;

use alloc::sync::Arc;
use core::alloc::{GlobalAlloc, Layout};

use balancers::{Algorithm, ManualClock, Members, Options, Query, Rng};

/// Where a key belongs, for every algorithm, added up.
#[unsafe(no_mangle)]
pub extern "C" fn places(key: u64) -> usize {
    let place = |algorithm: Algorithm| {
        let members = Members::with_clock([("a", 1), ("b", 2)], Arc::new(ManualClock::new())).ok()?;
        algorithm.build(members, &Options::default()).ok()?.pick(&Query::keyed(key), &mut Rng::new(key))
    };
    Algorithm::ALL.into_iter().filter_map(place).sum()
}

/// A machine with no memory to give: it is built, not run.
struct Nothing;

// SAFETY: null is what an allocator returns that has nothing; so nothing comes back either.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static NOTHING: Nothing = Nothing;

#[panic_handler]
fn stop(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
