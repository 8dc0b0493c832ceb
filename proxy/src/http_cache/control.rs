//! Cache-Control (RFC 9111 §5.2), read once into plain fields.
//!
//! The field is a list that may be split over lines, whose directives may come twice, in any case, with token or
//! quoted arguments, and with numbers of any length. Two rules keep every doubtful case safe:
//!
//! - Repeated directives: the strictest wins (the shortest lifetime, the whole response before a named field).
//! - A malformed lifetime is a lifetime of zero: "stale" rather than "nothing said" (RFC 9111 §4.2.1).
//!
//! Cost: one pass over the bytes; nothing is allocated unless a directive names fields.

use http::header::{CACHE_CONTROL, PRAGMA};
use http::header::{HeaderMap, HeaderName};
use std::time::Duration;

/// What a response asks of caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseControl {
    /// Do not store.
    pub no_store: bool,
    /// Do not use without validation, or not these fields.
    pub no_cache: Fields,
    /// Not for a shared cache, or not these fields.
    pub private: Fields,
    /// May be stored although rules of thumb say no.
    pub public: bool,
    /// Never use stale.
    pub must_revalidate: bool,
    /// Shared caches: never use stale.
    pub proxy_revalidate: bool,
    /// Store only when the status code is understood; then `no-store` does not count.
    pub must_understand: bool,
    /// The representation does not change while fresh (RFC 8246).
    pub immutable: bool,
    /// Lifetime.
    pub max_age: Option<Duration>,
    /// Lifetime in shared caches; also forbids stale use.
    pub s_maxage: Option<Duration>,
    /// How long stale use is fine while validating (RFC 5861).
    pub stale_while_revalidate: Option<Duration>,
    /// How long stale use is fine when the origin fails (RFC 5861).
    pub stale_if_error: Option<Duration>,
}

/// What a request asks of caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// Store nothing of this exchange.
    pub no_store: bool,
    /// Validate before use (also `Pragma: no-cache` when there is no Cache-Control).
    pub no_cache: bool,
    /// Answer from the store or with 504.
    pub only_if_cached: bool,
    /// No response older than this.
    pub max_age: Option<Duration>,
    /// Stale responses are fine up to this long; `Duration::MAX` for any.
    pub max_stale: Option<Duration>,
    /// The response must stay fresh at least this long.
    pub min_fresh: Option<Duration>,
    /// Stale use is fine when the origin fails (RFC 5861 §4).
    pub stale_if_error: Option<Duration>,
}

/// The reach of `no-cache` and `private`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// The directive is absent.
    #[default]
    None,
    /// Only these response fields are meant.
    Named(Vec<HeaderName>),
    /// The whole response is meant.
    All,
}

impl ResponseControl {
    /// Reads the Cache-Control lines of a response.
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in Directives::new(line.as_bytes()) {
                control.apply(name, argument);
            }
        }
        control
    }

    /// Takes one directive in; what is not known is ignored (RFC 9111 §5.2.3).
    pub(super) fn apply(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("max-age") {
            shortest(&mut self.max_age, argument.seconds());
        } else if is("s-maxage") {
            shortest(&mut self.s_maxage, argument.seconds());
        } else if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache.widen(argument);
        } else if is("private") {
            self.private.widen(argument);
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("immutable") {
            self.immutable = true;
        } else if is("stale-while-revalidate") {
            shortest(&mut self.stale_while_revalidate, argument.seconds());
        } else if is("stale-if-error") {
            shortest(&mut self.stale_if_error, argument.seconds());
        }
    }

    /// Whether stale use is forbidden whatever happens (RFC 9111 §4.2.4, §5.2.2.10).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some() || self.no_cache.is_all()
    }
}

impl RequestControl {
    /// Reads the Cache-Control lines of a request, and Pragma where there are none (RFC 9111 §5.4).
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            if headers.contains_key(PRAGMA) {
                let mut lines = headers.get_all(PRAGMA).iter();
                control.no_cache = lines.any(|line| {
                    Directives::new(line.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"))
                });
            }
            return control;
        }
        for line in headers.get_all(CACHE_CONTROL) {
            for (name, argument) in Directives::new(line.as_bytes()) {
                control.apply(name, argument);
            }
        }
        control
    }

    fn apply(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            shortest(&mut self.max_age, argument.seconds());
        } else if is("max-stale") {
            let any = matches!(argument, Argument::Absent);
            shortest(&mut self.max_stale, if any { Duration::MAX } else { argument.seconds() });
        } else if is("min-fresh") {
            // A malformed wish for freshness is no wish; of two, the longer is the stricter.
            self.min_fresh = self.min_fresh.max(Some(argument.seconds()));
        } else if is("stale-if-error") {
            shortest(&mut self.stale_if_error, argument.seconds());
        }
    }
}

impl Fields {
    /// Whether the whole response is meant.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// The named fields, if only fields are meant.
    pub fn names(&self) -> &[HeaderName] {
        if let Self::Named(names) = self { names } else { &[] }
    }

    fn widen(&mut self, argument: Argument<'_>) {
        let Some(new) = argument.fields() else {
            *self = Self::All;
            return;
        };
        match self {
            Self::All => {}
            Self::Named(names) => names.extend(new),
            Self::None => *self = Self::Named(new),
        }
    }
}

/// The argument of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    /// `name`
    Absent,
    /// `name=token` or the inside of `name="quoted"`, escapes still in.
    Text(&'a [u8]),
    /// Spaces around `=`, an open quote, bytes after the closing one.
    Malformed,
}

impl Argument<'_> {
    /// Delta seconds (RFC 9111 §1.2.2): too many saturate, anything else is zero.
    fn seconds(self) -> Duration {
        match self {
            Argument::Text(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                let sum = digits.iter().fold(0u64, |sum, digit| {
                    sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(DELTA_MAX_SECS)
                });
                Duration::from_secs(sum)
            }
            _ => Duration::ZERO,
        }
    }

    /// The field names listed; none when there is no list or it cannot be read in full.
    fn fields(self) -> Option<Vec<HeaderName>> {
        let Argument::Text(list) = self else { return None };
        let names = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let names: Vec<_> = names.map(|name| HeaderName::from_bytes(name).ok()).collect::<Option<_>>()?;
        (!names.is_empty() && names.len() <= NAMED_FIELDS_MAX).then_some(names)
    }
}

/// The directives of one line: splits at commas outside quotes.
pub(super) struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Directives<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self { rest: line }
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Argument<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let end = unquoted_comma(self.rest);
            let element = self.rest[..end].trim_ascii();
            self.rest = self.rest.get(end + 1..).unwrap_or(&[]);
            if !element.is_empty() {
                return Some(directive(element));
            }
        }
    }
}

fn directive(element: &[u8]) -> (&[u8], Argument<'_>) {
    let Some(equals) = element.iter().position(|&byte| byte == b'=') else {
        return (element, Argument::Absent);
    };
    let (name, value) = (&element[..equals], &element[equals + 1..]);
    if name.ends_with(b" ") || name.ends_with(b"\t") || value.starts_with(b" ") || value.starts_with(b"\t") {
        return (name.trim_ascii(), Argument::Malformed);
    }
    match value {
        [b'"', inside @ .., b'"'] if unquoted_end(inside) => (name, Argument::Text(inside)),
        [b'"', ..] => (name, Argument::Malformed),
        token => (name, Argument::Text(token)),
    }
}

/// Where the first comma outside quotes is, or the end.
fn unquoted_comma(line: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    line.len()
}

/// Whether a quoted string's inside has no quote of its own and does not escape the closing one.
fn unquoted_end(inside: &[u8]) -> bool {
    let mut escaped = false;
    for &byte in inside {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !escaped
}

fn shortest(slot: &mut Option<Duration>, new: Duration) {
    *slot = Some(slot.map_or(new, |old| old.min(new)));
}

/// What longer numbers become (RFC 9111 §1.2.2): 2^31 seconds, 68 years.
pub(super) const DELTA_MAX_SECS: u64 = 1 << 31;
/// Longer field lists count as "the whole response".
const NAMED_FIELDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn lines(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(line).expect("a valid test value"));
        }
        headers
    }

    fn response(text: &[&str]) -> ResponseControl {
        ResponseControl::parse(&lines(text))
    }

    fn request(text: &[&str]) -> RequestControl {
        RequestControl::parse(&lines(text))
    }

    fn secs(count: u64) -> Option<Duration> {
        Some(Duration::from_secs(count))
    }

    #[test]
    fn rfc9111_5_2_names_have_no_case() {
        assert!(response(&["No-StOrE"]).no_store);
        assert_eq!(response(&["MAX-Age=5"]).max_age, secs(5));
    }

    #[test]
    fn rfc9111_5_2_lists_span_lines() {
        let control = response(&["public, ,max-age=100", "private"]);
        assert!(control.public && control.private.is_all());
    }

    #[test]
    fn rfc9111_5_2_token_and_quoted_arguments_are_the_same() {
        assert_eq!(response(&["max-age=\"3600\""]).max_age, secs(3600));
        assert_eq!(response(&["max-age=003600"]).max_age, secs(3600));
    }

    #[test]
    fn rfc9111_4_2_1_malformed_lifetimes_are_zero() {
        let malformed = [
            "max-age",
            "max-age=",
            "max-age='3600'",
            "max-age=3600.0",
            "max-age=-1",
            "max-age =5",
            "max-age= 5",
        ];
        for line in
            malformed.iter().chain(&["max-age=\"5", "max-age=\"5\"6", "max-age=5 6", "max-age=\"5\\\""])
        {
            assert_eq!(response(&[line]).max_age, secs(0), "{line}");
        }
    }

    #[test]
    fn space_about_the_equals_sign_makes_names_of_fields_nothing() {
        for line in ["no-cache =a", "no-cache\t=a", "no-cache= a", "no-cache=\ta"] {
            assert_eq!(response(&[line]).no_cache, Fields::All, "{line:?}");
        }
        assert_ne!(response(&["no-cache=a"]).no_cache, Fields::All);
    }

    #[test]
    fn rfc9111_4_2_1_the_strictest_duplicate_wins() {
        assert_eq!(response(&["max-age=100, max-age=5", "max-age=50"]).max_age, secs(5));
        assert_eq!(response(&["no-cache=\"a\", no-cache"]).no_cache, Fields::All);
        assert_eq!(request(&["min-fresh=5, min-fresh=9"]).min_fresh, secs(9));
    }

    #[test]
    fn rfc9111_1_2_2_overflow_saturates() {
        for digits in ["2147483648", "99999999999", "18446744073709551616", &"9".repeat(4000)] {
            assert_eq!(response(&[&format!("max-age={digits}")]).max_age, secs(DELTA_MAX_SECS), "{digits}");
        }
    }

    #[test]
    fn rfc9111_5_2_quoted_extensions_hide_nothing() {
        let control = response(&["extension=\"max-age=3600, no-store\", max-age=1"]);
        assert_eq!((control.max_age, control.no_store), (secs(1), false));
        // An open quote swallows the rest of its line, never the next line.
        assert!(response(&["x=\"max-age=9", "no-store"]).no_store);
    }

    #[test]
    fn rfc9111_5_2_2_4_no_cache_may_name_fields() {
        let control = response(&["no-cache=\"a, b\", private=C"]);
        assert_eq!(control.no_cache.names(), [HeaderName::from_static("a"), HeaderName::from_static("b")]);
        assert_eq!(control.private.names(), [HeaderName::from_static("c")]);
        for whole in ["no-cache", "no-cache=\"\"", "no-cache=\"a b\"", "no-cache=\"a"] {
            assert_eq!(response(&[whole]).no_cache, Fields::All, "{whole}");
        }
    }

    #[test]
    fn rfc9111_5_2_1_requests() {
        let control =
            request(&["No-Cache, no-store, only-if-cached, max-age=1, max-stale=2, stale-if-error=3"]);
        assert!(control.no_cache && control.no_store && control.only_if_cached);
        assert_eq!((control.max_age, control.max_stale, control.stale_if_error), (secs(1), secs(2), secs(3)));
        assert_eq!(request(&["max-stale"]).max_stale, Some(Duration::MAX));
        assert_eq!(request(&["max-stale=x"]).max_stale, secs(0));
    }

    #[test]
    fn rfc9111_5_4_pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, HeaderValue::from_static("No-Cache"));
        assert!(RequestControl::parse(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("x"));
        assert!(!RequestControl::parse(&headers).no_cache);
    }

    #[test]
    fn rfc9111_5_2_2_10_s_maxage_forbids_stale_use() {
        for line in ["must-revalidate", "proxy-revalidate", "s-maxage=5", "no-cache"] {
            assert!(response(&[line]).forbids_stale(), "{line}");
        }
        assert!(!response(&["no-cache=\"a\", max-age=5"]).forbids_stale());
    }
}
