//! The engine against a naive twin that is written from the RFCs' sentences, one `if` each, over plain strings; and
//! against noise, which must never make it panic.
//!
//! `PROPTEST_CASES` sets how many exchanges are tried; 2,000 by default.

use bytes::Bytes;
use evenly::http_cache::{
    Entry, Exchange, Moment, Profile, RequestControl, ResponseControl, Reuse, Settings, Validators,
    content_range, is_not_modified, range, range_holds, resolve, reuse, reuse_on_error, targeted,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use std::time::Duration;

const SENT: u64 = 784_111_770;

/// One exchange as plain data.
#[derive(Clone, Debug)]
struct Case {
    method: &'static str,
    status: u16,
    request: Vec<(&'static str, String)>,
    response: Vec<(&'static str, String)>,
    is_safe: bool,
    received_after: u64,
    asked_after: u64,
}

/// What RFC 9111 says, sentence by sentence. Times are whole seconds.
mod twin {
    use super::{Case, SENT};

    pub(crate) fn values<'a>(fields: &'a [(&'static str, String)], name: &str) -> Vec<&'a str> {
        fields.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The directives of all lines: lower-case name and argument without quotes.
    fn directives(fields: &[(&'static str, String)], name: &str) -> Vec<(String, Option<String>)> {
        let joined = values(fields, name).join(",");
        let members = joined.split(',').map(str::trim).filter(|member| !member.is_empty());
        let pairs = members.map(|member| match member.split_once('=') {
            Some((name, value)) => (name.to_lowercase(), Some(value.trim_matches('"').to_owned())),
            None => (member.to_lowercase(), None),
        });
        pairs.collect()
    }

    fn has(fields: &[(&'static str, String)], directive: &str) -> bool {
        directives(fields, "cache-control").iter().any(|(name, _)| name == directive)
    }

    /// The smallest value of a directive; "consider stale" for what is no number.
    fn seconds(fields: &[(&'static str, String)], directive: &str) -> Option<u64> {
        let all = directives(fields, "cache-control");
        let mine = all.iter().filter(|(name, _)| name == directive);
        mine.map(|(_, value)| value.as_deref().and_then(|value| value.parse().ok()).unwrap_or(0)).min()
    }

    /// The dates of the generator are written as `@seconds`.
    pub(crate) fn date(text: &str) -> Option<u64> {
        text.strip_prefix('@')?.parse().ok()
    }

    fn one_date(fields: &[(&'static str, String)], name: &str) -> Option<u64> {
        match values(fields, name)[..] {
            [one] => date(one),
            _ => None,
        }
    }

    /// §3: "A cache MUST NOT store a response to a request unless …".
    pub(crate) fn may_store(case: &Case) -> bool {
        let says = |directive| has(&case.response, directive);
        let is_understood = ![299, 599].contains(&case.status); // the only ones that nobody registered
        let explicit = says("max-age") || says("s-maxage") || !values(&case.response, "expires").is_empty();
        // RFC 6585 §7.1, and what only answers conditions, ranges and expectations of one client
        ![412, 416, 417, 428, 429, 431, 511].contains(&case.status)
            // "the request method is understood by the cache"
            && (case.method == "GET" || (case.method == "POST" && explicit))
            // "if the response status code is 206 or 304, or the must-understand cache directive is present: the cache
            // understands the response status code"
            && (!says("must-understand") || is_understood)
            // "the no-store cache directive is not present in the response" (§5.2.2.3 aside)
            && (!says("no-store") || says("must-understand"))
            && !has(&case.request, "no-store")
            // "if the cache is shared: the private response directive is either not present or …"
            && !says("private")
            // "if the cache is shared: the Authorization header field is not present in the request or …"
            && (values(&case.request, "authorization").is_empty()
                || (!case.is_safe && (says("must-revalidate") || says("public") || says("s-maxage"))))
            && (!case.is_safe || values(&case.response, "set-cookie").is_empty())
            // "the response contains at least one of the following"
            && (says("public") || explicit || heuristic_status(case.status))
            // §4.1: a `*` never matches
            && !values(&case.response, "vary").contains(&"*")
    }

    pub(crate) fn is_useful(case: &Case) -> bool {
        let window = |directive| seconds(&case.response, directive).is_some_and(|window| window > 0);
        lifetime(case) > 0
            || values(&case.response, "etag").len() == 1
            || values(&case.response, "last-modified").len() == 1
            || (!forbids_stale(case) && (window("stale-if-error") || window("stale-while-revalidate")))
    }

    fn heuristic_status(status: u16) -> bool {
        [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status)
    }

    /// §4.2.1 and §4.2.2.
    pub(crate) fn lifetime(case: &Case) -> u64 {
        let received = SENT + case.received_after;
        let date = one_date(&case.response, "date").unwrap_or(received);
        if let Some(shared) = seconds(&case.response, "s-maxage") {
            return shared;
        }
        if let Some(max_age) = seconds(&case.response, "max-age") {
            return max_age;
        }
        if !values(&case.response, "expires").is_empty() {
            return one_date(&case.response, "expires").map_or(0, |expires| expires.saturating_sub(date));
        }
        if !(heuristic_status(case.status) || has(&case.response, "public")) {
            return 0;
        }
        one_date(&case.response, "last-modified")
            .map_or(0, |modified| (date.saturating_sub(modified) / 10).min(86_400))
    }

    /// §4.2.3.
    pub(crate) fn age(case: &Case) -> u64 {
        let received = SENT + case.received_after;
        let date = one_date(&case.response, "date").unwrap_or(received);
        let apparent_age = received.saturating_sub(date);
        let age_value: u64 =
            values(&case.response, "age").first().and_then(|age| age.parse().ok()).unwrap_or(0);
        let response_delay = received - SENT;
        let corrected_initial_age = apparent_age.max(age_value + response_delay);
        corrected_initial_age + case.asked_after
    }

    fn forbids_stale(case: &Case) -> bool {
        ["must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"]
            .iter()
            .any(|name| has(&case.response, name))
    }

    /// §4: fresh, allowed to be served stale, stale while revalidating, or to be validated.
    pub(crate) fn reuse(case: &Case) -> &'static str {
        let (age, lifetime) = (age(case), lifetime(case));
        let asked = |directive| seconds(&case.request, directive);
        if has(&case.response, "no-cache") || has(&case.request, "no-cache") {
            return "validate";
        }
        if asked("max-age").is_some_and(|most| age > most || most == 0)
            && !(has(&case.response, "immutable") && age < lifetime)
        {
            return "validate";
        }
        let wishes = directives(&case.request, "cache-control");
        let wishes = wishes.iter().filter(|(name, _)| name == "min-fresh");
        let min_fresh: Option<u64> = wishes.filter_map(|(_, value)| value.as_deref()?.parse().ok()).max();
        if min_fresh.is_some_and(|least| lifetime < age + least && (age < lifetime || least > 0)) {
            return "validate";
        }
        if age < lifetime {
            return "fresh";
        }
        if forbids_stale(case) {
            return "validate";
        }
        let staleness = age - lifetime;
        if seconds(&case.response, "stale-while-revalidate")
            .is_some_and(|window| window > 0 && staleness <= window)
        {
            return "while-revalidate";
        }
        if asked("max-stale").is_some_and(|most| staleness <= most) {
            return "stale";
        }
        "validate"
    }

    /// RFC 5861 §4 and RFC 9111 §4.2.4, with an operator's window of 50 seconds.
    pub(crate) fn reuse_on_error(case: &Case) -> bool {
        let (age, lifetime) = (age(case), lifetime(case));
        let window = seconds(&case.response, "stale-if-error").max(seconds(&case.request, "stale-if-error"));
        !forbids_stale(case)
            && !has(&case.request, "no-cache")
            && (age < lifetime || (window.unwrap_or(50) > 0 && age - lifetime <= window.unwrap_or(50)))
    }
}

fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = match twin::date(value) {
            Some(secs) => Moment::from_secs(secs).to_http_date(),
            None => value.clone(),
        };
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(&value).expect("a valid value"));
    }
    headers
}

fn seconds() -> impl Strategy<Value = String> {
    prop_oneof![8 => (0u64..120).prop_map(|secs| secs.to_string()), 1 => Just("x".into()), 1 => Just("-1".into())]
}

/// Letters of any case, as senders write them.
fn cased(name: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![Just(name.to_owned()), Just(name.to_uppercase())]
}

fn valued(name: &'static str) -> BoxedStrategy<String> {
    (cased(name), seconds(), any::<bool>())
        .prop_map(
            |(name, value, quoted)| {
                if quoted { format!("{name}=\"{value}\"") } else { format!("{name}={value}") }
            },
        )
        .boxed()
}

fn response_directive() -> impl Strategy<Value = String> {
    let flags = ["no-store", "no-cache", "private", "public", "must-revalidate", "proxy-revalidate"];
    let flags = flags.map(|name| cased(name).boxed()).into_iter();
    let more = ["must-understand", "immutable", "unknown"].map(|name| cased(name).boxed()).into_iter();
    let values = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"].map(valued).into_iter();
    let often = std::iter::repeat_n(valued("max-age"), 6);
    proptest::strategy::Union::new(flags.chain(more).chain(values).chain(often))
}

fn request_directive() -> impl Strategy<Value = String> {
    let values = ["max-age", "stale-if-error"].map(valued).into_iter();
    let wishes = ["max-stale", "min-fresh"]
        .map(|name| (0u64..90).prop_map(move |secs| format!("{name}={secs}")).boxed());
    let flags = ["no-store", "no-cache", "only-if-cached"].map(|name| cased(name).boxed());
    proptest::strategy::Union::new(values.chain(wishes).chain(flags))
}

fn date_near() -> impl Strategy<Value = String> {
    prop_oneof![9 => (SENT - 2000..SENT + 200).prop_map(|secs| format!("@{secs}")), 1 => Just("0".to_owned())]
}

fn response_field() -> impl Strategy<Value = (&'static str, String)> {
    let list = prop::collection::vec(response_directive(), 1..3)
        .prop_map(|list| ("cache-control", list.join(" , ")));
    prop_oneof![
        6 => list,
        2 => date_near().prop_map(|date| ("date", date)),
        2 => date_near().prop_map(|date| ("expires", date)),
        2 => date_near().prop_map(|date| ("last-modified", date)),
        1 => seconds().prop_map(|age| ("age", age)),
        1 => Just(("etag", "\"a\"".to_owned())),
        1 => Just(("set-cookie", "a=b".to_owned())),
        1 => prop_oneof![Just("*"), Just("accept"), Just("a, b")].prop_map(|vary| ("vary", vary.to_owned())),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let list =
        prop::collection::vec(request_directive(), 1..3).prop_map(|list| ("cache-control", list.join(",")));
    let field = prop_oneof![3 => list, 1 => Just(("authorization", "x".to_owned())), 1 => Just(("accept", "y".to_owned()))];
    let status = prop_oneof![
        6 => Just(200u16),
        4 => prop::sample::select(vec![203, 204, 299, 301, 302, 404, 410, 416, 429, 451, 500, 503, 599]),
    ];
    (
        prop_oneof![8 => Just("GET"), 1 => Just("POST"), 1 => Just("PUT")],
        status,
        prop::collection::vec(field, 0..3),
        prop::collection::vec(response_field(), 0..5),
        any::<bool>(),
        0u64..20,
        0u64..150,
    )
        .prop_map(|(method, status, request, response, is_safe, received_after, asked_after)| {
            // One Age line only: of several the first counts, and the engine's own tests show that.
            Case { method, status, request, response, is_safe, received_after, asked_after }
        })
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_engine_agrees_with_its_twin(case in case()) {
        let (request, response) = (headers(&case.request), headers(&case.response));
        let profile = if case.is_safe { Profile::Safe } else { Profile::Rfc };
        let settings = Settings { profile, stale_if_error: Duration::from_secs(50), ..Settings::default() };
        let exchange = Exchange {
            method: &Method::from_bytes(case.method.as_bytes()).expect("a method"),
            request: &request,
            status: StatusCode::from_u16(case.status).expect("a status"),
            response: &response,
            sent: Moment::from_secs(SENT),
            received: Moment::from_secs(SENT + case.received_after),
        };
        let entry = Entry::new(&exchange, &settings);
        prop_assert_eq!(entry.is_ok(), twin::may_store(&case) && twin::is_useful(&case), "{:?}", entry);
        let Ok(entry) = entry else { return Ok(()) };
        let now = Moment::from_secs(SENT + case.received_after + case.asked_after);
        prop_assert_eq!(entry.freshness.lifetime.as_secs(), twin::lifetime(&case));
        prop_assert_eq!(entry.age_secs(now), twin::age(&case));
        let control = RequestControl::parse(&request);
        let decided = match reuse(&entry, &control, now) {
            Reuse::Fresh => "fresh",
            Reuse::Stale => "stale",
            Reuse::StaleWhileRevalidate => "while-revalidate",
            Reuse::Validate => "validate",
        };
        prop_assert_eq!(decided, twin::reuse(&case));
        prop_assert_eq!(reuse_on_error(&entry, &control, now, &settings), twin::reuse_on_error(&case));
    }

    #[test]
    fn no_fields_make_the_engine_panic(
        request in noise(),
        response in noise(),
        status in 100u16..=999,
        times in prop::array::uniform3(any::<u64>()),
        length in any::<u64>(),
    ) {
        let [sent, received, now] = times.map(Moment::from_millis);
        let exchange = Exchange {
            method: &Method::GET,
            request: &request,
            status: StatusCode::from_u16(status).expect("three digits"),
            response: &response,
            sent,
            received,
        };
        for profile in [Profile::Safe, Profile::Rfc] {
            let settings = Settings { profile, default_ttl: Duration::from_secs(1), ..Settings::default() };
            if let Ok(entry) = Entry::new(&exchange, &settings) {
                let control = RequestControl::parse(&request);
                let _ = (reuse(&entry, &control, now), reuse_on_error(&entry, &control, now, &settings));
                let _ = (entry.selecting.fits(&request), entry.selecting.fits_by_language(&response, &request));
                let _ = (entry.age_secs(now), entry.weight(), entry.freshen(&exchange, &settings));
                entry.validators.ask(&mut request.clone());
            }
        }
        let _ = (ResponseControl::parse(&response), targeted(&response), Validators::of(&response));
        let _ = (is_not_modified(&request, &response, now), range_holds(&request, &response, now));
        let _ = content_range(&response);
        if let Some(pieces) = range(&request) {
            for run in resolve(&pieces, length) {
                prop_assert!(run.first <= run.last && run.last < length);
            }
        }
    }
}

/// Fields that the engine reads, with values from all over: whole words, fragments, bytes.
fn noise() -> impl Strategy<Value = HeaderMap> {
    let names = [
        "cache-control",
        "cdn-cache-control",
        "age",
        "date",
        "expires",
        "last-modified",
        "etag",
        "vary",
        "pragma",
        "range",
        "content-range",
        "if-none-match",
        "if-modified-since",
        "if-range",
        "accept-language",
        "accept-encoding",
        "content-language",
        "content-type",
        "connection",
        "content-length",
        "authorization",
        "set-cookie",
    ];
    let words = [
        "max-age=",
        "s-maxage=",
        "no-cache=\"",
        "private=\"a,b\"",
        "18446744073709551616",
        "99999999999999999999999",
        "\"",
        ",",
        "=",
        ";q=0.",
        "*",
        "bytes=",
        "bytes ",
        "-",
        "/",
        "W/\"a\"",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "\\",
        "public",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "stale-while-revalidate=9",
        "en-US",
        "gzip",
        " ",
        "0",
    ];
    let word = prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(prop_oneof![Just(b'\t'), 32u8..127, 128u8..=255], 0..6),
    ];
    let value = prop::collection::vec(word, 0..5).prop_map(|words| words.concat());
    let field = (prop::sample::select(names.to_vec()), value);
    prop::collection::vec(field, 0..8).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        headers
    })
}
