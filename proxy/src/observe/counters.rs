//! Counts since the start, and how long requests took. All relaxed: a count orders nothing else.
//!
//! A request costs four additions here (in flight up and down, its status, its latency with its sum), and two for
//! bytes when its bodies have ended.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use super::Histogram;

/// Counts of one proxy. They survive reloads.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) statuses: Statuses,
    pub(crate) in_flight: Gauge,
    pub(crate) latency: Histogram,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) broken_off: Counter,
    pub(crate) connections: Gauge,
    pub(crate) connections_total: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) retries: Counter,
    pub(crate) reloads: ReloadCounters,
}

impl Counters {
    /// A request was answered with `status`, its head after `took`.
    #[inline]
    pub(crate) fn answered(&self, took: Duration, status: http::StatusCode) {
        self.statuses.count(status);
        self.latency.record(took);
    }

    /// A client has connected; the connection is open until the guard is dropped.
    pub(crate) fn connection(&self) -> impl Drop {
        self.connections_total.add(1);
        self.connections.up();
        Open(&self.connections)
    }

    /// Requests answered, whatever the answer.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.statuses.since(0)
    }

    /// Requests answered with a status of 500 or more, be it a member's or our own.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.statuses.since(500)
    }

    /// From the request's head to the answer's.
    #[must_use]
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }
}

/// Reloads of the configuration.
#[derive(Debug, Default)]
pub(crate) struct ReloadCounters {
    pub(crate) done: Counter,
    pub(crate) refused: Counter,
    /// Seconds since 1970.
    last_done: AtomicU64,
}

impl ReloadCounters {
    /// A configuration took effect, the first one included.
    pub(crate) fn done_at(&self, now: SystemTime) {
        self.done.add(1);
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.last_done.store(seconds, Relaxed);
    }

    pub(crate) fn last_done(&self) -> u64 {
        self.last_done.load(Relaxed)
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A count of what is there at the moment.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    #[inline]
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    #[inline]
    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(crate) fn level(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

struct Open<'g>(&'g Gauge);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.down();
    }
}

/// Answers by status, 100 to 599; what is beyond counts as 599.
#[derive(Debug)]
pub(crate) struct Statuses(Box<[Counter]>);

impl Statuses {
    #[inline]
    pub(crate) fn count(&self, status: http::StatusCode) {
        let place = usize::from(status.as_u16()).clamp(LOWEST, HIGHEST) - LOWEST;
        self.0[place].add(1);
    }

    /// The statuses that were ever answered, with their counts.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.0.iter().enumerate().map(|(place, counter)| (place + LOWEST, counter.count()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Answers with `lowest` or more.
    fn since(&self, lowest: usize) -> u64 {
        self.0[lowest.saturating_sub(LOWEST)..].iter().map(Counter::count).sum()
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Statuses((LOWEST..=HIGHEST).map(|_| Counter::default()).collect())
    }
}

const LOWEST: usize = 100;
const HIGHEST: usize = 599;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_counted_one_by_one_and_in_sums() {
        let counters = Counters::default();
        for status in [200, 200, 404, 503, 999] {
            counters.answered(Duration::ZERO, http::StatusCode::from_u16(status).unwrap());
        }
        assert_eq!(counters.requests(), 5);
        assert_eq!(counters.failures(), 2);
        assert_eq!(counters.statuses.seen().collect::<Vec<_>>(), [(200, 2), (404, 1), (503, 1), (599, 1)]);
    }
}
