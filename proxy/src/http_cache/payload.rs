//! The body of an answer: as the origin sends it, shared while it arrives, or from the store.

use super::fill::Reader;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body of type `B` from the origin, or bytes that the cache gives.
#[derive(Debug)]
pub enum Payload<B> {
    /// Straight from the origin.
    Origin(B),
    /// From the origin, shared with the store and other clients.
    Arriving(Reader<B>),
    /// From the store.
    Pieces(Pieces),
}

/// Bytes at hand. The usual one piece costs no allocation.
#[derive(Debug, Default)]
pub struct Pieces {
    next: Option<Bytes>,
    rest: VecDeque<Bytes>,
    length: u64,
}

impl Pieces {
    /// These pieces in order.
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let mut pieces = pieces.into_iter();
        let next = pieces.next();
        let rest: VecDeque<Bytes> = pieces.collect();
        let length = next.iter().chain(&rest).map(|piece| piece.len() as u64).sum();
        Self { next, rest, length }
    }

    /// How many bytes are left.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The only piece, when there is but one.
    pub fn into_single(self) -> Result<Bytes, Self> {
        match self.next {
            Some(only) if self.rest.is_empty() => Ok(only),
            next => Err(Self { next, ..self }),
        }
    }
}

impl<B> Payload<B> {
    /// No bytes.
    pub fn empty() -> Self {
        Self::Pieces(Pieces::default())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let after = self.rest.pop_front();
        let piece = std::mem::replace(&mut self.next, after);
        self.length -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

impl<B> Body for Payload<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: fmt::Display,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Origin(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|error| io::Error::other(error.to_string())))),
            Self::Arriving(reader) => Pin::new(reader).poll_frame(cx),
            Self::Pieces(pieces) => Pin::new(pieces).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Origin(body) => body.is_end_stream(),
            Self::Arriving(reader) => reader.is_end_stream(),
            Self::Pieces(pieces) => pieces.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Origin(body) => body.size_hint(),
            Self::Arriving(reader) => reader.size_hint(),
            Self::Pieces(pieces) => pieces.size_hint(),
        }
    }
}
