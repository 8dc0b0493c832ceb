//! The whole of `http_cache` before an origin of a few lines: what the origin is asked, what clients get, what is counted.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use evenly::http_cache::{Ask, HttpCache, Moment, Settings, Storage, Target};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// A cache at a time of ours, and an origin that answers what is listed.
struct World {
    cache: Arc<HttpCache<Told>>,
    secs: Arc<AtomicU64>,
    origin: Arc<Origin>,
}

type Told = UnsyncBoxBody<Bytes, std::convert::Infallible>;

struct Origin {
    answers: Mutex<VecDeque<Response<Told>>>,
    asked: Mutex<Vec<HeaderMap>>,
    /// What came behind the last answer's body.
    trailers: Mutex<Option<HeaderMap>>,
    /// One for each answer that may be given.
    gate: Semaphore,
}

/// What a client gets.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    status: u16,
    /// Without the name of the cache.
    cache_status: String,
    body: Bytes,
}

impl World {
    fn new(storage: impl FnOnce(&Settings) -> Storage) -> World {
        let (settings, secs) = (Settings::default(), Arc::new(AtomicU64::new(784_111_777)));
        let clock = {
            let secs = Arc::clone(&secs);
            Arc::new(move || Moment::from_secs(secs.load(Ordering::Relaxed)))
        };
        let origin = Origin {
            answers: Mutex::default(),
            asked: Mutex::default(),
            trailers: Mutex::default(),
            gate: Semaphore::new(1000),
        };
        World { cache: HttpCache::new(storage(&settings), settings, clock), secs, origin: Arc::new(origin) }
    }

    fn in_memory() -> World {
        World::new(|settings| Storage::memory(cache::Policy::Lru, settings).unwrap())
    }

    fn passes(&self, secs: u64) {
        self.secs.fetch_add(secs, Ordering::Relaxed);
    }

    fn answers(&self, status: u16, fields: &[(&'static str, &'static str)], body: &'static str) {
        self.tells(status, fields, Full::from(body).boxed_unsync());
    }

    fn tells(&self, status: u16, fields: &[(&'static str, &'static str)], body: Told) {
        let mut response = Response::new(body);
        *response.status_mut() = status.try_into().unwrap();
        *response.headers_mut() = map(fields);
        self.origin.answers.lock().push_back(response);
    }

    async fn get(&self, fields: &[(&'static str, &'static str)]) -> Got {
        let origin = Arc::clone(&self.origin);
        let fetch = || {
            move |asked: HeaderMap| {
                let origin = Arc::clone(&origin);
                async move {
                    origin.asked.lock().push(asked);
                    origin.gate.acquire().await.unwrap().forget();
                    origin.answers.lock().pop_front().ok_or("nothing is listed")
                }
            }
        };
        let target = Target { scheme: "http", authority: "a.test", path_and_query: "/x" };
        let ask = Ask { method: &Method::GET, target, headers: &map(fields) };
        assert!(self.cache.wants(&ask, false));
        let (head, body) = self.cache.through(ask, fetch).await.unwrap().into_parts();
        let cache_status = head.headers["cache-status"].to_str().unwrap();
        let (announced, is_empty) = (body.size_hint(), body.is_end_stream());
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned();
        let body = collected.to_bytes();
        assert!(announced.exact().is_none_or(|len| len == body.len() as u64), "{announced:?}, {body:?}");
        assert!(!is_empty || body.is_empty(), "{body:?}");
        *self.origin.trailers.lock() = trailers;
        Got {
            status: head.status.as_u16(),
            cache_status: cache_status.split_once("; ").unwrap().1.to_owned(),
            body,
        }
    }
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = fields.iter();
    pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn got(status: u16, cache_status: &str, body: &'static str) -> Got {
    Got { status, cache_status: cache_status.to_owned(), body: body.into() }
}

type Fields = &'static [(&'static str, &'static str)];

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test]
async fn what_is_fresh_is_asked_for_once() {
    let world = World::in_memory();
    world.answers(200, &[FRESH], "abc");
    assert_eq!(world.get(&[]).await, got(200, "fwd=uri-miss; fwd-status=200; stored; ttl=60", "abc"));
    world.passes(59);
    assert_eq!(world.get(&[]).await, got(200, "hit; ttl=1", "abc"));
    let counts = world.cache.counts().read();
    assert_eq!((counts.misses, counts.stored, counts.hits, counts.stale_hits), (1, 1, 1, 0));
    assert_eq!(world.origin.asked.lock().len(), 1);
}

#[tokio::test]
async fn what_is_stale_is_asked_about_by_its_validator() {
    let world = World::in_memory();
    world.answers(200, &[FRESH, ("etag", "\"1\"")], "abc");
    world.answers(304, &[FRESH, ("etag", "\"1\"")], "");
    world.get(&[]).await;
    world.passes(60);
    assert_eq!(world.get(&[]).await, got(200, "fwd=stale; fwd-status=304; stored; ttl=60", "abc"));
    assert_eq!(world.origin.asked.lock()[1]["if-none-match"], "\"1\"");
    world.passes(59);
    assert_eq!(world.get(&[]).await, got(200, "hit; ttl=1", "abc"));
    let counts = world.cache.counts().read();
    assert_eq!((counts.misses, counts.validated, counts.hits), (2, 1, 1));
}

#[tokio::test]
async fn what_is_stale_without_a_validator_is_fetched_as_if_new() {
    let world = World::in_memory();
    world.answers(200, &[FRESH], "abc");
    world.answers(200, &[FRESH], "def");
    world.get(&[]).await;
    world.passes(60);
    assert_eq!(world.get(&[]).await, got(200, "fwd=stale; fwd-status=200; stored; ttl=60", "def"));
    assert!(world.origin.asked.lock().iter().all(HeaderMap::is_empty));
}

/// Two ask before there is an answer.
async fn at_once(world: &World) -> (Got, Got) {
    world.origin.gate.forget_permits(1000);
    let opened = async {
        while world.origin.asked.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        // The second, if it went itself, is there after a turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.origin.gate.add_permits(2);
    };
    let (first, second, ()) = tokio::join!(world.get(&[]), world.get(&[]), opened);
    (first, second)
}

#[tokio::test]
async fn two_at_once_share_what_may_be_shared() {
    let world = World::in_memory();
    world.answers(200, &[FRESH], "abc");
    let (first, second) = at_once(&world).await;
    assert_eq!(first, got(200, "fwd=uri-miss; fwd-status=200; stored; ttl=60", "abc"));
    assert_eq!((second.status, second.body), (200, "abc".into()));
    assert!(second.cache_status.contains("collapsed"), "{}", second.cache_status);
    assert_eq!((world.origin.asked.lock().len(), world.cache.counts().read().collapsed), (1, 1));
}

#[tokio::test]
async fn what_must_be_validated_each_time_is_not_shared() {
    let world = World::in_memory();
    for body in ["abc", "def"] {
        world.answers(200, &[("cache-control", "no-cache"), ("etag", "\"1\"")], body);
    }
    let (first, second) = at_once(&world).await;
    assert_eq!((&first.body[..], &second.body[..]), (&b"abc"[..], &b"def"[..]));
    assert_eq!((world.origin.asked.lock().len(), world.cache.counts().read().collapsed), (2, 0));
}

#[tokio::test]
async fn a_shared_store_keeps_which_fields_selected_a_response() {
    let world = World::new(|_| {
        Storage::shared(Arc::new(cache::store::Memory::new(1 << 20, cache::Policy::Lru).unwrap()))
    });
    world.answers(200, &[FRESH, ("vary", "accept")], "text");
    world.answers(200, &[FRESH, ("vary", "accept")], "page");
    let (text, page) = ([("accept", "text/plain")], [("accept", "text/html")]);
    world.get(&text).await;
    assert_eq!(world.get(&text).await.cache_status, "hit; ttl=60");
    assert_eq!(world.get(&page).await, got(200, "fwd=vary-miss; fwd-status=200; stored; ttl=60", "page"));
    assert_eq!((world.get(&text).await.body, world.get(&page).await.body), ("text".into(), "page".into()));
}

/// Kept in memory, and kept as bytes.
fn everywhere() -> [World; 2] {
    let shared = |_: &Settings| {
        Storage::shared(Arc::new(cache::store::Memory::new(1 << 20, cache::Policy::Lru).unwrap()))
    };
    [World::in_memory(), World::new(shared)]
}

/// It still means that what is stored answers this client; what it says about storing counts for all others.
#[tokio::test]
async fn a_304_that_forbids_storing_answers_and_what_is_stored_is_forgotten_alone() {
    for world in everywhere() {
        let (text, page) = ([("accept", "text/plain")], [("accept", "text/html")]);
        world.answers(200, &[FRESH, ("etag", "\"1\""), ("vary", "accept")], "text");
        world.answers(200, &[("cache-control", "max-age=600"), ("vary", "accept")], "page");
        world.answers(304, &[("cache-control", "no-store"), ("etag", "\"1\""), ("vary", "accept")], "");
        world.answers(200, &[FRESH, ("vary", "accept")], "new");
        world.get(&text).await;
        world.get(&page).await;
        world.passes(60);
        let validated = world.get(&text).await;
        assert_eq!((validated.status, validated.body), (200, "text".into()));
        assert!(
            validated.cache_status.starts_with("fwd=stale; fwd-status=304"),
            "{}",
            validated.cache_status
        );
        assert!(!validated.cache_status.contains("stored"), "{}", validated.cache_status);
        assert_eq!(world.get(&page).await, got(200, "hit; ttl=540", "page"));
        assert_eq!(world.get(&text).await.body, "new");
        assert_eq!(world.origin.asked.lock().len(), 4);
    }
}

#[tokio::test]
async fn trailers_reach_the_client_who_fetches() {
    for world in everywhere() {
        let trailers = map(&[("x-sum", "7")]);
        let told = trailers.clone();
        let body = Full::from("abc").with_trailers(async move { Some(Ok(told)) }).boxed_unsync();
        world.tells(200, &[FRESH], body);
        assert_eq!(world.get(&[]).await.body, "abc");
        assert_eq!(world.origin.trailers.lock().as_ref(), Some(&trailers));
        assert_eq!(world.get(&[]).await, got(200, "hit; ttl=60", "abc"));
    }
}

/// Why an answer was not stored stands in `Cache-Status`, and the next one asks again.
#[tokio::test]
async fn each_reason_against_storing_is_told() {
    let world = World::in_memory();
    let cases: [(&str, u16, Fields, Fields); 6] = [
        ("no-store", 200, &[], &[("cache-control", "no-store")]),
        ("private", 200, &[], &[("cache-control", "private")]),
        ("vary", 200, &[], &[FRESH, ("vary", "*")]),
        ("no-lifetime", 202, &[], &[]),
        ("status", 299, &[], &[("cache-control", "max-age=60, must-understand")]),
        ("useless", 200, &[], &[("cache-control", "max-age=0")]),
    ];
    for (reason, status, request, response) in cases {
        for _ in 0..2 {
            world.answers(status, response, "abc");
            let told = world.get(request).await.cache_status;
            assert_eq!(told, format!("fwd=uri-miss; fwd-status={status}; detail={reason}"));
        }
    }
    assert_eq!(world.cache.counts().read().stored, 0);
}
