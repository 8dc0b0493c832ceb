//! What is known of one name, and when it is asked for again. The time and chance come in from outside.
//!
//! An answer is good for its time to live, within `refresh_min` and `refresh_max`. Asked again a little later than
//! that, by chance up to a tenth, so that a cache on the way has nothing stale to tell, and many proxies do not ask at
//! once. A name that has no answer keeps its last good one: a resolver that is down takes no member away. That an answer
//! is empty counts as none, as an empty set helps nobody.

use std::time::Duration;

use tokio::time::Instant;

use super::lookup::Found;
use crate::config::{DnsConfig, Member};

/// What is known of a name.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// In the order of addresses, so that what is the same compares so.
    members: Vec<Member>,
    due: Instant,
    failures: u32,
    is_under_way: bool,
    /// It was asked for at least once, whatever came of it.
    is_settled: bool,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Schedule { members: Vec::new(), due: now, failures: 0, is_under_way: false, is_settled: false }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Whether it is to be asked for now; then it is under way until it is [answered](Schedule::answered) or has
    /// [failed](Schedule::failed).
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let begins = now >= self.due && !self.is_under_way;
        self.is_under_way |= begins;
        begins
    }

    /// Takes an answer; tells whether it differs from the one before. `chance` is from 0 to 1.
    pub(super) fn answered(&mut self, found: Found, now: Instant, chance: f64, dns: &DnsConfig) -> bool {
        self.failures = 0;
        self.ends(found.ttl.clamp(dns.refresh_min, dns.refresh_max), now, chance);
        let mut members = found.members;
        members.sort_by_key(|member| member.address.to_string());
        let differs = members != self.members;
        self.members = members;
        differs
    }

    /// There was no answer. Tells whether that is new.
    pub(super) fn failed(&mut self, now: Instant, chance: f64, dns: &DnsConfig) -> bool {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.ends(dns.refresh_min.saturating_mul(factor).min(dns.refresh_max), now, chance);
        self.failures == 1
    }

    fn ends(&mut self, wait: Duration, now: Instant, chance: f64) {
        self.due = now + wait.mul_f64(1.0 + 0.1 * chance);
        self.is_under_way = false;
        self.is_settled = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn found(addresses: &[u8], ttl_s: u64) -> Found {
        let member = |last: &u8| Member::found([127, 0, 0, *last].into(), 80, 1);
        Found { members: addresses.iter().map(member).collect(), ttl: SECOND * ttl_s as u32 }
    }

    #[test]
    fn an_answer_holds_for_its_time_to_live_within_bounds() {
        let (now, dns) = (Instant::now(), DnsConfig::default());
        for (ttl_s, wait) in [(0, SECOND), (20, SECOND * 20), (3600, SECOND * 60)] {
            let mut name = Schedule::new(now);
            assert!(name.begins(now) && !name.begins(now), "one question at a time");
            assert!(name.answered(found(&[1], ttl_s), now, 0.0, &dns));
            assert!(!name.begins(now + wait - Duration::from_millis(1)));
            assert!(name.begins(now + wait));
            name.answered(found(&[1], ttl_s), now, 1.0, &dns);
            assert!(!name.begins(now + wait), "spread by chance");
            assert!(name.begins(now + wait.mul_f64(1.1)));
        }
    }

    #[test]
    fn order_is_no_difference_and_everything_else_is() {
        let (now, dns) = (Instant::now(), DnsConfig::default());
        let mut name = Schedule::new(now);
        assert!(name.answered(found(&[1, 2], 1), now, 0.0, &dns));
        assert!(!name.answered(found(&[2, 1], 1), now, 0.0, &dns));
        assert!(name.answered(found(&[2], 1), now, 0.0, &dns));
        let mut heavier = found(&[2], 1);
        heavier.members[0].weight = 2;
        assert!(name.answered(heavier, now, 0.0, &dns));
    }

    #[test]
    fn failures_keep_the_last_good_answer_and_are_asked_for_less_and_less() {
        let (mut now, dns) = (Instant::now(), DnsConfig::default());
        let mut name = Schedule::new(now);
        assert!(!name.is_settled());
        name.answered(found(&[1], 1), now, 0.0, &dns);
        assert!(name.is_settled());
        for (turn, wait_s) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            assert_eq!(name.failed(now, 0.0, &dns), turn == 0, "only the first is news");
            assert_eq!(name.members().len(), 1);
            assert!(!name.begins(now + SECOND * wait_s - Duration::from_millis(1)));
            now += SECOND * wait_s;
            assert!(name.begins(now), "{wait_s}");
        }
        name.answered(found(&[1], 1), now, 0.0, &dns);
        name.failed(now, 0.0, &dns);
        assert!(name.begins(now + SECOND), "it begins anew");
    }
}
