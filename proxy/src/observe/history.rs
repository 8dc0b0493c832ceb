//! The last minutes, a sample a second: what the dashboard draws the moment it is opened.
//!
//! Memory: 300 samples of 72 bytes, and 8 KiB for each member's [`Window`].

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;

use super::{
    CacheFacts, Counters, GroupFacts, Snapshot,
    member_window::{Pace, Window},
};

/// What happened in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Sample {
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Absent when nothing was asked.
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    pub(crate) cache_lookups: u64,
    pub(crate) cache_served: u64,
    pub(crate) in_flight: u64,
}

/// Samples and windows; filled by whoever ticks it.
#[derive(Debug, Default)]
pub(crate) struct History {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    before: Option<Totals>,
    samples: VecDeque<Sample>,
    windows: HashMap<(Arc<str>, Arc<str>), Window>,
}

#[derive(Debug)]
struct Totals {
    requests: u64,
    failures: u64,
    latency: Snapshot,
    cache_lookups: u64,
    cache_served: u64,
}

impl History {
    /// Takes a sample; to be called once a second.
    pub(crate) fn tick(
        &self,
        now: Instant,
        clock: SystemTime,
        counters: &Counters,
        cache: CacheFacts,
        groups: &[GroupFacts],
    ) {
        let totals = Totals::of(counters, cache);
        let mut recent = self.recent.lock();
        if let Some(before) = recent.before.take() {
            let at = clock.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            recent.samples.push_back(totals.since(&before, at, counters.in_flight.level()));
            if recent.samples.len() > SAMPLES {
                recent.samples.pop_front();
            }
        }
        recent.before = Some(totals);
        let members =
            || groups.iter().flat_map(|group| group.members.iter().map(move |member| (&group.name, member)));
        if recent.windows.len() > members().count() {
            recent
                .windows
                .retain(|(group, id), _| members().any(|(name, member)| name == group && member.id == *id));
        }
        for (group, member) in members() {
            let histogram = &member.counters.latency;
            recent
                .windows
                .entry((Arc::clone(group), Arc::clone(&member.id)))
                .or_insert_with(|| Window::new(now, histogram))
                .tick(now, histogram);
        }
    }

    /// Tells each member of `groups` how it fares.
    pub(crate) fn fill_in(&self, now: Instant, groups: &mut [GroupFacts]) {
        let recent = self.recent.lock();
        for group in groups {
            for member in &mut group.members {
                let place = (Arc::clone(&group.name), Arc::clone(&member.id));
                let window = recent.windows.get(&place);
                member.pace = window.map(|window| -> Pace { window.pace(now, &member.counters.latency) });
            }
        }
    }

    /// The samples, oldest first.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.recent.lock().samples.iter().copied().collect()
    }
}

impl Totals {
    fn of(counters: &Counters, cache: CacheFacts) -> Totals {
        Totals {
            requests: counters.requests(),
            failures: counters.failures(),
            latency: counters.latency.snapshot(),
            cache_lookups: cache.lookups(),
            cache_served: cache.served(),
        }
    }

    fn since(&self, before: &Totals, at: u64, in_flight: u64) -> Sample {
        let latency = self.latency.since(&before.latency);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Sample {
            at,
            requests: self.requests.saturating_sub(before.requests),
            failures: self.failures.saturating_sub(before.failures),
            p50_us: latency.quantile(0.5).map(micros),
            p99_us: latency.quantile(0.99).map(micros),
            cache_lookups: self.cache_lookups.saturating_sub(before.cache_lookups),
            cache_served: self.cache_served.saturating_sub(before.cache_served),
            in_flight,
        }
    }
}

/// Five minutes.
const SAMPLES: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn a_sample_tells_one_second_and_old_ones_leave() {
        let (history, counters) = (History::default(), Counters::default());
        let mut cache = CacheFacts::default();
        let (start, clock) = (Instant::now(), SystemTime::UNIX_EPOCH);
        for second in 0..=SAMPLES as u64 + 5 {
            let passed = Duration::from_secs(second);
            history.tick(start + passed, clock + passed, &counters, cache, &[]);
            cache.hits += 3;
            cache.misses += 1;
            counters.answered(Duration::from_millis(1), StatusCode::OK);
            counters.answered(Duration::from_millis(1), StatusCode::BAD_GATEWAY);
        }
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES);
        let last = samples[SAMPLES - 1];
        assert_eq!((last.at, last.requests, last.failures), (305, 2, 1));
        assert_eq!((last.cache_lookups, last.cache_served), (4, 3));
        assert!((1000..1130).contains(&last.p99_us.unwrap()));
    }
}
