//! The numbers of a member that change while it is picked: requests in flight, health, latency.
//!
//! One padded line per member, shared by id between all sets a pool goes through, so that an update never resets a
//! count. Picks and requests in flight share one word: counting both costs one addition.
//!
//! ```text
//!     counts  = picks (40 bits) | in flight (24 bits)        + one pick = 2^24 + 1       a lease's end = − 1
//!     ledger  = changes (32 bits) | in flight in all (32 bits)                 kept for bounded load only
//!     share   = CLOSED (down, draining) · RAMPING (slow start) · OPEN · GONE (removed; old sets may still offer it)
//! ```
//!
//! Limit: 16,777,215 requests in flight at one member.

use alloc::sync::Arc;
use core::time::Duration;

use crate::clock::nanos;
use crate::hash::mix;
use crate::shared::Shared;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::tournament::{self, Tournament};

/// How a request ended, told to [`Lease::finish`](crate::Lease::finish).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// From the pick to the answer.
    pub latency: Duration,
    /// Whether the member did its work. A failure is charged as a long latency, so that failing fast attracts nothing.
    pub ok: bool,
}

/// One member's live numbers. In this order, so that all that a pick and a lease's end touch is on the first line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Live {
    counts: AtomicU64,
    share: AtomicU32,
    weight: AtomicU32,
    latency_ns: AtomicU64,
    seen_at: AtomicU64,
    samples: AtomicU32,
    shared: Arc<Shared>,
    leaf: Option<Leaf>,
    number: u64,
    ramp_from: AtomicU64,
    is_up: AtomicBool,
    is_draining: AtomicBool,
}

/// Where a member's load stands in a tree of minima.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) tree: Arc<Tournament>,
    pub(crate) at: u32,
}

impl Live {
    pub(crate) fn new(shared: &Arc<Shared>, weight: u32, leaf: Option<Leaf>) -> Self {
        Self {
            counts: AtomicU64::new(0),
            share: AtomicU32::new(OPEN),
            weight: AtomicU32::new(weight),
            latency_ns: AtomicU64::new(0),
            seen_at: AtomicU64::new(0),
            samples: AtomicU32::new(0),
            shared: Arc::clone(shared),
            leaf,
            number: shared.next_number(),
            ramp_from: AtomicU64::new(0),
            is_up: AtomicBool::new(true),
            is_draining: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    #[inline]
    pub(crate) fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_ref()
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        (self.counts.load(Ordering::Relaxed) & (PICK - 1)) as u32
    }

    /// As `in_flight`, in one order with the ledger and the trees.
    pub(crate) fn in_flight_now(&self) -> u32 {
        (self.counts.load(Ordering::SeqCst) & (PICK - 1)) as u32
    }

    /// Counts one request more.
    #[inline]
    pub(crate) fn start(&self) {
        // On x86 an addition is ordered with everything anyway; elsewhere the trees and the ledger need it.
        self.counts.fetch_add(PICK + 1, Ordering::SeqCst);
        if self.shared.keeps_ledger() {
            self.shared.note_start();
        }
        self.mend_tree();
    }

    /// Counts one request less.
    #[inline]
    pub(crate) fn end(&self) {
        if self.shared.keeps_ledger() {
            // First the ledger, then the member: in between, the member seems fuller than it is, never emptier.
            self.shared.note_end();
        }
        self.counts.fetch_sub(1, Ordering::SeqCst);
        self.mend_tree();
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

    /// Takes picks, if perhaps few.
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
    pub(crate) fn admits(&self, lot: u64) -> bool {
        match self.share.load(Ordering::Relaxed) {
            OPEN | GONE => true,
            RAMPING => {
                let since = self.shared.now().saturating_sub(self.ramp_from.load(Ordering::Relaxed));
                let window = self.shared.slow_start();
                if since >= window {
                    // Only from ramping: it may have been closed a moment ago.
                    if self.share.compare_exchange(RAMPING, OPEN, Ordering::SeqCst, Ordering::SeqCst).is_ok()
                    {
                        self.shared.one_opened();
                    }
                    return true;
                }
                let part = ((u128::from(since) << 32) / u128::from(window)) as u64;
                mix(lot, self.number) >> 32 < part.max(RAMP_FLOOR)
            }
            _ => false,
        }
    }

    /// Takes a finished request into the expected latency.
    pub(crate) fn observe(&self, outcome: Outcome) {
        let now = self.shared.notice_time();
        let since = now.saturating_sub(self.seen_at.swap(now, Ordering::Relaxed));
        let floor = if outcome.ok { 1 } else { self.shared.failure() };
        let sample = nanos(outcome.latency).clamp(floor, LATENCY_MAX);
        let memory = self.shared.memory();
        // A failure always counts in full: a member that fails fast must not be asked until the mean has crept up.
        let is_peak = !outcome.ok || self.shared.counts_peaks();
        // The first samples count alike, as in a plain mean: else the first of all would decide for a long time.
        let known = u64::from(self.samples.fetch_add(1, Ordering::Relaxed).max(1));
        let weight = since.max(memory / known);
        let mean = |mean: u64| {
            let jumps = mean == 0 || (is_peak && sample > mean);
            // What has faded for those who looked has faded.
            let mean = if since > memory { fade(mean, since, memory) } else { mean };
            Some(if jumps { sample } else { blend(mean, sample, weight, memory) })
        };
        let _ = self.latency_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, mean);
    }

    /// The expected latency, if any request has been reported.
    pub(crate) fn latency(&self) -> Option<Duration> {
        let mean = self.latency_ns.load(Ordering::Relaxed);
        (mean != 0).then(|| Duration::from_nanos(mean))
    }

    /// What one request more would cost here: expected latency × (in flight + 1).
    #[inline]
    pub(crate) fn latency_cost(&self) -> u128 {
        let (mean, in_flight) = (self.latency_ns.load(Ordering::Relaxed), self.in_flight());
        let expected = match (mean, in_flight) {
            // Nothing is known: one request at a time finds out.
            (0, 0) => 0,
            (0, _) => self.shared.failure(),
            // What was seen is forgotten by half in each memory, or a member that failed once would never be asked
            // again.
            _ => fade(
                mean,
                self.shared.recently().saturating_sub(self.seen_at.load(Ordering::Relaxed)),
                self.shared.memory(),
            ),
        };
        u128::from(expected) * (u128::from(in_flight) + 1)
    }

    /// The exact order of loads for weights, as one number: fractions that differ, differ by 2⁻³² at least.
    fn load(&self) -> u64 {
        if matches!(self.share.load(Ordering::SeqCst), CLOSED | GONE) {
            return tournament::CLOSED;
        }
        (u64::from(self.in_flight_now()) << 32) / u64::from(self.weight.load(Ordering::SeqCst).max(1))
    }

    #[inline]
    fn mend_tree(&self) {
        if let Some(leaf) = &self.leaf {
            leaf.tree.mend(leaf.at as usize, || self.load());
        }
    }
}

/// What control does: health, draining, weight, membership. `settle` makes it count for picks.
impl Live {
    /// Records whether the member is up; returns whether that is new.
    pub(crate) fn set_up(&self, is_up: bool) -> bool {
        if is_up && !self.is_up() {
            self.ramp_from.store(self.shared.now(), Ordering::Relaxed);
        }
        self.is_up.swap(is_up, Ordering::Relaxed) != is_up
    }

    /// Whether it takes picks by what is recorded. In a panic the down count as up.
    pub(crate) fn is_to_be_open(&self) -> bool {
        !self.is_draining() && (self.is_up() || self.shared.panic())
    }

    /// Makes the recorded state count.
    pub(crate) fn settle(&self) {
        let ramps = self.share.load(Ordering::SeqCst) != OPEN && self.shared.slow_start() > 0;
        self.set_share(match self.is_to_be_open() {
            false => CLOSED,
            true if ramps && self.is_up() => RAMPING,
            true => OPEN,
        });
        self.mend_tree();
    }

    /// Changes the share, and the number of members of which not all is well.
    fn set_share(&self, share: u32) {
        let is_ill = |share| share == CLOSED || share == RAMPING;
        match (is_ill(self.share.swap(share, Ordering::SeqCst)), is_ill(share)) {
            (false, true) => self.shared.one_closed(),
            (true, false) => self.shared.one_opened(),
            _ => {}
        }
    }
}

#[cfg(feature = "std")]
impl Live {
    pub(crate) fn picks(&self) -> u64 {
        self.counts.load(Ordering::Relaxed) / PICK
    }

    /// Records whether the member drains; returns whether it did.
    pub(crate) fn set_draining(&self, is_draining: bool) -> bool {
        let did = self.is_draining.swap(is_draining, Ordering::Relaxed);
        if did && !is_draining {
            self.ramp_from.store(self.shared.now(), Ordering::Relaxed);
        }
        did
    }

    /// The weight that its load is divided by in the trees.
    pub(crate) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::SeqCst);
    }

    /// A member new to a pool that is at work ramps up like one that returns.
    pub(crate) fn join_slowly(&self) {
        self.ramp_from.store(self.shared.now(), Ordering::Relaxed);
        self.set_share(RAMPING);
    }

    /// It is in no set any more. Picks under way in an old one may still take it: better than nobody.
    pub(crate) fn leave(&self) {
        self.set_share(GONE);
        self.mend_tree();
    }
}

/// The mean after a sample below it, `since` the last one: x / (1 + x) stands in for 1 − e⁻ˣ.
fn blend(mean: u64, sample: u64, since: u64, memory: u64) -> u64 {
    let (memory, since) = (u128::from(memory), u128::from(since));
    let next = (u128::from(mean) * memory + u128::from(sample) * since) / (memory + since).max(1);
    (next as u64).max(1)
}

/// Halved for each `memory` gone by, straight in between.
#[inline]
fn fade(mean: u64, idle: u64, memory: u64) -> u64 {
    if idle == 0 {
        return mean;
    }
    let (halvings, rest) = (idle / memory, idle % memory);
    let floor = mean >> halvings.min(63);
    (floor - (u128::from(floor / 2) * u128::from(rest) / u128::from(memory)) as u64).max(1)
}

const PICK: u64 = 1 << 24;
/// About an hour: longer latencies say nothing more.
const LATENCY_MAX: u64 = 1 << 42;
const CLOSED: u32 = 0;
const RAMPING: u32 = 1;
const OPEN: u32 = 2;
const GONE: u32 = 3;
/// A ramping member starts at a sixteenth of its share: with none at all nobody would learn whether it works.
const RAMP_FLOOR: u64 = (1 << 32) / 16;

#[cfg(test)]
mod tests {
    use super::{blend, fade};

    #[test]
    fn a_latency_fades_by_half_in_each_memory() {
        assert_eq!(
            [0, 5, 10, 20, 1000].map(|idle| fade(1 << 20, idle, 10)),
            [1 << 20, 3 << 18, 1 << 19, 1 << 18, 1]
        );
        assert_eq!(fade(u64::MAX, u64::MAX, 1), 1);
    }

    #[test]
    fn a_mean_moves_towards_samples_by_the_time_they_stand_for() {
        assert_eq!(blend(100, 0, 0, 10), 100);
        assert_eq!(blend(100, 0, 10, 10), 50);
        assert_eq!(blend(1 << 42, 1, u64::MAX, 1), 1);
    }
}
