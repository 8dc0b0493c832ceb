//! The requests of one connection, one after another: read a head, have it answered, write the answer, again.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderValue, Response, header, uri::Scheme};
use http_body::Body as _;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    head::{Fault, Head, HeadLimits, Length},
    inbound::{Inbound, Piece},
    turn::{RequestBody, Turn},
    wire::Wire,
    write::{Asked, Broken, Outbound},
};
use crate::{
    alarm::Alarm,
    body::{Body, BodyError},
    client_body::Incoming,
    codec::give_back,
    config::{ConnectionLimits, Timeouts},
    connection::{Shared, farewell::Farewell},
    error::plain,
    observe::Observed,
    pace::Pace,
    serve::{Client, serve},
    tunnel::{Stream, Tunnel},
};

/// A connection that speaks HTTP/1.
pub(in crate::connection) struct Connection {
    shared: Arc<Shared>,
    client: Client,
    timeouts: Timeouts,
    limits: ConnectionLimits,
    farewell: Farewell,
    wire: Arc<Mutex<Wire>>,
    /// Requests begun so far.
    served: u64,
}

/// Why there is no request.
enum NoHead {
    /// There is something else.
    Fault(Fault),
    /// The client is quiet.
    Quiet,
    /// It left, or its time is over.
    End,
}

/// What follows an answer.
enum Then {
    /// Another request.
    Next,
    /// We close, and the client does not know yet.
    Close,
    /// It closes: it knows that nothing more comes.
    End,
    /// It is gone, or has to see that its answer is not whole.
    Gone,
    Tunnel(Box<Tunnel>),
}

impl Connection {
    /// A connection whose first bytes were read already.
    pub(in crate::connection) fn new(
        shared: Arc<Shared>,
        client: Client,
        (stream, first): (Box<dyn Stream>, BytesMut),
        alarm: Alarm,
        farewell: Farewell,
    ) -> Self {
        let (timeouts, limits, fields) = {
            let state = shared.state.load();
            (state.timeouts, state.limits, state.admission.limits.fields)
        };
        let mut inbound = Inbound::new(HeadLimits { len: limits.head_len, fields });
        *inbound.buffer() = first;
        let wire = Arc::new(Mutex::new(Wire::new(stream, inbound, alarm)));
        Connection { shared, client, timeouts, limits, farewell, wire, served: 0 }
    }

    /// Serves it to its end. What requests need is boxed, and gone once the client is quiet.
    pub(in crate::connection) async fn serve(mut self) {
        loop {
            let then = match self.next(self.timeouts.idle).await {
                Err(NoHead::End | NoHead::Quiet) => Then::End,
                first => Box::pin(self.serve_on(first)).await,
            };
            match then {
                Then::Next => {}
                Then::Close => return Box::pin(self.close(LINGER)).await,
                Then::End => return Box::pin(self.close(Duration::ZERO)).await,
                Then::Gone => return,
                Then::Tunnel(tunnel) => {
                    let (client, early) = self.wire.lock().take();
                    return Box::pin(tunnel.run(client, early)).await;
                }
            }
        }
    }

    /// Serves requests as long as one follows another.
    async fn serve_on(&mut self, first: Result<Head, NoHead>) -> Then {
        let mut next = first;
        loop {
            let then = match next {
                Ok(head) => self.answer(head).await,
                Err(NoHead::Fault(fault)) => self.refuse(fault).await,
                Err(NoHead::Quiet) => return Then::Next,
                Err(NoHead::End) => return Then::End,
            };
            if !matches!(then, Then::Next) {
                return then;
            }
            next = self.next(QUIET.min(self.timeouts.idle)).await;
        }
    }

    /// Waits for the head of a request. The first, and one that has begun, has `http_read_timeout`; else it is quiet after
    /// `quiet`.
    async fn next(&mut self, quiet: Duration) -> Result<Head, NoHead> {
        let since = Instant::now();
        let mut begun = (self.served == 0).then_some(since);
        poll_fn(|cx| {
            let mut wire = self.wire.lock();
            loop {
                match wire.inbound.head() {
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Err(fault) => return Poll::Ready(Err(NoHead::Fault(fault))),
                    Ok(None) if !wire.inbound.is_empty() => begun = begun.or_else(|| Some(Instant::now())),
                    Ok(None) => {}
                }
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoHead::End)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            let (deadline, then) = match begun {
                Some(begun) => (begun + self.timeouts.read, NoHead::End),
                None => (since + quiet, NoHead::Quiet),
            };
            if wire.alarm.poll(deadline, cx).is_ready() {
                return Poll::Ready(Err(then));
            }
            if self.farewell.poll(cx).is_ready() && wire.inbound.is_empty() {
                return Poll::Ready(Err(NoHead::End));
            }
            Poll::Pending
        })
        .await
    }

    /// Has a request answered, and writes the answer.
    async fn answer(&mut self, mut head: Head) -> Then {
        self.served += 1;
        let arrived = Instant::now();
        let asked = Asked::by(&head);
        let turn = Turn::begin(&self.wire, &head);
        let incoming = match head.length {
            Length::Bytes(0) => Incoming::Nothing,
            length => Incoming::One(RequestBody::new(turn.clone(), length)),
        };
        let state = self.shared.state.load_full();
        let mut answered = None;
        {
            let (observer, request) = (&self.shared.observer, (&mut head.parts, incoming));
            let mut serving = pin!(serve(&state, observer, &self.client, request, Some(&turn), arrived));
            poll_fn(|cx| match serving.as_mut().poll(cx) {
                Poll::Ready(response) => {
                    answered = Some(response);
                    Poll::Ready(())
                }
                Poll::Pending => self.wire.lock().poll_left(cx),
            })
            .await;
        }
        // Not kept while the answer is on its way.
        drop(head);
        match answered {
            Some(response) => self.send(response, asked, arrived + self.timeouts.request).await,
            // Nobody is there to hear it.
            None => Then::Gone,
        }
    }

    /// Answers what is no request. Nothing behind it can be trusted to be one.
    async fn refuse(&mut self, fault: Fault) -> Then {
        tracing::debug!(client = %self.client.peer.address, %fault, "no request");
        let latest = Instant::now() + self.timeouts.request;
        let mut response = plain(fault.status());
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let response = {
            let state = self.shared.state.load();
            let log = state.access_log.as_ref();
            let mut note = self.shared.observer.no_request(self.client.peer.address, log);
            note.failed(response.status(), &fault);
            note.answered(response)
        };
        self.send(response, Asked::by_nobody(), latest).await;
        Then::Close
    }

    /// Writes an answer as fast as the client takes it; `latest` it must have all of it.
    async fn send(&mut self, response: Response<Observed<Body>>, asked: Asked, latest: Instant) -> Then {
        let (parts, mut body) = response.into_parts();
        let can_stay =
            self.wire.lock().answer() && self.served < self.limits.requests && !self.farewell.has_begun();
        let mut outbound = Outbound::new(&parts, &body.size_hint(), (asked, can_stay));
        give_back(parts.headers);
        let written = self.write(&mut outbound, &mut body, latest).await;
        // Counts, the log, the member's connection: whatever waits for the end of the body.
        drop(body);
        if let Err(cut) = written {
            tracing::debug!(client = %self.client.peer.address, %cut, "answer broken off");
            return Then::Gone;
        }
        let (tunnel, is_whole) = {
            let mut wire = self.wire.lock();
            (wire.finish(), wire.inbound.is_between_messages())
        };
        match tunnel {
            Some(tunnel) => Then::Tunnel(tunnel),
            None if outbound.keep_alive && (is_whole || self.drain().await) => Then::Next,
            None if is_whole && !asked.keep_alive => Then::End,
            None => Then::Close,
        }
    }

    async fn write(
        &mut self,
        outbound: &mut Outbound,
        body: &mut Observed<Body>,
        latest: Instant,
    ) -> Result<(), Cut> {
        let takes_pipes = self.wire.lock().takes_pipes();
        let mut pace = Pace::new(self.timeouts.write, self.limits.body_rate_min);
        let mut taken = 0;
        poll_fn(|cx| {
            loop {
                if !(takes_pipes && outbound.pipe(body, cx)?) {
                    outbound.fill(body, cx)?;
                }
                let mut wire = self.wire.lock();
                let sent = wire.poll_send(outbound, cx)?;
                if outbound.written > taken {
                    taken = outbound.written;
                    if pace.is_too_slow(taken, Instant::now) {
                        return Poll::Ready(Err(Cut::Slow));
                    }
                }
                if sent.is_pending() {
                    let deadline = pace.wait(Instant::now()).min(latest);
                    return wire.alarm.poll(deadline, cx).map(|()| Err(Cut::Slow));
                }
                if outbound.is_done() {
                    return wire.poll_flush(cx).map_err(Cut::Io);
                }
                if outbound.is_starved() {
                    // What was written must not wait in a TLS buffer for a member that is slow to go on.
                    let _ = wire.poll_flush(cx)?;
                    return wire.poll_left(cx).map(|()| Err(Cut::Left));
                }
            }
        })
        .await
    }

    /// Reads the rest of a request that was answered before it was there; false if that is too much to wait for.
    async fn drain(&mut self) -> bool {
        let deadline = Instant::now() + self.timeouts.read;
        let mut room = DRAIN_MAX;
        poll_fn(|cx| {
            let mut wire = self.wire.lock();
            while !wire.inbound.is_between_messages() {
                if wire.inbound.left().is_some_and(|left| left > room) {
                    return Poll::Ready(false);
                }
                match wire.poll_piece(cx) {
                    Poll::Ready(Ok(Piece::Data(data))) if data.len() as u64 <= room => {
                        room -= data.len() as u64;
                    }
                    Poll::Ready(Ok(Piece::End(_))) => {}
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => return wire.alarm.poll(deadline, cx).map(|()| false),
                }
            }
            Poll::Ready(true)
        })
        .await
    }

    /// Says that nothing more comes. What the client is just sending is read for as long as `linger`, so that it is not
    /// reset before it has read its answer (RFC 9112 §9.6).
    async fn close(&mut self, linger: Duration) {
        let is_plain = self.client.scheme != Scheme::HTTPS;
        if is_plain && linger.is_zero() {
            return;
        }
        let latest = Instant::now() + if linger.is_zero() { self.timeouts.write } else { linger };
        let mut is_shut = false;
        poll_fn(|cx| {
            let mut wire = self.wire.lock();
            loop {
                let polled = if is_shut {
                    wire.poll_discard(cx).map_ok(|count| count == 0)
                } else {
                    is_shut = true;
                    wire.poll_shutdown(cx).map_ok(|()| linger.is_zero())
                };
                match polled {
                    Poll::Ready(Ok(false)) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return wire.alarm.poll(latest, cx),
                }
            }
        })
        .await;
    }
}

/// Why an answer breaks off.
#[derive(Debug)]
enum Cut {
    /// The client has left.
    Left,
    /// It takes too little, or has taken too long.
    Slow,
    Io(io::Error),
    /// The answer's body failed, or is not as long as it says.
    Body(Broken<BodyError>),
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Cut::Io(error)
    }
}

impl From<Broken<BodyError>> for Cut {
    fn from(broken: Broken<BodyError>) -> Self {
        Cut::Body(broken)
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Left => f.write_str("the client left"),
            Cut::Slow => f.write_str("the client takes too little, or took too long"),
            Cut::Io(error) => error.fmt(f),
            Cut::Body(Broken::Body(error)) => error.fmt(f),
            Cut::Body(Broken::Length) => f.write_str("response body: not as many bytes as announced"),
        }
    }
}

/// Bytes of a body nobody wants that are read, so that the connection can serve on.
const DRAIN_MAX: u64 = 64 << 10;
/// How long all that requests need is kept for the next one.
const QUIET: Duration = Duration::from_secs(1);
/// How long a connection that we close is still read from.
const LINGER: Duration = Duration::from_secs(2);
