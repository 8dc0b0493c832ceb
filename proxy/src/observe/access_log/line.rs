//! An entry becomes a line.

use std::{
    io::Write,
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
                is_quoted ^= text.matches('"').count() % 2 == 1;
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
        Fact::Target(target) => {
            let mut masked = Vec::with_capacity(128);
            target.write(&mut masked);
            escape::plain(out, &masked, escape_blanks);
        }
        // Writing to a Vec cannot fail.
        Fact::Address(address) => drop(write!(out, "{address}")),
    }
}

/// `2026-11-22T18:30:18.042Z`
fn timestamp(out: &mut Vec<u8>, time: SystemTime) {
    let utc = time::OffsetDateTime::from(time);
    let (date, clock) = (utc.date(), utc.time());
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    );
}

/// `22/Nov/2026:18:30:18 +0000`
fn clf_time(out: &mut Vec<u8>, time: SystemTime) {
    let utc = time::OffsetDateTime::from(time);
    let (date, clock) = (utc.date(), utc.time());
    let month = &date.month().to_string()[..3];
    let _ = write!(
        out,
        "{:02}/{month}/{:04}:{:02}:{:02}:{:02} +0000",
        date.day(),
        date.year(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
}

fn digits(out: &mut Vec<u8>, number: u64) {
    let _ = write!(out, "{number}");
}

/// Milliseconds with three decimals.
fn millis(out: &mut Vec<u8>, time: Duration) {
    let micros = time.as_micros();
    let _ = write!(out, "{}.{:03}", micros / 1000, micros % 1000);
}

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
        entry.headers.insert("user-agent", HeaderValue::from_bytes(b"x\t\"} \xff").unwrap());
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
