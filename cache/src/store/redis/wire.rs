//! A connection that many share: requests go out in the order in which they come, replies come back in the same.
//!
//! ```text
//!     callers ─ requests ─► queue (1,024) ─► Driver ─ gathered, see `cork` ─► socket        a value of 16 KB or more is written
//!        ▲                                     │                                            from where it lies
//!        └─────────── replies ─────────────────┴─◄ read, see `replies` ◄───── socket        and read to where it stays
//! ```
//!
//! The client library has such a connection, too. This one is here because a cache moves values: there, one of a megabyte is
//! copied three times on its way out and once more on its way in, and each small reply goes through a general parser
//! (`docs/redis.md` has the figures). It is not a client of its own: words, values and rare replies are the library's.
//!
//! Who gives up waiting is forgotten: his request is not written if it still can be left out, and his reply is dropped.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use redis::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};

use super::{
    command::{Command, Payload},
    cork::{Cork, ENOUGH},
    out::Out,
    replies::Replies,
    watch::Watch,
    window::Window,
};

/// A handle to a connection. When the last is gone and all is answered, the driver ends.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    requests: mpsc::Sender<Request>,
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection ended.
    Lost(Arc<str>),
    /// What came in the answer's place was none.
    Garbage(Arc<str>),
}

impl Broken {
    pub(super) fn reason(&self) -> &Arc<str> {
        match self {
            Self::Lost(reason) | Self::Garbage(reason) => reason,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

type Answer = Result<Value, Broken>;

struct Request {
    bytes: Vec<u8>,
    payload: Option<Payload>,
    /// How many replies it has, where they are to come together.
    replies: Option<usize>,
    caller: oneshot::Sender<Answer>,
}

impl Wire {
    /// The answer to `command`; an error of the server is one.
    pub(super) async fn send(&self, command: &Command) -> Answer {
        let (bytes, payload) = command.pack();
        self.answer(bytes, payload, None).await
    }

    /// The answers to all of `commands`, as an array.
    pub(super) async fn send_all(&self, commands: &[&Command]) -> Answer {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.write(&mut bytes));
        match commands.len() {
            0 => Ok(Value::Array(Vec::new())),
            count => self.answer(bytes, None, Some(count)).await,
        }
    }

    async fn answer(&self, bytes: Vec<u8>, payload: Option<Payload>, replies: Option<usize>) -> Answer {
        let closed = || Broken::Lost("the connection was closed".into());
        let (caller, answer) = oneshot::channel();
        let request = Request { bytes, payload, replies, caller };
        self.requests.send(request).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

/// What moves a connection's bytes: a future that ends when the connection does.
pub(super) struct Driver<S> {
    stream: S,
    requests: mpsc::Receiver<Request>,
    replies: Replies,
    waiting: VecDeque<Waiting>,
    out: Out,
    cork: Cork,
    window: Window,
    /// Hears what the server says unasked.
    ear: Option<Arc<Watch>>,
}

/// Who waits for the next reply.
struct Waiting {
    caller: oneshot::Sender<Answer>,
    /// The replies that are to come together.
    many: Option<Many>,
}

struct Many {
    values: Vec<Value>,
    count: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// A connection over `stream`, whose replies hold no string longer than `string_max`.
    pub(super) fn new(stream: S, string_max: usize, ear: Option<Arc<Watch>>) -> (Wire, Self) {
        let (sender, requests) = mpsc::channel(QUEUED_MAX);
        let replies = Replies::new(string_max);
        let (waiting, out, cork, window) =
            (VecDeque::new(), Out::default(), Cork::default(), Window::default());
        (Wire { requests: sender }, Self { stream, requests, replies, waiting, out, cork, window, ear })
    }

    /// Moves what can be moved. Replies every time: who only writes lets them fill the way, and then nobody moves.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        let is_lull = self.cork.takes_lull();
        self.read(cx)?;
        loop {
            let is_closed = self.gather(cx);
            if self.out.is_empty() {
                let is_over = is_closed && self.waiting.is_empty();
                return if is_over { Err(Broken::Lost("nobody uses it".into())) } else { Ok(()) };
            }
            if !is_lull && !self.out.is_begun() {
                let under_way = self.waiting.len() - self.out.requests();
                if self.cork.holds_back(self.out.requests(), self.out.len(), under_way, cx) {
                    return Ok(());
                }
            }
            match self.out.poll_write(&mut self.stream, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(lost(&error)),
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        loop {
            while let Some(value) = self.replies.next().map_err(|what| Broken::Garbage(what.into()))? {
                self.answered(value)?;
            }
            match self.replies.poll_fill(&mut self.stream, cx) {
                Poll::Ready(Ok(0)) => return Err(Broken::Lost("the server closed the connection".into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(lost(&error)),
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn answered(&mut self, value: Value) -> Result<(), Broken> {
        use redis::PushKind::{PSubscribe, PUnsubscribe, SSubscribe, SUnsubscribe, Subscribe, Unsubscribe};
        if let Value::Push { kind, data } = &value
            && !matches!(
                kind,
                Subscribe | PSubscribe | SSubscribe | Unsubscribe | PUnsubscribe | SUnsubscribe
            )
        {
            if let Some(ear) = &self.ear {
                ear.hear(kind, data);
            }
            return Ok(());
        }
        let is_asked = self.waiting.len() > self.out.requests();
        let Some(first) = self.waiting.front_mut().filter(|_| is_asked) else {
            return Err(Broken::Garbage("it answers what nobody has asked".into()));
        };
        self.window.note(&value);
        let value = match &mut first.many {
            None => value,
            Some(many) => {
                many.values.push(value);
                if many.values.len() < many.count {
                    return Ok(());
                }
                Value::Array(std::mem::take(&mut many.values))
            }
        };
        if let Some(first) = self.waiting.pop_front() {
            // Who has gone does not mind.
            let _ = first.caller.send(Ok(value));
        }
        Ok(())
    }

    /// Takes requests while there is room for them. True when there will be no more.
    fn gather(&mut self, cx: &mut Context<'_>) -> bool {
        while self.out.len() < WRITE_MAX && self.window.has_room(self.waiting.len()) {
            match self.requests.poll_recv(cx) {
                Poll::Ready(Some(Request { bytes, payload, replies, caller })) => {
                    if caller.is_closed() {
                        continue;
                    }
                    self.out.add(&bytes, payload);
                    let many = replies.map(|count| Many { values: Vec::with_capacity(count), count });
                    self.waiting.push_back(Waiting { caller, many });
                }
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }

    /// Tells all who wait. The first of them was to have the reply that was none.
    fn give_up(&mut self, why: &Broken) {
        self.requests.close();
        let mut why = why.clone();
        for waiting in self.waiting.drain(..) {
            let lost = Broken::Lost(why.reason().clone());
            let _ = waiting.caller.send(Err(std::mem::replace(&mut why, lost)));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.turn(cx) {
            Ok(()) => Poll::Pending,
            Err(why) => {
                self.give_up(&why);
                Poll::Ready(())
            }
        }
    }
}

fn lost(error: &io::Error) -> Broken {
    Broken::Lost(error.to_string().into())
}

/// Requests handed over and not yet gathered; more wait with their callers.
const QUEUED_MAX: usize = 1024;
/// Bytes gathered before no more are taken until some are written.
const WRITE_MAX: usize = 4 * ENOUGH;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use bytes::Bytes;

    use super::*;
    use crate::store::{entry::HEADER_LEN, redis::out::LONG};

    /// A connection whose way holds so many bytes, its driver running, and the server's end of it.
    fn connected(room: usize) -> (Wire, DuplexStream, tokio::task::JoinHandle<()>) {
        let (here, there) = duplex(room);
        let (wire, driver) = Driver::new(here, 1_000_000, None);
        (wire, there, tokio::spawn(driver))
    }

    fn set(key: usize, len: usize) -> Command {
        let mut command = Command::new("SET");
        command
            .arg(key)
            .sealed(&[b'h'; HEADER_LEN], &Bytes::from(vec![b'a' + key as u8; len]))
            .arg("PX")
            .arg(1);
        command
    }

    fn written(commands: &[Command]) -> Vec<u8> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.write(&mut bytes));
        bytes
    }

    #[tokio::test]
    async fn requests_arrive_whole_and_in_order_whatever_their_size() {
        for room in [7, 1_000, 1_000_000] {
            let (wire, mut there, _driving) = connected(room);
            let lens = [0, 100_000, 1, 2_000, LONG, LONG - 1, 300_000, 50];
            let commands: Vec<Command> = lens.iter().enumerate().map(|(key, len)| set(key, *len)).collect();
            let expected = written(&commands);
            let asking: Vec<_> = commands
                .into_iter()
                .map(|command| {
                    let wire = wire.clone();
                    tokio::spawn(async move { wire.send(&command).await })
                })
                .collect();
            let mut got = vec![0; expected.len()];
            there.read_exact(&mut got).await.unwrap();
            assert!(got == expected, "a way of {room} bytes");
            for number in 0..asking.len() {
                there.write_all(format!(":{number}\r\n").as_bytes()).await.unwrap();
            }
            for (number, answer) in asking.into_iter().enumerate() {
                assert_eq!(answer.await.unwrap(), Ok(Value::Int(number as i64)));
            }
        }
    }

    #[tokio::test]
    async fn replies_to_one_go_come_together() {
        let (wire, mut there, _driving) = connected(1_000);
        let commands = [set(0, 1), set(1, 2_000)];
        let both = async { wire.send_all(&[&commands[0], &commands[1]]).await };
        let one = async { wire.send(&commands[0]).await };
        let server = async {
            let mut all = vec![0; written(&commands).len() + written(&commands[..1]).len()];
            there.read_exact(&mut all).await.unwrap();
            there.write_all(b"+OK\r\n$1\r\nx\r\n:3\r\n").await.unwrap();
        };
        let (both, one, ()) = tokio::join!(both, one, server);
        assert_eq!(both, Ok(Value::Array(vec![Value::Okay, Value::BulkString(b"x".to_vec())])));
        assert_eq!(one, Ok(Value::Int(3)));
        assert_eq!(wire.send_all(&[]).await, Ok(Value::Array(vec![])));
    }

    /// Polls `future` once, so that its request is queued.
    async fn queued<F: Future + Unpin>(future: &mut F) {
        std::future::poll_fn(|cx| {
            assert!(Pin::new(&mut *future).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn who_gives_up_is_not_asked_for_and_his_reply_not_given_to_another() {
        let (here, mut there) = duplex(100_000);
        let (wire, driver) = Driver::new(here, 1_000, None);
        let commands: Vec<Command> = (0..3).map(|key| set(key, 10)).collect();
        let mut first = Box::pin(wire.send(&commands[0]));
        let mut second = Box::pin(wire.send(&commands[1]));
        queued(&mut first).await;
        queued(&mut second).await;
        // Before anything was written.
        drop(first);
        tokio::spawn(driver);
        let mut got = vec![0; written(&commands[1..2]).len()];
        there.read_exact(&mut got).await.unwrap();
        assert!(got == written(&commands[1..2]));
        // Afterwards: its reply comes all the same.
        drop(second);
        let mut third = Box::pin(wire.send(&commands[2]));
        queued(&mut third).await;
        there.read_exact(&mut got).await.unwrap();
        there.write_all(b":2\r\n:3\r\n").await.unwrap();
        assert_eq!(third.await, Ok(Value::Int(3)));
    }

    #[tokio::test]
    async fn garbage_ends_the_connection_and_only_the_first_is_not_to_ask_again() {
        let (wire, mut there, driving) = connected(1_000);
        let (first, second) = (set(0, 1), set(1, 1));
        let mut answers = [Box::pin(wire.send(&first)), Box::pin(wire.send(&second))];
        for answer in &mut answers {
            queued(answer).await;
        }
        let mut got = vec![0; written(&[first.clone(), second.clone()]).len()];
        there.read_exact(&mut got).await.unwrap();
        there.write_all(b"HTTP/1.1 400\r\n").await.unwrap();
        let [first, second] = answers;
        assert!(matches!(first.await, Err(Broken::Garbage(_))));
        assert!(matches!(second.await, Err(Broken::Lost(_))));
        driving.await.unwrap();
        assert!(matches!(wire.send(&set(2, 1)).await, Err(Broken::Lost(_))));
    }

    #[tokio::test]
    async fn a_reply_that_nobody_asked_for_ends_the_connection() {
        let (wire, mut there, driving) = connected(1_000);
        there.write_all(b"+OK\r\n").await.unwrap();
        driving.await.unwrap();
        assert!(matches!(wire.send(&set(0, 1)).await, Err(Broken::Lost(_))));
    }

    #[tokio::test]
    async fn a_closed_connection_is_lost_and_an_unused_one_closes() {
        let (wire, there, driving) = connected(1_000);
        let command = set(0, 1);
        let mut answer = Box::pin(wire.send(&command));
        queued(&mut answer).await;
        drop(there);
        assert!(matches!(answer.await, Err(Broken::Lost(_))));
        driving.await.unwrap();

        let (wire, _there, driving) = connected(1_000);
        drop(wire);
        driving.await.unwrap();
    }

    /// 64 replies of a megabyte would be 64 MB in the server's memory.
    #[tokio::test]
    async fn while_replies_are_long_few_are_asked_for_at_a_time() {
        let (wire, mut there, _driving) = connected(10_000_000);
        let command = set(0, 1);
        let len = written(std::slice::from_ref(&command)).len();
        let reply = [b"$900000\r\n", &[b'x'; 900_000][..], b"\r\n"].concat();
        let mut request = vec![0; len];
        for _ in 0..20 {
            let server = async {
                there.read_exact(&mut request).await.unwrap();
                there.write_all(&reply).await.unwrap();
            };
            tokio::join!(wire.send(&command), server).0.unwrap();
        }
        let asking: Vec<_> = (0..64)
            .map(|_| {
                let (wire, command) = (wire.clone(), command.clone());
                tokio::spawn(async move { wire.send(&command).await })
            })
            .collect();
        let (mut received, mut answered) = (0, 0);
        while answered < asking.len() {
            received += there.read(&mut vec![0; 64 * len]).await.unwrap();
            assert!(received <= (answered + 5) * len, "{received} bytes of requests, {answered} answered");
            while (answered + 1) * len <= received {
                there.write_all(&reply).await.unwrap();
                answered += 1;
            }
        }
        for answer in asking {
            assert!(answer.await.unwrap().is_ok());
        }
    }

    /// A way that counts the writes.
    struct Counting(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, SeqCst);
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// The point of gathering: 64 tasks that ask at the same moment cost a few writes, not 64.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_ready_tasks_ask_is_written_in_few_goes() {
        let writes = Arc::new(AtomicUsize::new(0));
        let (here, mut there) = duplex(100_000);
        let (wire, driver) = Driver::new(Counting(here, writes.clone()), 1_000, None);
        tokio::spawn(driver);
        let commands: Vec<Command> = (0..64).map(|_| set(0, 1)).collect();
        let mut all = written(&commands);
        // From a task of the one worker, so that all are ready before the first of them runs.
        tokio::spawn(async move {
            for command in commands {
                let wire = wire.clone();
                tokio::spawn(async move { wire.send(&command).await });
            }
        });
        there.read_exact(&mut all).await.unwrap();
        let count = writes.load(SeqCst);
        assert!((1..=16).contains(&count), "{count} writes");
    }
}
