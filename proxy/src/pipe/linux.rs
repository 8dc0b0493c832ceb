//! Pieces of bodies in pipes: how they get in, how they get out, and where the pipes come from.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice},
};
use tokio::{io::Interest, net::TcpStream};

use crate::{descriptors, workers};

/// A piece of a body that lies in the kernel.
#[derive(Debug)]
pub(crate) struct Piped {
    /// Taken only to be given back.
    pipe: Option<Pipe>,
    len: usize,
}

impl Piped {
    /// Takes what has come from a socket, of which `left` bytes are still wanted: nothing of them at its end, `None` where
    /// they are to be read instead.
    pub(crate) fn poll_from(
        from: &TcpStream,
        left: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Piped>>> {
        if left < WORTH_IT || IS_REFUSED.load(Relaxed) {
            return Poll::Ready(Ok(None));
        }
        // At most a mebibyte, which fits.
        let max = left.min(PIECE_MAX) as usize;
        loop {
            ready!(from.poll_read_ready(cx))?;
            let Some(pipe) = Pipe::take() else { return Poll::Ready(Ok(None)) };
            let mut piped = Piped { pipe: Some(pipe), len: 0 };
            match from.try_io(Interest::READABLE, || piped.fill(from, max)) {
                Ok(()) => return Poll::Ready(Ok(Some(piped))),
                Err(error) if is_none_yet(&error) => {}
                Err(error) if is_refusal(&error) => {
                    // Nothing has left the socket, and the next would not either.
                    IS_REFUSED.store(true, Relaxed);
                    return Poll::Ready(Ok(None));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Gives some of it to a socket. An error of the kind [`io::ErrorKind::InvalidInput`] means that the socket takes it by
    /// writing only.
    pub(crate) fn poll_into(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || self.empty(to)) {
                Err(error) if is_none_yet(&error) => {}
                Err(error) if is_refusal(&error) => {
                    IS_REFUSED.store(true, Relaxed);
                    return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
                }
                given => return Poll::Ready(given),
            }
        }
    }

    /// The same bytes in our memory.
    pub(crate) fn into_memory(mut self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        while self.len > 0 {
            let at = bytes.len() - self.len;
            match rustix::io::read(&self.pipe().read, &mut bytes[at..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.len -= count,
            }
        }
        Ok(bytes.into())
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn fill(&mut self, from: impl AsFd, max: usize) -> io::Result<()> {
        self.len = splice(from, None, &self.pipe().write, None, max, FLAGS)?;
        Ok(())
    }

    fn empty(&mut self, to: impl AsFd) -> io::Result<usize> {
        let count = splice(&self.pipe().read, None, to, None, self.len, FLAGS)?;
        self.len -= count;
        Ok(count)
    }

    fn pipe(&self) -> &Pipe {
        self.pipe.as_ref().expect("it is taken by drop alone")
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // With bytes of one body in it, it must never serve another.
        if let Some(pipe) = self.pipe.take().filter(|_| self.len == 0) {
            pipe.give_back();
        }
    }
}

/// An empty pipe. Counted as long as it is open.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    _counted: Counted,
}

impl Pipe {
    /// One that has served before, or a new one.
    fn take() -> Option<Pipe> {
        let served = IDLE.try_with(|idle| idle.borrow_mut().pop()).ok().flatten();
        served.or_else(Pipe::open)
    }

    fn open() -> Option<Pipe> {
        let counted = Counted::within(limits().open)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Who may not have larger ones, for all the pipes of this user are too large, may find this one tiny.
        let room = fcntl_setpipe_size(&write, ROOM).or_else(|_| fcntl_getpipe_size(&write)).ok()?;
        (room >= ROOM_MIN).then_some(Pipe { read, write, _counted: counted })
    }

    fn give_back(self) {
        // On a thread that ends there is no list any more, and it is closed.
        let _ = IDLE.try_with(|idle| {
            let mut idle = idle.borrow_mut();
            if idle.len() < limits().idle {
                idle.push(self);
            }
        });
    }
}

/// One of all that are open.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn within(max: usize) -> Option<Counted> {
        // Relaxed: the number orders nothing else. From here on it is counted back when it is dropped.
        let (before, counted) = (OPEN.fetch_add(1, Relaxed), Counted);
        (before < max).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Relaxed);
    }
}

/// How many pipes there may be.
struct Limits {
    open: usize,
    /// Empty ones that wait on one thread. All of them together are at most half.
    idle: usize,
}

fn limits() -> &'static Limits {
    static LIMITS: OnceLock<Limits> = OnceLock::new();
    LIMITS.get_or_init(|| {
        let open = descriptors::pipes_max();
        Limits { open, idle: (open / 2 / workers::cores()).min(IDLE_MAX) }
    })
}

/// Nothing has come, or nothing more is taken, at the moment.
fn is_none_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The kernel, or somebody who guards it, does not do this.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::INVAL, Errno::NOSYS, Errno::PERM, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

thread_local! {
    static IDLE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

static OPEN: AtomicUsize = AtomicUsize::new(0);
/// Once refused, it is not tried again.
static IS_REFUSED: AtomicBool = AtomicBool::new(false);
const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);
/// A body, or what is left of one, of fewer bytes is read and written, which costs no more.
const WORTH_IT: u64 = 64 << 10;
/// Bytes of one piece.
const PIECE_MAX: u64 = 1 << 20;
/// What a pipe is asked to have room for: 128 pages, of which each takes what is left of one of the socket's. With half of it
/// 1 MiB takes eight calls in place of four; with twice as much two, but then Linux gives a user only 64.
const ROOM: usize = 512 << 10;
/// With less, it is more calls than reading. What a new one has.
const ROOM_MIN: usize = 64 << 10;
const IDLE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const LEFT: u64 = 1 << 30;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (connected, listener.accept().await.unwrap().0)
    }

    /// A piece of what was sent, which is this.
    async fn piece(bytes: &[u8]) -> Piped {
        let (mut near, far) = pair().await;
        near.write_all(bytes).await.unwrap();
        let piped = poll_fn(|cx| Piped::poll_from(&far, LEFT, cx)).await.unwrap().unwrap();
        assert_eq!(piped.len(), bytes.len());
        piped
    }

    fn idle() -> usize {
        IDLE.with_borrow(Vec::len)
    }

    #[tokio::test]
    async fn a_piece_goes_from_socket_to_socket_and_its_pipe_serves_again() {
        let (near, mut far) = pair().await;
        for text in ["hello", "hello again"] {
            let mut piped = piece(text.as_bytes()).await;
            assert_eq!(idle(), 0);
            while !piped.is_empty() {
                poll_fn(|cx| piped.poll_into(&near, cx)).await.unwrap();
            }
            drop(piped);
            assert_eq!(idle(), 1);
            let mut read = vec![0; text.len()];
            far.read_exact(&mut read).await.unwrap();
            assert_eq!(read, text.as_bytes());
        }
    }

    #[tokio::test]
    async fn the_end_of_a_stream_is_an_empty_piece() {
        let (near, far) = pair().await;
        drop(near);
        let piped = poll_fn(|cx| Piped::poll_from(&far, LEFT, cx)).await.unwrap();
        assert!(piped.is_some_and(|piped| piped.is_empty()));
    }

    #[tokio::test]
    async fn a_pipe_with_something_in_it_serves_nobody_else() {
        drop(piece(b"of one").await);
        assert_eq!(idle(), 0);
    }

    /// A file that is appended to takes nothing from a pipe.
    #[tokio::test]
    async fn what_is_refused_is_had_in_memory() {
        let mut piped = piece(b"hello").await;
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        assert!(is_refusal(&piped.empty(&file).unwrap_err()));
        assert_eq!(piped.into_memory().unwrap(), "hello");
        assert_eq!(idle(), 1, "it is empty now");
    }

    #[tokio::test]
    async fn little_is_read_and_written() {
        let (_near, far) = pair().await;
        let piped = poll_fn(|cx| Piped::poll_from(&far, WORTH_IT - 1, cx)).await.unwrap();
        assert!(piped.is_none());
    }

    #[tokio::test]
    async fn more_than_allowed_are_not_opened_and_not_counted() {
        assert!((0..1_000).all(|_| Counted::within(0).is_none()));
        assert_eq!(piece(b"still").await.len(), 5);
    }
}
