//! A client's stream that never shows the HTTP parser an ambiguous message.
//!
//! [`Framing`] follows what is read. At the first fault the rest of the stream is replaced by two bytes that no state of
//! an HTTP/1 parser takes (`CR CR`) and an end: the parser answers 400 by itself, or fails the body it is reading, and
//! closes. Behind a request for `CONNECT` or `Upgrade` nothing is read until the service has said, by
//! [`Switch::decide`], whether a tunnel or another request follows; bytes sent early are kept for either.
//!
//! ```text
//!   socket ─► Guard ─► parser ─► service ─┐
//!               ▲                         │ decide(switched)
//!               └────────── Switch ◄──────┘
//! ```
//!
//! HTTP/2, recognised by its preface, passes untouched: [`Guard::protocol`] tells which of the two a client speaks,
//! whether it came by ALPN or by prior knowledge. Nothing is copied but the first bytes, and bytes that must wait.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::framing::{Framing, PREFACE, Step};

/// A stream from a client, followed by [`Framing`].
#[derive(Debug)]
pub struct Guard<S> {
    stream: S,
    framing: Framing,
    /// Bytes that were read but wait for a decision.
    held: Vec<u8>,
    /// How many bytes of the refusal are still to be shown, once the framing is broken.
    refusal: Option<&'static [u8]>,
    /// How long a client may take nothing of what there is for it. A tunnel has a limit of its own.
    stall_max: Option<Duration>,
    stall: Option<Pin<Box<Sleep>>>,
    switch: Arc<Switch>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The service's side of a [`Guard`]: tells it how a request to leave HTTP/1 was answered.
#[derive(Debug, Default)]
pub struct Switch {
    state: Mutex<SwitchState>,
}

#[derive(Debug, Default)]
struct SwitchState {
    decision: Option<bool>,
    reader: Option<Waker>,
}

impl Switch {
    /// To be called once for every HTTP/1.1 request with `Upgrade` and every `CONNECT`, before its answer is sent:
    /// does the answer turn the connection into a tunnel?
    pub fn decide(&self, switched: bool) {
        let mut state = self.state.lock();
        state.decision = Some(switched);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    fn poll_decision(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.state.lock();
        match state.decision.take() {
            Some(decision) => Poll::Ready(decision),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<S> Guard<S> {
    /// Guards a stream from its first byte on. A client that takes no byte for `stall_max` is let go.
    pub fn new(stream: S, stall_max: Duration) -> Self {
        let framing = Framing::for_connection();
        Self {
            stream,
            framing,
            held: Vec::new(),
            refusal: None,
            stall_max: Some(stall_max),
            stall: None,
            switch: Arc::default(),
        }
    }

    /// The handle for the service.
    pub fn switch(&self) -> Arc<Switch> {
        Arc::clone(&self.switch)
    }

    /// Which protocol the client speaks, by its first bytes; none when it leaves without a word.
    ///
    /// # Errors
    /// When the stream fails.
    pub async fn protocol(&mut self) -> io::Result<Option<Protocol>>
    where
        S: AsyncRead + Unpin,
    {
        loop {
            if poll_fn(|cx| self.poll_hold(cx)).await? == 0 {
                return Ok((!self.held.is_empty()).then_some(Protocol::Http1));
            }
            let common =
                self.held.iter().zip(PREFACE).take_while(|(byte, expected)| byte == expected).count();
            if common == PREFACE.len() {
                return Ok(Some(Protocol::Http2));
            }
            if common < self.held.len() {
                return Ok(Some(Protocol::Http1));
            }
        }
    }

    /// Passes on what came of a write, or an error if the client has taken nothing for too long.
    fn unless_stalled(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let Some(stall_max) = self.stall_max else { return written };
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits for bytes, to be read from here later; false if there will be none. Holds no memory while it waits.
    ///
    /// # Errors
    /// When the stream fails.
    pub async fn wait(&mut self) -> io::Result<bool>
    where
        S: AsyncRead + Unpin,
    {
        Ok(!self.held.is_empty() || poll_fn(|cx| self.poll_hold(cx)).await? > 0)
    }

    /// Whether all that was read from here belongs to whole messages.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.framing.is_between_messages() && self.held.is_empty() && self.refusal.is_none()
    }

    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        let mut bytes = [const { MaybeUninit::uninit() }; FIRST_READ];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Shows what was just put into `buffer` behind `start` to the follower, and takes back what the parser may not see.
    fn follow(&mut self, buffer: &mut ReadBuf<'_>, start: usize) {
        match self.framing.follow(&buffer.filled()[start..]) {
            Step::All => {}
            Step::Wait { at } => {
                let waiting = &buffer.filled()[start + at..];
                self.held.splice(0..0, waiting.iter().copied());
                buffer.set_filled(start + at);
            }
            Step::Broken { at, why } => {
                tracing::debug!(?why, "message framing refused");
                buffer.set_filled(start + at);
                self.held = Vec::new();
                self.refusal = Some(REFUSAL);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buffer.filled().len();
        loop {
            if let Some(refusal) = this.refusal {
                let (shown, left) = refusal.split_at(refusal.len().min(buffer.remaining()));
                buffer.put_slice(shown);
                this.refusal = Some(left);
                return Poll::Ready(Ok(()));
            }
            if this.framing.is_undecided() {
                let switched = ready!(this.switch.poll_decision(cx));
                this.framing.decide(switched);
                if switched {
                    this.stall_max = None;
                }
            }
            if this.held.is_empty() {
                ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
                if buffer.filled().len() == start {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let count = this.held.len().min(buffer.remaining());
                buffer.put_slice(&this.held[..count]);
                this.held.drain(..count);
                if this.held.is_empty() {
                    this.held = Vec::new();
                }
            }
            this.follow(buffer, start);
            // Showing nothing would mean the end of the stream.
            if buffer.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.unless_stalled(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.unless_stalled(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// In a head, a chunk line, after chunk data or in trailers: CR demands LF next.
const REFUSAL: &[u8] = b"\r\r";
/// Room for the head of an ordinary request.
const FIRST_READ: usize = 4096;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn read_all(sent: &[u8]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(sent).await.unwrap();
        drop(client);
        let mut seen = Vec::new();
        Guard::new(server, Duration::from_secs(60)).read_to_end(&mut seen).await.unwrap();
        seen
    }

    #[tokio::test]
    async fn well_framed_bytes_pass_and_the_rest_is_replaced() {
        let good = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(read_all(good).await, good);
        assert_eq!(
            read_all(b"GET / HTTP/1.1\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n").await,
            b"GET / HTTP/1.1\r\nA: b\r\r"
        );
        assert_eq!(read_all(b"\nGET").await, b"\r\r");
    }

    #[tokio::test]
    async fn the_protocol_is_told_by_the_first_bytes_which_are_read_again() {
        for (sent, expected) in [
            (PREFACE, Some(Protocol::Http2)),
            (b"POST / HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"PRI * HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"PR", Some(Protocol::Http1)),
            (b"", None),
        ] {
            let (mut client, server) = tokio::io::duplex(5);
            let mut guard = Guard::new(server, Duration::from_secs(60));
            let sending = tokio::spawn(async move { client.write_all(sent).await });
            assert_eq!(guard.protocol().await.unwrap(), expected);
            let mut seen = Vec::new();
            guard.read_to_end(&mut seen).await.unwrap();
            assert_eq!(seen, sent);
            sending.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn bytes_behind_an_upgrade_are_held_until_the_decision() {
        for switched in [true, false] {
            let (mut client, server) = tokio::io::duplex(1024);
            let mut guard = Guard::new(server, Duration::from_secs(60));
            let switch = guard.switch();
            let head = b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n";
            client.write_all(&[&head[..], b"GET / HTTP/1.1\nearly"].concat()).await.unwrap();
            let mut buffer = [0; 100];
            assert_eq!(guard.read(&mut buffer).await.unwrap(), head.len());
            assert!(read_once(&mut guard).is_pending(), "nothing may be read before the decision");
            switch.decide(switched);
            drop(client);
            let mut rest = Vec::new();
            guard.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, if switched { &b"GET / HTTP/1.1\nearly"[..] } else { b"GET / HTTP/1.1\r\r" });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_let_go() {
        let (_client, server) = tokio::io::duplex(10);
        let mut guard = Guard::new(server, Duration::from_secs(5));
        let ended = guard.write_all(&[0; 100]).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    fn read_once(guard: &mut Guard<tokio::io::DuplexStream>) -> Poll<()> {
        let mut bytes = [0; 10];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(guard).poll_read(&mut cx, &mut buffer).map(|_| ())
    }
}
