//! A request on its way to a member: the head, then the body as the client sends it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::request::{RequestHead, Sending};
use crate::{
    body::{Body, BodyError},
    codec::{Pending, put_chunk, put_last_chunk},
};

/// What is still to be written.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Encoded and waiting for the socket.
    out: Pending,
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
        let mut out = Pending::default();
        head.write(sending, out.room());
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
        while self.large.is_empty() && self.out.len() < GATHER {
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
            put_chunk(&data, self.out.room());
            return Ok(());
        }
        self.left =
            self.left.checked_sub(data.len() as u64).ok_or(UploadError::Client(BodyError::LengthBroken))?;
        if data.len() > COPY_MAX {
            self.large = data;
        } else {
            self.out.room().extend_from_slice(&data);
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&http::HeaderMap>) -> Result<(), UploadError> {
        self.body = None;
        if self.left > 0 {
            return Err(UploadError::Client(BodyError::LengthBroken));
        }
        if self.sending == Sending::Chunked {
            put_last_chunk(trailers, self.out.room());
        }
        Ok(())
    }

    fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.out.is_empty() || self.large.has_remaining() {
            let stream = Pin::new(&mut *stream);
            let written = match self.large.is_empty() {
                true => ready!(stream.poll_write(cx, self.out.rest()))?,
                false => {
                    let slices = [IoSlice::new(self.out.rest()), IoSlice::new(&self.large)];
                    ready!(stream.poll_write_vectored(cx, &slices))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_out = written.min(self.out.len());
            self.out.advance(of_out);
            self.large.advance(written - of_out);
        }
        // Not to hold what it was a part of.
        self.large = Bytes::new();
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

/// Pieces up to this size are copied behind the head, to leave in one plain write.
const COPY_MAX: usize = 4 << 10;
/// So much is gathered before it is written.
const GATHER: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::{HeaderMap, Method, uri::PathAndQuery};
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_body_arrives_whole_however_little_the_member_takes_at_once() {
        let (target, headers) = (PathAndQuery::from_static("/"), HeaderMap::new());
        let head = RequestHead { method: &Method::PUT, ..RequestHead::get(&target, &headers) };
        for len in [1, COPY_MAX, COPY_MAX + 1, 40_000] {
            for width in [1, 100, 100_000] {
                let sent: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
                let (mut ours, mut theirs) = tokio::io::duplex(width);
                let reading = tokio::spawn(async move {
                    let mut read = Vec::new();
                    theirs.read_to_end(&mut read).await.map(|_| read)
                });
                let mut upload = Upload::new(head, Body::from(Bytes::from(sent.clone())));
                poll_fn(|cx| upload.poll(&mut ours, cx)).await.unwrap();
                drop(ours);
                let read = reading.await.unwrap().unwrap();
                let head = format!("PUT / HTTP/1.1\r\ncontent-length: {len}\r\n\r\n");
                assert!(read.starts_with(head.as_bytes()) && read[head.len()..] == sent, "{len} by {width}");
                assert!(upload.is_finished());
            }
        }
    }
}
