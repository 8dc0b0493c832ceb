//! What is thought of one member, from checks and from requests. A pure machine: events and the time in, a verdict out.
//!
//! ```text
//!            fall bad checks                          Gone        nobody is there
//!   Up ────────────────────────────────►  ┌───────────────────┐
//!    ▲       failed requests in a row,    │  Silent           │   there, but no answers
//!    │       or too many of all           │  Failing          │   answers, but errors
//!    │                                    └───────────────────┘
//!    └── a good check (Gone; rise of them if checks said so) · the ejection is over: 1, 2, 4 … s (Silent, Failing), then on probation:
//!        one request at a time, and one failure ejects again
//! ```
//!
//! A success of a request that began after the ejection is better evidence than any check, and brings the member
//! back at once.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Check, HealthConfig};

/// What a member deserves. Worse is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Work.
    Up,
    /// It answers, but with errors.
    Failing,
    /// It takes requests and gives no answers.
    Silent,
    /// Nobody is there, or its checks say so.
    Gone,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Up => "it works",
            Verdict::Failing => "it answers with errors",
            Verdict::Silent => "it gives no answers",
            Verdict::Gone => "gone, or so its checks say",
        })
    }
}

/// One member's standing.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    is_down: bool,
    good_checks: u32,
    bad_checks: u32,
    ejected: Option<Ejection>,
    /// Ejections so far, each of which makes the next one longer.
    ejections: u32,
    /// Since when nothing has gone wrong.
    good_since: Instant,
    on_probation: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ejection {
    why: Verdict,
    since: Instant,
    until: Instant,
}

impl Standing {
    pub(crate) fn new(now: Instant) -> Self {
        Standing {
            is_down: false,
            good_checks: 0,
            bad_checks: 0,
            ejected: None,
            ejections: 0,
            good_since: now,
            on_probation: false,
        }
    }

    /// What is to be done with it.
    pub(crate) fn verdict(&self) -> Verdict {
        let ejected = self.ejected.map_or(Verdict::Up, |ejection| ejection.why);
        if self.is_down { Verdict::Gone } else { ejected }
    }

    /// One request at a time: it has just returned, and may fail again.
    pub(crate) fn is_on_probation(&self) -> bool {
        self.on_probation
    }

    /// Nothing is wrong, and nothing was until lately: successes need not be told.
    pub(crate) fn is_beyond_doubt(&self) -> bool {
        !self.is_down && self.ejected.is_none() && !self.on_probation
    }

    /// A check ended.
    pub(crate) fn checked(&mut self, ok: bool, settings: &HealthConfig) {
        if ok {
            self.bad_checks = 0;
            self.good_checks = self.good_checks.saturating_add(1);
            self.is_down &= self.good_checks < settings.rise;
            if !self.is_down {
                // It was gone, and is there: nothing else was held against it.
                self.ejected = self.ejected.filter(|ejection| ejection.why != Verdict::Gone);
            }
        } else {
            self.good_checks = 0;
            self.bad_checks = self.bad_checks.saturating_add(1);
            self.is_down |= self.bad_checks >= settings.fall;
        }
    }

    /// A request that began at `started` succeeded.
    pub(crate) fn succeeded(&mut self, started: Instant, settings: &HealthConfig) {
        if self.ejected.is_some_and(|ejection| started < ejection.since) {
            return;
        }
        self.ejected = None;
        self.on_probation = false;
        // An HTTP check knows more than that a request was answered; a TCP check does not.
        if settings.check == Check::Tcp {
            self.is_down = false;
            self.bad_checks = 0;
        }
    }

    /// `in_a_row` requests have failed by now, the last one like `why`.
    pub(crate) fn failed(&mut self, why: Verdict, in_a_row: u32, now: Instant, settings: &HealthConfig) {
        let Some(limit) = settings.failures else { return };
        if in_a_row >= if self.on_probation { 1 } else { limit } {
            self.eject(why, now, settings);
        }
    }

    /// Too many of its requests failed lately.
    pub(crate) fn failed_too_often(&mut self, now: Instant, settings: &HealthConfig) {
        self.eject(Verdict::Failing, now, settings);
    }

    /// It stayed in although it was to be ejected: too few would have been left.
    pub(crate) fn pardon(&mut self) {
        self.ejected = None;
    }

    /// Time passes: an ejection may be over.
    pub(crate) fn tick(&mut self, now: Instant, settings: &HealthConfig) {
        if now.duration_since(self.good_since) > settings.ejection_max * 2 {
            self.ejections = 0;
        }
        let Some(ejection) = self.ejected else { return };
        let is_over = now >= ejection.until;
        // Whether somebody is there is for the checks to find out.
        let is_for_checks = ejection.why == Verdict::Gone && settings.check != Check::Off;
        if is_over && !is_for_checks {
            self.ejected = None;
            self.on_probation = true;
        }
    }

    fn eject(&mut self, why: Verdict, now: Instant, settings: &HealthConfig) {
        self.good_since = now;
        if self.ejected.is_some() {
            return;
        }
        let length = ejection_length(self.ejections, settings);
        self.ejections = self.ejections.saturating_add(1);
        self.ejected = Some(Ejection { why, since: now, until: now + length });
        self.on_probation = false;
        self.good_checks = 0;
    }
}

/// 1, 2, 4 … times the first, up to the longest.
fn ejection_length(before: u32, settings: &HealthConfig) -> Duration {
    let factor = 1u32.checked_shl(before).unwrap_or(u32::MAX);
    settings.ejection.saturating_mul(factor).min(settings.ejection_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> HealthConfig {
        HealthConfig::default()
    }

    fn eject(standing: &mut Standing, why: Verdict, now: Instant) {
        for in_a_row in 1..=5 {
            standing.failed(why, in_a_row, now, &settings());
        }
    }

    #[test]
    fn failures_in_a_row_eject_but_not_one_less() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        for in_a_row in 1..=4 {
            standing.failed(Verdict::Gone, in_a_row, now, &settings());
        }
        assert_eq!(standing.verdict(), Verdict::Up);
        standing.failed(Verdict::Gone, 5, now, &settings());
        assert_eq!(standing.verdict(), Verdict::Gone);
    }

    #[test]
    fn ejections_grow_up_to_the_longest_and_are_forgotten_after_a_good_while() {
        let mut now = Instant::now();
        let mut standing = Standing::new(now);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            eject(&mut standing, Verdict::Silent, now);
            standing.tick(now + SECOND * seconds - Duration::from_millis(1), &settings());
            assert_eq!(standing.verdict(), Verdict::Silent, "{seconds}");
            now += SECOND * seconds;
            standing.tick(now, &settings());
            assert_eq!(standing.verdict(), Verdict::Up, "{seconds}");
        }
        now += SECOND * 61;
        standing.tick(now, &settings());
        eject(&mut standing, Verdict::Silent, now);
        standing.tick(now + SECOND, &settings());
        assert_eq!(standing.verdict(), Verdict::Up);
    }

    #[test]
    fn one_failure_on_probation_ejects_again_and_one_success_ends_it() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        eject(&mut standing, Verdict::Silent, now);
        standing.tick(now + SECOND, &settings());
        assert!(standing.is_on_probation());
        standing.failed(Verdict::Silent, 1, now + SECOND, &settings());
        assert_eq!(standing.verdict(), Verdict::Silent);
        standing.tick(now + SECOND * 3, &settings());
        standing.succeeded(now + SECOND * 3, &settings());
        assert!(standing.is_beyond_doubt());
    }

    #[test]
    fn a_member_that_is_gone_returns_by_checks_and_a_silent_one_does_not() {
        let now = Instant::now();
        for (why, after) in [(Verdict::Gone, Verdict::Up), (Verdict::Silent, Verdict::Silent)] {
            let mut standing = Standing::new(now);
            eject(&mut standing, why, now);
            standing.tick(now + SECOND / 2, &settings());
            standing.checked(false, &settings());
            assert_eq!(standing.verdict(), why);
            standing.checked(true, &settings());
            assert_eq!(standing.verdict(), after);
        }
        // Without checks, time is all there is.
        let off = HealthConfig { check: Check::Off, ..settings() };
        let mut standing = Standing::new(now);
        eject(&mut standing, Verdict::Gone, now);
        standing.tick(now + SECOND, &off);
        assert_eq!(standing.verdict(), Verdict::Up);
    }

    #[test]
    fn checks_fall_and_rise() {
        let mut standing = Standing::new(Instant::now());
        for (ok, verdict) in [
            (false, Verdict::Up),
            (false, Verdict::Up),
            (true, Verdict::Up),
            (false, Verdict::Up),
            (false, Verdict::Up),
            (false, Verdict::Gone),
            (true, Verdict::Gone),
            (false, Verdict::Gone),
            (true, Verdict::Gone),
            (true, Verdict::Up),
        ] {
            standing.checked(ok, &settings());
            assert_eq!(standing.verdict(), verdict);
        }
    }

    #[test]
    fn a_success_counts_only_if_it_began_after_the_ejection() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        eject(&mut standing, Verdict::Failing, now + SECOND);
        standing.succeeded(now, &settings());
        assert_eq!(standing.verdict(), Verdict::Failing);
        standing.succeeded(now + SECOND, &settings());
        assert_eq!(standing.verdict(), Verdict::Up);
    }

    #[test]
    fn without_failures_configured_requests_eject_nobody() {
        let now = Instant::now();
        let mut standing = Standing::new(now);
        let off = HealthConfig { failures: None, ..settings() };
        standing.failed(Verdict::Gone, 1000, now, &off);
        assert_eq!(standing.verdict(), Verdict::Up);
    }
}
