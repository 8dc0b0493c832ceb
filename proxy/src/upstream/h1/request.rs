//! A request head written for a member.
//!
//! The framing is always our own: `Content-Length` and `Transfer-Encoding` of the client are never copied, so what
//! the member sees is what we decided on, whatever the client wrote.

use std::fmt::Debug;

use http::{HeaderMap, Method, StatusCode, header, uri::PathAndQuery};

use crate::codec::put_field;

/// What goes into a request's head, by reference: a retry writes it again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHead<'r> {
    pub(crate) method: &'r Method,
    pub(crate) target: &'r PathAndQuery,
    /// Without hop-by-hop fields.
    pub(crate) headers: &'r HeaderMap,
    /// The protocol the client wants to switch to, if any.
    pub(crate) upgrade: Option<&'r http::HeaderValue>,
    /// Where interim responses go, if the client takes them.
    pub(crate) interims: Option<&'r dyn Interims>,
    /// The client takes trailers (`TE`).
    pub(crate) takes_trailers: bool,
}

/// Where a member's interim responses (RFC 9110 §15.2) go.
pub(crate) trait Interims: Debug + Send + Sync {
    /// Passes one on, if there is still somebody to whom it means something. Never 101.
    fn pass(&self, status: StatusCode, headers: &HeaderMap);
}

/// How the body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// No body, and no field that speaks of one.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Length unknown beforehand.
    Chunked,
}

impl<'r> RequestHead<'r> {
    /// A GET of our own, on behalf of no client.
    pub(crate) fn get(target: &'r PathAndQuery, headers: &'r HeaderMap) -> Self {
        Self { method: &Method::GET, target, headers, upgrade: None, interims: None, takes_trailers: false }
    }
}

impl RequestHead<'_> {
    pub(crate) fn write(&self, sending: Sending, out: &mut Vec<u8>) {
        let target = if self.target.as_str().is_empty() { "/" } else { self.target.as_str() };
        out.reserve(256 + target.len() + self.headers.len() * 48);
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in self.headers {
            if name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING {
                continue;
            }
            put_field(out, name.as_str(), value.as_bytes());
        }
        if let Some(protocol) = self.upgrade {
            put_field(out, "connection", b"upgrade");
            put_field(out, "upgrade", protocol.as_bytes());
        }
        match sending {
            // A method that usually has a body says that this one is empty (RFC 9110 §8.6).
            Sending::Nothing if matches!(*self.method, Method::POST | Method::PUT | Method::PATCH) => {
                put_field(out, "content-length", b"0");
            }
            Sending::Nothing => {}
            Sending::Length(length) => put_field(out, "content-length", length.to_string().as_bytes()),
            Sending::Chunked => put_field(out, "transfer-encoding", b"chunked"),
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn written(method: &Method, sending: Sending, upgrade: Option<&HeaderValue>) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("a.test"));
        headers.insert("content-length", HeaderValue::from_static("99"));
        headers.insert("transfer-encoding", HeaderValue::from_static("gzip, chunked"));
        let mut out = Vec::new();
        let target = PathAndQuery::from_static("/x?y");
        RequestHead {
            method,
            target: &target,
            headers: &headers,
            upgrade,
            interims: None,
            takes_trailers: false,
        }
        .write(sending, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn framing_is_always_our_own() {
        let get = written(&Method::GET, Sending::Nothing, None);
        assert_eq!(get, "GET /x?y HTTP/1.1\r\nhost: a.test\r\n\r\n");
        let put = written(&Method::PUT, Sending::Length(7), None);
        assert_eq!(put, "PUT /x?y HTTP/1.1\r\nhost: a.test\r\ncontent-length: 7\r\n\r\n");
        let chunked = written(&Method::POST, Sending::Chunked, None);
        assert_eq!(chunked, "POST /x?y HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n");
        assert!(written(&Method::POST, Sending::Nothing, None).ends_with("content-length: 0\r\n\r\n"));
    }

    #[test]
    fn an_upgrade_is_asked_for_by_us() {
        let websocket = HeaderValue::from_static("websocket");
        let head = written(&Method::GET, Sending::Nothing, Some(&websocket));
        assert!(head.ends_with("connection: upgrade\r\nupgrade: websocket\r\n\r\n"));
    }
}
