//! What stands behind the proxy: it waits, then says who it is.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::body::Body;

/// A backend of the demo.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demo {
    pub(super) name: &'static str,
    pub(super) delay: Duration,
    pub(super) address: SocketAddr,
}

/// Starts the three; they live as long as the process.
pub(super) async fn start_all() -> io::Result<Vec<Demo>> {
    let mut backends = Vec::new();
    for (name, delay_ms) in [("swift", 1), ("steady", 4), ("slow", 16)] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let backend = Demo { name, delay: Duration::from_millis(delay_ms), address: listener.local_addr()? };
        tokio::spawn(accept(listener, backend));
        backends.push(backend);
    }
    Ok(backends)
}

async fn accept(listener: TcpListener, backend: Demo) {
    // An error of accept concerns one connection; the demo goes on with the next.
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(backend, request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(backend: Demo, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    tokio::time::sleep(backend.delay).await;
    let path = request.uri().path();
    let mut response = Response::new(Body::from(format!("{} says hello to {path}\n", backend.name)));
    let freshness = if path.starts_with("/cached/") { "max-age=5" } else { "no-store" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(freshness));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}
