//! A trip to the origin: what is asked, and what becomes of the answer.
//!
//! ```text
//!     ask       whole, stale, with validators   ─► If-None-Match, If-Modified-Since
//!               the beginning of it             ─► Range: bytes=n-   If-Range
//!               else                            ─► as the client asked
//!
//!     settle    304 to our question             ─► freshen, answer from the store
//!               304 for another representation,
//!               206 that does not fit           ─► ask once more, for all of it
//!               no answer, 500, 502, 503, 504   ─► the stored response, if it may be used
//!               storable                        ─► to the client and the store at once
//!               else                            ─► to the client; what was stored is gone
//! ```

use super::answer::answer;
use super::cache_status::{CacheStatus, Forward};
use super::control::RequestControl;
use super::entry::{Entry, Extent};
use super::exchange::Exchange;
use super::fence::Fence;
use super::fill::{Ending, Fill};
use super::flight::{Landing, Lead};
use super::handle::{Ask, Failed, HttpCache, status_of, ttl};
use super::key::Key;
use super::moment::Moment;
use super::payload::Payload;
use super::settings::Profile;
use super::storable::Refusal;
use super::stored::{Chunks, Stored};
use super::validate::{remove_conditions, same_weak};
use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE,
    SET_COOKIE,
};
use http::{Method, Response, StatusCode};
use http_body::Body;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A request on its way to the origin.
pub(super) struct Trip {
    key: Key,
    method: Method,
    /// What the client asked.
    headers: HeaderMap,
    control: RequestControl,
    stored: Option<Arc<Stored>>,
    forward: Forward,
}

/// What is asked of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// What the client asked.
    AsIs,
    /// Does the stored response still hold?
    StillGood,
    /// The rest of the stored part.
    Rest,
    /// All of it, without conditions.
    All,
}

impl Trip {
    pub(super) fn new(
        key: &Key,
        ask: &Ask<'_>,
        control: RequestControl,
        stored: Option<Arc<Stored>>,
        forward: Forward,
    ) -> Self {
        Self {
            key: key.clone(),
            method: ask.method.clone(),
            headers: ask.headers.clone(),
            control,
            stored,
            forward,
        }
    }

    /// A trip in the background, for the store alone.
    pub(super) fn behind(key: &Key, ask: &Ask<'_>, stored: Arc<Stored>) -> Self {
        let mut trip = Self::new(key, ask, RequestControl::default(), Some(stored), Forward::Stale);
        remove_conditions(&mut trip.headers);
        trip.headers.remove(RANGE);
        trip
    }

    fn ask(&self) -> (&Method, &HeaderMap) {
        (&self.method, &self.headers)
    }

    fn question(&self, profile: Profile) -> Question {
        let Some(stored) = self.stored.as_ref().filter(|_| self.method == Method::GET) else {
            return Question::AsIs;
        };
        let validators = &stored.entry.validators;
        match stored.entry.extent {
            Extent::Whole if !validators.is_empty() => Question::StillGood,
            Extent::Part(have) if !self.headers.contains_key(RANGE) => {
                let may_join = validators.strong_etag().is_some() || !profile.is_safe();
                let is_start = have.run.first == 0 && have.complete.is_some();
                if is_start && may_join && stored.is_exact() { Question::Rest } else { Question::AsIs }
            }
            _ => Question::AsIs,
        }
    }

    /// The fields to send.
    fn fields(&self, question: Question) -> HeaderMap {
        let mut headers = self.headers.clone();
        match (question, &self.stored) {
            (Question::StillGood, Some(stored)) => {
                stored.entry.validators.ask(&mut headers);
                headers.remove(RANGE);
            }
            (Question::Rest, Some(stored)) => {
                remove_conditions(&mut headers);
                if let Extent::Part(have) = stored.entry.extent {
                    let range = HeaderValue::from_str(&format!("bytes={}-", have.run.last.saturating_add(1)));
                    headers.extend(range.ok().map(|range| (RANGE, range)));
                }
                headers.extend(stored.entry.validators.strong_etag().map(|etag| (IF_RANGE, etag.clone())));
            }
            (Question::All, _) => {
                remove_conditions(&mut headers);
                headers.remove(RANGE);
            }
            _ => {}
        }
        headers
    }

    fn exchange<'a>(&'a self, head: &'a Arrived) -> Exchange<'a> {
        Exchange {
            method: &self.method,
            request: &self.headers,
            status: head.status,
            response: &head.headers,
            sent: head.sent,
            received: head.received,
        }
    }
}

/// A response head from the origin.
struct Arrived {
    status: StatusCode,
    headers: HeaderMap,
    sent: Moment,
    received: Moment,
    fence: Fence,
}

impl<B> HttpCache<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: fmt::Display,
{
    /// Asks the origin and settles what it answers.
    pub(super) async fn travel<F, Fut, E>(
        self: &Arc<Self>,
        trip: Trip,
        lead: Option<Lead<B>>,
        fetch: F,
    ) -> Result<Response<Payload<B>>, Failed<E>>
    where
        F: Fn(HeaderMap) -> Fut,
        Fut: Future<Output = Result<Response<B>, E>>,
    {
        self.counts.missed();
        let mut question = trip.question(self.settings.profile);
        loop {
            let (sent, fence) = (self.now(), self.shelf.fence());
            let response = match fetch(trip.fields(question)).await {
                Ok(response) => response,
                Err(error) => {
                    self.land(lead, Landing::Failed);
                    return self.instead(&trip, None).ok_or(Failed::Origin(error));
                }
            };
            let (parts, body) = response.into_parts();
            let (status, headers) = (parts.status, parts.headers);
            let head = Arrived { status, headers, sent, received: self.now(), fence };
            match (question, status.as_u16(), &trip.stored) {
                (Question::StillGood, 304, Some(stored)) if is_other(stored, &head.headers) => {
                    question = Question::All; // RFC 9111 §4.3.4: it says nothing about what is stored here
                }
                (Question::StillGood, 304, Some(stored)) => {
                    return Ok(self.validated(&trip, stored, &head, lead).await);
                }
                (Question::Rest, 206, Some(stored))
                    if stored.entry.is_continued_by(&head.headers).is_some() =>
                {
                    return Ok(self.completed(&trip, stored, head, body, lead));
                }
                (Question::Rest, 206 | 416, _) => question = Question::All,
                (_, 500 | 502 | 503 | 504, Some(_)) => {
                    let Some(response) = self.instead(&trip, Some(status)) else {
                        return Ok(self.received(&trip, head, body, lead).await);
                    };
                    self.land(lead, Landing::Failed);
                    return Ok(response);
                }
                _ => return Ok(self.received(&trip, head, body, lead).await),
            }
        }
    }

    /// Asks the origin behind an answer already given, once at a time for a key.
    pub(super) fn refresh<F, Fut, E>(self: &Arc<Self>, trip: Trip, fetch: F)
    where
        F: Fn(HeaderMap) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response<B>, E>> + Send + 'static,
        E: Send + 'static,
    {
        let Some(lead) = self.flights.board_alone(&trip.key, &trip.headers) else { return };
        self.counts.refreshed();
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            // Nobody waits for this answer: when it fails, the next request asks.
            if let Ok(response) = cache.travel(trip, Some(lead), fetch).await {
                drain(response.into_body()).await;
            }
        });
    }

    /// A 304 to our own question.
    async fn validated(
        &self,
        trip: &Trip,
        stored: &Arc<Stored>,
        head: &Arrived,
        lead: Option<Lead<B>>,
    ) -> Response<Payload<B>> {
        self.counts.validated();
        let exchange = trip.exchange(head);
        let freshened = stored.entry.freshen(&exchange, &self.settings);
        let (fresh, is_kept) = match freshened {
            Ok(entry) => {
                let fresh = Stored { entry, body: stored.body.clone() };
                let is_kept =
                    self.shelf.put(&trip.key, fresh.clone(), head.fence, head.received).await.is_ok();
                // What must be validated at each use is of no use to those who wait.
                let landing = if is_for_all(&fresh.entry, head.received) {
                    Landing::Stored
                } else {
                    Landing::Unshared { is_remembered: true }
                };
                self.land(lead, landing);
                (fresh, is_kept)
            }
            Err(refusal) => {
                if !is_about_request(refusal) {
                    self.shelf.remove(&trip.key, stored, head.received).await;
                }
                self.land(lead, unshared(refusal));
                let mut entry = stored.entry.clone();
                entry.headers = entry.merged_headers(&head.headers, &self.settings);
                entry.freshness.received = head.received;
                entry.freshness.initial_age = Duration::ZERO;
                (Stored { entry, body: stored.body.clone() }, false)
            }
        };
        let (method, headers) = trip.ask();
        let mut response = answer(&fresh, method, headers, head.received);
        if self.settings.profile.is_safe() {
            // A cookie that came with the 304 is for this client alone.
            let cookies = head.headers.get_all(SET_COOKIE).iter().map(|cookie| (SET_COOKIE, cookie.clone()));
            for (name, cookie) in cookies {
                response.headers_mut().append(name, cookie);
            }
        }
        let status = CacheStatus {
            forward_status: Some(304),
            stored: is_kept,
            ttl: Some(ttl(&fresh.entry, head.received)),
            ..status_of(trip.forward)
        };
        self.told(response, &status)
    }

    /// The rest of a stored part: both together are the answer.
    fn completed(
        self: &Arc<Self>,
        trip: &Trip,
        stored: &Arc<Stored>,
        mut head: Arrived,
        body: B,
        lead: Option<Lead<B>>,
    ) -> Response<Payload<B>> {
        let rest = stored.entry.is_continued_by(&head.headers).map_or(0, super::ranges::Run::length);
        head.status = StatusCode::OK;
        head.headers.remove(CONTENT_RANGE);
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.body.length().saturating_add(rest)));
        let at_hand = stored.body.pieces().to_vec();
        match Entry::new(&trip.exchange(&head), &self.settings) {
            Ok(entry) => self.store(trip, head, entry, at_hand, body, lead),
            Err(refusal) => {
                self.land(lead, unshared(refusal));
                let announced = Some(stored.body.length().saturating_add(rest));
                let forget = Box::new(|_: Ending| ());
                let (_, reader) = Fill::start(body, at_hand, announced, self.limits.clone(), forget);
                let status = CacheStatus { detail: Some(refusal.token()), ..status_of(trip.forward) };
                self.told(response(head, Payload::Arriving(reader)), &status)
            }
        }
    }

    /// Any other answer: to the client, and to the store when it may.
    async fn received(
        self: &Arc<Self>,
        trip: &Trip,
        head: Arrived,
        body: B,
        lead: Option<Lead<B>>,
    ) -> Response<Payload<B>> {
        let forward_status = Some(head.status.as_u16());
        let refused = |detail| CacheStatus { forward_status, detail, ..status_of(trip.forward) };
        if trip.method == Method::HEAD {
            self.update_by_head(trip, &head).await;
            return self.told(response(head, Payload::Origin(body)), &refused(None));
        }
        let entry = Entry::new(&trip.exchange(&head), &self.settings).and_then(|entry| {
            let announced = announced_length(&head.headers);
            let is_long = announced.is_some_and(|length| length > self.settings.max_object_bytes);
            if is_long { Err(Refusal::TooLong) } else { Ok(entry) }
        });
        match entry {
            Ok(entry) => self.store(trip, head, entry, Vec::new(), body, lead),
            Err(refusal) => {
                self.land(lead, unshared(refusal));
                if let Some(stored) = &trip.stored
                    && !is_about_request(refusal)
                    && !matches!(head.status.as_u16(), 304 | 412 | 416 | 500..)
                {
                    self.shelf.remove(&trip.key, stored, head.received).await;
                }
                self.told(response(head, Payload::Origin(body)), &refused(Some(refusal.token())))
            }
        }
    }

    /// To the client and the store at once; others may come along when they may use it.
    fn store(
        self: &Arc<Self>,
        trip: &Trip,
        head: Arrived,
        entry: Entry,
        at_hand: Vec<Bytes>,
        body: B,
        lead: Option<Lead<B>>,
    ) -> Response<Payload<B>> {
        let lead = match lead {
            Some(lead) if !is_for_all(&entry, head.received) => {
                self.land(Some(lead), Landing::Unshared { is_remembered: true });
                None
            }
            lead => lead.map(Arc::new),
        };
        let entry = Arc::new(entry);
        let finish = {
            let (cache, key, entry, lead) =
                (Arc::clone(self), trip.key.clone(), Arc::clone(&entry), lead.clone());
            let fence = head.fence;
            Box::new(move |ending| cache.finish(key, &entry, fence, ending, lead))
        };
        let announced = if body.is_end_stream() { Some(0) } else { announced_length(&head.headers) };
        let (fill, reader) = Fill::start(body, at_hand, announced, self.limits.clone(), finish);
        if let Some(lead) = lead {
            lead.share(Arc::clone(&entry), fill);
        }
        let status = CacheStatus {
            forward_status: Some(head.status.as_u16()),
            stored: true,
            ttl: Some(ttl(&entry, head.received)),
            ..status_of(trip.forward)
        };
        self.told(response(head, Payload::Arriving(reader)), &status)
    }

    /// The end of a fill: into the store with what is complete.
    fn finish(
        self: Arc<Self>,
        key: Key,
        entry: &Arc<Entry>,
        fence: Fence,
        ending: Ending,
        lead: Option<Arc<Lead<B>>>,
    ) {
        let Ending::Complete(pieces) = ending else { return };
        let stored = Stored::new(Entry::clone(entry), Chunks::from_pieces(pieces), self.settings.profile);
        let Ok(stored) = stored else { return };
        let mut put: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let now = self.now();
            if self.shelf.put(&key, stored, fence, now).await.is_ok() {
                self.counts.stored();
            }
            // Only now: whoever comes finds the flight or the stored response.
            drop(lead);
        });
        // A store in memory has it at once, so that the client's next request finds it. Others take their time.
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        if put.as_mut().poll(&mut cx).is_pending() {
            tokio::spawn(put);
        }
    }

    /// HEAD updates what is stored, or makes it go (RFC 9111 §4.3.5).
    async fn update_by_head(&self, trip: &Trip, head: &Arrived) {
        let Some(stored) = trip.stored.as_ref().filter(|_| head.status == StatusCode::OK) else { return };
        if stored.entry.status != StatusCode::OK || stored.entry.extent != Extent::Whole {
            return;
        }
        let exchange = trip.exchange(head);
        let same_length = head
            .headers
            .get(CONTENT_LENGTH)
            .is_none_or(|length| length.as_bytes() == stored.body.length().to_string().as_bytes());
        let new = super::validate::Validators::of(&head.headers);
        let old = &stored.entry.validators;
        let same = |a: &Option<HeaderValue>, b: &Option<HeaderValue>| match (a, b) {
            (Some(a), Some(b)) => same_weak(a, b),
            _ => true,
        };
        let is_same =
            same_length && same(&new.etag, &old.etag) && same(&new.last_modified, &old.last_modified);
        match stored.entry.freshen(&exchange, &self.settings) {
            Ok(entry) if is_same => {
                let fresh = Stored { entry, body: stored.body.clone() };
                // Not stored means gone meanwhile, which is as well.
                let _ = self.shelf.put(&trip.key, fresh, head.fence, head.received).await;
            }
            Err(refusal) if is_about_request(refusal) => {}
            _ => self.shelf.remove(&trip.key, stored, head.received).await,
        }
    }

    /// A POST's answer that says which GET it answers, and for how long (RFC 9110 §9.3.3).
    pub(super) fn keep_post(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        sent: Moment,
        response: Response<B>,
    ) -> Response<Payload<B>> {
        let key = ask.target.key(&self.settings);
        let named = ask.target.same_origin(response.headers(), &CONTENT_LOCATION, &self.settings);
        let names_itself = response.headers().contains_key(CONTENT_LOCATION) && named.as_ref() == Some(&key);
        let trip = Trip::new(&key, ask, RequestControl::default(), None, Forward::Method);
        let (parts, body) = response.into_parts();
        let fence = self.shelf.fence();
        let head =
            Arrived { status: parts.status, headers: parts.headers, sent, received: self.now(), fence };
        let entry = Entry::new(&trip.exchange(&head), &self.settings).ok();
        match entry.filter(|_| names_itself && head.status == StatusCode::OK) {
            Some(mut entry) => {
                // It made invalid what was there before, and must outlast that itself.
                entry.sent = head.received.later(Duration::from_millis(1));
                self.store(&trip, head, entry, Vec::new(), body, None)
            }
            None => self.told(self::response(head, Payload::Origin(body)), &status_of(Forward::Method)),
        }
    }

    fn instead(&self, trip: &Trip, status: Option<StatusCode>) -> Option<Response<Payload<B>>> {
        let (method, headers) = trip.ask();
        let status = status.map(|status| status.as_u16());
        self.failed(trip.stored.as_deref(), method, headers, &trip.control, status)
    }

    fn land(&self, lead: Option<Lead<B>>, landing: Landing<B>) {
        if let Some(lead) = lead {
            lead.land(landing, self.now().secs());
        }
    }
}

/// Whether a response may answer other requests as it is.
fn is_for_all(entry: &Entry, now: Moment) -> bool {
    entry.extent == Extent::Whole && entry.freshness.is_fresh(now) && !entry.control.no_cache.is_all()
}

/// What those who wait are told of a response that is not stored.
fn unshared<B>(refusal: Refusal) -> Landing<B> {
    Landing::Unshared { is_remembered: !is_about_request(refusal) }
}

/// Whether a 304 is about another representation than the stored one.
fn is_other(stored: &Stored, not_modified: &HeaderMap) -> bool {
    match (&stored.entry.validators.etag, not_modified.get(ETAG)) {
        (Some(ours), Some(theirs)) => !same_weak(ours, theirs),
        _ => false,
    }
}

/// Whether a refusal says nothing about the response itself.
fn is_about_request(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::Method | Refusal::RequestNoStore | Refusal::Authorization)
}

/// How many bytes are to come, by Content-Length.
fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn response<B>(head: Arrived, payload: Payload<B>) -> Response<Payload<B>> {
    let mut response = Response::new(payload);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// Reads a body to its end.
async fn drain<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
}
