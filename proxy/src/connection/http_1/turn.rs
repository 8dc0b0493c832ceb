//! What a request has of the connection that it came by: its body, a way for interim responses, a way out of HTTP.
//!
//! All of it is good for the one request: when that is answered, a body that somebody still holds breaks off, and an
//! interim response leads nowhere.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    head::{Head, Length},
    inbound::Piece,
    wire::Wire,
};
use crate::{body::BodyError, tunnel::Tunnel, upstream::Interims};

/// The turn of one request on a connection that serves many, one after another.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    wire: Arc<Mutex<Wire>>,
    number: u64,
}

impl Turn {
    /// The request with `head` has its turn.
    pub(super) fn begin(wire: &Arc<Mutex<Wire>>, head: &Head) -> Self {
        let number = wire.lock().begin(head);
        Turn { wire: Arc::clone(wire), number }
    }

    /// Ready at `deadline`.
    pub(crate) fn poll_until(&self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.wire.lock().alarm.poll(deadline, cx)
    }

    /// Makes a tunnel of the connection as soon as the answer has been sent.
    pub(crate) fn leave(&self, tunnel: Tunnel) {
        let mut wire = self.wire.lock();
        if wire.is_at(self.number) {
            wire.leave(tunnel);
        }
    }
}

impl Interims for Turn {
    fn pass(&self, status: StatusCode, headers: &HeaderMap) {
        let mut wire = self.wire.lock();
        if wire.is_at(self.number) {
            wire.interim(status, headers);
        }
    }
}

/// The body of a request of HTTP/1, read from the connection as somebody asks for it.
#[derive(Debug)]
pub(crate) struct RequestBody {
    turn: Turn,
    /// Bytes to come, if known.
    left: Option<u64>,
    is_ended: bool,
}

impl RequestBody {
    pub(super) fn new(turn: Turn, length: Length) -> Self {
        let left = match length {
            Length::Bytes(length) => Some(length),
            Length::Chunked => None,
        };
        RequestBody { turn, left, is_ended: left == Some(0) }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        let mut wire = self.turn.wire.lock();
        if !wire.is_at(self.turn.number) {
            return Poll::Ready(Some(Err(BodyError::unwanted())));
        }
        Poll::Ready(match std::task::ready!(wire.poll_piece(cx)) {
            Ok(Piece::Data(data)) => {
                self.left = self.left.map(|left| left - data.len() as u64);
                self.is_ended = self.left == Some(0);
                Some(Ok(Frame::data(data)))
            }
            Ok(Piece::End(trailers)) => {
                self.is_ended = true;
                trailers.map(|fields| Ok(Frame::trailers(fields)))
            }
            Ok(Piece::NeedMore) => return Poll::Pending,
            Err(error) => Some(Err(error)),
        })
    }
}
