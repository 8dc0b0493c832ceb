//! What can be configured. A value of these types has passed every check; nothing later checks it again.

use std::{fmt, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use balancers::Algorithm;

use super::{
    AccessLog, AdmissionConfig, ClientTlsConfig, ConnectionLimits, DnsConfig, Listen, Member, Name,
    Resilience, TlsConfig,
};
use crate::admit::destination::Destinations;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[[upstreams]]`: groups that rules may choose.
    pub groups: Vec<GroupConfig>,
    /// `[tls]`: absent when nobody is served over TLS.
    pub tls: Option<TlsConfig>,
    /// `[upstream_tls]`
    pub upstream_tls: ClientTlsConfig,
    /// `[redis]`
    pub redis: RedisConfig,
    /// `[mem]`
    pub memory: MemoryConfig,
    /// `[health]`, `[retry]` and `[queue]`
    pub resilience: Resilience,
    /// `[dns]`
    pub dns: DnsConfig,
    /// `[admin]`: absent when the file has no such section.
    pub admin: Option<AdminConfig>,
    /// The text that it was read from, with the secrets that stand in it.
    pub source: Secret,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// `listen`: loopback or a unix socket, unless there is a token.
    pub listen: Listen,
    /// `token`: what operators must say.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig { listen: Listen::Tcp(([127, 0, 0, 1], 9180).into()), token: None }
    }
}

impl Config {
    /// Every name that members are found by.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.server.names.iter().chain(self.groups.iter().flat_map(|group| &group.names))
    }

    /// Every place to listen at.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Listen> {
        [&self.server.listen].into_iter().chain(self.tls.as_ref().map(|tls| &tls.listen))
    }
}

/// One of `[[upstreams]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupConfig {
    /// What rules call it.
    pub name: Arc<str>,
    /// `proxy_pass`: not empty, together with `names`.
    pub members: Vec<Member>,
    /// Those of `proxy_pass` that stand for many.
    pub names: Vec<Name>,
    /// `balance`
    pub balance: Algorithm,
    /// Its own `health`, `retry` and `queue`, over those of all.
    pub resilience: Resilience,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `port`: where clients connect.
    pub listen: Listen,
    /// `reverse`: true for a reverse proxy before `members`, false for a forward proxy.
    pub reverse: bool,
    /// `proxy_pass`: not empty when `reverse`, together with `names`; each address once.
    pub members: Vec<Member>,
    /// Those of `proxy_pass` that stand for many.
    pub names: Vec<Name>,
    /// `balance`, or goproxy's `inverse_mode` / `reverse_mode` by number.
    pub balance: Algorithm,
    /// `auth`: nothing passes without a user's password.
    pub auth: bool,
    /// `user`, `trusted_proxies`, `[[rules]]` and their kin.
    pub admission: AdmissionConfig,
    /// `allow`: where a forward proxy may go; empty means nowhere.
    pub destinations: Destinations,
    /// `cache`: absent when false.
    pub cache: Option<CacheConfig>,
    /// `workers`: threads that serve; absent for one for each core.
    pub workers: Option<NonZeroUsize>,
    /// `log`
    pub log: LogLevel,
    /// `log_path`: a folder; absent means standard output.
    pub log_path: Option<PathBuf>,
    /// `access_log`: a line for each request, to standard output or into `log_path`.
    pub access_log: AccessLog,
    /// `request_id`: whether each request has an `X-Request-Id`.
    pub request_id: bool,
    /// `proxy_protocol`: trusted peers say first who connected to them.
    pub proxy_protocol: bool,
    /// `max_connections` and its kin.
    pub limits: ConnectionLimits,
    /// `http_read_timeout`, `http_write_timeout` and their kin.
    pub timeouts: Timeouts,
}

/// What is kept of responses, where and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// `cache_type`
    pub store: CacheStore,
    /// `cache_timeout`: freshness of a response that states none; absent when 0 or not given.
    pub default_freshness: Option<Duration>,
    /// `cache_profile`: how much of the reuse that the RFCs allow is taken.
    pub profile: CacheProfile,
    /// `stale_if_error`: how long past its freshness a response may stand in for a failing member.
    pub stale_if_error: Duration,
    /// `refresh_ahead`: fetch used responses again shortly before they expire.
    pub refresh_ahead: bool,
    /// `cache_query_drop`: query parameters that make no difference; `utm_*` for all that start so.
    pub drop_query: Vec<String>,
    /// `cache_query_sort`: the order of query parameters makes no difference.
    pub sort_query: bool,
}

/// `cache_type`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStore {
    /// In this process.
    Memory,
    /// In Redis, shared by many proxies.
    Redis,
    /// In Redis, with memory before it.
    Tiered,
}

/// `cache_profile`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheProfile {
    /// Not what often goes wrong with applications that forget `private`.
    #[default]
    Safe,
    /// All the reuse that the RFCs allow.
    Rfc,
}

/// `log`: goproxy's 1 and 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// 1: what happens to each request as well.
    Debug,
    /// 0: start, stop, and what went wrong.
    Info,
}

/// Every wait has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// `http_read_timeout`: for a request's head to arrive, and between two pieces of its body.
    pub read: Duration,
    /// `http_write_timeout`: between two pieces of a response that the client takes.
    pub write: Duration,
    /// `connect_timeout`: for a member to accept a connection.
    pub connect: Duration,
    /// `response_timeout`: for a member to begin its answer, and between two pieces of it.
    pub response: Duration,
    /// `idle_timeout`: for a kept connection to be used again.
    pub idle: Duration,
    /// `request_timeout`: for a request from its head to the end of its answer.
    pub request: Duration,
    /// `tunnel_timeout`: for a byte to move in a tunnel, either way.
    pub tunnel: Duration,
    /// `drain_timeout`: for requests in flight when the process is told to stop.
    pub drain: Duration,
}

/// `[redis]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis_host`: `host:port`.
    pub host: String,
    /// `redis_pass`: empty for none.
    pub password: Secret,
    /// `max_idle`: connections kept without work.
    pub max_idle: usize,
    /// `max_active`: connections at most.
    pub max_active: usize,
    /// `idle_timeout`: how long an idle connection is kept.
    pub idle_timeout: Duration,
}

/// `[mem]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryConfig {
    /// `capacity`: entries at most.
    pub capacity: u64,
    /// `max_bytes`: headers and bodies together, at most.
    pub max_bytes: u64,
    /// `max_object_bytes`: a larger response passes by without being kept.
    pub max_object_bytes: u64,
    /// `cache_replacement_policy`: who leaves when it is full.
    pub policy: cache::Policy,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            listen: Listen::Tcp(([0u16; 8], 8080).into()),
            reverse: true,
            members: Vec::new(),
            names: Vec::new(),
            balance: Algorithm::P2c,
            auth: false,
            admission: AdmissionConfig::default(),
            destinations: Destinations::default(),
            cache: None,
            workers: None,
            log: LogLevel::Info,
            log_path: None,
            access_log: AccessLog::Off,
            request_id: true,
            proxy_protocol: false,
            limits: ConnectionLimits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            read: Duration::from_secs(10),
            write: Duration::from_secs(10),
            connect: Duration::from_secs(2),
            response: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            request: Duration::from_secs(3600),
            tunnel: Duration::from_secs(3600),
            drain: Duration::from_secs(30),
        }
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        RedisConfig {
            host: "localhost:6379".to_owned(),
            password: Secret::default(),
            max_idle: 5,
            max_active: 10,
            idle_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        MemoryConfig {
            capacity: 10_000,
            max_bytes: 256 << 20,
            max_object_bytes: 8 << 20,
            policy: cache::Policy::Lru,
        }
    }
}

/// A string that does not show itself in logs or errors.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself; the one place to look for its uses.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Secret(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}
