//! What can go wrong in a store, said so that a caller can act on it.
//!
//! A cache must never be the reason that a request fails: [`StoreError::is_outage`] tells "the far side is away" (go on
//! without the cache) from "this call was wrong" (a value over the limit, a key too long, a bad configuration).

use std::{error::Error, fmt, sync::Arc, time::Duration};

/// Why a store could not do what was asked.
///
/// ```
/// use cache::store::StoreError;
///
/// let error = StoreError::ValueTooLarge { len: 9_000_000, max: 8_388_608 };
/// assert_eq!(error.to_string(), "value of 9000000 bytes (at most 8388608)");
/// assert!(!error.is_outage());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoreError {
    /// No connection, and none is being waited for: the circuit is open. Said at once, without touching the network.
    Unavailable {
        /// The server, as `host:port` or a path.
        server: Arc<str>,
        /// What the last attempt met.
        reason: Arc<str>,
    },
    /// The time limit of the operation passed. It may or may not have been carried out.
    TimedOut {
        /// The server, as `host:port` or a path.
        server: Arc<str>,
        /// The limit that passed.
        limit: Duration,
    },
    /// The connection broke under the operation. It may or may not have been carried out.
    Disconnected {
        /// The server, as `host:port` or a path.
        server: Arc<str>,
        /// What broke it.
        reason: Arc<str>,
    },
    /// More operations in flight than the configuration allows.
    Busy {
        /// The server, as `host:port` or a path.
        server: Arc<str>,
        /// Operations allowed at one time.
        limit: usize,
    },
    /// The server answered with an error: `NOPERM`, `OOM`, `WRONGPASS`, `LOADING` …
    Refused {
        /// The server, as `host:port` or a path.
        server: Arc<str>,
        /// The first word of the answer.
        code: Arc<str>,
        /// The rest of it.
        detail: Arc<str>,
    },
    /// The server answered something that is no answer to what was asked.
    Unexpected {
        /// The server, as `host:port` or a path.
        server: Arc<str>,
        /// What was asked.
        command: &'static str,
        /// The kind of answer that came.
        found: &'static str,
    },
    /// The value is longer than the store takes.
    ValueTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The most bytes allowed.
        max: usize,
    },
    /// The key is longer than the store takes.
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The most bytes allowed.
        max: usize,
    },
    /// The time to live is zero or beyond what a store keeps.
    TtlOutOfRange {
        /// What was asked for.
        ttl: Duration,
        /// The longest allowed.
        max: Duration,
    },
    /// Too many tags, or one too long.
    BadTags {
        /// What is wrong, with the limit.
        what: Arc<str>,
    },
    /// The configuration cannot work; every fault found, joined by `; `.
    Config {
        /// The faults.
        what: Arc<str>,
    },
    /// A typed value could not be turned to bytes, or its bytes to a value.
    Codec {
        /// What the codec said.
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// True when the far side is away, slow, full or refusing: the call was right, and the caller can go on without
    /// the store. False when the same call would fail against a healthy server too.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::TimedOut { .. }
            | Self::Disconnected { .. }
            | Self::Busy { .. }
            | Self::Refused { .. }
            | Self::Unexpected { .. } => true,
            Self::ValueTooLarge { .. }
            | Self::KeyTooLong { .. }
            | Self::TtlOutOfRange { .. }
            | Self::BadTags { .. }
            | Self::Config { .. }
            | Self::Codec { .. } => false,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { server, reason } => write!(f, "{server} is unavailable: {reason}"),
            Self::TimedOut { server, limit } => write!(f, "{server} did not answer within {limit:?}"),
            Self::Disconnected { server, reason } => write!(f, "the connection to {server} broke: {reason}"),
            Self::Busy { server, limit } => {
                write!(f, "{limit} operations are in flight to {server} already (the most allowed)")
            }
            Self::Refused { server, code, detail } => write!(f, "{server} refused: {code} {detail}"),
            Self::Unexpected { server, command, found } => {
                write!(f, "{server} answered {command} with {found}")
            }
            Self::ValueTooLarge { len, max } => write!(f, "value of {len} bytes (at most {max})"),
            Self::KeyTooLong { len, max } => write!(f, "key of {len} bytes (at most {max})"),
            Self::TtlOutOfRange { ttl, max } => {
                write!(f, "time to live of {ttl:?} (must be at least 1ms and at most {max:?})")
            }
            Self::BadTags { what } | Self::Config { what } => f.write_str(what),
            Self::Codec { source } => write!(f, "value and bytes do not match: {source}"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Codec { source } => Some(source.as_ref()),
            _ => None,
        }
    }
}
