//! The answer a client gets from a stored response (RFC 9111 §4, §4.3.2; RFC 9110 §13.2.2, §14).
//!
//! ```text
//!     If-None-Match or If-Modified-Since holds ──► 304, without content
//!     Range (and If-Range) holds               ──► 206 of one range or several, or 416
//!     else                                     ──► all of it
//! ```

use super::entry::{Entry, Extent};
use super::moment::Moment;
use super::payload::{Payload, Pieces};
use super::ranges::{Piece, Run, range, resolve};
use super::stored::Stored;
use super::validate::{is_not_modified, not_modified_headers, range_holds};
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use std::fmt::Write;

/// Whether a stored response can answer at all: a part answers only ranges within it.
pub(super) fn can_answer(stored: &Stored, method: &Method, request: &HeaderMap) -> bool {
    match stored.entry.extent {
        Extent::Whole => true,
        Extent::Part(_) => *method == Method::GET && slice(stored, request).is_some(),
    }
}

/// Whether the client's copy is good, so that its answer needs no body.
pub(super) fn is_good_copy(entry: &Entry, request: &HeaderMap) -> bool {
    entry.status.is_success() && is_not_modified(request, &entry.headers, entry.freshness.received)
}

/// The answer to a request from a stored response that may be used for it.
pub(super) fn answer<B>(
    stored: &Stored,
    method: &Method,
    request: &HeaderMap,
    now: Moment,
) -> Response<Payload<B>> {
    let entry = &stored.entry;
    if is_good_copy(entry, request) {
        return not_modified(entry, now);
    }
    let mut response = match entry.extent {
        Extent::Part(_) => match slice(stored, request) {
            Some((run, bytes)) => part(stored, run, bytes),
            None => whole(stored), // `can_answer` says so before
        },
        Extent::Whole => match wanted(entry, method, request, stored.body.length()) {
            None => whole(stored),
            Some(runs) => ranges(stored, &runs),
        },
    };
    response.headers_mut().insert(AGE, HeaderValue::from(entry.age_secs(now)));
    if *method == Method::HEAD {
        *response.body_mut() = Payload::empty();
    }
    response
}

/// 304 for a client whose copy is the stored one.
pub(super) fn not_modified<B>(entry: &Entry, now: Moment) -> Response<Payload<B>> {
    let mut response = Response::new(Payload::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = not_modified_headers(&entry.headers);
    response.headers_mut().insert(AGE, HeaderValue::from(entry.age_secs(now)));
    response
}

/// 504 for `only-if-cached` without a usable response (RFC 9111 §5.2.1.7).
pub(super) fn only_if_cached<B>() -> Response<Payload<B>> {
    let mut response = Response::new(Payload::empty());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    response
}

/// The runs that a Range asks of a whole representation; none when all of it is the answer.
fn wanted(entry: &Entry, method: &Method, request: &HeaderMap, length: u64) -> Option<Vec<Run>> {
    if *method != Method::GET || entry.status != StatusCode::OK {
        return None;
    }
    let pieces = range(request)?;
    range_holds(request, &entry.headers, entry.freshness.received).then(|| resolve(&pieces, length))
}

/// The run and bytes that a part gives to a request for one range within it.
///
/// Ranges from a first byte are cut from the front of the part and suffixes from its back. That is the same unless the
/// part is shorter than its origin claimed, which only the profile "rfc" stores.
fn slice(stored: &Stored, request: &HeaderMap) -> Option<(Run, Vec<Bytes>)> {
    let Extent::Part(have) = stored.entry.extent else { return None };
    let complete = have.complete?;
    let pieces = range(request)?;
    if !range_holds(request, &stored.entry.headers, stored.entry.freshness.received) {
        return None;
    }
    let [piece] = pieces[..] else { return None };
    let [run] = resolve(&pieces, complete)[..] else { return None };
    let held = stored.body.length();
    let bytes = match piece {
        Piece::Suffix(_) if have.run.last == run.last && run.length() <= held => {
            stored.body.cut(held - run.length(), run.length())
        }
        Piece::From { .. } if have.run.contains(run) => {
            stored.body.cut(run.first - have.run.first, run.length())
        }
        _ => return None,
    };
    let length: u64 = bytes.iter().map(|piece| piece.len() as u64).sum();
    let last = run.first.checked_add(length.checked_sub(1)?)?;
    Some((Run { first: run.first, last }, bytes))
}

fn whole<B>(stored: &Stored) -> Response<Payload<B>> {
    let mut response = Response::new(Payload::Pieces(Pieces::new(stored.body.pieces().iter().cloned())));
    *response.status_mut() = stored.entry.status;
    *response.headers_mut() = stored.entry.headers.clone();
    response
}

fn ranges<B>(stored: &Stored, runs: &[Run]) -> Response<Payload<B>> {
    match runs {
        [] => unsatisfiable(stored),
        [run] => part(stored, *run, stored.body.cut(run.first, run.length())),
        several => multipart(stored, several),
    }
}

fn part<B>(stored: &Stored, run: Run, bytes: Vec<Bytes>) -> Response<Payload<B>> {
    let complete = match stored.entry.extent {
        Extent::Whole => Some(stored.body.length()),
        Extent::Part(range) => range.complete,
    };
    let pieces = Pieces::new(bytes);
    let length = pieces.length();
    let mut response = Response::new(Payload::Pieces(pieces));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    *headers = stored.entry.headers.clone();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    insert(headers, CONTENT_RANGE, &content_range(run, complete));
    response
}

fn unsatisfiable<B>(stored: &Stored) -> Response<Payload<B>> {
    let mut response = Response::new(Payload::empty());
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    let headers = response.headers_mut();
    *headers = not_modified_headers(&stored.entry.headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(headers, CONTENT_RANGE, &format!("bytes */{}", stored.body.length()));
    response
}

/// Several ranges as `multipart/byteranges` (RFC 9110 §14.6).
fn multipart<B>(stored: &Stored, runs: &[Run]) -> Response<Payload<B>> {
    let complete = stored.body.length();
    // Derived, so that equal requests get equal answers; a body that contains it spoils only its own origin's answer.
    let boundary = format!("evenly-{:016x}-{complete:x}", stored.entry.freshness.received.millis());
    let kind = stored.entry.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mut pieces = Vec::new();
    for run in runs {
        let mut head = format!("\r\n--{boundary}\r\n");
        if let Some(kind) = kind {
            let _ = write!(head, "Content-Type: {kind}\r\n"); // writing to a String cannot fail
        }
        let _ = write!(head, "Content-Range: {}\r\n\r\n", content_range(*run, Some(complete)));
        pieces.push(Bytes::from(head));
        pieces.extend(stored.body.cut(run.first, run.length()));
    }
    pieces.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    let pieces = Pieces::new(pieces);
    let length = pieces.length();
    let mut response = Response::new(Payload::Pieces(pieces));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    *headers = stored.entry.headers.clone();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    insert(headers, CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
    response
}

fn content_range(run: Run, complete: Option<u64>) -> String {
    let complete = complete.map_or_else(|| String::from("*"), |complete| complete.to_string());
    format!("bytes {}-{}/{complete}", run.first, run.last)
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    // What is written here is made of digits, ASCII words and a field value that was valid before.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::Exchange;
    use super::super::settings::{Profile, Settings};
    use super::super::stored::Chunks;
    use super::*;
    use http::header::HeaderName;

    const NOW: Moment = Moment::from_secs(784_111_787);

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).expect("a valid test value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn stored(status: u16, lines: &[(&'static str, &str)], body: &'static str) -> Stored {
        let mut response =
            map(&[("cache-control", "max-age=99"), ("etag", "\"a\""), ("content-type", "text/plain")]);
        response.extend(map(lines));
        let at = Moment::from_secs(784_111_777);
        let exchange = Exchange {
            method: &Method::GET,
            request: &HeaderMap::new(),
            status: StatusCode::from_u16(status).expect("a valid test status"),
            response: &response,
            sent: at,
            received: at,
        };
        let entry = Entry::new(&exchange, &Settings::default()).expect("storable");
        let (left, right) = body.split_at(body.len() / 2);
        let pieces = [left, right].map(|piece| Bytes::from_static(piece.as_bytes()));
        Stored::new(entry, Chunks::from_pieces(pieces.into()), Profile::Rfc).expect("storable")
    }

    fn body(response: Response<Payload<http_body_util::Empty<Bytes>>>) -> String {
        let mut text = Vec::new();
        let Payload::Pieces(pieces) = response.into_body() else { panic!("not from the store") };
        let mut pieces = std::pin::pin!(pieces);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Some(Ok(frame))) =
            http_body::Body::poll_frame(pieces.as_mut(), &mut cx)
        {
            text.extend(frame.into_data().unwrap_or_default());
        }
        String::from_utf8(text).expect("ascii")
    }

    fn get(stored: &Stored, request: &[(&'static str, &str)]) -> (u16, HeaderMap, String) {
        let response = answer(stored, &Method::GET, &map(request), NOW);
        (response.status().as_u16(), response.headers().clone(), body(response))
    }

    #[test]
    fn rfc9111_4_a_hit_is_the_stored_response_with_its_age() {
        let (status, headers, text) = get(&stored(404, &[], "0123456789"), &[]);
        assert_eq!((status, text.as_str()), (404, "0123456789"));
        assert_eq!(
            (&headers[AGE], &headers[CONTENT_LENGTH]),
            (&HeaderValue::from(10), &HeaderValue::from(10))
        );
    }

    #[test]
    fn rfc9111_4_3_2_conditions_come_before_ranges() {
        let stored = stored(200, &[], "0123456789");
        let (status, headers, text) = get(&stored, &[("if-none-match", "\"a\""), ("range", "bytes=0-1")]);
        assert_eq!((status, text.as_str()), (304, ""));
        assert!(
            headers.contains_key("etag") && headers.contains_key(AGE) && !headers.contains_key(CONTENT_TYPE)
        );
        assert_eq!(get(&stored, &[("if-none-match", "\"b\"")]).0, 200);
    }

    #[test]
    fn rfc9110_13_2_1_conditions_are_for_successes() {
        assert_eq!(get(&stored(404, &[], ""), &[("if-none-match", "\"a\"")]).0, 404);
    }

    #[test]
    fn rfc9110_14_ranges_of_a_whole() {
        let stored = stored(200, &[], "0123456789");
        let (status, headers, text) = get(&stored, &[("range", "bytes=3-6")]);
        assert_eq!(
            (status, text.as_str(), &headers[CONTENT_RANGE]),
            (206, "3456", &HeaderValue::from_static("bytes 3-6/10"))
        );
        assert_eq!(get(&stored, &[("range", "bytes=-1")]).2, "9");
        assert_eq!(get(&stored, &[("range", "bytes=3-6"), ("if-range", "\"b\"")]).0, 200);
        let (status, headers, _) = get(&stored, &[("range", "bytes=10-")]);
        assert_eq!((status, &headers[CONTENT_RANGE]), (416, &HeaderValue::from_static("bytes */10")));
        assert_eq!(get(&stored, &[("range", "lines=1-2")]).2, "0123456789");
    }

    #[test]
    fn rfc9110_14_6_several_ranges_are_multipart() {
        let (status, headers, text) = get(&stored(200, &[], "0123456789"), &[("range", "bytes=0-1,-2")]);
        assert_eq!(status, 206);
        let kind = headers[CONTENT_TYPE].to_str().expect("ascii");
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("multipart");
        let part = |range: &str, bytes: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}"
            )
        };
        assert_eq!(text, format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89")));
        assert_eq!(headers[CONTENT_LENGTH], text.len().to_string());
    }

    #[test]
    fn rfc9110_9_3_2_head_has_the_length_and_no_bytes() {
        let response =
            answer(&stored(200, &[], "0123456789"), &Method::HEAD, &map(&[("range", "bytes=0-1")]), NOW);
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CONTENT_LENGTH]),
            (200, &HeaderValue::from(10))
        );
        assert_eq!(body(response), "");
    }

    #[test]
    fn rfc9111_3_3_a_part_answers_what_is_in_it() {
        let stored = stored(206, &[("content-range", "bytes 4-8/10")], "45678");
        let asks = |range: &'static str| map(&[("range", range)]);
        let can = |range| can_answer(&stored, &Method::GET, &asks(range));
        assert!(
            can("bytes=4-8")
                && can("bytes=5-6")
                && !can("bytes=3-5")
                && !can("bytes=5-")
                && !can("bytes=4-5,7-8")
        );
        assert!(!can_answer(&stored, &Method::GET, &HeaderMap::new()));
        let (status, headers, text) = get(&stored, &[("range", "bytes=5-6")]);
        assert_eq!(
            (status, text.as_str(), &headers[CONTENT_RANGE]),
            (206, "56", &HeaderValue::from_static("bytes 5-6/10"))
        );
    }

    #[test]
    fn a_part_shorter_than_claimed_is_cut_from_the_nearer_end() {
        let stored = stored(206, &[("content-range", "bytes 4-9/10")], "01234");
        for (range, expected) in
            [("bytes=-5", "01234"), ("bytes=6-8", "234"), ("bytes=6-", "234"), ("bytes=-1", "4")]
        {
            assert!(can_answer(&stored, &Method::GET, &map(&[("range", range)])), "{range}");
            assert_eq!(get(&stored, &[("range", range)]).2, expected, "{range}");
        }
    }
}
