//! Between the life of a request and the cache: what the configuration asks for, and how a fetch is made of a send.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cache::store::{Circuit, Memory, Redis, StoreError, Tiered};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CACHE_CONTROL, EXPIRES, HOST, PRAGMA, SET_COOKIE},
    request::Parts,
    uri::PathAndQuery,
};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use crate::{
    admit::{
        admission::Admitted,
        rules::{Caching, Rule},
    },
    body::{Body, BodyError, Member},
    config::{CacheConfig, CacheProfile, CacheStore, Config, MemoryConfig, RedisConfig},
    connection::Turn,
    error::Error,
    headers::strip_hop_by_hop,
    http_cache::{Ask, Failed, HttpCache, Key, Moment, Payload, Profile, Purge, Settings, Storage, Target},
    observe::{self, CacheFacts, Note, RedisFacts, Trail},
    peek::peek,
    serve::Client,
    state::{StartError, State},
    upstream::{self, Interims, RequestHead, SendError},
};

/// A cache and what was asked for when it was opened.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) cache: Arc<HttpCache<Body>>,
    asked: (CacheConfig, MemoryConfig, RedisConfig),
    held: Held,
}

/// Tells what a storage holds at the moment.
#[derive(Clone)]
struct Held(Arc<dyn Fn() -> CacheFacts + Send + Sync>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Held").finish_non_exhaustive()
    }
}

impl Opened {
    /// What it has done and what it holds.
    pub(crate) fn facts(&self) -> CacheFacts {
        let done = self.cache.counts().read();
        CacheFacts {
            hits: done.hits.saturating_sub(done.stale_hits),
            stale: done.stale_hits,
            revalidated: done.validated,
            misses: done.misses.saturating_sub(done.validated),
            collapsed: done.collapsed,
            ..(self.held.0)()
        }
    }
}

impl Opened {
    /// Forgets what an operator means; a URL is as the cache keys it, `http://host/path?query`.
    ///
    /// # Errors
    /// When it does not read as one (outer), when the store cannot be reached (inner).
    pub(crate) async fn purge(&self, what: &observe::Purge) -> Result<Result<u64, StoreError>, String> {
        let purge = match what {
            observe::Purge::Url(url) => Purge::Key(self.key(url)?),
            observe::Purge::Prefix(prefix) => Purge::Prefix(prefix.clone()),
            observe::Purge::Tag(tag) => Purge::Tag(tag.clone()),
            observe::Purge::All => Purge::All,
        };
        Ok(self.cache.purge(purge).await)
    }

    fn key(&self, url: &str) -> Result<Key, String> {
        let uri: http::Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        Key::from_uri(&uri, self.cache.settings())
            .ok_or_else(|| format!("{url}: a URL begins with http:// or https:// and names its host"))
    }
}

fn of_memory(stats: cache::Stats) -> CacheFacts {
    CacheFacts { entries: stats.len, bytes: stats.weight, evictions: stats.evicted, ..CacheFacts::default() }
}

/// The cache that a configuration asks for: the one already open, with all it holds, if it asks for the same.
pub(crate) fn open(config: &Config, previous: Option<&Opened>) -> Result<Option<Opened>, StartError> {
    let Some(wanted) = &config.server.cache else { return Ok(None) };
    let asked = (wanted.clone(), config.memory.clone(), config.redis.clone());
    if let Some(open) = previous.filter(|open| open.asked == asked) {
        return Ok(Some(open.clone()));
    }
    let memory = &config.memory;
    let settings = Settings {
        profile: match wanted.profile {
            CacheProfile::Safe => Profile::Safe,
            CacheProfile::Rfc => Profile::Rfc,
        },
        default_ttl: wanted.default_freshness.unwrap_or_default(),
        stale_if_error: wanted.stale_if_error,
        refresh_ahead: wanted.refresh_ahead,
        max_object_bytes: memory.max_object_bytes,
        max_bytes: memory.max_bytes,
        capacity: usize::try_from(memory.capacity).unwrap_or(usize::MAX),
        drop_query: wanted.drop_query.clone(),
        sort_query: wanted.sort_query,
        ..Settings::default()
    };
    let (storage, held) = match wanted.store {
        CacheStore::Memory => {
            let storage = Storage::memory(memory.policy, &settings).map_err(StartError::Cache)?;
            let same = storage.clone();
            (storage, Held(Arc::new(move || same.stats().map(of_memory).unwrap_or_default())))
        }
        CacheStore::Redis => {
            let redis = Arc::new(Redis::new(far(config)?).map_err(StartError::Redis)?);
            let same = Arc::clone(&redis);
            let facts = move || CacheFacts { redis: redis_facts(&same.stats()), ..CacheFacts::default() };
            (Storage::shared(redis), Held(Arc::new(facts)))
        }
        CacheStore::Tiered => {
            let near = Memory::new(memory.max_bytes, memory.policy).map_err(StartError::Redis)?;
            let tiered = Arc::new(Tiered::new(near, far(config)?).map_err(StartError::Redis)?);
            let same = Arc::clone(&tiered);
            let facts = move || {
                let stats = same.stats();
                CacheFacts { redis: redis_facts(&stats.far), ..of_memory(stats.near) }
            };
            (Storage::shared(tiered), Held(Arc::new(facts)))
        }
    };
    let clock = Arc::new(|| Moment::from_system(SystemTime::now()));
    Ok(Some(Opened { cache: HttpCache::new(storage, settings, clock), asked, held }))
}

fn redis_facts(stats: &cache::store::RedisStats) -> RedisFacts {
    RedisFacts {
        errors: stats.errors,
        timeouts: stats.timeouts,
        disconnects: stats.disconnects,
        refused: stats.refused,
        is_given_up: stats.circuit != Circuit::Closed,
    }
}

/// `[redis]` in the words of the store.
fn far(config: &Config) -> Result<cache::store::RedisConfig, StartError> {
    let redis = &config.redis;
    // One value holds the variants of a target, with their heads.
    let value_bytes = config.memory.max_object_bytes.saturating_mul(2).saturating_add(1 << 20);
    let mut far = cache::store::RedisConfig::from_url(&redis.host)
        .map_err(StartError::Redis)?
        .namespace("evenly")
        .max_idle(redis.max_idle)
        .max_active(redis.max_active)
        .idle_timeout(redis.idle_timeout)
        .response_timeout(REDIS_PATIENCE)
        .max_value_bytes(usize::try_from(value_bytes).unwrap_or(usize::MAX).min(512_000_000));
    if !redis.password.expose().is_empty() {
        far = far.password(redis.password.expose());
    }
    Ok(far)
}

/// Answers a request by the cache, or by the group and tells the cache.
pub(crate) async fn answer(
    opened: &Opened,
    (state, client, turn): (&Arc<State>, &Client, Option<&Turn>),
    admitted: &Admitted,
    parts: &Parts,
    body: Body,
    note: &mut Note,
) -> Result<Response<Body>, Error> {
    let cache = &opened.cache;
    let root = PathAndQuery::from_static("/");
    let target = parts.uri.path_and_query().unwrap_or(&root);
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let way = Way { rule: admitted.rule.clone(), client: admitted.client };
    let scheme = way.key_scheme(client.scheme.as_str());
    let target_of = Target { scheme: &scheme, authority: host, path_and_query: target.as_str() };
    let ask = Ask { method: &parts.method, target: target_of, headers: &parts.headers };
    let interims = turn.map(|turn| turn as &dyn Interims);
    // Asked first: nearly no GET has a body.
    let body = if !body.is_empty() && cache.wants(&ask, false) { peek(body).await } else { body };
    if !cache.wants(&ask, !body.is_empty()) {
        let sent = cache.now();
        let head = RequestHead {
            method: &parts.method,
            target,
            headers: &parts.headers,
            upgrade: None,
            interims,
            takes_trailers: admitted.takes_trailers,
        };
        // Boxed, so that hits need not carry about what it needs.
        let response = Box::pin(way.send(state, head, body, &mut note.trail)).await?;
        let response = Box::pin(cache.past(ask, sent, response)).await;
        return Ok(way.undressed(response.map(payload)));
    }
    // The fetch may outlive this request, for others who wait for it; what it did by then is this request's trail.
    let mut shared = None;
    let fetch = || {
        let shared = Arc::clone(shared.insert(Arc::<Mutex<Trail>>::default()));
        let (state, way) = (Arc::clone(state), way.clone());
        let (method, target, turn) = (parts.method.clone(), target.clone(), turn.cloned());
        move |headers: HeaderMap| {
            let (state, way, shared) = (Arc::clone(&state), way.clone(), Arc::clone(&shared));
            let (method, target, turn) = (method.clone(), target.clone(), turn.clone());
            async move {
                let mut trail = Trail::default();
                let interims = turn.as_ref().map(|turn| turn as &dyn Interims);
                let head = RequestHead {
                    method: &method,
                    target: &target,
                    headers: &headers,
                    upgrade: None,
                    interims,
                    takes_trailers: false,
                };
                let answer = way.send(&state, head, Body::Empty, &mut trail).await;
                shared.lock().join(trail);
                answer
            }
        }
    };
    let answered = cache.through(ask, fetch).await;
    if let Some(shared) = shared {
        note.trail.join(std::mem::take(&mut *shared.lock()));
    }
    match answered {
        Ok(response) => Ok(way.undressed(response.map(payload))),
        Err(Failed::Origin(error)) => Err(error.into()),
        Err(Failed::Shared) => Err(Error::SharedFetch),
    }
}

/// Where a rule sends a request that goes through the cache.
#[derive(Clone)]
struct Way {
    rule: Option<Arc<Rule>>,
    client: IpAddr,
}

impl Way {
    async fn send(
        &self,
        state: &State,
        head: RequestHead<'_>,
        body: Body,
        trail: &mut Trail,
    ) -> Result<Response<Body>, SendError> {
        let group = state.chosen(self.rule.as_deref());
        let answer = upstream::send(group, head, body, group.query(self.client), trail).await?;
        let mut response = Response::new(Body::Member(Member::new(answer.body)));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        strip_hop_by_hop(response.headers_mut());
        self.dress(&mut response);
        Ok(response)
    }

    /// The scheme as keys have it. Of a group that a rule chose it bears the name, as in `images+http://host/path`: one
    /// target may be asked of several groups, and their answers are not each other's.
    fn key_scheme<'s>(&self, scheme: &'s str) -> Cow<'s, str> {
        let group = self.rule.as_ref().and_then(|rule| rule.then.group.as_ref());
        let Some(group) = group else { return scheme.into() };
        let mut text = String::with_capacity(group.len() + scheme.len() + 1);
        for byte in group.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => text.push(char::from(byte)),
                // Keys know no capitals and no marks of URLs here; nor may two names become one.
                other => text.push_str(&format!("_{other:02x}")),
            }
        }
        text.push('+');
        text.push_str(scheme);
        text.into()
    }

    /// Says for an answer that says nothing itself how long it is fresh, in a field that is for caches (RFC 9213).
    fn dress(&self, response: &mut Response<Body>) {
        let Some(field) = self.freshness() else { return };
        let says_nothing = [CACHE_CONTROL, EXPIRES, PRAGMA, SET_COOKIE, CDN_CACHE_CONTROL]
            .iter()
            .all(|name| !response.headers().contains_key(name));
        // Those that caches may keep unasked (RFC 9110 §15.1), but for 501.
        let is_lasting =
            matches!(response.status().as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414);
        if says_nothing && is_lasting {
            response.headers_mut().insert(CDN_CACHE_CONTROL, field);
        }
    }

    /// Takes it off again: it was for our own cache.
    fn undressed(&self, mut response: Response<Body>) -> Response<Body> {
        if let Some(field) = self.freshness()
            && response.headers().get(CDN_CACHE_CONTROL) == Some(&field)
        {
            response.headers_mut().remove(CDN_CACHE_CONTROL);
        }
        response
    }

    fn freshness(&self) -> Option<HeaderValue> {
        match self.rule.as_ref()?.then.caching {
            Caching::Fresh(time) => {
                HeaderValue::from_str(&format!("max-age={};by-rule", time.as_secs())).ok()
            }
            Caching::AsUsual | Caching::Off => None,
        }
    }
}

fn payload(payload: Payload<Body>) -> Body {
    match payload {
        Payload::Origin(body) => body,
        Payload::Arriving(reader) => Body::boxed(reader.map_err(BodyError::Io)),
        Payload::Pieces(pieces) if pieces.length() == 0 => Body::Empty,
        Payload::Pieces(pieces) => match pieces.into_single() {
            Ok(bytes) => Body::Full(bytes),
            Err(pieces) => Body::boxed(pieces.map_err(BodyError::Io)),
        },
    }
}

/// How long a miss may be held up by Redis: an origin is asked then, which is rarely faster.
const REDIS_PATIENCE: Duration = Duration::from_millis(500);
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
