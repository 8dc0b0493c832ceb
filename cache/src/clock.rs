//! Where time comes from: the machine's monotonic clock, or a hand-moved one in tests.
//!
//! The cache never sleeps and starts no thread; it compares deadlines with [`Clock::now`] when an operation
//! needs it, and does not read the clock at all while no entry can expire.
//!
//! ```
//! use cache::{Cache, ManualClock};
//! use std::time::Duration;
//!
//! let clock = ManualClock::new();
//! let cache = Cache::builder(10).ttl(Duration::from_secs(60)).clock(clock.clone()).build()?;
//! cache.insert("token", 7);
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(cache.get("token"), None); // gone at the very instant, no sleeping in tests
//! # Ok::<(), cache::BuildError>(())
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A monotonic source of time. It must never go backwards; what its zero means is its own affair.
pub trait Clock: Send + Sync + 'static {
    /// Time passed since some fixed instant.
    fn now(&self) -> Duration;
}

/// The machine's monotonic clock, exact to the nanosecond. The default.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose zero is this moment.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until told to move. Clones are handles to the same clock.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock standing at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward; at most to 584 years, where it stays.
    pub fn advance(&self, by: Duration) {
        let by = nanos(by);
        // AcqRel: what was done before the clock moved is seen by those who see it moved.
        let _ =
            self.nanos.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_add(by)));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Acquire))
    }
}

/// Nanoseconds in a `u64`, saturating: 584 years are as good as never.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The clock a cache was built with. The usual one is called without a virtual call.
pub(crate) enum TimeSource {
    System(SystemClock),
    Given(Box<dyn Clock>),
}

impl TimeSource {
    pub(crate) fn nanos(&self) -> u64 {
        nanos(match self {
            Self::System(clock) => clock.now(),
            Self::Given(clock) => clock.now(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_saturates() {
        let clock = ManualClock::new();
        clock.advance(Duration::from_nanos(5));
        assert_eq!(clock.now(), Duration::from_nanos(5));
        clock.advance(Duration::MAX);
        clock.advance(Duration::from_nanos(5));
        assert_eq!(clock.now(), Duration::from_nanos(u64::MAX));
    }
}
