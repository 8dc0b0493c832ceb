//! Cache-Status (RFC 9211): on every response, what the cache did and why.
//!
//! ```text
//!     Cache-Status: evenly; hit; ttl=42
//!     Cache-Status: evenly; hit; ttl=-3; detail=stale-if-error
//!     Cache-Status: evenly; fwd=stale; fwd-status=304; stored; ttl=60
//!     Cache-Status: evenly; fwd=uri-miss; fwd-status=200; detail=set-cookie
//! ```
//!
//! Each cache on the way appends its own line; those of others stay.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The field.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What is told of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Why it went to the origin; none when it did not.
    pub forward: Option<Forward>,
    /// The status the origin gave, when it differs from what the client gets or is of interest.
    pub forward_status: Option<u16>,
    /// Seconds of freshness left; negative when stale.
    pub ttl: Option<i64>,
    /// Whether the response was stored.
    pub stored: bool,
    /// Whether another request's fetch answered this one.
    pub collapsed: bool,
    /// More, as a token.
    pub detail: Option<&'static str>,
}

/// Why a request went to the origin (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache was told not to handle it.
    Bypass,
    /// The method needs the origin.
    Method,
    /// Nothing stored for the target.
    UriMiss,
    /// Something stored, but for other selecting fields.
    VaryMiss,
    /// The request's directives want it fresher.
    Request,
    /// The stored response was stale.
    Stale,
    /// Only another part was stored.
    Partial,
}

impl CacheStatus {
    /// Appends the line of the cache called `name`.
    pub fn append(&self, name: &str, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.line(name)) {
            headers.append(CACHE_STATUS, value);
        }
    }

    /// The line of the cache called `name`.
    pub fn line(&self, name: &str) -> String {
        let mut line = String::with_capacity(64);
        line.push_str(name);
        match self.forward {
            Some(forward) => {
                line.push_str("; fwd=");
                line.push_str(forward.token());
            }
            None => line.push_str("; hit"),
        }
        if let Some(status) = self.forward_status {
            line.push_str("; fwd-status=");
            push_decimal(&mut line, status.into());
        }
        if self.stored {
            line.push_str("; stored");
        }
        if self.collapsed {
            line.push_str("; collapsed");
        }
        if let Some(ttl) = self.ttl {
            line.push_str("; ttl=");
            if ttl < 0 {
                line.push('-');
            }
            push_decimal(&mut line, ttl.unsigned_abs());
        }
        if let Some(detail) = self.detail {
            line.push_str("; detail=");
            line.push_str(detail);
        }
        line
    }
}

impl Forward {
    /// The registered token.
    pub fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// Appends a number; `write!` would go by way of a formatter for each answer.
fn push_decimal(line: &mut String, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len() - 1;
    while number > 9 {
        digits[at] += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        at -= 1;
    }
    digits[at] += u8::try_from(number).unwrap_or(0);
    line.extend(digits[at..].iter().copied().map(char::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9211_2_members_and_parameters() {
        let hit = CacheStatus { ttl: Some(42), ..CacheStatus::default() };
        assert_eq!(hit.line("evenly"), "evenly; hit; ttl=42");
        let stale = CacheStatus { ttl: Some(-3), detail: Some("stale-if-error"), ..CacheStatus::default() };
        assert_eq!(stale.line("evenly"), "evenly; hit; ttl=-3; detail=stale-if-error");
        let miss = CacheStatus {
            forward: Some(Forward::UriMiss),
            forward_status: Some(200),
            stored: true,
            collapsed: true,
            ..CacheStatus::default()
        };
        assert_eq!(miss.line("x"), "x; fwd=uri-miss; fwd-status=200; stored; collapsed");
    }

    #[test]
    fn rfc9211_2_lines_of_other_caches_stay() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("origin; hit"));
        CacheStatus::default().append("evenly", &mut headers);
        assert_eq!(headers.get_all(CACHE_STATUS).iter().collect::<Vec<_>>(), ["origin; hit", "evenly; hit"]);
    }

    #[test]
    fn every_line_is_a_structured_field() {
        for forward in
            [Forward::Bypass, Forward::Method, Forward::UriMiss, Forward::VaryMiss, Forward::Partial]
        {
            let status = CacheStatus {
                forward: Some(forward),
                ttl: Some(-1),
                detail: Some("a-b"),
                ..Default::default()
            };
            let line = status.line("evenly");
            let parsed = sfv::Parser::new(&line).parse::<sfv::List>();
            assert!(parsed.is_ok(), "{line}");
        }
    }
}
