//! What is known of a request when its answer has ended.
//!
//! Everything is kept as it came, by reference counts: a line is made once, at the end, and only if somebody wants it.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts};

use super::mask::Masked;
use crate::config::LogField;

/// The facts of one request. Filled while it lives.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) began: SystemTime,
    pub(crate) client: IpAddr,
    pub(crate) user: Option<Arc<str>>,
    /// Nothing where what came was no request.
    pub(crate) line: Option<RequestLine>,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    /// Those that the log asks for by name, in its order.
    named: Vec<Option<HeaderValue>>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) took: Duration,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) member: Option<Arc<str>>,
    pub(crate) attempts: u32,
    pub(crate) cache: Option<&'static str>,
    pub(crate) request_id: Option<HeaderValue>,
    pub(crate) error: Option<String>,
}

/// What of a request's head a log tells: nothing else is kept of it.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(super) host: bool,
    pub(super) referer: bool,
    pub(super) user_agent: bool,
    pub(in crate::observe) request_id: bool,
    /// Fields that a pattern asks for by name.
    pub(super) named: Vec<HeaderName>,
}

/// A fact on its way to a line.
#[derive(Debug)]
pub(super) enum Fact<'e> {
    Missing,
    Time(SystemTime),
    Number(u64),
    Millis(Duration),
    Text(&'e str),
    /// From a client: any bytes.
    Bytes(&'e [u8]),
    /// With a query that may hold secrets.
    Target(Masked<'e>),
    Address(IpAddr),
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct RequestLine {
    method: Method,
    target: Uri,
    version: Version,
}

impl Entry {
    /// What is known of bytes that are no request.
    pub(crate) fn of_no_request(began: SystemTime, client: IpAddr) -> Self {
        Entry {
            began,
            client,
            user: None,
            line: None,
            host: None,
            referer: None,
            user_agent: None,
            named: Vec::new(),
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            took: Duration::ZERO,
            first_byte: None,
            member: None,
            attempts: 0,
            cache: None,
            request_id: None,
            error: None,
        }
    }

    /// What is known when a request has arrived.
    pub(crate) fn new(began: SystemTime, client: IpAddr, parts: &Parts, wanted: &Wanted) -> Self {
        let field = |name: &HeaderName| {
            let authority = || parts.uri.authority().and_then(|host| host.as_str().parse().ok());
            let value = parts.headers.get(name).cloned();
            value.or_else(|| if name == header::HOST { authority() } else { None })
        };
        let if_wanted = |is_wanted: bool, name| if is_wanted { field(&name) } else { None };
        let line =
            RequestLine { method: parts.method.clone(), target: target(parts), version: parts.version };
        Entry {
            line: Some(line),
            host: if_wanted(wanted.host, header::HOST),
            referer: if_wanted(wanted.referer, header::REFERER),
            user_agent: if_wanted(wanted.user_agent, header::USER_AGENT),
            named: wanted.named.iter().map(field).collect(),
            ..Entry::of_no_request(began, client)
        }
    }

    #[inline]
    pub(super) fn fact(&self, field: LogField) -> Fact<'_> {
        match field {
            LogField::Time => Fact::Time(self.began),
            LogField::Client => Fact::Address(self.client),
            LogField::User => match &self.user {
                Some(user) => Fact::Bytes(user.as_bytes()),
                None => Fact::Missing,
            },
            // A token has no byte that would have to be escaped.
            LogField::Method => self.asked(|line| Fact::Text(line.method.as_str())),
            LogField::Target => self.asked(|line| Fact::Target(Masked::uri(&line.target))),
            LogField::Host => bytes(self.host.as_ref()),
            LogField::Version => self.asked(|line| Fact::Text(version(line.version))),
            LogField::Status => Fact::Number(self.status.map_or(0, |status| status.as_u16().into())),
            LogField::BytesIn => Fact::Number(self.bytes_in),
            LogField::BytesOut => Fact::Number(self.bytes_out),
            LogField::DurationMs => Fact::Millis(self.took),
            LogField::FirstByteMs => self.first_byte.map_or(Fact::Missing, Fact::Millis),
            LogField::Member => self.member.as_deref().map_or(Fact::Missing, Fact::Text),
            LogField::Attempts => Fact::Number(self.attempts.into()),
            LogField::Cache => self.cache.map_or(Fact::Missing, Fact::Text),
            LogField::RequestId => bytes(self.request_id.as_ref()),
            LogField::Referer => match &self.referer {
                Some(referer) => Fact::Target(Masked::bytes(referer.as_bytes())),
                None => Fact::Missing,
            },
            LogField::UserAgent => bytes(self.user_agent.as_ref()),
            LogField::Error => match &self.error {
                Some(error) => Fact::Bytes(error.as_bytes()),
                None => Fact::Missing,
            },
        }
    }

    fn asked<'e>(&'e self, fact: impl FnOnce(&'e RequestLine) -> Fact<'e>) -> Fact<'e> {
        self.line.as_ref().map_or(Fact::Missing, fact)
    }

    /// The field that stands at `place` among those that the log asks for by name.
    pub(super) fn named(&self, place: usize) -> Fact<'_> {
        bytes(self.named.get(place).and_then(Option::as_ref))
    }
}

fn bytes(value: Option<&HeaderValue>) -> Fact<'_> {
    value.map_or(Fact::Missing, |value| Fact::Bytes(value.as_bytes()))
}

/// The target as HTTP/1.1 has it: HTTP/2 says scheme and host beside each path.
fn target(parts: &Parts) -> Uri {
    match parts.uri.path_and_query() {
        Some(path) if parts.version == Version::HTTP_2 && parts.method != Method::CONNECT => {
            path.clone().into()
        }
        _ => parts.uri.clone(),
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/?",
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn entry(request: http::request::Builder) -> Entry {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Entry::new(
            SystemTime::UNIX_EPOCH,
            [127, 0, 0, 1].into(),
            &parts,
            &Wanted { host: true, ..Wanted::default() },
        )
    }

    #[test]
    fn http2_is_told_as_http1_is() {
        let h2 = Request::get("https://a.example/x?y=1").version(Version::HTTP_2);
        let told = entry(h2);
        assert_eq!(told.line.as_ref().unwrap().target, "/x?y=1");
        assert_eq!(told.host.unwrap(), "a.example");
        let tunnel = Request::connect("a.example:443").version(Version::HTTP_2);
        assert_eq!(entry(tunnel).line.unwrap().target, "a.example:443");
        let forward = Request::get("http://b.example/z").header(header::HOST, "b.example");
        assert_eq!(entry(forward).line.unwrap().target, "http://b.example/z");
    }
}
