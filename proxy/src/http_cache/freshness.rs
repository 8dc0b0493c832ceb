//! How long a response is fresh and how old it is (RFC 9111 §4.2).
//!
//! ```text
//!     lifetime      CDN-Cache-Control  ›  s-maxage  ›  max-age  ›  Expires − Date  ›  the operator's  ›  heuristic
//!
//!     initial age   max( received − Date ,  Age + (received − sent) )            what it had when it came
//!     age           initial age + (now − received)                               what it has now
//!     fresh         age < lifetime
//! ```
//!
//! What the origin leaves open is for the operator to say, and where he says nothing, guessed: a tenth of the time since
//! Last-Modified, capped. Both only for statuses that allow it.
//! `Age` is a single number: of a list the first member counts, and what is no number does not count (§5.1).
//! All arithmetic saturates: an `Age` of 2^64 makes a response old, not a process dead.

use super::control::{DELTA_MAX_SECS, ResponseControl};
use super::exchange::Exchange;
use super::moment::Moment;
use super::settings::Settings;
use http::StatusCode;
use http::header::{AGE, DATE, EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED};
use std::time::Duration;

/// The lifetime of a stored response and the means to tell its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How long it is fresh, counted from its origination.
    pub lifetime: Duration,
    /// How old it was when it came.
    pub initial_age: Duration,
    /// When it came.
    pub received: Moment,
}

impl Freshness {
    /// Works out the freshness of a response; `is_targeted` says that `control` came from CDN-Cache-Control.
    pub fn of(
        exchange: &Exchange<'_>,
        control: &ResponseControl,
        is_targeted: bool,
        settings: &Settings,
    ) -> Self {
        let date = date(exchange.response, exchange.received);
        let apparent = Duration::from_secs(exchange.received.secs().saturating_sub(date.secs()));
        let delay = exchange.received.since(exchange.sent);
        let initial_age = apparent.max(age_value(exchange.response).saturating_add(delay));
        let lifetime = explicit_lifetime(exchange.response, control, is_targeted, exchange.received)
            .unwrap_or_else(|| implied_lifetime(exchange, control, date, settings));
        Self { lifetime, initial_age, received: exchange.received }
    }

    /// The age at `now`.
    pub fn age(&self, now: Moment) -> Duration {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// Whether the lifetime is not over at `now`.
    pub fn is_fresh(&self, now: Moment) -> bool {
        self.age(now) < self.lifetime
    }

    /// How long the lifetime has been over at `now`; zero while fresh.
    pub fn staleness(&self, now: Moment) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }

    /// What is left of the lifetime at `now`; zero when stale.
    pub fn left(&self, now: Moment) -> Duration {
        self.lifetime.saturating_sub(self.age(now))
    }
}

/// The lifetime that the origin states (RFC 9111 §4.2.1); what it states badly is zero.
pub(super) fn explicit_lifetime(
    headers: &HeaderMap,
    control: &ResponseControl,
    is_targeted: bool,
    received: Moment,
) -> Option<Duration> {
    if let Some(stated) = control.s_maxage.or(control.max_age) {
        return Some(stated);
    }
    if is_targeted {
        return None; // RFC 9213 §2.2: Expires does not count beside a targeted field
    }
    let mut lines = headers.get_all(EXPIRES).iter();
    let first = lines.next()?;
    if lines.next().is_some() {
        return Some(Duration::ZERO);
    }
    let expires = Moment::parse(first.as_bytes(), received);
    Some(expires.map_or(Duration::ZERO, |expires| expires.since(date(headers, received))))
}

/// When the origin says the response was made, or when it came (RFC 9110 §6.6.1).
pub(super) fn date(headers: &HeaderMap, received: Moment) -> Moment {
    single_date(headers, &DATE, received).unwrap_or(received)
}

/// The one valid date in a field.
pub(super) fn single_date(headers: &HeaderMap, name: &HeaderName, now: Moment) -> Option<Moment> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    Moment::parse(first.as_bytes(), now)
}

/// Whether a status may be stored without explicit freshness (RFC 9110 §15.1).
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// The operator's own, else RFC 9111 §4.2.2.
fn implied_lifetime(
    exchange: &Exchange<'_>,
    control: &ResponseControl,
    date: Moment,
    settings: &Settings,
) -> Duration {
    if !(control.public || is_heuristically_cacheable(exchange.status)) {
        return Duration::ZERO;
    }
    if !settings.default_ttl.is_zero() {
        return settings.default_ttl;
    }
    single_date(exchange.response, &LAST_MODIFIED, exchange.received).map_or(Duration::ZERO, |modified| {
        Duration::from_secs(date.since(modified).as_secs() / 10).min(settings.heuristic_max)
    })
}

/// The Age field (RFC 9111 §5.1).
fn age_value(headers: &HeaderMap) -> Duration {
    let first = headers.get(AGE).map_or(&[][..], |line| line.as_bytes());
    let member = first.split(|&byte| byte == b',').next().unwrap_or(&[]).trim_ascii();
    if member.is_empty() || !member.iter().all(u8::is_ascii_digit) {
        return Duration::ZERO;
    }
    let seconds = member.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(DELTA_MAX_SECS)
    });
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method};

    const NOW: u64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    fn freshness(lines: &[(&'static str, &str)]) -> Freshness {
        of_status(200, lines, &Settings::default())
    }

    fn of_status(status: u16, lines: &[(&'static str, &str)], settings: &Settings) -> Freshness {
        let mut response = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).expect("a valid test value");
            response.append(HeaderName::from_static(name), value);
        }
        let exchange = Exchange {
            method: &Method::GET,
            request: &HeaderMap::new(),
            status: StatusCode::from_u16(status).expect("a valid test status"),
            response: &response,
            sent: Moment::from_secs(NOW),
            received: Moment::from_secs(NOW + 2),
        };
        let (control, is_targeted) = exchange.control();
        Freshness::of(&exchange, &control, is_targeted, settings)
    }

    fn lifetime(lines: &[(&'static str, &str)]) -> u64 {
        freshness(lines).lifetime.as_secs()
    }

    fn initial_age(lines: &[(&'static str, &str)]) -> u64 {
        freshness(lines).initial_age.as_secs()
    }

    const DATE_NOW: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    const IN_100: (&str, &str) = ("expires", "Sun, 06 Nov 1994 08:51:17 GMT");

    #[test]
    fn rfc9111_4_2_1_precedence() {
        let all = [DATE_NOW, IN_100, ("cache-control", "max-age=200, s-maxage=300")];
        assert_eq!(lifetime(&all), 300);
        assert_eq!(lifetime(&[DATE_NOW, IN_100, ("cache-control", "max-age=200")]), 200);
        assert_eq!(lifetime(&[DATE_NOW, IN_100]), 100);
        assert_eq!(lifetime(&[DATE_NOW, IN_100, ("cdn-cache-control", "max-age=7")]), 7);
        assert_eq!(lifetime(&[DATE_NOW, IN_100, ("cdn-cache-control", "must-revalidate")]), 0);
        assert_eq!(lifetime(&[DATE_NOW, IN_100, ("cdn-cache-control", "max-age=x y")]), 100);
    }

    #[test]
    fn rfc9111_5_3_invalid_or_doubled_expires_is_stale() {
        for value in ["0", "-1", "", "Sun, 06 Nov 1994 08:51:17", "tomorrow"] {
            assert_eq!(
                lifetime(&[DATE_NOW, ("expires", value), ("last-modified", DATE_NOW.1)]),
                0,
                "{value}"
            );
        }
        assert_eq!(lifetime(&[DATE_NOW, IN_100, IN_100]), 0);
        assert_eq!(lifetime(&[("date", "yesterday"), IN_100]), 98, "an invalid Date is the time it came");
    }

    #[test]
    fn rfc9111_4_2_3_age() {
        assert_eq!(initial_age(&[DATE_NOW]), 2);
        assert_eq!(initial_age(&[("date", "Sun, 06 Nov 1994 08:48:37 GMT")]), 62, "Date is a minute back");
        assert_eq!(initial_age(&[DATE_NOW, ("age", "30")]), 32, "Age and the time it took");
        assert_eq!(initial_age(&[("date", "Sun, 06 Nov 1994 09:49:37 GMT")]), 2, "a clock ahead of ours");
        let now = Moment::from_secs(NOW + 12);
        assert_eq!(freshness(&[DATE_NOW, ("age", "30")]).age(now).as_secs(), 42);
    }

    #[test]
    fn rfc9111_5_1_age_is_the_first_member_or_nothing() {
        assert_eq!(initial_age(&[("age", "7200, 0")]), 7202);
        assert_eq!(initial_age(&[("age", "0,7200")]), 2);
        assert_eq!(initial_age(&[("age", "0"), ("age", "7200")]), 2);
        for value in ["abc", "-7200", "7200.0", "7200;foo=bar", ""] {
            assert_eq!(initial_age(&[("age", value)]), 2, "{value}");
        }
    }

    #[test]
    fn rfc9111_1_2_2_huge_numbers_are_old_not_fatal() {
        let huge = freshness(&[("age", &"9".repeat(400)), ("cache-control", "max-age=99999999999999999999")]);
        assert!(!huge.is_fresh(Moment::from_millis(u64::MAX)));
        assert_eq!(huge.left(Moment::from_millis(u64::MAX)), Duration::ZERO);
    }

    #[test]
    fn rfc9111_4_2_2_a_tenth_of_the_time_since_modification() {
        let a_day_old = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
        assert_eq!(lifetime(&[DATE_NOW, a_day_old]), 8640);
        assert_eq!(
            lifetime(&[DATE_NOW, ("last-modified", "Sun, 06 Nov 1994 09:49:37 GMT")]),
            0,
            "in the future"
        );
        assert_eq!(
            lifetime(&[DATE_NOW, ("last-modified", "Sat, 05 Nov 1904 08:49:37 GMT")]),
            86_400,
            "capped"
        );
        let of = |status, lines: &[_]| of_status(status, lines, &Settings::default()).lifetime.as_secs();
        assert_eq!(of(500, &[DATE_NOW, a_day_old]), 0);
        assert_eq!(of(599, &[DATE_NOW, a_day_old, ("cache-control", "public")]), 8640);
        let off = Settings { heuristic_max: Duration::ZERO, ..Settings::default() };
        assert_eq!(of_status(200, &[DATE_NOW, a_day_old], &off).lifetime, Duration::ZERO);
    }

    #[test]
    fn the_operators_lifetime_counts_only_when_nothing_is_said() {
        let settings = Settings { default_ttl: Duration::from_secs(60), ..Settings::default() };
        assert_eq!(of_status(200, &[], &settings).lifetime.as_secs(), 60);
        let changed_just_now = [DATE_NOW, ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(
            of_status(200, &changed_just_now, &settings).lifetime.as_secs(),
            60,
            "not a tenth of nothing"
        );
        let changed_a_day_ago = [DATE_NOW, ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")];
        assert_eq!(of_status(200, &changed_a_day_ago, &settings).lifetime.as_secs(), 60, "nor of a day");
        assert_eq!(of_status(200, &[("cache-control", "max-age=0")], &settings).lifetime.as_secs(), 0);
        assert_eq!(of_status(500, &[], &settings).lifetime.as_secs(), 0);
    }
}
