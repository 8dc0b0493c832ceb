//! What an attacker sends is refused or made harmless: one line of `data/attacks/` for each attempt, from either side.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use support::{Evenly, Recorder, Script, Seen};

/// The corpora of requests: everything upstream is read by a strict parser, so "passed" says what a member sees.
#[test]
fn every_request_of_the_corpus_ends_as_it_says() {
    let up = Recorder::start();
    let evenly = Evenly::start(
        &format!(
            "proxy_pass = [\"{}\"]\nhttp_read_timeout = 1\nuser = {{ alice = \"s3cret\" }}\nauth_failures_per_minute = 1000",
            up.address
        ),
        "[[rules]]\npath_prefix = \"/blocked\"\naction = \"block\"\n[[rules]]\npath_prefix = \"/private\"\nauth = true\n",
    );
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in Line::all(include_str!("data/attacks/requests.txt")) {
        let answer = exchange(&evenly, &line.bytes);
        let faults = up.faults();
        let (last, seen): (Vec<Seen>, Vec<Seen>) =
            up.take().into_iter().partition(|seen| seen.target == "/last");
        let result = if !faults.is_empty() {
            Err(format!("upstream got {faults:?}"))
        } else if seen.iter().chain(&last).any(|seen| seen.target.contains("smuggled")) {
            Err("a hidden request reached the upstream".to_owned())
        } else {
            judge_request(&line, &answer, &seen, last.len())
        };
        if let Err(why) = result {
            wrong.push(format!("{} {}: {why}; {}", line.name, line.expected, shorten(&answer)));
        }
        count += 1;
    }
    assert_eq!(evenly.client().get("/plain").status, 200, "the proxy goes on");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 300);
}

/// The corpus of answers: a member cannot make a client read what is not its own answer, or a part as a whole.
#[test]
fn every_answer_of_the_corpus_ends_as_it_says() {
    let up = Recorder::start();
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]\nresponse_timeout = 2", up.address), "");
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in Line::all(include_str!("data/attacks/responses.txt")) {
        let is_open = line.checks.iter().any(|check| check == "open");
        let method = line.checks.iter().find_map(|check| check.strip_prefix("method=")).unwrap_or("GET");
        up.answer_with(Some(Script { bytes: line.bytes.clone(), closes: !is_open }));
        let head = format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        let answer =
            exchange(&evenly, &[head.as_bytes(), b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        up.answer_with(None);
        let other = evenly.client().get("/plain");
        let is_own = other.status == 200 && other.text() == "seen GET /plain\n";
        let result = if answer.contains("POISON") || !is_own {
            Err("an answer went to another".to_owned())
        } else {
            judge_answer(&line, &answer)
        };
        if let Err(why) = result {
            wrong.push(format!("{} {}: {why}; {}", line.name, line.expected, shorten(&answer)));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 100);
}

/// The corpus of HTTP/2: frames and fields that no client should send.
#[test]
fn every_list_of_frames_ends_as_it_says() {
    let up = Recorder::start();
    let evenly = Evenly::start(
        &format!("proxy_pass = [\"{}\"]\nhttp_read_timeout = 1", up.address),
        "[[rules]]\npath_prefix = \"/blocked\"\naction = \"block\"\n",
    );
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in Line::all(include_str!("data/attacks/frames.txt")) {
        let end = h2::talk(evenly.address, &line.text);
        let (faults, seen) = (up.faults(), up.take());
        let result = match line.expected.as_str() {
            _ if !faults.is_empty() => Err(format!("upstream got {faults:?}")),
            "passed" if end != h2::End::Answer { is_200: true } || seen.is_empty() => {
                Err(format!("{} upstream", seen.len()))
            }
            "passed" => judge_seen(&line, &seen),
            "ignored" if end == h2::End::Pong && seen.is_empty() => Ok(()),
            "refused" if end.is_refusal() && seen.is_empty() => Ok(()),
            _ => Err(format!("{} upstream", seen.len())),
        };
        if let Err(why) = result {
            wrong.push(format!("{} {}: {why}; {end:?}", line.name, line.expected));
        }
        count += 1;
    }
    assert_eq!(evenly.client().get("/plain").status, 200, "the proxy goes on");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 100);
}

/// One line of a corpus.
struct Line {
    name: String,
    expected: String,
    checks: Vec<String>,
    text: String,
    bytes: Vec<u8>,
}

impl Line {
    fn all(corpus: &str) -> impl Iterator<Item = Line> {
        corpus.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| {
            let mut words = line.splitn(3, ' ');
            let name = words.next().unwrap().to_owned();
            let mut expected = words.next().unwrap().split(',').map(str::to_owned);
            let text = words.next().unwrap_or_default();
            Line {
                name,
                expected: expected.next().unwrap(),
                checks: expected.collect(),
                text: text.to_owned(),
                bytes: bytes(text),
            }
        })
    }
}

/// Undoes shorthands and escapes.
fn bytes(text: &str) -> Vec<u8> {
    unescape(&expand(text))
}

fn expand(text: &str) -> String {
    let text = text
        .replace("{B}", "\\x00\\x01x\\x7f\\x99\\x74{15000*a}")
        .replace("{S}", SMUGGLED)
        .replace("{C}", "5\\r\\nhello\\r\\n0\\r\\n\\r\\n")
        .replace("{G}", "GET /x HTTP/1.1\\r\\nHost: a\\r\\n")
        .replace("{P}", "POST /x HTTP/1.1\\r\\nHost: a\\r\\n")
        .replace("{OK}", "HTTP/1.1 200 OK\\r\\n")
        .replace("{POISON}", "HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nPOISON");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        if let Some((times, repeated, behind)) = repetition(&rest[at..]) {
            out.push_str(&repeated.repeat(times));
            rest = behind;
        } else {
            out.push('{');
            rest = &rest[at + 1..];
        }
    }
    out + rest
}

/// `{N*text}rest` as its three parts.
fn repetition(text: &str) -> Option<(usize, &str, &str)> {
    let (times, rest) = text.strip_prefix('{')?.split_once('*')?;
    let times = times.parse().ok()?;
    let (repeated, behind) = rest.split_once('}')?;
    Some((times, repeated, behind))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        let escaped = if letter == b'\\' { letters.next() } else { None };
        out.push(match escaped {
            None => letter,
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [letters.next().unwrap(), letters.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            Some(other) => panic!("unknown escape {:?}", char::from(other)),
        });
    }
    out
}

/// Everything that the proxy answers to `bytes` and to a request behind them, until it closes.
fn exchange(evenly: &Evenly, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The proxy may close as soon as it has seen enough.
    let _ = stream.write_all(bytes);
    let _ = stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let _ = stream.shutdown(Shutdown::Both);
    let answer: String = answer.into_iter().map(char::from).collect();
    answer.replacen("HTTP/1.1 100 Continue\r\n\r\n", "", 1)
}

fn judge_request(line: &Line, answer: &str, seen: &[Seen], last: usize) -> Result<(), String> {
    let status = answer.get(9..12).unwrap_or("closed");
    let answers = answer.matches("HTTP/1.1 ").count();
    match line.expected.as_str() {
        "passed" if status != "200" || seen.is_empty() => Err(format!("{} upstream", seen.len())),
        "passed" => judge_seen(line, seen),
        // Its beginning may have been answered before the fault came, which is then answered by itself.
        "cut" if seen.len() > 1 || answers > 1 + answer.matches("HTTP/1.1 4").count() || last > 0 => {
            Err(format!("{} upstream, {answers} answers, {last} behind it", seen.len()))
        }
        "cut" => Ok(()),
        "blocked" if seen.iter().any(|seen| lenient(&seen.target)) => Err("got through".to_owned()),
        "blocked" if !answer.contains("HTTP/1.1 4") && !answer.contains("HTTP/1.0 4") => {
            Err("no refusal".to_owned())
        }
        "blocked" => Ok(()),
        "refused" if !REFUSALS.contains(&status) || seen.len() + last > 0 || answers > 1 => {
            Err(format!("{} upstream, {answers} answers, {last} behind it", seen.len()))
        }
        "refused" => Ok(()),
        other => panic!("{}: unknown expectation {other}", line.name),
    }
}

/// Would the most lenient member take the target for one of the paths that a rule guards?
fn lenient(target: &str) -> bool {
    let target = target.split(['?', '#']).next().unwrap().to_ascii_lowercase();
    ["/blocked", "/private"].iter().any(|path| target.contains(path))
}

fn judge_seen(line: &Line, seen: &[Seen]) -> Result<(), String> {
    let first = &seen[0];
    let mut count = 1;
    for check in &line.checks {
        let is_right = if let Some(target) = check.strip_prefix("target=") {
            first.target == target
        } else if let Some(body) = check.strip_prefix("body=") {
            first.body == bytes(body)
        } else if let Some(number) = check.strip_prefix("count=") {
            count = number.parse().unwrap();
            true
        } else if let Some(name) = check.strip_prefix('!') {
            first.field(name).is_none()
        } else if let Some(name) = check.strip_suffix('*') {
            first.field(name).is_some()
        } else {
            let (name, value) = check.split_once('=').unwrap();
            first.field(name).is_some_and(|found| found.as_bytes() == bytes(value))
        };
        if !is_right {
            return Err(format!("not {check}: {first:?}"));
        }
    }
    if seen.len() == count { Ok(()) } else { Err(format!("{} upstream", seen.len())) }
}

/// `answer` is what came for `/x`, `/plain` and `/last`, asked one behind the other.
fn judge_answer(line: &Line, answer: &str) -> Result<(), String> {
    let mut answer = answer;
    while let Some(("HTTP/1.1 100 Continue" | "HTTP/1.1 103 Early Hints" | "HTTP/1.1 102 Processing", _)) =
        answer.split_once("\r\n")
    {
        answer = answer.split_once("\r\n\r\n").map_or("", |(_, rest)| rest);
    }
    let status = answer.get(9..12).unwrap_or("closed");
    let has_next = answer.contains("seen GET /plain\n");
    match line.expected.as_str() {
        "refused" if !["502", "504"].contains(&status) => Err("not refused".to_owned()),
        "refused" if !has_next => Err("the next request has no answer".to_owned()),
        "cut" if !["200", "closed"].contains(&status) || has_next || answer.ends_with("0\r\n\r\n") => {
            Err("not cut".to_owned())
        }
        "refused" | "cut" => Ok(()),
        "passed" if !has_next => Err("the next request has no answer".to_owned()),
        "passed" => {
            let head = answer.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
            let wanted = line.checks.iter().find_map(|check| check.strip_prefix("status="));
            if status != wanted.unwrap_or("200") {
                return Err(format!("status {status}"));
            }
            let holds = |check: &&String| match check.strip_prefix('!') {
                Some(name) => !head.contains(&format!("\r\n{name}:")),
                None => match check.split_once('=') {
                    None | Some(("status" | "method", _)) => true,
                    Some(("has", text)) => answer.contains(text),
                    Some((name, value)) => head.contains(&format!("\r\n{name}: {value}")),
                },
            };
            line.checks.iter().find(|check| !holds(check)).map_or(Ok(()), |check| Err(format!("not {check}")))
        }
        other => panic!("{}: unknown expectation {other}", line.name),
    }
}

/// The least of HTTP/2 that an attacker needs: frames as they are written, and what ends the matter.
mod h2 {
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpStream},
        time::Duration,
    };

    use super::{bytes, expand, unescape};

    /// What came first of the things that end an attempt.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum End {
        Answer { is_200: bool },
        Reset,
        GoAway,
        Closed,
        Pong,
        Silence,
    }

    impl End {
        pub(super) fn is_refusal(&self) -> bool {
            matches!(self, End::Answer { is_200: false } | End::Reset | End::GoAway | End::Closed)
        }
    }

    /// Sends what `text` says; see `frames.txt`.
    pub(super) fn talk(address: SocketAddr, text: &str) -> End {
        let request = ":scheme=http :authority=a :path=/x";
        let text = text.replace("{S}", &super::SMUGGLED.replace(' ', "\\x20"));
        let text = text.replace("{R}", &format!(":method=GET {request}"));
        let text = expand(&text.replace("{P}", &format!(":method=POST {request}")));
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        sent.extend(frame(4, 0, 0, &[]));
        sent.extend(text.split(" | ").flat_map(written));
        // Answered whenever the connection is in order, but behind what is said about a stream, once that is known.
        let asks_for_a_stream = ["headers", "data"].iter().any(|word| text.contains(word));
        if !asks_for_a_stream {
            sent.extend(frame(6, 0, 0, b"the last"));
        }
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // Refused in the middle of it: what came back says so.
        let _ = stream.write_all(&sent);
        loop {
            let mut head = [0; 9];
            let mut payload = Vec::new();
            let read = stream.read_exact(&mut head).and_then(|()| {
                payload =
                    vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
                stream.read_exact(&mut payload)
            });
            match (read, head[3]) {
                (Err(error), _) if error.kind() == std::io::ErrorKind::WouldBlock => return End::Silence,
                (Err(_), _) => return End::Closed,
                (Ok(()), 1) => return End::Answer { is_200: is_200(&payload) },
                (Ok(()), 3) => return End::Reset,
                (Ok(()), 7) => return End::GoAway,
                (Ok(()), 6) if payload == b"the last" => return End::Pong,
                _ => {}
            }
        }
    }

    fn written(text: &str) -> Vec<u8> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut words = rest.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        match kind {
            "bytes" => bytes(rest),
            "raw" => {
                let (kind, flags) = (u8::from_str_radix(word(), 16), u8::from_str_radix(word(), 16));
                let (stream, payload) = word().split_once(' ').unwrap();
                frame(kind.unwrap(), flags.unwrap(), stream.parse().unwrap(), &unescape(payload))
            }
            "data" | "headers" => {
                let (stream, flags, rest) = (word().parse().unwrap(), word(), word());
                let end = u8::from(flags == "end");
                if kind == "data" {
                    return frame(0, end, stream, &unescape(rest));
                }
                let block: Vec<u8> = rest.split(' ').filter(|f| !f.is_empty()).flat_map(field).collect();
                frame(1, end | if flags == "more" { 0 } else { 4 }, stream, &block)
            }
            other => panic!("unknown frame {other:?}"),
        }
    }

    /// A literal field without indexing (RFC 7541 §6.2.2), never Huffman.
    fn field(text: &str) -> Vec<u8> {
        let (name, value) = text.split_once('=').unwrap();
        let mut out = vec![0];
        for part in [unescape(name), unescape(value)] {
            let mut left = part.len();
            if left < 127 {
                out.push(u8::try_from(left).unwrap());
            } else {
                out.push(127);
                left -= 127;
                while left >= 128 {
                    out.push(u8::try_from(left % 128).unwrap() | 128);
                    left /= 128;
                }
                out.push(u8::try_from(left).unwrap());
            }
            out.extend(part);
        }
        out
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The first field is the status, and 200 is entry 8 of the static table.
    fn is_200(block: &[u8]) -> bool {
        block.iter().find(|byte| **byte & 0xe0 != 0x20) == Some(&0x88)
    }
}

fn shorten(answer: &str) -> String {
    format!("{:?}", answer.chars().take(160).collect::<String>())
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n";

const REFUSALS: [&str; 14] =
    ["400", "401", "403", "404", "405", "408", "413", "414", "417", "421", "431", "501", "505", "closed"];
