//! A client that speaks HTTP/1: sessions of hyper's server while it is busy, and next to nothing while it is not.
//!
//! ```text
//!   first bytes ─► session: requests, one after another ─► quiet for a second ─► parked: socket and timer ─► bytes ─► session …
//!                     └─ closed by either side, no head in time, a tunnel: the end
//! ```
//!
//! A session holds some 25 KiB (hyper's two buffers of 8 KiB, the request under way, timers), a parked connection
//! about one. One timer a session looks every [`LOOK`] whether anything happened; nothing is armed for each request.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    Shared, farewell,
    lent::{Home, Lent},
};
use crate::{
    admit::{
        admission::asks_to_switch,
        guard::{Guard, Switch},
    },
    config::{ConnectionLimits, Timeouts},
    interim::{InterimStream, Queue},
    serve::{Client, serve},
};

/// What every session of a connection needs.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Arc<Client>,
    pub(super) interims: Arc<Queue>,
    pub(super) timeouts: Timeouts,
    pub(super) limits: ConnectionLimits,
    /// Fails when the listener has ended.
    pub(super) closing: watch::Receiver<()>,
    /// Requests begun so far.
    pub(super) served: AtomicU64,
}

/// How a session ended.
enum Ended {
    Closed,
    /// Nothing is under way; the client has been silent for so long.
    Quiet(Duration),
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn serve<S>(self, stream: Guard<InterimStream<S>>) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let switch = stream.switch();
        let home = Home::new(stream);
        // Otherwise a tunnel has it.
        while let Some(mut stream) = home.take() {
            let lent = home.lend(stream);
            let Ended::Quiet(silent) = Box::pin(self.session(lent, &home, &switch)).await? else { break };
            let Some(back) = home.take() else { break };
            stream = back;
            let patience = self.timeouts.read.saturating_sub(silent);
            let comes = tokio::select! {
                comes = timeout(patience, stream.wait()) => matches!(comes, Ok(Ok(true))),
                () = farewell(self.closing.clone()) => false,
            };
            if !comes {
                break;
            }
            home.put(stream);
        }
        Ok(())
    }

    async fn session<S>(
        &self,
        stream: Lent<InterimStream<S>>,
        home: &Home<InterimStream<S>>,
        switch: &Switch,
    ) -> hyper::Result<Ended>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // Held by each request until the last byte of its answer.
        let activity = Arc::new(());
        let service = service_fn(|request: Request<Incoming>| {
            // Relaxed: requests of a connection come one after another.
            let is_last = self.served.fetch_add(1, Relaxed) + 1 >= self.limits.requests;
            let activity = Arc::clone(&activity);
            async move {
                let response = self.answer(request, switch, is_last).await;
                Ok::<_, Infallible>(response.map(|body| Active { body, _activity: activity }))
            }
        });
        let mut http = http1::Builder::new();
        let head_len = self.limits.head_len;
        http.max_header_size(head_len).max_buf_size(BUFFER_LEN_MAX.max(head_len + (16 << 10)));
        let fields = self.shared.state.load().admission.limits.fields;
        if fields > HYPERS_FIELDS_MAX {
            // It costs an allocation and an initialisation for each request; below that, `sanitise` counts.
            http.max_headers(fields);
        }
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let mut farewell = pin!(farewell(self.closing.clone()));
        let look = LOOK.min(self.timeouts.read / 4);
        let mut timer = pin!(sleep(look));
        let mut silence = Silence { requests: self.served.load(Relaxed), since: Instant::now() };
        let (mut has_listened, mut is_leaving) = (false, false);
        poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended.map(|()| Ended::Closed));
            }
            // Polled once to listen, and then only when there is something to hear.
            if !is_leaving && (!has_listened || self.closing.has_changed().is_err()) {
                has_listened = true;
                if farewell.as_mut().poll(cx).is_ready() {
                    is_leaving = true;
                    connection.as_mut().graceful_shutdown();
                    return connection.as_mut().poll(cx).map_ok(|()| Ended::Closed);
                }
            }
            while timer.as_mut().poll(cx).is_ready() {
                let now = Instant::now();
                timer.as_mut().reset(now + look);
                let is_busy = Arc::strong_count(&activity) > 1;
                let silent = silence.look(self.served.load(Relaxed), is_busy, now);
                if silent >= self.timeouts.read {
                    return Poll::Ready(Ok(Ended::Closed));
                }
                if silent >= look && !is_leaving && home.is_quiet() {
                    return Poll::Ready(Ok(Ended::Quiet(silent)));
                }
            }
            Poll::Pending
        })
        .await
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        switch: &Switch,
        is_last: bool,
    ) -> Response<impl Body<Data = bytes::Bytes, Error = crate::body::BodyError> + use<>> {
        let interims = (request.version() == Version::HTTP_11).then(|| self.interims.open());
        if let Some(interims) = &interims {
            request.extensions_mut().insert(interims.clone());
        }
        let state = self.shared.state.load_full();
        let is_connect = request.method() == Method::CONNECT;
        let asks = asks_to_switch(&request);
        let mut response = serve(&state, &self.shared.observer, &self.client, request).await;
        let connected = is_connect && response.status().is_success();
        let switched = connected || response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if (is_last || self.closing.has_changed().is_err()) && !switched {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if asks {
            switch.decide(switched);
        }
        if let Some(interims) = interims {
            interims.delivered().await;
        }
        response
    }
}

/// Since when a client has asked for nothing.
struct Silence {
    /// Requests it had begun then.
    requests: u64,
    since: Instant,
}

impl Silence {
    /// How long it has asked for nothing. Too short by a look at most.
    fn look(&mut self, requests: u64, is_busy: bool, now: Instant) -> Duration {
        if is_busy || requests != self.requests {
            (self.requests, self.since) = (requests, now);
        }
        now - self.since
    }
}

/// A body whose connection is not idle.
struct Active<B> {
    body: B,
    _activity: Arc<()>,
}

impl<B: Body + Unpin> Body for Active<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How often a session looks whether it is needed.
const LOOK: Duration = Duration::from_secs(1);
/// What hyper gathers of answers for one client that does not read, besides the piece it is writing. Less than 64 KiB
/// makes large answers dear (a write for each piece); it must hold a head, too.
const BUFFER_LEN_MAX: usize = 80 << 10;
/// Fields that hyper takes without being asked.
const HYPERS_FIELDS_MAX: usize = 100;
