//! Counts since the start, and how long requests took.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::Histogram;

/// Counts of one proxy. They survive reloads.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    cache_hits: AtomicU64,
    failures: AtomicU64,
    latency: Histogram,
}

impl Counters {
    /// A request was answered, with the head of the answer after `took`.
    pub(crate) fn answered(&self, took: Duration, is_failure: bool) {
        self.requests.fetch_add(1, Relaxed);
        self.failures.fetch_add(u64::from(is_failure), Relaxed);
        self.latency.record(took);
    }

    #[expect(dead_code, reason = "http_cache tells it")]
    /// A request was answered from the cache.
    pub(crate) fn cache_hit(&self) {
        self.cache_hits.fetch_add(1, Relaxed);
    }

    /// Requests answered, whatever the answer.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Requests answered from the cache.
    #[must_use]
    pub fn cache_hits(&self) -> u64 {
        self.cache_hits.load(Relaxed)
    }

    /// Requests to which we answered with a status of 500 or more of our own.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// From the request's head to the answer's.
    #[must_use]
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }
}
