//! A stream that is on loan, and comes home when the borrower lets go of it.
//!
//! hyper takes a stream for good, and holds some 25 KiB for it as long as the connection is open, also while nothing
//! happens. Given a [`Lent`] one, it can be dropped between two requests: the stream is back at [`Home`], where it
//! waits for the next request at the cost of the socket alone. That is safe when neither side is in the middle of
//! anything, which [`Home::is_quiet`] tells: all that was read belongs to whole messages, and all that was written has
//! left.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::admit::guard::Guard;

/// Where a stream is while nobody has borrowed it, and what is known of it meanwhile.
#[derive(Debug)]
pub(super) struct Home<S> {
    stream: Mutex<Option<Guard<S>>>,
    // Written and read by the one task that serves the connection.
    is_between_messages: AtomicBool,
    is_flushed: AtomicBool,
}

/// A borrowed stream.
#[derive(Debug)]
pub(super) struct Lent<S> {
    /// Gone only while it is dropped.
    stream: Option<Guard<S>>,
    home: Arc<Home<S>>,
}

impl<S> Home<S> {
    pub(super) fn new(stream: Guard<S>) -> Arc<Self> {
        Arc::new(Home {
            stream: Mutex::new(Some(stream)),
            is_between_messages: AtomicBool::new(false),
            is_flushed: AtomicBool::new(true),
        })
    }

    /// The stream, unless it is on loan.
    pub(super) fn take(&self) -> Option<Guard<S>> {
        self.stream.lock().take()
    }

    /// Brings it back.
    pub(super) fn put(&self, stream: Guard<S>) {
        *self.stream.lock() = Some(stream);
    }

    /// Lends `stream`.
    pub(super) fn lend(self: &Arc<Self>, stream: Guard<S>) -> Lent<S> {
        self.is_between_messages.store(false, Relaxed);
        Lent { stream: Some(stream), home: Arc::clone(self) }
    }

    /// Nothing is half read or half written.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_between_messages.load(Relaxed) && self.is_flushed.load(Relaxed)
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.home.put(stream);
        }
    }
}

impl<S: Unpin> Lent<S> {
    fn parts(self: Pin<&mut Self>) -> (&mut Guard<S>, &Home<S>) {
        let this = self.get_mut();
        (this.stream.as_mut().expect("taken only in `drop`"), &this.home)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (stream, home) = self.parts();
        let read = ready!(Pin::new(&mut *stream).poll_read(cx, buffer));
        home.is_between_messages.store(stream.is_between_messages(), Relaxed);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (stream, home) = self.parts();
        home.is_flushed.store(false, Relaxed);
        Pin::new(stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (stream, home) = self.parts();
        home.is_flushed.store(false, Relaxed);
        Pin::new(stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (stream, home) = self.parts();
        // hyper flushes its stream when it holds no byte of its own any more.
        let flushed = ready!(Pin::new(stream).poll_flush(cx));
        home.is_flushed.store(flushed.is_ok(), Relaxed);
        Poll::Ready(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (stream, home) = self.parts();
        home.is_flushed.store(false, Relaxed);
        Pin::new(stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn it_is_quiet_between_whole_messages_that_have_left() {
        let (mut client, server) = tokio::io::duplex(64);
        let home = Home::new(Guard::new(server, std::time::Duration::from_secs(60)));
        let mut lent = home.lend(home.take().unwrap());
        assert!(home.take().is_none() && !home.is_quiet(), "on loan, and nothing was read");
        let mut buffer = [0; 64];
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (piece, is_whole) in [(&head[..9], false), (&head[9..], true)] {
            client.write_all(piece).await.unwrap();
            assert_eq!(lent.read(&mut buffer).await.unwrap(), piece.len());
            assert_eq!(home.is_quiet(), is_whole);
        }
        lent.write_all(b"HTTP/1.1 204 No Content\r\n").await.unwrap();
        assert!(!home.is_quiet(), "there may be more to write");
        lent.flush().await.unwrap();
        assert!(home.is_quiet());
        drop(lent);
        assert!(home.take().is_some());
    }
}
