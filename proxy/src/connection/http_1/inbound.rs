//! What a client sends, as requests: bytes go in as they come, heads and pieces of bodies come out. Knows no socket.
//!
//! ```
//! use evenly::http_1::{HeadLimits, Inbound, Piece};
//!
//! let mut inbound = Inbound::new(HeadLimits { len: 65_536, fields: 100 });
//! inbound.push(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTT");
//! let head = inbound.head().unwrap().expect("it is whole");
//! assert_eq!(head.parts.method, "POST");
//! assert_eq!(inbound.piece().unwrap(), Piece::Data("hi".into()));
//! assert!(inbound.is_between_messages() && inbound.head().unwrap().is_none(), "the next is not whole yet");
//! ```
//!
//! However the bytes are cut, the same requests come out (a property test and the fuzz target `requests` show it). After a
//! [`Fault`] or a [`BodyFault`] nothing comes out any more. A whole head costs one copy of it; the data of a body none.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::head::{self, Fault, Head, HeadLimits};
use crate::codec::{ChunkedError, Decoded, Decoder};

/// The requests of one connection on their way in.
#[derive(Debug)]
pub struct Inbound {
    buffer: BytesMut,
    /// Bytes of the buffer that are no whole head.
    seen: usize,
    body: Decoder,
    limits: HeadLimits,
    is_broken: bool,
    body_fault: Option<BodyFault>,
}

/// A piece of a request's body.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Some of its bytes.
    Data(Bytes),
    /// It is complete; with these trailers, if it had any.
    End(Option<HeaderMap>),
    /// Nothing without further bytes.
    NeedMore,
}

impl Inbound {
    /// For a new connection.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Inbound {
            buffer: BytesMut::new(),
            seen: 0,
            body: Decoder::Done,
            limits,
            is_broken: false,
            body_fault: None,
        }
    }

    /// These bytes came next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next request's head, once it is whole. The body of the one before has to be taken first.
    ///
    /// # Errors
    /// When what came is no request.
    pub fn head(&mut self) -> Result<Option<Head>, Fault> {
        if self.is_broken {
            return Err(Fault::Syntax);
        }
        match head::take(&mut self.buffer, self.seen, self.limits) {
            Ok(Some(head)) => {
                self.seen = 0;
                self.body = head.length.decoder();
                self.tidy();
                Ok(Some(head))
            }
            Ok(None) => {
                self.seen = self.buffer.len();
                Ok(None)
            }
            Err(fault) => {
                self.is_broken = true;
                Err(fault)
            }
        }
    }

    /// The next piece of the current request's body.
    ///
    /// # Errors
    /// When what came is not in the chunked coding.
    pub fn piece(&mut self) -> Result<Piece, BodyFault> {
        if let Some(fault) = self.body_fault {
            return Err(fault);
        }
        match self.body.decode(&mut self.buffer) {
            Ok(Decoded::Data(data)) => {
                self.tidy();
                Ok(Piece::Data(data))
            }
            Ok(Decoded::End(trailers)) => {
                self.tidy();
                Ok(Piece::End(trailers))
            }
            Ok(Decoded::NeedMore) => Ok(Piece::NeedMore),
            Err(error) => {
                self.is_broken = true;
                Err(*self.body_fault.insert(BodyFault(error)))
            }
        }
    }

    /// Whether all of the current request has been taken, and another may follow.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.body.is_done() && !self.is_broken
    }

    /// Nothing has come that was not taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes of the body that are still to be taken, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.body {
            Decoder::Length(left) => Some(left),
            Decoder::Done => Some(0),
            _ => None,
        }
    }

    /// How many bytes a read should have room for.
    pub(super) fn room(&self) -> usize {
        if self.body.is_done() { 0 } else { self.body.room(READ_BODY) }
    }

    /// Where a read of many bytes goes without a copy.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// What came behind the last message, which is not of HTTP/1 any more.
    pub(super) fn rest(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// While nothing is under way, nothing is held.
    fn tidy(&mut self) {
        if self.buffer.is_empty() && self.body.is_done() {
            self.buffer = BytesMut::new();
        }
    }
}

/// Why a request's body breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyFault(ChunkedError);

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for BodyFault {}

/// What is read of a large body at once.
const READ_BODY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is seen of a connection's bytes: each request's line and body, and how it ends.
    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        requests: Vec<(String, Vec<u8>, bool)>,
        is_refused: bool,
    }

    impl Seen {
        /// Takes all that there is.
        fn take(&mut self, inbound: &mut Inbound) {
            loop {
                if let Some((_, body, is_whole)) = self.requests.last_mut().filter(|last| !last.2) {
                    match inbound.piece() {
                        Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                        Ok(Piece::End(_)) => *is_whole = true,
                        Ok(Piece::NeedMore) => return,
                        Err(_) => return self.is_refused = true,
                    }
                    continue;
                }
                match inbound.head() {
                    Ok(Some(head)) => {
                        let line = format!("{} {} {:?}", head.parts.method, head.parts.uri, head.length);
                        self.requests.push((line, Vec::new(), false));
                    }
                    Ok(None) => return,
                    Err(_) => return self.is_refused = true,
                }
            }
        }
    }

    /// What is seen of `wire` cut into pieces. A blank line follows: what is no head is refused by then, if not before.
    fn seen(wire: &[u8], cuts: &[usize]) -> Seen {
        let wire = [wire, b"\r\n\r\n"].concat();
        let mut inbound = Inbound::new(HeadLimits { len: 4096, fields: 100 });
        let mut seen = Seen::default();
        let mut at = 0;
        for cut in cuts.iter().copied().chain([wire.len()]) {
            let end = (at + cut).min(wire.len());
            inbound.push(&wire[at..end]);
            at = end;
            seen.take(&mut inbound);
        }
        seen
    }

    #[test]
    fn messages_follow_each_other() {
        let wire = b"\r\nPOST /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
            5;a=\"b c\"\r\nhello\r\n0A \t;x\r\n0123456789\r\n000\r\nX-T: 1\r\n\r\n\
            PUT /b HTTP/1.0\r\ncontent-length: \t 3 \r\n\r\nabcGET /c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\nx";
        let seen = seen(wire, &[7, 1, 30]);
        let bodies: Vec<_> = seen.requests.iter().map(|(_, body, is_whole)| (&body[..], *is_whole)).collect();
        assert_eq!(bodies, [(&b"hello0123456789"[..], true), (b"abc", true), (b"", true)]);
        assert!(seen.is_refused, "a bare LF ends it");
    }

    #[test]
    fn nothing_comes_after_a_fault() {
        let mut inbound = Inbound::new(HeadLimits { len: 4096, fields: 100 });
        inbound.push(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n");
        assert!(inbound.head().unwrap().is_some());
        for _ in 0..3 {
            assert!(inbound.piece().is_err() && !inbound.is_between_messages() && inbound.head().is_err());
        }
    }

    #[test]
    fn between_messages_nothing_is_held() {
        let mut inbound = Inbound::new(HeadLimits { len: 4096, fields: 100 });
        inbound.push(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
        assert!(inbound.head().unwrap().is_some());
        assert_eq!(inbound.left(), Some(5));
        assert_eq!(inbound.piece().unwrap(), Piece::Data("hello".into()));
        assert_eq!((inbound.left(), inbound.buffer().capacity()), (Some(0), 0));
    }

    /// The naive model: take whole messages off the front of the text, each by plain splitting.
    /// Returns how many there are before something that is no whole, well-framed message.
    fn naive(text: &str) -> usize {
        fn one(text: &str) -> Option<&str> {
            let (head, body) = text.split_once("\r\n\r\n")?;
            let lines: Vec<&str> = head.split("\r\n").collect();
            // What stood before it may be a part of the method, and the beginning of that gone with a body.
            let words: Vec<&str> = lines[0].split(' ').collect();
            let is_method =
                |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let is_line = matches!(words[..], [method, "/" | "/x", "HTTP/1.1"] if is_method(method));
            let is_field = |line: &&str| line.contains(": ") && !line.contains('\n');
            if !is_line || !lines[1..].iter().all(is_field) {
                return None;
            }
            let has = |field: &str| lines[1..].iter().filter(|line| **line == field).count();
            match (has("Content-Length: 5"), has("Transfer-Encoding: chunked")) {
                (0, 0) => Some(body),
                (1, 0) => body.get(5..),
                (0, 1) => chunks(body),
                _ => None,
            }
        }
        fn chunks(body: &str) -> Option<&str> {
            if let Some(rest) = body.strip_prefix("5\r\n") {
                return chunks(rest.get(5..)?.strip_prefix("\r\n")?);
            }
            body.strip_prefix("0\r\n\r\n")
        }
        let text = text.trim_start_matches("\r\n");
        one(text).map_or(0, |rest| 1 + naive(rest))
    }

    const PIECES: &str = "GET / HTTP/1\\.1\r\n|POST /x HTTP/1\\.1\r\n|\r\n|\r\n\r\n|\n|Host: a\r\n|Content-Length: 5\r\n|\
        Transfer-Encoding: chunked\r\n|hello|5\r\n|5\r\nhello\r\n|0\r\n\r\n";

    proptest! {
        /// However the bytes are cut into reads, the same requests are seen.
        #[test]
        fn cuts_do_not_change_the_requests(
            pieces in prop::collection::vec(PIECES, 0..10),
            cuts in prop::collection::vec(1usize..20, 0..30),
        ) {
            let text = pieces.concat();
            let cuts: Vec<usize> = cuts.iter().copied().cycle().take(if cuts.is_empty() { 0 } else { text.len() }).collect();
            prop_assert_eq!(seen(text.as_bytes(), &cuts), seen(text.as_bytes(), &[]), "{:?}", text);
        }

        #[test]
        fn messages_end_where_the_naive_model_ends_them(pieces in prop::collection::vec(PIECES, 0..10)) {
            let text = pieces.concat();
            let whole = seen(text.as_bytes(), &[]).requests.iter().filter(|request| request.2).count();
            prop_assert_eq!(whole, naive(&format!("{text}\r\n\r\n")), "{:?}", text);
        }

        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..50) {
            prop_assert_eq!(seen(&bytes, &[cut, cut]), seen(&bytes, &[]));
        }
    }
}
