//! The numbers of a member that change while it is picked: requests in flight, health, latency.
//!
//! One padded line per member, shared by id between all sets a pool goes through, so that an update never resets a
//! count. Picks and requests in flight share one word: counting both costs one addition.
//!
//! ```text
//!     counts  = picks (40 bits) | in flight (24 bits)        + one pick = 2^24 + 1       a lease's end = − 1
//!     ledger  = changes (32 bits) | in flight in all (32 bits)                 kept for bounded load only
//!     share   = CLOSED (down, draining) · RAMPING (slow start) · OPEN          what the fast path looks at
//! ```

use alloc::sync::Arc;
use core::time::Duration;

use crate::clock::{Clock, nanos};
use crate::hash::mix;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How a request ended, told to [`Lease::finish`](crate::Lease::finish).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// From the pick to the answer.
    pub latency: Duration,
    /// Whether the member did its work. A failure is charged as a long latency, so that failing fast attracts nothing.
    pub ok: bool,
}

/// One member's live numbers.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Live {
    counts: AtomicU64,
    share: AtomicU32,
    is_up: AtomicBool,
    is_draining: AtomicBool,
    ramp_from: AtomicU64,
    latency_ns: AtomicU64,
    seen_at: AtomicU64,
    number: u64,
    shared: Arc<Shared>,
}

impl Live {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            counts: AtomicU64::new(0),
            share: AtomicU32::new(OPEN),
            is_up: AtomicBool::new(true),
            is_draining: AtomicBool::new(false),
            ramp_from: AtomicU64::new(0),
            latency_ns: AtomicU64::new(0),
            seen_at: AtomicU64::new(0),
            number: shared.numbers.fetch_add(1, Ordering::Relaxed),
            shared: Arc::clone(shared),
        }
    }

    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        (self.counts.load(Ordering::Relaxed) & (PICK - 1)) as u32
    }

    /// As `in_flight`, in one order with the ledger.
    pub(crate) fn in_flight_now(&self) -> u32 {
        (self.counts.load(Ordering::SeqCst) & (PICK - 1)) as u32
    }

    pub(crate) fn picks(&self) -> u64 {
        self.counts.load(Ordering::Relaxed) / PICK
    }

    /// Counts one request more.
    #[inline]
    pub(crate) fn start(&self) {
        // Relaxed: the counts order nothing else; whoever reads them wants a number, not a happened-before.
        self.counts.fetch_add(PICK + 1, Ordering::Relaxed);
        if self.shared.keeps_ledger() {
            self.shared.ledger.fetch_add(CHANGE + 1, Ordering::SeqCst);
        }
    }

    /// Counts one request less.
    #[inline]
    pub(crate) fn end(&self) {
        if self.shared.keeps_ledger() {
            // First the ledger, then the member: in between, the member seems fuller than it is, never emptier.
            self.shared.ledger.fetch_add(CHANGE - 1, Ordering::SeqCst);
            self.counts.fetch_sub(1, Ordering::SeqCst);
        } else {
            self.counts.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts one request more if fewer than `ceiling` are in flight; the ledger is left to the caller.
    pub(crate) fn start_below(&self, ceiling: u64) -> bool {
        let more = |counts| (counts & (PICK - 1) < ceiling).then_some(counts + PICK + 1);
        self.counts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Takes a `start_below` back, as if it had not been.
    pub(crate) fn unstart(&self) {
        self.counts.fetch_sub(PICK + 1, Ordering::SeqCst);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Neither down nor draining: it takes picks, if perhaps few.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.share.load(Ordering::Relaxed) != CLOSED
    }

    /// Takes its full share of picks.
    #[inline]
    pub(crate) fn is_wide_open(&self) -> bool {
        self.share.load(Ordering::Relaxed) == OPEN
    }

    /// Whether a member that is not wide open takes this pick. `lot` decides while it ramps up.
    #[cold]
    pub(crate) fn admits(&self, lot: u64) -> bool {
        match self.share.load(Ordering::Relaxed) {
            OPEN => true,
            RAMPING => {
                let since =
                    nanos(self.shared.clock.now()).saturating_sub(self.ramp_from.load(Ordering::Relaxed));
                if since >= self.shared.slow_start_ns {
                    self.share.store(OPEN, Ordering::Relaxed);
                    return true;
                }
                let part = (u128::from(since) << 32) / u128::from(self.shared.slow_start_ns);
                mix(lot, self.number) >> 32 < (part as u64).max(RAMP_FLOOR)
            }
            _ => false,
        }
    }

    /// Records whether the member is up; returns whether that is new. `settle` makes it count.
    pub(crate) fn set_up(&self, is_up: bool) -> bool {
        if is_up && !self.is_up() {
            self.ramp_from.store(nanos(self.shared.clock.now()), Ordering::Relaxed);
        }
        self.is_up.swap(is_up, Ordering::Relaxed) != is_up
    }

    /// Records whether the member drains; returns whether it did. `settle` makes it count.
    pub(crate) fn set_draining(&self, is_draining: bool) -> bool {
        let did = self.is_draining.swap(is_draining, Ordering::Relaxed);
        if did && !is_draining {
            self.ramp_from.store(nanos(self.shared.clock.now()), Ordering::Relaxed);
        }
        did
    }

    /// A member new to a pool that is at work ramps up like one that returns.
    pub(crate) fn join_slowly(&self) {
        self.ramp_from.store(nanos(self.shared.clock.now()), Ordering::Relaxed);
        self.share.store(RAMPING, Ordering::Relaxed);
    }

    /// Takes a finished request's latency into the mean.
    pub(crate) fn observe(&self, outcome: Outcome) {
        let now = nanos(self.shared.clock.now());
        let since = now.saturating_sub(self.seen_at.swap(now, Ordering::Relaxed));
        let latency = nanos(outcome.latency).max(1);
        let mean = |mean: u64| Some(if mean == 0 { latency } else { blend(mean, latency, since) });
        let _ = self.latency_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, mean);
    }

    /// The mean latency, weighted towards now.
    pub(crate) fn latency(&self) -> Option<Duration> {
        let mean = self.latency_ns.load(Ordering::Relaxed);
        (mean != 0).then(|| Duration::from_nanos(mean))
    }

    /// Makes the recorded state count for picks. In a panic the down count as up.
    pub(crate) fn settle(&self, panic: bool) {
        let ramps = |live: &Self| live.share.load(Ordering::Relaxed) != OPEN && live.shared.slow_start_ns > 0;
        let share = match (self.is_draining(), self.is_up()) {
            (true, _) => CLOSED,
            (false, true) if ramps(self) => RAMPING,
            (false, false) if !panic => CLOSED,
            (false, _) => OPEN,
        };
        self.share.store(share, Ordering::Relaxed);
    }
}

/// What the members of a pool share, in all the sets it goes through.
#[derive(Debug)]
pub(crate) struct Shared {
    numbers: AtomicU64,
    keeps_ledger: AtomicBool,
    slow_start_ns: u64,
    clock: Arc<dyn Clock>,
    open_weight: AtomicU64,
    ledger: Ledger,
}

/// On a line of its own: bounded picks write it, everyone reads what stands beside it.
#[derive(Debug)]
#[repr(align(64))]
struct Ledger(AtomicU64);

impl core::ops::Deref for Ledger {
    type Target = AtomicU64;

    fn deref(&self) -> &AtomicU64 {
        &self.0
    }
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>, slow_start: Duration) -> Self {
        Self {
            numbers: AtomicU64::new(1),
            keeps_ledger: AtomicBool::new(false),
            slow_start_ns: nanos(slow_start),
            clock,
            open_weight: AtomicU64::new(0),
            ledger: Ledger(AtomicU64::new(0)),
        }
    }

    /// From now on all that is in flight is counted in one place; `in_flight` is in flight already.
    pub(crate) fn keep_ledger(&self, in_flight: u64) {
        if !self.keeps_ledger.swap(true, Ordering::SeqCst) {
            self.ledger.store(in_flight & TOTAL, Ordering::SeqCst);
        }
    }

    #[inline]
    fn keeps_ledger(&self) -> bool {
        self.keeps_ledger.load(Ordering::Relaxed)
    }

    /// The ledger as it stands: hand it back to [`Self::enter`].
    #[inline]
    pub(crate) fn ledger(&self) -> u64 {
        self.ledger.load(Ordering::SeqCst)
    }

    /// Adds one to the total if nothing has changed since the ledger read `seen`.
    #[inline]
    pub(crate) fn enter(&self, seen: u64) -> Result<u64, u64> {
        let next = seen.wrapping_add(CHANGE + 1);
        self.ledger.compare_exchange(seen, next, Ordering::SeqCst, Ordering::SeqCst)
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

/// The mean after a sample that comes `since` the last one: x / (1 + x) stands in for 1 − e⁻ˣ.
fn blend(mean: u64, sample: u64, since: u64) -> u64 {
    let (mean, sample, since) = (u128::from(mean), u128::from(sample), u128::from(since));
    let next = (mean * u128::from(MEMORY_NS) + sample * since) / (u128::from(MEMORY_NS) + since);
    (next as u64).max(1)
}

/// How many requests are in flight in all, of a ledger's word.
#[inline]
pub(crate) const fn total(ledger: u64) -> u64 {
    ledger & TOTAL
}

/// How long a latency is remembered.
const MEMORY_NS: u64 = 10_000_000_000;
const PICK: u64 = 1 << 24;
const CHANGE: u64 = 1 << 32;
const TOTAL: u64 = CHANGE - 1;
const CLOSED: u32 = 0;
const RAMPING: u32 = 1;
const OPEN: u32 = 2;
/// A ramping member starts at a sixteenth of its share: with none at all nobody would learn whether it works.
const RAMP_FLOOR: u64 = (1 << 32) / 16;
