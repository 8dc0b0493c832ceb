//! What a request says about itself, and others about it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use evenly::{
    admit::{
        auth::Auth,
        client::{Peer, TrustedProxies},
        password::Password,
        proxy_protocol::{parse_block, parse_line},
        sanitise::{Limits, sanitise as settle},
    },
    headers::{Sender, Style, set_forwarded},
    target::{Host, normalise},
};
use http::{
    HeaderMap, HeaderValue, Method, Request, Version,
    header::{AUTHORIZATION, HOST},
    uri::Scheme,
};

/// What is let through has one host that is one, a normal path, and is let through again unchanged.
pub fn sanitise(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut word = || lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let (Some(method), Some(target)) = (word(), word()) else { return };
    let versions = [Version::HTTP_11, Version::HTTP_10, Version::HTTP_2];
    let version = versions[data.len() % versions.len()];
    let mut builder = Request::builder().method(method).uri(target).version(version);
    for line in lines.take(20) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..at], line.get(at + 1..).unwrap_or_default());
        builder = builder.header(name, value);
    }
    let Ok(request) = builder.body(()) else { return };
    let (mut parts, ()) = request.into_parts();
    if settle(&mut parts, &Limits::default()).is_err() {
        return;
    }
    assert_eq!(parts.headers.get_all(HOST).iter().count().min(1), parts.headers.get_all(HOST).iter().count());
    if let Some(host) = parts.headers.get(HOST) {
        assert!(Host::parse(host.as_bytes()).is_ok(), "{host:?}");
    }
    if parts.method != Method::CONNECT {
        let dots = |segment: &str| segment == "." || segment == "..";
        assert!(parts.uri.authority().is_none() && !parts.uri.path().split('/').any(dots), "{:?}", parts.uri);
    }
    let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
    // One hop the fewer: that a request is let through again is said of all but those it counts.
    if !headers.contains_key("max-forwards") {
        assert!(settle(&mut parts, &Limits::default()).is_ok(), "{uri} {headers:?}");
        assert_eq!((parts.uri, parts.headers), (uri, headers));
    }
}

/// Normalising a path is done once and for all: doing it again changes nothing, and no dot segment is left.
pub fn target(data: &[u8]) {
    if let Ok(host) = Host::parse(data) {
        let rules = host.for_rules().into_owned();
        assert!(!rules.bytes().any(|byte| byte.is_ascii_uppercase()), "{rules}");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = normalise(text) {
        let forward = path.forward.clone().into_owned();
        let again = normalise(&forward).expect("a normal path is a path");
        assert_eq!(again.forward, forward);
        assert!(path.for_rules().split('/').all(|segment| segment != "." && segment != ".."));
    }
}

/// Only the right name with the right password gets in, as a decoder beside ours reads them.
pub fn basic_auth(data: &[u8]) {
    let (kind, rest) = data.split_first().unwrap_or((&0, &[]));
    // Half of the inputs are a field as it comes, half are what is within one.
    let field = if kind % 2 == 0 {
        rest.to_vec()
    } else {
        [b"Basic ", BASE64_STANDARD.encode(rest).as_bytes()].concat()
    };
    let Ok(value) = HeaderValue::from_bytes(&field) else { return };
    let auth = Arc::new(Auth::new(vec![("ann".into(), Password::plain("a:b"))], false, u32::MAX));
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let admitted = runtime.block_on(auth.admit(&mut headers, client, Instant::now())).is_ok();
    let is_right = field.len() > 6 && field[..6].eq_ignore_ascii_case(b"basic ") && {
        let decoded = BASE64_STANDARD.decode(field[6..].trim_ascii_start());
        decoded.is_ok_and(|decoded| decoded == b"ann:a:b")
    };
    assert_eq!(admitted, is_right, "{field:?}");
    assert!(!admitted || headers.is_empty(), "the member sees no password of ours");
}

/// A line says what one written anew from it says; a block is read within its bounds.
pub fn proxy_protocol(data: &[u8]) {
    if let Ok(Some(source)) = parse_line(data) {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (address, port) = (source.ip(), source.port());
        let line = format!("PROXY {family} {address} {address} {port} {port}");
        assert_eq!(parse_line(line.as_bytes()), Ok(Some(source)));
    }
    if let [version_command, family, block @ ..] = data
        && let Ok(Some(source)) = parse_block(*version_command, *family, block)
    {
        let octets: Vec<u8> = match source {
            SocketAddr::V4(source) => source.ip().octets().into(),
            SocketAddr::V6(source) => source.ip().octets().into(),
        };
        assert!(block.starts_with(&octets), "{source}");
    }
}

/// Whom nobody vouches for is who connected; and the next hop, which trusts us, learns the client from what we write.
pub fn forwarded(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for (number, line) in data.split(|byte| *byte == b'\n').take(8).enumerate() {
        let name = ["forwarded", "x-forwarded-for"][number % 2];
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    let (near, nobody) = (IpAddr::V4(Ipv4Addr::LOCALHOST), TrustedProxies::default());
    let us: TrustedProxies = ["127.0.0.0/8".parse().expect("a network")].into_iter().collect();
    let _ = Peer::new(near, &us).client(&headers, &us);
    let stranger = match data.first() {
        Some(byte) if byte % 2 == 0 => {
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(*byte)))
        }
        _ => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    };
    let peer = Peer::new(stranger, &nobody);
    assert_eq!(peer.client(&headers, &us), stranger);
    let host = HeaderValue::from_static("a.test");
    for style in [Style::XForwarded, Style::Rfc7239, Style::Both] {
        let mut sent = headers.clone();
        let sender = Sender {
            address: peer.address,
            address_text: &peer.text,
            is_trusted: false,
            scheme: &Scheme::HTTP,
            host: &host,
        };
        set_forwarded(&mut sent, &sender, style);
        assert_eq!(Peer::new(near, &us).client(&sent, &us), stranger, "{sent:?}");
    }
}
