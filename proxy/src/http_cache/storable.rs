//! May this response be stored (RFC 9111 §3)?
//!
//! ```text
//!     the method is understood        GET; POST when it says which GET it answers and for how long (RFC 9110 §9.3.3)
//!     the status is final             and understood, where must-understand or 206 makes that matter
//!     nobody forbids it               no-store in request or response, private, Authorization (§3.5), Vary: *
//!     something allows it             a lifetime, public, or a status that may be stored by default
//! ```
//!
//! The answer is `Ok` or the first reason against, whose name goes into `Cache-Status`.

use super::control::{RequestControl, ResponseControl};
use super::exchange::Exchange;
use super::freshness::{explicit_lifetime, is_heuristically_cacheable};
use super::settings::Profile;
use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{Method, StatusCode};
use std::fmt;

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The method is not one whose responses are stored.
    Method,
    /// The status is not final, or not understood where it must be.
    Status,
    /// The request says `no-store`.
    RequestNoStore,
    /// The response says `no-store`.
    NoStore,
    /// The response is for one user.
    Private,
    /// The request had credentials and nothing allows sharing.
    Authorization,
    /// The response sets a cookie (profile "safe").
    SetCookie,
    /// No later request can fit (`Vary: *`).
    Vary,
    /// Nothing says that it may be stored.
    NoLifetime,
    /// Stale from the start and without a validator: of no use.
    Useless,
    /// A part whose range cannot be read or does not fit its body.
    Range,
    /// Longer than the cache takes.
    TooLong,
    /// Invalidated or purged while it was on its way.
    Invalidated,
}

/// Decides whether the rules allow to store a response. Vary, ranges and usefulness are looked at later, where their
/// values are needed anyway.
pub fn storable(
    exchange: &Exchange<'_>,
    control: &ResponseControl,
    is_targeted: bool,
    profile: Profile,
) -> Result<(), Refusal> {
    if !matches!(*exchange.method, Method::GET | Method::POST) {
        return Err(Refusal::Method);
    }
    let status = exchange.status;
    if status.is_informational() || is_for_one_request(status) {
        return Err(Refusal::Status);
    }
    if control.must_understand {
        // §5.2.2.3: with an understood status, no-store is for caches that do not know must-understand.
        if !is_understood(status) {
            return Err(Refusal::Status);
        }
    } else if control.no_store {
        return Err(Refusal::NoStore);
    }
    if RequestControl::parse(exchange.request).no_store {
        return Err(Refusal::RequestNoStore);
    }
    if control.private.is_all() {
        return Err(Refusal::Private);
    }
    if exchange.request.contains_key(AUTHORIZATION) {
        let is_shared = control.public || control.must_revalidate || control.s_maxage.is_some();
        if profile.is_safe() || !is_shared {
            return Err(Refusal::Authorization);
        }
    }
    if profile.is_safe() && exchange.response.contains_key(SET_COOKIE) {
        return Err(Refusal::SetCookie);
    }
    let explicit = explicit_lifetime(exchange.response, control, is_targeted, exchange.received).is_some();
    if *exchange.method == Method::POST && !explicit {
        return Err(Refusal::Method);
    }
    if !(explicit || control.public || is_heuristically_cacheable(status)) {
        return Err(Refusal::NoLifetime);
    }
    Ok(())
}

/// Whether a status answers the way in which one client asked (its conditions, range, rate or size), which is not in the
/// key: given to others it would deny them the resource. For four of them RFC 6585 says so.
fn is_for_one_request(status: StatusCode) -> bool {
    matches!(status.as_u16(), 304 | 412 | 416 | 417 | 428 | 429 | 431 | 511)
}

/// Whether the caching behaviour of a status is known here (RFC 9111 §3): every registered one.
fn is_understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

impl Refusal {
    /// The reason as a token for `Cache-Status`.
    pub fn token(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::Vary => "vary",
            Self::NoLifetime => "no-lifetime",
            Self::Useless => "useless",
            Self::Range => "range",
            Self::TooLong => "too-long",
            Self::Invalidated => "invalidated",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.token())
    }
}

#[cfg(test)]
mod tests {
    use super::super::moment::Moment;
    use super::*;
    use http::header::{HeaderMap, HeaderName, HeaderValue};

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = lines.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    struct Case(Method, u16, Profile);

    impl Case {
        fn check(
            &self,
            request: &[(&'static str, &'static str)],
            response: &[(&'static str, &'static str)],
        ) -> Result<(), Refusal> {
            let exchange = Exchange {
                method: &self.0,
                request: &map(request),
                status: StatusCode::from_u16(self.1).expect("a valid test status"),
                response: &map(response),
                sent: Moment::from_secs(1),
                received: Moment::from_secs(1),
            };
            let (control, is_targeted) = exchange.control();
            storable(&exchange, &control, is_targeted, self.2)
        }
    }

    const GET: Case = Case(Method::GET, 200, Profile::Rfc);
    const SAFE: Case = Case(Method::GET, 200, Profile::Safe);
    const FRESH: (&str, &str) = ("cache-control", "max-age=9");
    const AUTH: (&str, &str) = ("authorization", "Basic x");

    #[test]
    fn rfc9111_3_something_must_allow_it() {
        assert_eq!(GET.check(&[], &[]), Ok(()), "200 may be stored by default");
        let get = |status| Case(Method::GET, status, Profile::Rfc);
        assert_eq!(get(500).check(&[], &[]), Err(Refusal::NoLifetime));
        for status in [200, 203, 204, 299, 302, 307, 400, 403, 404, 499, 500, 502, 503, 504, 599] {
            assert_eq!(get(status).check(&[], &[FRESH]), Ok(()), "{status}");
            assert_eq!(get(status).check(&[], &[("expires", "0")]), Ok(()), "{status}");
        }
        assert_eq!(get(201).check(&[], &[("cache-control", "public")]), Ok(()));
        assert_eq!(get(103).check(&[], &[FRESH]), Err(Refusal::Status));
    }

    #[test]
    fn rfc6585_7_1_what_answers_how_one_client_asked_is_not_for_others() {
        for status in [304, 412, 416, 417, 428, 429, 431, 511] {
            let case = Case(Method::GET, status, Profile::Rfc);
            assert_eq!(
                case.check(&[], &[("cache-control", "public, max-age=9")]),
                Err(Refusal::Status),
                "{status}"
            );
        }
    }

    #[test]
    fn rfc9111_5_2_no_store_counts_from_both_sides() {
        assert_eq!(GET.check(&[("cache-control", "no-store")], &[FRESH]), Err(Refusal::RequestNoStore));
        assert_eq!(GET.check(&[], &[("cache-control", "max-age=9, NO-STORE")]), Err(Refusal::NoStore));
    }

    #[test]
    fn rfc9111_5_2_2_3_must_understand_overrides_no_store_for_known_statuses() {
        let both = [("cache-control", "max-age=9, no-store, must-understand")];
        assert_eq!(GET.check(&[], &both), Ok(()));
        assert_eq!(Case(Method::GET, 599, Profile::Rfc).check(&[], &both), Err(Refusal::Status));
        let alone = [("cache-control", "max-age=9, must-understand")];
        assert_eq!(Case(Method::GET, 599, Profile::Rfc).check(&[], &alone), Err(Refusal::Status));
    }

    #[test]
    fn rfc9111_5_2_2_7_private_whole_or_by_field() {
        assert_eq!(GET.check(&[], &[("cache-control", "private, max-age=9")]), Err(Refusal::Private));
        assert_eq!(GET.check(&[], &[("cache-control", "private=\"a\", max-age=9")]), Ok(()));
    }

    #[test]
    fn rfc9111_3_5_authorization_needs_permission() {
        assert_eq!(GET.check(&[AUTH], &[FRESH]), Err(Refusal::Authorization));
        for line in ["max-age=9, public", "max-age=9, must-revalidate", "s-maxage=9"] {
            assert_eq!(GET.check(&[AUTH], &[("cache-control", line)]), Ok(()), "{line}");
            assert_eq!(
                SAFE.check(&[AUTH], &[("cache-control", line)]),
                Err(Refusal::Authorization),
                "{line}"
            );
        }
    }

    #[test]
    fn rfc9111_7_3_set_cookie_is_not_shared_by_default() {
        let response = [FRESH, ("set-cookie", "sid=1")];
        assert_eq!(SAFE.check(&[], &response), Err(Refusal::SetCookie));
        assert_eq!(GET.check(&[], &response), Ok(()));
    }

    #[test]
    fn rfc9213_2_2_a_targeted_field_replaces_cache_control() {
        assert_eq!(
            GET.check(&[], &[("cdn-cache-control", "max-age=9"), ("cache-control", "no-store")]),
            Ok(())
        );
        let private = [("cdn-cache-control", "private"), FRESH];
        assert_eq!(GET.check(&[], &private), Err(Refusal::Private));
        let broken = [("cdn-cache-control", "max-age=\"9\""), ("cache-control", "no-store")];
        assert_eq!(GET.check(&[], &broken), Err(Refusal::NoStore));
    }

    #[test]
    fn rfc9110_9_3_3_post_needs_explicit_freshness() {
        let post = Case(Method::POST, 200, Profile::Rfc);
        assert_eq!(post.check(&[], &[]), Err(Refusal::Method));
        assert_eq!(post.check(&[], &[FRESH]), Ok(()));
        assert_eq!(Case(Method::PUT, 200, Profile::Rfc).check(&[], &[FRESH]), Err(Refusal::Method));
        assert_eq!(Case(Method::HEAD, 200, Profile::Rfc).check(&[], &[FRESH]), Err(Refusal::Method));
    }
}
