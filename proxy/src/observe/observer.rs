//! Follows each request from its arrival to the last byte of its answer.
//!
//! ```text
//!     arrived ─► Note ─► answered(status) ─► Observed body ─► dropped: counts, and one line in the access log
//!                  └─ dropped early: the client left; counted and logged as well
//! ```
//!
//! Cost without an access log: eight relaxed additions and the reference count of the observer.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, request::Parts};
use http_body::{Body, Frame, SizeHint};

use super::{AccessLogWriter, Counter, Counters, Entry, Events, History};
use crate::{body::BodyError, pipe::Piped};

/// Everything a proxy sees of itself. It survives reloads.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    pub(crate) counters: Counters,
    pub(crate) events: Events,
    pub(crate) history: History,
}

impl Observer {
    /// A request has arrived, at `began`.
    pub(crate) fn arrived(
        self: &Arc<Self>,
        client: IpAddr,
        request: &Parts,
        began: Instant,
        log: Option<&Arc<AccessLogWriter>>,
    ) -> Note {
        let line = log.map(|log| {
            let entry = Entry::new(SystemTime::now(), client, request, log.wanted());
            Box::new(Line { entry, log: Arc::clone(log) })
        });
        let mut note = self.note(began, line);
        note.has_no_body = request.method == Method::HEAD;
        note
    }

    /// Something has arrived that is no request, and is answered as such.
    pub(crate) fn no_request(self: &Arc<Self>, client: IpAddr, log: Option<&Arc<AccessLogWriter>>) -> Note {
        let line = log.map(|log| {
            let entry = Entry::of_no_request(SystemTime::now(), client);
            Box::new(Line { entry, log: Arc::clone(log) })
        });
        self.note(Instant::now(), line)
    }

    fn note(self: &Arc<Self>, began: Instant, line: Option<Box<Line>>) -> Note {
        self.counters.in_flight.up();
        Note {
            observer: Arc::clone(self),
            began,
            trail: Trail::default(),
            has_asked_cache: false,
            has_no_body: false,
            is_answered: false,
            is_told: false,
            is_whole: false,
            bytes_out: 0,
            bytes_in: None,
            line,
        }
    }
}

/// Where a request went, noted by whoever sends it.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    pub(crate) attempts: u32,
    pub(crate) member: Option<Arc<str>>,
}

impl Trail {
    /// What was done on another way counts here.
    pub(crate) fn join(&mut self, other: Trail) {
        self.attempts += other.attempts;
        self.member = other.member.or(self.member.take());
    }

    /// The request is sent to `member`.
    #[inline]
    pub(crate) fn attempt(&mut self, member: &Arc<str>) {
        self.attempts += 1;
        self.member = Some(Arc::clone(member));
    }

    /// The request goes where its `Host` says, as in a forward proxy.
    pub(crate) fn attempt_host(&mut self, headers: &http::HeaderMap) {
        let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        self.attempt(&host.unwrap_or("-").into());
    }
}

/// What is noted of one request.
#[derive(Debug)]
pub(crate) struct Note {
    observer: Arc<Observer>,
    began: Instant,
    pub(crate) trail: Trail,
    /// The answer tells what our own cache did.
    pub(crate) has_asked_cache: bool,
    has_no_body: bool,
    is_answered: bool,
    /// Why it failed is known already.
    is_told: bool,
    is_whole: bool,
    bytes_out: u64,
    bytes_in: Option<Arc<Counter>>,
    line: Option<Box<Line>>,
}

#[derive(Debug)]
struct Line {
    entry: Entry,
    log: Arc<AccessLogWriter>,
}

impl Note {
    /// The facts for the access log, if there is one.
    pub(crate) fn entry(&mut self) -> Option<&mut Entry> {
        self.line.as_mut().map(|line| &mut line.entry)
    }

    /// When it arrived.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Who sent it, as far as trusted proxies vouch for it, and who showed a password.
    pub(crate) fn admitted(&mut self, client: IpAddr, user: Option<&Arc<str>>) {
        if let Some(entry) = self.entry() {
            entry.client = client;
            entry.user = user.cloned();
        }
    }

    pub(crate) fn identified(&mut self, id: &HeaderValue) {
        if let Some(line) = &mut self.line
            && line.log.wanted().request_id
        {
            line.entry.request_id = Some(id.clone());
        }
    }

    /// Where to count the bytes of the request's body.
    pub(crate) fn count_request(&mut self) -> Arc<Counter> {
        Arc::clone(self.bytes_in.get_or_insert_default())
    }

    /// The answer is our own, because of `error`.
    pub(crate) fn failed(&mut self, status: StatusCode, error: &impl std::fmt::Display) {
        if status.is_server_error() {
            self.is_told = true;
            self.observer.events.note(SystemTime::now(), || error.to_string());
        }
        if let Some(entry) = self.entry() {
            entry.error = Some(error.to_string());
        }
    }

    /// The head of the answer is there. Its body is followed to its end.
    pub(crate) fn answered<B: Body<Data = Bytes>>(mut self, response: Response<B>) -> Response<Observed<B>> {
        let (status, took) = (response.status(), self.began.elapsed());
        self.observer.counters.answered(took, status);
        if status.is_server_error() && !self.is_told {
            let member = self.trail.member.as_deref().unwrap_or("a member");
            self.observer.events.note(SystemTime::now(), || format!("{member} answered {status}"));
        }
        self.is_answered = true;
        self.count_retries();
        self.has_no_body |= matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || status.is_informational()
            || response.body().is_end_stream();
        let has_asked_cache = self.has_asked_cache;
        if let Some(entry) = self.entry() {
            entry.status = Some(status);
            entry.first_byte = Some(took);
            entry.cache = if has_asked_cache { cache_result(response.headers()) } else { None };
        }
        response.map(|body| Observed { body, note: self })
    }
}

impl Note {
    fn count_retries(&self) {
        if self.trail.attempts > 1 {
            self.observer.counters.retries.add(u64::from(self.trail.attempts - 1));
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let counters = &self.observer.counters;
        counters.in_flight.down();
        let bytes_in = self.bytes_in.as_ref().map_or(0, |bytes| bytes.count());
        if bytes_in > 0 {
            counters.bytes_in.add(bytes_in);
        }
        if self.bytes_out > 0 {
            counters.bytes_out.add(self.bytes_out);
        }
        if !self.is_answered {
            self.count_retries();
        }
        let is_broken = !self.is_whole && !self.has_no_body;
        if is_broken {
            counters.broken_off.add(1);
        }
        let Some(line) = &mut self.line else { return };
        let entry = &mut line.entry;
        entry.took = self.began.elapsed();
        entry.bytes_in = bytes_in;
        entry.bytes_out = self.bytes_out;
        entry.attempts = self.trail.attempts;
        entry.member = self.trail.member.take();
        if is_broken && entry.error.is_none() {
            entry.error = Some("broke off before the last byte".to_owned());
        }
        line.log.write(entry);
    }
}

/// What our own cache says it did, which is the last line of `Cache-Status` (RFC 9211).
fn cache_result(headers: &http::HeaderMap) -> Option<&'static str> {
    let ours = headers.get_all(CACHE_STATUS).iter().next_back()?.to_str().ok()?.strip_prefix("evenly; ")?;
    let says = |word: &str| ours.split("; ").any(|parameter| parameter == word);
    // By far the most: no need to look at every word.
    if let Some(ttl) = ours.strip_prefix("hit; ttl=")
        && ttl.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some("hit");
    }
    Some(if says("collapsed") {
        "collapsed"
    } else if says("hit") {
        if ours.contains("ttl=-") { "stale" } else { "hit" }
    } else if says("fwd-status=304") {
        "revalidated"
    } else if says("fwd=bypass") || says("fwd=method") {
        "bypass"
    } else {
        "miss"
    })
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// A body that is counted; when it is dropped, its request is over.
#[derive(Debug)]
pub(crate) struct Observed<B> {
    body: B,
    note: Note,
}

impl Observed<crate::body::Body> {
    /// The next piece by way of a pipe; `None` where it is to be had as a frame.
    pub(crate) fn poll_piped(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piped, BodyError>>> {
        let polled = self.body.poll_piped(cx);
        if let Poll::Ready(Some(Ok(piped))) = &polled {
            self.note.bytes_out += piped.len() as u64;
            self.note.is_whole = self.body.is_end_stream();
        }
        polled
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Observed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.note.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
                // Whoever sends the body need not ask again when it knows that nothing follows.
                this.note.is_whole = this.body.is_end_stream();
            }
            Poll::Ready(None) => this.note.is_whole = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http_body_util::{BodyExt, Full};

    fn note(observer: &Arc<Observer>, method: &str) -> Note {
        let (parts, ()) = Request::builder().method(method).uri("/").body(()).unwrap().into_parts();
        observer.arrived([127, 0, 0, 1].into(), &parts, Instant::now(), None)
    }

    fn full(text: &'static str) -> Response<Full<Bytes>> {
        Response::new(Full::new(Bytes::from(text)))
    }

    #[tokio::test]
    async fn a_request_is_in_flight_until_its_body_ends() {
        let observer = Arc::new(Observer::default());
        let mut noted = note(&observer, "GET");
        noted.trail.attempt(&"a".into());
        noted.trail.attempt(&"b".into());
        noted.count_request().add(7);
        assert_eq!(observer.counters.in_flight.level(), 1);
        let response = noted.answered(full("hello"));
        assert_eq!((observer.counters.in_flight.level(), observer.counters.requests()), (1, 1));
        response.into_body().collect().await.unwrap();
        let counters = &observer.counters;
        assert_eq!(
            (counters.in_flight.level(), counters.bytes_out.count(), counters.bytes_in.count()),
            (0, 5, 7)
        );
        assert_eq!((counters.retries.count(), counters.broken_off.count()), (1, 0));
    }

    #[test]
    fn what_the_cache_did_is_read_from_its_own_line() {
        for (line, result) in [
            ("evenly; hit; ttl=42", Some("hit")),
            ("evenly; hit; ttl=-3; detail=stale-if-error", Some("stale")),
            ("evenly; fwd=stale; fwd-status=304; stored; ttl=60", Some("revalidated")),
            ("evenly; fwd=uri-miss; collapsed", Some("collapsed")),
            ("evenly; fwd=uri-miss; fwd-status=200; stored", Some("miss")),
            ("evenly; fwd=method", Some("bypass")),
            ("other; hit", None),
        ] {
            let mut headers = http::HeaderMap::new();
            headers.append("cache-status", HeaderValue::from_static("cdn; hit"));
            headers.append("cache-status", HeaderValue::from_str(line).unwrap());
            assert_eq!(cache_result(&headers), result, "{line}");
        }
    }

    #[test]
    fn what_breaks_off_is_counted_and_what_has_no_body_does_not() {
        let observer = Arc::new(Observer::default());
        drop(note(&observer, "GET").answered(full("hello")));
        assert_eq!(observer.counters.broken_off.count(), 1, "nobody read the body");
        drop(note(&observer, "GET"));
        assert_eq!(observer.counters.broken_off.count(), 2, "the client left before the answer");
        drop(note(&observer, "HEAD").answered(full("hello")));
        drop(note(&observer, "GET").answered(full("")));
        assert_eq!(observer.counters.broken_off.count(), 2);
        assert_eq!(observer.counters.in_flight.level(), 0);
    }
}
