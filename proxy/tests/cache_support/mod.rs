//! A cache with an origin made of a script, and a clock that is moved by hand.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use bytes::Bytes;
use evenly::http_cache::{Ask, Failed, HttpCache, Moment, Payload, Settings, Storage, Target};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// What the origin does with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers with status, fields and the pieces of a body.
    Answer(u16, Vec<(&'static str, String)>, Vec<&'static str>),
    /// Answers, and the body breaks off after its pieces.
    BreakOff(u16, Vec<(&'static str, String)>, Vec<&'static str>),
    /// Answers with a body that the test feeds.
    Fed(u16, Vec<(&'static str, String)>),
    /// Does not answer.
    Fail,
}

/// An answer in one line: `200 max-age=9; etag: "a"`, then the body.
pub fn act(status: u16, fields: &[(&'static str, &str)], body: &[&'static str]) -> Act {
    Act::Answer(
        status,
        fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        body.to_vec(),
    )
}

/// An origin that plays a script; past its end it repeats the last act.
#[derive(Clone)]
pub struct Origin(Arc<Play>);

struct Play {
    script: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<HeaderMap>>,
    feeds: Mutex<Vec<mpsc::UnboundedSender<io::Result<Bytes>>>>,
    /// A permit for each answer when the test holds them back.
    gate: Semaphore,
    is_gated: bool,
}

impl Origin {
    pub fn new(script: &[Act]) -> Self {
        Self::with(script, false)
    }

    /// Every answer waits for [`Origin::let_go`].
    pub fn gated(script: &[Act]) -> Self {
        Self::with(script, true)
    }

    fn with(script: &[Act], is_gated: bool) -> Self {
        let (seen, feeds) = (Mutex::default(), Mutex::default());
        let script = Mutex::new(script.iter().cloned().collect());
        Self(Arc::new(Play { script, seen, feeds, gate: Semaphore::new(0), is_gated }))
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.0.seen.lock().expect("no test panics here").len()
    }

    /// The fields of the nth request.
    pub fn request(&self, nth: usize) -> HeaderMap {
        self.0.seen.lock().expect("no test panics here")[nth].clone()
    }

    pub fn let_go(&self, answers: usize) {
        self.0.gate.add_permits(answers);
    }

    /// One more piece for the nth fed body.
    pub fn feed(&self, nth: usize, piece: &'static str) {
        let feeds = self.0.feeds.lock().expect("no test panics here");
        // A reader may have left; then nobody wants it.
        let _ = feeds[nth].send(Ok(Bytes::from_static(piece.as_bytes())));
    }

    /// The fed bodies end.
    pub fn end_feeds(&self) {
        self.0.feeds.lock().expect("no test panics here").clear();
    }

    async fn answer(self, headers: HeaderMap) -> Result<Response<Fed>, String> {
        self.0.seen.lock().expect("no test panics here").push(headers);
        if self.0.is_gated {
            self.0.gate.acquire().await.expect("never closed").forget();
        }
        let act = {
            let mut script = self.0.script.lock().expect("no test panics here");
            if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
        };
        let (sender, body) = mpsc::unbounded_channel();
        let (status, fields) = match act.expect("a script has acts") {
            Act::Fail => return Err(String::from("no answer")),
            Act::Answer(status, fields, pieces) => {
                pieces
                    .iter()
                    .for_each(|piece| sender.send(Ok(Bytes::from_static(piece.as_bytes()))).expect("open"));
                (status, fields)
            }
            Act::BreakOff(status, fields, pieces) => {
                pieces
                    .iter()
                    .for_each(|piece| sender.send(Ok(Bytes::from_static(piece.as_bytes()))).expect("open"));
                sender.send(Err(io::Error::other("broken off"))).expect("open");
                (status, fields)
            }
            Act::Fed(status, fields) => {
                self.0.feeds.lock().expect("no test panics here").push(sender);
                (status, fields)
            }
        };
        let mut response = Response::new(Fed(body));
        *response.status_mut() = StatusCode::from_u16(status).expect("a valid status");
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a valid value");
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
        Ok(response)
    }
}

/// A body from a channel.
#[derive(Debug)]
pub struct Fed(mpsc::UnboundedReceiver<io::Result<Bytes>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// A cache before an origin.
#[derive(Clone)]
pub struct Bench {
    pub cache: Arc<HttpCache<Fed>>,
    pub origin: Origin,
    clock: Arc<AtomicU64>,
}

/// An answer as the client sees it.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Result<String, String>,
}

impl Seen {
    pub fn text(&self) -> &str {
        self.body.as_deref().expect("a whole body")
    }

    pub fn cache_status(&self) -> &str {
        self.headers["cache-status"].to_str().expect("ascii")
    }

    pub fn is_hit(&self) -> bool {
        self.cache_status().starts_with("evenly; hit")
    }
}

impl Bench {
    pub fn new(settings: Settings, script: &[Act]) -> Self {
        Self::over(settings, Origin::new(script))
    }

    pub fn over(settings: Settings, origin: Origin) -> Self {
        let storage = Storage::memory(cache::Policy::Lru, &settings).expect("bounds that can be");
        Self::on(storage, settings, origin)
    }

    pub fn on(storage: Storage, settings: Settings, origin: Origin) -> Self {
        let clock = Arc::new(AtomicU64::new(1_790_000_000_000));
        let told = Arc::clone(&clock);
        let cache = HttpCache::new(
            storage,
            settings,
            Arc::new(move || Moment::from_millis(told.load(Ordering::Relaxed))),
        );
        Self { cache, origin, clock }
    }

    /// Moves the clock.
    pub fn wait(&self, secs: u64) {
        self.clock.fetch_add(secs * 1000, Ordering::Relaxed);
    }

    /// Sends a request `GET /x field: value …`, and gathers the answer.
    pub async fn ask(&self, line: &str, fields: &[(&'static str, &str)]) -> Result<Seen, String> {
        Ok(gather(self.head(line, fields).await?).await)
    }

    /// The same, for requests that have an answer.
    pub async fn get(&self, path: &str, fields: &[(&'static str, &str)]) -> Seen {
        self.ask(&format!("GET {path}"), fields).await.expect("an answer")
    }

    /// Sends a request; its answer's body is still to be read.
    pub async fn head(
        &self,
        line: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Response<Payload<Fed>>, String> {
        let (method, path) = line.split_once(' ').expect("method and path");
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a valid value");
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        let target = Target { scheme: "http", authority: "a.test", path_and_query: path };
        let ask = Ask { method: request.method(), target, headers: request.headers() };
        let origin = self.origin.clone();
        if !self.cache.wants(&ask, false) {
            let sent = self.cache.now();
            let response = origin.answer(request.headers().clone()).await?;
            return Ok(self.cache.past(ask, sent, response).await);
        }
        let answer = self.cache.through(ask, || move |headers| origin.clone().answer(headers)).await;
        answer.map_err(|failed| match failed {
            Failed::Origin(error) => error,
            Failed::Shared => String::from("shared"),
        })
    }

    /// Waits until something becomes true; background work has its own pace.
    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never came true: {what}");
    }
}

/// Reads an answer to its end.
pub async fn gather(response: Response<Payload<Fed>>) -> Seen {
    let (parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => Ok(String::from_utf8(body.to_bytes().to_vec()).expect("text")),
        Err(error) => Err(error.to_string()),
    };
    Seen { status: parts.status.as_u16(), headers: parts.headers, body }
}
