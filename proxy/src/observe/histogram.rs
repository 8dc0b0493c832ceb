//! How long things take, counted in buckets that grow with the time: eight for each doubling.
//!
//! ```text
//! 0 1 2 … 7 | 8 9 … 15 | 16 18 … 30 | 32 36 … 60 | …  µs      a quantile is at most 1/8 too large
//! ```
//!
//! Recording is two relaxed additions (the bucket and the sum); memory is 8 × 62 counters (4 KiB), whatever is
//! recorded.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A histogram of durations in microseconds.
///
/// ```
/// use std::time::Duration;
/// use evenly::observe::Histogram;
///
/// let histogram = Histogram::default();
/// for ms in 1..=100 {
///     histogram.record(Duration::from_millis(ms));
/// }
/// let median = histogram.snapshot().quantile(0.5).unwrap();
/// assert!(median >= Duration::from_millis(50) && median <= Duration::from_millis(57));
/// ```
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(micros, Relaxed);
    }

    /// The counts as they stand.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        Snapshot { counts, sum_us: self.sum_us.load(Relaxed) }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Histogram { buckets, sum_us: AtomicU64::new(0) }
    }
}

/// The counts of a [`Histogram`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    counts: Vec<u64>,
    sum_us: u64,
}

impl Snapshot {
    /// The duration that a share of `q` (0 to 1) of the recorded ones does not exceed; nothing if none was recorded.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        let rank = ((total as f64 * q).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(upper_bound(found)))
    }

    /// What was recorded since `earlier`, a snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let pairs = self.counts.iter().zip(&earlier.counts);
        let counts = pairs.map(|(now, before)| now.saturating_sub(*before)).collect();
        Snapshot { counts, sum_us: self.sum_us.wrapping_sub(earlier.sum_us) }
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All recorded durations together; wraps after 584,000 years.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// How many took less than 2^`exponent` µs. Exact, because buckets end at powers of two.
    #[must_use]
    pub fn below_power_of_two(&self, exponent: u32) -> u64 {
        let first_above = bucket(1 << exponent.min(63));
        self.counts[..first_above].iter().sum()
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let octave = micros.ilog2() - STEPS.ilog2();
    let step = (micros >> octave) - STEPS;
    (u64::from(octave + 1) * STEPS + step) as usize
}

/// The greatest value that falls into `bucket`.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (octave, step) = (bucket / STEPS - 1, bucket % STEPS);
    let width = 1u64 << octave;
    ((STEPS + step) << octave).saturating_add(width - 1)
}

/// Buckets for each doubling.
const STEPS: u64 = 8;
const BUCKETS: usize = (STEPS as usize) * 62;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_is_at_most_its_buckets_bound_and_at_least_seven_eighths_of_it(micros in any::<u64>()) {
            let bound = upper_bound(bucket(micros));
            prop_assert!(micros <= bound);
            prop_assert!(bound - micros <= micros / 8);
            prop_assert!(bucket(micros) < BUCKETS);
        }
    }

    #[test]
    fn quantiles_of_nothing_are_nothing() {
        assert_eq!(Histogram::default().snapshot().quantile(0.99), None);
    }

    #[test]
    fn counts_below_a_power_of_two_are_exact() {
        let histogram = Histogram::default();
        for micros in [0, 1, 127, 128, 255, 256, 1 << 40] {
            histogram.record(Duration::from_micros(micros));
        }
        let snapshot = histogram.snapshot();
        assert_eq!([0, 7, 8, 9, 63].map(|exponent| snapshot.below_power_of_two(exponent)), [1, 3, 5, 6, 7]);
        assert_eq!(snapshot.count(), 7);
        assert_eq!(snapshot.sum(), Duration::from_micros(1 + 127 + 128 + 255 + 256 + (1 << 40)));
    }

    #[test]
    fn since_counts_only_what_came_after() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_micros(3));
        let before = histogram.snapshot();
        histogram.record(Duration::from_micros(7));
        let after = histogram.snapshot().since(&before);
        assert_eq!(after.quantile(0.0), Some(Duration::from_micros(7)));
    }
}
