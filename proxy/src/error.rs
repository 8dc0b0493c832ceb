//! Why a request is refused or fails, and the one place where that becomes a status.

use std::{fmt, io, time::Duration};

use http::{HeaderValue, Response, StatusCode, Version, header, request::Parts};

use crate::{
    admit::Refusal,
    body::{Body, BodyError},
    rewrite,
    tunnel::DialError,
    upstream::SendError,
};

/// Why the client gets an answer that is our own.
#[derive(Debug)]
pub(crate) enum Error {
    /// The request may not pass.
    Refused(Refusal),
    /// The destination of a forward proxy is not reached.
    Dial(DialError),
    /// An answer that a rule wants changed cannot be.
    Rewrite(rewrite::BodyError),
    /// No member gave an answer.
    Send(SendError),
    /// `request_timeout` was over before there was an answer.
    TooLong(Duration),
    /// The fetch that this request waited for, with others, failed.
    SharedFetch,
}

impl Error {
    /// The status for the client (RFC 9110 §15).
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Error::Refused(refusal) => refusal.status(),
            Error::Dial(DialError::NotAllowed) => StatusCode::FORBIDDEN,
            Error::Dial(DialError::Io(error)) if error.kind() == io::ErrorKind::TimedOut => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Error::Dial(DialError::Io(_)) | Error::Rewrite(_) => StatusCode::BAD_GATEWAY,
            Error::Send(SendError::Client(BodyError::TooLarge { .. })) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Send(SendError::Client(BodyError::ClientSilent(_))) => StatusCode::REQUEST_TIMEOUT,
            // It was there, but it is not who it should be: waiting will not help.
            Error::Send(SendError::Connect { source, .. }) if source.kind() == io::ErrorKind::InvalidData => {
                StatusCode::BAD_GATEWAY
            }
            Error::Send(SendError::NoMember(_) | SendError::Full | SendError::Connect { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Error::Send(SendError::Client(_)) => StatusCode::BAD_REQUEST,
            Error::Send(SendError::Silent { .. }) | Error::TooLong(_) => StatusCode::GATEWAY_TIMEOUT,
            Error::Send(SendError::Exchange { .. } | SendError::Stream { .. }) | Error::SharedFetch => {
                StatusCode::BAD_GATEWAY
            }
        }
    }

    /// A short plain answer. It tells the client what, and the log why: addresses of members are nobody's business.
    pub(crate) fn into_response(self) -> Response<Body> {
        let status = self.status();
        tracing::debug!(%status, error = %self, "request failed");
        if let Error::Refused(refusal) = self {
            return refusal.into_response().map(Body::from);
        }
        let mut response = plain(status);
        let headers = response.headers_mut();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status.is_client_error() {
            // What follows a request that we did not understand cannot be trusted to be another request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// An answer that says its status and nothing else.
pub(crate) fn plain(status: StatusCode) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or("error");
    let mut response = Response::new(Body::from(format!("{} {reason}\n", status.as_u16())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a gRPC client asks in. Its own errors stand in trailers, and it reads no other: see [`into_grpc`].
pub(crate) fn is_grpc(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    parts.version == Version::HTTP_2 && kind.starts_with(b"application/grpc")
}

/// Says an answer of our own so that a gRPC client understands it: in the fields that are trailers at the same time,
/// because nothing follows them ("Trailers-Only").
pub(crate) fn into_grpc(response: Response<Body>) -> Response<Body> {
    let status = response.status();
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::OK;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    parts.headers.insert("grpc-status", HeaderValue::from(grpc_code(status)));
    let reason = status.canonical_reason().unwrap_or("error");
    if let Ok(message) = HeaderValue::from_str(&format!("{} {reason}", status.as_u16())) {
        parts.headers.insert("grpc-message", message);
    }
    Response::from_parts(parts, Body::Empty)
}

/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>, with the statuses of limits added.
fn grpc_code(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 | 407 => 16,
        403 => 7,
        404 => 12,
        408 => 4,
        413 | 414 | 431 => 8,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(refusal) => refusal.fmt(f),
            Error::Dial(DialError::NotAllowed) => f.write_str("destination is not allowed"),
            Error::Dial(DialError::Io(error)) => write!(f, "destination is not reached: {error}"),
            Error::Rewrite(error) => error.fmt(f),
            Error::Send(error) => error.fmt(f),
            Error::TooLong(limit) => write!(f, "no answer within {} ms of the request", limit.as_millis()),
            Error::SharedFetch => f.write_str("the fetch that this request shared with others failed"),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Refused(refusal)
    }
}

impl From<DialError> for Error {
    fn from(error: DialError) -> Self {
        Error::Dial(error)
    }
}

impl From<rewrite::BodyError> for Error {
    fn from(error: rewrite::BodyError) -> Self {
        Error::Rewrite(error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        Error::Send(error)
    }
}
