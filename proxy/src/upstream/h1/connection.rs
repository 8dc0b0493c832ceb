//! One connection to a member: one exchange at a time, and the body that arrives.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};

use super::{
    request::RequestHead,
    response::{self, Framing, ResponseError, ResponseHead},
    upload::{Upload, UploadError},
};
use crate::{
    alarm::Alarm,
    body::{Body, BodyError},
    codec::{Decoded, Decoder},
    headers::strip_trailers,
    pipe::Piped,
    upstream::{connect::Stream, handover::Patience, settlement::Settlement, silence::Silence},
};

/// An open connection to a member.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    /// Bytes that arrived and were not yet understood.
    read: BytesMut,
    /// For the waits of this exchange and those after it.
    alarm: Option<Alarm>,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        Connection { stream, read: BytesMut::new(), alarm: None }
    }

    /// Open, and silent as it must be between two exchanges. Costs no system call while nothing has happened.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.read.is_empty() && self.stream.is_silent()
    }

    /// Sends a request and waits for the head of its answer, which may come before all of the body is sent.
    pub(crate) async fn exchange(
        mut self,
        head: RequestHead<'_>,
        body: Body,
        mut patience: Patience<'_>,
    ) -> Result<(ResponseHead, Box<ResponseBody>), ExchangeError> {
        let mut upload = Upload::new(head, body);
        let mut interim = 0;
        let answer = poll_fn(|cx| match self.poll_head(&mut upload, &head, &mut interim, cx) {
            Poll::Pending => patience.poll(&mut self.alarm, cx).map(|()| Err(ExchangeError::Silent)),
            answer => answer,
        });
        let answer = answer.await?;
        // Boxed at once: it is large, and handed on often.
        let body = Box::new(ResponseBody::new(self, upload, &answer, patience.limit));
        Ok((answer, body))
    }

    /// The stream and what was read beyond the head, after a switch of protocols.
    pub(crate) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.read.freeze())
    }

    fn poll_head(
        &mut self,
        upload: &mut Upload,
        request: &RequestHead<'_>,
        interim: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, ExchangeError>> {
        let mut write_error = None;
        if let Poll::Ready(Err(error)) = upload.poll(&mut self.stream, cx) {
            match error {
                UploadError::Client(error) => return Poll::Ready(Err(ExchangeError::Client(error))),
                UploadError::Member(error) => write_error = Some(error),
            }
        }
        loop {
            if let Some(head) = response::parse(&mut self.read, request.method)? {
                if !head.status.is_informational() {
                    return Poll::Ready(Ok(head));
                }
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    let asked = request.upgrade.is_some();
                    return Poll::Ready(if asked {
                        Ok(head)
                    } else {
                        Err(ResponseError::UnaskedUpgrade.into())
                    });
                }
                *interim += 1;
                if *interim > INTERIM_MAX {
                    return Poll::Ready(Err(ResponseError::TooManyInterim.into()));
                }
                if let Some(interims) = request.interims {
                    interims.pass(head.status, &head.headers);
                }
                continue;
            }
            let silent = self.read.is_empty();
            match ready!(self.poll_fill(FIRST_READ, cx)) {
                Ok(0) if silent => return Poll::Ready(Err(ExchangeError::Closed(write_error))),
                Ok(0) => return Poll::Ready(Err(ResponseError::Truncated.into())),
                Ok(_) => {}
                Err(error) if silent => return Poll::Ready(Err(ExchangeError::Closed(Some(error)))),
                Err(_) => return Poll::Ready(Err(ResponseError::Truncated.into())),
            }
        }
    }

    /// Reads once; 0 at the end of the stream.
    fn poll_fill(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if room <= FIRST_READ {
            // Nothing is kept for an answer that has not come, and what has come is as large as it is.
            let mut bytes = [const { MaybeUninit::uninit() }; FIRST_READ];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.read.extend_from_slice(buffer.filled());
            return Poll::Ready(Ok(buffer.filled().len()));
        }
        self.read.reserve(room);
        pin!(self.stream.read_buf(&mut self.read)).poll(cx)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The client's body failed.
    Client(BodyError),
    /// The member closed without a byte of an answer.
    Closed(Option<io::Error>),
    /// The member answered something that cannot be used.
    Response(ResponseError),
    /// The member had all it needed, and did not answer in time.
    Silent,
}

impl From<ResponseError> for ExchangeError {
    fn from(error: ResponseError) -> Self {
        ExchangeError::Response(error)
    }
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExchangeError::Client(error) => error.fmt(f),
            ExchangeError::Closed(None) => f.write_str("connection closed without an answer"),
            ExchangeError::Closed(Some(error)) => write!(f, "connection lost without an answer: {error}"),
            ExchangeError::Response(error) => error.fmt(f),
            ExchangeError::Silent => f.write_str("no answer in time"),
        }
    }
}

/// A response body as it arrives. Reads only when asked: back-pressure is the socket's own.
///
/// When it ends, is dropped or fails, the [`Settlement`] learns of it: the connection goes back if it is clean, the
/// member's lease ends.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    connection: Option<Connection>,
    /// Present while the answer arrives before the request has left.
    upload: Option<Box<Upload>>,
    decoder: Decoder,
    keep_alive: bool,
    settlement: Option<Settlement>,
    silence: Silence,
}

impl ResponseBody {
    fn new(connection: Connection, upload: Upload, head: &ResponseHead, idle_timeout: Duration) -> Self {
        let decoder = match head.framing {
            Framing::Length(length) => Decoder::length(length),
            Framing::Chunked => Decoder::chunked(),
            Framing::UntilClose => Decoder::UntilClose,
        };
        ResponseBody {
            connection: Some(connection),
            upload: (!upload.is_finished()).then(|| Box::new(upload)),
            decoder,
            keep_alive: head.keep_alive,
            settlement: None,
            silence: Silence::new(idle_timeout),
        }
    }

    /// Who learns when this body has ended. A body that is empty ends here.
    pub(crate) fn settle_with(&mut self, settlement: Settlement) {
        self.settlement = Some(settlement);
        if self.decoder.is_done() {
            self.settle(true);
        }
    }

    /// Keeps `settlement` for a tunnel: after a switch of protocols the connection never serves a request again.
    pub(crate) fn hold(&mut self, settlement: Settlement) {
        self.settlement = Some(settlement);
        self.keep_alive = false;
    }

    /// The connection, for a tunnel, after a switch of protocols; and the settlement, for as long as it lasts.
    pub(crate) fn into_tunnel(mut self) -> Option<(Stream, Bytes, Option<Settlement>)> {
        let (stream, early) = self.connection.take()?.into_parts();
        Some((stream, early, self.settlement.take()))
    }

    /// The next piece by way of a pipe; `None` where it is to be had as a frame.
    pub(crate) fn poll_piped(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piped, BodyError>>> {
        let polled = self.poll_pipe(cx);
        self.follow(polled, cx)
    }

    fn poll_pipe(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Piped>, BodyError>> {
        let (Some(connection), Decoder::Length(left)) = (&self.connection, &self.decoder) else {
            return Poll::Ready(Ok(None));
        };
        let (None, true, Stream::Tcp(socket)) =
            (&self.upload, connection.read.is_empty(), &connection.stream)
        else {
            return Poll::Ready(Ok(None));
        };
        let piped = match ready!(Piped::poll_from(socket, *left, cx)) {
            Ok(None) => return Poll::Ready(Ok(None)),
            Ok(Some(piped)) => piped,
            Err(error) => return Poll::Ready(Err(BodyError::Io(error))),
        };
        if piped.is_empty() {
            return Poll::Ready(Err(BodyError::member(ResponseError::Truncated)));
        }
        self.decoder = Decoder::length(left - piped.len() as u64);
        Poll::Ready(Ok(Some(piped)))
    }

    /// What follows for both sides from what came, or did not.
    fn follow<P>(
        &mut self,
        polled: Poll<Result<Option<P>, BodyError>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P, BodyError>>> {
        match polled {
            Poll::Pending => {
                // Who has no connection any more has nothing to wait for.
                let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
                ready!(self.silence.poll(&mut connection.alarm, cx));
                self.settle(false);
                Poll::Ready(Some(Err(BodyError::MemberSilent(self.silence.max))))
            }
            Poll::Ready(Ok(piece)) => {
                if piece.is_some() {
                    self.silence.ended();
                }
                if self.decoder.is_done() {
                    self.settle(true);
                }
                Poll::Ready(piece.map(Ok))
            }
            Poll::Ready(Err(error)) => {
                self.settle(matches!(error, BodyError::Client(_)));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn settle(&mut self, ok: bool) {
        let connection = self.connection.take();
        if let Some(settlement) = self.settlement.take() {
            let clean = ok && self.keep_alive && self.upload.is_none();
            let clean = clean && self.decoder.is_done();
            settlement.finish(connection.filter(|connection| clean && connection.read.is_empty()), ok);
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(None)) };
            if let Some(upload) = &mut self.upload {
                match upload.poll(&mut connection.stream, cx) {
                    Poll::Ready(Ok(())) => self.upload = None,
                    Poll::Ready(Err(UploadError::Client(error))) => return Poll::Ready(Err(error)),
                    // The member takes no more, but its answer may still be read.
                    Poll::Ready(Err(UploadError::Member(_))) | Poll::Pending => {}
                }
            }
            match self
                .decoder
                .decode(&mut connection.read)
                .map_err(|error| BodyError::member(ResponseError::from(error)))?
            {
                Decoded::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Decoded::End(trailers) => {
                    // Who merges them would take some for framing, routing or credentials.
                    let trailers = trailers.map(|mut fields| {
                        strip_trailers(&mut fields);
                        Frame::trailers(fields)
                    });
                    return Poll::Ready(Ok(trailers));
                }
                Decoded::NeedMore => {}
            }
            let room = self.decoder.room(READ_BODY);
            match ready!(connection.poll_fill(room, cx)) {
                Ok(0) if matches!(self.decoder, Decoder::UntilClose) => self.decoder = Decoder::Done,
                Ok(0) => return Poll::Ready(Err(BodyError::member(ResponseError::Truncated))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(BodyError::Io(error))),
            }
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = self.poll_piece(cx);
        self.follow(polled, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Done => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // A client that leaves early is no fault of the member.
        self.settle(true);
    }
}

/// Interim responses a member may send before the final one.
const INTERIM_MAX: usize = 16;
const FIRST_READ: usize = 16 << 10;
const READ_BODY: usize = 64 << 10;
