//! When a client that says nothing is let go because its listener has ended.
//!
//! Idle connections are given [`TIME`] for one more request, whose answer says `Connection: close`. Closed at once, they
//! would reset the request that is just on its way (HAProxy's `idle-close-on-response`). HTTP/2 has GOAWAY for that.
//!
//! One for each connection, from its first byte on. Whoever never waits never listens.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::watch;

/// The end of a listener, as seen by one of its connections.
pub(super) struct Farewell {
    /// Nothing is ever sent: it fails when the listener has ended.
    listener: watch::Receiver<()>,
    state: State,
}

enum State {
    /// Nobody has waited yet.
    New,
    /// Ends when it is time to go.
    Listening(Pin<Box<dyn Future<Output = ()> + Send>>),
    Over,
}

impl Farewell {
    pub(super) fn new(listener: watch::Receiver<()>) -> Self {
        Farewell { listener, state: State::New }
    }

    /// Whether the listener has ended.
    pub(super) fn has_begun(&self) -> bool {
        self.listener.has_changed().is_err()
    }

    /// Ready when a client that has been silent since the listener ended has had time for one more request.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::New = self.state {
            self.state = State::Listening(Box::pin(until_over(self.listener.clone())));
        } else if !self.has_begun() {
            // It listens already, and there is nothing to hear.
            return Poll::Pending;
        }
        if let State::Listening(future) = &mut self.state {
            std::task::ready!(future.as_mut().poll(cx));
            self.state = State::Over;
        }
        Poll::Ready(())
    }

    /// What it listens to.
    pub(super) fn into_listener(self) -> watch::Receiver<()> {
        self.listener
    }
}

async fn until_over(mut listener: watch::Receiver<()>) {
    let _ = listener.changed().await;
    tokio::time::sleep(TIME).await;
}

const TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_has_time_for_one_more_request() {
        let listener = watch::Sender::new(());
        let mut farewell = Farewell::new(listener.subscribe());
        let mut poll = async || poll_fn(|cx| Poll::Ready(farewell.poll(cx))).await;
        assert!(poll().await.is_pending() && poll().await.is_pending());
        let begun = Instant::now();
        tokio::join!(async { drop(listener) }, poll_fn(|cx| farewell.poll(cx)));
        assert!(begun.elapsed() >= TIME && farewell.has_begun());
        assert!(poll_fn(|cx| Poll::Ready(farewell.poll(cx))).await.is_ready(), "and stays so");
    }
}
