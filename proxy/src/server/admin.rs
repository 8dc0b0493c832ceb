//! The admin listener. It goes on while the proxy drains, so that somebody can watch it do so.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};

use super::{Accepted, Listener};
use crate::{
    config::{AdminConfig, Listen},
    observe::{Guard, answer},
    reload::Service,
};

impl Service {
    /// Answers operators on `listener` for as long as it is polled: dashboard, metrics, health, changes.
    pub async fn serve_admin(&self, listener: Listener, config: &AdminConfig) {
        let is_unix = matches!(config.listen, Listen::Unix(_));
        let guard = Arc::new(Guard { token: config.token.clone(), is_unix });
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = ticks.tick() => {
                    self.sample();
                    continue;
                }
            };
            let Ok((accepted, _)) = accepted else {
                tokio::time::sleep(super::ACCEPT_PAUSE).await;
                continue;
            };
            // One too many is closed at once: an operator's tool tries again.
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
            let (service, guard) = (self.clone(), Arc::clone(&guard));
            tokio::spawn(async move {
                match accepted {
                    Accepted::Tcp(stream) => connection(service, guard, stream).await,
                    Accepted::Unix(stream) => connection(service, guard, stream).await,
                }
                drop(permit);
            });
        }
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(service: Service, guard: Arc<Guard>, stream: S) {
    let service = service_fn(|request: Request<Incoming>| {
        let (service, guard) = (&service, &guard);
        async move {
            let (parts, body) = request.into_parts();
            // What says that it is too long is not read at all, so that the refusal arrives.
            let response = if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
                too_long()
            } else {
                match Limited::new(body, BODY_BYTES_MAX).collect().await {
                    Ok(body) => answer(service, guard, Request::from_parts(parts, body.to_bytes())).await,
                    Err(_) => too_long(),
                }
            };
            Ok::<_, Infallible>(response.map(Full::new))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "admin connection ended");
    }
}

fn too_long() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"the body is too long\n"));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}

const CONNECTIONS_MAX: usize = 64;
const BODY_BYTES_MAX: usize = 64 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
