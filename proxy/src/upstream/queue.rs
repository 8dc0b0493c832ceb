//! A place at a member: as many as it may have requests at once, and a queue for when all members are full.
//!
//! ```text
//!   pick ─► free place ─► go            all full ─► wait, first come first served ─► a place is given up ─► pick again
//!                                          └► queue full, or waited too long: 503, Retry-After
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// Those who wait for a place at any member of a group.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicU32,
    freed: Notify,
}

impl Queue {
    /// Calls `attempt` until it gives something, each time a place is free; nothing if `most` wait already or `limit`
    /// has passed.
    pub(crate) async fn wait<T>(
        &self,
        most: u32,
        limit: Duration,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let _waiting = Waiting::among(&self.waiting, most)?;
        let deadline = Instant::now() + limit;
        loop {
            // Listens first and looks then: a place that is freed between the two is not missed.
            let freed = self.freed.notified();
            if let Some(got) = attempt() {
                return Some(got);
            }
            timeout_at(deadline, freed).await.ok()?;
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    pub(crate) fn wake_all(&self) {
        self.freed.notify_waiters();
    }
}

struct Waiting<'q>(&'q AtomicU32);

impl<'q> Waiting<'q> {
    fn among(count: &'q AtomicU32, most: u32) -> Option<Self> {
        if count.fetch_add(1, Relaxed) >= most {
            count.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The places of one member.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicU32,
    queue: Arc<Queue>,
}

impl Places {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Places { taken: AtomicU32::new(0), queue }
    }

    /// A place, if fewer than `most` are taken.
    pub(crate) fn take(self: &Arc<Self>, most: u32) -> Option<Place> {
        if self.taken.fetch_add(1, Relaxed) >= most {
            self.taken.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Place { of: Arc::clone(self) })
    }
}

/// A place at a member; given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.taken.fetch_sub(1, Relaxed);
        let queue = &self.of.queue;
        if queue.waiting.load(Relaxed) > 0 {
            queue.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn who_waits_gets_the_place_that_is_given_up() {
        let queue = Arc::new(Queue::default());
        let places = Arc::new(Places::new(Arc::clone(&queue)));
        let held = places.take(1).unwrap();
        assert!(places.take(1).is_none());
        let mut waiting = Box::pin(queue.wait(1, Duration::from_secs(60), || places.take(1)));
        poll_fn(|cx| {
            assert!(waiting.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        assert!(
            queue.wait(1, Duration::from_secs(1), || places.take(1)).await.is_none(),
            "the queue is full"
        );
        drop(held);
        assert!(waiting.await.is_some());
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_limit() {
        let queue = Arc::new(Queue::default());
        let (started, limit) = (Instant::now(), Duration::from_millis(20));
        assert!(queue.wait(1, limit, || None::<()>).await.is_none());
        assert!(started.elapsed() >= limit);
        assert_eq!(queue.waiting.load(Relaxed), 0);
    }
}
