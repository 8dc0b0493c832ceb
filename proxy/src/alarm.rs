//! One timer for all that a connection waits for, set anew only when it rings.
//!
//! Each request has its times: for the head, for a member to answer, for the answer to be taken. Nearly always they are over
//! before the timer would ring, so it is not moved each time: it rings when it was set to, and is set then to what is
//! waited for at that moment. Only an earlier end than it is set to moves it. Several can wait by one alarm, the earlier end
//! inside of the later.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::{
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep_until},
};

/// The timer.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes already: to tell it again takes longer than to remember.
    wakes: Option<Waker>,
}

impl Alarm {
    /// Set to `first`.
    pub(crate) fn new(first: Instant) -> Self {
        Alarm { sleep: Box::pin(sleep_until(first)), wakes: None }
    }

    /// Ready at `deadline`.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if deadline < self.sleep.deadline() {
            self.set(deadline);
        }
        let is_known = self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if is_known && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            // A task that has done too much in one go is woken again, but not by the timer.
            let is_heard = has_budget_remaining();
            if self.sleep.as_mut().poll(cx).is_pending() {
                self.wakes = is_heard.then(|| cx.waker().clone());
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.set(deadline);
        }
    }

    fn set(&mut self, deadline: Instant) {
        self.wakes = None;
        self.sleep.as_mut().reset(deadline);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_what_is_waited_for_is_over() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut alarm = Alarm::new(at(10));
        for end in [12, 13, 60, 61] {
            poll_fn(|cx| alarm.poll(at(end), cx)).await;
            assert_eq!(begun.elapsed().as_secs(), end);
        }
        let mut alarm = Alarm::new(at(1000));
        poll_fn(|cx| alarm.poll(at(100), cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 100, "an earlier end moves it");
    }
}
