//! One client's socket, with what came from it and was not yet understood.
//!
//! It is shared: the task that serves the connection reads heads and writes answers, while the body of the request under
//! way, wherever that has got to, reads from the same socket. Each holds it for one step at a time, under a lock that is
//! practically never contended.

use std::{
    fmt,
    future::Future as _,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use tokio::io::{AsyncReadExt as _, ReadBuf};

use super::{
    head::Head,
    inbound::{Inbound, Piece},
    write::{Outbound, put_interim},
};
use crate::{
    alarm::Alarm,
    body::BodyError,
    codec::Pending,
    headers::strip_hop_by_hop,
    tunnel::{Stream, Tunnel},
};

/// The socket and its buffers.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    pub(super) inbound: Inbound,
    /// What is said before the answer: 100, and the interim responses of a member.
    early: Pending,
    /// The number of the request under way. Whoever holds on to an earlier one has nothing to do with this one.
    number: u64,
    /// The request's answer has not begun.
    is_open: bool,
    takes_interims: bool,
    /// The client waits to be told before it sends the body.
    awaits_continue: bool,
    /// What the connection becomes after the answer.
    tunnel: Option<Box<Tunnel>>,
    /// Who serves the connection, if it has to be told that the body has ended.
    server: Option<Waker>,
    /// For whatever is waited for.
    pub(super) alarm: Alarm,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("inbound", &self.inbound)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>, inbound: Inbound, alarm: Alarm) -> Self {
        Wire {
            stream,
            inbound,
            early: Pending::default(),
            number: 0,
            is_open: false,
            takes_interims: false,
            awaits_continue: false,
            tunnel: None,
            server: None,
            alarm,
        }
    }

    /// A request begins. Returns its number.
    pub(super) fn begin(&mut self, head: &Head) -> u64 {
        self.number += 1;
        self.is_open = true;
        self.takes_interims = head.parts.version == Version::HTTP_11;
        self.awaits_continue = head.expects_continue;
        self.number
    }

    /// Its answer begins. Returns whether the client may still send what belongs to the request: who waits to be told and
    /// never was may send the body, or not.
    pub(super) fn answer(&mut self) -> bool {
        self.is_open = false;
        self.server = None;
        !self.awaits_continue || self.inbound.is_between_messages()
    }

    /// The request has been answered. Whoever still holds its body has nothing to do with what follows.
    pub(super) fn finish(&mut self) -> Option<Box<Tunnel>> {
        self.number += 1;
        self.tunnel.take()
    }

    /// Whether `number` is the request under way.
    pub(super) fn is_at(&self, number: u64) -> bool {
        self.number == number
    }

    /// Says an interim response, if the answer has not begun. What the socket does not take at once leaves before the
    /// answer does.
    pub(super) fn interim(&mut self, status: StatusCode, headers: &HeaderMap) {
        let is_ours = status.is_informational()
            && !matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS);
        // What does not fit is left out, as is allowed for all but 101.
        if !is_ours || !self.is_open || !self.takes_interims || self.early.len() > EARLY_MAX {
            return;
        }
        let mut headers = headers.clone();
        strip_hop_by_hop(&mut headers);
        put_interim(status, &headers, self.early.room());
        // Nobody waits for it: the next to write does.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.poll_early(&mut cx);
    }

    /// Makes a tunnel of the connection, once the answer has been sent.
    pub(super) fn leave(&mut self, tunnel: Tunnel) {
        self.tunnel = Some(Box::new(tunnel));
    }

    /// Reads once; 0 at the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.inbound.room();
        if room > FIRST_READ {
            let buffer = self.inbound.buffer();
            buffer.reserve(room);
            return pin!(self.stream.read_buf(buffer)).poll(cx);
        }
        // Between requests no memory waits for the next one.
        let mut bytes = [const { MaybeUninit::uninit() }; FIRST_READ];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer))?;
        self.inbound.push(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Ready when the client has left, as far as can be told without reading ahead: while its body arrives, the body
    /// tells, and who has sent the next request already is there.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.inbound.is_between_messages() {
            self.server = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if !self.inbound.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    /// The next piece of the request's body; the client is told that it may send it.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BodyError>> {
        loop {
            match self.inbound.piece().map_err(BodyError::client)? {
                Piece::NeedMore => {}
                piece => {
                    self.awaits_continue = false;
                    if self.inbound.is_between_messages()
                        && let Some(server) = self.server.take()
                        && !server.will_wake(cx.waker())
                    {
                        server.wake();
                    }
                    return Poll::Ready(Ok(piece));
                }
            }
            if std::mem::take(&mut self.awaits_continue) && self.is_open && self.inbound.is_empty() {
                self.early.room().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            if self.is_open
                && let Poll::Ready(Err(error)) = self.poll_early(cx)
            {
                return Poll::Ready(Err(BodyError::client(error)));
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => {
                    return Poll::Ready(Err(BodyError::client(io::Error::from(
                        io::ErrorKind::UnexpectedEof,
                    ))));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(BodyError::client(error))),
            }
        }
    }

    /// Writes what `outbound` has, after what was said before it.
    pub(super) fn poll_send(
        &mut self,
        outbound: &mut Outbound,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_early(cx))?;
        ready!(outbound.poll_drain(&mut *self.stream, cx))?;
        match (*self.stream).socket() {
            Some(socket) => outbound.poll_drain_pipe(socket, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Whether what lies in a pipe can be written.
    pub(super) fn takes_pipes(&self) -> bool {
        (*self.stream).socket().is_some()
    }

    /// Nothing that was written waits any more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    /// Reads what nobody wants; 0 at the end of the stream.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [const { MaybeUninit::uninit() }; FIRST_READ];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// The socket, and what was read beyond the request. Nothing is left here.
    pub(super) fn take(&mut self) -> (Box<dyn Stream>, Bytes) {
        (std::mem::replace(&mut self.stream, Box::new(tokio::io::empty())), self.inbound.rest())
    }

    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.early.is_empty() {
            let written = ready!(Pin::new(&mut *self.stream).poll_write(cx, self.early.rest()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.early.advance(written);
        }
        self.early = Pending::default();
        Pin::new(&mut *self.stream).poll_flush(cx)
    }
}

/// Room for the head of an ordinary request and a small body.
const FIRST_READ: usize = 16 << 10;
/// Bytes of interim responses that wait for one client.
const EARLY_MAX: usize = 64 << 10;
