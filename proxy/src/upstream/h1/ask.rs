//! One exchange for who has a stream and no pool, no lease and no client behind him: the fuzzer.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use tokio::{net::UnixStream, time::Instant};

use super::{Connection, RequestHead};
use crate::{
    body::Body,
    upstream::{connect::Stream, handover::Patience},
};

/// What a member that has `stream` answers to a request without a body: its status, its fields, its body.
///
/// # Errors
/// Why there is no answer, or only a part of one.
#[doc(hidden)]
pub async fn ask(
    stream: UnixStream,
    method: &Method,
) -> Result<(StatusCode, HeaderMap, Vec<u8>), Box<dyn std::error::Error>> {
    let target = PathAndQuery::from_static("/");
    let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("a.test"))]);
    let head = RequestHead { method, ..RequestHead::get(&target, &headers) };
    let patience = Patience::new(PATIENCE, Instant::now(), None);
    let exchange = Connection::new(Stream::Unix(stream)).exchange(head, Body::Empty, patience);
    let (answer, body) = exchange.await.map_err(|error| error.to_string())?;
    let body = body.collect().await?.to_bytes();
    Ok((answer.status, answer.headers, body.into()))
}

const PATIENCE: Duration = Duration::from_secs(10);
