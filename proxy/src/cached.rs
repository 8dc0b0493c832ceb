//! Between the life of a request and the cache: what the configuration asks for, and how a fetch is made of a send.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cache::store::{Address, Memory, Redis, Tiered};
use http::{HeaderMap, Method, Response, header::HOST, request::Parts, uri::PathAndQuery};
use http_body_util::BodyExt;

use crate::{
    admit::admission::Admitted,
    body::{Body, BodyError, Member},
    config::{CacheConfig, CacheProfile, CacheStore, Config, MemoryConfig, RedisConfig},
    error::Error,
    headers::strip_hop_by_hop,
    http_cache::{Ask, Failed, HttpCache, Moment, Payload, Profile, Settings, Storage, Target},
    interim::Interims,
    serve::Client,
    state::{StartError, State},
    upstream::{self, RequestHead, SendError},
};

/// A cache and what was asked for when it was opened.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) cache: Arc<HttpCache<Body>>,
    asked: (CacheConfig, MemoryConfig, RedisConfig),
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
    let storage = match wanted.store {
        CacheStore::Memory => Storage::memory(memory.policy, &settings).map_err(StartError::Cache)?,
        CacheStore::Redis => Storage::shared(Arc::new(Redis::new(far(config)?).map_err(StartError::Redis)?)),
        CacheStore::Tiered => {
            let near = Memory::new(memory.max_bytes, memory.policy).map_err(StartError::Redis)?;
            Storage::shared(Arc::new(Tiered::new(near, far(config)?).map_err(StartError::Redis)?))
        }
    };
    let clock = Arc::new(|| Moment::from_system(SystemTime::now()));
    Ok(Some(Opened { cache: HttpCache::new(storage, settings, clock), asked }))
}

/// `[redis]` in the words of the store.
fn far(config: &Config) -> Result<cache::store::RedisConfig, StartError> {
    let redis = &config.redis;
    let address = redis.host.parse::<Address>().map_err(StartError::RedisAddress)?;
    // One value holds the variants of a target, with their heads.
    let value_bytes = config.memory.max_object_bytes.saturating_mul(2).saturating_add(1 << 20);
    let mut far = cache::store::RedisConfig::single(address)
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
    state: &Arc<State>,
    client: &Client,
    admitted: &Admitted,
    parts: &Parts,
    target: &PathAndQuery,
    body: Body,
) -> Result<Response<Body>, Error> {
    let cache = &opened.cache;
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let target_of =
        Target { scheme: client.scheme.as_str(), authority: host, path_and_query: target.as_str() };
    let ask = Ask { method: &parts.method, target: target_of, headers: &parts.headers };
    let interims = parts.extensions.get::<Interims>();
    if !cache.wants(&ask, !body.is_empty()) {
        let sent = cache.now();
        let response =
            send(state, admitted.client, &parts.method, target, &parts.headers, interims, body).await?;
        return Ok(cache.past(ask, sent, response).await.map(payload));
    }
    let fetch = {
        let (state, address) = (Arc::clone(state), admitted.client);
        let (method, target, interims) = (parts.method.clone(), target.clone(), interims.cloned());
        move |headers: HeaderMap| {
            let (state, method, target, interims) =
                (Arc::clone(&state), method.clone(), target.clone(), interims.clone());
            async move { send(&state, address, &method, &target, &headers, interims.as_ref(), Body::Empty).await }
        }
    };
    match cache.through(ask, fetch).await {
        Ok(response) => Ok(response.map(payload)),
        Err(Failed::Origin(error)) => Err(error.into()),
        Err(Failed::Shared) => Err(Error::SharedFetch),
    }
}

async fn send(
    state: &State,
    client: IpAddr,
    method: &Method,
    target: &PathAndQuery,
    headers: &HeaderMap,
    interims: Option<&Interims>,
    body: Body,
) -> Result<Response<Body>, SendError> {
    let head = RequestHead { method, target, headers, upgrade: None, interims };
    let answer = upstream::send(&state.group, head, body, state.query(client)).await?;
    let mut response = Response::new(Body::Member(Member(answer.body)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    strip_hop_by_hop(response.headers_mut());
    Ok(response)
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
