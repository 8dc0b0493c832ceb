//! The one capacity all shards share: weight is reserved before an entry becomes visible and given back after it has
//! left, so that the sum of the visible weights never exceeds the capacity.
//!
//! ```text
//!     Σ weight of visible entries  ≤  reserved  ≤  limit          at every instant
//! ```
//!
//! A full cache trades within a shard, victim against newcomer, and does not touch this counter.

use crate::sync::AtomicU64;
use std::sync::atomic::Ordering;

/// Reserved and allowed weight. Relaxed throughout: entries are published by their shard's lock, and the counters
/// order nothing else; each is exact by itself.
#[derive(Debug)]
pub(crate) struct Budget {
    reserved: AtomicU64,
    limit: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { reserved: AtomicU64::new(0), limit: AtomicU64::new(limit) }
    }

    /// Reserves `weight` if it fits. Under a shard's lock, so that whoever lowers the limit can wait for it.
    #[inline]
    pub(crate) fn reserve(&self, weight: u64) -> bool {
        let limit = self.limit();
        let fits = |reserved: u64| reserved.checked_add(weight).filter(|sum| *sum <= limit);
        self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives reserved weight back.
    pub(crate) fn release(&self, weight: u64) {
        if weight > 0 {
            self.reserved.fetch_sub(weight, Ordering::Relaxed);
        }
    }

    pub(crate) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// What is reserved beyond the limit, after the limit was lowered.
    pub(crate) fn excess(&self) -> u64 {
        self.reserved().saturating_sub(self.limit())
    }

    pub(crate) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }
}

/// How an insertion may make room, and what it has already.
pub(crate) struct Room<'a> {
    pub(crate) budget: &'a Budget,
    /// Reserved weight not yet used by any entry.
    pub(crate) credit: u64,
    /// Whether this shard's own entries may go.
    pub(crate) own: bool,
    pub(crate) now: u64,
}

impl Room<'_> {
    /// Returns the weight not yet used to the budget, and says how much it was.
    pub(crate) fn give_back(&mut self) -> u64 {
        self.budget.release(self.credit);
        std::mem::take(&mut self.credit)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_does_not_fit_even_at_the_end_of_u64() {
        let budget = Budget::new(u64::MAX);
        assert!(budget.reserve(u64::MAX));
        assert!(!budget.reserve(1));
        budget.release(1);
        assert!(budget.reserve(1));
        budget.set_limit(10);
        assert_eq!(budget.excess(), u64::MAX - 10);
        assert!(budget.reserve(0) || budget.excess() > 0);
    }
}
