//! A member's answer, whatever version of HTTP it came by.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};

use super::{connect::Stream, h1, h2, settlement::Settlement};
use crate::{body::BodyError, pipe::Piped};

/// A member's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ResponseBody,
}

/// Its body as it arrives. When it ends, is dropped or fails, the [`Settlement`] learns of it.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Boxed, as the other: an answer is handed on often, and its size with it.
    One(Box<h1::ResponseBody>),
    Two(Box<h2::ResponseBody>),
}

impl ResponseBody {
    /// Who learns when this body has ended. A body that is empty ends here.
    pub(crate) fn settle_with(&mut self, settlement: Settlement) {
        match self {
            ResponseBody::One(body) => body.settle_with(settlement),
            ResponseBody::Two(body) => body.settle_with(settlement),
        }
    }

    /// Keeps `settlement` for a tunnel, after a switch of protocols. HTTP/2 knows none.
    pub(crate) fn hold(&mut self, settlement: Settlement) {
        match self {
            ResponseBody::One(body) => body.hold(settlement),
            ResponseBody::Two(body) => body.settle_with(settlement),
        }
    }

    /// The next piece by way of a pipe; `None` where it is to be had as a frame.
    pub(crate) fn poll_piped(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piped, BodyError>>> {
        match self {
            ResponseBody::One(body) => body.poll_piped(cx),
            ResponseBody::Two(_) => Poll::Ready(None),
        }
    }

    /// The connection, for a tunnel, after a switch of protocols; and the settlement, for as long as it lasts.
    pub(crate) fn into_tunnel(self) -> Option<(Stream, Bytes, Option<Settlement>)> {
        match self {
            ResponseBody::One(body) => body.into_tunnel(),
            ResponseBody::Two(_) => None,
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            ResponseBody::One(body) => Pin::new(body).poll_frame(cx),
            ResponseBody::Two(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::One(body) => body.is_end_stream(),
            ResponseBody::Two(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::One(body) => body.size_hint(),
            ResponseBody::Two(body) => body.size_hint(),
        }
    }
}
