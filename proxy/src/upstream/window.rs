//! Counts of the last ten seconds, without a lock: a ring of seconds, each of which forgets when its time comes again.
//!
//! ```text
//!   slot = second mod 10        slot: second (32 bits) | count (32 bits)
//! ```
//!
//! An addition is one read and one relaxed addition, and a compare-and-swap once a second. Two threads that meet at the
//! turn of a second may lose a count: what is decided by these numbers does not hang on one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many things happened in the last [`SECONDS`].
#[derive(Debug, Default)]
pub(crate) struct Window {
    slots: [AtomicU64; SECONDS as usize],
}

impl Window {
    /// One more, at `second` since whenever.
    pub(crate) fn add(&self, second: u32) {
        let slot = &self.slots[(second % SECONDS) as usize];
        let seen = slot.load(Relaxed);
        let fresh = u64::from(second) << 32 | 1;
        let is_this_second = seen >> 32 == u64::from(second);
        // Whoever fails to begin the second has been overtaken by somebody who did.
        if is_this_second || slot.compare_exchange(seen, fresh, Relaxed, Relaxed).is_err() {
            slot.fetch_add(1, Relaxed);
        }
    }

    /// All that happened from `second` − 9 to `second`.
    pub(crate) fn sum(&self, second: u32) -> u64 {
        let counts = self.slots.iter().map(|slot| slot.load(Relaxed));
        let recent = counts.filter(|slot| second.wrapping_sub((slot >> 32) as u32) < SECONDS);
        recent.map(|slot| slot & u64::from(u32::MAX)).sum()
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        for slot in &self.slots {
            slot.store(0, Relaxed);
        }
    }
}

/// How far back it remembers.
pub(crate) const SECONDS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_what_a_list_of_seconds_counts(mut seconds in prop::collection::vec(100u32..150, 0..200)) {
            seconds.sort_unstable();
            let window = Window::default();
            for &second in &seconds {
                window.add(second);
            }
            let now = seconds.last().copied().unwrap_or(100);
            let recent = seconds.iter().filter(|&&second| now - second < SECONDS).count();
            prop_assert_eq!(window.sum(now), recent as u64);
        }
    }

    #[test]
    fn forgets_after_ten_seconds() {
        let window = Window::default();
        window.add(100);
        assert_eq!((window.sum(109), window.sum(110)), (1, 0));
        window.clear();
        assert_eq!(window.sum(100), 0);
    }
}
