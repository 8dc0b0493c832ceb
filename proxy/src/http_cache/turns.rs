//! Turns: those who waited for an answer that cannot be shared go to the origin a few at a time.
//!
//! A thousand requests have waited for one answer, and it says `private`. Sent on at once they are the very stampede
//! that waiting was to prevent; sent one after the other, the last of them waits for ever. So:
//!
//! ```text
//!     waiter   0 … 31      go at once
//!             32 … 63      go when one of those before has its answer, or after 100 ms
//!             64 … 95      …                                          or after 200 ms
//! ```
//!
//! A quick origin sees [`AT_ONCE`] of them at a time; a slow one, or one that hangs, [`AT_ONCE`] more each [`PACE`]: the
//! last of a thousand waits 3.1 s at most, whatever the origin does. Those who come later wait for nobody: the flights
//! remember for a while that the key is not shared (Varnish and Fastly call that hit-for-miss), and later requests
//! come at the pace of their clients. nginx's `proxy_cache_lock` has neither: all waiters go when its timeout ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of those who wait for one flight.
#[derive(Debug)]
pub(super) struct Turns {
    places: Arc<Semaphore>,
    taken: AtomicU32,
}

/// A turn: held until the origin has answered.
#[derive(Debug)]
pub(super) struct Turn {
    /// None for who has waited long enough.
    _place: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE as usize)), taken: AtomicU32::new(0) }
    }

    /// Waits for a turn.
    pub(super) async fn take(&self) -> Turn {
        // Relaxed: the counter orders nothing else.
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let patience = PACE * (before / AT_ONCE);
        let place = tokio::time::timeout(patience, Arc::clone(&self.places).acquire_owned()).await;
        Turn { _place: place.ok().and_then(Result::ok) }
    }
}

/// Waiters at the origin at a time.
const AT_ONCE: u32 = 32;
/// How long until as many more go although none has its answer.
const PACE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::JoinSet;
    use tokio::time::Instant;

    /// The moments at which `waiters` get their turns, in hundredths of a second, when each keeps it for `held`.
    async fn moments(waiters: usize, held: Duration) -> Vec<u128> {
        let turns = Arc::new(Turns::new());
        let start = Instant::now();
        let mut all = JoinSet::new();
        for _ in 0..waiters {
            let turns = Arc::clone(&turns);
            all.spawn(async move {
                let turn = turns.take().await;
                let at = start.elapsed().as_millis() / 10;
                tokio::time::sleep(held).await;
                drop(turn);
                at
            });
        }
        let mut moments = all.join_all().await;
        moments.sort_unstable();
        moments
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_origin_sees_a_few_at_a_time() {
        let moments = moments(96, Duration::from_millis(20)).await;
        let at = |range: std::ops::Range<usize>| moments[range].to_vec();
        assert_eq!([at(0..32), at(32..64), at(64..96)], [vec![0; 32], vec![2; 32], vec![4; 32]]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_hangs_holds_nobody_up_for_long() {
        let moments = moments(1000, Duration::from_secs(3600)).await;
        for (nth, moment) in moments.into_iter().enumerate() {
            assert_eq!(moment, 10 * (nth as u128 / 32), "waiter {nth}");
        }
    }
}
