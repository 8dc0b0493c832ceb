//! When to write: at once, or with those requests that are just being made.
//!
//! Many tasks are ready at the same moment, because their answers came in one packet. A driver that wrote as soon as it was
//! woken would make a system call for each of their requests, and a call costs more than everything else in an operation. One
//! that waited for all of them would leave the server without work, and then be without work itself. So what is gathered is
//! written when it is half of what is under way, and what is less waits for a lull: the moment when no task of this thread is
//! ready. A full buffer ([`ENOUGH`]) does not wait, nor does a lone caller, and who waits does so for the answers that are
//! under way at the longest, as they make half of them ever less.
//!
//! ```text
//!     16 tasks ready, nothing under way      1 ─► 1 ─► 1 ─► 2 ─► 3 ─► 4 ─► lull: 4 ─►       the server begins with the first
//! ```
//!
//! The lull is tokio's: who yields is woken when the thread has nothing else to do. A driver that woke itself instead, to go to the
//! end of the queue, would wake a second thread to share the work it is said to have, a system call and a change of
//! processors for each write.
//!
//! Seen with 100 bytes, as shares of the rate of plain redis-rs (get and put with 16 in flight, with 256; two cores, real-time
//! priority, medians of fifteen rounds): half, and a lull 1.07, 1.11, 1.04, 1.23; as much as is under way, and a lull 1.02,
//! 0.94, 0.95, 1.17; a third, and the end of the queue 1.01, 0.97, 1.04, 1.12. With ordinary priority on a busy machine, where
//! every thread that is woken waits for a processor, the last had 0.47 and 0.59 with 16 in flight (medians of seven sittings,
//! from 0.37 and 0.47 on); half, and a lull 0.94 and 1.52 (of three, from 0.86 and 1.00 on).
//!
//! Nagle's algorithm, which redis-rs leaves on, gathers in the kernel until an acknowledgement comes. On loopback that is as
//! good (1.12, 0.96, 1.02, 1.09); over a network it would have a second request wait for the round trip of the first. It is off.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
};

use parking_lot::Mutex;
use tokio::task::yield_now;

/// Whether to write now.
#[derive(Debug, Default)]
pub(super) struct Cork {
    lull: Arc<Lull>,
    is_awaited: bool,
}

/// That there is nothing else to do, and who wants to know.
#[derive(Debug, Default)]
struct Lull {
    has_come: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

impl Cork {
    /// True once for each lull that was waited for: then all that is gathered is written.
    pub(super) fn takes_lull(&mut self) -> bool {
        // Relaxed: the waker orders what there is to order.
        let has_come = self.lull.has_come.load(Relaxed);
        if has_come {
            self.lull.has_come.store(false, Relaxed);
            self.is_awaited = false;
        }
        has_come
    }

    /// True when `gathered` requests of `len` bytes, with `under_way` unanswered, should wait for more; the task is then woken
    /// when there is a lull.
    pub(super) fn holds_back(
        &mut self,
        gathered: usize,
        len: usize,
        under_way: usize,
        cx: &Context<'_>,
    ) -> bool {
        if gathered * SHARE >= under_way || len >= ENOUGH {
            return false;
        }
        // Each time: after the login another task drives.
        *self.lull.driver.lock() = Some(cx.waker().clone());
        if !self.is_awaited {
            self.is_awaited = true;
            let waker = Waker::from(self.lull.clone());
            let is_over = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
            debug_assert!(is_over.is_pending(), "it yields once");
        }
        true
    }
}

impl Wake for Lull {
    fn wake(self: Arc<Self>) {
        self.has_come.store(true, Relaxed);
        let driver = self.driver.lock().take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// What is gathered is written when it is this part of what is under way.
const SHARE: usize = 2;
/// Bytes for which a write is worth its while.
pub(super) const ENOUGH: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    #[test]
    fn half_of_what_is_under_way_is_written_at_once() {
        let mut cork = Cork::default();
        let cx = Context::from_waker(Waker::noop());
        for (gathered, under_way) in [(1, 0), (1, 1), (1, 2), (3, 6), (4, 7)] {
            assert!(!cork.holds_back(gathered, 50, under_way, &cx), "{gathered} {under_way}");
        }
        assert!(!cork.holds_back(1, ENOUGH, 100, &cx));
        assert!(cork.holds_back(1, ENOUGH - 1, 3, &cx));
    }

    #[tokio::test]
    async fn less_waits_until_no_task_is_ready_and_is_woken_then() {
        let mut cork = Cork::default();
        for _ in 0..10 {
            let others: Vec<_> = (0..5).map(|_| tokio::spawn(async {})).collect();
            let mut has_waited = false;
            let lull = poll_fn(|cx| {
                if cork.takes_lull() {
                    return Poll::Ready(());
                }
                has_waited = true;
                assert!(cork.holds_back(1, 50, 16, cx));
                assert!(cork.holds_back(2, 99, 16, cx), "nothing has come");
                Poll::Pending
            });
            lull.await;
            assert!(has_waited && others.iter().all(tokio::task::JoinHandle::is_finished));
            assert!(!cork.takes_lull(), "it is taken once");
        }
    }

    #[tokio::test]
    async fn the_lull_wakes_the_task_that_drives_by_then() {
        let mut cork = Cork::default();
        poll_fn(|cx| {
            if cork.takes_lull() {
                return Poll::Ready(());
            }
            assert!(cork.holds_back(1, 50, 16, &Context::from_waker(Waker::noop())));
            assert!(cork.holds_back(1, 50, 16, cx));
            Poll::Pending
        })
        .await;
    }
}
