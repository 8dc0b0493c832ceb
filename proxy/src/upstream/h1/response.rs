//! A response head from a member, read strictly (RFC 9112 §4–6).
//!
//! The member may be hostile or broken. What it sends decides where its answer ends and the next one on the same
//! connection begins, so a head whose framing could be read in two ways is an error (the client gets 502), and
//! nothing of it is forwarded or cached.

use std::{fmt, mem::MaybeUninit};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header};

use crate::codec::{BadField, BadLine, ChunkedError, Fields, Lines, Notable, Said, has_option, read_fields};

/// A head that has passed every check.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    /// The connection may serve another request after this body.
    pub(crate) keep_alive: bool,
}

/// Where the body ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the member closes.
    UntilClose,
}

/// Parses the head at the front of `buffer` and removes it, or says that more bytes are needed.
pub(crate) fn parse(buffer: &mut BytesMut, request: &Method) -> Result<Option<ResponseHead>, ResponseError> {
    while buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut ends = [0; FIELDS_MAX + 1];
    let lines = match Lines::find(&buffer[..buffer.len().min(HEAD_MAX)], &mut ends) {
        Ok(Some(lines)) => lines,
        Ok(None) if buffer.len() >= HEAD_MAX => return Err(ResponseError::HeadTooLong),
        Ok(None) => return begins_well(buffer).map(|()| None),
        Err(BadLine::TooMany) => return Err(ResponseError::TooManyFields),
        Err(BadLine::BareLf) => return Err(ResponseError::BareLf),
    };
    let whole = Bytes::copy_from_slice(&buffer[..lines.length]);
    buffer.advance(lines.length);
    let mut ranges = lines.ranges();
    let (status, is_http_11) =
        ranges.next().and_then(|line| status_line(&whole[line])).ok_or(ResponseError::Malformed)?;
    let mut said = Said::default();
    let Fields { map: headers, notable } =
        read_fields(&whole, ranges, lines.count() - 1 + FIELDS_ADDED_LATER, Some(&mut said))?;
    let framing = framing(status, (&headers, notable), request, is_http_11)?;
    if notable.has(Notable::CONNECTION) {
        said.close |= has_option(&headers, "close");
        said.keep_alive |= has_option(&headers, "keep-alive");
    }
    let stays = !said.close && (is_http_11 || said.keep_alive);
    let keep_alive = stays && framing != Framing::UntilClose;
    Ok(Some(ResponseHead { status, headers, framing, keep_alive }))
}

/// What is no answer, whatever follows, is an error at once.
fn begins_well(buffer: &[u8]) -> Result<(), ResponseError> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    match parser.parse_response_with_uninit_headers(&mut response, buffer, &mut fields) {
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Ok(()),
        Err(_) => Err(ResponseError::Malformed),
    }
}

/// `HTTP/1.0|1.1 SP 3DIGIT [ SP reason ]`: the status, and whether it is HTTP/1.1.
fn status_line(line: &[u8]) -> Option<(StatusCode, bool)> {
    let (version, rest) = line.split_first_chunk::<9>()?;
    let is_http_11 = match version {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return None,
    };
    let (code, reason) = rest.split_first_chunk::<3>()?;
    let is_text = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
    let is_sound = reason.is_empty() || reason[0] == b' ' && reason.iter().all(is_text);
    // Those above are invalid (RFC 9110 §15).
    let status = StatusCode::from_bytes(code).ok().filter(|status| status.as_u16() <= STATUS_MAX)?;
    is_sound.then_some((status, is_http_11))
}

fn framing(
    status: StatusCode,
    (headers, notable): (&HeaderMap, Notable),
    request: &Method,
    is_http_11: bool,
) -> Result<Framing, ResponseError> {
    let length = if notable.has(Notable::CONTENT_LENGTH) { content_length(headers)? } else { None };
    let coding =
        if notable.has(Notable::TRANSFER_ENCODING) { transfer_coding(headers)? } else { Coding::None };
    let is_ambiguous = match coding {
        Coding::None => false,
        Coding::Chunked => length.is_some() || !is_http_11,
        Coding::Noise => length.is_some(),
    };
    if is_ambiguous {
        return Err(ResponseError::AmbiguousLength);
    }
    let bodiless = request == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        return Ok(Framing::Length(0));
    }
    Ok(match length {
        _ if coding == Coding::Chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    })
}

/// One number, or the same number several times (RFC 9110 §8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ResponseError> {
    let mut found = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for number in value.as_bytes().split(|byte| *byte == b',') {
            let number = decimal(number.trim_ascii()).ok_or(ResponseError::BadLength)?;
            if found.is_some_and(|other| other != number) {
                return Err(ResponseError::AmbiguousLength);
            }
            found = Some(number);
        }
    }
    Ok(found)
}

/// A number of digits alone that is a length: at most 2⁶³ - 1.
fn decimal(digits: &[u8]) -> Option<u64> {
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| !digits.is_empty() && *number <= i64::MAX as u64)
}

/// What `Transfer-Encoding` says of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    None,
    Chunked,
    /// One word that names no coding: the body ends with the connection (RFC 9112 §6.3) and is what it is.
    Noise,
}

/// `Transfer-Encoding` is absent, exactly `chunked`, or means nothing; we offer no other coding.
fn transfer_coding(headers: &HeaderMap) -> Result<Coding, ResponseError> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(Coding::None),
        (Some(only), None) => only.as_bytes().trim_ascii().to_ascii_lowercase(),
        _ => return Err(ResponseError::UnknownCoding),
    };
    let is_word = !value.is_empty() && value.iter().all(u8::is_ascii_alphanumeric);
    match value.as_slice() {
        b"chunked" => Ok(Coding::Chunked),
        b"gzip" | b"deflate" | b"compress" => Err(ResponseError::UnknownCoding),
        _ if is_word => Ok(Coding::Noise),
        _ => Err(ResponseError::UnknownCoding),
    }
}

/// Why a member's answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseError {
    Malformed,
    BareLf,
    HeadTooLong,
    TooManyFields,
    BadLength,
    AmbiguousLength,
    UnknownCoding,
    TooManyInterim,
    UnaskedUpgrade,
    Chunked(ChunkedError),
    Truncated,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResponseError::Malformed => "malformed response head",
            ResponseError::BareLf => "line of the response head that does not end in CRLF",
            ResponseError::HeadTooLong => "response head of more than 65536 bytes",
            ResponseError::TooManyFields => "response head of more than 128 fields",
            ResponseError::BadLength => "content-length that is not a number",
            ResponseError::AmbiguousLength => "response whose length is stated in two ways",
            ResponseError::UnknownCoding => "transfer-encoding other than chunked",
            ResponseError::TooManyInterim => "more than 16 interim responses",
            ResponseError::UnaskedUpgrade => "switch of protocols that nobody asked for",
            ResponseError::Chunked(error) => return error.fmt(f),
            ResponseError::Truncated => "response that ends too early",
        })
    }
}

impl std::error::Error for ResponseError {}

impl From<BadField> for ResponseError {
    fn from(_: BadField) -> Self {
        ResponseError::Malformed
    }
}

impl From<ChunkedError> for ResponseError {
    fn from(error: ChunkedError) -> Self {
        ResponseError::Chunked(error)
    }
}

const HEAD_MAX: usize = 65_536;
const STATUS_MAX: u16 = 599;
const FIELDS_MAX: usize = 128;
/// Via, Age, Cache-Status and their kin: room for them saves the map from growing.
const FIELDS_ADDED_LATER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse_text(text: &str, method: &Method) -> Result<Option<ResponseHead>, ResponseError> {
        parse(&mut BytesMut::from(text), method)
    }

    fn framing_of(text: &str) -> Result<Framing, ResponseError> {
        parse_text(text, &Method::GET).map(|head| head.expect("a whole head").framing)
    }

    #[test]
    fn framing_follows_rfc_9112_6_3() {
        let ok = "HTTP/1.1 200 OK\r\n";
        assert_eq!(framing_of(&format!("{ok}content-length: 5\r\n\r\n")), Ok(Framing::Length(5)));
        assert_eq!(framing_of(&format!("{ok}content-length: 5, 5\r\n\r\n")), Ok(Framing::Length(5)));
        assert_eq!(framing_of(&format!("{ok}transfer-encoding: Chunked\r\n\r\n")), Ok(Framing::Chunked));
        assert_eq!(framing_of(&format!("{ok}\r\n")), Ok(Framing::UntilClose));
        assert_eq!(framing_of(&format!("{ok}transfer-encoding: identity\r\n\r\n")), Ok(Framing::UntilClose));
        assert_eq!(framing_of("HTTP/1.1 304 X\r\ncontent-length: 5\r\n\r\n"), Ok(Framing::Length(0)));
        let head = parse_text(&format!("{ok}content-length: 5\r\n\r\n"), &Method::HEAD).unwrap().unwrap();
        assert_eq!((head.framing, head.keep_alive), (Framing::Length(0), true));
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        use ResponseError::*;
        for (fields, error) in [
            ("content-length: 5\r\ncontent-length: 6\r\n", AmbiguousLength),
            ("content-length: 5\r\ntransfer-encoding: chunked\r\n", AmbiguousLength),
            ("content-length: -1\r\n", BadLength),
            ("content-length: +1\r\n", BadLength),
            ("content-length: 9223372036854775808\r\n", BadLength),
            ("content-length: \r\n", BadLength),
            ("transfer-encoding: gzip, chunked\r\n", UnknownCoding),
            ("transfer-encoding: gzip\r\n", UnknownCoding),
            ("transfer-encoding: x-chunked\r\n", UnknownCoding),
            ("transfer-encoding: identity\r\ncontent-length: 5\r\n", AmbiguousLength),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", UnknownCoding),
            ("x: 1\n", BareLf),
            ("x : 1\r\n", Malformed),
            ("x: 1\r\n folded\r\n", Malformed),
            ("x: a\0b\r\n", Malformed),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            assert_eq!(framing_of(&text), Err(error), "{fields:?}");
        }
        assert_eq!(framing_of("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Err(AmbiguousLength));
    }

    #[test]
    fn keeps_connections_as_both_versions_say() {
        let keep = |text: &str| parse_text(text, &Method::GET).unwrap().unwrap().keep_alive;
        assert!(keep("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!keep("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: x, Close\r\n\r\n"));
        assert!(!keep("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(keep("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nConnection: keep-alive\r\n\r\n"));
        assert!(keep("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nConnection:Keep-Alive\r\n\r\n"));
        assert!(!keep("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: CLOSE\r\n\r\n"));
        let both =
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: keep-alive\r\nConnection: x, close\r\n\r\n";
        assert!(!keep(both));
        assert!(!keep("HTTP/1.1 200 OK\r\n\r\n"));
    }

    #[test]
    fn limits_the_head() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(HEAD_MAX));
        assert!(matches!(parse_text(&long, &Method::GET), Err(ResponseError::HeadTooLong)));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(FIELDS_MAX + 1));
        assert!(matches!(parse_text(&many, &Method::GET), Err(ResponseError::TooManyFields)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(wire in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&mut BytesMut::from(&wire[..]), &Method::GET);
        }
    }
}
