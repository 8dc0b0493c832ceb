//! A client that speaks HTTP/2: hyper's server, drained and let go when it is idle, has asked often enough, or takes
//! nothing of what it asked for.

use std::{
    convert::Infallible,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, watch},
    time::{Instant, Sleep},
};

use super::{Shared, uptake::Uptake};
use crate::{
    client_body,
    serve::{Client, serve},
    stream_body::StreamBody,
    tunnel::Stream,
};

/// Serves a connection to its end. `first` are the bytes that were read already.
pub(super) async fn serve_http_2(
    shared: Arc<Shared>,
    client: Client,
    stream: Box<dyn Stream>,
    first: Bytes,
    mut closing: watch::Receiver<()>,
) -> hyper::Result<()> {
    let (timeouts, limits) = {
        let state = shared.state.load();
        (state.timeouts, state.limits)
    };
    let client = Arc::new(client);
    let activity = Arc::new(());
    let (served, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let uptake = Arc::new(Uptake::default());
    let service = {
        let (activity, enough, uptake) = (Arc::clone(&activity), Arc::clone(&enough), Arc::clone(&uptake));
        service_fn(move |request: Request<Incoming>| {
            if served.fetch_add(1, Relaxed) + 1 == limits.requests {
                enough.notify_one();
            }
            let (shared, client) = (Arc::clone(&shared), Arc::clone(&client));
            let (activity, uptake) = (Arc::clone(&activity), Arc::clone(&uptake));
            async move {
                let arrived = Instant::now();
                let state = shared.state.load_full();
                let (mut parts, body) = request.into_parts();
                let request = (&mut parts, client_body::Incoming::Two(StreamBody::new(body)));
                // Boxed: hyper moves the future twice.
                let response =
                    Box::pin(serve(&state, &shared.observer, &client, request, None, arrived)).await;
                drop(activity);
                Ok::<_, Infallible>(response.map(|body| uptake.follow(body)))
            }
        })
    };
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(u32::try_from(limits.head_len).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.h2_resets)
        .max_local_error_reset_streams(limits.h2_resets)
        .keep_alive_interval(timeouts.idle)
        .keep_alive_timeout(timeouts.read);
    let stream = Patient { stream, first, stall_max: timeouts.write, stall: None };
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut refused = pin!(uptake.refused(timeouts.write, timeouts.request));
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = refused.as_mut() => Ok(()),
        () = async {
            tokio::select! {
                _ = closing.changed() => {}
                () = idle(&activity, timeouts.idle) => {}
                () = enough.notified() => {}
            }
        } => {
            // GOAWAY: what is under way ends well, what is new goes to another connection.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = refused => Ok(()),
            }
        }
    }
}

/// Ends when no request was being answered at two looks in a row.
async fn idle(activity: &Arc<()>, limit: Duration) {
    // The service holds one, this function another; each request one more.
    let is_idle = || Arc::strong_count(activity) <= 2;
    let mut was_idle = false;
    loop {
        tokio::time::sleep(limit / 2).await;
        if was_idle && is_idle() {
            return;
        }
        was_idle = is_idle();
    }
}

/// A stream whose first bytes were read before, and that fails when nothing is taken from it for too long.
struct Patient {
    stream: Box<dyn Stream>,
    first: Bytes,
    stall_max: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn unless_stalled(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall_max = self.stall_max;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stalled(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.unless_stalled(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn patient(stream: impl Stream + 'static, first: &'static [u8]) -> Patient {
        let stall_max = Duration::from_secs(5);
        Patient { stream: Box::new(stream), first: Bytes::from_static(first), stall_max, stall: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_let_go() {
        let (_client, server) = tokio::io::duplex(10);
        let ended = patient(server, b"").write_all(&[0; 100]).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_was_read_is_read_again() {
        let (mut client, server) = tokio::io::duplex(10);
        client.write_all(b"rest").await.unwrap();
        drop(client);
        let mut seen = String::new();
        patient(server, b"first ").read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "first rest");
    }
}
