//! One server: a connection that several thousand operations share, and what happens when it is gone.
//!
//! ```text
//!     caller ── in flight ≤ limit ── link? ──Up──────────► request ─► reply          at most `response_timeout` in all
//!                                     │ └────Connecting──► wait for it
//!                                     └──────Down────────► Unavailable, at once
//!
//!     keeper (one task):   dial ─► ping ─► Up ─ … ─ broken, silent or tripped ─► dial …       backs off, 100 ms to 5 s
//! ```
//!
//! Callers never dial. A caller that meets a broken connection is sent again once over the next one, if the request can
//! be repeated and its time is not over. When the breaker trips the connection is dropped: whoever waits on it is told
//! at once rather than at the end of his time.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::Value;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{
    breaker::{Breaker, Circuit},
    command::Command,
    config::RedisConfig,
    keeper::{self, Finder},
    lanes::Lanes,
    watch::Watch,
    wire::{Broken, Wire},
};
use crate::store::StoreError;

/// A server, and the task that keeps a connection to it. Dropping it closes the connection.
pub(super) struct Node {
    pub(super) state: Arc<State>,
    keeper: Mutex<Option<AbortHandle>>,
}

/// What callers and the keeper share.
pub(super) struct State {
    pub(super) server: Arc<str>,
    pub(super) limits: Limits,
    pub(super) finder: Finder,
    /// Hears of changes over each connection, for a store with a near tier.
    pub(super) watch: Option<Arc<Watch>>,
    pub(super) link: watch::Sender<Link>,
    pub(super) breaker: Breaker,
    /// Wakes the keeper: the line it watches over is of no use any more.
    pub(super) broken: Notify,
    pub(super) counts: Counts,
    in_flight: AtomicUsize,
}

/// What became of the operations.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) timeouts: AtomicU64,
    pub(super) disconnects: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) connects: AtomicU64,
}

/// The time limits of one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) response: Duration,
    pub(super) ping_every: Duration,
    pub(super) probe_first: Duration,
    pub(super) probe_longest: Duration,
    pub(super) in_flight: usize,
    /// The most connections, and how many of them may stay without work, for how long.
    pub(super) lanes: usize,
    pub(super) lanes_idle: usize,
    pub(super) idle_timeout: Duration,
}

/// The way to the server.
#[derive(Clone)]
pub(super) enum Link {
    /// Being opened for the first time, or again after a clean end: worth waiting for.
    Connecting,
    Up(Arc<Line>),
    /// The circuit is open, for this reason.
    Down(Arc<str>),
}

/// An open connection with its lanes, and its number among those of this server.
pub(super) struct Line {
    /// The main connection, for pings.
    pub(super) wire: Wire,
    pub(super) lanes: Arc<Lanes>,
    pub(super) id: u64,
    pub(super) since: Instant,
}

/// What is sent in one go.
pub(super) enum Request<'a> {
    One(&'a Command),
    /// Answered with an array of as many values.
    Many(&'a [&'a Command]),
}

impl Node {
    pub(super) fn new(
        server: Arc<str>,
        config: &RedisConfig,
        finder: Finder,
        watch: Option<Arc<Watch>>,
    ) -> Self {
        let limits = Limits {
            connect: config.connect_timeout,
            response: config.response_timeout,
            ping_every: config.ping_every,
            probe_first: config.probe_first,
            probe_longest: config.probe_longest,
            in_flight: config.max_in_flight,
            // A near tier needs reads, writes and news in one order.
            lanes: if watch.is_some() { 1 } else { config.max_active },
            lanes_idle: config.max_idle,
            idle_timeout: config.idle_timeout,
        };
        let state = State {
            server,
            limits,
            finder,
            watch,
            link: watch::Sender::new(Link::Connecting),
            breaker: Breaker::new(config.failures_to_open),
            broken: Notify::new(),
            counts: Counts::default(),
            in_flight: AtomicUsize::new(0),
        };
        Self { state: Arc::new(state), keeper: Mutex::new(None) }
    }

    /// Sends `request` and waits for the answer until `deadline`, errors of the server included: `Err` means that no
    /// answer came.
    pub(super) async fn send(
        &self,
        request: &Request<'_>,
        is_repeatable: bool,
        deadline: Instant,
    ) -> Result<Value, StoreError> {
        if Handle::try_current().is_err() {
            return Err(self.state.unavailable("not called inside a tokio runtime"));
        }
        let _permit = self.state.enter()?;
        let mut tries_left = if is_repeatable { 2 } else { 1 };
        loop {
            let line = match self.state.open_line() {
                Some(line) => line,
                // Boxed: the rare way, and its state would make every operation's future larger.
                None => Box::pin(self.line(deadline)).await?,
            };
            if Instant::now() >= deadline {
                // The time went before this server was asked: not its fault.
                return Err(self.state.timed_out());
            }
            tries_left -= 1;
            let riding = line.lanes.ride(&self.state);
            match timeout_at(deadline, request.send(riding.wire())).await {
                Ok(Ok(value)) => {
                    self.state.answered(&line, &value);
                    return Ok(value);
                }
                Ok(Err(error)) => {
                    if line.lanes.was_main(&riding) {
                        self.state.lost(&line);
                    }
                    if tries_left > 0 && matches!(error, Broken::Lost(_)) {
                        continue;
                    }
                    self.state.counts.disconnects.fetch_add(1, Relaxed);
                    let reason = error.reason().clone();
                    return Err(StoreError::Disconnected { server: self.state.server.clone(), reason });
                }
                Err(_) => {
                    self.state.failed(&line, "it does not answer in time");
                    return Err(self.state.timed_out());
                }
            }
        }
    }

    /// Waits for a connection until `deadline`.
    pub(super) async fn ready(&self, deadline: Instant) -> Result<(), StoreError> {
        self.line(deadline).await.map(|_| ())
    }

    /// The open connection. Without one: an error at once if the circuit is open, else a wait.
    async fn line(&self, deadline: Instant) -> Result<Arc<Line>, StoreError> {
        self.ensure_keeper();
        if let Link::Down(reason) = &*self.state.link.borrow() {
            return Err(self.state.unavailable(reason.clone()));
        }
        let mut link = self.state.link.subscribe();
        let settled = link.wait_for(|link| !matches!(link, Link::Connecting));
        match timeout_at(deadline, settled).await {
            Ok(Ok(link)) => match &*link {
                Link::Up(line) => Ok(line.clone()),
                Link::Down(reason) => Err(self.state.unavailable(reason.clone())),
                Link::Connecting => Err(self.state.unavailable("it is being connected")),
            },
            Ok(Err(_)) => Err(self.state.unavailable("the store is closed")),
            Err(_) => Err(self.state.timed_out()),
        }
    }

    /// Starts the keeper if there is none: at first use, and again when the runtime it ran on is gone.
    fn ensure_keeper(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.as_ref().is_none_or(AbortHandle::is_finished) {
            *keeper = Some(tokio::spawn(keeper::keep(self.state.clone())).abort_handle());
        }
    }
}

impl State {
    fn open_line(&self) -> Option<Arc<Line>> {
        match &*self.link.borrow() {
            Link::Up(line) => Some(line.clone()),
            _ => None,
        }
    }

    fn enter(&self) -> Result<Permit<'_>, StoreError> {
        let permit = Permit(&self.in_flight);
        if self.in_flight.fetch_add(1, Relaxed) >= self.limits.in_flight {
            self.counts.refused.fetch_add(1, Relaxed);
            return Err(StoreError::Busy { server: self.server.clone(), limit: self.limits.in_flight });
        }
        Ok(permit)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    fn answered(&self, line: &Line, value: &Value) {
        let first = match value {
            Value::Array(values) => values.first(),
            value => Some(value),
        };
        match first {
            Some(Value::ServerError(error)) => match error.code() {
                // A login that was revoked: log in again.
                "NOAUTH" | "WRONGPASS" => self.lost(line),
                // A master that was demoted: look for the new one. But it may be a replica that we were told to use,
                // and reads are still good: so not more often than connections settle.
                "READONLY" if line.since.elapsed() >= keeper::SETTLED => self.lost(line),
                "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" => self.failed(line, error.code()),
                _ => self.breaker.record_success(),
            },
            _ => self.breaker.record_success(),
        }
    }

    /// An operation over `line` failed; the last of several ends the line and opens the circuit.
    fn failed(&self, line: &Line, reason: &str) {
        if !self.is_current(line) || !self.breaker.record_failure() {
            return;
        }
        let is_first = self.link.send_if_modified(|link| {
            let is_first = matches!(link, Link::Up(up) if up.id == line.id);
            if is_first {
                *link = Link::Down(reason.into());
            }
            is_first
        });
        if is_first {
            self.breaker.set(Circuit::Open);
            tracing::warn!(server = %self.server, reason, "circuit opened: the cache server is left alone");
            self.broken.notify_one();
        }
    }

    /// `line` is broken: the keeper opens another, and callers wait for that.
    pub(super) fn lost(&self, line: &Line) {
        let is_first = self.link.send_if_modified(|link| {
            let is_first = matches!(link, Link::Up(up) if up.id == line.id);
            if is_first {
                *link = Link::Connecting;
            }
            is_first
        });
        if is_first {
            self.broken.notify_one();
        }
    }

    fn is_current(&self, line: &Line) -> bool {
        matches!(&*self.link.borrow(), Link::Up(up) if up.id == line.id)
    }

    fn timed_out(&self) -> StoreError {
        self.counts.timeouts.fetch_add(1, Relaxed);
        StoreError::TimedOut { server: self.server.clone(), limit: self.limits.response }
    }

    fn unavailable(&self, reason: impl Into<Arc<str>>) -> StoreError {
        self.counts.refused.fetch_add(1, Relaxed);
        StoreError::Unavailable { server: self.server.clone(), reason: reason.into() }
    }
}

impl Request<'_> {
    async fn send(&self, wire: &Wire) -> Result<Value, Broken> {
        match self {
            Self::One(command) => wire.send(command).await,
            // Boxed, as it would make the future of a single command larger.
            Self::Many(commands) => Box::pin(wire.send_all(commands)).await,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("server", &self.state.server).finish_non_exhaustive()
    }
}

/// One operation in flight.
struct Permit<'a>(&'a AtomicUsize);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
