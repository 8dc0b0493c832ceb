//! Field lines (RFC 9112 §5): into a map and back.
//!
//! Each byte is looked at once for what it is: the end of a line ([`Lines`](super::Lines)), a name (`HeaderName` knows the
//! grammar) or a value (`HeaderValue` does). Names in a spelling that nearly everybody uses are known without being read,
//! and what a reader of heads asks for is noted on the way, so that it need not be looked up in the map.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
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
pub(crate) struct Notable {
    pub(crate) connection: bool,
    pub(crate) content_length: bool,
    pub(crate) transfer_encoding: bool,
    pub(crate) expect: bool,
    pub(crate) te: bool,
}

impl Notable {
    fn note(&mut self, name: &str) {
        match name {
            "connection" => self.connection = true,
            "content-length" => self.content_length = true,
            "transfer-encoding" => self.transfer_encoding = true,
            "expect" => self.expect = true,
            "te" => self.te = true,
            _ => {}
        }
    }
}

/// Reads the `lines` of `head`, whose parts the values are. `more` fields can be added without the map having to grow.
pub(crate) fn read_fields(
    head: &Bytes,
    lines: impl Iterator<Item = Range<usize>>,
    room: usize,
) -> Result<Fields, BadField> {
    let mut fields = Fields { map: spare_map(room), notable: Notable::default() };
    for Range { start, end } in lines {
        let line = &head[start..end];
        let colon = memchr::memchr(b':', line).ok_or(BadField)?;
        let name = read_name(&line[..colon])?;
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
        fields.notable.note(name.as_str());
        fields.map.append(name, value);
    }
    Ok(fields)
}

fn read_name(name: &[u8]) -> Result<HeaderName, BadField> {
    match usual_name(name) {
        Some(name) => Ok(name),
        None => HeaderName::from_bytes(name).map_err(|_| BadField),
    }
}

/// The name for which these bytes are one of the two spellings that clients and servers use.
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
        b"Connection" | b"connection" => header::CONNECTION,
        b"Content-Encoding" | b"content-encoding" => header::CONTENT_ENCODING,
        b"Content-Length" | b"content-length" => header::CONTENT_LENGTH,
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
        b"Transfer-Encoding" | b"transfer-encoding" => header::TRANSFER_ENCODING,
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
pub(crate) fn put_field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
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
            .map(|lines| read_fields(&Bytes::copy_from_slice(text), lines.ranges(), lines.count()))
            .transpose()
    }

    #[test]
    fn usual_spellings_are_names() {
        let usual = "Host User-Agent Accept Accept-Encoding Accept-Language Accept-Ranges Authorization Cache-Control \
            Connection Content-Encoding Content-Length Content-Type Cookie Date ETag Expires If-Modified-Since \
            If-None-Match Last-Modified Location Origin Referer Server Set-Cookie Transfer-Encoding Vary";
        for spelling in usual.split(' ') {
            for spelling in [spelling.to_owned(), spelling.to_ascii_lowercase()] {
                let name = usual_name(spelling.as_bytes()).expect("a usual one");
                assert_eq!(name, HeaderName::from_bytes(spelling.as_bytes()).unwrap());
            }
        }
        assert_eq!(usual_name(b"hOST"), None);
    }

    #[test]
    fn what_decides_about_a_message_is_noted_in_any_spelling() {
        let notable = |text: &str| read(text.as_bytes()).unwrap().unwrap().notable;
        assert_eq!(notable("Accept: x\r\n\r\n"), Notable::default());
        let all = "CONNECTION: x\r\ncontent-Length: 1\r\nTransfer-encoding: y\r\nEXPECT: z\r\nTe: \r\n\r\n";
        let Notable { connection, content_length, transfer_encoding, expect, te } = notable(all);
        assert!(connection && content_length && transfer_encoding && expect && te);
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
