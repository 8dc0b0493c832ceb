//! The whole way from a request to a member's answer, with retries.

use std::{io, time::Duration};

use balancers::{Lease, Outcome, PickError, Query};
use http::{Method, StatusCode};
use tokio::{net::TcpStream, time::Instant};

use super::{
    answer::{Answer, ResponseBody},
    backend::{Backend, Link},
    connect::Stream,
    group::Group,
    h1::{Connection, ExchangeError, RequestHead},
    h2::StreamError,
    handover::{Patience, Silent, hand_over, within},
    health::Verdict,
    queue::Place,
    replay::Replay,
    retry::{Reached, is_idempotent, may_repeat},
    settlement::Settlement,
};
use crate::{body::Body, observe::Trail};

/// Sends a request to a member of `group`, and to another one if the first fails and the request can be repeated.
pub(crate) async fn send(
    group: &Group,
    head: RequestHead<'_>,
    body: Body,
    mut query: Query<'_>,
    trail: &mut Trail,
) -> Result<Answer, SendError> {
    let settings = &*group.settings;
    let (spare, mut body) = Spare::of(body, head.method, settings.retry.max_body_bytes);
    let mut seat = seize(group, &query).await?;
    let mut started = Instant::now();
    let second = group.second(started);
    group.budget.request(second);
    let mut attempts = 0;
    loop {
        let (lease, place) = seat;
        trail.attempt(lease.name());
        query = query.avoiding(lease.tag());
        attempts += 1;
        let is_last = attempts >= settings.retry.attempts;
        let failed = match attempt(group, &lease, head, (body, &spare), started).await {
            Ok(mut answer) => {
                settle(&mut answer, lease, place, started);
                if is_last || !settings.retry.statuses.contains(&answer.status.as_u16()) {
                    return Ok(answer);
                }
                let Some((next, again)) = second_chance(group, head.method, &query, &spare) else {
                    return Ok(answer);
                };
                (seat, body, started) = (next, again, Instant::now());
                continue;
            }
            Err(failed) => failed,
        };
        if let Some(why) = failed.error.blame() {
            lease.counters().failures.add(1);
            lease.failed(why);
        }
        lease.finish(Outcome { latency: started.elapsed(), ok: failed.error.blame().is_none() });
        drop(place);
        tracing::debug!(error = %failed.error, attempts, "attempt failed");
        let may_repeat = !is_last && may_repeat(head.method, failed.reached) && !failed.error.is_clients();
        let whole = failed.body.or_else(|| spare.body()).filter(|_| may_repeat);
        let Some(whole) = whole else { return Err(failed.error) };
        if failed.reached == Reached::Member && !group.budget.take(second, &settings.retry) {
            return Err(failed.error);
        }
        seat = match seize(group, &query).await {
            Ok(seat) => seat,
            // Every member was tried: what the last one did says more than that none is left.
            Err(SendError::NoMember(_)) => return Err(failed.error),
            Err(error) => return Err(error),
        };
        (body, started) = (whole, Instant::now());
    }
}

/// A member and a place at it.
type Seat = (Lease<Backend>, Place);

/// A place at a member, now or after a wait.
async fn seize(group: &Group, query: &Query<'_>) -> Result<Seat, SendError> {
    let settings = &group.settings.queue;
    match try_seize(group, query) {
        Err(SendError::Full) => {}
        done => return done,
    }
    // Somebody is full, so there is somebody to wait for; who is gone meanwhile is seen by the next look.
    let attempt = || try_seize(group, query).ok();
    let waiting = Box::pin(group.queue.wait(settings.max_pending, settings.timeout, attempt));
    waiting.await.ok_or(SendError::Full)
}

fn try_seize(group: &Group, query: &Query<'_>) -> Result<Seat, SendError> {
    let mut asked = query.clone();
    let mut is_full = false;
    loop {
        match group.pool.pick(&asked) {
            Ok(lease) => match lease.place() {
                Some(place) => return Ok((lease, place)),
                None => {
                    is_full = true;
                    asked = asked.avoiding(lease.tag());
                }
            },
            Err(_) if is_full => return Err(SendError::Full),
            Err(error) => return Err(SendError::NoMember(error)),
        }
    }
}

/// Another member for a request whose answer was one of those that are not passed on while there is a better chance.
fn second_chance(group: &Group, method: &Method, query: &Query<'_>, spare: &Spare) -> Option<(Seat, Body)> {
    let again = spare.body().filter(|_| is_idempotent(method))?;
    let seat = try_seize(group, query).ok()?;
    // The budget is asked last: nothing is taken from it in vain.
    group.budget.take(group.second(Instant::now()), &group.settings.retry).then_some((seat, again))
}

/// What there is to send a second time.
enum Spare {
    /// There was no body.
    Nothing,
    /// The body, as long as it is not large.
    Body(Replay),
    /// It passes once.
    None,
}

impl Spare {
    fn of(body: Body, method: &Method, limit: u64) -> (Spare, Body) {
        if body.is_empty() {
            return (Spare::Nothing, body);
        }
        // A body known to be too large is not worth the trouble.
        if !is_idempotent(method) || http_body::Body::size_hint(&body).lower() > limit {
            return (Spare::None, body);
        }
        let replay = Replay::new(body, limit);
        let body = replay.body().unwrap_or_default();
        (Spare::Body(replay), body)
    }

    fn body(&self) -> Option<Body> {
        match self {
            Spare::Nothing => Some(Body::Empty),
            Spare::Body(replay) => replay.body(),
            Spare::None => None,
        }
    }
}

struct Failed {
    error: SendError,
    reached: Reached,
    /// The request's body, if nothing was taken from it.
    body: Option<Body>,
}

/// One attempt at one member: on a kept connection if there is one, else on a new one.
async fn attempt(
    group: &Group,
    backend: &Backend,
    head: RequestHead<'_>,
    (mut body, spare): (Body, &Spare),
    started: Instant,
) -> Result<Answer, Failed> {
    let silence_max = group.settings.timeouts.response;
    let switches = head.upgrade.is_some();
    let remembered = backend.settings().retry.max_body_bytes;
    if let Some(kept) = backend.reuse(switches) {
        match exchange(kept, head, body, (started, silence_max), remembered).await {
            Ok(answer) => return Ok(answer),
            // The member closed a kept connection just as we used it: that says nothing about the member.
            Err((error, whole)) if error.is_parting() && may_repeat(head.method, error.reached()) => {
                match whole.or_else(|| spare.body()) {
                    Some(again) => body = again,
                    None => return Err(error.failed(backend.address(), None)),
                }
            }
            Err((error, whole)) => return Err(error.failed(backend.address(), whole)),
        }
    }
    let link = match Box::pin(open(group, backend, switches)).await {
        Ok(link) => link,
        Err(source) => {
            let error = SendError::Connect { member: backend.address().to_string(), source };
            return Err(Failed { error, reached: Reached::Nothing, body: Some(body) });
        }
    };
    Box::pin(exchange(link, head, body, (Instant::now(), silence_max), remembered))
        .await
        .map_err(|(error, body)| error.failed(backend.address(), body))
}

/// A new way to a member. Without a file descriptor for it, those of idle connections are taken, or one that is given up within
/// the time that a request may wait.
async fn open(group: &Group, backend: &Backend, switches: bool) -> io::Result<Link> {
    let latest = Instant::now() + group.settings.queue.timeout;
    loop {
        match backend.open(switches).await {
            Err(error) if is_out_of_descriptors(&error) && Instant::now() < latest => {}
            opened => return opened,
        }
        if group.close_all_idle() == 0 {
            tokio::time::sleep(DESCRIPTOR_PAUSE).await;
        }
        if let Some(link) = backend.reuse(switches) {
            return Ok(link);
        }
    }
}

/// One exchange, in which the other side may be silent for so long since some moment. What fails comes with the request's
/// body, if that is still whole.
async fn exchange(
    link: Link,
    head: RequestHead<'_>,
    body: Body,
    (since, silence_max): (Instant, Duration),
    remembered: u64,
) -> Result<Answer, (ExchangeFailed, Option<Body>)> {
    let (body, hand) = hand_over(body);
    let patience = Patience::new(silence_max, since, hand.as_ref());
    let failed = match link {
        Link::One(connection) => match connection.exchange(head, body, patience).await {
            Ok((head, body)) => {
                if let Some(hand) = &hand {
                    hand.answered(silence_max);
                }
                let body = ResponseBody::One(body);
                return Ok(Answer { status: head.status, headers: head.headers, body });
            }
            Err(ExchangeError::Silent) => ExchangeFailed::Silent(silence_max),
            Err(error) => ExchangeFailed::Exchange(error),
        },
        Link::Two(stream) => {
            if let Some(hand) = &hand {
                hand.remember(remembered);
            }
            let mut used = hand.clone();
            let exchange = stream.exchange(head, body, &mut used, silence_max);
            match Box::pin(within(patience, exchange)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => ExchangeFailed::Stream(error),
                Err(Silent) => ExchangeFailed::Silent(silence_max),
            }
        }
    };
    // A request without a body can be written again whatever happened to the first one.
    Err((failed, hand.map_or(Some(Body::Empty), |hand| hand.take_back())))
}

impl Link {
    /// Sends a request without anything to be taken back, and waits for the head of its answer.
    pub(crate) async fn exchange(
        self,
        head: RequestHead<'_>,
        body: Body,
        silence_max: Duration,
    ) -> Result<Answer, ExchangeFailed> {
        exchange(self, head, body, (Instant::now(), silence_max), 0).await.map_err(|(failed, _)| failed)
    }
}

/// Sends a request over a connection to somebody who is no member, named `name`. It is used once.
pub(crate) async fn send_over(
    stream: TcpStream,
    name: &str,
    head: RequestHead<'_>,
    body: Body,
    response_timeout: Duration,
) -> Result<Answer, SendError> {
    let link = Link::One(Connection::new(Stream::Tcp(stream)));
    link.exchange(head, body, response_timeout).await.map_err(|failed| failed.at(name))
}

fn settle(answer: &mut Answer, lease: Lease<Backend>, place: Place, started: Instant) {
    let answered = Instant::now();
    lease.counters().answered(answer.status, answered - started);
    let answered_well = !answer.status.is_server_error() || answer.status == StatusCode::NOT_IMPLEMENTED;
    let settlement = Settlement::new(lease, place, (started, answered), answered_well);
    match answer.status {
        StatusCode::SWITCHING_PROTOCOLS => answer.body.hold(settlement),
        _ => answer.body.settle_with(settlement),
    }
}

/// Why an exchange has no answer.
pub(crate) enum ExchangeFailed {
    Exchange(ExchangeError),
    Stream(StreamError),
    Silent(Duration),
}

impl ExchangeFailed {
    /// The member closed the connection, or was about to.
    fn is_parting(&self) -> bool {
        match self {
            ExchangeFailed::Exchange(error) => matches!(error, ExchangeError::Closed(_)),
            ExchangeFailed::Stream(error) => error.is_parting(),
            ExchangeFailed::Silent(_) => false,
        }
    }

    fn reached(&self) -> Reached {
        match self {
            ExchangeFailed::Stream(StreamError::Unseen(_)) => Reached::Nothing,
            _ => Reached::Member,
        }
    }

    fn failed(self, member: &(impl ToString + ?Sized), body: Option<Body>) -> Failed {
        Failed { reached: self.reached(), error: self.at(member), body }
    }

    fn at(self, member: &(impl ToString + ?Sized)) -> SendError {
        let member = member.to_string();
        match self {
            ExchangeFailed::Silent(limit) => SendError::Silent { member, limit },
            ExchangeFailed::Exchange(ExchangeError::Client(error))
            | ExchangeFailed::Stream(StreamError::Client(error)) => SendError::Client(error),
            ExchangeFailed::Exchange(error) => SendError::Exchange { member, error },
            ExchangeFailed::Stream(error) => SendError::Stream { member, error },
        }
    }
}

/// Between two looks for a file descriptor.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(10);

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Nobody to send it to.
    NoMember(PickError),
    /// Everybody has as much to do as they may, and too many wait already, or this one has waited too long.
    Full,
    /// A member could not be reached.
    Connect { member: String, source: io::Error },
    /// A member answered nothing in time.
    Silent { member: String, limit: Duration },
    /// A member's answer cannot be used, or did not come.
    Exchange { member: String, error: ExchangeError },
    /// The same of HTTP/2.
    Stream { member: String, error: StreamError },
    /// The client broke off.
    Client(crate::body::BodyError),
}

impl SendError {
    /// What a member is to be blamed for, if for anything.
    fn blame(&self) -> Option<Verdict> {
        match self {
            SendError::Connect { source, .. } => (!is_ours(source)).then_some(Verdict::Gone),
            // It says that it goes, as it should: others are asked then.
            SendError::Stream { error: StreamError::Unseen(_), .. } => None,
            SendError::Silent { .. } | SendError::Exchange { .. } | SendError::Stream { .. } => {
                Some(Verdict::Silent)
            }
            SendError::Client(_) | SendError::NoMember(_) | SendError::Full => None,
        }
    }

    fn is_clients(&self) -> bool {
        matches!(self, SendError::Client(_))
    }
}

/// We could not even try.
fn is_ours(error: &io::Error) -> bool {
    is_out_of_descriptors(error) || error.kind() == io::ErrorKind::AddrNotAvailable
}

/// EMFILE or ENFILE.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SendError::NoMember(error) => error.fmt(f),
            SendError::Full => f.write_str("all members are full, and so is the queue"),
            SendError::Connect { member, source } => write!(f, "{member}: {source}"),
            SendError::Silent { member, limit } => {
                write!(f, "{member}: no answer within {} ms", limit.as_millis())
            }
            SendError::Exchange { member, error } => write!(f, "{member}: {error}"),
            SendError::Stream { member, error } => write!(f, "{member}: {error}"),
            SendError::Client(error) => error.fmt(f),
        }
    }
}
