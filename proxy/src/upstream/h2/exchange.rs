//! How a request becomes a stream, and what came of it.

use std::{error::Error as _, fmt, time::Duration};

use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, Version, header, uri::Scheme};

use super::{ResponseBody, Stream};
use crate::{
    body::{Body, BodyError},
    upstream::{Answer, h1::RequestHead, handover::Hand},
};

impl Stream {
    /// Sends a request and waits for the head of its answer, which may come before all of the body is sent.
    pub(crate) async fn exchange(
        self,
        head: RequestHead<'_>,
        body: Body,
        hand: &mut Option<Hand>,
        silence_max: Duration,
    ) -> Result<Answer, StreamError> {
        let request = request(head, self.is_tls(), body)?;
        let mut sender = self.sender();
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut failed) => {
                if let Some(error) = hand.as_ref().and_then(Hand::take_failure) {
                    return Err(StreamError::Client(error));
                }
                let was_sent = failed.take_message().is_none();
                let error = failed.into_error();
                let was_seen = was_sent && !is_unseen(&error);
                let error = if was_seen { StreamError::Broken(error) } else { StreamError::Unseen(error) };
                if error.is_parting() {
                    self.retire();
                }
                return Err(error);
            }
        };
        let (mut parts, incoming) = response.into_parts();
        if parts.status.is_informational() {
            return Err(StreamError::Status(parts.status));
        }
        if parts.headers.len() > FIELDS_MAX {
            return Err(StreamError::TooManyFields);
        }
        settle_length(&mut parts.headers)?;
        if let Some(hand) = hand {
            hand.answered(silence_max);
        }
        let body = ResponseBody::new(self, incoming, hand.take(), silence_max);
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.into() })
    }
}

/// The request as HTTP/2 writes it: `Host` is `:authority`, the framing is hyper's.
fn request(head: RequestHead<'_>, is_tls: bool, body: Body) -> Result<Request<Body>, StreamError> {
    let authority = head.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let uri = Uri::builder()
        .scheme(if is_tls { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(authority)
        .path_and_query(head.target.clone())
        .build()
        .map_err(StreamError::Target)?;
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    *headers = head.headers.clone();
    for name in [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if head.takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    Ok(request)
}

/// The member said that it has not looked at this stream: its last one was before it, or it refused it (RFC 9113 §8.7).
fn is_unseen(error: &hyper::Error) -> bool {
    reason(error).is_some_and(|reason| {
        reason.is_remote() && (reason.is_go_away() || reason.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn reason(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|source| source.downcast_ref())
}

/// Leaves one `Content-Length`, if all of them say the same. That it is the length hyper has checked.
fn settle_length(headers: &mut HeaderMap) -> Result<(), StreamError> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(first), Some(_)) = (lengths.next(), lengths.next()) else { return Ok(()) };
    let first = first.clone();
    if headers.get_all(header::CONTENT_LENGTH).iter().any(|length| length != first) {
        return Err(StreamError::Length);
    }
    headers.insert(header::CONTENT_LENGTH, first);
    Ok(())
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The client's body failed.
    Client(BodyError),
    /// The member has seen nothing of it.
    Unseen(hyper::Error),
    /// It broke off.
    Broken(hyper::Error),
    /// The request cannot be written so.
    Target(http::Error),
    /// An answer that is none.
    Status(StatusCode),
    TooManyFields,
    Length,
}

impl StreamError {
    /// The connection was closed, or about to be: that says nothing about the request.
    pub(crate) fn is_parting(&self) -> bool {
        match self {
            StreamError::Unseen(_) => true,
            StreamError::Broken(error) => reason(error).is_some_and(|it| it.is_io() || it.is_go_away()),
            _ => false,
        }
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Client(error) => error.fmt(f),
            StreamError::Unseen(error) => write!(f, "stream not taken: {}", Chain(error)),
            StreamError::Broken(error) => write!(f, "stream broke: {}", Chain(error)),
            StreamError::Target(error) => write!(f, "no HTTP/2 request: {error}"),
            StreamError::Status(status) => write!(f, "status {} in HTTP/2", status.as_u16()),
            StreamError::TooManyFields => write!(f, "response head of more than {FIELDS_MAX} fields"),
            StreamError::Length => f.write_str("response whose length is stated in two ways"),
        }
    }
}

/// hyper says that it was HTTP/2; what it was stands behind it.
struct Chain<'e>(&'e hyper::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(source) => write!(f, "{}: {source}", self.0),
            None => self.0.fmt(f),
        }
    }
}

const FIELDS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use http::{Method, uri::PathAndQuery};

    use super::*;

    #[test]
    fn the_host_is_the_authority_and_framing_is_not_copied() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "a.test:81"), ("content-length", "99"), ("x-a", "1")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let target = PathAndQuery::from_static("/x?y");
        let head = RequestHead {
            method: &Method::POST,
            target: &target,
            headers: &headers,
            upgrade: None,
            interims: None,
            takes_trailers: true,
        };
        let request = request(head, false, Body::from("hi")).unwrap();
        assert_eq!(request.uri(), "http://a.test:81/x?y");
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers().len(), 2, "{:?}", request.headers());
    }

    #[test]
    fn a_length_is_stated_once() {
        let lengths = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            settle_length(&mut headers).map(|()| headers.get_all(header::CONTENT_LENGTH).iter().count())
        };
        assert_eq!(lengths(&[]).unwrap(), 0);
        assert_eq!(lengths(&["5", "5", "5"]).unwrap(), 1);
        assert!(matches!(lengths(&["5", "6"]), Err(StreamError::Length)));
        assert!(matches!(lengths(&["5", "05"]), Err(StreamError::Length)));
    }
}
