//! One member's health as requests see it: a success costs one addition while nothing is wrong.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::standing::{Standing, Verdict};
use crate::{config::HealthConfig, upstream::window::Window};

/// Health of a member. It survives reloads.
#[derive(Debug)]
pub(crate) struct Health {
    epoch: Instant,
    failed_in_a_row: AtomicU32,
    good: Window,
    bad: Window,
    /// The copy of what `standing` says that requests look at.
    in_doubt: AtomicBool,
    on_probation: AtomicBool,
    standing: Mutex<Standing>,
    check: Mutex<Schedule>,
}

#[derive(Debug, Default)]
struct Schedule {
    next: Option<Instant>,
    is_under_way: bool,
    /// Checks since something happened to a member that is gone; each makes the next one wait twice as long.
    since_news: u32,
    /// Something has just happened.
    is_news: bool,
}

impl Health {
    pub(crate) fn new(now: Instant) -> Self {
        Health {
            epoch: now,
            failed_in_a_row: AtomicU32::new(0),
            good: Window::default(),
            bad: Window::default(),
            in_doubt: AtomicBool::new(false),
            on_probation: AtomicBool::new(false),
            standing: Mutex::new(Standing::new(now)),
            check: Mutex::default(),
        }
    }

    /// A request that began at `started` was answered.
    pub(crate) fn succeeded(&self, started: Instant, settings: &HealthConfig) {
        self.good.add(self.second(started));
        // Read before it is written: the line stays shared while all is well.
        if self.failed_in_a_row.load(Relaxed) != 0 {
            self.failed_in_a_row.store(0, Relaxed);
        }
        if self.in_doubt.load(Relaxed) {
            self.change(|standing| standing.succeeded(started, settings));
        }
    }

    /// A request failed, and it was the member's fault.
    pub(crate) fn failed(&self, why: Verdict, now: Instant, settings: &HealthConfig) {
        self.bad.add(self.second(now));
        let in_a_row = self.failed_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        let was_gone = |standing: &Standing| standing.verdict() == Verdict::Gone;
        let is_news = self.change(|standing| {
            let before = was_gone(standing);
            standing.failed(why, in_a_row, now, settings);
            was_gone(standing) && !before
        });
        if is_news {
            self.check.lock().is_news = true;
        }
    }

    /// A check ended.
    pub(crate) fn checked(&self, ok: bool, settings: &HealthConfig) {
        let is_gone = self.change(|standing| {
            standing.checked(ok, settings);
            standing.verdict() == Verdict::Gone
        });
        let mut schedule = self.check.lock();
        schedule.is_under_way = false;
        // It is coming back: the next good check is worth asking for at once.
        schedule.is_news |= ok && is_gone;
    }

    /// What the member deserves at `now`.
    pub(crate) fn verdict(&self, now: Instant, settings: &HealthConfig) -> Verdict {
        let (good, bad) = (self.good.sum(self.second(now)), self.bad.sum(self.second(now)));
        let is_enough = good + bad >= ERROR_RATE_REQUESTS_MIN;
        let rate =
            settings.error_rate.filter(|rate| is_enough && bad * 100 >= (good + bad) * u64::from(*rate));
        if rate.is_some() {
            // Judged once: the same requests do not eject it again when it returns.
            self.good.clear();
            self.bad.clear();
        }
        self.change(|standing| {
            standing.tick(now, settings);
            if rate.is_some() {
                standing.failed_too_often(now, settings);
            }
            standing.verdict()
        })
    }

    /// It was to be ejected, but stays.
    pub(crate) fn pardon(&self) {
        self.change(Standing::pardon);
    }

    /// One request at a time.
    pub(crate) fn is_on_probation(&self) -> bool {
        self.on_probation.load(Relaxed)
    }

    /// Whether a check is to begin now. `spread` is from 0 to 1 and keeps many members from being asked at once.
    pub(crate) fn begins_check(&self, now: Instant, spread: f64, settings: &HealthConfig) -> bool {
        let mut schedule = self.check.lock();
        if std::mem::take(&mut schedule.is_news) {
            schedule.since_news = 0;
            let soon = now + QUICK.min(settings.interval / 4);
            schedule.next = Some(schedule.next.map_or(soon, |next| next.min(soon)));
        }
        let Some(next) = schedule.next else {
            schedule.next = Some(now + settings.interval.mul_f64(spread));
            return false;
        };
        if now < next || schedule.is_under_way {
            return false;
        }
        let is_in_doubt = self.in_doubt.load(Relaxed) || self.failed_in_a_row.load(Relaxed) != 0;
        let interval = if is_in_doubt && self.standing.lock().verdict() == Verdict::Gone {
            // Who is killed is often back in a moment.
            let factor = 2u32.checked_shl(schedule.since_news).unwrap_or(u32::MAX);
            QUICK.saturating_mul(factor).min(settings.interval / 4)
        } else if is_in_doubt {
            settings.interval / 4
        } else {
            settings.interval
        };
        schedule.since_news = schedule.since_news.saturating_add(1);
        schedule.next = Some(now + interval.mul_f64(0.9 + 0.2 * spread));
        schedule.is_under_way = true;
        true
    }

    fn change<R>(&self, change: impl FnOnce(&mut Standing) -> R) -> R {
        let mut standing = self.standing.lock();
        let result = change(&mut standing);
        self.in_doubt.store(!standing.is_beyond_doubt(), Relaxed);
        self.on_probation.store(standing.is_on_probation(), Relaxed);
        result
    }

    fn second(&self, at: Instant) -> u32 {
        // Begins at one round of the window, so that a fresh window counts nothing.
        (at.duration_since(self.epoch).as_secs() as u32).wrapping_add(crate::upstream::window::SECONDS)
    }
}

/// How soon a member is asked again that has just gone, or that was there again for the first time.
const QUICK: Duration = Duration::from_millis(100);
/// Fewer requests than this in ten seconds say nothing about a rate.
const ERROR_RATE_REQUESTS_MIN: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_errors_ejects_though_never_five_in_a_row() {
        let now = Instant::now();
        let (health, settings) = (Health::new(now), HealthConfig::default());
        for turn in 0..20 {
            assert_eq!(health.verdict(now, &settings), Verdict::Up, "{turn}");
            if turn % 2 == 0 {
                health.failed(Verdict::Failing, now, &settings);
            } else {
                health.succeeded(now, &settings);
            }
        }
        assert_eq!(health.verdict(now, &settings), Verdict::Failing);
        assert_eq!(health.verdict(now + Duration::from_secs(1), &settings), Verdict::Up, "not judged twice");
    }

    #[test]
    fn a_success_between_begins_the_row_anew() {
        let now = Instant::now();
        let (health, settings) = (Health::new(now), HealthConfig::default());
        for _ in 0..4 {
            health.failed(Verdict::Silent, now, &settings);
        }
        health.succeeded(now, &settings);
        for _ in 0..4 {
            health.failed(Verdict::Silent, now, &settings);
        }
        assert_eq!(health.verdict(now, &settings), Verdict::Up);
        health.failed(Verdict::Silent, now, &settings);
        assert_eq!(health.verdict(now, &settings), Verdict::Silent);
    }

    #[test]
    fn checks_come_at_their_interval_and_faster_in_doubt() {
        let (now, settings) = (Instant::now(), HealthConfig::default());
        let health = Health::new(now);
        let at = |ms| now + Duration::from_millis(ms);
        assert!(!health.begins_check(now, 0.5, &settings), "spread over the first interval");
        assert!(!health.begins_check(at(999), 0.5, &settings));
        assert!(health.begins_check(at(1000), 0.5, &settings));
        assert!(!health.begins_check(at(9000), 0.5, &settings), "one at a time");
        health.checked(true, &settings);
        assert!(health.begins_check(at(9000), 0.5, &settings));
        health.checked(true, &settings);
        health.failed(Verdict::Gone, at(9000), &settings);
        assert!(!health.begins_check(at(10_999), 0.5, &settings), "the next one was planned before");
        assert!(health.begins_check(at(11_000), 0.5, &settings));
        health.checked(false, &settings);
        assert!(health.begins_check(at(11_500), 0.5, &settings));
    }

    /// Rolling restarts: a member that was killed and is back must not be waited for, or none is left.
    #[test]
    fn a_member_that_is_gone_is_asked_at_once_and_then_less_and_less() {
        let (now, settings) = (Instant::now(), HealthConfig::default());
        let health = Health::new(now);
        let at = |ms| now + Duration::from_millis(ms);
        assert!(!health.begins_check(now, 0.5, &settings));
        (0..5).for_each(|_| health.failed(Verdict::Gone, at(10), &settings));
        assert!(!health.begins_check(at(10), 0.5, &settings));
        // 100 ms after it went, then 200 and 400 ms later, then every quarter of the interval.
        for due in [110, 310, 710, 1210, 1710] {
            assert!(!health.begins_check(at(due - 1), 0.5, &settings), "{due}");
            assert!(health.begins_check(at(due), 0.5, &settings), "{due}");
            health.checked(false, &settings);
        }
        // Its checks have failed three times by now: it takes two good ones, the second at once.
        assert!(health.begins_check(at(2210), 0.5, &settings));
        health.checked(true, &settings);
        assert_eq!(health.verdict(at(2210), &settings), Verdict::Gone);
        assert!(!health.begins_check(at(2220), 0.5, &settings));
        assert!(health.begins_check(at(2320), 0.5, &settings));
        health.checked(true, &settings);
        assert_eq!(health.verdict(at(2320), &settings), Verdict::Up);
    }
}
