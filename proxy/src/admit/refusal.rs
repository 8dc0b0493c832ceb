//! Why a request ends before it reaches anybody, and the answer it gets.

use std::fmt;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, PROXY_AUTHENTICATE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};

use crate::target::TargetError;

/// Why a request is answered here.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The target, the host or the path cannot be what it claims.
    Target(TargetError),
    /// HTTP/1.1 without `Host`, or with several.
    HostCount(usize),
    /// `host` and `:authority` differ.
    HostMismatch,
    /// The body's length is in doubt.
    Length,
    /// A request to switch protocols that has a body.
    UpgradeWithBody,
    /// More options in `Connection`, or more digits in `Max-Forwards`, than any client has reason to send.
    Field(&'static str),
    /// The target is longer than allowed.
    TargetLength {
        /// Its bytes.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// More fields than allowed.
    FieldCount {
        /// How many there are.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The declared body is larger than allowed.
    BodyLength {
        /// Its bytes.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// `Expect` asks for something else than `100-continue`.
    Expectation,
    /// The method is not served here (`CONNECT` on a reverse proxy).
    Method,
    /// `Max-Forwards: 0`: this proxy is whom `OPTIONS` or `TRACE` asked.
    LastHop {
        /// `TRACE` is not echoed: it would show fields that scripts must not see.
        is_trace: bool,
    },
    /// The destination is not on the allow-list.
    Destination,
    /// No valid credentials.
    Credentials {
        /// A forward proxy asks with 407, a reverse proxy with 401.
        is_forward: bool,
    },
    /// Too many failed passwords from this client.
    TooManyFailures {
        /// Seconds until the next try is looked at.
        retry_after_s: u64,
    },
    /// A rule answers.
    Rule(Box<Response<Bytes>>),
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Target(_)
            | Self::HostCount(_)
            | Self::HostMismatch
            | Self::Length
            | Self::UpgradeWithBody
            | Self::Field(_) => StatusCode::BAD_REQUEST,
            Self::TargetLength { .. } => StatusCode::URI_TOO_LONG,
            Self::FieldCount { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyLength { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Method | Self::LastHop { is_trace: true } => StatusCode::METHOD_NOT_ALLOWED,
            Self::LastHop { is_trace: false } => StatusCode::OK,
            Self::Destination => StatusCode::FORBIDDEN,
            Self::Credentials { is_forward: false } => StatusCode::UNAUTHORIZED,
            Self::Credentials { is_forward: true } => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            Self::TooManyFailures { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Rule(response) => response.status(),
        }
    }

    /// The whole answer. What the message is about stands in the log, not in the body: it helps only attackers.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let status = self.status();
        if let Self::Rule(response) = self {
            return *response;
        }
        let reason = status.canonical_reason().unwrap_or("refused");
        let mut response = Response::new(Bytes::from(format!("{} {reason}\n", status.as_u16())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.field() {
            headers.insert(name, value);
        }
        response
    }

    fn field(&self) -> Option<(HeaderName, HeaderValue)> {
        let close = (CONNECTION, HeaderValue::from_static("close"));
        match self {
            Self::Credentials { is_forward: false } => {
                Some((WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE)))
            }
            Self::Credentials { is_forward: true } => {
                Some((PROXY_AUTHENTICATE, HeaderValue::from_static(CHALLENGE)))
            }
            Self::TooManyFailures { retry_after_s } => Some((RETRY_AFTER, HeaderValue::from(*retry_after_s))),
            Self::Method => Some((ALLOW, HeaderValue::from_static(METHODS))),
            Self::LastHop { .. } => Some((ALLOW, HeaderValue::from_static(METHODS))),
            Self::Rule(_) | Self::Destination => None,
            // What follows a request that was not understood cannot be trusted to be another request.
            _ => Some(close),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(error) => error.fmt(f),
            Self::HostCount(count) => write!(f, "{count} host fields (must be 1)"),
            Self::HostMismatch => f.write_str("host and :authority differ"),
            Self::Length => f.write_str("length of the body is in doubt"),
            Self::UpgradeWithBody => f.write_str("request to switch protocols has a body"),
            Self::Field(what) => f.write_str(what),
            Self::TargetLength { found, max } => write!(f, "target of {found} bytes (at most {max})"),
            Self::FieldCount { found, max } => write!(f, "{found} header fields (at most {max})"),
            Self::BodyLength { found, max } => write!(f, "body of {found} bytes (at most {max})"),
            Self::Expectation => f.write_str("expectation is not 100-continue"),
            Self::Method => f.write_str("method is not served here"),
            Self::LastHop { .. } => f.write_str("max-forwards is 0"),
            Self::Destination => f.write_str("destination is not allowed"),
            Self::Credentials { .. } => f.write_str("no valid credentials"),
            Self::TooManyFailures { retry_after_s } => {
                write!(f, "too many failed passwords, next try in {retry_after_s} s")
            }
            Self::Rule(response) => write!(f, "rule answers {}", response.status().as_u16()),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

const CHALLENGE: &str = "Basic realm=\"evenly\", charset=\"UTF-8\"";
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";
