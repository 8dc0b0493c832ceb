//! Listeners, connections, and how they end.
//!
//! ```text
//! accept ─► a task per connection ─► serve each request
//!    │                 │
//!    └── drain: no new connections; each one finishes the request it is at, says so, and closes
//! ```

mod admin;
mod desk;
mod listener;

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::IpAddr,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::uri::Scheme;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, MissedTickBehavior, timeout_at},
};
use tokio_rustls::TlsAcceptor;

pub use listener::Listener;
use listener::{Accepted, is_of_one_connection};

use crate::{
    cached::Opened,
    config::Config,
    connection::{Shared, serve_connection},
    descriptors,
    entrance::{Entrance, Room, turn_away, who},
    filter::Filter,
    observe::{CacheFacts, Counters, EventKind, Observer},
    reload::ReloadError,
    state::{StartError, State},
    tunnel::Stream,
    upstream::{TICK, Tender},
    workers::{Busy, Seat},
};

/// A proxy: the library's face. Clones are handles to the same proxy.
///
/// ```
/// use evenly::{Listener, Proxy, config::Config};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let config = Config::parse("cfg.toml", r#"
///     [server]
///     proxy_pass = ["127.0.0.1:6000", "127.0.0.1:7000^2"]
/// "#).unwrap();
/// let proxy = Proxy::new(&config).unwrap();
/// let listener = Listener::from(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
/// let serving = tokio::spawn({
///     let proxy = proxy.clone();
///     async move { proxy.serve(listener).await }
/// });
/// proxy.drain();
/// serving.await.unwrap();
/// assert!(proxy.drained(std::time::Duration::from_secs(1)).await);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy as `config` describes it. It listens nowhere yet.
    ///
    /// # Errors
    /// When the configuration asks for what cannot be built.
    pub fn new(config: &Config) -> Result<Proxy, StartError> {
        Proxy::builder(config).build()
    }

    /// A proxy as `config` describes it, with [filters](crate::filter) of one's own.
    #[must_use]
    pub fn builder(config: &Config) -> Builder<'_> {
        Builder { config, filters: Vec::new() }
    }

    /// Serves by `config` from the next request on. Members that stay keep their load, health and connections;
    /// requests under way end as they began. Listeners are not touched: see [`Service`](crate::Service).
    ///
    /// # Errors
    /// When the configuration asks for what cannot be built; then nothing has changed.
    pub fn apply(&self, config: &Config) -> Result<(), StartError> {
        let _one_at_a_time = self.shared.applying.lock();
        let state = State::build(config, Some(&self.shared.state.load()))?;
        self.shared.state.store(state);
        Ok(())
    }

    /// Waits until every name that `config` finds members by has been asked for.
    pub(crate) async fn settle_names(&self, config: &Config) {
        let names: Vec<_> = config.names().cloned().collect();
        let directory = Arc::clone(&self.shared.state.load().directory);
        directory.settle(&names, &Arc::new(config.dns.clone())).await;
    }

    /// Notes how a reload went, for metrics and the dashboard.
    pub(crate) fn reloaded(&self, file: &Path, result: &Result<(), ReloadError>) {
        let (now, file) = (SystemTime::now(), file.display());
        let observer = &self.shared.observer;
        let told = match result {
            Ok(()) => {
                observer.counters.reloads.done_at(now);
                format!("reloaded {file}")
            }
            Err(error) => {
                observer.counters.reloads.refused.add(1);
                format!("refused {file}: {error}")
            }
        };
        observer.events.tell(now, EventKind::Reload, told);
    }

    /// Accepts connections until [`drain`](Proxy::drain) is called. Call it once for each listener.
    pub async fn serve(&self, listener: Listener) {
        self.serve_until(listener, std::future::pending()).await;
    }

    /// Like [`serve`](Proxy::serve), but ends also with `stop`: the listener closes, those already in its queue are
    /// still served, and its connections finish the request they are at.
    pub async fn serve_until(&self, listener: Listener, stop: impl Future<Output = ()>) {
        self.tend_members();
        self.serve_at(None, listener, stop).await;
    }

    /// Like [`serve_until`](Proxy::serve_until), as one of many workers that accept from the same socket.
    pub(crate) async fn serve_at(
        &self,
        seat: Option<Seat>,
        listener: Listener,
        stop: impl Future<Output = ()>,
    ) {
        // Gone when this function is: what waits for it drains.
        let closing = watch::Sender::new(());
        let mut draining = self.shared.draining.subscribe();
        let mut stopped = pin!(async move {
            tokio::select! {
                // An error means that the sender is gone, and with it the proxy.
                _ = draining.wait_for(|draining| *draining) => {}
                () = stop => {}
            }
        });
        self.shared.settle_names().await;
        if let Err(error) = listener.send_at_once() {
            tracing::warn!(%error, "answers may wait for more to be sent with them");
        }
        let mut cannot = false;
        loop {
            let (accepted, room) = tokio::select! {
                accepted = self.accept(&listener) => accepted,
                () = &mut stopped => break,
            };
            match accepted {
                Ok(accepted) => {
                    cannot = false;
                    self.spawn(accepted, room, &listener, &closing, seat.as_ref());
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: those who are being served go first.
                    self.shared.observer.counters.accept_errors.add(1);
                    if !std::mem::replace(&mut cannot, true) {
                        tracing::warn!(%error, "cannot accept; trying again and again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Whom the kernel has welcomed is not turned away: closing the listener would reset them.
        let latest = Instant::now() + LAST_CALL * 10;
        while let Ok((Ok(accepted), room)) =
            timeout_at(latest.min(Instant::now() + LAST_CALL), self.accept(&listener)).await
        {
            self.spawn(accepted, room, &listener, &closing, seat.as_ref());
        }
    }

    /// The next connection, once there are descriptors for it and for its way to a member.
    async fn accept(&self, listener: &Listener) -> (io::Result<(Accepted, IpAddr)>, Room) {
        let room = self.shared.entrance.room().await;
        (listener.accept().await, room)
    }

    /// No new connections; each open one finishes the request it is at and closes. Returns at once.
    pub fn drain(&self) {
        self.shared.draining.send_replace(true);
    }

    /// Waits until every connection has ended, at most `limit`; true if they all have.
    pub async fn drained(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.shared.draining.closed()).await.is_ok()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.observer.counters
    }

    /// What the cache did and holds; nothing but zeros without one.
    pub(crate) fn cache_facts(&self) -> CacheFacts {
        self.shared.state.load().cache.as_ref().map(Opened::facts).unwrap_or_default()
    }

    /// The members with their weight, load and health.
    #[must_use]
    pub fn members(&self) -> Vec<balancers::MemberStatus> {
        self.shared.state.load().group.pool.members()
    }

    /// Starts the task that looks after the members, once. It ends with the proxy.
    pub(crate) fn tend_members(&self) {
        if self.shared.is_tended.swap(true, Relaxed) {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            let seed = RandomState::new().hash_one(0u8);
            let mut tender = Tender::new(seed, Instant::now());
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut heard = 0;
            loop {
                ticks.tick().await;
                let Some(shared) = shared.upgrade() else { return };
                let (state, now) = (shared.state.load(), Instant::now());
                tender.tick(state.groups(), now, &shared.observer.events);
                state.directory.ask(state.names(), &state.dns, now);
                let news = state.directory.news();
                if std::mem::replace(&mut heard, news) != news {
                    shared.follow_names();
                }
            }
        });
    }

    fn spawn(
        &self,
        (stream, address): (Accepted, IpAddr),
        room: Room,
        listener: &Listener,
        closing: &watch::Sender<()>,
        seat: Option<&Seat>,
    ) {
        let (shared, closing) = (Arc::clone(&self.shared), closing.subscribe());
        // Asked for each connection: a reload may have brought other certificates.
        let state = self.shared.state.load();
        let tls = state.tls.as_ref().filter(|tls| listener.stands_at(&tls.listen));
        let tls = tls.map(|tls| Arc::clone(&tls.config));
        let chosen = seat.map(Seat::choose);
        let moved = match &chosen {
            Some(to) if seat.is_some_and(|seat| !seat.is(to)) => stream.move_to(to),
            _ => Ok(stream),
        };
        // Of a stream that cannot be moved, nothing is left to serve.
        let Ok(stream) = moved else { return };
        let handle = chosen.as_ref().map_or_else(Handle::current, |seat| seat.handle().clone());
        let busy = chosen.map(Seat::occupy);
        match stream {
            Accepted::Tcp(stream) => {
                handle.spawn(welcome(shared, stream, (address, room), tls, closing, busy));
            }
            Accepted::Unix(stream) => {
                handle.spawn(welcome(shared, stream, (address, room), tls, closing, busy));
            }
        }
    }
}

/// A proxy that is being put together.
#[derive(Debug)]
pub struct Builder<'c> {
    config: &'c Config,
    filters: Vec<Box<dyn Filter>>,
}

impl Builder<'_> {
    /// One more filter, behind those before it.
    #[must_use]
    pub fn filter(mut self, filter: impl Filter) -> Self {
        self.filters.push(Box::new(filter));
        self
    }

    /// The proxy. It listens nowhere yet.
    ///
    /// # Errors
    /// When the configuration asks for what cannot be built.
    pub fn build(self) -> Result<Proxy, StartError> {
        let observer = Arc::<Observer>::default();
        let state = ArcSwap::new(State::build(self.config, None)?);
        let now = SystemTime::now();
        observer.counters.reloads.done_at(now);
        observer.events.tell(now, EventKind::Reload, "started");
        let shared = Shared {
            state,
            applying: Mutex::new(()),
            is_tended: AtomicBool::new(false),
            observer,
            filters: self.filters.into(),
            entrance: Arc::new(Entrance::new(descriptors::clients_max())),
            draining: watch::Sender::new(false),
        };
        Ok(Proxy { shared: Arc::new(shared) })
    }
}

/// Shakes hands, where the listener speaks TLS, and serves the connection. Whatever most clients have no need of is boxed:
/// it is large, the task would be so for all of them, and a task is copied when it begins and when it ends.
async fn welcome<S>(
    shared: Arc<Shared>,
    stream: S,
    (address, room): (IpAddr, Room),
    tls: Option<Arc<rustls::ServerConfig>>,
    closing: watch::Receiver<()>,
    _busy: Option<Busy>,
) where
    S: Stream + 'static,
{
    let state = shared.state.load_full();
    let limit = state.timeouts.read;
    let Some(mut ticket) = shared.entrance.admit(room, &state.limits) else {
        return if tls.is_none() {
            Box::pin(turn_away(stream)).await;
        };
    };
    let mut stream = stream;
    let mut address = address;
    if state.takes_proxy_header(tls.is_some()) {
        address = match Box::pin(who(&mut stream, address, &state.admission.trusted, limit)).await {
            Ok(address) => address,
            Err(error) => return tracing::debug!(peer = %address, %error, "no PROXY header"),
        };
    }
    if !ticket.is_for(address, &state.limits) {
        return if tls.is_none() {
            Box::pin(turn_away(stream)).await;
        };
    }
    drop(state);
    let (scheme, stream) = match tls {
        None => (Scheme::HTTP, Box::new(stream) as Box<dyn Stream>),
        Some(tls) => match Box::pin(shake_hands(stream, tls, limit)).await {
            Ok(stream) => (Scheme::HTTPS, stream),
            Err(error) => return tracing::debug!(client = %address, %error, "no TLS handshake"),
        },
    };
    serve_connection(shared, stream, (address, ticket), scheme, closing).await;
}

async fn shake_hands(
    stream: impl Stream + 'static,
    tls: Arc<rustls::ServerConfig>,
    limit: Duration,
) -> io::Result<Box<dyn Stream>> {
    let accepted = tokio::time::timeout(limit, TlsAcceptor::from(tls).accept(stream)).await;
    Ok(Box::new(accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??))
}

/// How long a closing listener waits for one more connection in its queue, ten times at most.
const LAST_CALL: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
