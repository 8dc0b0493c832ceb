//! Requests made up at random, some of them broken on purpose: a member sees exactly those that we decided on.
//!
//! What we decided on is what [`Inbound`] and the sanitiser make of the same bytes here, without a proxy. What the member
//! sees is what a strict reader of RFC 9112 writes down behind a running proxy. In between are the pool, the upload, the
//! members' connections, kept ones among them: whatever adds, drops, joins or reorders shows.
//!
//! `DIFFERENTIAL_SECONDS=300 DIFFERENTIAL_SEED=7 cargo test -p evenly --test differential` goes on for that long
//! (`make differential`); a failure names the seed of its one connection, which alone is run with
//! `DIFFERENTIAL_ONLY=seed`.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use balancers::Rng;
use evenly::{
    admit::sanitise::{Limits, sanitise},
    http_1::{HeadLimits, Inbound, Length, Piece},
};
use support::{Evenly, Recorder, Seen};

#[test]
fn a_member_sees_exactly_what_was_decided_on() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let up = Recorder::start();
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]\nhttp_read_timeout = 1", up.address), "");
    let end = Instant::now() + Duration::from_secs(number("DIFFERENTIAL_SECONDS").unwrap_or(0));
    let first = number("DIFFERENTIAL_ONLY").or(number("DIFFERENTIAL_SEED")).unwrap_or(1);
    let (mut whole, mut refused, mut unsent) = (0, 0, 0);
    for seed in first.. {
        let wire = connection(&mut Rng::new(seed));
        match decided(&wire) {
            // It would only wait for what never comes.
            None => unsent += 1,
            Some((expected, is_refused)) => {
                let answer = exchange(&evenly, &wire, &mut Rng::new(seed));
                let (faults, seen) = (up.faults(), up.take());
                let seen: Vec<Plain> = seen.into_iter().map(Plain::seen).collect();
                let story = || format!("connection {seed}: {:?}\nanswered {answer:?}", Latin(wire.clone()));
                assert!(faults.is_empty(), "{faults:?}\n{}", story());
                for (seen, expected) in seen.iter().zip(&expected) {
                    assert_eq!(seen, expected, "{}", story());
                }
                assert_eq!(seen.len(), expected.len(), "{}", story());
                whole += expected.len();
                refused += u64::from(is_refused);
            }
        }
        let is_enough = number("DIFFERENTIAL_ONLY").is_some() || seed - first >= CONNECTIONS;
        if is_enough && Instant::now() >= end {
            println!(
                "{} connections from seed {first}: {whole} requests, {refused} ended by a refusal, {unsent} not sent",
                seed - first + 1
            );
            break;
        }
    }
    assert_eq!(evenly.client().get("/plain").status, 200, "the proxy goes on");
}

/// A request without its framing and without what the proxy itself writes.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Latin,
}

impl Plain {
    fn new(method: String, target: String, fields: Vec<(String, String)>, body: Vec<u8>) -> Plain {
        let options: Vec<String> = fields
            .iter()
            .filter(|(name, _)| name == "connection")
            .flat_map(|(_, value)| value.split(','))
            .map(|option| option.trim().to_ascii_lowercase())
            .collect();
        let mut fields = fields;
        fields.retain(|(name, _)| !is_between_us(name) && !options.contains(name));
        fields.sort();
        Plain { method, target, fields, body: Latin(body) }
    }

    fn seen(seen: Seen) -> Plain {
        Plain::new(seen.method, seen.target, seen.fields, seen.body)
    }
}

/// What hops say to one another, and what the proxy itself writes or takes away, whoever wrote it.
fn is_between_us(name: &str) -> bool {
    name.starts_with("x-forwarded") || OWN.contains(&name)
}

/// The requests that are whole, and whether the bytes behind them are refused; nothing if more bytes are waited for.
fn decided(wire: &[u8]) -> Option<(Vec<Plain>, bool)> {
    let mut inbound = Inbound::new(HeadLimits { len: 65_536, fields: 100 });
    inbound.push(wire);
    let mut requests = Vec::new();
    loop {
        let mut head = match inbound.head() {
            Err(_) => return Some((requests, true)),
            Ok(None) if inbound.is_between_messages() => return Some((requests, false)),
            Ok(None) => return None,
            Ok(Some(head)) => head,
        };
        let mut body = Vec::new();
        let is_whole = loop {
            if head.length == Length::Bytes(0) {
                break true;
            }
            match inbound.piece() {
                Ok(Piece::Data(data)) => body.extend_from_slice(&data),
                Ok(Piece::End(_)) => break true,
                Ok(Piece::NeedMore) => return None,
                Err(_) => break false,
            }
        };
        if !is_whole || sanitise(&mut head.parts, &Limits::default()).is_err() {
            return Some((requests, true));
        }
        let latin = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
        let fields = head.parts.headers.iter();
        let fields = fields.map(|(name, value)| (name.to_string(), latin(value.as_bytes()))).collect();
        let target = head.parts.uri.path_and_query().map_or("/", |target| target.as_str());
        requests.push(Plain::new(head.parts.method.to_string(), target.to_owned(), fields, body));
        if !head.keep_alive {
            return Some((requests, false));
        }
    }
}

/// Sends `wire` in a few pieces; everything that is answered until the proxy closes.
fn exchange(evenly: &Evenly, wire: &[u8], rng: &mut Rng) -> String {
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_nodelay(true).unwrap();
    let cut = below(rng, wire.len() + 1);
    for piece in [&wire[..cut], &wire[cut..]] {
        // The proxy may close as soon as it has seen enough.
        let _ = stream.write_all(piece);
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer.into_iter().map(char::from).collect()
}

/// A few requests, most of them sound, and one that closes behind them.
fn connection(rng: &mut Rng) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..=below(rng, 3) {
        let mut request = request(rng);
        if below(rng, 3) == 0 {
            for _ in 0..=below(rng, 3) {
                damage(&mut request, rng);
            }
        }
        wire.extend(request);
    }
    wire.extend_from_slice(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    wire
}

/// One in three uses what a client should not; the others what it may.
fn request(rng: &mut Rng) -> Vec<u8> {
    let is_odd = below(rng, 3) == 0;
    let few = |sound: usize, all: usize| if is_odd { all } else { sound };
    let method = one_of(rng, &METHODS[..few(9, METHODS.len())]);
    let version = one_of(rng, &VERSIONS[..few(1, VERSIONS.len())]);
    let mut lines = vec![format!("{method} {} {version}", target(rng, is_odd))];
    let hosts: &[&str] = match below(rng, few(1, 10)) {
        7 => &[],
        8 => &["a.test", "a.test"],
        9 => &["a.test@b"],
        _ => &["a.test"],
    };
    lines.extend(hosts.iter().map(|host| format!("Host: {host}")));
    for _ in 0..below(rng, 6) {
        let name = one_of(rng, &NAMES[..few(8, NAMES.len())]);
        let value = one_of(rng, &VALUES[..few(8, VALUES.len())]);
        let (before, after) = (one_of(rng, &["", " ", " ", "\t "]), one_of(rng, &["", "", " ", "\t"]));
        lines.push(format!("{name}:{before}{value}{after}"));
    }
    let body: Vec<u8> = (0..below(rng, 40)).map(|_| below(rng, 256) as u8).collect();
    let body = if below(rng, 10) == 0 { body.repeat(4_000) } else { body };
    let framed = match below(rng, few(9, 12)) {
        0..3 => Vec::new(),
        3..6 => {
            lines.push(format!("Content-Length: {}", body.len()));
            body
        }
        6..10 => {
            let coding = one_of(rng, &CODINGS[..few(3, CODINGS.len())]);
            lines.push(format!("Transfer-Encoding: {coding}"));
            chunks(&body, rng, is_odd)
        }
        10 => {
            lines.push(format!("content-length: {}", body.len() + below(rng, 3)));
            lines.push(format!("Content-Length: {}", body.len()));
            body
        }
        _ => {
            lines.push(format!("Content-Length: {}", body.len()));
            lines.push("Transfer-Encoding: chunked".into());
            chunks(&body, rng, is_odd)
        }
    };
    // Framing is not always said last.
    if let [_, fields @ .., last] = &mut lines[..]
        && let Some(other) = fields.get_mut(below(rng, 8))
    {
        std::mem::swap(other, last);
    }
    [(lines.join("\r\n") + "\r\n\r\n").into_bytes(), framed].concat()
}

fn target(rng: &mut Rng, is_odd: bool) -> String {
    let few = |sound: usize, all: usize| if is_odd { all } else { sound };
    let mut target = match below(rng, 12) {
        0 => "http://a.test".to_owned(),
        1 if is_odd => return "*".to_owned(),
        _ => String::new(),
    };
    for _ in 0..=below(rng, 4) {
        target.push('/');
        target.push_str(one_of(rng, &SEGMENTS[..few(9, SEGMENTS.len())]));
    }
    if below(rng, 3) == 0 {
        target.push('?');
        target.push_str(one_of(rng, &QUERIES[..few(4, QUERIES.len())]));
    }
    target
}

fn chunks(body: &[u8], rng: &mut Rng, is_odd: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    for piece in body.chunks(1 + below(rng, body.len() + 1)) {
        let size = match below(rng, 4) {
            0 => format!("{:X}", piece.len()),
            1 => format!("{:04x}", piece.len()),
            _ => format!("{:x}", piece.len()),
        };
        wire.extend_from_slice(size.as_bytes());
        wire.extend_from_slice(one_of(rng, &["", "", "", ";a", ";a=b", ";a=\"b;c\"", " ;a = b"]).as_bytes());
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(one_of(rng, &["0", "0", "00", "0;x"]).as_bytes());
    wire.extend_from_slice(b"\r\n");
    let trailers = ["", "", "X-Sum: 1\r\n", "Content-Length: 5\r\n", "Host: evil\r\n"];
    wire.extend_from_slice(one_of(rng, &trailers[..if is_odd { 5 } else { 3 }]).as_bytes());
    wire.extend_from_slice(b"\r\n");
    wire
}

/// Changes a byte of what gives the request its form, mostly to another that could.
fn damage(request: &mut Vec<u8>, rng: &mut Rng) {
    // Mostly in the head: it comes first.
    let most = if below(rng, 4) == 0 { request.len() } else { request.len().min(300) };
    let at = below(rng, most);
    let byte = BYTES[below(rng, BYTES.len())];
    match below(rng, 4) {
        0 => request.insert(at, byte),
        1 => drop(request.remove(at)),
        2 => request[at] = byte,
        _ => {
            let again: Vec<u8> = request[at..].iter().take(20).copied().collect();
            request.splice(at..at, again);
        }
    }
}

fn one_of<'a, T: ?Sized>(rng: &mut Rng, choices: &[&'a T]) -> &'a T {
    choices[below(rng, choices.len())]
}

fn below(rng: &mut Rng, end: usize) -> usize {
    usize::try_from(rng.below(end as u64)).unwrap()
}

/// Bytes as they are read in a failure.
#[derive(PartialEq, Eq)]
struct Latin(Vec<u8>);

impl std::fmt::Debug for Latin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shown, len) = (&self.0[..self.0.len().min(600)], self.0.len());
        write!(f, "{len} bytes b\"{}\"", shown.escape_ascii())
    }
}

// What is sound comes first.
const METHODS: [&str; 13] =
    ["GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "get", "X-Y", "TRACE", "G@T"];
const VERSIONS: [&str; 6] = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0"];
const NAMES: [&str; 17] = [
    "Accept",
    "X-A",
    "x-a",
    "Cookie",
    "Content-Type",
    "Range",
    "X-Forwarded-For",
    "Via",
    "X_B",
    "Connection",
    "TE",
    "Keep-Alive",
    "Upgrade",
    "Expect",
    "Proxy-Connection",
    "Forwarded",
    "Trailer",
];
const VALUES: [&str; 14] = [
    "",
    "a",
    "a, b",
    "\"a, b\"",
    "a=b; c=d",
    "bytes=0-1",
    "a\tb",
    "x-a",
    "keep-alive",
    "close",
    "trailers",
    "100-continue",
    "websocket",
    "\u{e9}",
];
const CODINGS: [&str; 7] =
    ["chunked", "Chunked", "CHUNKED", "gzip, chunked", "chunked, chunked", "identity", "chunked;q=1"];
const SEGMENTS: [&str; 16] = [
    "", "a", "b.html", "..", ".", "~x", "%61", "a;b=c", "a:b", "%2e", "%2E%2e", "%2f", "%", "%00", "a\\b",
    "\u{e9}",
];
const QUERIES: [&str; 7] = ["", "a=b&c", "a=%2e%2E/../x", "a?b", "q=%zz", "\"'<>", "#f"];
const OWN: [&str; 15] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "transfer-encoding",
    "content-length",
    "expect",
    "forwarded",
    "via",
    "x-real-ip",
    "x-request-id",
    "max-forwards",
    "proxy-authorization",
];
const BYTES: [u8; 15] = *b"\r\n\0 \t:,;/%0a\x0b\x7f\xff";
const CONNECTIONS: u64 = 1_000;
