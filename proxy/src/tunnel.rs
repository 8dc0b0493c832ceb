//! Bytes both ways: `CONNECT`, and connections that leave HTTP by `Upgrade`.
//!
//! ```text
//!   client ◄══ its connection, or its stream of HTTP/2 ══► relay ◄══ socket ══► destination or member
//! ```
//!
//! Each direction ends by itself (half-close); the tunnel ends when both have, when one fails, or when nothing has moved
//! either way for the idle timeout. What either side sent early is passed on first. A tunnel holds the member's lease and
//! the proxy's drain open for as long as it lasts, and does not notice reloads.

use std::{
    any::Any,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Request};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use crate::admit::destination::Destinations;

/// Opens a connection to where a client of a forward proxy wants to go: to an address that is allowed itself, whatever
/// its name resolves to.
pub(crate) async fn dial(
    destinations: &Destinations,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<TcpStream, DialError> {
    if !destinations.allow_name(host, port) {
        return Err(DialError::NotAllowed);
    }
    let opened = timeout(limit, open(destinations, host, port)).await;
    opened.unwrap_or(Err(DialError::Io(io::ErrorKind::TimedOut.into())))
}

async fn open(destinations: &Destinations, host: &str, port: u16) -> Result<TcpStream, DialError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let addresses: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(address) => vec![(address, port).into()],
        Err(_) => lookup_host((bare, port)).await.map_err(DialError::Io)?.collect(),
    };
    let mut last = DialError::NotAllowed;
    for address in addresses.into_iter().filter(|it| destinations.allow_address(it.ip(), port)) {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(DialError::Io)?;
                return Ok(stream);
            }
            Err(error) => last = DialError::Io(error),
        }
    }
    Err(last)
}

/// Why a destination is not reached.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Its name, or every address it has, is not on the list.
    NotAllowed,
    Io(io::Error),
}

/// Bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The socket, if it is nothing else.
    fn socket(&self) -> Option<&TcpStream>;
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {
    fn socket(&self) -> Option<&TcpStream> {
        (self as &dyn Any).downcast_ref()
    }
}

/// The far side of a tunnel, and what is known of it; the client's side comes when its answer has been sent.
pub(crate) struct Tunnel {
    far: Box<dyn Stream>,
    early: Bytes,
    idle: Duration,
    _held: Box<dyn Send>,
}

impl Tunnel {
    /// A tunnel to `far`, which sent `early` already; `held` lives as long as it does.
    pub(crate) fn new(
        far: impl Stream + 'static,
        early: Bytes,
        idle: Duration,
        held: impl Send + 'static,
    ) -> Self {
        Tunnel { far: Box::new(far), early, idle, _held: Box::new(held) }
    }

    /// Passes on whatever comes, until it ends. `client` has sent `early` already.
    pub(crate) async fn run(self, client: impl Stream, early: Bytes) {
        match relay((client, early), (self.far, self.early), self.idle).await {
            Ok((up, down)) => tracing::debug!(up, down, "tunnel ended"),
            Err(error) => tracing::debug!(%error, "tunnel broke"),
        }
    }

    /// The same with a client of HTTP/2, whose request had these `extensions`. Returns at once.
    pub(crate) fn start_by_upgrade(self, extensions: Extensions) {
        let mut request = Request::new(());
        *request.extensions_mut() = extensions;
        let upgrade = hyper::upgrade::on(request);
        tokio::spawn(async move {
            match upgrade.await {
                Ok(client) => self.run(TokioIo::new(client), Bytes::new()).await,
                Err(error) => tracing::debug!(%error, "the client left before its tunnel began"),
            }
        });
    }
}

/// Passes bytes both ways until both sides have ended, for each side those first that it sent early. Returns how many went
/// to `far` and came from it.
async fn relay<C: Stream, F: Stream>(
    client: (C, Bytes),
    far: (F, Bytes),
    idle: Duration,
) -> io::Result<(u64, u64)> {
    let activity = Arc::new(Activity { since: Instant::now(), last_ms: AtomicU64::new(0) });
    let mut client = Watched { stream: client.0, early: client.1, activity: Arc::clone(&activity) };
    let mut far = Watched { stream: far.0, early: far.1, activity: Arc::clone(&activity) };
    tokio::select! {
        relayed = copy_bidirectional(&mut client, &mut far) => relayed,
        () = activity.silence(idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// When a byte last moved.
#[derive(Debug)]
struct Activity {
    since: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    fn note(&self) {
        // Relaxed: a stamp that is seen a little late only makes the tunnel live a little longer or be looked at again.
        self.last_ms.store(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    async fn silence(&self, limit: Duration) {
        loop {
            let end = self.since + Duration::from_millis(self.last_ms.load(Relaxed)) + limit;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// A stream whose bytes are noticed.
#[derive(Debug)]
struct Watched<S> {
    stream: S,
    /// What it sent before anybody watched.
    early: Bytes,
    activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.early.is_empty() {
            let piece = this.early.split_to(this.early.len().min(buf.remaining()));
            buf.put_slice(&piece);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_ready() {
            this.activity.note();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if written.is_ready() {
            this.activity.note();
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn each_direction_ends_by_itself_and_early_bytes_come_first() {
        let (mut client, near) = duplex(64);
        let (far, mut server) = duplex(64);
        let relaying = tokio::spawn(relay(
            (near, Bytes::from("very ")),
            (far, Bytes::from("early ")),
            Duration::from_secs(60),
        ));
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut asked = String::new();
        server.read_to_string(&mut asked).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answered = String::new();
        client.read_to_string(&mut answered).await.unwrap();
        assert_eq!((asked.as_str(), answered.as_str()), ("very question", "early answer"));
        assert_eq!(relaying.await.unwrap().unwrap(), (13, 12));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_tunnel_and_a_byte_prolongs_it() {
        let (mut client, near) = duplex(64);
        let (far, _server) = duplex(64);
        let begun = Instant::now();
        let relaying =
            tokio::spawn(relay((near, Bytes::new()), (far, Bytes::new()), Duration::from_secs(60)));
        tokio::time::sleep(Duration::from_secs(50)).await;
        client.write_all(b"x").await.unwrap();
        let ended = relaying.await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= Duration::from_secs(110));
    }

    #[tokio::test]
    async fn a_name_that_leads_home_leads_nowhere() {
        let all: Destinations = ["*:*".parse().unwrap()].into_iter().collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", "0.0.0.0", "0177.0.0.1", "2130706433"] {
            let dialled = dial(&all, host, port, Duration::from_secs(5)).await;
            assert!(dialled.is_err(), "{host}");
        }
        let named: Destinations = ["*:*", "127.0.0.0/8:*"].iter().map(|it| it.parse().unwrap()).collect();
        assert!(dial(&named, "localhost", port, Duration::from_secs(5)).await.is_ok());
    }
}
