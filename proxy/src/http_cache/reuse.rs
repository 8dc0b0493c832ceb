//! May a stored response that fits be used for this request, now (RFC 9111 §4 and §5.2.1)?
//!
//! ```text
//!     age        0 ────────────── lifetime ─────── + stale-while-revalidate ───────── + stale-if-error ──────►
//!     use        │     fresh      │   stale, and validated behind the answer   │  only if the origin fails  │ gone
//!     forbids    │ request no-cache, max-age, min-fresh                        │  must-revalidate, s-maxage, no-cache
//! ```

use super::control::RequestControl;
use super::entry::Entry;
use super::moment::Moment;
use super::settings::Settings;
use std::time::Duration;

/// What may be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Use it.
    Fresh,
    /// Use it although stale: the client said that is fine.
    Stale,
    /// Use it although stale, and validate it in the background.
    StaleWhileRevalidate,
    /// Validate it first.
    Validate,
}

/// Decides about one stored response.
pub fn reuse(entry: &Entry, request: &RequestControl, now: Moment) -> Reuse {
    let control = &entry.control;
    if request.no_cache || control.no_cache.is_all() {
        return Reuse::Validate;
    }
    let freshness = &entry.freshness;
    let age = freshness.age(now);
    let is_fresh = freshness.is_fresh(now);
    // RFC 8246 §2: what is immutable need not be validated while fresh because a reload asks for a small age.
    // `max-age=0` asks for validation, however quickly it comes after the answer that is stored.
    let is_old_for = |most: Duration| age > most || most.is_zero();
    let is_too_old = request.max_age.is_some_and(is_old_for) && !(control.immutable && is_fresh);
    let is_too_near_its_end = request.min_fresh.is_some_and(|least| freshness.left(now) < least);
    if is_too_old || is_too_near_its_end {
        return Reuse::Validate;
    }
    if is_fresh {
        return Reuse::Fresh;
    }
    if control.forbids_stale() {
        return Reuse::Validate;
    }
    let staleness = freshness.staleness(now);
    if control.stale_while_revalidate.is_some_and(|window| staleness <= window && !window.is_zero()) {
        return Reuse::StaleWhileRevalidate;
    }
    if request.max_stale.is_some_and(|most| staleness <= most) {
        return Reuse::Stale;
    }
    Reuse::Validate
}

/// Whether a stored response may be used because the origin failed: no answer, or 500, 502, 503, 504
/// (RFC 9111 §4.2.4, RFC 5861 §4).
pub fn reuse_on_error(entry: &Entry, request: &RequestControl, now: Moment, settings: &Settings) -> bool {
    if request.no_cache || entry.control.forbids_stale() {
        return false;
    }
    let stated = entry.control.stale_if_error.max(request.stale_if_error);
    let window = stated.unwrap_or(settings.stale_if_error);
    entry.freshness.is_fresh(now) || (entry.freshness.staleness(now) <= window && window > Duration::ZERO)
}

/// Whether a fresh response is so near its end that a popular one is better fetched again now.
pub fn is_due_for_refresh(entry: &Entry, now: Moment) -> bool {
    let lifetime = entry.freshness.lifetime;
    entry.freshness.is_fresh(now) && entry.freshness.left(now) <= lifetime / 10
}

#[cfg(test)]
mod tests {
    use super::super::exchange::Exchange;
    use super::*;
    use http::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderValue};
    use http::{Method, StatusCode};

    fn entry(control: &'static str) -> Entry {
        let mut response = HeaderMap::new();
        response.insert(CACHE_CONTROL, HeaderValue::from_static(control));
        response.insert(ETAG, HeaderValue::from_static("\"a\""));
        let exchange = Exchange {
            method: &Method::GET,
            request: &HeaderMap::new(),
            status: StatusCode::OK,
            response: &response,
            sent: Moment::from_secs(0),
            received: Moment::from_secs(0),
        };
        Entry::new(&exchange, &Settings::default()).expect("storable")
    }

    fn request(control: &'static str) -> RequestControl {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
        RequestControl::parse(&headers)
    }

    /// The decision about a response with these directives at an age of so many seconds.
    fn at(age: u64, response: &'static str, asked: &'static str) -> Reuse {
        reuse(&entry(response), &request(asked), Moment::from_secs(age))
    }

    fn on_error(age: u64, response: &'static str, asked: &'static str) -> bool {
        let settings = Settings { stale_if_error: Duration::from_secs(100), ..Settings::default() };
        reuse_on_error(&entry(response), &request(asked), Moment::from_secs(age), &settings)
    }

    #[test]
    fn rfc9111_4_2_fresh_until_the_lifetime_is_over() {
        assert_eq!(at(9, "max-age=10", ""), Reuse::Fresh);
        assert_eq!(at(10, "max-age=10", ""), Reuse::Validate);
        assert_eq!(at(0, "max-age=0", ""), Reuse::Validate);
    }

    #[test]
    fn rfc9111_5_2_2_4_no_cache_is_always_validated() {
        assert_eq!(at(0, "max-age=10, no-cache", "max-stale"), Reuse::Validate);
        assert_eq!(at(0, "max-age=10, no-cache=\"x\"", ""), Reuse::Fresh);
    }

    #[test]
    fn rfc9111_5_2_1_a_request_may_want_it_fresher() {
        assert_eq!(at(5, "max-age=10", "no-cache"), Reuse::Validate);
        assert_eq!(at(5, "max-age=10", "max-age=4"), Reuse::Validate);
        assert_eq!(at(5, "max-age=10", "max-age=5"), Reuse::Fresh);
        assert_eq!(at(0, "max-age=10", "max-age=0"), Reuse::Validate);
        assert_eq!(at(5, "max-age=10", "min-fresh=6"), Reuse::Validate);
        assert_eq!(at(5, "max-age=10", "min-fresh=5"), Reuse::Fresh);
    }

    #[test]
    fn rfc9111_5_2_1_2_a_request_may_take_it_stale() {
        assert_eq!(at(15, "max-age=10", "max-stale=5"), Reuse::Stale);
        assert_eq!(at(16, "max-age=10", "max-stale=5"), Reuse::Validate);
        assert_eq!(at(99_999, "max-age=10", "max-stale"), Reuse::Stale);
        for forbidden in ["max-age=10, must-revalidate", "max-age=10, proxy-revalidate", "s-maxage=10"] {
            assert_eq!(at(11, forbidden, "max-stale"), Reuse::Validate, "{forbidden}");
        }
    }

    #[test]
    fn rfc5861_3_stale_while_revalidate() {
        assert_eq!(at(15, "max-age=10, stale-while-revalidate=5", ""), Reuse::StaleWhileRevalidate);
        assert_eq!(at(16, "max-age=10, stale-while-revalidate=5", ""), Reuse::Validate);
        assert_eq!(at(11, "max-age=10, stale-while-revalidate=5, must-revalidate", ""), Reuse::Validate);
        assert_eq!(at(10, "max-age=10, stale-while-revalidate=0", ""), Reuse::Validate);
    }

    #[test]
    fn rfc5861_4_stale_if_error() {
        assert!(
            on_error(30, "max-age=10, stale-if-error=20", "")
                && !on_error(31, "max-age=10, stale-if-error=20", "")
        );
        assert!(on_error(110, "max-age=10", "") && !on_error(111, "max-age=10", ""), "the operator's window");
        assert!(on_error(500, "max-age=10", "stale-if-error=490"));
        assert!(!on_error(11, "max-age=10, stale-if-error=0", ""));
    }

    #[test]
    fn rfc9111_4_2_4_stale_is_never_used_when_forbidden() {
        for control in ["must-revalidate", "proxy-revalidate", "no-cache"] {
            let control: &'static str = format!("max-age=10, stale-if-error=60, {control}").leak();
            assert!(!on_error(11, control, ""), "{control}");
        }
        assert!(!on_error(11, "s-maxage=10, stale-if-error=60", ""));
        assert!(!on_error(11, "max-age=10", "no-cache"));
    }

    #[test]
    fn rfc8246_immutable_is_not_validated_by_a_reload_while_fresh() {
        assert_eq!(at(5, "max-age=10, immutable", "max-age=0"), Reuse::Fresh);
        assert_eq!(at(5, "max-age=10, immutable", "no-cache"), Reuse::Validate);
        assert_eq!(at(11, "max-age=10, immutable", ""), Reuse::Validate);
    }

    #[test]
    fn the_last_tenth_is_due_for_refresh() {
        let due = |age| is_due_for_refresh(&entry("max-age=100"), Moment::from_secs(age));
        assert_eq!([due(0), due(89), due(90), due(99), due(100)], [false, false, true, true, false]);
    }
}
