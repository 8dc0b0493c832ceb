//! The forward proxy: `CONNECT` and absolute targets, to destinations on the list.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::HOST, request::Parts};
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::{
    admit::Refusal,
    body::Body,
    connection::Turn,
    error::Error,
    serve::Alive,
    state::State,
    target::{Host, TargetError},
    tunnel::{self, Tunnel},
    upstream::{self, Answer, RequestHead},
};

/// Answers `CONNECT`: dials, says 200, and leaves a tunnel behind.
pub(crate) async fn connect(
    state: &State,
    parts: &mut Parts,
    turn: Option<&Turn>,
    alive: Arc<Alive>,
) -> Result<Response<Body>, Error> {
    let stream = dial(state, parts.headers.get(HOST), None).await?;
    let tunnel = Tunnel::new(stream, Bytes::new(), state.timeouts.tunnel, alive);
    match turn {
        Some(turn) => turn.leave(tunnel),
        None => tunnel.start_by_upgrade(std::mem::take(&mut parts.extensions)),
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

/// Sends a request to the destination that it names itself.
pub(crate) async fn send(state: &State, head: RequestHead<'_>, body: Body) -> Result<Answer, Error> {
    let host = head.headers.get(HOST);
    let stream = dial(state, host, Some(80)).await?;
    let name = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    Ok(upstream::send_over(stream, name, head, body, state.timeouts.response).await?)
}

/// `Host` is what admission settled the target to be.
async fn dial(state: &State, host: Option<&HeaderValue>, port: Option<u16>) -> Result<TcpStream, Error> {
    let host = host.map(HeaderValue::as_bytes).unwrap_or_default();
    let host = Host::parse(host).map_err(Refusal::from)?;
    let port = host.port.or(port).ok_or(Refusal::Target(TargetError::Host))?;
    Ok(tunnel::dial(&state.destinations, host.name, port, state.timeouts.connect).await?)
}
