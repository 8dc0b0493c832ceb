//! An entry becomes a line.

use std::{
    cell::RefCell,
    io::Write,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use super::{
    entry::{Entry, Fact, Wanted},
    escape,
};
use crate::config::{AccessLog, LogField, Piece};

/// How lines are made, read from a format once.
#[derive(Debug)]
pub(super) struct Form {
    /// What lines need of a request's head.
    pub(super) wanted: Wanted,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Off,
    Json,
    Pattern(Vec<Part>),
}

/// A piece of a pattern, where it stands. Within quotes of the pattern, blanks stay blanks.
#[derive(Debug)]
enum Part {
    Literal(String),
    Fact {
        field: LogField,
        is_quoted: bool,
    },
    ClfTime,
    /// A field of the head, by its place among those that are wanted.
    Named {
        place: usize,
        is_quoted: bool,
    },
}

impl Form {
    pub(super) fn of(format: &AccessLog) -> Self {
        let mut form = Form { wanted: Wanted::default(), shape: Shape::Off };
        match format {
            AccessLog::Off => {}
            AccessLog::Json => {
                form.shape = Shape::Json;
                LogField::ALL.iter().for_each(|field| form.want(*field));
            }
            AccessLog::Pattern(pieces) => {
                let mut is_quoted = false;
                let parts = pieces.iter().map(|piece| form.part(piece, &mut is_quoted)).collect();
                form.shape = Shape::Pattern(parts);
            }
        }
        form
    }

    /// Appends the line of `entry`, its line break included; nothing when the log is off.
    pub(super) fn write(&self, out: &mut Vec<u8>, entry: &Entry) {
        match &self.shape {
            Shape::Off => {}
            Shape::Json => json(out, entry),
            Shape::Pattern(parts) => pattern(out, parts, entry),
        }
    }

    fn part(&mut self, piece: &Piece, quoted: &mut bool) -> Part {
        let is_quoted = *quoted;
        match piece {
            Piece::Literal(text) => {
                *quoted ^= text.matches('"').count() % 2 == 1;
                Part::Literal(text.clone())
            }
            Piece::Field(field) => {
                self.want(*field);
                Part::Fact { field: *field, is_quoted }
            }
            Piece::ClfTime => Part::ClfTime,
            Piece::Request(name) => {
                self.wanted.named.push(name.clone());
                Part::Named { place: self.wanted.named.len() - 1, is_quoted }
            }
        }
    }

    fn want(&mut self, field: LogField) {
        match field {
            LogField::Host => self.wanted.host = true,
            LogField::Referer => self.wanted.referer = true,
            LogField::UserAgent => self.wanted.user_agent = true,
            LogField::RequestId => self.wanted.request_id = true,
            _ => {}
        }
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

/// Facts that are missing are a dash.
fn pattern(out: &mut Vec<u8>, parts: &[Part], entry: &Entry) {
    for part in parts {
        match part {
            Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Part::Fact { field, is_quoted } => plain(out, &entry.fact(*field), !is_quoted),
            Part::ClfTime => clf_time(out, entry.began),
            Part::Named { place, is_quoted } => plain(out, &entry.named(*place), !is_quoted),
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
            let [first, rest @ ..] = address.octets();
            digits(out, first.into());
            rest.into_iter().for_each(|octet| {
                out.push(b'.');
                digits(out, octet.into());
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

/// By hand: a line has a dozen numbers, and `write!` takes some 300 instructions for each. Most are small.
fn digits(out: &mut Vec<u8>, mut number: u64) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
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

    fn entry(wanted: &Wanted) -> Entry {
        let (parts, ()) = Request::get("/a b?token=hush".replace(' ', "%20"))
            .header("host", "example.org")
            .header("user-agent", "curl \"8\"")
            .header("accept", "x y")
            .body(())
            .unwrap()
            .into_parts();
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_372_218_042);
        let mut entry = Entry::new(began, [127, 0, 0, 1].into(), &parts, wanted);
        entry.status = Some(StatusCode::OK);
        entry.bytes_out = 12;
        entry.took = Duration::from_micros(1_234_567);
        entry.member = Some("127.0.0.1:6000".into());
        entry.attempts = 1;
        entry
    }

    fn line(format: &str) -> String {
        line_of(format, |_| {})
    }

    fn line_of(format: &str, change: impl FnOnce(&mut Entry)) -> String {
        let form = Form::of(&format.parse().unwrap());
        let mut entry = entry(&form.wanted);
        change(&mut entry);
        let mut out = Vec::new();
        form.write(&mut out, &entry);
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
            line("combined"),
            "127.0.0.1 - - [22/Nov/2026:18:30:18 +0000] \"GET /a%20b?token=*** HTTP/1.1\" 200 12 \"-\" \
             \"curl \\x228\\x22\"\n"
        );
    }

    #[test]
    fn json_has_every_known_fact() {
        let line = line("json");
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
        assert_eq!(line(pattern), "200 1234.567 x\\x20y \"x y\" -\n");
    }

    #[test]
    fn a_client_cannot_fake_a_line() {
        let fake = |entry: &mut Entry| {
            entry.user_agent =
                entry.user_agent.take().map(|_| HeaderValue::from_bytes(b"x\t\"} \xff").unwrap());
            entry.error = Some("broke\n127.0.0.1 - - fake".into());
        };
        for format in ["json", "combined", "{error} {user_agent}"] {
            let line = line_of(format, fake);
            assert_eq!(line.matches('\n').count(), 1, "{format}");
            assert!(line.contains('x') && !line.contains('\t'), "{format}");
        }
        assert!(serde_json::from_str::<serde_json::Value>(&line_of("json", fake)).is_ok());
    }

    #[test]
    fn off_is_silent() {
        assert_eq!(line("off"), "");
    }
}
