//! Listeners, connections, and how they end.
//!
//! ```text
//! accept ─► a task per connection ─► serve each request
//!    │                 │
//!    └── drain: no new connections; each one finishes the request it is at, says so, and closes
//! ```

use std::{io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::uri::Scheme;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::watch,
};

use crate::{
    config::{Config, Listen},
    connection::{Shared, serve_connection},
    observe::Counters,
    state::{StartError, State},
};

/// A proxy: the library's face. Clones are handles to the same proxy.
///
/// ```
/// use evenly::{Listener, Proxy, config::Config};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let config = Config::parse("cfg.toml", r#"
///     [server]
///     port = "127.0.0.1:0"
///     proxy_pass = ["127.0.0.1:6000", "127.0.0.1:7000^2"]
/// "#.replace(":0\"", ":8080\"").as_str()).unwrap();
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
        let state = ArcSwap::new(State::build(config)?);
        let shared = Shared { state, counters: Counters::default(), draining: watch::Sender::new(false) };
        Ok(Proxy { shared: Arc::new(shared) })
    }

    /// Accepts connections until [`drain`](Proxy::drain) is called. Call it once for each listener.
    pub async fn serve(&self, listener: Listener) {
        let mut draining = self.shared.draining.subscribe();
        let mut stopped = pin!(async move {
            // An error means that the sender is gone, and with it the proxy.
            let _ = draining.wait_for(|draining| *draining).await;
        });
        let mut sweeps = tokio::time::interval(SWEEP);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stopped => return,
                _ = sweeps.tick() => {
                    self.shared.state.load().group.close_idle();
                    continue;
                }
            };
            match accepted {
                Ok((Accepted::Tcp(stream), address)) => self.spawn(stream, address),
                Ok((Accepted::Unix(stream), address)) => self.spawn(stream, address),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: those who are being served go first.
                    tracing::warn!(%error, "cannot accept; trying again shortly");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
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
        &self.shared.counters
    }

    /// The members with their weight, load and health.
    #[must_use]
    pub fn members(&self) -> Vec<balancers::MemberStatus> {
        self.shared.state.load().group.pool.members()
    }

    fn spawn<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(&self, stream: S, address: IpAddr) {
        tokio::spawn(serve_connection(Arc::clone(&self.shared), stream, address, Scheme::HTTP));
    }
}

/// An open listener.
#[derive(Debug)]
pub enum Listener {
    /// IPv4, IPv6 or both.
    Tcp(TcpListener),
    /// A socket in the file system.
    Unix(UnixListener),
}

enum Accepted {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Listener {
    /// Opens the place that the configuration names.
    ///
    /// # Errors
    /// When the place is taken, not ours, or not there.
    pub fn bind(place: &Listen) -> io::Result<Listener> {
        match place {
            Listen::Unix(path) => UnixListener::bind(path).map(Listener::Unix),
            Listen::Tcp(address) => bind_tcp(*address).map(Listener::Tcp),
        }
    }

    async fn accept(&self) -> io::Result<(Accepted, IpAddr)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Accepted::Tcp(stream), address.ip().to_canonical()))
            }
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Unix(stream), IpAddr::from([127, 0, 0, 1])))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Listener::Tcp(listener)
    }
}

fn bind_tcp(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let is_any = address.ip() == IpAddr::from([0u16; 8]);
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        // ":8080" means every address of both families; of one, where the machine has no IPv6.
        Err(_) if is_any => return bind_tcp(([0u8; 4], address.port()).into()),
        made => made?,
    };
    if is_any {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The client left between its handshake and our accept.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput)
}

/// How often idle connections to members are looked at.
const SWEEP: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const BACKLOG: i32 = 4096;
