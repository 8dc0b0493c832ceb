//! Field lines (RFC 9112 §5): into a map and back.
//!
//! Each byte is looked at once for what it is: the end of a line ([`Lines`](super::Lines)), a name (`HeaderName` knows the
//! grammar) or a value (`HeaderValue` does). Names in a spelling that nearly everybody uses are known without being read,
//! and what a reader of heads asks for is noted on the way, so that it need not be looked up in the map.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::spare_map;

/// Fields, and which of those that decide about a message are among them.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) map: HeaderMap,
    pub(crate) notable: Notable,
}

/// Which fields that speak of a message's end, or of its connection, are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Notable(u8);

impl Notable {
    pub(crate) const CONNECTION: Notable = Notable(1);
    pub(crate) const CONTENT_LENGTH: Notable = Notable(2);
    pub(crate) const TRANSFER_ENCODING: Notable = Notable(4);
    pub(crate) const EXPECT: Notable = Notable(8);
    pub(crate) const TE: Notable = Notable(16);
    const NONE: Notable = Notable(0);

    /// Whether any of `some` is there.
    pub(crate) fn has(self, some: Notable) -> bool {
        self.0 & some.0 != 0
    }

    fn of(name: &HeaderName) -> Notable {
        match name.as_str() {
            "connection" => Notable::CONNECTION,
            "content-length" => Notable::CONTENT_LENGTH,
            "transfer-encoding" => Notable::TRANSFER_ENCODING,
            "expect" => Notable::EXPECT,
            "te" => Notable::TE,
            _ => Notable::NONE,
        }
    }
}

/// What a message says about its connection (RFC 9112 §9.3).
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

impl Said {
    /// Whether a line says nothing else, as most do that say it.
    fn is_all_of(&mut self, line: &[u8]) -> bool {
        match line.len() {
            17 if line.eq_ignore_ascii_case(b"connection: close") => self.close = true,
            22 if line.eq_ignore_ascii_case(b"connection: keep-alive") => self.keep_alive = true,
            _ => return false,
        }
        true
    }
}

/// Reads the `lines` of `head`, whose parts the values are, into a map with `room`. A line that only says whether the
/// connection stays goes into `said`, if there is one, and not into the map: it ends here.
pub(crate) fn read_fields(
    head: &Bytes,
    lines: impl Iterator<Item = Range<usize>>,
    room: usize,
    mut said: Option<&mut Said>,
) -> Result<Fields, BadField> {
    let mut fields = Fields { map: spare_map(room), notable: Notable::default() };
    for Range { start, end } in lines {
        let line = &head[start..end];
        if said.as_mut().is_some_and(|said| said.is_all_of(line)) {
            continue;
        }
        let colon = memchr::memchr(b':', line).ok_or(BadField)?;
        let (name, notable) = read_name(&line[..colon])?;
        let mut value = &line[colon + 1..];
        while let [b' ' | b'\t', rest @ ..] = value {
            value = rest;
        }
        let begin = end - value.len();
        while let [rest @ .., b' ' | b'\t'] = value {
            value = rest;
        }
        let value = head.slice(begin..begin + value.len());
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| BadField)?;
        fields.notable.0 |= notable.0;
        fields.map.append(name, value);
    }
    Ok(fields)
}

fn read_name(name: &[u8]) -> Result<(HeaderName, Notable), BadField> {
    if let Some(name) = usual_name(name) {
        return Ok((name, Notable::NONE));
    }
    Ok(match name {
        b"Connection" | b"connection" => (header::CONNECTION, Notable::CONNECTION),
        b"Content-Length" | b"content-length" => (header::CONTENT_LENGTH, Notable::CONTENT_LENGTH),
        b"Transfer-Encoding" | b"transfer-encoding" => {
            (header::TRANSFER_ENCODING, Notable::TRANSFER_ENCODING)
        }
        name => {
            let name = HeaderName::from_bytes(name).map_err(|_| BadField)?;
            let notable = Notable::of(&name);
            (name, notable)
        }
    })
}

/// The name for which these bytes are one of the two spellings that clients and servers use; of none that is notable.
fn usual_name(name: &[u8]) -> Option<HeaderName> {
    Some(match name {
        b"Host" | b"host" => header::HOST,
        b"User-Agent" | b"user-agent" => header::USER_AGENT,
        b"Accept" | b"accept" => header::ACCEPT,
        b"Accept-Encoding" | b"accept-encoding" => header::ACCEPT_ENCODING,
        b"Accept-Language" | b"accept-language" => header::ACCEPT_LANGUAGE,
        b"Accept-Ranges" | b"accept-ranges" => header::ACCEPT_RANGES,
        b"Authorization" | b"authorization" => header::AUTHORIZATION,
        b"Cache-Control" | b"cache-control" => header::CACHE_CONTROL,
        b"Content-Encoding" | b"content-encoding" => header::CONTENT_ENCODING,
        b"Content-Type" | b"content-type" => header::CONTENT_TYPE,
        b"Cookie" | b"cookie" => header::COOKIE,
        b"Date" | b"date" => header::DATE,
        b"ETag" | b"etag" => header::ETAG,
        b"Expires" | b"expires" => header::EXPIRES,
        b"If-Modified-Since" | b"if-modified-since" => header::IF_MODIFIED_SINCE,
        b"If-None-Match" | b"if-none-match" => header::IF_NONE_MATCH,
        b"Last-Modified" | b"last-modified" => header::LAST_MODIFIED,
        b"Location" | b"location" => header::LOCATION,
        b"Origin" | b"origin" => header::ORIGIN,
        b"Referer" | b"referer" => header::REFERER,
        b"Server" | b"server" => header::SERVER,
        b"Set-Cookie" | b"set-cookie" => header::SET_COOKIE,
        b"Vary" | b"vary" => header::VARY,
        _ => return None,
    })
}

/// A field whose name or value is not of the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadField;

/// Whether `Connection` lists `option`.
pub(crate) fn has_option(headers: &HeaderMap, option: &str) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| lists_option(value, option))
}

/// Whether this line of `Connection` lists `option`.
pub(crate) fn lists_option(value: &HeaderValue, option: &str) -> bool {
    let mut options = value.as_bytes().split(|byte| *byte == b',');
    options.any(|found| found.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

/// One field line.
#[inline]
pub(crate) fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Lines;

    fn read(text: &[u8]) -> Result<Option<Fields>, BadField> {
        let mut ends = [0; 64];
        let Ok(found) = Lines::find(text, &mut ends) else { return Err(BadField) };
        found
            .map(|lines| read_fields(&Bytes::copy_from_slice(text), lines.ranges(), lines.count(), None))
            .transpose()
    }

    #[test]
    fn usual_spellings_are_names() {
        let usual = "Host User-Agent Accept Accept-Encoding Accept-Language Accept-Ranges Authorization Cache-Control Content-Encoding \
            Content-Type Cookie Date ETag Expires If-Modified-Since If-None-Match Last-Modified \
            Location Origin Referer Server Set-Cookie Vary";
        for spelling in usual.split(' ') {
            for spelling in [spelling.to_owned(), spelling.to_ascii_lowercase()] {
                let name = usual_name(spelling.as_bytes()).expect("a usual one");
                assert_eq!(name, HeaderName::from_bytes(spelling.as_bytes()).unwrap());
                assert_eq!(Notable::of(&name), Notable::NONE);
            }
        }
        assert_eq!(usual_name(b"hOST"), None);
    }

    #[test]
    fn what_decides_about_a_message_is_noted_in_any_spelling() {
        for (name, notable) in [
            ("Connection", Notable::CONNECTION),
            ("Content-Length", Notable::CONTENT_LENGTH),
            ("Transfer-Encoding", Notable::TRANSFER_ENCODING),
            ("Expect", Notable::EXPECT),
            ("TE", Notable::TE),
            ("X", Notable::NONE),
        ] {
            for spelling in [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                let text = format!("Host: a\r\n{spelling}: x\r\nAccept: b\r\n\r\n");
                assert_eq!(read(text.as_bytes()).unwrap().unwrap().notable, notable, "{spelling}");
            }
        }
    }

    const PIECES: &str =
        "Host|host|X-a|content-length|:|:|: |:\t|a b|1| |\t|\r\n|\r\n|\r\n|\r|\0|\u{7f}|\u{e9}|\"|\\(|,";

    proptest! {
        /// The grammar is that of httparse, which many have looked at.
        #[test]
        fn fields_are_what_httparse_takes_them_for(pieces in prop::collection::vec(PIECES, 0..12)) {
            let text = format!("{}\r\n\r\n", pieces.concat());
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let theirs = httparse::parse_headers(text.as_bytes(), &mut fields);
            let ours = read(text.as_bytes());
            match theirs {
                Ok(httparse::Status::Complete((_, fields))) => {
                    let ours = ours.unwrap().expect("it is whole").map;
                    let mut map = HeaderMap::new();
                    for field in fields {
                        let name = HeaderName::from_bytes(field.name.as_bytes()).unwrap();
                        map.append(name, HeaderValue::from_bytes(field.value).unwrap());
                    }
                    prop_assert_eq!(ours, map, "{:?}", text);
                }
                _ => prop_assert!(ours.is_err(), "{:?}", text),
            }
        }
    }
}
