//! The answer to a request on its way out: the head, and a body framed as the client can take it (RFC 9112 §6).
//!
//! ```text
//!   HEAD, 1xx, 204, 304, 2xx to CONNECT     no body, whatever the fields say
//!   length known                            content-length
//!   else, HTTP/1.1                          chunked; trailers if the client takes them
//!   else, HTTP/1.0                          until we close
//! ```
//!
//! Framing is our own: `Content-Length`, `Transfer-Encoding` and `Connection` of the answer are never copied. What is small
//! is gathered behind the head and leaves in one write with it; a large piece is not copied but written beside it (`writev`).
//! At most [`GATHER`] bytes and one piece are held, so a slow reader is felt by whoever makes the answer.

mod piped;

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, StatusCode, Version, response};
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncWrite;

use super::head::Head;
use crate::{
    codec::{Pending, lists_option, put_chunk, put_chunk_size, put_field, put_last_chunk},
    http_cache::Moment,
    pipe::Piped,
};

/// What a request says about its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    is_http_11: bool,
    is_head: bool,
    is_connect: bool,
    takes_trailers: bool,
    /// The client has more to ask.
    pub(super) keep_alive: bool,
}

impl Asked {
    pub(super) fn by(head: &Head) -> Self {
        Asked {
            is_http_11: head.parts.version == Version::HTTP_11,
            is_head: head.parts.method == Method::HEAD,
            is_connect: head.parts.method == Method::CONNECT,
            takes_trailers: head.takes_trailers,
            keep_alive: head.keep_alive,
        }
    }

    /// By bytes that are no request.
    pub(super) fn by_nobody() -> Self {
        Asked {
            is_http_11: true,
            is_head: false,
            is_connect: false,
            takes_trailers: false,
            keep_alive: false,
        }
    }
}

/// An answer between two writes.
#[derive(Debug)]
pub(super) struct Outbound {
    /// Encoded and waiting for the socket.
    out: Pending,
    /// A large piece that follows `out` without being copied into it.
    large: Bytes,
    /// What ends that piece.
    tail: &'static [u8],
    /// A large piece behind all that, which is not in our memory.
    piped: Option<Piped>,
    coding: Coding,
    is_ended: bool,
    /// Whatever makes the body has no more of it at the moment.
    is_starved: bool,
    /// Bytes that the socket has taken.
    pub(super) written: u64,
    /// The connection serves on after this answer.
    pub(super) keep_alive: bool,
}

/// How the body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Nothing,
    /// So many bytes are to come.
    Length(u64),
    Chunked {
        trailers: bool,
    },
    UntilClose,
}

impl Outbound {
    /// Writes the head of an answer whose body is of such a size. `can_stay` says whether we would take another request.
    pub(super) fn new(parts: &response::Parts, size: &SizeHint, (asked, can_stay): (Asked, bool)) -> Self {
        let mut pending = Pending::default();
        let out = pending.room();
        put_status(asked.is_http_11, parts.status, out);
        let (mut stated, mut says_close, mut has_date) = (None, false, false);
        for (name, value) in &parts.headers {
            match name.as_str() {
                "connection" => says_close |= lists_option(value, "close"),
                // Two that are said are none.
                "content-length" => {
                    stated = Some(if stated.is_none() { length(value.as_bytes()) } else { None });
                }
                "transfer-encoding" => {}
                name => {
                    has_date |= name == "date";
                    put_field(out, name, value.as_bytes());
                }
            }
        }
        let stated = stated.flatten();
        let coding = coding(parts.status, asked, size.exact().or(stated));
        let keep_alive = asked.keep_alive && can_stay && !says_close && coding != Coding::UntilClose;
        match coding {
            Coding::Length(length) => put_length(length, out),
            Coding::Chunked { .. } => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            // What a GET would have been told.
            Coding::Nothing if asked.is_head || parts.status == StatusCode::NOT_MODIFIED => {
                let of_body = size.exact().filter(|length| *length > 0);
                if let Some(length) = stated.or(of_body) {
                    put_length(length, out);
                }
            }
            Coding::Nothing | Coding::UntilClose => {}
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            out.extend_from_slice(b"connection: upgrade\r\n");
        } else if asked.is_connect && parts.status.is_success() {
            // What follows is no HTTP.
        } else if !keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        } else if !asked.is_http_11 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        if !has_date {
            put_date(out);
        }
        out.extend_from_slice(b"\r\n");
        Outbound {
            out: pending,
            large: Bytes::new(),
            tail: b"",
            piped: None,
            coding,
            is_ended: coding == Coding::Nothing,
            is_starved: false,
            written: 0,
            keep_alive,
        }
    }

    /// Everything has been given to the socket.
    pub(super) fn is_done(&self) -> bool {
        self.is_ended && self.is_drained()
    }

    /// All that there was is written, and whatever makes the body has no more of it at the moment.
    pub(super) fn is_starved(&self) -> bool {
        self.is_starved && self.is_drained()
    }

    /// Takes from `body` while there is room and it has something.
    pub(super) fn fill<B, E>(&mut self, body: &mut B, cx: &mut Context<'_>) -> Result<(), Broken<E>>
    where
        B: Body<Data = Bytes, Error = E> + Unpin,
    {
        self.is_starved = false;
        while !self.is_ended && self.large.is_empty() && self.out.len() < GATHER {
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    self.is_starved = true;
                    break;
                }
            };
            match frame.transpose().map_err(Broken::Body)?.map(Frame::into_data) {
                None => self.end(None)?,
                Some(Ok(data)) => {
                    self.data(data)?;
                    if body.is_end_stream() {
                        self.end(None)?;
                    }
                }
                Some(Err(frame)) => self.end(frame.trailers_ref())?,
            }
        }
        Ok(())
    }

    /// Writes until nothing is left of what was taken.
    pub(super) fn poll_drain<S: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.out.is_empty() || !self.large.is_empty() || !self.tail.is_empty() {
            let stream = Pin::new(&mut *stream);
            let written = if self.large.is_empty() && self.tail.is_empty() {
                ready!(stream.poll_write(cx, self.out.rest()))?
            } else {
                let slices =
                    [IoSlice::new(self.out.rest()), IoSlice::new(&self.large), IoSlice::new(self.tail)];
                ready!(stream.poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written as u64;
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn is_drained(&self) -> bool {
        self.out.is_empty() && self.large.is_empty() && self.tail.is_empty() && self.piped.is_none()
    }

    fn advance(&mut self, written: usize) {
        let of_out = written.min(self.out.len());
        self.out.advance(of_out);
        let of_large = (written - of_out).min(self.large.len());
        self.large.advance(of_large);
        self.tail = &self.tail[written - of_out - of_large..];
        if self.large.is_empty() {
            // Not to hold what it is a part of.
            self.large = Bytes::new();
        }
    }

    fn data<E>(&mut self, data: Bytes) -> Result<(), Broken<E>> {
        match &mut self.coding {
            Coding::Nothing => return Ok(()),
            Coding::Length(left) => *left = left.checked_sub(data.len() as u64).ok_or(Broken::Length)?,
            Coding::Chunked { .. } if data.len() <= COPY_MAX => {
                put_chunk(&data, self.out.room());
                return Ok(());
            }
            Coding::Chunked { .. } => {
                put_chunk_size(data.len(), self.out.room());
                self.tail = b"\r\n";
            }
            Coding::UntilClose => {}
        }
        if data.len() <= COPY_MAX {
            self.out.room().extend_from_slice(&data);
        } else {
            self.large = data;
        }
        Ok(())
    }

    fn end<E>(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Broken<E>> {
        self.is_ended = true;
        match self.coding {
            Coding::Length(left) if left > 0 => return Err(Broken::Length),
            // Behind a large piece the last chunk is all there can be: no trailers have come.
            Coding::Chunked { .. } if !self.tail.is_empty() => self.tail = b"\r\n0\r\n\r\n",
            Coding::Chunked { trailers: takes } => {
                put_last_chunk(trailers.filter(|_| takes), self.out.room());
            }
            Coding::Nothing | Coding::Length(_) | Coding::UntilClose => {}
        }
        Ok(())
    }
}

/// Why an answer breaks off.
#[derive(Debug)]
pub(super) enum Broken<E> {
    /// Its body failed.
    Body(E),
    /// More or fewer bytes came than were announced.
    Length,
}

fn coding(status: StatusCode, asked: Asked, length: Option<u64>) -> Coding {
    let is_bodiless = asked.is_head
        || asked.is_connect && status.is_success()
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match length {
        _ if is_bodiless => Coding::Nothing,
        Some(length) => Coding::Length(length),
        None if asked.is_http_11 => Coding::Chunked { trailers: asked.takes_trailers },
        None => Coding::UntilClose,
    }
}

/// A length, if it is one number of at most 18 digits.
fn length(digits: &[u8]) -> Option<u64> {
    let is_number = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// An interim response as it goes over the wire.
pub(super) fn put_interim(status: StatusCode, headers: &HeaderMap, out: &mut Vec<u8>) {
    put_status(true, status, out);
    for (name, value) in headers {
        put_field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn put_status(is_http_11: bool, status: StatusCode, out: &mut Vec<u8>) {
    out.extend_from_slice(if is_http_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn put_length(length: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = length;
    while left > 0 || at == digits.len() {
        at -= 1;
        // One decimal digit.
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    put_field(out, "content-length", &digits[at..]);
}

/// Who passes on an answer without a date dates it (RFC 9110 §6.6.1). The text is made once a second.
fn put_date(out: &mut Vec<u8>) {
    let now = Moment::from_system(SystemTime::now());
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now.secs() || text.is_empty() {
            (*second, *text) = (now.secs(), now.to_http_date());
        }
        put_field(out, "date", text.as_bytes());
    });
}

thread_local! {
    /// A second and its name.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Pieces up to this size are copied behind the head, to leave in one write.
const COPY_MAX: usize = 4 << 10;
/// So much is gathered before it is written.
const GATHER: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::BytesMut;

    use http::{HeaderValue, Response, header};
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use proptest::prelude::*;

    use super::*;

    const GET: Asked = Asked {
        is_http_11: true,
        is_head: false,
        is_connect: false,
        takes_trailers: false,
        keep_alive: true,
    };

    /// A socket that takes so many bytes at a time.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn response(status: u16, fields: &[(&'static str, &'static str)]) -> response::Parts {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert("date", HeaderValue::from_static("now"));
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        response.into_parts().0
    }

    type Written = Result<(String, bool), ()>;

    fn send<B>(parts: &response::Parts, mut body: B, asked: Asked, width: usize) -> Written
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut outbound = Outbound::new(parts, &body.size_hint(), (asked, true));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut socket = Narrow(width, Vec::new());
        while !outbound.is_done() {
            outbound.fill(&mut body, &mut cx).map_err(|_| ())?;
            assert!(outbound.poll_drain(&mut socket, &mut cx).is_ready());
        }
        assert_eq!(outbound.written, socket.1.len() as u64);
        Ok((String::from_utf8(socket.1).unwrap(), outbound.keep_alive))
    }

    fn full(text: &'static str) -> Full<Bytes> {
        Full::new(Bytes::from_static(text.as_bytes()))
    }

    /// A body whose length nobody knows.
    fn unknown(frames: Vec<Frame<Bytes>>) -> impl Body<Data = Bytes> + Unpin {
        let frames = frames.into_iter().map(Ok::<_, std::convert::Infallible>);
        StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
    }

    #[test]
    fn a_body_of_known_length_says_it_whatever_the_fields_say() {
        let parts = response(200, &[("content-length", "99"), ("transfer-encoding", "gzip"), ("x", "y")]);
        let (wire, keeps) = send(&parts, full("hello"), GET, 1000).unwrap();
        assert_eq!(wire, "HTTP/1.1 200 OK\r\ndate: now\r\nx: y\r\ncontent-length: 5\r\n\r\nhello");
        assert!(keeps);
    }

    #[test]
    fn a_stated_length_is_kept_and_held_to() {
        let body = |texts: &[&'static str]| {
            unknown(texts.iter().map(|text| Frame::data(Bytes::from_static(text.as_bytes()))).collect())
        };
        let parts = response(200, &[("content-length", "5")]);
        let (wire, _) = send(&parts, body(&["he", "llo"]), GET, 1000).unwrap();
        assert!(wire.ends_with("content-length: 5\r\n\r\nhello"), "{wire}");
        assert!(send(&parts, body(&["he", "ll"]), GET, 1000).is_err());
        assert!(send(&parts, body(&["he", "llo!"]), GET, 1000).is_err());
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_or_ends_with_the_connection() {
        let frames = || vec![Frame::data("ab".into()), Frame::data(Bytes::new()), Frame::data("c".into())];
        let (wire, keeps) = send(&response(200, &[]), unknown(frames()), GET, 1000).unwrap();
        assert!(wire.ends_with("transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), "{wire}");
        assert!(keeps);
        let old = Asked { is_http_11: false, ..GET };
        let (wire, keeps) = send(&response(200, &[]), unknown(frames()), old, 1000).unwrap();
        assert_eq!(wire, "HTTP/1.0 200 OK\r\ndate: now\r\nconnection: close\r\n\r\nabc");
        assert!(!keeps);
        let (wire, keeps) = send(&response(200, &[]), full("x"), old, 1000).unwrap();
        assert!(wire.contains("connection: keep-alive\r\n") && keeps, "{wire}");
    }

    #[test]
    fn trailers_are_for_those_who_take_them() {
        let trailers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("x"))]);
        let frames = || vec![Frame::data("a".into()), Frame::trailers(trailers.clone())];
        let takes = Asked { takes_trailers: true, ..GET };
        let (wire, _) = send(&response(200, &[]), unknown(frames()), takes, 1000).unwrap();
        assert!(wire.ends_with("1\r\na\r\n0\r\netag: x\r\n\r\n"), "{wire}");
        let (wire, _) = send(&response(200, &[]), unknown(frames()), GET, 1000).unwrap();
        assert!(wire.ends_with("1\r\na\r\n0\r\n\r\n"), "{wire}");
    }

    #[test]
    fn what_has_no_body_gets_none() {
        let head = Asked { is_head: true, ..GET };
        let connect = Asked { is_connect: true, ..GET };
        for (status, fields, asked, length) in [
            (200, &[("content-length", "9")][..], head, Some("9")),
            (200, &[], head, Some("5")),
            (304, &[("content-length", "9")], GET, Some("9")),
            (204, &[("content-length", "9")], GET, None),
            (200, &[("content-length", "9"), ("transfer-encoding", "chunked")], connect, None),
            (101, &[("upgrade", "x"), ("connection", "upgrade")], GET, None),
        ] {
            let (wire, _) = send(&response(status, fields), full("hello"), asked, 1000).unwrap();
            let (head, body) = wire.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, "", "{wire}");
            assert_eq!(head.split("content-length: ").nth(1).map(|it| &it[..1]), length, "{wire}");
            assert!(!head.contains("transfer-encoding"), "{wire}");
            assert_eq!(head.contains("connection: upgrade"), status == 101, "{wire}");
            assert!(!head.contains("connection: close"), "{wire}");
        }
        let refused = send(&response(403, &[]), full("no"), connect, 1000).unwrap().0;
        assert!(refused.ends_with("content-length: 2\r\n\r\nno"), "{refused}");
    }

    #[test]
    fn the_answer_can_end_the_connection() {
        let (wire, keeps) = send(&response(400, &[("connection", "close")]), full(""), GET, 1000).unwrap();
        assert!(
            wire.contains("connection: close\r\ncontent-length: 0") || wire.contains("connection: close")
        );
        assert!(!keeps && wire.matches("connection").count() == 1, "{wire}");
    }

    #[test]
    fn an_answer_without_a_date_gets_one() {
        let mut parts = response(200, &[]);
        parts.headers.clear();
        let (wire, _) = send(&parts, full(""), GET, 1000).unwrap();
        assert!(wire.contains("\r\ndate: ") && wire.contains(" GMT\r\n"), "{wire}");
    }

    proptest! {
        /// However little the socket takes at a time and however the body comes, the client reads the same.
        #[test]
        fn pieces_do_not_matter(
            sizes in prop::collection::vec(prop_oneof![0usize..20, 4000usize..4200, 9000usize..40_000], 0..6),
            width in prop_oneof![1usize..50, 1000usize..50_000],
            is_chunked in any::<bool>(),
        ) {
            let pieces: Vec<Bytes> = sizes.iter().map(|size| Bytes::from(vec![b'x'; *size])).collect();
            let whole = pieces.concat();
            let frames: VecDeque<_> = pieces.into_iter().map(Frame::data).collect();
            let asked = Asked { is_http_11: is_chunked, ..GET };
            let (wire, _) = send(&response(200, &[]), unknown(frames.into()), asked, width).unwrap();
            let (_, body) = wire.split_once("\r\n\r\n").unwrap();
            if !is_chunked {
                prop_assert_eq!(body.as_bytes(), &whole[..]);
                return Ok(());
            }
            let (mut decoder, mut rest) = (crate::codec::Decoder::chunked(), BytesMut::from(body));
            let mut read = Vec::new();
            while let crate::codec::Decoded::Data(data) = decoder.decode(&mut rest).unwrap() {
                read.extend_from_slice(&data);
            }
            prop_assert!(decoder.is_done() && rest.is_empty());
            prop_assert_eq!(read, whole);
        }
    }
}
