//! A request that everything behind may believe: one host, one path, one length.
//!
//! Whoever read it ([`http_1`](crate::http_1), or HTTP/2's) has made sure where the message ends. What it *means* can still be in
//! doubt, and each reader behind would settle the doubt its own way. So it is settled here, or the request refused:
//!
//! | doubt | here |
//! |---|---|
//! | no `Host`, several, or one that is no host | 400 (HTTP/1.0 may leave it out: then it is `localhost`) |
//! | absolute target and another `Host` | the target wins, `Host` is rewritten (RFC 9112 §3.2.2) |
//! | `:authority` and another `host` | 400 |
//! | escapes, dots, `//`, `;`, `\` in the path | one normal form, see [`target`](crate::target) |
//! | two lengths, a length that is no number, an encoding besides one `chunked` | 400 |
//! | `Expect` of anything but `100-continue` | 417 |
//! | `Max-Forwards` of `OPTIONS` and `TRACE` | answered at 0, else one less |
//! | several `cookie` fields in HTTP/2 | joined (RFC 9113 §8.2.3) |
//!
//! Afterwards `parts.uri` is in origin form (for `CONNECT`: `host:port`) and `Host` says where the request goes. An
//! ordinary request costs some look-ups in its fields and one pass over its path.
//!
//! ```
//! use evenly::admit::sanitise::{Limits, sanitise};
//!
//! let request = http::Request::get("http://a.test/x/../%62").header("host", "other.test").body(()).unwrap();
//! let (mut parts, ()) = request.into_parts();
//! sanitise(&mut parts, &Limits::default()).unwrap();
//! assert_eq!(parts.uri, "/b");
//! assert_eq!(parts.headers["host"], "a.test");
//! ```

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, MAX_FORWARDS, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::Refusal;
use crate::headers::{Suspects, list};
use crate::target::{Form, Host, TargetError, normalise};

/// What a request may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request target.
    pub target_len: usize,
    /// Header fields.
    pub fields: usize,
    /// Bytes of the body.
    pub body_len: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { target_len: 16 * 1024, fields: 100, body_len: 1 << 30 }
    }
}

/// What a sanitised request points at, besides what stands in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How the target was written. HTTP/2 requests count as origin form.
    pub form: Form,
    path_for_rules: Option<String>,
    /// What was seen of the fields. Some of it may have been removed since; nothing is added.
    pub(super) suspects: Suspects,
}

impl Target {
    /// The path that rules match, given the request's URI.
    #[must_use]
    pub fn path_for_rules<'a>(&'a self, uri: &'a Uri) -> &'a str {
        self.path_for_rules.as_deref().unwrap_or(uri.path())
    }
}

/// Settles what the request means.
///
/// # Errors
/// When it cannot be settled safely, or asks for more than the limits allow.
pub fn sanitise(parts: &mut Parts, limits: &Limits) -> Result<Target, Refusal> {
    let found = target_len(&parts.uri);
    if found > limits.target_len {
        return Err(Refusal::TargetLength { found, max: limits.target_len });
    }
    if parts.headers.len() > limits.fields {
        return Err(Refusal::FieldCount { found: parts.headers.len(), max: limits.fields });
    }
    let form = match Form::of(&parts.method, &parts.uri)? {
        Form::Absolute if parts.version == Version::HTTP_2 => Form::Origin,
        form => form,
    };
    settle_host(parts)?;
    let path_for_rules = if form == Form::Authority { None } else { settle_path(parts)? };
    let suspects = Suspects::among(&parts.headers);
    if suspects.framing {
        check_length(&parts.headers, parts.version, limits.body_len)?;
    }
    if parts.method == Method::CONNECT && has_content(&parts.headers) {
        return Err(Refusal::Length);
    }
    if suspects.expect {
        settle_expectation(parts)?;
    }
    settle_max_forwards(parts)?;
    if suspects.connection {
        let options = parts.headers.get_all(CONNECTION).iter().flat_map(list).count();
        if options > CONNECTION_OPTIONS_MAX {
            return Err(Refusal::Field("more than 64 options in connection"));
        }
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    Ok(Target { form, path_for_rules, suspects })
}

fn target_len(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |path| path.as_str().len())
        + uri.authority().map_or(0, |a| a.as_str().len())
}

/// Leaves exactly one `Host`, the right one.
fn settle_host(parts: &mut Parts) -> Result<(), Refusal> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    let count = usize::from(field.is_some()) + fields.count();
    let may_be_absent = parts.version == Version::HTTP_2 || parts.version == Version::HTTP_10;
    if count > 1 || count == 0 && !may_be_absent {
        return Err(Refusal::HostCount(count));
    }
    let host = field.map(|field| Host::parse(field.as_bytes())).transpose()?;
    let Some(authority) = parts.uri.authority() else {
        if host.is_none() {
            if parts.version == Version::HTTP_2 {
                return Err(Refusal::HostCount(0));
            }
            parts.headers.insert(HOST, HeaderValue::from_static("localhost"));
        }
        return Ok(());
    };
    let wanted = Host::parse(authority.as_str().as_bytes())?;
    if parts.method == Method::CONNECT && wanted.port.is_none() {
        return Err(TargetError::Host.into());
    }
    let default_port = if parts.uri.scheme_str() == Some("https") { 443 } else { 80 };
    let is_same = host.is_some_and(|host| host.is_same(&wanted, default_port));
    if !is_same {
        if parts.version == Version::HTTP_2 && host.is_some() {
            return Err(Refusal::HostMismatch);
        }
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| TargetError::Host)?;
        parts.headers.insert(HOST, value);
    }
    Ok(())
}

/// Brings the target into origin form with a normal path; returns the form for rules where it differs.
fn settle_path(parts: &mut Parts) -> Result<Option<String>, Refusal> {
    let is_origin = parts.uri.authority().is_none();
    if parts.uri.path() == "*" && parts.uri.query().is_none() {
        // In HTTP/2 it comes with an authority (RFC 9113 §8.3.1); HTTP/1 has no way to write that.
        if parts.method != Method::OPTIONS {
            return Err(TargetError::Form.into());
        }
        parts.uri = Uri::from_static("*");
        return Ok(None);
    }
    let query = parts.uri.query().unwrap_or_default();
    if !query.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        return Err(Refusal::Target(TargetError::Query));
    }
    let (changed, for_rules) = normalise(parts.uri.path())?.into_parts();
    // `http://a?q` has the path `/`, which does not stand there (RFC 9110 §4.2.3).
    let is_written = parts.uri.path_and_query().is_some_and(|path| path.as_str().starts_with('/'));
    let changed = changed.or_else(|| (!is_written).then(|| "/".to_owned()));
    match changed {
        None if is_origin => {}
        None => {
            // Of `http://a` the path is empty, reads as `/` while an authority stands before it, and as nothing after.
            let path = parts.uri.path_and_query().filter(|path| path.as_str() != "/").cloned();
            parts.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        }
        Some(mut path) => {
            if let Some(query) = parts.uri.query() {
                path.push('?');
                path.push_str(query);
            }
            let path = PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|_| TargetError::Form)?;
            parts.uri = Uri::from(path);
        }
    }
    Ok(for_rules)
}

fn check_length(headers: &HeaderMap, version: Version, max: u64) -> Result<(), Refusal> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let encoding = encodings.next();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if let Some(encoding) = encoding {
        let is_chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !is_chunked || encodings.next().is_some() || length.is_some() || version != Version::HTTP_11 {
            return Err(Refusal::Length);
        }
    }
    let Some(length) = length else { return Ok(()) };
    let digits = length.as_bytes();
    let is_number = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if !is_number || lengths.next().is_some() {
        return Err(Refusal::Length);
    }
    let found = digits.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0'));
    if found > max { Err(Refusal::BodyLength { found, max }) } else { Ok(()) }
}

/// A `CONNECT` has none (RFC 9110 §9.3.6): what follows its head is the tunnel's, or must not be read at all.
fn has_content(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes().iter().any(|digit| *digit != b'0'))
}

/// The one expectation there is belongs to this hop: the server side answers it as soon as the body is wanted.
fn settle_expectation(parts: &mut Parts) -> Result<(), Refusal> {
    let known = |line: &HeaderValue| line.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let are_known = parts.headers.get_all(EXPECT).iter().all(known);
    parts.headers.remove(EXPECT);
    if are_known || parts.version == Version::HTTP_10 { Ok(()) } else { Err(Refusal::Expectation) }
}

fn settle_max_forwards(parts: &mut Parts) -> Result<(), Refusal> {
    let is_trace = parts.method == Method::TRACE;
    if !is_trace && parts.method != Method::OPTIONS {
        return Ok(());
    }
    let mut fields = parts.headers.get_all(MAX_FORWARDS).iter();
    let Some(field) = fields.next() else { return Ok(()) };
    let hops: Option<u32> = field
        .to_str()
        .ok()
        .filter(|text| text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok());
    match hops {
        Some(hops) if fields.next().is_none() => match hops.checked_sub(1) {
            Some(left) => {
                parts.headers.insert(MAX_FORWARDS, HeaderValue::from(left));
                Ok(())
            }
            None => Err(Refusal::LastHop { is_trace }),
        },
        _ => Err(Refusal::Field("max-forwards is not one number of at most 9 digits")),
    }
}

fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(crumbs.join(&b"; "[..]))) {
        headers.insert(COOKIE, joined);
    }
}

/// Real clients list two or three; each costs a look-up when hop-by-hop fields are removed.
const CONNECTION_OPTIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn request(
        method: &str,
        target: &str,
        version: Version,
        fields: &[(&str, &str)],
    ) -> Result<Parts, StatusCode> {
        let mut builder = Request::builder().method(method).uri(target).version(version);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        sanitise(&mut parts, &Limits::default()).map_err(|refusal| refusal.status())?;
        Ok(parts)
    }

    fn get(target: &str, fields: &[(&str, &str)]) -> Result<Parts, StatusCode> {
        request("GET", target, Version::HTTP_11, fields)
    }

    const HOST_A: (&str, &str) = ("host", "a.test");
    const BAD: StatusCode = StatusCode::BAD_REQUEST;

    #[test]
    fn there_is_one_host() {
        assert_eq!(get("/", &[]).unwrap_err(), BAD);
        assert_eq!(get("/", &[HOST_A, HOST_A]).unwrap_err(), BAD);
        assert_eq!(get("/", &[("host", "a.test, b.test")]).unwrap_err(), BAD);
        assert_eq!(get("http://a.test/", &[]).unwrap_err(), BAD);
        assert_eq!(get("http://u:p@a.test/", &[HOST_A]).unwrap_err(), BAD);
        assert_eq!(get("http://b.test:81", &[HOST_A]).unwrap().headers["host"], "b.test:81");
        assert_eq!(get("http://a.test?y", &[HOST_A]).unwrap().uri, "/?y");
        assert_eq!(get("http://A.test:80/x?y", &[HOST_A]).unwrap().headers["host"], "a.test");
        assert_eq!(request("GET", "/", Version::HTTP_10, &[]).unwrap().headers["host"], "localhost");
    }

    #[test]
    fn http2s_authority_is_the_host() {
        let h2 = |target: &str, fields: &[(&str, &str)]| request("GET", target, Version::HTTP_2, fields);
        let parts = h2("https://a.test/x?y", &[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
        assert_eq!(
            (parts.uri.to_string().as_str(), &parts.headers["host"]),
            ("/x?y", &"a.test".parse().unwrap())
        );
        assert_eq!(parts.headers["cookie"], "a=1; b=2");
        assert!(h2("https://a.test/", &[("host", "A.test:443")]).is_ok());
        assert_eq!(h2("https://a.test/", &[("host", "evil.test")]).unwrap_err(), BAD);
        assert_eq!(h2("/", &[]).unwrap_err(), BAD);
        let star = Uri::builder().scheme("https").authority("a.test").path_and_query("*").build().unwrap();
        let (mut parts, ()) = Request::options(star).version(Version::HTTP_2).body(()).unwrap().into_parts();
        sanitise(&mut parts, &Limits::default()).unwrap();
        assert_eq!(
            (&parts.uri, &parts.headers["host"]),
            (&Uri::from_static("*"), &"a.test".parse().unwrap())
        );
        assert_eq!(
            h2("https://a.test/", &[("content-length", "5"), ("content-length", "6")]).unwrap_err(),
            BAD
        );
    }

    #[test]
    fn connect_names_a_port() {
        let connect = |target: &str| request("CONNECT", target, Version::HTTP_11, &[("host", "other.test")]);
        assert_eq!(connect("a.test:443").unwrap().headers["host"], "a.test:443");
        assert_eq!(connect("a.test").unwrap_err(), BAD);
        assert_eq!(connect("u@a.test:443").unwrap_err(), BAD);
        assert_eq!(connect("a.test:65536").unwrap_err(), BAD);
        let with =
            |name, value| request("CONNECT", "a:443", Version::HTTP_11, &[("host", "a:443"), (name, value)]);
        assert_eq!(with("content-length", "5").unwrap_err(), BAD);
        assert_eq!(with("transfer-encoding", "chunked").unwrap_err(), BAD);
        assert!(with("content-length", "0").is_ok());
    }

    #[test]
    fn lengths_are_beyond_doubt() {
        for fields in [
            &[HOST_A, ("content-length", "")][..],
            &[HOST_A, ("content-length", "+1")],
            &[HOST_A, ("content-length", "9223372036854775808")],
            &[HOST_A, ("content-length", "1"), ("content-length", "1")],
            &[HOST_A, ("transfer-encoding", "gzip, chunked")],
            &[HOST_A, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[HOST_A, ("transfer-encoding", "chunked"), ("content-length", "1")],
        ] {
            assert_eq!(get("/", fields).unwrap_err(), BAD, "{fields:?}");
        }
        assert!(request("GET", "/", Version::HTTP_10, &[("transfer-encoding", "chunked")]).is_err());
        assert!(get("/", &[HOST_A, ("transfer-encoding", "Chunked")]).is_ok());
        let large = get("/", &[HOST_A, ("content-length", "1073741825")]);
        assert_eq!(large.unwrap_err(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn the_only_expectation_is_taken_off() {
        assert!(!get("/", &[HOST_A, ("expect", "100-Continue")]).unwrap().headers.contains_key("expect"));
        assert_eq!(
            get("/", &[HOST_A, ("expect", "y 100-continue")]).unwrap_err(),
            StatusCode::EXPECTATION_FAILED
        );
        let twice = get("/", &[HOST_A, ("expect", "100-continue"), ("expect", "x")]);
        assert_eq!(twice.unwrap_err(), StatusCode::EXPECTATION_FAILED);
    }

    #[test]
    fn max_forwards_counts_down_for_options_and_trace_only() {
        let with = |method: &str, value: &str| {
            request(method, "/", Version::HTTP_11, &[HOST_A, ("max-forwards", value)])
                .map(|parts| parts.headers["max-forwards"].to_str().unwrap().to_owned())
        };
        assert_eq!(with("OPTIONS", "5").unwrap(), "4");
        assert_eq!(with("TRACE", "1").unwrap(), "0");
        assert_eq!(with("OPTIONS", "0").unwrap_err(), StatusCode::OK);
        assert_eq!(with("TRACE", "0").unwrap_err(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(with("GET", "0").unwrap(), "0");
        assert_eq!(with("OPTIONS", "-1").unwrap_err(), BAD);
    }

    #[test]
    fn sizes_have_limits() {
        assert_eq!(
            get(&format!("/{}", "a".repeat(20_000)), &[HOST_A]).unwrap_err(),
            StatusCode::URI_TOO_LONG
        );
        let many: Vec<(&str, &str)> = std::iter::repeat_n(("x", "y"), 100).chain([HOST_A]).collect();
        assert_eq!(get("/", &many).unwrap_err(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let options = "a,".repeat(65);
        assert_eq!(get("/", &[HOST_A, ("connection", &options)]).unwrap_err(), BAD);
    }

    /// Found by the fuzz target `sanitise`: of such a target rules saw no path at all.
    #[test]
    fn an_absolute_target_without_a_path_has_the_path_slash() {
        for target in ["http://a.test", "http://a.test#s", "http://a.test/", "http://a.test/#s"] {
            let parts = get(target, &[HOST_A]).unwrap();
            assert_eq!(parts.uri.path(), "/", "{target}");
            assert_eq!(parts.uri.to_string(), "/", "{target}");
        }
    }

    #[test]
    fn the_query_stays_as_it_is() {
        assert_eq!(get("/%61?q=%61/../{}|", &[HOST_A]).unwrap().uri, "/a?q=%61/../{}|");
        assert_eq!(get("/?q=é", &[HOST_A]).unwrap_err(), BAD);
    }

    proptest! {
        /// Sanitising is a projection: what it lets through, it lets through again unchanged.
        #[test]
        fn a_sanitised_request_is_a_fixed_point(
            target in "/[a-c%2eEfF./;]{0,10}(\\?[a-z%/]{0,4})?|http://[ab]\\.test(:80|:81)?/[a-c./]{0,6}",
            host in "[ab]\\.test(:80)?",
        ) {
            if let Ok(mut parts) = get(&target, &[("host", &host)]) {
                let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
                prop_assert!(sanitise(&mut parts, &Limits::default()).is_ok());
                prop_assert_eq!(parts.uri, uri);
                prop_assert_eq!(parts.headers, headers);
            }
        }
    }
}
