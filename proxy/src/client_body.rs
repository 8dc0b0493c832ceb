//! The body that a client sends: no larger than allowed, no slower than sensible, its trailers harmless.
//!
//! Only the time spent waiting for the client counts; a slow member does not make a client look slow.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::{body::BodyError, headers::strip_trailers, observe::Counter};

/// A client's body as it arrives.
#[derive(Debug)]
pub struct ClientBody {
    pub(crate) incoming: Incoming,
    pace: Pace,
    len_max: u64,
    received: u64,
    pub(crate) counter: Option<Arc<Counter>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ClientBody {
    pub(crate) fn new(incoming: Incoming, len_max: u64, silence_max: Duration) -> Self {
        let pace = Pace { silence_max, rate_min: RATE_MIN, waited: Duration::ZERO, waiting_since: None };
        Self { incoming, pace, len_max, received: 0, counter: None, timer: None }
    }

    pub(crate) fn at_least(&mut self, rate_min: u64) {
        self.pace.rate_min = rate_min;
    }

    /// From now on it may be silent so long, and as slow as it likes.
    pub(crate) fn be_patient(&mut self, silence_max: Duration) {
        self.pace.silence_max = self.pace.silence_max.max(silence_max);
        self.pace.rate_min = 0;
        self.timer = None;
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => {
                self.pace.wait(Instant::now());
                let silence_max = self.pace.silence_max;
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence_max)));
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(BodyError::ClientSilent(silence_max))))
            }
            Poll::Ready(frame) => {
                self.timer = None;
                Poll::Ready(frame.map(|frame| self.check(frame.map_err(BodyError::Client)?)))
            }
        }
    }

    fn check(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let Some(data) = frame.data_ref() else {
            // Trailers: what would be read as framing, routing or credentials by somebody who merges them goes.
            return Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    strip_trailers(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            });
        };
        self.received += data.len() as u64;
        if let Some(counter) = &self.counter {
            counter.add(data.len() as u64);
        }
        if self.received > self.len_max {
            return Err(BodyError::TooLarge { max: self.len_max });
        }
        if self.pace.is_too_slow(self.received, Instant::now()) {
            return Err(BodyError::ClientSilent(self.pace.silence_max));
        }
        Ok(frame)
    }
}

/// How long was waited for the client, and whether that was worth it.
#[derive(Debug)]
struct Pace {
    silence_max: Duration,
    /// Bytes a second.
    rate_min: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    fn wait(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// A piece came: after the first `silence_max` of waiting the rate must be at least `rate_min`.
    fn is_too_slow(&mut self, received: u64, now: Instant) -> bool {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now - since;
        }
        self.waited > self.silence_max && received < self.rate_min * self.waited.as_secs()
    }
}

/// Bytes a second. A modem of 1990 is ten times as fast; who drips slower only holds a connection.
const RATE_MIN: u64 = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_counts_and_a_drip_is_too_slow() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let pace = || Pace {
            silence_max: Duration::from_secs(10),
            rate_min: RATE_MIN,
            waited: Duration::ZERO,
            waiting_since: None,
        };

        let mut drip = pace();
        let mut slow = (0..20).map(|n| {
            drip.wait(at(n));
            drip.is_too_slow(n + 1, at(n + 1))
        });
        assert_eq!(slow.position(|slow| slow), Some(10), "a byte a second ends after the grace");

        let mut steady = pace();
        for n in 0..20 {
            steady.wait(at(n));
            assert!(!steady.is_too_slow((n + 1) * RATE_MIN, at(n + 1)));
        }

        let mut member_is_slow = pace();
        for n in 0..20 {
            assert!(!member_is_slow.is_too_slow(n, at(n * 100)), "nobody waited for the client");
        }
    }
}
