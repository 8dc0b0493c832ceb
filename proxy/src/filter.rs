//! Own code in the way of requests and answers: implement [`Filter`], give it to [`Proxy::builder`](crate::Proxy::builder).
//!
//! ```text
//!   request ─► admission ─► on_request ─► cache, upstream ─► rules' rewriting ─► on_response ─► map_body ─► client
//!                               └─► an answer of its own
//! ```
//!
//! Filters run in the order in which they were given, on answers from the cache as on others; what is stored is what the
//! upstream said. They must not block: they run where connections are served. A body is gathered, decoded and measured
//! only for a filter that asks for it, so that the rest streams.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use bytes::Bytes;
//! use evenly::{Proxy, config::Config, filter::{BodyWish, Filter}};
//! use http::{Response, request, response};
//!
//! /// Hides what a third party's API says about prices.
//! #[derive(Debug)]
//! struct NoPrices;
//!
//! impl Filter for NoPrices {
//!     fn on_request(&self, request: &mut request::Parts) -> ControlFlow<Response<Bytes>> {
//!         if request.uri.path().starts_with("/internal") {
//!             return ControlFlow::Break(Response::builder().status(404).body(Bytes::new()).unwrap());
//!         }
//!         ControlFlow::Continue(())
//!     }
//!
//!     fn on_response(&self, _: &request::Parts, response: &mut response::Parts) -> BodyWish {
//!         let is_json = response.headers.get("content-type").is_some_and(|kind| kind == "application/json");
//!         if is_json { BodyWish::Map } else { BodyWish::Keep }
//!     }
//!
//!     fn map_body(&self, _: &mut response::Parts, body: Bytes) -> Bytes {
//!         let Ok(mut api) = serde_json::from_slice::<serde_json::Value>(&body) else { return body };
//!         api["price"] = serde_json::Value::Null;
//!         api.to_string().into()
//!     }
//! }
//!
//! let config = Config::parse("cfg.toml", "[server]\nproxy_pass = [\"127.0.0.1:6000\"]").unwrap();
//! let proxy = Proxy::builder(&config).filter(NoPrices).build().unwrap();
//! assert_eq!(proxy.members().len(), 1);
//! ```

use std::{fmt::Debug, ops::ControlFlow, sync::Arc};

use bytes::Bytes;
use http::{
    Method, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, LAST_MODIFIED},
    request, response,
};

use crate::{body::Body, error::Error, rewrite};

/// Own code for requests and answers. Every method has a default that changes nothing.
pub trait Filter: Debug + Send + Sync + 'static {
    /// A request that was let in: change it, or answer it here and now. Framing and hop-by-hop fields are the proxy's;
    /// what is written into them has no effect.
    fn on_request(&self, request: &mut request::Parts) -> ControlFlow<Response<Bytes>> {
        let _ = request;
        ControlFlow::Continue(())
    }

    /// The head of an answer, and the request it answers: change it, and say whether the body is wanted too.
    fn on_response(&self, request: &request::Parts, response: &mut response::Parts) -> BodyWish {
        let _ = (request, response);
        BodyWish::Keep
    }

    /// The whole body, decoded, of an answer that [`on_response`](Filter::on_response) wanted.
    fn map_body(&self, response: &mut response::Parts, body: Bytes) -> Bytes {
        let _ = response;
        body
    }

    /// The largest body that [`map_body`](Filter::map_body) takes; a larger one that it wants is answered with 502.
    fn body_len_max(&self) -> usize {
        4 << 20
    }
}

/// Does a filter want the body of an answer?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyWish {
    /// No: it streams by.
    Keep,
    /// Yes, whole.
    Map,
}

/// All filters of a proxy, in their order.
pub(crate) type Filters = Arc<[Box<dyn Filter>]>;

/// Shows a request to each filter, until one answers it.
pub(crate) fn ask(filters: &Filters, request: &mut request::Parts) -> Option<Response<Body>> {
    filters.iter().find_map(|filter| match filter.on_request(request) {
        ControlFlow::Continue(()) => None,
        ControlFlow::Break(response) => Some(response.map(Body::from)),
    })
}

/// Shows an answer to each filter.
pub(crate) async fn apply(
    filters: &Filters,
    request: &request::Parts,
    response: Response<Body>,
) -> Result<Response<Body>, Error> {
    if filters.is_empty() {
        return Ok(response);
    }
    let (mut parts, mut body) = response.into_parts();
    for filter in filters.iter() {
        let wish = filter.on_response(request, &mut parts);
        if wish == BodyWish::Map && has_body(&request.method, parts.status) {
            let len_max = filter.body_len_max();
            let gathered = body.gather(len_max).await?;
            let plain = match parts.headers.remove(CONTENT_ENCODING) {
                None => gathered,
                Some(encoding) => {
                    let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
                    Bytes::from(rewrite::decode(&encoding, &gathered, len_max)?)
                }
            };
            // They describe the upstream's bytes.
            for name in [ETAG, LAST_MODIFIED, ACCEPT_RANGES] {
                parts.headers.remove(name);
            }
            let mapped = filter.map_body(&mut parts, plain);
            parts.headers.insert(CONTENT_LENGTH, mapped.len().into());
            body = Body::from(mapped);
        }
    }
    Ok(Response::from_parts(parts, body))
}

/// A part of a body is no body to map.
fn has_body(method: &Method, status: StatusCode) -> bool {
    method != Method::HEAD
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT)
}
