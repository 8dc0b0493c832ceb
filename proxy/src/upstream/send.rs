//! The whole way from a request to a member's answer, with retries.

use std::{io, time::Duration};

use balancers::{Lease, Outcome, PickError, Query};
use http::{HeaderMap, Method, StatusCode};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    backend::Backend,
    connect::Stream,
    group::Group,
    h1::{Connection, ExchangeError, RequestHead, ResponseBody},
    health::Verdict,
    queue::Place,
    replay::Replay,
    retry::{Reached, is_idempotent, may_repeat},
    settlement::Settlement,
};
use crate::{body::Body, observe::Trail};

/// A member's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ResponseBody,
}

/// Sends a request to a member of `group`, and to another one if the first fails and the request can be repeated.
pub(crate) async fn send(
    group: &Group,
    head: RequestHead<'_>,
    body: Body,
    mut query: Query<'_>,
    trail: &mut Trail,
) -> Result<Answer, SendError> {
    let settings = &*group.settings;
    let second = group.second(Instant::now());
    group.budget.request(second);
    let (spare, mut body) = Spare::of(body, head.method, settings.retry.max_body_bytes);
    let mut seat = seize(group, &query).await?;
    let mut attempts = 0;
    loop {
        let (lease, place) = seat;
        trail.attempt(lease.id());
        query = query.avoiding(lease.tag());
        attempts += 1;
        let is_last = attempts >= settings.retry.attempts;
        let started = Instant::now();
        let failed = match attempt(&lease, head, body, settings.timeouts.response).await {
            Ok(answer) => {
                let answer = settle(answer, lease, place, started);
                if is_last || !settings.retry.statuses.contains(&answer.status.as_u16()) {
                    return Ok(answer);
                }
                let Some((next, again)) = second_chance(group, head.method, &query, &spare) else {
                    return Ok(answer);
                };
                (seat, body) = (next, again);
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
        body = whole;
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
    group.queue.wait(settings.max_pending, settings.timeout, attempt).await.ok_or(SendError::Full)
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
    backend: &Backend,
    head: RequestHead<'_>,
    mut body: Body,
    response_timeout: Duration,
) -> Result<Answer, Failed> {
    if let Some(kept) = backend.reuse() {
        match exchange(kept, head, body, response_timeout).await {
            Ok(answer) => return Ok(answer),
            // The member closed a kept connection just as we used it: that says nothing about the member.
            Err((ExchangeFailed::Exchange(ExchangeError::Closed(_)), Some(whole)))
                if may_repeat(head.method, Reached::Member) =>
            {
                body = whole;
            }
            Err((error, body)) => {
                return Err(Failed { error: error.at(backend.address()), reached: Reached::Member, body });
            }
        }
    }
    let connection = match backend.connect().await {
        Ok(connection) => connection,
        Err(source) => {
            let error = SendError::Connect { member: backend.address().to_string(), source };
            return Err(Failed { error, reached: Reached::Nothing, body: Some(body) });
        }
    };
    exchange(connection, head, body, response_timeout).await.map_err(|(error, body)| Failed {
        error: error.at(backend.address()),
        reached: Reached::Member,
        body,
    })
}

async fn exchange(
    connection: Connection,
    head: RequestHead<'_>,
    body: Body,
    response_timeout: Duration,
) -> Result<Answer, (ExchangeFailed, Option<Body>)> {
    // A request without a body can be written again whatever happened to the first one.
    let nothing = body.is_empty().then_some(Body::Empty);
    match timeout(response_timeout, connection.exchange(head, body, response_timeout)).await {
        Ok(Ok((head, body))) => Ok(Answer { status: head.status, headers: head.headers, body }),
        Ok(Err((error, body))) => Err((ExchangeFailed::Exchange(error), body.or(nothing))),
        Err(_) => Err((ExchangeFailed::Silent(response_timeout), nothing)),
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
    let connection = Connection::new(Stream::Tcp(stream));
    exchange(connection, head, body, response_timeout).await.map_err(|(error, _)| error.at(name))
}

fn settle(mut answer: Answer, lease: Lease<Backend>, place: Place, started: Instant) -> Answer {
    lease.counters().answered(answer.status, started.elapsed());
    let answered_well = !answer.status.is_server_error() || answer.status == StatusCode::NOT_IMPLEMENTED;
    let settlement = Settlement::new(lease, place, started, answered_well);
    answer.body = match answer.status {
        StatusCode::SWITCHING_PROTOCOLS => answer.body.hold(settlement),
        _ => answer.body.settle_with(settlement),
    };
    answer
}

enum ExchangeFailed {
    Exchange(ExchangeError),
    Silent(Duration),
}

impl ExchangeFailed {
    fn at(self, member: &(impl ToString + ?Sized)) -> SendError {
        let member = member.to_string();
        match self {
            ExchangeFailed::Silent(limit) => SendError::Silent { member, limit },
            ExchangeFailed::Exchange(ExchangeError::Client(error)) => SendError::Client(error),
            ExchangeFailed::Exchange(error) => SendError::Exchange { member, error },
        }
    }
}

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
    /// The client broke off.
    Client(crate::body::BodyError),
}

impl SendError {
    /// What a member is to be blamed for, if for anything.
    fn blame(&self) -> Option<Verdict> {
        match self {
            SendError::Connect { source, .. } => (!is_ours(source)).then_some(Verdict::Gone),
            SendError::Silent { .. } | SendError::Exchange { .. } => Some(Verdict::Silent),
            SendError::Client(_) | SendError::NoMember(_) | SendError::Full => None,
        }
    }

    fn is_clients(&self) -> bool {
        matches!(self, SendError::Client(_))
    }
}

/// We could not even try: no file descriptor (EMFILE, ENFILE) or no port left.
fn is_ours(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24)) || error.kind() == io::ErrorKind::AddrNotAvailable
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
            SendError::Client(error) => error.fmt(f),
        }
    }
}
