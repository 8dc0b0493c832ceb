//! What is kept of a member: its address, its idle connections, its health.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    connect::{Protocol, Stream, connect},
    group::Settings,
    h1::Connection,
    h2::{self, Opened, Sessions},
    health::{Health, Verdict},
    queue::{Place, Places, Queue},
};
use crate::{config::Address, observe::MemberCounters, workers};

/// A member of a group as the proxy knows it: how it is to be treated, and what was learnt and kept of it. A reload
/// [renews](Backend::renewed) the first and hands on the second.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    address: Address,
    /// The address as it is told.
    name: Arc<str>,
    settings: Arc<Settings>,
    kept: Arc<Kept>,
}

/// What lives as long as the member is configured, through any number of reloads.
#[derive(Debug)]
struct Kept {
    sessions: Sessions,
    /// It had the choice, and chose HTTP/1.1.
    prefers_one: AtomicBool,
    /// For each worker its own, and one for all other threads: a connection is watched by the event loop that opened
    /// it. The newest at the back. The newest is used first: so the rest can age and leave.
    idle: Box<[Mutex<VecDeque<Idle>>]>,
    health: Health,
    places: Arc<Places>,
    counters: Arc<MemberCounters>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// A way to a member for one request.
#[derive(Debug)]
pub(crate) enum Link {
    /// A connection of HTTP/1.1, for this request alone.
    One(Connection),
    /// A stream of an HTTP/2 connection that many share.
    Two(h2::Stream),
}

impl Backend {
    /// A member nothing is known of.
    pub(crate) fn new(address: Address, settings: Arc<Settings>, queue: Arc<Queue>) -> Self {
        let places = Arc::new(Places::new(queue));
        let kept = Kept {
            sessions: Sessions::default(),
            prefers_one: AtomicBool::new(false),
            idle: (0..=settings.workers.get()).map(|_| Mutex::default()).collect(),
            health: Health::new(Instant::now()),
            places,
            counters: Arc::default(),
        };
        Backend { name: address.to_string().into(), address, settings, kept: Arc::new(kept) }
    }

    /// The same member under new settings: it keeps its connections and its health.
    pub(crate) fn renewed(&self, settings: Arc<Settings>) -> Self {
        Backend { settings, ..self.clone() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn health(&self) -> &Health {
        &self.kept.health
    }

    /// A place for one request, if it has one left.
    pub(crate) fn place(&self) -> Option<Place> {
        let most = if self.kept.health.is_on_probation() { 1 } else { self.settings.queue.max_connections };
        self.kept.places.take(most)
    }

    /// A request that began at `started` was answered.
    pub(crate) fn succeeded(&self, started: Instant) {
        self.kept.health.succeeded(started, &self.settings.health);
    }

    /// A request failed by the member's fault.
    pub(crate) fn failed(&self, why: Verdict) {
        self.kept.health.failed(why, Instant::now(), &self.settings.health);
    }

    pub(crate) fn counters(&self) -> &Arc<MemberCounters> {
        &self.kept.counters
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A way that is open already, if there is one. One that `switches` protocols must be HTTP/1.1.
    pub(crate) fn reuse(&self, switches: bool) -> Option<Link> {
        if !switches
            && self.may_speak_two()
            && let Some(stream) = self.kept.sessions.seize(self.settings.queue.max_streams)
        {
            self.kept.counters.connections_reused.add(1);
            return Some(Link::Two(stream));
        }
        self.idle().map(Link::One)
    }

    fn idle(&self) -> Option<Connection> {
        loop {
            // The lock is held for the pop alone; a connection is looked at outside it.
            let mut kept = self.own_idle().lock().pop_back()?;
            if kept.connection.is_usable() {
                self.kept.counters.connections_reused.add(1);
                return Some(kept.connection);
            }
        }
    }

    /// A new way: a connection, or a stream of one that somebody else opened meanwhile.
    pub(crate) async fn open(&self, switches: bool) -> io::Result<Link> {
        let silence_max = self.settings.timeouts.response;
        let streams_max = self.settings.queue.max_streams;
        if !self.may_speak_two() || switches && !matches!(self.address, Address::H2 { .. }) {
            return self.connect().await.map(Link::One);
        }
        if self.kept.prefers_one.load(Relaxed) {
            let stream = self.dial(Protocol::Two).await?;
            if stream.protocol() == Protocol::One {
                return Ok(Link::One(Connection::new(stream)));
            }
            self.kept.prefers_one.store(false, Relaxed);
            return self.kept.sessions.begin(stream, streams_max, silence_max).await.map(Link::Two);
        }
        let is_known = matches!(self.address, Address::H2 { .. });
        match self.kept.sessions.open(is_known, streams_max, silence_max, self.dial(Protocol::Two)).await? {
            Opened::Stream(stream) => Ok(Link::Two(stream)),
            Opened::Whole(stream) => {
                self.kept.prefers_one.store(true, Relaxed);
                Ok(Link::One(Connection::new(stream)))
            }
        }
    }

    /// A new connection of HTTP/1.1.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        self.dial(Protocol::One).await.map(Connection::new)
    }

    /// A new connection. With [`Protocol::Two`] the member chooses, if it can be asked.
    async fn dial(&self, best: Protocol) -> io::Result<Stream> {
        let Settings { timeouts, tls, .. } = &*self.settings;
        let tls = tls.as_ref().map(|tls| match best {
            Protocol::One => &tls.one,
            Protocol::Two => tls.either.as_ref().unwrap_or(&tls.one),
        });
        let stream = connect(&self.address, timeouts.connect, tls).await?;
        self.kept.counters.connections_opened.add(1);
        Ok(stream)
    }

    fn may_speak_two(&self) -> bool {
        match self.address {
            Address::H2 { .. } => true,
            Address::Tls { .. } => self.settings.tls.as_ref().is_some_and(|tls| tls.either.is_some()),
            Address::Tcp { .. } | Address::Unix(_) => false,
        }
    }

    /// Keeps a connection for a later request, and lets go of those that waited too long.
    pub(crate) fn keep(&self, connection: Connection) {
        let now = Instant::now();
        let mut leaving = Vec::new();
        let mut idle = self.own_idle().lock();
        idle.push_back(Idle { connection, since: now });
        while idle.front().is_some_and(|oldest| now - oldest.since > self.settings.timeouts.idle)
            || idle.len() > IDLE_MAX / self.settings.workers
        {
            leaving.extend(idle.pop_front());
        }
        drop(idle);
        // Sockets are closed outside the lock.
        drop(leaving);
    }

    /// Closes what waited for `age` or longer, and says how many those were; HTTP/2 connections are not counted. For members without
    /// traffic, where `keep` is not called.
    pub(crate) fn close_idle(&self, age: Duration) -> usize {
        self.kept.sessions.close_idle(age);
        let now = Instant::now();
        let mut closed = 0;
        for idle in &self.kept.idle {
            let mut idle = idle.lock();
            let expired = idle.iter().take_while(|kept| now.duration_since(kept.since) >= age).count();
            let leaving: Vec<Idle> = idle.drain(..expired).collect();
            drop(idle);
            closed += leaving.len();
        }
        closed
    }

    /// The idle connections of this thread.
    fn own_idle(&self) -> &Mutex<VecDeque<Idle>> {
        // A reload does not change how many workers there are, but a configuration may say so.
        &self.kept.idle[workers::current() % self.kept.idle.len()]
    }
}

/// Idle connections kept for one member at most, by all workers together.
const IDLE_MAX: usize = 1024;
