//! The whole life of a request on one page.
//!
//! ```text
//! request ─► admit ─► forward: pick a member, send, retry ─► the answer, its body holding the lease
//! ```

use std::{net::IpAddr, time::Instant};

use http::{
    HeaderValue, Request, Response, Version, header,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};
use hyper::body::Incoming;

use crate::{
    body::{Body, Member},
    error::Error,
    headers::{Sender, Style, append_via, set_forwarded, strip_hop_by_hop},
    observe::Counters,
    state::State,
    target::{Form, Host, TargetError},
    upstream::{self, RequestHead},
};

/// What is known of the other end of a connection, made once when it is accepted.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) address_text: HeaderValue,
    pub(crate) scheme: Scheme,
}

/// Answers one request; whatever goes wrong is an answer too.
pub(crate) async fn serve(
    state: &State,
    counters: &Counters,
    client: &Client,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let response = match answer(state, client, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    counters.answered(started.elapsed(), response.status().is_server_error());
    response
}

async fn answer(state: &State, client: &Client, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let target = admit(&mut parts, client)?;
    let head = RequestHead { method: &parts.method, target: &target, headers: &parts.headers, upgrade: None };
    let answer = upstream::send(&state.group, head, Body::Client(body), state.query(client.address)).await?;
    let mut response = Response::new(Body::Member(Member(answer.body)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    strip_hop_by_hop(response.headers_mut());
    append_via(response.headers_mut(), Version::HTTP_11);
    Ok(response)
}

/// Checks what the client sent and makes of it what a member may see.
fn admit(parts: &mut Parts, client: &Client) -> Result<PathAndQuery, Error> {
    let form = Form::of(&parts.method, &parts.uri)?;
    let host = match parts.uri.authority() {
        Some(authority) if form == Form::Absolute => {
            HeaderValue::from_str(authority.as_str()).map_err(|_| TargetError::Host)?
        }
        _ => {
            let mut hosts = parts.headers.get_all(header::HOST).iter();
            match (hosts.next(), hosts.next()) {
                (Some(host), None) => host.clone(),
                _ => return Err(TargetError::Host.into()),
            }
        }
    };
    Host::parse(host.as_bytes())?;
    strip_hop_by_hop(&mut parts.headers);
    let sender = Sender {
        address: client.address,
        address_text: &client.address_text,
        is_trusted: false,
        scheme: &client.scheme,
        host: &host,
    };
    set_forwarded(&mut parts.headers, &sender, Style::XForwarded);
    append_via(&mut parts.headers, parts.version);
    parts.headers.insert(header::HOST, host);
    Ok(parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
}
