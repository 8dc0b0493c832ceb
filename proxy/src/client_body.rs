//! The body that a client sends: no larger than allowed, no slower than sensible, its trailers harmless.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::{
    body::BodyError, connection::RequestBody, headers::strip_trailers, observe::Counter, pace::Pace,
    stream_body::StreamBody,
};

/// A client's body as it arrives.
#[derive(Debug)]
pub struct ClientBody {
    incoming: Incoming,
    pace: Pace,
    len_max: u64,
    received: u64,
    pub(crate) counter: Option<Arc<Counter>>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Where it comes from.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// There is none.
    Nothing,
    /// A connection of HTTP/1.
    One(RequestBody),
    /// A stream of HTTP/2.
    Two(StreamBody),
}

impl ClientBody {
    pub(crate) fn new(incoming: Incoming, len_max: u64, silence_max: Duration) -> Self {
        let pace = Pace::new(silence_max, RATE_MIN);
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

    /// Announced as empty by a client that could still send something.
    pub(crate) fn is_empty_so_far(&self) -> bool {
        matches!(&self.incoming, Incoming::Two(body) if body.is_empty_so_far())
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match &self.incoming {
            Incoming::Nothing => true,
            Incoming::One(body) => body.is_end_stream(),
            Incoming::Two(body) => body.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Incoming::Nothing => SizeHint::with_exact(0),
            Incoming::One(body) => body.size_hint(),
            Incoming::Two(body) => body.size_hint(),
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.incoming {
            Incoming::Nothing => Poll::Ready(None),
            Incoming::One(body) => body.poll_frame(cx),
            Incoming::Two(body) => {
                let polled = body.poll_frame(cx);
                polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::client)))
            }
        };
        match polled {
            Poll::Pending => {
                self.pace.wait(Instant::now());
                let silence_max = self.pace.silence_max;
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence_max)));
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(BodyError::ClientSilent(silence_max))))
            }
            Poll::Ready(frame) => {
                self.timer = None;
                Poll::Ready(frame.map(|frame| self.check(frame?)))
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
        if self.pace.is_too_slow(self.received, Instant::now) {
            return Err(BodyError::ClientSilent(self.pace.silence_max));
        }
        Ok(frame)
    }
}

/// Bytes a second. A modem of 1990 is ten times as fast; who drips slower only holds a connection.
const RATE_MIN: u64 = 240;
