//! Writing once for many: a request waits one turn of the runtime for those that are just being made.
//!
//! ```text
//!     without    task 1 ─ request ─► driver ─ write ─►  task 2 ─ request ─► driver ─ write ─►  …       a write for each
//!
//!     with       task 1 ─ request ─► driver ─ "after you" ─►  task 2, 3 … 16 ─ requests ─► driver ─ write ─►   one for all
//! ```
//!
//! A task that hands a request to the connection's driver wakes it, and a runtime runs what was woken last first: the driver
//! would write that one request before the next task has its turn, though many are ready because their answers came in one
//! packet. A system call costs more than everything else in an operation, here and on the server, which answers as it is asked.
//!
//! So the first attempt to write is put off: the driver goes to the end of the queue, and writes when it comes round. When no
//! other task is ready that is at once. A full buffer ([`ENOUGH`]) does not wait. Whether waiting gains anything is seen by what
//! has come meanwhile: after a turn that brought nothing the next few writes go out directly, so that a lone caller pays for
//! one turn in [`PATIENCE`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose writes are gathered.
pub(super) struct Corked<S> {
    stream: S,
    cork: Cork,
}

impl<S> Corked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, cork: Cork::default() }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cork.holds_back(buf.len()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.cork.written();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

/// Whether to write now.
#[derive(Debug, Default)]
struct Cork {
    /// Bytes there were when the write was put off; `None` while none is.
    held: Option<usize>,
    /// Writes that go out directly, because the last turn brought nothing.
    direct: u8,
}

impl Cork {
    /// True when `len` bytes should wait one turn for more. Never twice in a row.
    fn holds_back(&mut self, len: usize) -> bool {
        match self.held {
            Some(before) => {
                if len <= before {
                    self.direct = PATIENCE;
                }
                false
            }
            None if len >= ENOUGH => false,
            None if self.direct > 0 => false,
            None => {
                self.held = Some(len);
                true
            }
        }
    }

    fn written(&mut self) {
        if self.held.take().is_none() {
            self.direct = self.direct.saturating_sub(1);
        }
    }
}

/// Bytes for which a write is worth its while.
pub(super) const ENOUGH: usize = 16 * 1024;
/// Writes that go out directly after a turn that brought nothing.
const PATIENCE: u8 = 16;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The answers of a cork to attempts to write so many bytes; what it lets through is written.
    fn held_back(cork: &mut Cork, lens: &[usize]) -> Vec<bool> {
        let ask = |len: &usize| {
            let holds_back = cork.holds_back(*len);
            if !holds_back {
                cork.written();
            }
            holds_back
        };
        lens.iter().map(ask).collect()
    }

    #[test]
    fn a_write_waits_one_turn_while_that_brings_more() {
        let mut cork = Cork::default();
        assert_eq!(
            held_back(&mut cork, &[50, 800, 50, 800, 50, 51]),
            [true, false, true, false, true, false]
        );
        assert_eq!(held_back(&mut cork, &[ENOUGH, ENOUGH - 1]), [false, true]);
    }

    #[test]
    fn a_lone_caller_waits_seldom() {
        let mut cork = Cork::default();
        let held = held_back(&mut cork, &[50; 2 * (2 + PATIENCE as usize)]);
        assert_eq!(held.iter().filter(|is_held| **is_held).count(), 2, "{held:?}");
        assert!(held[0] && held[2 + PATIENCE as usize]);
    }

    #[tokio::test]
    async fn bytes_pass_unchanged_and_in_order() {
        let (here, mut there) = tokio::io::duplex(7);
        let mut corked = Corked::new(here);
        let sent: Vec<u8> = (0..=255).cycle().take(10 * ENOUGH).collect();
        let (chunks, expected) = (sent.clone(), sent.clone());
        let writing = tokio::spawn(async move {
            for chunk in chunks.chunks(97) {
                corked.write_all(chunk).await.unwrap();
            }
            corked.flush().await.unwrap();
            corked
        });
        let mut got = vec![0; expected.len()];
        there.read_exact(&mut got).await.unwrap();
        assert!(got == expected);
        let mut corked = writing.await.unwrap();
        there.write_all(b"back").await.unwrap();
        let mut back = [0; 4];
        corked.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"back");
    }

    /// The point of it all: of tasks that ask at the same moment through one driver, one write comes.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_ready_tasks_ask_is_written_in_one_go() {
        let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel::<u8>();
        let (here, mut there) = tokio::io::duplex(1024);
        let mut corked = Corked::new(here);
        let mut asked = Vec::new();
        let driver = std::future::poll_fn(move |cx| {
            while let Poll::Ready(Some(request)) = requests.poll_recv(cx) {
                asked.push(request);
            }
            if !asked.is_empty()
                && let Poll::Ready(Ok(count)) = Pin::new(&mut corked).poll_write(cx, &asked)
            {
                asked.drain(..count);
            }
            Poll::<()>::Pending
        });
        let driver = tokio::spawn(driver);
        // From a task of the one worker, so that all are ready before the first of them runs.
        tokio::spawn(async move {
            for number in 0..16 {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(number) });
            }
        });
        let mut buffer = [0; 64];
        assert_eq!(there.read(&mut buffer).await.unwrap(), 16);
        driver.abort();
    }
}
