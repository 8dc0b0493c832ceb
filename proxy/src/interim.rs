//! Interim responses (RFC 9110 §15.2): what a member says before its answer, such as 103 (Early Hints), on its way to
//! an HTTP/1.1 client.
//!
//! hyper's server has no call for them, so they are written beneath it, at the one moment that is safe:
//!
//! ```text
//!     hyper ── poll_write ──► bytes of responses ──────────────────────► socket
//!           └─ poll_flush ──► (hyper holds no byte of its own now) ─► interim ─► socket
//!
//!     service:  … member says 103 ─► queued ─► delivered().await ─► the answer is given to hyper
//! ```
//!
//! - hyper answers requests of a connection one after another and calls `poll_flush` of its stream only when its own
//!   buffer is empty. While a service has not answered, what comes next on the wire is that answer; so between a
//!   flush and the answer an interim response stands where it belongs, however many requests are pipelined.
//! - The service gives its answer to hyper only after everything queued is written: the order holds.
//! - A client that does not read makes the write wait, and with it the service: nothing piles up. At most
//!   [`QUEUED_BYTES_MAX`] are queued for a request; what does not fit is left out, as is allowed for all but 101.
//! - An interim response that is begun is finished before hyper writes anything else (its own 100, for example).
//!
//! 100 is hyper's own affair and 101 an answer; both stay out of here. HTTP/1.0 clients know no interim responses.
//! HTTP/2 clients do, but get none: the crate h2 can send them (`SendResponse::send_informational`), hyper 1.12
//! keeps that handle to itself, and frames cannot be put between its own from beneath, because both share one
//! compression state. They are left out there, which RFC 9110 §15.2 allows for all but 101.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::headers::strip_hop_by_hop;

/// A client's stream that takes interim responses between flushes.
#[derive(Debug)]
pub(crate) struct InterimStream<S> {
    stream: S,
    queue: Arc<Queue>,
}

/// What waits to be written to one connection.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The request being answered.
    current: u64,
    is_open: bool,
    bytes: BytesMut,
    /// Part of `bytes` is on the wire already.
    is_begun: bool,
    service: Option<Waker>,
}

/// The way of one request's interim responses to its client. Clones that outlive the answer lead nowhere.
#[derive(Debug, Clone)]
pub(crate) struct Interims {
    queue: Arc<Queue>,
    number: u64,
}

impl<S> InterimStream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, queue: Arc::default() }
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }
}

impl Queue {
    /// The way for the request that the connection is at.
    pub(crate) fn open(self: &Arc<Self>) -> Interims {
        let mut state = self.state.lock();
        state.current += 1;
        state.is_open = true;
        Interims { queue: Arc::clone(self), number: state.current }
    }
}

impl Interims {
    /// Queues an interim response, if its request is still without an answer.
    pub(crate) fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let is_ours = status.is_informational()
            && !matches!(status, StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS);
        let mut state = self.queue.state.lock();
        if !is_ours || !state.is_open || state.current != self.number {
            return;
        }
        let head = written(status, headers);
        if state.bytes.len() + head.len() <= QUEUED_BYTES_MAX {
            state.bytes.put_slice(&head);
        }
    }

    /// Waits until all is written; nothing more is taken then.
    pub(crate) async fn delivered(self) {
        poll_fn(|cx| {
            let mut state = self.queue.state.lock();
            if state.bytes.is_empty() {
                state.is_open = false;
                return Poll::Ready(());
            }
            state.service = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl<S: AsyncWrite + Unpin> InterimStream<S> {
    /// Writes what is queued; with `only_begun`, only if part of it is on the wire.
    fn poll_queued(&mut self, only_begun: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.queue.state.lock();
        if only_begun && !state.is_begun {
            return Poll::Ready(Ok(()));
        }
        while !state.bytes.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &state.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.bytes.advance(written);
            state.is_begun = !state.bytes.is_empty();
        }
        if let Some(service) = state.service.take() {
            service.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InterimStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InterimStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_queued(true, cx))?;
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_queued(true, cx))?;
        Pin::new(&mut this.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_queued(false, cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// An interim response as it goes over the wire.
fn written(status: StatusCode, headers: &HeaderMap) -> BytesMut {
    let mut headers = headers.clone();
    strip_hop_by_hop(&mut headers);
    let mut head = BytesMut::new();
    let reason = status.canonical_reason().unwrap_or("");
    head.put_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    for (name, value) in &headers {
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
        head.put_slice(b"\r\n");
    }
    head.put_slice(b"\r\n");
    head
}

/// Bytes of interim responses that wait for one client.
const QUEUED_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderValue, Request, Response};
    use http_body_util::Full;
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// Serves `stream`: each request gets as many 103 as its path says, each with a link of `link_bytes`.
    fn serve(stream: DuplexStream, link_bytes: usize) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            let stream = InterimStream::new(stream);
            let queue = stream.queue();
            let service = service_fn(move |request: Request<Incoming>| {
                let interims = queue.open();
                async move {
                    let count: usize = request.uri().path()[1..].parse().expect("a number");
                    let mut headers = HeaderMap::new();
                    let link = HeaderValue::from_str(&"l".repeat(link_bytes)).expect("ascii");
                    headers.insert("link", link);
                    headers.insert("connection", HeaderValue::from_static("close"));
                    for _ in 0..count {
                        interims.send(StatusCode::EARLY_HINTS, &headers);
                        tokio::task::yield_now().await;
                    }
                    let late = interims.clone();
                    interims.delivered().await;
                    late.send(StatusCode::EARLY_HINTS, &headers);
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("body{count}")))))
                }
            });
            // The client may leave first.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        })
    }

    /// The statuses and bodies on the wire, in order.
    fn sequence(wire: &str) -> Vec<String> {
        let mut seen = Vec::new();
        let mut rest = wire;
        while let Some((head, after)) = rest.split_once("\r\n\r\n") {
            seen.push(head.split(' ').nth(1).expect("a status").to_owned());
            rest = after;
            if head.starts_with("HTTP/1.1 1") {
                assert!(!head.contains("connection"), "{head}");
            } else {
                let (body, after) = rest.split_at(5);
                seen.push(body.to_owned());
                rest = after;
            }
        }
        assert_eq!(rest, "", "bytes out of place");
        seen
    }

    /// Sends requests for these numbers at once, and reads to the end.
    async fn exchange(numbers: &[usize], pipe_bytes: usize, link_bytes: usize) -> Vec<String> {
        let requests = numbers.iter().map(|number| format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let mut requests: String = requests.collect();
        requests.insert_str(requests.len() - 2, "connection: close\r\n");
        let (mut client, server) = tokio::io::duplex(pipe_bytes);
        let serving = serve(server, link_bytes);
        let mut wire = Vec::new();
        let (mut reading, mut writing) = tokio::io::split(&mut client);
        let (write, read) =
            tokio::join!(writing.write_all(requests.as_bytes()), reading.read_to_end(&mut wire));
        write.expect("taken");
        read.expect("whole");
        serving.await.expect("no panic");
        sequence(&String::from_utf8(wire).expect("ascii"))
    }

    #[tokio::test]
    async fn interim_responses_come_before_their_answer() {
        let seen = exchange(&[2], 1 << 16, 10).await;
        assert_eq!(seen, ["103", "103", "200", "body2"]);
    }

    #[tokio::test]
    async fn pipelined_requests_keep_theirs_apart() {
        let expected = [
            "103", "200", "body1", "200", "body0", "103", "103", "103", "200", "body3", "103", "103", "200",
            "body2",
        ];
        for (pipe_bytes, link_bytes) in [(1 << 16, 10), (7, 10), (64, 5000)] {
            assert_eq!(
                exchange(&[1, 0, 3, 2], pipe_bytes, link_bytes).await,
                expected,
                "a pipe of {pipe_bytes}"
            );
        }
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_makes_the_service_wait() {
        let (mut client, server) = tokio::io::duplex(16);
        let serving = serve(server, 1000);
        client.write_all(b"GET /9 ").await.expect("taken");
        client.write_all(b"HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("taken");
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!serving.is_finished());
        let mut wire = vec![0; 9 * 1000];
        client.read_exact(&mut wire).await.expect("it comes as it is read");
        drop(client);
        serving.await.expect("no panic");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_left_out() {
        let seen = exchange(&[9], 16, 10_000).await;
        assert!(seen.len() < 11 && seen.ends_with(&["200".into(), "body9".into()]), "{seen:?}");
    }

    #[test]
    fn only_what_is_interim_and_not_hypers_own_is_taken() {
        let queue: Arc<Queue> = Arc::default();
        let interims = queue.open();
        for status in [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS, StatusCode::OK] {
            interims.send(status, &HeaderMap::new());
        }
        assert!(queue.state.lock().bytes.is_empty());
        interims.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(&queue.state.lock().bytes[..], b"HTTP/1.1 102 Processing\r\n\r\n");
    }
}
