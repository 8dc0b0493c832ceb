//! The whole life of a request on one page.
//!
//! ```text
//! request ─► admit ─► forward: pick a member, send, retry ─► the answer, its body holding the lease
//! ```

use std::{sync::Arc, time::Instant};

use http::{
    Request, Response, Version,
    uri::{PathAndQuery, Scheme},
};
use hyper::body::Incoming;

use crate::{
    admit::client::Peer,
    body::{Body, Member},
    cached,
    error::Error,
    headers::{append_via, strip_hop_by_hop},
    observe::Counters,
    state::State,
    upstream::{self, RequestHead},
};

/// What is known of the other end of a connection, made once when it is accepted.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) scheme: Scheme,
}

/// Answers one request; whatever goes wrong is an answer too.
pub(crate) async fn serve(
    state: &Arc<State>,
    counters: &Counters,
    client: &Client,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let response = match answer(state, client, request, started).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    counters.answered(started.elapsed(), response.status().is_server_error());
    response
}

async fn answer(
    state: &Arc<State>,
    client: &Client,
    request: Request<Incoming>,
    now: Instant,
) -> Result<Response<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let body = Body::Client(body);
    let admission = &state.admission;
    let admitted = admission.admit(&mut parts, &client.peer, &client.scheme, !body.is_empty(), now).await?;
    let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Some(cache) = &state.cache {
        let mut response = cached::answer(cache, state, client, &admitted, &parts, &target, body).await?;
        append_via(response.headers_mut(), Version::HTTP_11);
        return Ok(response);
    }
    let head = RequestHead {
        method: &parts.method,
        target: &target,
        headers: &parts.headers,
        upgrade: None,
        interims: parts.extensions.get(),
    };
    let answer = upstream::send(&state.group, head, body, state.query(admitted.client)).await?;
    let mut response = Response::new(Body::Member(Member(answer.body)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    strip_hop_by_hop(response.headers_mut());
    append_via(response.headers_mut(), Version::HTTP_11);
    Ok(response)
}
