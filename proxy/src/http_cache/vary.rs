//! Vary (RFC 9111 §4.1): which stored response of a key fits a request.
//!
//! A stored response remembers the request fields that its Vary names. Another request fits when each has the same
//! value after the changes that keep the meaning:
//!
//! ```text
//!     any field          Foo: 1, 2   =   Foo: 1 + Foo: 2   =   Foo:1,2          lines joined, spaces at commas
//!     Accept-Language    en, de;q=1.0   =   DE , en                             case, order of equals, default q
//!     Accept-Encoding    gzip, br   =   br,x-gzip
//! ```
//!
//! `*`, anywhere in the list, never fits; nor does a Vary that cannot be read or names more than [`NAMES_MAX`] fields.
//! Absent and empty are different: an empty Accept-Encoding refuses what an absent one accepts.

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, VARY};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The request fields that select a stored response, with the values they had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selecting {
    fields: Vec<(HeaderName, Option<Value>)>,
}

/// One field's value: as it came, to recognise the usual case without work, and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    line: Option<HeaderValue>,
    normal: Vec<u8>,
}

impl Selecting {
    /// Reads the Vary of a response to this request; none when no later request can ever fit.
    pub fn new(response: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        let mut fields: Vec<(HeaderName, Option<Value>)> = Vec::new();
        for line in response.get_all(VARY) {
            for name in line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                if name.is_empty() {
                    continue;
                }
                if name == b"*" || fields.len() == NAMES_MAX {
                    return None;
                }
                let name = HeaderName::from_bytes(name).ok()?;
                if fields.iter().all(|(known, _)| *known != name) {
                    let value = value(&name, request);
                    fields.push((name, value));
                }
            }
        }
        // In one order, so that equal sets are equal and hash alike whatever order the origin lists them in.
        fields.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        Some(Self { fields })
    }

    /// The same fields with the values of another request.
    pub fn of(&self, request: &HeaderMap) -> Self {
        let fields = self.fields.iter().map(|(name, _)| (name.clone(), value(name, request))).collect();
        Self { fields }
    }

    /// Whether a request has the same selecting fields.
    pub fn fits(&self, request: &HeaderMap) -> bool {
        self.fields.iter().all(|(name, stored)| same(name, stored.as_ref(), request))
    }

    /// Whether a request fits but for its Accept-Language, whose first choice the stored Content-Language is.
    pub fn fits_by_language(&self, response: &HeaderMap, request: &HeaderMap) -> bool {
        let mut by_language = false;
        let others = self.fields.iter().all(|(name, stored)| {
            if *name == ACCEPT_LANGUAGE && !same(name, stored.as_ref(), request) {
                by_language = is_first_choice(response, request);
                return by_language;
            }
            same(name, stored.as_ref(), request)
        });
        others && by_language
    }

    /// The selecting fields in order: name and compared value.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.fields.iter().map(|(name, value)| (name, value.as_ref().map(|value| value.normal.as_slice())))
    }

    /// Selecting fields read back from storage.
    pub fn from_fields(fields: Vec<(HeaderName, Option<Vec<u8>>)>) -> Self {
        let whole = |normal| Value { line: None, normal };
        Self { fields: fields.into_iter().map(|(name, normal)| (name, normal.map(whole))).collect() }
    }
}

fn same(name: &HeaderName, stored: Option<&Value>, request: &HeaderMap) -> bool {
    match (stored, lines(name, request)) {
        (None, None) => true,
        (Some(stored), Some((first, more))) => {
            (!more && stored.line.as_ref() == Some(first)) || stored.normal == normal(name, request)
        }
        _ => false,
    }
}

/// The first line of a field and whether there are more.
fn lines<'a>(name: &HeaderName, request: &'a HeaderMap) -> Option<(&'a HeaderValue, bool)> {
    let mut lines = request.get_all(name).iter();
    let first = lines.next()?;
    Some((first, lines.next().is_some()))
}

fn value(name: &HeaderName, request: &HeaderMap) -> Option<Value> {
    let (first, more) = lines(name, request)?;
    Some(Value { line: (!more).then(|| first.clone()), normal: normal(name, request) })
}

/// The value as it is compared.
fn normal(name: &HeaderName, request: &HeaderMap) -> Vec<u8> {
    let mut members: Vec<Vec<u8>> = Vec::new();
    for line in request.get_all(name) {
        members.extend(split_unquoted(line.as_bytes()).filter(|one| !one.is_empty()).map(<[u8]>::to_vec));
    }
    if *name == ACCEPT_LANGUAGE || *name == ACCEPT_ENCODING {
        let ranked: Option<Vec<_>> = members.iter().map(|member| weighted(member)).collect();
        if let Some(mut ranked) = ranked {
            ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            ranked.dedup();
            let written =
                ranked.iter().map(|(range, weight)| [range, format!(";{weight}").as_bytes()].concat());
            return written.collect::<Vec<_>>().join(&b',');
        }
    }
    members.join(&b',')
}

/// A range in lower case with its weight in thousandths; none when malformed.
fn weighted(member: &[u8]) -> Option<(Vec<u8>, u16)> {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let range = parts.next()?.to_ascii_lowercase();
    let weight = parts.next().map_or(Some(1000), weight)?;
    if range.is_empty() || parts.next().is_some() {
        return None;
    }
    let range = match range.strip_prefix(b"x-") {
        Some(alias @ (b"gzip" | b"compress")) => alias.to_vec(), // RFC 9110 §8.4.1
        _ => range,
    };
    Some((range, weight))
}

/// `q=0.25` in thousandths (RFC 9110 §12.4.2).
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', number @ ..] = parameter else { return None };
    let (whole, rest) = number.split_first()?;
    let digits = match rest {
        [] => &[],
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let fraction = (0..3).fold(0, |sum, nth| sum * 10 + digits.get(nth).map_or(0, |d| u16::from(d - b'0')));
    match (whole, fraction) {
        (b'0', fraction) => Some(fraction),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

/// Whether the one Content-Language of a response is what a request wants most (RFC 4647 §3.3.1).
fn is_first_choice(response: &HeaderMap, request: &HeaderMap) -> bool {
    let Some((language, false)) = lines(&CONTENT_LANGUAGE, response) else { return false };
    let language = language.as_bytes().trim_ascii().to_ascii_lowercase();
    if language.is_empty() || language.contains(&b',') {
        return false;
    }
    let mut wishes: Vec<(Vec<u8>, u16)> = Vec::new();
    for line in request.get_all(ACCEPT_LANGUAGE) {
        for member in split_unquoted(line.as_bytes()).filter(|one| !one.is_empty()) {
            let Some(wish) = weighted(member) else { return false };
            wishes.push(wish);
        }
    }
    let Some(best) = wishes.iter().map(|(_, weight)| *weight).max() else { return false };
    let mut first = wishes.iter().filter(|(_, weight)| *weight == best && best > 0);
    match (first.next(), first.next()) {
        (Some((range, _)), None) => {
            language == *range || (language.starts_with(range) && language.get(range.len()) == Some(&b'-'))
        }
        _ => false, // two first choices: the origin must choose
    }
}

/// Splits at commas outside quoted strings, which keep their spaces.
fn split_unquoted(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = line.split(move |&byte| {
        let comma = byte == b',' && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        comma
    });
    parts.map(<[u8]>::trim_ascii)
}

/// More names than this never fit.
pub(super) const NAMES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).expect("a valid test value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    /// Whether the second request fits what was stored for the first under these Vary lines.
    fn fits(vary: &[&str], first: &[(&'static str, &str)], second: &[(&'static str, &str)]) -> bool {
        let vary: Vec<_> = vary.iter().map(|line| ("vary", *line)).collect();
        let selecting = Selecting::new(&map(&vary), &map(first));
        selecting.is_some_and(|selecting| selecting.fits(&map(second)))
    }

    #[test]
    fn rfc9111_4_1_named_fields_must_be_equal() {
        assert!(fits(&[], &[("a", "1")], &[("a", "2")]));
        assert!(fits(&["A"], &[("a", "1"), ("b", "1")], &[("a", "1"), ("b", "2")]));
        assert!(!fits(&["a", "B"], &[("a", "1"), ("b", "1")], &[("a", "1"), ("b", "2")]));
        assert!(!fits(&["a"], &[("a", "1")], &[]));
        assert!(!fits(&["a"], &[], &[("a", "1")]));
        assert!(!fits(&["a"], &[], &[("a", "")]));
        assert!(fits(&["a, b"], &[("a", "1")], &[("a", "1")]));
    }

    #[test]
    fn rfc9111_4_1_a_star_never_fits() {
        for vary in [&["*"][..], &["*, *"], &["a, *"], &["a", "*"], &[",*"], &["", "*"]] {
            assert!(!fits(vary, &[], &[]), "{vary:?}");
        }
        assert!(!fits(&["a b"], &[], &[]), "unreadable");
        let many: Vec<_> = (0..=NAMES_MAX).map(|nth| format!("n{nth}")).collect();
        assert!(!fits(&[&many.join(",")], &[], &[]));
    }

    #[test]
    fn rfc9111_4_1_lines_and_spaces_do_not_matter() {
        assert!(fits(&["foo"], &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(fits(&["foo"], &[("foo", "1,2")], &[("foo", " 1, 2 ")]));
        assert!(!fits(&["foo"], &[("foo", "1,2")], &[("foo", "2,1")]));
        assert!(!fits(&["foo"], &[("foo", "\"a,b\"")], &[("foo", "\"a, b\"")]), "quoted spaces are content");
    }

    #[test]
    fn rfc9110_12_5_languages_and_encodings_are_compared_by_meaning() {
        let language = |first: &str, second: &str| {
            fits(&["accept-language"], &[("accept-language", first)], &[("accept-language", second)])
        };
        assert!(language("en, de", "de, en"));
        assert!(language("en, de", " eN ,   De"));
        assert!(language("en;q=1.0, de;q=0.5", "de; q=0.50,en"));
        assert!(!language("en;q=0.9, de", "en, de"));
        assert!(!language("en;q=x", "en"));
        let encoding = |first: &str, second: &str| {
            fits(&["accept-encoding"], &[("accept-encoding", first)], &[("accept-encoding", second)])
        };
        assert!(encoding("gzip, br", "br,x-gzip"));
        assert!(!encoding("gzip, identity;q=0", "gzip"));
        assert!(!fits(&["accept-encoding"], &[("accept-encoding", "")], &[]));
    }

    #[test]
    fn rfc4647_3_3_a_stored_language_fits_a_single_first_choice() {
        let stored = map(&[("vary", "accept-language, a"), ("content-language", "de")]);
        let selecting = Selecting::new(&stored, &map(&[("accept-language", "en, de")])).expect("readable");
        let fits = |wish: &str| selecting.fits_by_language(&stored, &map(&[("accept-language", wish)]));
        assert!(fits("fr;q=0.5, de;q=1.0"));
        assert!(!fits("fr, de"), "two first choices");
        assert!(!fits("fr;q=1, de;q=0.5"));
        assert!(!fits("de;q=0"));
        let other = map(&[("accept-language", "de"), ("a", "1")]);
        assert!(!selecting.fits_by_language(&stored, &other), "the other field differs");
    }

    #[test]
    fn equal_sets_are_equal_in_any_order() {
        let request = map(&[("a", "1"), ("b", "2")]);
        let one = Selecting::new(&map(&[("vary", "b, A, a")]), &request);
        assert_eq!(one, Selecting::new(&map(&[("vary", "a"), ("vary", "B")]), &request));
    }
}
