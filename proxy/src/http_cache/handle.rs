//! [`HttpCache`]: the face of this room. A request comes in with a way to ask the origin; an answer goes out.
//!
//! ```text
//!     look ─┬─ may be used ──────────────────────────────────────────► answer     (and refresh behind it)
//!           └─ board ─┬─ lead, alone ─► trip: ask the origin, settle ─► answer
//!                     └─ follow ─► wait ─┬─ shared ─► read along ─────► answer
//!                                        └─ else   ─► look again, or go alone at one's turn
//! ```
//!
//! Cost of a hit: one key, one lookup, one pass over the request's directives; the head is cloned, the body shared.

use super::answer::{answer, can_answer, is_good_copy, not_modified, only_if_cached};
use super::cache_status::{CacheStatus, Forward};
use super::control::RequestControl;
use super::counts::Counts;
use super::entry::Entry;
use super::fill::{Fill, Limits, Reader};
use super::flight::{Flights, Landing, Seat};
use super::invalidate::{Target, invalidated};
use super::key::Key;
use super::moment::Moment;
use super::payload::Payload;
use super::purge::Purge;
use super::ranges::range;
use super::reuse::{Reuse, is_due_for_refresh, reuse, reuse_on_error};
use super::settings::Settings;
use super::shelf::{Shelf, Storage, Variants};
use super::stored::Stored;
use super::trip::Trip;
use super::validate::{is_conditional, needs_origin};
use super::vary::Selecting;
use bytes::Bytes;
use http::header::{AGE, AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Method, Response};
use http_body::Body;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A shared HTTP cache in front of origins whose bodies are `B`.
pub struct HttpCache<B> {
    pub(super) shelf: Arc<Shelf>,
    pub(super) flights: Arc<Flights<B>>,
    pub(super) settings: Settings,
    pub(super) limits: Limits,
    pub(super) counts: Counts,
    clock: Clock,
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// A request as the cache looks at it: what will be sent to the origin.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub target: Target<'a>,
    /// The fields, without those of the connection.
    pub headers: &'a HeaderMap,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed<E> {
    /// The origin failed.
    Origin(E),
    /// The origin failed for another request whose answer this one would have shared.
    Shared,
}

impl<B> HttpCache<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: fmt::Display,
{
    /// A cache over a storage, with a clock.
    pub fn new(storage: Storage, settings: Settings, clock: Clock) -> Arc<Self> {
        let limits = Limits {
            object_bytes: settings.max_object_bytes,
            all_bytes: settings.max_bytes,
            kept: Arc::new(AtomicU64::new(0)),
        };
        let shelf = Arc::new(Shelf::new(storage, settings.clone()));
        Arc::new(Self { shelf, flights: Flights::new(), settings, limits, counts: Counts::default(), clock })
    }

    /// The settings it runs by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it has done so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether a request may be answered from the store: else it goes to the origin and [`HttpCache::past`].
    pub fn wants(&self, ask: &Ask<'_>, has_body: bool) -> bool {
        let is_ours = matches!(*ask.method, Method::GET | Method::HEAD);
        let is_private = self.settings.profile.is_safe() && ask.headers.contains_key(AUTHORIZATION);
        is_ours && !has_body && !is_private && !needs_origin(ask.headers)
    }

    /// Answers a request that [`HttpCache::wants`]. Only when the origin must be asked, `fetch` is called: what it gives
    /// asks the origin, with the fields it is given.
    ///
    /// # Errors
    ///
    /// The origin failed and nothing stored may be used instead.
    pub async fn through<M, F, Fut, E>(
        self: &Arc<Self>,
        ask: Ask<'_>,
        fetch: M,
    ) -> Result<Response<Payload<B>>, Failed<E>>
    where
        M: FnOnce() -> F,
        F: Fn(HeaderMap) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response<B>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let key = ask.target.key_text(&self.settings);
        let control = RequestControl::parse(ask.headers);
        let mut look = self.look(&key, &ask, &control).await;
        match look.hit.take() {
            Some(hit) => Ok(self.answered(&key, &ask, look, hit, fetch)),
            // Boxed: a hit, which is moved about as part of larger futures, has no room for what a fetch needs.
            None => Box::pin(self.miss(ask, Key::from_text(&key), control, look, fetch())).await,
        }
    }

    /// Waits for another request's fetch, or asks the origin.
    async fn miss<F, Fut, E>(
        self: &Arc<Self>,
        ask: Ask<'_>,
        key: Key,
        control: RequestControl,
        mut look: Look<B>,
        fetch: F,
    ) -> Result<Response<Payload<B>>, Failed<E>>
    where
        F: Fn(HeaderMap) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response<B>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let mut may_board = *ask.method == Method::GET && range(ask.headers).is_none();
        let mut seen: Vec<Selecting> = Vec::new();
        let mut has_failed = false;
        let mut _turn = None; // held until the origin has answered
        for _ in 0..ROUNDS_MAX {
            if control.only_if_cached {
                return Ok(self.told(only_if_cached(), &status_of(look.forward(&ask))));
            }
            let is_askable = look.found.as_ref().is_some_and(|stored| !stored.entry.validators.is_empty());
            if !may_board || (is_conditional(ask.headers) && !is_askable) {
                break;
            }
            let known = look.variants.iter().map(|variant| &variant.entry.selecting).chain(&seen);
            let known = known.collect::<Vec<_>>();
            let mut follow = match self.flights.board(&key, ask.headers, &known, look.now.secs()) {
                Seat::Alone => break,
                Seat::Lead(lead) => {
                    return self.travel(look.trip(&key, &ask, control), Some(lead), fetch).await;
                }
                Seat::Follow(follow) => follow,
            };
            match follow.landing().await {
                Some(Landing::Shared(entry, fill)) if entry.selecting.fits(ask.headers) => {
                    match self.read_along(&entry, &fill, &ask, &control) {
                        Some(response) => return Ok(response),
                        None => may_board = reuse(&entry, &control, self.now()) == Reuse::Fresh,
                    }
                }
                Some(Landing::Shared(entry, _)) => seen.push(entry.selecting.clone()),
                Some(Landing::Failed) => {
                    match self.failed(look.found.as_deref(), ask.method, ask.headers, &control, None) {
                        Some(response) => return Ok(response),
                        None if has_failed => return Err(Failed::Shared),
                        None => has_failed = true,
                    }
                }
                Some(Landing::Unshared { .. }) => {
                    may_board = false;
                    _turn = Some(follow.turn().await);
                }
                Some(Landing::Stored) => may_board = false,
                None => {} // the leader left: look again, perhaps lead
            }
            look = self.look(key.as_str(), &ask, &control).await;
            if let Some(hit) = look.hit.take() {
                return Ok(self.answered(key.as_str(), &ask, look, hit, || fetch));
            }
        }
        self.travel(look.trip(&key, &ask, control), None, fetch).await
    }

    /// The answer of a hit; what asks for it is fetched again behind it.
    fn answered<M, F, Fut, E>(
        self: &Arc<Self>,
        key: &str,
        ask: &Ask<'_>,
        look: Look<B>,
        (response, wants_refresh): (Response<Payload<B>>, bool),
        fetch: M,
    ) -> Response<Payload<B>>
    where
        M: FnOnce() -> F,
        F: Fn(HeaderMap) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response<B>, E>> + Send + 'static,
        E: Send + 'static,
    {
        if let Some(stored) = look.found.filter(|_| wants_refresh && *ask.method == Method::GET) {
            self.refresh(Trip::behind(&Key::from_text(key), ask, stored), fetch());
        }
        response
    }

    /// What there is for a request now.
    async fn look(&self, key: &str, ask: &Ask<'_>, control: &RequestControl) -> Look<B> {
        let now = self.now();
        let variants = self.shelf.find(key).await;
        let found = self.select(&variants, ask);
        let hit = found.as_ref().and_then(|stored| self.hit(stored, ask, control, now));
        Look { now, variants, found, hit }
    }

    /// Takes note of an exchange that the cache did not want: what it changed becomes invalid.
    pub async fn past(
        self: &Arc<Self>,
        ask: Ask<'_>,
        sent: Moment,
        response: Response<B>,
    ) -> Response<Payload<B>> {
        let keys =
            invalidated(ask.method, response.status(), response.headers(), &ask.target, &self.settings);
        for key in &keys {
            self.shelf.invalidate(key, self.now()).await;
        }
        let is_ours = matches!(*ask.method, Method::GET | Method::HEAD);
        let forward = if is_ours { Forward::Bypass } else { Forward::Method };
        if *ask.method == Method::POST {
            return self.keep_post(&ask, sent, response);
        }
        self.told(response.map(Payload::Origin), &status_of(forward))
    }

    /// Forgets what a purge means, and whatever is being fetched of it; how many keys.
    ///
    /// # Errors
    ///
    /// The store's: some of it may still be there.
    pub async fn purge(&self, purge: Purge) -> Result<u64, cache::store::StoreError> {
        self.shelf.purge(purge, self.now()).await
    }

    /// The time.
    pub fn now(&self) -> Moment {
        (self.clock)()
    }

    /// The stored response that fits best: the newest that can answer, or the newest.
    fn select(&self, variants: &Variants, ask: &Ask<'_>) -> Option<Arc<Stored>> {
        let fits = |variant: &&Arc<Stored>| variant.entry.selecting.fits(ask.headers);
        let able = |variant: &&Arc<Stored>| can_answer(variant, ask.method, ask.headers);
        let exact = variants.iter().filter(fits);
        let best = exact.clone().find(able).or_else(|| exact.clone().next());
        let by_language = || {
            variants.iter().find(|variant| {
                let entry = &variant.entry;
                !self.settings.profile.is_safe()
                    && entry.selecting.fits_by_language(&entry.headers, ask.headers)
            })
        };
        best.or_else(by_language).cloned()
    }

    /// The answer from a stored response, if it may be used as it is, and whether it should be refreshed behind it.
    fn hit(
        &self,
        stored: &Stored,
        ask: &Ask<'_>,
        control: &RequestControl,
        now: Moment,
    ) -> Option<(Response<Payload<B>>, bool)> {
        if !can_answer(stored, ask.method, ask.headers) {
            return None;
        }
        let (wants_refresh, detail) = match reuse(&stored.entry, control, now) {
            Reuse::Fresh => (self.settings.refresh_ahead && is_due_for_refresh(&stored.entry, now), None),
            Reuse::Stale => (false, Some("max-stale")),
            Reuse::StaleWhileRevalidate => (true, Some("stale-while-revalidate")),
            Reuse::Validate => return None,
        };
        self.counts.hit(detail.is_some());
        let response = answer(stored, ask.method, ask.headers, now);
        let status = CacheStatus { ttl: Some(ttl(&stored.entry, now)), detail, ..CacheStatus::default() };
        Some((self.told(response, &status), wants_refresh))
    }

    /// The answer that reads along with the fetch of another request.
    fn read_along(
        &self,
        entry: &Arc<Entry>,
        fill: &Arc<Fill<B>>,
        ask: &Ask<'_>,
        control: &RequestControl,
    ) -> Option<Response<Payload<B>>> {
        let now = self.now();
        if reuse(entry, control, now) != Reuse::Fresh {
            return None;
        }
        let status = CacheStatus { collapsed: true, ..status_of(Forward::UriMiss) };
        self.counts.collapsed();
        if is_good_copy(entry, ask.headers) {
            return Some(self.told(not_modified(entry, now), &status));
        }
        let reader: Reader<B> = fill.join()?;
        let mut response = Response::new(Payload::Arriving(reader));
        *response.status_mut() = entry.status;
        *response.headers_mut() = entry.headers.clone();
        response.headers_mut().insert(AGE, HeaderValue::from(entry.age_secs(now)));
        Some(self.told(response, &status))
    }

    /// The stored response in place of a failed origin's answer, if that is allowed.
    pub(super) fn failed(
        &self,
        stored: Option<&Stored>,
        method: &Method,
        request: &HeaderMap,
        control: &RequestControl,
        forward_status: Option<u16>,
    ) -> Option<Response<Payload<B>>> {
        let now = self.now();
        let stored = stored.filter(|stored| {
            can_answer(stored, method, request) && reuse_on_error(&stored.entry, control, now, &self.settings)
        })?;
        self.counts.hit(true);
        let response = answer(stored, method, request, now);
        let status = CacheStatus {
            forward_status,
            ttl: Some(ttl(&stored.entry, now)),
            detail: Some("stale-if-error"),
            ..CacheStatus::default()
        };
        Some(self.told(response, &status))
    }

    /// Appends `Cache-Status` to an answer.
    pub(super) fn told(
        &self,
        mut response: Response<Payload<B>>,
        status: &CacheStatus,
    ) -> Response<Payload<B>> {
        status.append(&self.settings.name, response.headers_mut());
        response
    }
}

/// What was there at a moment.
struct Look<B> {
    now: Moment,
    variants: Variants,
    /// What fits best.
    found: Option<Arc<Stored>>,
    /// The answer, if that may be used as it is, and whether it should be refreshed behind it.
    hit: Option<(Response<Payload<B>>, bool)>,
}

impl<B> Look<B> {
    fn trip(&self, key: &Key, ask: &Ask<'_>, control: RequestControl) -> Trip {
        Trip::new(key, ask, control, self.found.clone(), self.forward(ask))
    }

    /// Why the request must go to the origin.
    fn forward(&self, ask: &Ask<'_>) -> Forward {
        match &self.found {
            None if self.variants.is_empty() => Forward::UriMiss,
            None => Forward::VaryMiss,
            Some(stored) if !can_answer(stored, ask.method, ask.headers) => Forward::Partial,
            Some(stored)
                if stored.entry.freshness.is_fresh(self.now) && !stored.entry.control.no_cache.is_all() =>
            {
                Forward::Request
            }
            Some(_) => Forward::Stale,
        }
    }
}

impl<B> fmt::Debug for HttpCache<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.read();
        formatter
            .debug_struct("HttpCache")
            .field("settings", &self.settings)
            .field("counts", &counts)
            .finish_non_exhaustive()
    }
}

/// A status that only says why the origin was asked.
pub(super) fn status_of(forward: Forward) -> CacheStatus {
    CacheStatus { forward: Some(forward), ..CacheStatus::default() }
}

/// Seconds of freshness left; negative when stale.
pub(super) fn ttl(entry: &Entry, now: Moment) -> i64 {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match entry.freshness.is_fresh(now) {
        true => seconds(entry.freshness.left(now)),
        false => -seconds(entry.freshness.staleness(now)),
    }
}

/// How often a request looks and waits before it goes alone.
const ROUNDS_MAX: usize = 8;
