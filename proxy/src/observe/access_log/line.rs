//! An entry becomes a line.

use std::{
    cell::RefCell,
    io::Write,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use super::{
    entry::{Entry, Fact},
    escape,
};
use crate::config::{AccessLog, LogField, Piece};

/// Appends the line of `entry`, its line break included; nothing when the log is off.
pub(super) fn write(out: &mut Vec<u8>, format: &AccessLog, entry: &Entry) {
    match format {
        AccessLog::Off => {}
        AccessLog::Json => json(out, entry),
        AccessLog::Pattern(pieces) => pattern(out, pieces, entry),
    }
}

/// Facts that are missing are left out: `{"time":"…","status":200}`.
fn json(out: &mut Vec<u8>, entry: &Entry) {
    let mut before = b'{';
    for field in LogField::ALL {
        let fact = entry.fact(field);
        if matches!(fact, Fact::Missing) {
            continue;
        }
        out.push(before);
        before = b',';
        out.push(b'"');
        out.extend_from_slice(field.name().as_bytes());
        out.extend_from_slice(b"\":");
        match fact {
            Fact::Number(number) => digits(out, number),
            Fact::Millis(time) => millis(out, time),
            Fact::Bytes(bytes) => escape::json(out, bytes),
            Fact::Target(target) => {
                let mut masked = Vec::with_capacity(128);
                target.write(&mut masked);
                escape::json(out, &masked);
            }
            // What follows holds no byte that needs escaping.
            fact => {
                out.push(b'"');
                plain(out, &fact, true);
                out.push(b'"');
            }
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Facts that are missing are a dash. Within quotes of the pattern, blanks stay blanks.
fn pattern(out: &mut Vec<u8>, pieces: &[Piece], entry: &Entry) {
    let mut is_quoted = false;
    for piece in pieces {
        match piece {
            Piece::Literal(text) => {
                is_quoted ^= text.bytes().filter(|byte| *byte == b'"').count() % 2 == 1;
                out.extend_from_slice(text.as_bytes());
            }
            Piece::Field(field) => plain(out, &entry.fact(*field), !is_quoted),
            Piece::ClfTime => clf_time(out, entry.began),
            Piece::Request(name) => plain(out, &entry.header(name), !is_quoted),
        }
    }
    out.push(b'\n');
}

fn plain(out: &mut Vec<u8>, fact: &Fact<'_>, escape_blanks: bool) {
    match fact {
        Fact::Missing => out.push(b'-'),
        Fact::Time(time) => timestamp(out, *time),
        Fact::Number(number) => digits(out, *number),
        Fact::Millis(time) => millis(out, *time),
        Fact::Text(text) => out.extend_from_slice(text.as_bytes()),
        Fact::Bytes(bytes) => escape::plain(out, bytes, escape_blanks),
        Fact::Target(target) if target.is_plain() => escape::plain(out, target.rest, escape_blanks),
        Fact::Target(target) => {
            let mut masked = Vec::with_capacity(128);
            target.write(&mut masked);
            escape::plain(out, &masked, escape_blanks);
        }
        Fact::Address(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets().map(u64::from);
            digits(out, a);
            [b, c, d].into_iter().for_each(|part| {
                out.push(b'.');
                digits(out, part);
            });
        }
        // Writing to a Vec cannot fail.
        Fact::Address(address) => drop(write!(out, "{address}")),
    }
}

/// `2026-11-22T18:30:18.042Z`
fn timestamp(out: &mut Vec<u8>, time: SystemTime) {
    let utc = time::OffsetDateTime::from(time);
    let (date, clock) = (utc.date(), utc.time());
    padded(out, date.year().unsigned_abs(), 4);
    for (before, number) in [(b'-', u8::from(date.month())), (b'-', date.day()), (b'T', clock.hour())] {
        out.push(before);
        padded(out, number.into(), 2);
    }
    for number in [clock.minute(), clock.second()] {
        out.push(b':');
        padded(out, number.into(), 2);
    }
    out.push(b'.');
    padded(out, clock.millisecond().into(), 3);
    out.push(b'Z');
}

/// `22/Nov/2026:18:30:18 +0000`, made once a second.
fn clf_time(out: &mut Vec<u8>, time: SystemTime) {
    let second = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    SECOND.with_borrow_mut(|(of, text)| {
        if *of != second || text.is_empty() {
            *of = second;
            text.clear();
            put_clf_time(text, time);
        }
        out.extend_from_slice(text);
    });
}

thread_local! {
    /// A second as the common log format has it.
    static SECOND: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
}

fn put_clf_time(out: &mut Vec<u8>, time: SystemTime) {
    let utc = time::OffsetDateTime::from(time);
    let (date, clock) = (utc.date(), utc.time());
    padded(out, date.day().into(), 2);
    out.push(b'/');
    out.extend_from_slice(MONTHS[usize::from(u8::from(date.month()) - 1)]);
    out.push(b'/');
    padded(out, date.year().unsigned_abs(), 4);
    for number in [clock.hour(), clock.minute(), clock.second()] {
        out.push(b':');
        padded(out, number.into(), 2);
    }
    out.extend_from_slice(b" +0000");
}

/// By hand: a line has a dozen numbers, and `write!` takes some 300 instructions for each.
fn digits(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || at == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// The last `width` digits, with zeros before.
fn padded(out: &mut Vec<u8>, mut number: u32, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    for letter in out[start..].iter_mut().rev() {
        *letter = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Milliseconds with three decimals.
fn millis(out: &mut Vec<u8>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    digits(out, micros / 1000);
    out.push(b'.');
    padded(out, (micros % 1000) as u32, 3);
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Request, StatusCode};

    fn entry() -> Entry {
        let (parts, ()) = Request::get("/a b?token=hush".replace(' ', "%20"))
            .header("host", "example.org")
            .header("user-agent", "curl \"8\"")
            .header("accept", "x y")
            .body(())
            .unwrap()
            .into_parts();
        let wanted = [http::header::HOST, http::header::USER_AGENT, http::header::ACCEPT];
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_372_218_042);
        let mut entry = Entry::new(began, [127, 0, 0, 1].into(), &parts, &wanted);
        entry.status = Some(StatusCode::OK);
        entry.bytes_out = 12;
        entry.took = Duration::from_micros(1_234_567);
        entry.member = Some("127.0.0.1:6000".into());
        entry.attempts = 1;
        entry
    }

    fn line(format: &str, entry: &Entry) -> String {
        let mut out = Vec::new();
        write(&mut out, &format.parse().unwrap(), entry);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_read_as_everybody_writes_them() {
        for number in [0, 7, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = Vec::new();
            digits(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
        for (micros, text) in [(0, "0.000"), (42, "0.042"), (1_234_567, "1234.567")] {
            let mut out = Vec::new();
            millis(&mut out, Duration::from_micros(micros));
            assert_eq!(out, text.as_bytes());
        }
        let mut out = Vec::new();
        plain(&mut out, &Fact::Address([203, 0, 113, 9].into()), true);
        assert_eq!(out, b"203.0.113.9");
    }

    #[test]
    fn combined() {
        assert_eq!(
            line("combined", &entry()),
            "127.0.0.1 - - [22/Nov/2026:18:30:18 +0000] \"GET /a%20b?token=*** HTTP/1.1\" 200 12 \"-\" \
             \"curl \\x228\\x22\"\n"
        );
    }

    #[test]
    fn json_has_every_known_fact() {
        let line = line("json", &entry());
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(line.ends_with("}\n"));
        assert_eq!(read["time"], "2026-11-22T18:30:18.042Z");
        assert_eq!(read["client"], "127.0.0.1");
        assert_eq!(read["target"], "/a%20b?token=***");
        assert_eq!(read["status"], 200);
        assert_eq!(read["duration_ms"], 1234.567);
        assert_eq!(read["user_agent"], "curl \"8\"");
        assert!(read.get("user").is_none(), "nobody logged in");
    }

    #[test]
    fn a_pattern_of_ones_own() {
        let pattern = "{status} {duration_ms} {request:accept} \"{request:accept}\" {cache}";
        assert_eq!(line(pattern, &entry()), "200 1234.567 x\\x20y \"x y\" -\n");
    }

    #[test]
    fn a_client_cannot_fake_a_line() {
        let mut entry = entry();
        let agent = entry.headers.iter_mut().find(|(name, _)| name == http::header::USER_AGENT);
        agent.unwrap().1 = HeaderValue::from_bytes(b"x\t\"} \xff").unwrap();
        entry.error = Some("broke\n127.0.0.1 - - fake".into());
        for format in ["json", "combined", "{error} {user_agent}"] {
            assert_eq!(line(format, &entry).matches('\n').count(), 1, "{format}");
        }
        assert!(serde_json::from_str::<serde_json::Value>(&line("json", &entry)).is_ok());
    }

    #[test]
    fn off_is_silent() {
        assert_eq!(line("off", &entry()), "");
    }
}
