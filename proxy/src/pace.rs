//! Whether the one who sends, or takes, a body is too slow to be waited for.
//!
//! Only the time spent waiting for it counts: a slow member does not make a client look slow. Who has been waited for as
//! long as one silence may last must have moved so many bytes for every second of waiting:
//!
//! ```text
//!     too slow  ⇔  waited > silence  and  moved < rate · waited
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// How long was waited, and whether that was worth it.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The longest silence.
    pub(crate) silence_max: Duration,
    /// Bytes a second.
    pub(crate) rate_min: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(silence_max: Duration, rate_min: u64) -> Self {
        Pace { silence_max, rate_min, waited: Duration::ZERO, waiting_since: None }
    }

    /// Nothing moves at the moment. Returns when this silence is over.
    pub(crate) fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting_since.get_or_insert(now) + self.silence_max
    }

    /// Something has moved, `moved` bytes altogether.
    pub(crate) fn is_too_slow(&mut self, moved: u64, now: impl FnOnce() -> Instant) -> bool {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now() - since;
        }
        self.waited > self.silence_max && moved < self.rate_min * self.waited.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE_MIN: u64 = 240;

    #[test]
    fn only_waiting_counts_and_a_drip_is_too_slow() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let pace = || Pace::new(Duration::from_secs(10), RATE_MIN);

        let mut drip = pace();
        let mut slow = (0..20).map(|n| {
            assert_eq!(drip.wait(at(n)), at(n + 10));
            drip.is_too_slow(n + 1, || at(n + 1))
        });
        assert_eq!(slow.position(|slow| slow), Some(10), "a byte a second ends after the grace");

        let mut steady = pace();
        for n in 0..20 {
            steady.wait(at(n));
            assert!(!steady.is_too_slow((n + 1) * RATE_MIN, || at(n + 1)));
        }

        let mut member_is_slow = pace();
        for n in 0..20 {
            assert!(!member_is_slow.is_too_slow(n, || at(n * 100)), "nobody waited for the client");
        }
    }
}
