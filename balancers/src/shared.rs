//! What the members of a pool share, in all the sets it goes through: settings, the total in flight, the time.

use alloc::sync::Arc;
use core::time::Duration;

use crate::clock::{Clock, nanos};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Shared by all members of one pool or one stand-alone set.
#[derive(Debug)]
pub(crate) struct Shared {
    clock: Arc<dyn Clock>,
    slow_start: u64,
    memory: u64,
    failure: u64,
    keeps_ledger: AtomicBool,
    wants_leaves: AtomicBool,
    counts_peaks: AtomicBool,
    state: AtomicU64,
    panic: AtomicBool,
    open_weight: AtomicU64,
    numbers: AtomicU64,
    recently: AtomicU64,
    ledger: Ledger,
}

/// How fast things are learnt and forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) slow_start: Duration,
    pub(crate) memory: Duration,
    pub(crate) failure: Duration,
}

/// On a line of its own: bounded picks write it, everyone reads what stands beside it.
#[derive(Debug)]
#[repr(align(64))]
struct Ledger(AtomicU64);

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>, pace: Pace) -> Self {
        Self {
            clock,
            slow_start: nanos(pace.slow_start),
            memory: nanos(pace.memory).max(1),
            failure: nanos(pace.failure).max(1),
            keeps_ledger: AtomicBool::new(false),
            wants_leaves: AtomicBool::new(false),
            counts_peaks: AtomicBool::new(false),
            state: AtomicU64::new(0),
            panic: AtomicBool::new(false),
            open_weight: AtomicU64::new(0),
            numbers: AtomicU64::new(1),
            recently: AtomicU64::new(0),
            ledger: Ledger(AtomicU64::new(0)),
        }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> u64 {
        nanos(self.clock.now())
    }

    /// Reads the clock and keeps the time for those who only need it roughly.
    pub(crate) fn notice_time(&self) -> u64 {
        let now = self.now();
        // Rarely written, so that the line stays in everybody's cache.
        if now.saturating_sub(self.recently()) > GRAIN {
            self.recently.store(now, Ordering::Relaxed);
        }
        now
    }

    /// When a request last finished, within a millisecond.
    #[inline]
    pub(crate) fn recently(&self) -> u64 {
        self.recently.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn slow_start(&self) -> u64 {
        self.slow_start
    }

    #[inline]
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    #[inline]
    pub(crate) fn failure(&self) -> u64 {
        self.failure
    }

    /// From now on all that is in flight is counted in one place; `in_flight` is in flight already.
    pub(crate) fn keep_ledger(&self, in_flight: u64) {
        if !self.keeps_ledger.swap(true, Ordering::SeqCst) {
            self.ledger.0.store(in_flight & TOTAL, Ordering::SeqCst);
        }
    }

    #[inline]
    pub(crate) fn keeps_ledger(&self) -> bool {
        self.keeps_ledger.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn note_start(&self) {
        self.ledger.0.fetch_add(CHANGE + 1, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn note_end(&self) {
        self.ledger.0.fetch_add(CHANGE - 1, Ordering::SeqCst);
    }

    /// The ledger as it stands: hand it back to [`Self::enter`].
    #[inline]
    pub(crate) fn ledger(&self) -> u64 {
        self.ledger.0.load(Ordering::SeqCst)
    }

    /// Adds one to the total if nothing has changed since the ledger read `seen`.
    #[inline]
    pub(crate) fn enter(&self, seen: u64) -> Result<u64, u64> {
        let next = seen.wrapping_add(CHANGE + 1);
        self.ledger.0.compare_exchange(seen, next, Ordering::SeqCst, Ordering::SeqCst)
    }

    /// From now on members that join get a leaf in a tree of minima, where the pool can give them one.
    pub(crate) fn want_leaves(&self) {
        self.wants_leaves.store(true, Ordering::Relaxed);
    }

    #[cfg(feature = "std")]
    pub(crate) fn wants_leaves(&self) -> bool {
        self.wants_leaves.load(Ordering::Relaxed)
    }

    /// Whether the down count as up.
    pub(crate) fn panic(&self) -> bool {
        self.panic.load(Ordering::Relaxed)
    }

    pub(crate) fn set_panic(&self, panic: bool) {
        self.panic.store(panic, Ordering::Relaxed);
    }

    /// Which set of members is the newest, and how many members are not well: one number, so that a reader that compares
    /// it knows both. Read it before the set: if an update comes in between, the number is an old one, and the next look
    /// at it says so.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    /// Whether all members take their full share: then no pick need look at any.
    #[inline]
    pub(crate) fn all_open(&self) -> bool {
        State(self.state.load(Ordering::Relaxed)).all_open()
    }

    /// There is a newer set of members. After it has been put in place: whoever sees the new number finds it.
    #[cfg(feature = "std")]
    pub(crate) fn one_update(&self) {
        self.state.fetch_add(UPDATE, Ordering::SeqCst);
    }

    pub(crate) fn one_closed(&self) {
        self.state.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn one_opened(&self) {
        self.state.fetch_sub(1, Ordering::SeqCst);
    }

    /// From now on a latency above the mean becomes the mean.
    pub(crate) fn count_peaks(&self) {
        self.counts_peaks.store(true, Ordering::Relaxed);
    }

    pub(crate) fn counts_peaks(&self) -> bool {
        self.counts_peaks.load(Ordering::Relaxed)
    }

    /// The weight of all members that are open.
    #[inline]
    pub(crate) fn open_weight(&self) -> u64 {
        self.open_weight.load(Ordering::Relaxed)
    }

    pub(crate) fn set_open_weight(&self, weight: u64) {
        self.open_weight.store(weight, Ordering::Relaxed);
    }
}

/// What [`Shared::state`] says: updates (42 bits) | members of which not all is well (22 bits, of two sets at most).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(u64);

impl State {
    /// Whether all members take their full share.
    #[inline]
    pub(crate) fn all_open(self) -> bool {
        self.0 & (UPDATE - 1) == 0
    }

    /// The same set, with everybody at full share.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn well(self) -> Self {
        Self(self.0 & !(UPDATE - 1))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { slow_start: Duration::ZERO, memory: Duration::from_secs(10), failure: Duration::from_secs(1) }
    }
}

/// How many requests are in flight in all, of a ledger's word.
#[inline]
pub(crate) const fn total(ledger: u64) -> u64 {
    ledger & TOTAL
}

const UPDATE: u64 = 1 << 22;
const CHANGE: u64 = 1 << 32;
const TOTAL: u64 = CHANGE - 1;
const GRAIN: u64 = 1_000_000;

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn of_a_state_only_the_number_of_the_ill_is_mended() {
        let state = State(5 * UPDATE + 3);
        assert_eq!((state.well(), state.all_open()), (State(5 * UPDATE), false));
        assert_eq!((state.well().well(), state.well().all_open()), (State(5 * UPDATE), true));
    }
}
