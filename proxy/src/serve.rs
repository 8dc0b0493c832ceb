//! The whole life of a request on one page.
//!
//! ```text
//! request ─► admit ─► forward: pick a member, send, retry ─► the answer, its body holding the lease
//! ```

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use http::{
    HeaderValue, Method, Response, StatusCode, Version, header,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{
    admit::{admission::Admitted, client::Peer},
    body::{Body, Member},
    cached,
    client_body::Incoming,
    codec::give_back,
    connection::Turn,
    entrance::Ticket,
    error::{Error, into_grpc, is_grpc},
    filter::{self, Filters},
    forward,
    headers::{HopByHop, append_via, strip_hop_by_hop},
    observe::{Note, Observed, Observer, REQUEST_ID, settle_request_id},
    rewrite::ResponseChange,
    state::State,
    target::Form,
    tunnel::Tunnel,
    upstream::{self, Interims, RequestHead},
};

/// What is known of the other end of a connection, made once when it is accepted.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) scheme: Scheme,
    pub(crate) filters: Filters,
    /// Held by tunnels too, which outlive the service of their connection.
    pub(crate) alive: Arc<Alive>,
}

/// While it is held, the proxy is not drained, and the connection counts.
#[derive(Debug)]
#[expect(dead_code, reason = "what matters is when they are dropped")]
pub(crate) struct Alive {
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) ticket: Ticket,
}

/// Answers one request, which `arrived` just now; whatever goes wrong is an answer too.
///
/// `turn` is what it has of a connection of HTTP/1. Ways that are rarely gone are boxed, here and in `upstream/send.rs`, so
/// that the future of all others is small.
pub(crate) async fn serve(
    state: &Arc<State>,
    observer: &Arc<Observer>,
    client: &Client,
    (parts, body): (&mut Parts, Incoming),
    turn: Option<&Turn>,
    arrived: Instant,
) -> Response<Observed<Body>> {
    let mut note =
        observer.arrived(client.peer.address, parts, arrived.into_std(), state.access_log.as_ref());
    let is_grpc = is_grpc(parts);
    let id = state.request_id.then(|| settle_request_id(&mut parts.headers));
    let deadline = arrived + state.timeouts.request;
    // Put in its place by whoever has it: an answer is large, and each hand that it goes through a copy.
    let mut answered = None;
    {
        let mut answer = pin!(answer(state, client, turn, (parts, body), &mut note));
        match turn {
            Some(turn) => {
                poll_fn(|cx| match answer.as_mut().poll(cx) {
                    Poll::Pending => turn.poll_until(deadline, cx),
                    Poll::Ready(answer) => {
                        answered = Some(answer);
                        Poll::Ready(())
                    }
                })
                .await;
            }
            None => answered = timeout_at(deadline, answer).await.ok(),
        }
    }
    give_back(std::mem::take(&mut parts.headers));
    let mut response = match answered.unwrap_or(Err(Error::TooLong(state.timeouts.request))) {
        Ok(mut response) => {
            response.body_mut().limit(deadline);
            response
        }
        Err(error) => {
            note.failed(error.status(), &error);
            let response = error.into_response();
            if is_grpc { into_grpc(response) } else { response }
        }
    };
    if let Some(id) = id {
        note.identified(&id);
        response.headers_mut().insert(REQUEST_ID, id);
    }
    note.answered(response)
}

async fn answer(
    state: &Arc<State>,
    client: &Client,
    turn: Option<&Turn>,
    (parts, body): (&mut Parts, Incoming),
    note: &mut Note,
) -> Result<Response<Body>, Error> {
    let admission = &state.admission;
    let mut body = match body {
        Incoming::Nothing => Body::Empty,
        body => {
            let body = Body::client(body, admission.limits.body_len, state.timeouts.read);
            body.at_least(state.limits.body_rate_min).counted(|| note.count_request())
        }
    };
    let has_body = !body.is_empty();
    let admitted = admission.admit(parts, &client.peer, &client.scheme, has_body, note.began()).await?;
    note.admitted(admitted.client, admitted.user.as_ref());
    body.settle().await.map_err(|error| Error::Send(upstream::SendError::Client(error)))?;
    if admission.is_forward {
        note.trail.attempt_host(&parts.headers);
    }
    if admitted.form == Form::Authority {
        return Box::pin(forward::connect(state, parts, turn, client.alive.clone())).await;
    }
    if let Some(response) = filter::ask(&client.filters, parts) {
        return Ok(response);
    }
    let upgrade = admitted.upgrade.as_ref();
    let is_cached = upgrade.is_none() && !admission.is_forward && admitted.is_cached();
    if let (Some(cache), true) = (&state.cache, is_cached) {
        note.has_asked_cache = true;
        let answer = cached::answer(cache, (state, client, turn), &admitted, parts, body, note);
        let mut response = answer.await?;
        append_via(response.headers_mut(), Version::HTTP_11);
        if !is_changed(client, &admitted) {
            return Ok(response);
        }
        return Box::pin(change(client, parts, &admitted, response)).await;
    }
    let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let head = RequestHead {
        method: &parts.method,
        target: &target,
        headers: &parts.headers,
        upgrade,
        interims: turn.map(|turn| turn as &dyn Interims),
        takes_trailers: admitted.takes_trailers,
    };
    let answer = if admission.is_forward {
        Box::pin(forward::send(state, head, body)).await?
    } else {
        let group = state.chosen(admitted.rule.as_deref());
        upstream::send(group, head, body, group.query(admitted.client), &mut note.trail).await?
    };
    let is_switched = answer.status == StatusCode::SWITCHING_PROTOCOLS;
    let mut response = Response::new(Body::Member(Member::new(answer.body)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    let hop = strip_hop_by_hop(response.headers_mut());
    append_via(response.headers_mut(), Version::HTTP_11);
    if is_switched {
        return Ok(switch(state, client, turn, hop, response));
    }
    if !is_changed(client, &admitted) {
        return Ok(response);
    }
    Box::pin(change(client, parts, &admitted, response)).await
}

/// Whether rules or filters may make something else of an answer.
fn is_changed(client: &Client, admitted: &Admitted) -> bool {
    !client.filters.is_empty() || admitted.rule.as_ref().is_some_and(|rule| rule.then.response.is_some())
}

/// What rules and filters make of an answer.
async fn change(
    client: &Client,
    parts: &Parts,
    admitted: &Admitted,
    response: Response<Body>,
) -> Result<Response<Body>, Error> {
    let response = rewrite(response, &parts.method, admitted).await?;
    filter::apply(&client.filters, parts, response).await
}

/// Passes on an answer that ends HTTP on this connection, and leaves a tunnel behind.
fn switch(
    state: &State,
    client: &Client,
    turn: Option<&Turn>,
    hop: HopByHop,
    response: Response<Body>,
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let (Body::Member(member), Some(protocol), Some(turn)) = (body, hop.upgrade, turn)
        && let Some((stream, early, settlement)) = member.into_inner().into_tunnel()
    {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
        let held = (settlement, client.alive.clone());
        turn.leave(Tunnel::new(stream, early, state.timeouts.tunnel, held));
        return Response::from_parts(parts, Body::Empty);
    }
    // It switches to something that it does not name, or on a connection that cannot.
    let mut refused = Response::new(Body::Empty);
    *refused.status_mut() = StatusCode::BAD_GATEWAY;
    refused
}

/// Changes an answer as the rule says that acted on its request.
async fn rewrite(
    response: Response<Body>,
    method: &Method,
    admitted: &Admitted,
) -> Result<Response<Body>, Error> {
    let change = admitted.rule.as_ref().and_then(|rule| rule.then.response.as_ref());
    let Some(change) = change else { return Ok(response) };
    let (mut parts, body) = response.into_parts();
    let Some(edits) = change.apply_head(&mut parts).filter(|_| method != Method::HEAD) else {
        return Ok(Response::from_parts(parts, body));
    };
    let body = body.gather(edits.len_max()).await?;
    let body = ResponseChange::apply_body(edits, &mut parts, body, admitted.tags.as_ref())?;
    Ok(Response::from_parts(parts, Body::from(body)))
}
