//! One connection of a client, from its first byte to its end.
//!
//! ```text
//!   stream ─► guard ─► HTTP/1 or HTTP/2, by the first bytes ─► serve each request
//!                                    │
//!                                    └── drain or idle: finish what is under way, say so, close
//! ```

mod http_1;
mod lent;

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, uri::Scheme};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, watch},
};

use crate::{
    admit::{
        client::Peer,
        guard::{Guard, Protocol},
    },
    config::{ConnectionLimits, Timeouts},
    entrance::{Entrance, Ticket},
    filter::Filters,
    interim::InterimStream,
    observe::Observer,
    serve::{Alive, Client, serve},
    state::State,
    upstream::Group,
};

/// What all connections of a proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) state: ArcSwap<State>,
    /// Held while a configuration is applied.
    pub(crate) applying: Mutex<()>,
    /// The task that looks after the members runs.
    pub(crate) is_tended: AtomicBool,
    pub(crate) observer: Arc<Observer>,
    pub(crate) filters: Filters,
    pub(crate) entrance: Arc<Entrance>,
    /// True once draining. Every listener and connection holds a receiver; when all are gone, all have ended.
    pub(crate) draining: watch::Sender<bool>,
}

impl Shared {
    /// Waits until every name that members are found by has been asked for once: until then nobody can be served.
    pub(crate) async fn settle_names(&self) {
        let state = self.state.load_full();
        let names: Vec<_> = state.names().cloned().collect();
        if !names.is_empty() {
            state.directory.settle(&names, &state.dns).await;
            self.follow_names();
        }
    }

    /// Brings members that are found by name up to date.
    pub(crate) fn follow_names(&self) {
        let _one_at_a_time = self.applying.lock();
        self.state.load().groups().for_each(Group::follow_names);
    }
}

/// Serves a connection to its end. `closing` fails when its listener has ended.
pub(crate) async fn serve_connection<S>(
    shared: Arc<Shared>,
    stream: S,
    (address, ticket): (IpAddr, Ticket),
    scheme: Scheme,
    closing: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (timeouts, limits, client) = {
        let state = shared.state.load();
        let peer = Peer::new(address, &state.admission.trusted);
        // `alive` tells `Proxy::drained` that this connection is there.
        (
            state.timeouts,
            state.limits,
            Arc::new(Client {
                peer,
                scheme,
                filters: Arc::clone(&shared.filters),
                alive: Arc::new(Alive { draining: shared.draining.subscribe(), ticket }),
            }),
        )
    };
    let stream = InterimStream::new(stream);
    let interims = stream.queue();
    let observer = Arc::clone(&shared.observer);
    let _open = observer.counters.connection();
    let mut stream = Guard::new(stream, timeouts.write);
    let protocol = tokio::select! {
        protocol = tokio::time::timeout(timeouts.read, stream.protocol()) => protocol,
        () = farewell(closing.clone()) => return,
    };
    // Otherwise it left, or had nothing to say in time.
    let Ok(Ok(Some(protocol))) = protocol else { return };
    let ended = match protocol {
        Protocol::Http1 => {
            let served = AtomicU64::new(0);
            let connection =
                http_1::Connection { shared, client, interims, timeouts, limits, closing, served };
            connection.serve(stream).await
        }
        // Boxed: it is large, and would be so for each client of HTTP/1 as well.
        Protocol::Http2 => Box::pin(http_2(shared, stream, client, (timeouts, limits), closing)).await,
    };
    if let Err(error) = ended {
        tracing::debug!(client = %address, %error, "connection ended");
    }
}

async fn http_2<S>(
    shared: Arc<Shared>,
    stream: Guard<S>,
    client: Arc<Client>,
    (timeouts, limits): (Timeouts, ConnectionLimits),
    mut closing: watch::Receiver<()>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = Arc::new(());
    let (served, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let service = {
        let (activity, enough) = (Arc::clone(&activity), Arc::clone(&enough));
        service_fn(move |request: Request<Incoming>| {
            if served.fetch_add(1, Relaxed) + 1 == limits.requests {
                enough.notify_one();
            }
            let (shared, client, activity) =
                (Arc::clone(&shared), Arc::clone(&client), Arc::clone(&activity));
            async move {
                let state = shared.state.load_full();
                let response = serve(&state, &shared.observer, &client, request).await;
                drop(activity);
                Ok::<_, Infallible>(response)
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
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = async {
            tokio::select! {
                _ = closing.changed() => {}
                () = idle(&activity, timeouts.idle) => {}
                () = enough.notified() => {}
            }
        } => {
            // GOAWAY: what is under way ends well, what is new goes to another connection.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// Ends when the listener has ended and a client that was silent since then has had time for one more request.
async fn farewell(mut closing: watch::Receiver<()>) {
    // Nothing is ever sent: this fails when the listener has ended.
    let _ = closing.changed().await;
    tokio::time::sleep(FAREWELL).await;
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

/// When a listener ends, its idle connections are given so long for one more request, whose answer says
/// `Connection: close`. Closed at once, they would reset the request that is just on its way (HAProxy's
/// `idle-close-on-response`). HTTP/2 has GOAWAY for that.
const FAREWELL: Duration = Duration::from_secs(1);
