//! What is kept of a response besides its bytes, with everything that a later decision needs worked out once.
//!
//! ```text
//!     response head ──► storable? ──► strip (§3.1) ──► control, freshness, validators, selecting fields, extent
//! ```
//!
//! Stripped: what belongs to the connection, what `no-cache="…"` and `private="…"` name, and Age, which is told anew
//! at each use. Date is never touched; a response without one gets the time it came (RFC 9110 §6.6.1).

use super::control::ResponseControl;
use super::exchange::Exchange;
use super::freshness::Freshness;
use super::moment::Moment;
use super::ranges::{ContentRange, content_range};
use super::settings::Settings;
use super::storable::{Refusal, storable};
use super::validate::Validators;
use super::vary::Selecting;
use http::header::{
    AGE, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode};
use std::time::Duration;

/// A stored response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The status; 206 for a part.
    pub status: StatusCode,
    /// The fields to answer with.
    pub headers: HeaderMap,
    /// The directives that count here.
    pub control: ResponseControl,
    /// Lifetime and age.
    pub freshness: Freshness,
    /// How to ask whether it still holds.
    pub validators: Validators,
    /// Which requests it fits.
    pub selecting: Selecting,
    /// All of the representation, or which part.
    pub extent: Extent,
    /// When the request for it was sent: a purge after this moment means it too.
    pub sent: Moment,
}

/// How much of a representation is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// These bytes of it.
    Part(ContentRange),
}

impl Entry {
    /// Decides whether a response may be stored, and works out what to keep.
    ///
    /// # Errors
    ///
    /// The first reason against storing it.
    pub fn new(exchange: &Exchange<'_>, settings: &Settings) -> Result<Self, Refusal> {
        let (control, is_targeted) = exchange.control();
        storable(exchange, &control, is_targeted, settings.profile)?;
        let selecting = Selecting::new(exchange.response, exchange.request).ok_or(Refusal::Vary)?;
        let extent = extent(exchange)?;
        let freshness = Freshness::of(exchange, &control, is_targeted, settings);
        let validators = Validators::of(exchange.response);
        if freshness.lifetime.is_zero() && validators.is_empty() && !is_of_use_stale(&control) {
            return Err(Refusal::Useless);
        }
        let mut headers = exchange.response.clone();
        strip(&mut headers, &control);
        if let Extent::Part(_) = extent {
            headers.remove(CONTENT_RANGE);
            headers.remove(CONTENT_LENGTH);
        }
        if !headers.contains_key(DATE) {
            let date = HeaderValue::from_str(&exchange.received.to_http_date());
            headers.extend(date.ok().map(|date| (DATE, date)));
        }
        let status = exchange.status;
        Ok(Self { status, headers, control, freshness, validators, selecting, extent, sent: exchange.sent })
    }

    /// Updates from the head of a 304 or of a HEAD response (RFC 9111 §3.2, §4.3.4): its fields replace the stored
    /// ones but for those about the bytes that are stored.
    ///
    /// # Errors
    ///
    /// Why the updated response may not stay stored; the old one must then go.
    pub fn freshen(&self, exchange: &Exchange<'_>, settings: &Settings) -> Result<Self, Refusal> {
        let mut merged = self.merged_headers(exchange.response, settings);
        if let Extent::Part(ContentRange { run, complete }) = self.extent {
            let complete = complete.map_or_else(|| String::from("*"), |complete| complete.to_string());
            let range = HeaderValue::from_str(&format!("bytes {}-{}/{complete}", run.first, run.last));
            merged.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
        }
        // The time it took counts from this exchange, and so does an Age that the 304 brings.
        merged.remove(AGE);
        merged.extend(exchange.response.get(AGE).map(|age| (AGE, age.clone())));
        if !exchange.response.contains_key(DATE) {
            merged.remove(DATE); // `new` puts the time of this exchange there
        }
        let updated = Exchange { method: &Method::GET, status: self.status, response: &merged, ..*exchange };
        Self::new(&updated, settings)
    }

    /// The stored fields with those of an update in their place; what a client may get for this one exchange.
    pub fn merged_headers(&self, update: &HeaderMap, settings: &Settings) -> HeaderMap {
        let mut merged = self.headers.clone();
        for name in update.keys() {
            let is_shared = !(settings.profile.is_safe() && *name == SET_COOKIE);
            if is_updatable(name) && is_shared {
                merged.remove(name);
                merged.extend(update.get_all(name).iter().map(|value| (name.clone(), value.clone())));
            }
        }
        strip_connection(&mut merged);
        merged
    }

    /// The age in whole seconds, as the Age field tells it.
    pub fn age_secs(&self, now: Moment) -> u64 {
        self.freshness.age(now).as_secs().min(super::control::DELTA_MAX_SECS)
    }

    /// Bytes that the head takes in memory, roughly: names and values with a map's overhead for each.
    pub fn weight(&self) -> usize {
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        let selecting = self.selecting.fields();
        let selecting =
            selecting.map(|(name, value)| name.as_str().len() + value.map_or(0, <[u8]>::len) * 2 + 64);
        fields.sum::<usize>() + selecting.sum::<usize>() + size_of::<Self>()
    }
}

/// Which bytes a response holds. A 206 of several parts is not stored.
fn extent(exchange: &Exchange<'_>) -> Result<Extent, Refusal> {
    if exchange.status != StatusCode::PARTIAL_CONTENT {
        return Ok(Extent::Whole);
    }
    let kind = exchange.response.get(CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
    let is_multipart = kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"));
    match content_range(exchange.response) {
        Some(range) if !is_multipart && *exchange.method == Method::GET => Ok(Extent::Part(range)),
        _ => Err(Refusal::Range),
    }
}

/// Whether a response that is stale from the start may still be used one day.
fn is_of_use_stale(control: &ResponseControl) -> bool {
    let promised = [control.stale_if_error, control.stale_while_revalidate];
    !control.forbids_stale() && promised.iter().flatten().any(|window| *window > Duration::ZERO)
}

/// Removes what is never stored (RFC 9111 §3.1).
fn strip(headers: &mut HeaderMap, control: &ResponseControl) {
    strip_connection(headers);
    headers.remove(AGE);
    for name in control.no_cache.names().iter().chain(control.private.names()) {
        headers.remove(name);
    }
}

/// Removes what belongs to the connection or the proxy it came through (RFC 9110 §7.6.1).
fn strip_connection(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in nominated.iter().chain(&OF_CONNECTION) {
        headers.remove(name);
    }
}

/// Whether a 304 may change a stored field: not those that describe the bytes already stored.
fn is_updatable(name: &HeaderName) -> bool {
    !OF_STORED_BYTES.contains(name)
}

const OF_CONNECTION: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

const OF_STORED_BYTES: [HeaderName; 5] = [
    CONTENT_LENGTH,
    http::header::CONTENT_ENCODING,
    CONTENT_TYPE,
    CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = lines.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn appended(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn exchange<'a>(status: u16, request: &'a HeaderMap, response: &'a HeaderMap, at: u64) -> Exchange<'a> {
        Exchange {
            method: &Method::GET,
            request,
            status: StatusCode::from_u16(status).expect("a valid test status"),
            response,
            sent: Moment::from_secs(at),
            received: Moment::from_secs(at),
        }
    }

    fn stored(lines: &[(&'static str, &'static str)]) -> Result<Entry, Refusal> {
        Entry::new(&exchange(200, &HeaderMap::new(), &appended(lines), 1000), &Settings::default())
    }

    const FRESH: (&str, &str) = ("cache-control", "max-age=9");

    #[test]
    fn a_selecting_field_weighs_its_value_twice() {
        let weight = |value: &'static str| {
            let (request, response) = (map(&[("accept", value)]), map(&[FRESH, ("vary", "accept")]));
            Entry::new(&exchange(200, &request, &response, 1000), &Settings::default()).unwrap().weight()
        };
        assert_eq!(weight("text/html") - weight("*/*"), 2 * ("text/html".len() - "*/*".len()));
    }

    #[test]
    fn rfc9111_3_1_connection_fields_are_not_stored() {
        let entry = stored(&[
            ("connection", "a, B"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("keep-alive", "x"),
            ("proxy-authenticate", "x"),
            ("transfer-encoding", "garbage"),
            ("age", "2"),
            FRESH,
        ]);
        let mut headers = entry.expect("storable").headers;
        assert!(headers.remove(DATE).is_some(), "a Date is added when missing");
        assert_eq!(headers, map(&[("c", "3"), FRESH]));
    }

    #[test]
    fn rfc9111_5_2_2_named_fields_are_not_stored() {
        let entry =
            stored(&[("cache-control", "max-age=9, no-cache=\"a\", private=\"b\""), ("a", "1"), ("b", "1")]);
        let headers = entry.expect("storable").headers;
        assert!(!headers.contains_key("a") && !headers.contains_key("b"));
    }

    #[test]
    fn repeated_fields_stay_repeated_and_date_stays_as_it_is() {
        let entry = stored(&[("link", "1"), ("link", "2"), ("date", "odd"), FRESH]).expect("storable");
        assert_eq!(entry.headers.get_all("link").iter().count(), 2);
        assert_eq!(entry.headers[DATE], "odd");
    }

    #[test]
    fn rfc9111_3_what_can_never_be_used_is_not_stored() {
        assert_eq!(stored(&[]), Err(Refusal::Useless));
        assert_eq!(stored(&[("vary", "*"), FRESH]), Err(Refusal::Vary));
        assert!(stored(&[("etag", "\"a\"")]).is_ok());
        assert!(stored(&[("cache-control", "max-age=0, stale-if-error=60")]).is_ok());
    }

    #[test]
    fn rfc9111_3_4_parts_are_stored_with_their_range() {
        let part = |lines: &[(&'static str, &'static str)]| {
            Entry::new(&exchange(206, &HeaderMap::new(), &map(lines), 1000), &Settings::default())
        };
        let entry =
            part(&[FRESH, ("content-range", "bytes 0-4/10"), ("content-length", "5")]).expect("storable");
        assert!(matches!(entry.extent, Extent::Part(ContentRange { complete: Some(10), .. })));
        assert!(!entry.headers.contains_key(CONTENT_RANGE) && !entry.headers.contains_key(CONTENT_LENGTH));
        assert_eq!(part(&[FRESH]), Err(Refusal::Range));
        let multipart = [FRESH, ("content-range", "bytes 0-4/10"), ("content-type", "Multipart/byteranges")];
        assert_eq!(part(&multipart), Err(Refusal::Range));
    }

    #[test]
    fn rfc9111_4_3_4_a_304_updates_all_but_the_fields_of_the_bytes() {
        let old = stored(&[
            FRESH,
            ("etag", "\"a\""),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("link", "1"),
            ("link", "2"),
            ("x", "kept"),
        ]);
        let old = old.expect("storable");
        let update = appended(&[
            ("cache-control", "max-age=50"),
            ("content-type", "text/html"),
            ("content-encoding", "br"),
            ("content-length", "3"),
            ("content-range", "bytes 0-1/2"),
            ("link", "3"),
            ("link", "4"),
            ("age", "7"),
            ("connection", "y"),
            ("y", "1"),
        ]);
        let new = old.freshen(&exchange(304, &HeaderMap::new(), &update, 2000), &Settings::default());
        let new = new.expect("storable");
        assert_eq!(new.headers["content-type"], "text/plain");
        assert_eq!(new.headers["content-encoding"], "gzip");
        assert_eq!(new.headers["x"], "kept");
        assert!(!new.headers.contains_key("content-length") && !new.headers.contains_key("content-range"));
        assert!(!new.headers.contains_key("y"));
        assert_eq!(new.headers.get_all("link").iter().collect::<Vec<_>>(), ["3", "4"]);
        assert_eq!((new.freshness.lifetime.as_secs(), new.age_secs(Moment::from_secs(2001))), (50, 8));
    }

    #[test]
    fn rfc9111_4_3_4_a_304_may_forbid_further_storage() {
        let old = stored(&[FRESH, ("etag", "\"a\"")]).expect("storable");
        let update = map(&[("cache-control", "no-store")]);
        let new = old.freshen(&exchange(304, &HeaderMap::new(), &update, 2000), &Settings::default());
        assert_eq!(new, Err(Refusal::NoStore));
    }

    #[test]
    fn a_cookie_in_a_304_is_not_stored_by_default() {
        let old = stored(&[FRESH, ("etag", "\"a\"")]).expect("storable");
        let update = map(&[("set-cookie", "sid=1")]);
        let new = old.freshen(&exchange(304, &HeaderMap::new(), &update, 2000), &Settings::default());
        assert!(!new.expect("storable").headers.contains_key(SET_COOKIE));
    }
}
