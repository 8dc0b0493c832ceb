//! A lock for moments: one atomic exchange to take it, a plain store to give it back.
//!
//! ```text
//!     parking_lot or std    exchange … exchange    the second must see whether somebody sleeps
//!     latch                 exchange … store       nobody sleeps on it, so nobody need be woken
//! ```
//!
//! An exchange costs as much as all else in a lookup that hits, so the second one is worth saving. The price is paid by
//! whoever comes while it is taken: he looks a few times, then lets others run, then sleeps for ever longer moments
//! (at most [`NAP_MAX`]), so that a holder who was preempted, or a slow `Clone`, costs its waiters latency but no
//! processor. Not for what is held long or awaited in order: use a `Mutex`.

use spin::mutex::{SpinMutex, SpinMutexGuard};
use std::time::Duration;

/// See the module's text.
pub(crate) struct Latch<T>(SpinMutex<T>);

/// While it lives, the latch is taken.
pub(crate) type LatchGuard<'a, T> = SpinMutexGuard<'a, T>;

/// Looks before others are let run, each after twice as long as the one before.
const LOOKS: u32 = 7;
/// Times others are let run before the first nap.
const YIELDS: u32 = 32;
/// The longest nap.
const NAP_MAX: Duration = Duration::from_micros(500);

impl<T> Latch<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(SpinMutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> LatchGuard<'_, T> {
        match self.0.try_lock() {
            Some(guard) => guard,
            None => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> LatchGuard<'_, T> {
        let mut nap = Duration::from_micros(5);
        let mut turn = 0_u32;
        loop {
            if turn < LOOKS {
                (0..1 << turn).for_each(|_| std::hint::spin_loop());
            } else if turn < LOOKS + YIELDS {
                std::thread::yield_now();
            } else {
                std::thread::sleep(nap);
                nap = (nap * 2).min(NAP_MAX);
            }
            // Reading first leaves the line with its holder.
            if !self.0.is_locked()
                && let Some(guard) = self.0.try_lock()
            {
                return guard;
            }
            turn = turn.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_and_lets_everybody_in_even_past_a_sleeping_holder() {
        let latch = Latch::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for round in 0..2_000 {
                        let mut held = latch.lock();
                        let before = *held;
                        if round % 500 == 0 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        *held = before + 1;
                    }
                });
            }
        });
        assert_eq!(*latch.lock(), 16_000);
    }

    #[test]
    fn a_panic_gives_it_back() {
        let latch = Latch::new(7);
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = latch.lock();
            panic!("while holding the latch");
        }));
        assert!(held.is_err());
        assert_eq!(*latch.lock(), 7);
    }
}
