//! What a Redis store shows of itself.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::breaker::Circuit;
use crate::store::Oddity;

/// Counts since the store was made, and how it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisStats {
    /// Whether operations reach the server. In a Cluster: the worst of its servers.
    pub circuit: Circuit,
    /// Whether a connection is open. In a Cluster: to every server.
    pub is_connected: bool,
    /// Connections open now.
    pub connections: usize,
    /// Operations under way.
    pub in_flight: usize,
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found none, odd entries included.
    pub misses: u64,
    /// Operations that ran out of time.
    pub timeouts: u64,
    /// Operations whose connection broke.
    pub disconnects: u64,
    /// Operations refused at once: the circuit was open, or too many were in flight.
    pub refused: u64,
    /// Errors that the server answered with.
    pub errors: u64,
    /// Connections opened.
    pub connects: u64,
    /// Entries that were no entries, by kind.
    pub odd: Vec<(Oddity, u64)>,
}

/// Counted by the store itself; the servers count the rest.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) errors: AtomicU64,
    odd: [AtomicU64; Oddity::ALL.len()],
    odd_logged_at_ms: AtomicU64,
}

impl Counters {
    /// Counts an odd entry and, once a minute, says so. The key is not named: it may hold a secret.
    pub(super) fn odd(&self, oddity: Oddity, namespace: &str, now_ms: u64) {
        self.odd[oddity as usize].fetch_add(1, Relaxed);
        let last = self.odd_logged_at_ms.load(Relaxed);
        let is_due = last == 0 || now_ms.saturating_sub(last) >= LOG_EVERY.as_millis() as u64;
        if is_due && self.odd_logged_at_ms.compare_exchange(last, now_ms.max(1), Relaxed, Relaxed).is_ok() {
            let total: u64 = self.odd.iter().map(|count| count.load(Relaxed)).sum();
            tracing::warn!(
                namespace,
                kind = oddity.name(),
                total,
                "an entry in the cache server is not one of ours; it counts as a miss"
            );
        }
    }

    pub(super) fn odd_by_kind(&self) -> Vec<(Oddity, u64)> {
        Oddity::ALL.into_iter().map(|oddity| (oddity, self.odd[oddity as usize].load(Relaxed))).collect()
    }
}

/// At most one line about odd entries in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_under_its_own_name() {
        for (index, oddity) in Oddity::ALL.into_iter().enumerate() {
            assert_eq!(oddity as usize, index, "{oddity:?}");
            let counters = Counters::default();
            counters.odd(oddity, "n", 1);
            assert!(counters.odd_by_kind().contains(&(oddity, 1)));
        }
    }

    #[test]
    fn odd_entries_are_logged_once_a_minute() {
        let counters = Counters::default();
        let logged_at = |now_ms| {
            counters.odd(Oddity::Short, "n", now_ms);
            counters.odd_logged_at_ms.load(Relaxed)
        };
        assert_eq!(logged_at(1_000), 1_000);
        assert_eq!(logged_at(60_999), 1_000);
        assert_eq!(logged_at(61_000), 61_000);
        assert_eq!(logged_at(5), 61_000, "a clock that steps back does not make it talkative");
    }
}
