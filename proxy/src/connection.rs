//! One connection of a client, from its first byte to its end.
//!
//! ```text
//!   stream ─► guard ─► HTTP/1 or HTTP/2, by the first bytes ─► serve each request
//!                                    │
//!                                    └── drain or idle: finish what is under way, say so, close
//! ```

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{Method, Request, StatusCode, uri::Scheme};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use crate::{
    admit::{
        admission::asks_to_switch,
        client::Peer,
        guard::{Guard, Protocol},
    },
    config::Timeouts,
    observe::Counters,
    serve::{Client, serve},
    state::State,
};

/// What all connections of a proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: ArcSwap<State>,
    pub(crate) counters: Counters,
    /// True once draining. Every listener and connection holds a receiver; when all are gone, all have ended.
    pub(crate) draining: watch::Sender<bool>,
}

/// Serves a connection to its end.
pub(crate) async fn serve_connection<S>(shared: Arc<Shared>, stream: S, address: IpAddr, scheme: Scheme)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (timeouts, client) = {
        let state = shared.state.load();
        (state.timeouts, Arc::new(Client { peer: Peer::new(address, &state.admission.trusted), scheme }))
    };
    let mut stream = Guard::new(stream);
    let mut draining = shared.draining.subscribe();
    let protocol = tokio::select! {
        protocol = tokio::time::timeout(timeouts.read, stream.protocol()) => protocol,
        () = drained(&mut draining) => return,
    };
    // Otherwise it left, or had nothing to say in time.
    let Ok(Ok(Some(protocol))) = protocol else { return };
    let ended = match protocol {
        Protocol::Http1 => http_1(shared, stream, client, timeouts, draining).await,
        Protocol::Http2 => http_2(shared, stream, client, timeouts, draining).await,
    };
    if let Err(error) = ended {
        tracing::debug!(client = %address, %error, "connection ended");
    }
}

async fn http_1<S>(
    shared: Arc<Shared>,
    stream: Guard<S>,
    client: Arc<Client>,
    timeouts: Timeouts,
    mut draining: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let switch = stream.switch();
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, client, switch) = (&shared, &client, &switch);
        async move {
            let state = shared.state.load_full();
            let is_connect = request.method() == Method::CONNECT;
            let asks = asks_to_switch(&request);
            let response = serve(&state, &shared.counters, client, request).await;
            if asks {
                let connected = is_connect && response.status().is_success();
                switch.decide(connected || response.status() == StatusCode::SWITCHING_PROTOCOLS);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(timeouts.read)
        .max_headers(shared.state.load().admission.limits.fields)
        .max_header_size(HEAD_LEN_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained(&mut draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn http_2<S>(
    shared: Arc<Shared>,
    stream: Guard<S>,
    client: Arc<Client>,
    timeouts: Timeouts,
    mut draining: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::new(());
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request: Request<Incoming>| {
            let (shared, client, activity) =
                (Arc::clone(&shared), Arc::clone(&client), Arc::clone(&activity));
            async move {
                let state = shared.state.load_full();
                let response = serve(&state, &shared.counters, &client, request).await;
                drop(activity);
                Ok::<_, Infallible>(response)
            }
        })
    };
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_LEN_MAX as u32)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .keep_alive_interval(timeouts.idle)
        .keep_alive_timeout(timeouts.read);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { tokio::select! { () = drained(&mut draining) => {}, () = idle(&activity, timeouts.idle) => {} } } => {
            // GOAWAY: what is under way ends well, what is new goes to another connection.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn drained(draining: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the proxy.
    let _ = draining.wait_for(|draining| *draining).await;
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

/// Bytes of a request's head.
const HEAD_LEN_MAX: usize = 64 * 1024;
/// HTTP/2 requests under way on one connection.
const STREAMS_MAX: u32 = 128;
/// Streams that a client may have reset, or made us reset, without our having dealt with it (CVE-2023-44487,
/// CVE-2025-8671); beyond it the connection is closed.
const RESETS_MAX: usize = 32;
