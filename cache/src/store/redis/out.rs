//! What a connection has still to write: small requests in one piece, long values each from where it lies.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::command::Payload;

/// What is to be written.
#[derive(Default)]
pub(super) struct Out {
    /// Pieces that are complete, before `last`.
    pieces: VecDeque<Bytes>,
    last: Vec<u8>,
    /// Bytes of `last` that are written.
    sent: usize,
    len: usize,
    requests: usize,
    is_begun: bool,
}

impl Out {
    /// Bytes to write in all.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Requests of which nothing has been written.
    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    /// Part of it is written: the rest follows when it can.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn add(&mut self, bytes: &[u8], payload: Option<Payload>) {
        self.requests += 1;
        self.len += bytes.len();
        let Some(Payload { at, bytes: value }) = payload else { return self.last.extend_from_slice(bytes) };
        self.len += value.len();
        self.last.extend_from_slice(&bytes[..at]);
        if value.len() < LONG {
            self.last.extend_from_slice(&value);
        } else {
            let before =
                Bytes::from(std::mem::take(&mut self.last)).split_off(std::mem::take(&mut self.sent));
            self.pieces.extend([before, value]);
        }
        self.last.extend_from_slice(&bytes[at..]);
    }

    /// Writes once.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = Pin::new(stream);
        let last = &self.last[self.sent..];
        let written = if self.pieces.is_empty() {
            stream.poll_write(cx, last)
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let pieces = self.pieces.iter().map(|piece| &piece[..]).chain([last]);
            let count =
                slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
            stream.poll_write_vectored(cx, &slices[..count])
        };
        match ready!(written)? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => {
                self.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        self.requests = 0;
        self.is_begun = self.len > 0;
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.pieces.pop_front();
        }
        self.sent += count;
        if self.sent == self.last.len() {
            self.last.clear();
            self.sent = 0;
        }
    }
}

/// Values from this length on are written from where they lie; shorter ones are copied beside their neighbours.
pub(super) const LONG: usize = 16 * 1024;
/// Pieces given to one system call.
const SLICES_MAX: usize = 16;
