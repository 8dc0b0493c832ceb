//! A request on its way to a member: the head, then the body as the client sends it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::request::{RequestHead, Sending};
use crate::{
    body::{Body, BodyError},
    codec::{put_chunk, put_last_chunk},
};

/// What is still to be written.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Encoded and waiting for the socket.
    out: BytesMut,
    /// A large piece that follows `out` without being copied into it.
    large: Bytes,
    /// Nothing when the body has been read to its end.
    body: Option<Body>,
    sending: Sending,
    /// Bytes of the body that may still come, when the length is known.
    left: u64,
    finished: bool,
}

impl Upload {
    pub(crate) fn new(head: RequestHead<'_>, body: Body) -> Self {
        let sending = match body.size_hint().exact() {
            Some(0) => Sending::Nothing,
            Some(length) => Sending::Length(length),
            None => Sending::Chunked,
        };
        let mut out = BytesMut::new();
        head.write(sending, &mut out);
        let left = if let Sending::Length(length) = sending { length } else { 0 };
        let body = Some(body);
        Upload { out, large: Bytes::new(), body, sending, left, finished: false }
    }

    /// Everything has been written.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Writes as much as the socket takes and the client gives. Ready when all is written.
    pub(crate) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError>> {
        while !self.finished {
            let starved = self.poll_fill(cx)?.is_pending();
            if self.out.is_empty() && self.large.is_empty() {
                if starved {
                    // What was written must not wait in a TLS buffer for a client that is slow to go on.
                    ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(UploadError::Member)?;
                    return Poll::Pending;
                }
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(UploadError::Member)?;
                self.finished = true;
                break;
            }
            ready!(self.poll_drain(stream, cx)).map_err(UploadError::Member)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the body while there is room. Ready when there is none or the body has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, UploadError> {
        while self.large.is_empty() && self.out.len() < COPY_MAX {
            let Some(body) = &mut self.body else { return Ok(Poll::Ready(())) };
            if self.sending == Sending::Nothing {
                self.body = None;
                continue;
            }
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(frame) => frame,
            };
            match frame.transpose().map_err(UploadError::Client)? {
                None => self.end(None)?,
                Some(frame) => match frame.into_data() {
                    Ok(data) => self.data(data)?,
                    Err(frame) => self.end(frame.trailers_ref())?,
                },
            }
        }
        Ok(Poll::Ready(()))
    }

    fn data(&mut self, data: Bytes) -> Result<(), UploadError> {
        if data.is_empty() {
            return Ok(());
        }
        if self.sending == Sending::Chunked {
            put_chunk(&data, &mut self.out);
            return Ok(());
        }
        self.left =
            self.left.checked_sub(data.len() as u64).ok_or(UploadError::Client(BodyError::LengthBroken))?;
        if data.len() > COPY_MAX {
            self.large = data;
        } else {
            self.out.extend_from_slice(&data);
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&http::HeaderMap>) -> Result<(), UploadError> {
        self.body = None;
        if self.left > 0 {
            return Err(UploadError::Client(BodyError::LengthBroken));
        }
        if self.sending == Sending::Chunked {
            put_last_chunk(trailers, &mut self.out);
        }
        Ok(())
    }

    fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.out.has_remaining() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        while self.large.has_remaining() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.large))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.large.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Who broke off.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The client's body failed; the member is not to blame.
    Client(BodyError),
    /// The member does not take more; its answer may be there all the same.
    Member(io::Error),
}

/// Pieces up to this size are copied behind the head, to leave in one write.
const COPY_MAX: usize = 16 << 10;
