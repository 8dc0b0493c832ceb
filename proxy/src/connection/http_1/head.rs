//! The head of a request, read strictly (RFC 9112 §2.2, §3, §5 and §6).
//!
//! What a general parser tolerates (a bare LF, a second length, both lengths at once, a folded line) is gone once the
//! request is parsed, and tolerated ambiguity is what request smuggling lives on. So one grammar is taken, and everything
//! else is a [`Fault`], after which nothing on the connection can be trusted:
//!
//! ```text
//!   head   { CRLF } method SP target SP HTTP/1.0|1.1 CRLF { name ":" value CRLF } CRLF
//!   body   at most one Content-Length (1 to 18 digits), or one Transfer-Encoding: chunked (never in HTTP/1.0), or none
//! ```
//!
//! What has not come to its end yet is shown to httparse, so that what can never become a head is refused at once. What a
//! well-formed head *means* (one host, one path) is for [`sanitise`](crate::admit::sanitise).

use std::{fmt, mem::MaybeUninit};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header, request::Parts};

use crate::codec::{BadField, BadLine, Decoder, Lines, Notable, has_option, read_fields};

/// The head of a request, and what it says about the connection.
#[derive(Debug)]
pub struct Head {
    /// Method, target, version, fields.
    pub parts: Parts,
    /// Where the body ends.
    pub length: Length,
    /// Another request may follow on the connection.
    pub keep_alive: bool,
    /// The client waits to be told before it sends the body.
    pub expects_continue: bool,
    /// The client takes trailers.
    pub takes_trailers: bool,
}

/// Where the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After so many bytes; 0 where there is none.
    Bytes(u64),
    /// After the last chunk.
    Chunked,
}

/// How much a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes.
    pub len: usize,
    /// Fields. The answer to one too many is the same, whoever counts.
    pub fields: usize,
}

/// Takes the head at the front of `buffer`, or says that more bytes are needed. The first `seen` bytes were there already
/// when it was last asked, and were no whole head.
///
/// # Errors
/// When these bytes cannot become a head. Nothing after them means anything.
pub(super) fn take(buffer: &mut BytesMut, seen: usize, limits: HeadLimits) -> Result<Option<Head>, Fault> {
    let mut seen = seen;
    while buffer.starts_with(b"\r\n") {
        // Before a request they mean nothing (RFC 9112 §2.2).
        buffer.advance(2);
        seen = 0;
    }
    if buffer.is_empty() {
        return Ok(None);
    }
    // A head that comes in many pieces is read when it may be whole, not over and over.
    if seen > 0 && buffer.len() <= limits.len && !may_end(buffer, seen) {
        return Ok(None);
    }
    let mut few = [0; FEW_LINES];
    match find(buffer, &mut few, limits)? {
        Found::Whole(lines) => read(buffer, &lines).map(Some),
        Found::Part => Ok(None),
        Found::Many => {
            let mut many = vec![0; limits.fields + 2];
            match find(buffer, &mut many, limits)? {
                Found::Whole(lines) => read(buffer, &lines).map(Some),
                Found::Part => Ok(None),
                Found::Many => Err(Fault::FieldCount),
            }
        }
    }
}

/// Whether a line behind the first `seen` bytes is the last of a head, or ends otherwise than it should.
fn may_end(buffer: &[u8], seen: usize) -> bool {
    memchr::memchr_iter(b'\n', &buffer[seen..]).map(|at| &buffer[..seen + at]).any(|before| {
        let is_bare = !before.ends_with(b"\r");
        is_bare || before.ends_with(b"\r\n\r")
    })
}

/// What stands at the front of the buffer.
enum Found<'e> {
    Whole(Lines<'e>),
    /// It may become a head.
    Part,
    /// There are more lines than were looked for.
    Many,
}

fn find<'e>(buffer: &[u8], ends: &'e mut [u32], limits: HeadLimits) -> Result<Found<'e>, Fault> {
    match Lines::find(&buffer[..buffer.len().min(limits.len)], ends) {
        Ok(Some(lines)) => Ok(Found::Whole(lines)),
        Ok(None) if buffer.len() >= limits.len => Err(too_long(buffer, limits.len)),
        Ok(None) => begins_well(buffer).map(|()| Found::Part),
        Err(BadLine::TooMany) => Ok(Found::Many),
        Err(BadLine::BareLf) => Err(Fault::LineEnd),
    }
}

/// What is no request, whatever follows, is refused at once.
fn begins_well(buffer: &[u8]) -> Result<(), Fault> {
    let mut fields = [const { MaybeUninit::uninit() }; FEW_LINES];
    let mut request = httparse::Request::new(&mut []);
    let parser = httparse::ParserConfig::default();
    match parser.parse_request_with_uninit_headers(&mut request, buffer, &mut fields) {
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Ok(()),
        Err(_) => Err(Fault::Syntax),
    }
}

/// Takes the head with these `lines` off the buffer.
fn read(buffer: &mut BytesMut, lines: &Lines<'_>) -> Result<Head, Fault> {
    let whole = take_front(buffer, lines.length);
    let mut ranges = lines.ranges();
    let line = ranges.next().ok_or(Fault::Syntax)?;
    let mut parts = Request::new(()).into_parts().0;
    request_line(&whole.slice(line), &mut parts)?;
    let fields = read_fields(&whole, ranges, lines.count() - 1 + FIELDS_ADDED_LATER, None)?;
    parts.headers = fields.map;
    understand(parts, fields.notable)
}

/// The head's bytes in memory of their own: fields are parts of it, and keep nothing else alive.
fn take_front(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length == buffer.capacity() {
        return std::mem::take(buffer).freeze();
    }
    let whole = Bytes::copy_from_slice(&buffer[..length]);
    buffer.advance(length);
    whole
}

/// `method SP target SP HTTP/1.0|1.1`
fn request_line(line: &Bytes, parts: &mut Parts) -> Result<(), Fault> {
    let method_len = line.iter().position(|byte| *byte == b' ').ok_or(Fault::Syntax)?;
    let (method, rest) = (&line[..method_len], &line[method_len + 1..]);
    parts.method = Method::from_bytes(method).map_err(|_| Fault::Syntax)?;
    let (target, version) = rest.split_last_chunk::<9>().ok_or(Fault::Syntax)?;
    parts.version = match version {
        b" HTTP/1.1" => Version::HTTP_11,
        b" HTTP/1.0" => Version::HTTP_10,
        _ => return Err(Fault::Syntax),
    };
    // Folded rather than searched: so it is done many bytes at a time.
    let is_text = target.iter().fold(true, |is_text, byte| is_text & (*byte > b' ') & (*byte != 0x7f));
    if target.is_empty() || !is_text {
        return Err(Fault::Syntax);
    }
    let target = line.slice(method_len + 1..line.len() - version.len());
    parts.uri = Uri::from_maybe_shared(target).map_err(|_| Fault::Target)?;
    Ok(())
}

fn too_long(head: &[u8], len_max: usize) -> Fault {
    let is_target = memchr::memchr(b'\n', head).is_none_or(|end| end > len_max);
    if is_target { Fault::TargetLength } else { Fault::HeadLength }
}

fn understand(parts: Parts, notable: Notable) -> Result<Head, Fault> {
    let is_http_11 = parts.version == Version::HTTP_11;
    let headers = &parts.headers;
    let is_framed = notable.has(Notable::CONTENT_LENGTH) || notable.has(Notable::TRANSFER_ENCODING);
    let length = if is_framed { length(headers, is_http_11)? } else { Length::Bytes(0) };
    let has_body = length != Length::Bytes(0);
    if parts.method == Method::CONNECT && has_body {
        return Err(Fault::ConnectWithBody);
    }
    let keep_alive = match notable.has(Notable::CONNECTION) {
        true => !has_option(headers, "close") && (is_http_11 || has_option(headers, "keep-alive")),
        false => is_http_11,
    };
    let is_value = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let expects_continue = notable.has(Notable::EXPECT)
        && is_http_11
        && has_body
        && headers.get(header::EXPECT).is_some_and(is_value);
    let takes_trailers =
        notable.has(Notable::TE) && is_http_11 && headers.get_all(header::TE).iter().any(takes_trailers);
    Ok(Head { length, keep_alive, expects_continue, takes_trailers, parts })
}

/// Where the body ends, if that is beyond doubt (RFC 9112 §6.3).
fn length(headers: &HeaderMap, is_http_11: bool) -> Result<Length, Fault> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Length::Bytes(0)),
        (Some(_), Some(_)) => Err(Fault::TwoLengths),
        (Some(length), None) => {
            let digits = length.as_bytes();
            let is_number = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
            if !is_number || lengths.next().is_some() {
                return Err(Fault::ContentLength);
            }
            let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            Ok(Length::Bytes(number))
        }
        (None, Some(coding)) => {
            let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if !is_chunked || codings.next().is_some() || !is_http_11 {
                return Err(Fault::TransferEncoding);
            }
            Ok(Length::Chunked)
        }
    }
}

fn takes_trailers(value: &HeaderValue) -> bool {
    let mut names = value.as_bytes().split(|byte| matches!(byte, b',' | b';')).map(<[u8]>::trim_ascii);
    names.any(|name| name.eq_ignore_ascii_case(b"trailers"))
}

impl Length {
    pub(super) fn decoder(self) -> Decoder {
        match self {
            Length::Bytes(length) => Decoder::length(length),
            Length::Chunked => Decoder::chunked(),
        }
    }
}

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// They are not of the grammar.
    Syntax,
    /// A line does not end in CRLF.
    LineEnd,
    /// The target cannot be one.
    Target,
    /// The request line does not end within the limit on the head.
    TargetLength,
    /// The head does not end within its limit.
    HeadLength,
    /// There are more fields than allowed.
    FieldCount,
    /// `Content-Length` is not 1 to 18 digits, or is there twice.
    ContentLength,
    /// `Transfer-Encoding` is not one `chunked`, or is there twice, or in HTTP/1.0.
    TransferEncoding,
    /// `Content-Length` and `Transfer-Encoding` are both there.
    TwoLengths,
    /// `CONNECT` with a body: nobody knows where the tunnel would begin.
    ConnectWithBody,
}

impl Fault {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Fault::TargetLength => StatusCode::URI_TOO_LONG,
            Fault::HeadLength | Fault::FieldCount => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Syntax => "malformed request head",
            Fault::LineEnd => "line of the head that does not end in CRLF",
            Fault::Target => "target that cannot be one",
            Fault::TargetLength => "target longer than a head may be",
            Fault::HeadLength => "head longer than allowed",
            Fault::FieldCount => "more fields than allowed",
            Fault::ContentLength => "content-length that is not one number of at most 18 digits",
            Fault::TransferEncoding => "transfer-encoding other than one chunked in HTTP/1.1",
            Fault::TwoLengths => "content-length and transfer-encoding together",
            Fault::ConnectWithBody => "CONNECT with a body",
        })
    }
}

impl From<BadField> for Fault {
    fn from(_: BadField) -> Self {
        Fault::Syntax
    }
}

/// As many lines as are looked for without asking the allocator.
const FEW_LINES: usize = 129;
/// Forwarding fields, Via, a request's id: room for them saves the map from growing.
const FIELDS_ADDED_LATER: usize = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { len: 8192, fields: 100 };

    fn take_text(text: &str) -> Result<Option<Head>, Fault> {
        take(&mut BytesMut::from(text), 0, LIMITS)
    }

    fn post(fields: &str) -> Result<Option<Head>, Fault> {
        take_text(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"))
    }

    fn whole(text: &str) -> Head {
        take_text(text).unwrap().expect("a whole head")
    }

    #[test]
    fn what_it_says_is_understood() {
        let head = whole(
            "\r\n\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nX: \t y \r\nExpect: 100-Continue\r\n\
            TE: gzip, trailers;q=1\r\nTransfer-Encoding: Chunked\r\nE:\r\n\r\n",
        );
        let parts = &head.parts;
        assert_eq!((parts.method.as_str(), parts.uri.to_string().as_str()), ("POST", "/a?b"));
        assert_eq!((parts.headers["x"].as_bytes(), parts.headers["e"].as_bytes()), (&b"y"[..], &b""[..]));
        assert_eq!(head.length, Length::Chunked);
        assert!(head.keep_alive && head.expects_continue && head.takes_trailers);
        let head = whole("GET http://a/ HTTP/1.0\r\ncontent-length: \t 0 \r\nte: trailers\r\n\r\n");
        assert_eq!((head.length, head.parts.version), (Length::Bytes(0), Version::HTTP_10));
        assert!(!head.keep_alive && !head.expects_continue && !head.takes_trailers);
    }

    #[test]
    fn every_doubt_about_the_length_is_a_fault() {
        for value in
            ["", "-5", "+5", "5 5", "5.0", "5;", "5,5", ",5", "0x5", "5e0", "9223372036854775808", "\u{a0}5"]
        {
            let fault = post(&format!("Content-Length: {value}")).unwrap_err();
            assert_eq!(fault, Fault::ContentLength, "{value}");
        }
        for value in
            ["", "identity", "gzip, chunked", "chunked, identity", "chunked;a", ",chunked", "xchunked"]
        {
            let fault = post(&format!("Transfer-Encoding: {value}")).unwrap_err();
            assert_eq!(fault, Fault::TransferEncoding, "{value}");
        }
        for (fields, fault) in [
            ("Content-Length: 5\r\ncontent-length: 5", Fault::ContentLength),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Fault::TransferEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", Fault::TwoLengths),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", Fault::TwoLengths),
            ("Transfer-Encoding: \u{b}chunked", Fault::Syntax),
            ("X: y\r\n Transfer-Encoding: chunked", Fault::Syntax),
            ("Content-Length : 5", Fault::Syntax),
            ("X: y\nTransfer-Encoding: chunked", Fault::LineEnd),
            ("X: a\0b", Fault::Syntax),
            ("X: a\rb", Fault::Syntax),
            ("X: y\r\r", Fault::Syntax),
            (": y", Fault::Syntax),
            ("no colon", Fault::Syntax),
        ] {
            assert_eq!(post(fields).unwrap_err(), fault, "{fields}");
        }
        let http_10 = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(take_text(http_10).unwrap_err(), Fault::TransferEncoding);
        let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n";
        assert_eq!(take_text(connect).unwrap_err(), Fault::ConnectWithBody);
    }

    #[test]
    fn a_request_line_has_three_words_and_a_version_we_speak() {
        for line in [
            "GET  / HTTP/1.1",
            " / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / http/1.1",
            "GET / HTTP/1.2",
            "GET / HTTP/2.0",
            "GET / HTTP/0.9",
            "GET / HTTP/1.10",
            "GET /",
            "G(T / HTTP/1.1",
            "GET /a b HTTP/1.1",
        ] {
            assert!(take_text(&format!("{line}\r\nHost: a\r\n\r\n")).is_err(), "{line}");
        }
        assert_eq!(take_text("GET / HTTP/1.1\nHost: a\r\n").unwrap_err(), Fault::LineEnd, "before its end");
        assert_eq!(take_text("\nGET").unwrap_err(), Fault::LineEnd);
    }

    #[test]
    fn both_versions_keep_connections_as_they_say() {
        let keeps =
            |version: &str, fields: &str| whole(&format!("GET / HTTP/{version}\r\n{fields}\r\n")).keep_alive;
        assert!(keeps("1.1", "") && keeps("1.1", "Connection: x\r\n"));
        assert!(
            !keeps("1.1", "Connection: x, Close\r\n")
                && !keeps("1.1", "Connection: x\r\nConnection: close\r\n")
        );
        assert!(!keeps("1.0", "") && keeps("1.0", "Connection: Keep-Alive\r\n"));
        assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
    }

    #[test]
    fn a_head_has_its_limits() {
        let target = format!("GET /{}", "a".repeat(LIMITS.len));
        assert_eq!(take_text(&target).unwrap_err(), Fault::TargetLength);
        let value = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(LIMITS.len));
        assert_eq!(take_text(&value).unwrap_err(), Fault::HeadLength);
        assert_eq!(take_text(&format!("{value}\r\n\r\n")).unwrap_err(), Fault::HeadLength);
        let blank = "\r\n".repeat(LIMITS.len);
        assert!(take_text(&blank).unwrap().is_none(), "blank lines are no head, and not kept");
        for (fields, is_read) in [(FEW_LINES - 1, true), (FEW_LINES, true), (200, true), (202, false)] {
            let limits = HeadLimits { fields: 200, ..LIMITS };
            let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(fields));
            assert_eq!(take(&mut BytesMut::from(&many[..]), 0, limits).is_ok(), is_read, "{fields}");
        }
    }

    const WORDS: &str = "GET|get|X-|G\\(T|/|/a|\\*|http://a/|a:1|\\?b|#|%|\"|\\{|\u{e9}|\u{7f}|\0|\t| | | HTTP/1\\.1| HTTP/1\\.0| HTTP/1\\.2|\r|\n";

    proptest! {
        /// A request line is what httparse takes for one, less what `Method` and `Uri` refuse.
        #[test]
        fn lines_are_what_httparse_takes_them_for(words in prop::collection::vec(WORDS, 0..7)) {
            let text = format!("{}\r\nHost: a\r\n\r\n", words.concat());
            prop_assume!(!text.starts_with("\r\n"));
            let mut fields = [httparse::EMPTY_HEADER; 4];
            let mut request = httparse::Request::new(&mut fields);
            let theirs = request.parse(text.as_bytes()).is_ok_and(|status| status.is_complete());
            match take_text(&text) {
                Ok(head) => {
                    let parts = head.expect("it is whole").parts;
                    prop_assert!(theirs, "{:?}", text);
                    prop_assert_eq!(parts.method.as_str(), request.method.unwrap());
                    let target = request.path.unwrap().split('#').next().unwrap();
                    prop_assert_eq!(parts.uri.to_string(), Uri::try_from(target).unwrap().to_string());
                }
                Err(Fault::Target | Fault::LineEnd) => {}
                Err(fault) => prop_assert!(!theirs, "{fault} in {text:?}"),
            }
        }
    }
}
