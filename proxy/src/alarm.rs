//! One timer for all that a connection waits for, set anew only when it rings.
//!
//! Each request has its times: for the head, for a member to answer, for the answer to be taken. Nearly always they are over
//! before the timer would ring, so it is not moved each time: it rings when it was set to, and is set then to what is
//! waited for at that moment. Only an earlier end than it is set to moves it. Several can wait by one alarm, the earlier end
//! inside of the later.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Set to `first`.
    pub(crate) fn new(first: Instant) -> Self {
        Alarm(Box::pin(sleep_until(first)))
    }

    /// Ready at `deadline`.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if deadline < self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        while self.0.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
        Poll::Pending
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
