//! What the operator decides about the cache; everything else is decided by the RFCs.

use std::time::Duration;

/// Knobs of one cache. [`Settings::default`] is the profile "safe".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much of the reuse that the RFCs allow is taken.
    pub profile: Profile,
    /// Freshness of cacheable responses that state none themselves (`cache_timeout`); zero to guess by Last-Modified.
    pub default_ttl: Duration,
    /// The longest guess (RFC 9111 §4.2.2); zero for none.
    pub heuristic_max: Duration,
    /// How long past its lifetime a response may be used when the origin fails and no directive speaks of it.
    pub stale_if_error: Duration,
    /// Entries used in the last tenth of their lifetime are fetched again in the background.
    pub refresh_ahead: bool,
    /// A longer body passes through unstored.
    pub max_object_bytes: u64,
    /// Weight of everything stored: headers and bodies.
    pub max_bytes: u64,
    /// Number of keys stored.
    pub capacity: usize,
    /// Query parameters that are not part of the key; a trailing `*` stands for any ending (`utm_*`).
    pub drop_query: Vec<String>,
    /// Whether the order of query parameters is not part of the key.
    pub sort_query: bool,
    /// The name in `Cache-Status`: a token.
    pub name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            profile: Profile::Safe,
            default_ttl: Duration::ZERO,
            heuristic_max: Duration::from_secs(24 * 60 * 60),
            stale_if_error: Duration::from_secs(24 * 60 * 60),
            refresh_ahead: false,
            max_object_bytes: 8 << 20,
            max_bytes: 256 << 20,
            capacity: 100_000,
            drop_query: Vec::new(),
            sort_query: false,
            name: String::from("evenly"),
        }
    }
}

/// How much of the reuse that the RFCs allow is taken.
///
/// | | `Rfc` | `Safe` |
/// |---|---|---|
/// | a response with `Set-Cookie` | stored when its directives allow it | never stored |
/// | a response to a request with `Authorization` | stored when RFC 9111 §3.5 allows it | never stored |
/// | a 206 whose body does not have the length that its Content-Range claims | stored | never stored |
/// | completing a stored part without a strong validator | tried; the whole is fetched when it cannot be joined | never tried |
/// | `Content-Language` fits the first choice of another `Accept-Language` | used | not used |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// All the reuse that the RFCs allow.
    Rfc,
    /// Not what often goes wrong with applications that forget `private`.
    #[default]
    Safe,
}

impl Profile {
    /// Whether this is [`Profile::Safe`].
    pub fn is_safe(self) -> bool {
        self == Self::Safe
    }
}
