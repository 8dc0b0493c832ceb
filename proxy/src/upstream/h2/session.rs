//! The HTTP/2 connections of one member.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    body::Body,
    upstream::connect::{Protocol, Stream as Socket},
};

/// The open connections of one member, and the right to open another.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: Mutex<Vec<Arc<Session>>>,
    /// Held while a connection is opened: those who come meanwhile share it instead of opening their own.
    opening: tokio::sync::Mutex<Option<Failure>>,
}

/// One connection.
#[derive(Debug)]
struct Session {
    sender: SendRequest<Body>,
    is_tls: bool,
    streams: AtomicUsize,
    /// It is being closed: no further requests.
    is_retired: AtomicBool,
    /// What the member allows, as far as it has said so.
    allowed: Arc<AtomicUsize>,
    idle_since: Mutex<Instant>,
}

/// A request's part of a connection.
#[derive(Debug)]
pub(crate) struct Stream {
    session: Arc<Session>,
}

/// The last connection that could not be opened, for those who waited for it.
#[derive(Debug)]
struct Failure {
    at: Instant,
    kind: io::ErrorKind,
    told: String,
}

/// What became of a wish for a stream.
#[derive(Debug)]
pub(crate) enum Opened {
    Stream(Stream),
    /// The member prefers HTTP/1.1.
    Whole(Socket),
}

impl Sessions {
    /// A stream of an open connection that has room for one.
    pub(crate) fn seize(&self, streams_max: usize) -> Option<Stream> {
        let mut open = self.open.lock();
        open.retain(|session| !session.sender.is_closed() && !session.is_retired.load(Relaxed));
        open.iter().find_map(|session| session.seize(streams_max))
    }

    /// A stream of a connection that was opened meanwhile, or is opened now by `connect`. That the member speaks HTTP/2 is
    /// known, or asked on the way.
    pub(crate) async fn open(
        &self,
        is_known: bool,
        streams_max: usize,
        silence_max: Duration,
        connect: impl Future<Output = io::Result<Socket>>,
    ) -> io::Result<Opened> {
        let began = Instant::now();
        let mut last = self.opening.lock().await;
        if let Some(stream) = self.seize(streams_max) {
            return Ok(Opened::Stream(stream));
        }
        if let Some(failure) = last.as_ref().filter(|failure| failure.at >= began) {
            return Err(io::Error::new(failure.kind, failure.told.clone()));
        }
        match connect.await {
            Ok(socket) if !is_known && socket.protocol() == Protocol::One => Ok(Opened::Whole(socket)),
            Ok(socket) => self.begin(socket, streams_max, silence_max).await.map(Opened::Stream),
            Err(error) => {
                *last = Some(Failure { at: Instant::now(), kind: error.kind(), told: error.to_string() });
                Err(error)
            }
        }
    }

    /// Speaks HTTP/2 on `socket` from now on.
    pub(crate) async fn begin(
        &self,
        socket: Socket,
        streams_max: usize,
        silence_max: Duration,
    ) -> io::Result<Stream> {
        let is_tls = matches!(socket, Socket::Tls(_));
        let mut http = http2::Builder::new(TokioExecutor::new());
        let window = STREAM_WINDOW.saturating_mul(u32::try_from(streams_max).unwrap_or(u32::MAX));
        http.timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window.min(WINDOW_MAX))
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEAD_MAX)
            .keep_alive_interval(PING_EVERY.max(silence_max / 2))
            .keep_alive_timeout(PING_PATIENCE);
        let (sender, connection) = http.handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
        let allowed = Arc::new(AtomicUsize::new(usize::MAX));
        let told = Arc::clone(&allowed);
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = std::future::poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                told.store(connection.current_max_send_streams().max(1), Relaxed);
                ended
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "HTTP/2 connection to a member ended");
            }
        });
        let session = Arc::new(Session {
            sender,
            is_tls,
            streams: AtomicUsize::new(1),
            is_retired: AtomicBool::new(false),
            allowed,
            idle_since: Mutex::new(Instant::now()),
        });
        self.open.lock().push(Arc::clone(&session));
        Ok(Stream { session })
    }

    /// Closes what has had no stream for longer than `limit`.
    pub(crate) fn close_idle(&self, limit: Duration) {
        let now = Instant::now();
        let is_needed = |session: &Arc<Session>| {
            session.streams.load(Relaxed) > 0 || now.duration_since(*session.idle_since.lock()) <= limit
        };
        // hyper closes a connection when nobody can send on it any more.
        self.open.lock().retain(is_needed);
    }
}

impl Session {
    /// Callers hold the list's lock: two that see the last place cannot both take it.
    fn seize(self: &Arc<Self>, streams_max: usize) -> Option<Stream> {
        let most = streams_max.min(self.allowed.load(Relaxed));
        if self.streams.load(Relaxed) >= most {
            return None;
        }
        self.streams.fetch_add(1, Relaxed);
        Some(Stream { session: Arc::clone(self) })
    }
}

impl Stream {
    pub(super) fn sender(&self) -> SendRequest<Body> {
        self.session.sender.clone()
    }

    /// The connection is about to be closed: nobody else is to come.
    pub(super) fn retire(&self) {
        self.session.is_retired.store(true, Relaxed);
    }

    pub(super) fn is_tls(&self) -> bool {
        self.session.is_tls
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        *self.session.idle_since.lock() = Instant::now();
        self.session.streams.fetch_sub(1, Relaxed);
    }
}

/// Bytes of one answer that may wait for a slow client.
const STREAM_WINDOW: u32 = 256 << 10;
/// The largest window that HTTP/2 knows (RFC 9113 §6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Bytes of one request's body that may wait for a slow member.
const SEND_BUFFER: usize = 64 << 10;
/// Bytes of an answer's head, as with HTTP/1.1.
const HEAD_MAX: u32 = 64 << 10;
/// A connection with streams and without a byte for so long, or for half of what a member may be silent if that is more,
/// is asked whether it is there. More often, and servers that count pings (grpc-go: 3 without data) would go away.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(10);
