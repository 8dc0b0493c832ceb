//! The body of an answer as its stream delivers it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::Stream;
use crate::{
    alarm::Alarm,
    body::BodyError,
    headers::strip_trailers,
    upstream::{answer, handover::Hand, settlement::Settlement, silence::Silence},
};

/// A response body as it arrives. Bytes that are not asked for stay in the stream's window.
///
/// When it ends, is dropped or fails, the request's body is no longer sent and the member's lease ends. Dropped early, it
/// resets its stream: the member feels that the client has left.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    silence: Silence,
    alarm: Option<Alarm>,
    settlement: Option<Settlement>,
    hand: Option<Hand>,
    /// Dropped last: the connection has room again when the stream is over.
    _stream: Stream,
}

impl ResponseBody {
    pub(super) fn new(stream: Stream, incoming: Incoming, hand: Option<Hand>, silence_max: Duration) -> Self {
        Self {
            incoming,
            silence: Silence::new(silence_max),
            alarm: None,
            settlement: None,
            hand,
            _stream: stream,
        }
    }

    /// Who learns when this body has ended. A body that is empty ends here.
    pub(crate) fn settle_with(&mut self, settlement: Settlement) {
        self.settlement = Some(settlement);
        if self.incoming.is_end_stream() {
            self.settle(true);
        }
    }

    fn settle(&mut self, ok: bool) {
        if let Some(hand) = self.hand.take() {
            hand.stop();
        }
        if let Some(settlement) = self.settlement.take() {
            settlement.finish(None, ok);
        }
    }

    /// Whose fault it is that the stream broke.
    fn failure(&mut self, error: hyper::Error) -> BodyError {
        let clients = self.hand.as_ref().and_then(Hand::take_failure);
        self.settle(clients.is_some());
        clients.unwrap_or_else(|| BodyError::member(error))
    }
}

impl From<ResponseBody> for answer::ResponseBody {
    fn from(body: ResponseBody) -> Self {
        answer::ResponseBody::Two(Box::new(body))
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Pending => {
                ready!(this.silence.poll(&mut this.alarm, cx));
                this.settle(false);
                Poll::Ready(Some(Err(BodyError::MemberSilent(this.silence.max))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.failure(error)))),
            Poll::Ready(frame) => {
                this.silence.ended();
                if frame.is_none() || this.incoming.is_end_stream() {
                    this.settle(true);
                }
                Poll::Ready(frame.map(|frame| frame.map(harmless).map_err(BodyError::member)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Trailers without what would be read as framing, routing or credentials by somebody who merges them.
fn harmless(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            strip_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // A client that leaves early is no fault of the member.
        self.settle(true);
    }
}
