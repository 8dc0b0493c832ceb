//! How long to wait before the next attempt: twice as long each time, never all clients at once.
//!
//! ```text
//!     wait(n) = min(first · 2ⁿ, longest) · (0.8 … 1.2)
//! ```
//!
//! The factor is drawn anew each time: clients that lost a server at one moment do not come back at one moment.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    chance: u64,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, next: first, chance: seed }
    }

    /// The wait before the next attempt.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.next.min(self.longest);
        self.next = wait.saturating_mul(2);
        wait.mul_f64(0.8 + 0.4 * unit(split_mix(&mut self.chance)))
    }

    /// The last attempt went well.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// `ttl_ms` shortened by up to `share` of itself, so that what was put together does not expire together.
pub(super) fn jittered(ttl_ms: u64, share: f64, chance: u64) -> u64 {
    let cut = ttl_ms as f64 * share.clamp(0.0, 1.0) * unit(chance);
    (ttl_ms - (cut as u64).min(ttl_ms)).max(1)
}

/// 0 up to, not including, 1.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// The next number of the sequence (SplitMix64, Steele et al. 2014).
pub(super) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mix(*state)
}

/// The finaliser of SplitMix64: neighbours in, strangers out.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, longest, 7);
        for n in 0..40 {
            let middle = (first * 2_u32.pow(n.min(10))).min(longest);
            let wait = backoff.wait();
            assert!(
                wait >= middle.mul_f64(0.8) && wait <= middle.mul_f64(1.2),
                "{n}: {wait:?} for {middle:?}"
            );
        }
        backoff.reset();
        assert!(backoff.wait() <= first.mul_f64(1.2));
    }

    #[test]
    fn clients_do_not_come_back_together() {
        let wait = |seed| Backoff::new(Duration::from_secs(1), Duration::from_secs(1), seed).wait();
        let mut waits: Vec<_> = (0..100).map(wait).collect();
        waits.sort();
        waits.dedup();
        assert!(waits.len() > 95, "{} different waits of 100", waits.len());
        assert!(
            waits[0] < Duration::from_millis(850) && waits[waits.len() - 1] > Duration::from_millis(1_150)
        );
    }

    #[test]
    fn jitter_only_shortens_and_never_to_nothing() {
        let mut chance = 1;
        for _ in 0..1_000 {
            let ttl = jittered(1_000, 0.1, split_mix(&mut chance));
            assert!((900..=1_000).contains(&ttl), "{ttl}");
        }
        assert_eq!(jittered(1, 1.0, u64::MAX), 1);
        assert_eq!(jittered(1_000, 0.0, u64::MAX), 1_000);
        assert_eq!(jittered(u64::MAX, 0.5, 0), u64::MAX);
    }
}
