//! Asks a member whether it is there: by a connection, or by a GET and what it answers.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use memchr::memmem;
use tokio::time::timeout;

use crate::{
    body::{Body, Member},
    config::Check,
    upstream::{RequestHead, backend::Backend},
};

/// Whether the member does what `check` asks for, within `limit`.
pub(crate) async fn probe(backend: &Backend, check: &Check, limit: Duration) -> bool {
    let asked = async {
        match check {
            Check::Off => true,
            Check::Tcp => backend.connect().await.is_ok(),
            Check::Http { path, host, status, body } => {
                get(backend, path, host, *status, body.as_deref(), limit).await.unwrap_or(false)
            }
        }
    };
    timeout(limit, asked).await.unwrap_or(false)
}

async fn get(
    backend: &Backend,
    path: &str,
    host: &str,
    status: Option<u16>,
    wanted: Option<&str>,
    limit: Duration,
) -> Option<bool> {
    let target = PathAndQuery::try_from(path).ok()?;
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(host).ok()?);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("evenly-health-check"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let head = RequestHead::get(&target, &headers);
    let link = backend.open(false).await.ok()?;
    let answer = link.exchange(head, Body::Empty, limit).await.ok()?;
    let is_good = match status {
        Some(status) => answer.status == status,
        None => answer.status < StatusCode::BAD_REQUEST,
    };
    let (true, Some(wanted)) = (is_good, wanted) else { return Some(is_good) };
    let mut body = Body::Member(Member::new(answer.body));
    let mut seen = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        seen.extend_from_slice(frame.data_ref()?);
        if memmem::find(&seen, wanted.as_bytes()).is_some() {
            return Some(true);
        }
        if seen.len() > BODY_MAX {
            break;
        }
    }
    Some(false)
}

/// How far the answer is searched.
const BODY_MAX: usize = 64 << 10;
