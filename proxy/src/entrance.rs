//! Before a connection is served: may it come in, who is it, and does it speak TLS?
//!
//! ```text
//!   descriptors for one more? ─► accept ─► room for one more? ─► PROXY header, of trusted peers ─► room for this client? ─► TLS ─► served
//!     └ wait, in the kernel's queue           └ 503, close          └ close                          └ 503, close
//! ```
//!
//! The first question is about the machine and not about policy: a client whose request needs a member needs a second
//! descriptor, and whom the proxy cannot answer it does not accept.
//!
//! With `proxy_protocol`, a peer of `trusted_proxies` must begin with a header, within `http_read_timeout`: without one,
//! or with one that is malformed, its connection is closed without a word. Everybody else is a client under its own
//! address, whose header would be a request line that is none (400).
//!
//! The 503 is written as HTTP/1.1 text before anything is read, where no TLS is spoken; it is lost on HTTP/2 clients, who
//! see a connection that ends.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    admit::{client::TrustedProxies, proxy_protocol},
    config::ConnectionLimits,
};

/// Who is inside.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// One for each client that there are descriptors for.
    seats: Arc<Semaphore>,
    seats_max: usize,
    /// The last who came had to wait.
    was_full: AtomicBool,
    all: AtomicUsize,
    /// Counted only where there is a limit.
    by_client: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection that was let in; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    entrance: Arc<Entrance>,
    client: Option<IpAddr>,
    _room: Room,
}

/// The descriptors of one client.
#[derive(Debug)]
pub(crate) struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Entrance {
    /// An entrance for as many as there are descriptors for.
    pub(crate) fn new(seats_max: usize) -> Self {
        let seats_max = seats_max.min(Semaphore::MAX_PERMITS);
        Entrance {
            seats: Arc::new(Semaphore::new(seats_max)),
            seats_max,
            was_full: AtomicBool::new(false),
            all: AtomicUsize::new(0),
            by_client: Mutex::default(),
        }
    }

    /// Waits until there are descriptors for one more.
    pub(crate) async fn room(&self) -> Room {
        if let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned() {
            self.was_full.store(false, Relaxed);
            return Room { _permit: Some(permit) };
        }
        if !self.was_full.swap(true, Relaxed) {
            let clients = self.seats_max;
            tracing::warn!(clients, "no file descriptors for further clients; they wait until one goes");
        }
        // It is never closed.
        Room { _permit: Arc::clone(&self.seats).acquire_owned().await.ok() }
    }

    /// A place for a connection, if there is one left.
    pub(crate) fn admit(self: &Arc<Self>, room: Room, limits: &ConnectionLimits) -> Option<Ticket> {
        let ticket = Ticket { entrance: Arc::clone(self), client: None, _room: room };
        // Relaxed: the counter orders nothing else. The ticket is made first, so that a refused one is counted back.
        let before = self.all.fetch_add(1, Relaxed);
        (before < limits.connections).then_some(ticket)
    }
}

impl Ticket {
    /// Whether `client` may have one more.
    pub(crate) fn is_for(&mut self, client: IpAddr, limits: &ConnectionLimits) -> bool {
        let Some(most) = limits.connections_per_client else { return true };
        let mut by_client = self.entrance.by_client.lock();
        let count = by_client.entry(client).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        self.client = Some(client);
        true
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.entrance.all.fetch_sub(1, Relaxed);
        let Some(client) = self.client else { return };
        let mut by_client = self.entrance.by_client.lock();
        if let Some(count) = by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                by_client.remove(&client);
            }
        }
    }
}

/// Who is behind `peer`: what its PROXY header says, if it is trusted to say it.
pub(crate) async fn who(
    stream: &mut (impl AsyncRead + Unpin),
    peer: IpAddr,
    trusted: &TrustedProxies,
    limit: Duration,
) -> io::Result<IpAddr> {
    if !trusted.contains(peer) {
        return Ok(peer);
    }
    let told = timeout(limit, proxy_protocol::read(stream)).await;
    let told = told.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(told.map_or(peer, |address| address.ip().to_canonical()))
}

/// Says that there is no room, and closes. What the client is just sending is read, so that it is not reset before it has
/// the answer.
pub(crate) async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let farewell = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Who left already needs no farewell.
    let _ = timeout(FAREWELL, farewell).await;
}

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 24\r\n\r\n503 Service Unavailable\n";
const FAREWELL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_given_back() {
        let entrance = Arc::new(Entrance::new(5));
        let limits = ConnectionLimits {
            connections: 3,
            connections_per_client: Some(1),
            ..ConnectionLimits::default()
        };
        let [a, b] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let mut first = entrance.admit(entrance.room().await, &limits).unwrap();
        assert!(first.is_for(a, &limits));
        let mut second = entrance.admit(entrance.room().await, &limits).unwrap();
        assert!(!second.is_for(a, &limits) && second.is_for(b, &limits));
        let third = entrance.admit(entrance.room().await, &limits).unwrap();
        assert!(entrance.admit(entrance.room().await, &limits).is_none());
        assert!(entrance.admit(entrance.room().await, &limits).is_none(), "who was refused is not counted");
        drop((first, third));
        let mut again = entrance.admit(entrance.room().await, &limits).unwrap();
        assert!(again.is_for(a, &limits));
        drop((again, second));
        assert_eq!(entrance.all.load(Relaxed), 0);
        assert!(entrance.by_client.lock().is_empty());
    }

    #[tokio::test]
    async fn who_finds_no_descriptors_waits_until_somebody_goes() {
        let entrance = Arc::new(Entrance::new(2));
        let held = [entrance.room().await, entrance.room().await];
        let mut waiting = Box::pin(entrance.room());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        waiting.await;
        assert_eq!(entrance.seats.available_permits(), 2);
    }

    #[tokio::test]
    async fn a_strangers_header_is_not_read() {
        let trusted: TrustedProxies = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
        let header = b"PROXY TCP4 203.0.113.5 10.0.0.2 1 2\r\nrest";
        for (peer, expected, left) in
            [([10, 0, 0, 1], [203, 0, 113, 5], 4), ([192, 0, 2, 1], [192, 0, 2, 1], header.len())]
        {
            let mut stream = &header[..];
            let who = who(&mut stream, peer.into(), &trusted, Duration::from_secs(5)).await.unwrap();
            assert_eq!((who, stream.len()), (IpAddr::from(expected), left));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let trusted: TrustedProxies = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"PROXY TCP4 203").await.unwrap();
        let ended = who(&mut server, [10, 0, 0, 1].into(), &trusted, Duration::from_secs(5)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        client.write_all(&[b'x'; 100][..50]).await.unwrap();
    }

    #[tokio::test]
    async fn who_finds_no_room_is_told() {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let turning = tokio::spawn(turn_away(server));
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        let told = String::from_utf8(told).unwrap();
        assert!(
            told.starts_with("HTTP/1.1 503 ") && told.ends_with("\r\n\r\n503 Service Unavailable\n"),
            "{told}"
        );
        drop(client);
        turning.await.unwrap();
    }
}
