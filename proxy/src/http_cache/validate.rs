//! Validators: asking the origin whether a stored response still holds, and telling a client that its copy does
//! (RFC 9111 §4.3, RFC 9110 §8.8 and §13).
//!
//! ```text
//!     client ── If-None-Match: "a" ──► stored ETag "a", fresh            ──► 304
//!     client ── anything ──►           stored ETag "b", stale ── If-None-Match: "b" ──► origin
//! ```
//!
//! Entity tags are compared weakly for If-None-Match and strongly for If-Range. Tags that origins write without
//! quotes are compared as they are, so that both sides meeting again agree.

use super::freshness::{date, single_date};
use super::moment::Moment;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};

/// What identifies a stored representation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// ETag, as written.
    pub etag: Option<HeaderValue>,
    /// Last-Modified, as written.
    pub last_modified: Option<HeaderValue>,
}

impl Validators {
    /// The validators of a response; a doubled field is none.
    pub fn of(response: &HeaderMap) -> Self {
        let single = |name| {
            let mut lines = response.get_all(name).iter();
            lines.next().filter(|_| lines.next().is_none()).cloned()
        };
        Self { etag: single(ETAG), last_modified: single(LAST_MODIFIED) }
    }

    /// Whether there is nothing to validate with.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// The entity tag, when it vouches for every byte.
    pub fn strong_etag(&self) -> Option<&HeaderValue> {
        self.etag.as_ref().filter(|etag| is_strong(etag.as_bytes()))
    }

    /// Makes a request ask whether the stored representation still holds (RFC 9111 §4.3.1), in place of whatever
    /// the client asked.
    pub fn ask(&self, request: &mut HeaderMap) {
        remove_conditions(request);
        if let Some(etag) = &self.etag {
            request.insert(IF_NONE_MATCH, etag.clone());
        }
        if let Some(last_modified) = &self.last_modified {
            request.insert(IF_MODIFIED_SINCE, last_modified.clone());
        }
    }
}

/// Takes all conditions out of a request.
pub(super) fn remove_conditions(request: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE] {
        request.remove(name);
    }
}

/// Whether a request has conditions that a 304 would answer.
pub fn is_conditional(request: &HeaderMap) -> bool {
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

/// Whether a request has conditions that only the origin can evaluate (RFC 9110 §13.1.1, §13.1.4).
pub fn needs_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether the client's own copy is the stored one, so that 304 answers it (RFC 9111 §4.3.2).
pub fn is_not_modified(request: &HeaderMap, response: &HeaderMap, received: Moment) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return none_match_fails(request, response); // If-Modified-Since does not count beside it
    }
    let Some(since) = single_date(request, &IF_MODIFIED_SINCE, received) else { return false };
    let modified = single_date(response, &LAST_MODIFIED, received);
    modified.unwrap_or_else(|| date(response, received)).secs() <= since.secs()
}

fn none_match_fails(request: &HeaderMap, response: &HeaderMap) -> bool {
    let stored = response.get(ETAG).map(|etag| opaque(etag.as_bytes()));
    let mut lines = request.get_all(IF_NONE_MATCH).iter();
    lines.any(|line| {
        let line = line.as_bytes().trim_ascii();
        line == b"*" || stored.is_some_and(|stored| tags(line).any(|tag| opaque(tag) == stored))
    })
}

/// Whether a Range may be honoured: If-Range is absent or names the stored representation (RFC 9110 §13.1.5).
pub fn range_holds(request: &HeaderMap, response: &HeaderMap, received: Moment) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let Some(condition) = lines.next() else { return true };
    if lines.next().is_some() {
        return false;
    }
    let condition = condition.as_bytes().trim_ascii();
    if let Some(date_asked) = Moment::parse(condition, received) {
        // A date vouches for bytes only when it is at least a second older than the response (§8.8.2.2).
        let modified = single_date(response, &LAST_MODIFIED, received);
        let made = date(response, received).secs();
        return modified == Some(date_asked) && made > date_asked.secs();
    }
    let stored = response.get(ETAG).map(|etag| etag.as_bytes().trim_ascii());
    is_strong(condition) && stored == Some(condition)
}

/// The header fields of a 304 made from a stored response (RFC 9110 §15.4.5): all but those about the content.
pub fn not_modified_headers(response: &HeaderMap) -> HeaderMap {
    let mut headers = response.clone();
    for name in [CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE] {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
    headers
}

/// Whether two entity tags are the same representation, byte for byte.
pub fn same_strong(a: &HeaderValue, b: &HeaderValue) -> bool {
    is_strong(a.as_bytes()) && a.as_bytes().trim_ascii() == b.as_bytes().trim_ascii()
}

/// Whether two entity tags are the same representation, weakness aside.
pub fn same_weak(a: &HeaderValue, b: &HeaderValue) -> bool {
    opaque(a.as_bytes()) == opaque(b.as_bytes())
}

fn is_strong(etag: &[u8]) -> bool {
    let etag = etag.trim_ascii();
    etag.len() >= 2 && etag.starts_with(b"\"") && etag.ends_with(b"\"")
}

/// An entity tag without weakness and quotes.
fn opaque(etag: &[u8]) -> &[u8] {
    let etag = etag.trim_ascii();
    let etag = match etag {
        [b'W' | b'w', b'/', quoted @ ..] => quoted,
        _ => etag,
    };
    match etag {
        [b'"', inside @ .., b'"'] => inside,
        _ => etag,
    }
}

/// The members of an If-None-Match line: commas inside quotes belong to a tag.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |&byte| {
        if byte == b'"' {
            quoted = !quoted;
        }
        byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    const NOW: Moment = Moment::from_secs(784_111_777);
    const EARLIER: &str = "Sun, 06 Nov 1994 08:00:00 GMT";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a valid test value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn not_modified(request: &[(&'static str, &str)], response: &[(&'static str, &str)]) -> bool {
        is_not_modified(&map(request), &map(response), NOW)
    }

    #[test]
    fn rfc9110_13_1_2_if_none_match_compares_weakly() {
        let asks =
            |condition: &str, etag: &str| not_modified(&[("if-none-match", condition)], &[("etag", etag)]);
        assert!(asks("\"a\"", "\"a\"") && asks("W/\"a\"", "\"a\"") && asks("\"a\"", "W/\"a\""));
        assert!(asks("\"x\", \"a\", \"y\"", "\"a\"") && asks("*", "\"a\"") && asks("\"a,b\"", "\"a,b\""));
        assert!(!asks("\"x\"", "\"a\"") && !asks("\"a\"", "\"a,b\""));
        assert!(asks("a", "\"a\"") && asks("\"ü\"", "\"ü\""), "what peers really send");
        assert!(!not_modified(&[("if-none-match", "\"a\"")], &[]));
        assert!(!not_modified(&[], &[("etag", "\"a\"")]));
    }

    #[test]
    fn rfc9110_13_2_2_if_none_match_comes_before_if_modified_since() {
        let stored = [("etag", "\"a\""), ("last-modified", EARLIER)];
        assert!(!not_modified(&[("if-none-match", "\"x\""), ("if-modified-since", DATE)], &stored));
    }

    #[test]
    fn rfc9111_4_3_2_if_modified_since_uses_date_when_nothing_better_is_stored() {
        let since = |date: &'static str| [("if-modified-since", date)];
        assert!(not_modified(&since(EARLIER), &[("last-modified", EARLIER)]));
        assert!(not_modified(&since("Sunday, 06-Nov-94 08:00:00 GMT"), &[("last-modified", EARLIER)]));
        assert!(!not_modified(&since(EARLIER), &[("last-modified", DATE)]));
        assert!(!not_modified(&since(EARLIER), &[("date", DATE)]));
        assert!(not_modified(&since(DATE), &[("date", DATE)]));
        assert!(!not_modified(&since("never"), &[("last-modified", EARLIER)]));
    }

    #[test]
    fn rfc9110_13_1_5_if_range_compares_strongly() {
        let holds =
            |condition: &str, lines: &[_]| range_holds(&map(&[("if-range", condition)]), &map(lines), NOW);
        assert!(range_holds(&map(&[]), &map(&[]), NOW));
        assert!(holds("\"a\"", &[("etag", "\"a\"")]));
        assert!(!holds("W/\"a\"", &[("etag", "W/\"a\"")]) && !holds("\"b\"", &[("etag", "\"a\"")]));
        assert!(holds(EARLIER, &[("last-modified", EARLIER), ("date", DATE)]));
        assert!(!holds(DATE, &[("last-modified", EARLIER), ("date", DATE)]));
        assert!(!holds(DATE, &[("last-modified", DATE), ("date", DATE)]), "a weak date");
    }

    #[test]
    fn rfc9111_4_3_1_our_conditions_replace_the_clients() {
        let mut request = map(&[("if-none-match", "\"client\""), ("if-range", "\"x\""), ("accept", "a")]);
        Validators::of(&map(&[("etag", "\"ours\""), ("last-modified", EARLIER)])).ask(&mut request);
        assert_eq!(
            request,
            map(&[("accept", "a"), ("if-none-match", "\"ours\""), ("if-modified-since", EARLIER)])
        );
    }

    #[test]
    fn rfc9110_15_4_5_a_304_says_nothing_about_content() {
        let stored =
            map(&[("etag", "\"a\""), ("content-type", "x/y"), ("vary", "a"), ("last-modified", DATE)]);
        assert_eq!(not_modified_headers(&stored), map(&[("etag", "\"a\""), ("vary", "a")]));
    }
}
