//! The whole way from a request to a member's answer, with retries.

use std::{io, time::Duration};

use balancers::{Lease, Outcome, PickError, Query};
use http::{HeaderMap, StatusCode};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    backend::Backend,
    connect::Stream,
    group::Group,
    h1::{Connection, ExchangeError, RequestHead, ResponseBody},
    retry::{Reached, may_repeat},
    settlement::Settlement,
};
use crate::body::Body;

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
    mut body: Body,
    mut query: Query<'_>,
) -> Result<Answer, SendError> {
    let mut attempts = 0;
    let mut last = None;
    loop {
        let lease = match group.pool.pick(&query) {
            Ok(lease) => lease,
            // Every member was tried: what the last one did says more than that none is left.
            Err(error) => return Err(last.unwrap_or(SendError::NoMember(error))),
        };
        attempts += 1;
        query = query.avoiding(lease.tag());
        let started = Instant::now();
        let failed = match attempt(&lease, head, body, group.response_timeout).await {
            Ok(answer) => return Ok(settle(answer, lease, started.elapsed())),
            Err(failed) => failed,
        };
        lease.finish(Outcome { latency: started.elapsed(), ok: !failed.error.is_members_fault() });
        tracing::debug!(error = %failed.error, attempts, "attempt failed");
        match failed.body {
            Some(whole) if may_repeat(head.method, failed.reached, attempts) => body = whole,
            _ => return Err(failed.error),
        }
        last = Some(failed.error);
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
                if may_repeat(head.method, Reached::Member, 1) =>
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

fn settle(mut answer: Answer, lease: Lease<Backend>, latency: Duration) -> Answer {
    let settlement = Settlement::new(lease, latency, !answer.status.is_server_error());
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
    fn is_members_fault(&self) -> bool {
        !matches!(self, SendError::Client(_))
    }
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SendError::NoMember(error) => error.fmt(f),
            SendError::Connect { member, source } => write!(f, "{member}: {source}"),
            SendError::Silent { member, limit } => {
                write!(f, "{member}: no answer within {} ms", limit.as_millis())
            }
            SendError::Exchange { member, error } => write!(f, "{member}: {error}"),
            SendError::Client(error) => error.fmt(f),
        }
    }
}
