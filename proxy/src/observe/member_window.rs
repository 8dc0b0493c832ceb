//! How a member fares now: rate and latencies over the last seconds, from two snapshots of its histogram.
//!
//! ```text
//!     older ──── 5 s ──── newer ──── up to 5 s ──── now          what is told covers 5 to 10 seconds
//! ```

use std::time::{Duration, Instant};

use super::{Histogram, Snapshot};

/// Rate and latencies over the last seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace {
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
}

/// Two snapshots, 8 KiB.
#[derive(Debug)]
pub(crate) struct Window {
    older: (Instant, Snapshot),
    newer: (Instant, Snapshot),
}

impl Window {
    pub(crate) fn new(now: Instant, histogram: &Histogram) -> Self {
        let moment = (now, histogram.snapshot());
        Window { older: moment.clone(), newer: moment }
    }

    /// Moves on; to be called every second or so.
    pub(crate) fn tick(&mut self, now: Instant, histogram: &Histogram) {
        if now.saturating_duration_since(self.newer.0) >= STEP {
            self.older = std::mem::replace(&mut self.newer, (now, histogram.snapshot()));
        }
    }

    pub(crate) fn pace(&self, now: Instant, histogram: &Histogram) -> Pace {
        let recent = histogram.snapshot().since(&self.older.1);
        let span = now.saturating_duration_since(self.older.0).as_secs_f64().max(0.001);
        Pace { rate: recent.count() as f64 / span, p50: recent.quantile(0.5), p99: recent.quantile(0.99) }
    }
}

const STEP: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_seconds_count() {
        let histogram = Histogram::default();
        let start = Instant::now();
        let mut window = Window::new(start, &histogram);
        for second in 0..=30 {
            let now = start + Duration::from_secs(second);
            window.tick(now, &histogram);
            // Slow and rare in the beginning, swift and often later.
            let (count, ms) = if second < 15 { (1, 500) } else { (10, 2) };
            (0..count).for_each(|_| histogram.record(Duration::from_millis(ms)));
        }
        let pace = window.pace(start + Duration::from_secs(31), &histogram);
        assert!((9.0..=12.0).contains(&pace.rate), "{}", pace.rate);
        assert!(pace.p99.unwrap() < Duration::from_millis(3));
    }

    #[test]
    fn a_silent_member_has_no_latency() {
        let histogram = Histogram::default();
        let now = Instant::now();
        let pace = Window::new(now, &histogram).pace(now, &histogram);
        assert_eq!(pace, Pace { rate: 0.0, p50: None, p99: None });
    }
}
