//! Fields that end here, and fields that a proxy adds.
//!
//! Some fields speak about one connection only and must not travel on (RFC 9110 §7.6.1): the fixed ones below and
//! every name that `Connection` lists. Others say who the client is; whoever is not a trusted proxy could have invented
//! them, so they are dropped and written anew.
//!
//! ```text
//!     client ── Connection: x-trace ─ X-Trace: 1 ─ X-Forwarded-For: 9.9.9.9 ──► evenly
//!     evenly ── Via: 1.1 evenly ─ X-Forwarded-For: 192.0.2.7 ─ X-Forwarded-Proto: https ──► upstream
//! ```
//!
//! All functions are one pass over the names and allocate nothing for an ordinary message (the address text is made
//! once a connection). Framing (`Content-Length`) stays in the map: whoever writes the message regenerates it.
//!
//! ```
//! use evenly::headers::strip_hop_by_hop;
//! use http::{HeaderMap, HeaderValue};
//!
//! let mut headers = HeaderMap::new();
//! headers.insert("connection", HeaderValue::from_static("close, X-Trace"));
//! headers.insert("x-trace", HeaderValue::from_static("1"));
//! headers.insert("accept", HeaderValue::from_static("*/*"));
//! let hop = strip_hop_by_hop(&mut headers);
//! assert!(hop.close);
//! assert_eq!(headers.len(), 1);
//! ```

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{Version, uri::Scheme};

/// What the removed fields said about the connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HopByHop {
    /// `Connection: close` was there.
    pub close: bool,
    /// `Connection: keep-alive` was there (it matters in HTTP/1.0).
    pub keep_alive: bool,
    /// The protocol asked for: `Upgrade`, nominated by `Connection`, and not `h2c`, which this proxy does not do.
    pub upgrade: Option<HeaderValue>,
    /// `TE: trailers` was there: the sender wants trailers (gRPC does).
    pub trailers: bool,
}

/// Removes every hop-by-hop field of a request or a response, those that `Connection` nominates, `Proxy` (httpoxy),
/// and what passes for a length where `_` is `-`. `Host` and `Content-Length` stay even when nominated.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) -> HopByHop {
    let mut hop = HopByHop::default();
    let places = headers.keys().filter_map(|name| hop_by_hop(name.as_str()));
    let mut found = places.fold(0_u32, |found, place| found | 1 << place);
    if found == 0 {
        return hop;
    }
    let nominated = if found & 1 << CONNECTION_AT != 0 { nominated(headers, &mut hop) } else { Vec::new() };
    // A list with several lines or several protocols is not an upgrade that can be granted.
    if hop.upgrade.is_some() {
        hop.upgrade = upgrade(headers);
    }
    while found != 0 {
        let name = &HOP_BY_HOP[found.trailing_zeros() as usize];
        found &= found - 1;
        if *name == TE {
            hop.trailers = headers.get_all(TE).iter().any(|value| list(value).any(is_trailers));
        }
        headers.remove(name);
    }
    for name in nominated {
        headers.remove(name);
    }
    hop
}

/// Which fields of a request want a closer look, found by one walk over its names: most requests have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Suspects {
    /// Fields of this hop, `Connection` among them or not.
    pub(crate) hop_by_hop: bool,
    pub(crate) connection: bool,
    /// `Content-Length` or `Transfer-Encoding`.
    pub(crate) framing: bool,
    pub(crate) expect: bool,
    /// Fields that only a trusted proxy may have written.
    pub(crate) claims: bool,
}

impl Suspects {
    pub(crate) fn among(headers: &HeaderMap) -> Self {
        let mut found = Suspects::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" => (found.connection, found.hop_by_hop) = (true, true),
                "transfer-encoding" => (found.framing, found.hop_by_hop) = (true, true),
                "content-length" => found.framing = true,
                "expect" => found.expect = true,
                name => {
                    found.hop_by_hop |= hop_by_hop(name).is_some();
                    found.claims |= is_claim(name);
                }
            }
        }
        found
    }
}

/// Adds this proxy to `Via`, as a message received in `version` (RFC 9110 §7.6.3).
pub fn append_via(headers: &mut HeaderMap, version: Version) {
    let value = match version {
        Version::HTTP_10 => const { HeaderValue::from_static("1.0 evenly") },
        Version::HTTP_2 => const { HeaderValue::from_static("2.0 evenly") },
        _ => const { HeaderValue::from_static("1.1 evenly") },
    };
    headers.append(VIA, value);
}

/// Which fields tell the upstream about the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// `X-Forwarded-For`, `-Proto` and `-Host`: what nearly every framework reads.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
    /// Both.
    Both,
    /// Neither. Untrusted ones are still removed.
    None,
}

/// Who sent a request: the facts that the forwarding fields repeat.
#[derive(Debug)]
pub struct Sender<'a> {
    /// The address at the other end of the connection (or the one PROXY protocol named).
    pub address: IpAddr,
    /// `address` as text, made once a connection.
    pub address_text: &'a HeaderValue,
    /// Is that address one of `trusted_proxies`? Only then what it says about earlier hops is kept.
    pub is_trusted: bool,
    /// The scheme the client used.
    pub scheme: &'a Scheme,
    /// The host the client asked for.
    pub host: &'a HeaderValue,
}

/// Writes the forwarding fields. Those already there are removed unless the sender is trusted; then they are extended.
pub fn set_forwarded(headers: &mut HeaderMap, sender: &Sender<'_>, style: Style) {
    if !sender.is_trusted {
        remove_forwarding(headers);
    }
    add_forwarded(headers, sender, style);
}

/// The same where nobody claims anything that would have to be removed.
pub(crate) fn add_forwarded(headers: &mut HeaderMap, sender: &Sender<'_>, style: Style) {
    if matches!(style, Style::XForwarded | Style::Both) {
        set_x_forwarded(headers, sender);
    }
    if matches!(style, Style::Rfc7239 | Style::Both) {
        set_rfc7239(headers, sender);
    }
}

/// Removes the fields that have no place in a trailer section (RFC 9110 §6.5.1): framing, routing, authentication,
/// and those that change how the message is read.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    let forbidden: Vec<HeaderName> =
        trailers.keys().filter(|name| is_forbidden_in_trailers(name.as_str())).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

/// The comma-separated elements of a list field's line, without white space and empty ones.
pub fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Where a field stands among those of one hop. Asked for every field of every message: the length tells most of them apart.
fn hop_by_hop(name: &str) -> Option<usize> {
    let place = match name {
        "te" => 0,
        "proxy" => 1,
        "upgrade" => 2,
        "connection" => 3,
        "keep-alive" => 4,
        // CGI and WSGI servers would take it for the length that was checked.
        "content_length" => 5,
        "http2-settings" => 6,
        "proxy-connection" => 7,
        "transfer-encoding" => 8,
        "transfer_encoding" => 9,
        "proxy-authenticate" => 10,
        "proxy-authorization" => 11,
        "proxy-authentication-info" => 12,
        _ => return None,
    };
    Some(place)
}

/// The names `Connection` lists, except the options that are not fields and the two fields that must stay.
fn nominated(headers: &HeaderMap, hop: &mut HopByHop) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                hop.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                hop.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                hop.upgrade = headers.get(UPGRADE).cloned();
            } else if let Ok(name) = HeaderName::from_bytes(option)
                && name != HOST
                && name != CONTENT_LENGTH
            {
                names.push(name);
            }
        }
    }
    names
}

/// The one protocol a request wants to switch to, if there is just one and it is not HTTP/2 in clear text: granting
/// that would open a connection whose requests nobody here reads.
fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(UPGRADE).iter();
    let only = lines.next().filter(|_| lines.next().is_none())?;
    let token = only.as_bytes();
    let is_one = !token.is_empty() && !token.iter().any(|byte| matches!(byte, b',' | b' ' | b'\t'));
    let is_http = token.len() >= 2 && token[..2].eq_ignore_ascii_case(b"h2")
        || token.len() >= 4 && matches!(&token[..4].to_ascii_lowercase()[..], b"http" | b"tls/");
    (is_one && !is_http).then(|| only.clone())
}

fn is_trailers(element: &[u8]) -> bool {
    let name = element.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii_end().eq_ignore_ascii_case(b"trailers")
}

fn remove_forwarding(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Does the field say what only a proxy can know, or replace the target that rules have judged?
///
/// `-` and `_` are the same to CGI and WSGI servers (`HTTP_X_FORWARDED_FOR`), so the twins count as well.
fn is_claim(name: &str) -> bool {
    let name = name.as_bytes();
    let begins_with = |claim: &[u8]| {
        name.len() >= claim.len() && claim.iter().zip(name).all(|(a, b)| a == b || *a == b'-' && *b == b'_')
    };
    let is = |claim: &&str| name.len() == claim.len() && begins_with(claim.as_bytes());
    match name.first() {
        Some(b'x') => begins_with(b"x-forwarded") || CLAIMS_X.iter().any(is),
        Some(b'c' | b'f' | b't') => CLAIMS.iter().any(is),
        _ => false,
    }
}

fn set_x_forwarded(headers: &mut HeaderMap, sender: &Sender<'_>) {
    let earlier = if sender.is_trusted { joined(headers, &X_FORWARDED_FOR) } else { None };
    let chain = match earlier {
        Some(mut chain) => {
            chain.extend_from_slice(b", ");
            chain.extend_from_slice(sender.address_text.as_bytes());
            HeaderValue::from_maybe_shared(bytes::Bytes::from(chain))
                .unwrap_or_else(|_| sender.address_text.clone())
        }
        None => sender.address_text.clone(),
    };
    headers.insert(X_FORWARDED_FOR, chain);
    let is_told = |headers: &HeaderMap, name: &HeaderName| sender.is_trusted && headers.contains_key(name);
    if !is_told(headers, &X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, scheme(sender));
    }
    if !is_told(headers, &X_FORWARDED_HOST) {
        headers.insert(X_FORWARDED_HOST, sender.host.clone());
    }
}

fn set_rfc7239(headers: &mut HeaderMap, sender: &Sender<'_>) {
    let mut value = joined(headers, &FORWARDED).unwrap_or_default();
    if !value.is_empty() {
        value.extend_from_slice(b", ");
    }
    match sender.address {
        // An IPv6 address holds colons, so it is bracketed and quoted (RFC 7239 §6).
        IpAddr::V6(address) => value.extend_from_slice(format!("for=\"[{address}]\"").as_bytes()),
        IpAddr::V4(address) => value.extend_from_slice(format!("for={address}").as_bytes()),
    }
    let host = sender.host.as_bytes();
    if !host.is_empty() && !host.contains(&b'"') && !host.contains(&b'\\') {
        value.extend_from_slice(b";host=\"");
        value.extend_from_slice(host);
        value.push(b'"');
    }
    value.extend_from_slice(b";proto=");
    value.extend_from_slice(scheme(sender).as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)) {
        headers.insert(FORWARDED, value);
    }
}

/// All lines of a list field as one, or none when there is no line.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(name).iter();
    let mut whole = lines.next()?.as_bytes().to_vec();
    for line in lines {
        whole.extend_from_slice(b", ");
        whole.extend_from_slice(line.as_bytes());
    }
    Some(whole)
}

fn scheme(sender: &Sender<'_>) -> HeaderValue {
    if *sender.scheme == Scheme::HTTPS {
        const { HeaderValue::from_static("https") }
    } else {
        const { HeaderValue::from_static("http") }
    }
}

fn is_forbidden_in_trailers(name: &str) -> bool {
    name.starts_with("content-")
        || name.starts_with("if-")
        || name.starts_with("x-forwarded")
        || matches!(
            name,
            "host"
                | "authorization"
                | "www-authenticate"
                | "cookie"
                | "set-cookie"
                | "trailer"
                | "expect"
                | "range"
                | "max-forwards"
                | "cache-control"
                | "pragma"
                | "age"
                | "expires"
                | "date"
                | "location"
                | "retry-after"
                | "vary"
                | "warning"
                | "forwarded"
                | "x-real-ip"
                | "via"
        )
}

/// Where [`hop_by_hop`] places `Connection`.
const CONNECTION_AT: usize = 3;
/// As it places all of them.
static HOP_BY_HOP: [HeaderName; 13] = [
    TE,
    HeaderName::from_static("proxy"),
    UPGRADE,
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("content_length"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    HeaderName::from_static("transfer_encoding"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
];
const CLAIMS: [&str; 6] =
    ["forwarded", "client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip", "front-end-https"];
const CLAIMS_X: [&str; 10] = [
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-http-host-override",
    "x-scheme",
    "x-url-scheme",
    // Frameworks route by these: a way around every rule on paths.
    "x-original-url",
    "x-rewrite-url",
];
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn forwarded(headers: &mut HeaderMap, address: &str, is_trusted: bool, style: Style) {
        let address: IpAddr = address.parse().unwrap();
        let address_text = HeaderValue::from_str(&address.to_string()).unwrap();
        let host = HeaderValue::from_static("a.test:8080");
        let sender =
            Sender { address, address_text: &address_text, is_trusted, scheme: &Scheme::HTTPS, host: &host };
        set_forwarded(headers, &sender, style);
    }

    #[test]
    fn nominated_fields_go_over_several_lines_and_in_any_case() {
        let mut headers = map(&[
            ("connection", "x-SeCret, Upgrade"),
            ("connection", " ,x-b"),
            ("x-secret", "1"),
            ("x-b", "1"),
            ("x-b", "2"),
            ("x-c", "3"),
            ("upgrade", "websocket"),
        ]);
        let hop = strip_hop_by_hop(&mut headers);
        assert_eq!(hop.upgrade.unwrap(), "websocket");
        assert_eq!(headers, map(&[("x-c", "3")]));
    }

    #[test]
    fn every_field_of_one_hop_is_found_at_its_place() {
        for (place, name) in HOP_BY_HOP.iter().enumerate() {
            assert_eq!(hop_by_hop(name.as_str()), Some(place), "{name}");
        }
        assert_eq!(HOP_BY_HOP[CONNECTION_AT], CONNECTION);
        assert!(["", "content-length", "host", "te-x", "zz"].iter().all(|name| hop_by_hop(name).is_none()));
    }

    #[test]
    fn host_and_length_survive_a_nomination() {
        let mut headers =
            map(&[("connection", "host, content-length"), ("host", "a"), ("content-length", "1")]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, map(&[("host", "a"), ("content-length", "1")]));
    }

    #[test]
    fn an_upgrade_counts_only_when_nominated_single_and_not_http() {
        for (connection, upgrade, granted) in [
            ("keep-alive", "websocket", false),
            ("upgrade", "websocket", true),
            ("upgrade", "foo/2", true),
            ("upgrade", "h2c", false),
            ("upgrade, http2-settings", "H2C", false),
            ("upgrade", "websocket, h2c", false),
            ("upgrade", "HTTP/2.0", false),
            ("upgrade", "TLS/1.0", false),
            ("upgrade", "", false),
        ] {
            let mut headers =
                map(&[("connection", connection), ("upgrade", upgrade), ("http2-settings", "AAMAAABk")]);
            let hop = strip_hop_by_hop(&mut headers);
            assert_eq!(hop.upgrade.is_some(), granted, "{connection} / {upgrade}");
            assert!(headers.is_empty(), "{connection} / {upgrade}: {headers:?}");
        }
    }

    #[test]
    fn te_trailers_is_noticed() {
        assert!(strip_hop_by_hop(&mut map(&[("te", "gzip;q=0.5, Trailers ;q=1")])).trailers);
        assert!(!strip_hop_by_hop(&mut map(&[("te", "gzip")])).trailers);
    }

    #[test]
    fn a_strangers_claims_are_replaced() {
        let mut headers = map(&[
            ("x-forwarded-for", "9.9.9.9"),
            ("x_forwarded_for", "9.9.9.9"),
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-port", "1"),
            ("x-real-ip", "9.9.9.9"),
            ("x-original_url", "/admin"),
            ("true-client-ip", "9.9.9.9"),
            ("forwarded", "for=9.9.9.9"),
            ("x-other", "kept"),
        ]);
        forwarded(&mut headers, "192.0.2.7", false, Style::XForwarded);
        let expected = map(&[
            ("x-other", "kept"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.test:8080"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_trusted_proxys_claims_are_extended() {
        let mut headers = map(&[
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-for", "8.8.8.8"),
            ("x-forwarded-host", "first.test"),
            ("forwarded", "for=9.9.9.9"),
        ]);
        forwarded(&mut headers, "2001:db8::1", true, Style::Both);
        assert_eq!(headers["x-forwarded-for"], "9.9.9.9, 8.8.8.8, 2001:db8::1");
        assert_eq!(headers["x-forwarded-host"], "first.test");
        assert_eq!(
            headers["forwarded"],
            "for=9.9.9.9, for=\"[2001:db8::1]\";host=\"a.test:8080\";proto=https"
        );
    }

    #[test]
    fn no_style_still_removes_what_a_stranger_says() {
        let mut headers = map(&[("forwarded", "for=9.9.9.9"), ("x-forwarded-proto", "https")]);
        forwarded(&mut headers, "192.0.2.7", false, Style::None);
        assert!(headers.is_empty());
    }

    #[test]
    fn via_names_the_version_received() {
        let mut headers = map(&[("via", "1.0 earlier")]);
        append_via(&mut headers, Version::HTTP_2);
        let lines: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(lines, ["1.0 earlier", "2.0 evenly"]);
    }

    #[test]
    fn trailers_lose_framing_routing_and_credentials() {
        let mut trailers = map(&[
            ("content-length", "500"),
            ("transfer-encoding", "identity"),
            ("authorization", "Basic x"),
            ("host", "evil"),
            ("grpc-status", "0"),
            ("x-checksum", "1"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("grpc-status", "0"), ("x-checksum", "1")]));
    }

    proptest! {
        /// The naive model: lower-case everything, split every `Connection` line, filter.
        #[test]
        fn stripping_equals_the_naive_filter(
            fields in prop::collection::vec(("(connection|te|upgrade|keep-alive|proxy|host|x-[a-c]|content-length)",
                "[a-cX, -]{0,8}|x-a|X-B, close|host"), 0..8)
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
            }
            let listed: Vec<String> = fields.iter().filter(|(name, _)| name == "connection")
                .flat_map(|(_, value)| value.split(',').map(|o| o.trim().to_ascii_lowercase()).collect::<Vec<_>>())
                .collect();
            let expected: Vec<&(String, String)> = fields.iter().filter(|(name, _)| {
                let stays = name == "host" || name == "content-length";
                stays || hop_by_hop(name).is_none() && !listed.contains(name)
            }).collect();
            strip_hop_by_hop(&mut headers);
            prop_assert_eq!(headers.len(), expected.len());
            for (name, _) in expected {
                prop_assert!(headers.contains_key(name.as_str()));
            }
        }
    }
}
