//! What a cache has done, for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that only grow.
#[derive(Debug, Default)]
pub struct Counts {
    hits: AtomicU64,
    stale_hits: AtomicU64,
    misses: AtomicU64,
    validated: AtomicU64,
    collapsed: AtomicU64,
    stored: AtomicU64,
    refreshed: AtomicU64,
}

/// A reading of [`Counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Answers from the store, stale ones included.
    pub hits: u64,
    /// Stale answers from the store.
    pub stale_hits: u64,
    /// Requests sent to the origin for want of a usable answer.
    pub misses: u64,
    /// Of these, answered by 304.
    pub validated: u64,
    /// Answers read along with another request's fetch.
    pub collapsed: u64,
    /// Responses stored.
    pub stored: u64,
    /// Background fetches.
    pub refreshed: u64,
}

impl Counts {
    /// The counters now; each by itself exact, not all of one instant.
    pub fn read(&self) -> Reading {
        // Relaxed: the counters order nothing else.
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reading {
            hits: of(&self.hits),
            stale_hits: of(&self.stale_hits),
            misses: of(&self.misses),
            validated: of(&self.validated),
            collapsed: of(&self.collapsed),
            stored: of(&self.stored),
            refreshed: of(&self.refreshed),
        }
    }

    pub(super) fn hit(&self, is_stale: bool) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        if is_stale {
            self.stale_hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn validated(&self) {
        self.validated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn collapsed(&self) {
        self.collapsed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self) {
        self.stored.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refreshed(&self) {
        self.refreshed.fetch_add(1, Ordering::Relaxed);
    }
}
