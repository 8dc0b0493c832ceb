//! Everything a [`Redis`](super::Redis) store can be told, each with a default that is safe to run with.

use std::{fmt, path::PathBuf, time::Duration};

use super::{address::Address, url};
use crate::store::StoreError;

/// How to reach Redis, and the limits to keep to.
///
/// ```
/// use std::time::Duration;
/// use cache::store::RedisConfig;
///
/// let config = RedisConfig::from_url("rediss://app:s3cret@cache.internal:6380/2")?
///     .namespace("shop")
///     .response_timeout(Duration::from_millis(50));
///
/// assert!(!format!("{config:?}").contains("s3cret"));
/// # Ok::<(), cache::store::StoreError>(())
/// ```
///
/// | URL | means |
/// |---|---|
/// | `host`, `host:port`, `redis://[user:password@]host[:port][/db]` | one server |
/// | `rediss://…` | the same over TLS; `?ca=FILE`, `?cert=FILE&key=FILE`, `?server_name=NAME` |
/// | `unix:///path/to.sock[?db=N]`, `/path/to.sock` | one server on a unix socket |
/// | `redis+sentinel://[user:password@]host[:port],…/master[/db]` | the master that the Sentinels name |
/// | `redis+cluster://[user:password@]host[:port],…` | a Cluster, found from any of its nodes |
///
/// `rediss+sentinel` and `rediss+cluster` are the same over TLS. User and password are percent-decoded; they are the
/// master's, and what the Sentinels themselves ask for is `?sentinel_user=…&sentinel_password=…`.
#[derive(Clone)]
pub struct RedisConfig {
    pub(super) topology: Topology,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
    pub(super) tls: Option<RedisTls>,
    pub(super) namespace: String,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) purge_timeout: Duration,
    pub(super) max_active: usize,
    pub(super) max_idle: usize,
    pub(super) idle_timeout: Duration,
    pub(super) max_in_flight: usize,
    pub(super) max_value_bytes: usize,
    pub(super) max_key_bytes: usize,
    pub(super) ttl_jitter: f64,
    pub(super) failures_to_open: u32,
    pub(super) probe_first: Duration,
    pub(super) probe_longest: Duration,
    pub(super) ping_every: Duration,
}

/// What stands at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topology {
    Single(Address),
    Sentinel { sentinels: Vec<Address>, master: String, user: Option<String>, password: Option<String> },
    Cluster(Vec<Address>),
}

/// Certificates for `rediss://`.
///
/// Without a CA file the system's own trusted roots are used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisTls {
    pub(super) ca: Option<PathBuf>,
    pub(super) client: Option<(PathBuf, PathBuf)>,
    pub(super) server_name: Option<String>,
}

impl RedisTls {
    /// Trust the system's roots, present no certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trust the certificates in this PEM file, and no others.
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// Present this certificate chain and key, both PEM files.
    pub fn client(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((certificate.into(), key.into()));
        self
    }

    /// The name that the server's certificate must carry, where it is not the host connected to.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// Constructors: where the server is.
impl RedisConfig {
    /// What a URL says, see the [table](Self).
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        url::parse(url).map_err(|what| StoreError::Config { what: what.into() })
    }

    /// One server.
    pub fn single(address: Address) -> Self {
        Self::with_topology(Topology::Single(address))
    }

    /// The master called `master`, as the Sentinels know it.
    pub fn sentinel(sentinels: impl IntoIterator<Item = Address>, master: impl Into<String>) -> Self {
        Self::with_topology(Topology::Sentinel {
            sentinels: sentinels.into_iter().collect(),
            master: master.into(),
            user: None,
            password: None,
        })
    }

    /// A Cluster, found from any of these nodes.
    pub fn cluster(nodes: impl IntoIterator<Item = Address>) -> Self {
        Self::with_topology(Topology::Cluster(nodes.into_iter().collect()))
    }

    fn with_topology(topology: Topology) -> Self {
        Self {
            topology,
            user: None,
            password: None,
            database: 0,
            tls: None,
            namespace: "cache".to_owned(),
            connect_timeout: Duration::from_millis(250),
            response_timeout: Duration::from_millis(100),
            purge_timeout: Duration::from_secs(60),
            max_active: 1,
            max_idle: 1,
            idle_timeout: Duration::from_secs(10),
            max_in_flight: 16_384,
            max_value_bytes: 8 << 20,
            max_key_bytes: 16 << 10,
            ttl_jitter: 0.0,
            failures_to_open: 3,
            probe_first: Duration::from_millis(100),
            probe_longest: Duration::from_secs(5),
            ping_every: Duration::from_secs(1),
        }
    }
}

/// What else there is to say; each returns the configuration with that one thing changed.
impl RedisConfig {
    /// The ACL user. Default: the server's `default` user.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The password. An empty one is none.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into()).filter(|password: &String| !password.is_empty());
        self
    }

    /// User and password for the Sentinels themselves, where they ask for any.
    pub fn sentinel_login(mut self, login_user: Option<String>, login_password: impl Into<String>) -> Self {
        if let Topology::Sentinel { user, password, .. } = &mut self.topology {
            *user = login_user;
            *password = Some(login_password.into()).filter(|password: &String| !password.is_empty());
        }
        self
    }

    /// The numbered database. A Cluster has only 0, the default.
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// Speak TLS.
    pub fn tls(mut self, tls: RedisTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What our keys start with: 1 to 64 bytes. Stores of one namespace share their entries, others never meet.
    /// Default `cache`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// For name lookup, connection, TLS and login together. No caller waits for it, see
    /// [`response_timeout`](Self::response_timeout). Default 250 ms.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The longest any operation takes, whatever happens, waiting for a connection included. Purges are many operations:
    /// each step keeps to it. Default 100 ms.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.response_timeout = limit;
        self
    }

    /// The longest a whole purge (`delete_by_prefix`, `delete_by_tag`, `clear`) takes. Default 60 s.
    pub fn purge_timeout(mut self, limit: Duration) -> Self {
        self.purge_timeout = limit;
        self
    }

    /// The most connections to one server. Operations share a connection, so one is enough for most; more are opened
    /// while those open are busy, so that large values do not stand in each other's way. A store with a near tier has one,
    /// whatever is said here. Default 1.
    pub fn max_active(mut self, connections: usize) -> Self {
        self.max_active = connections;
        self
    }

    /// The most connections kept open without work. The one that carries writes always is. Default 1.
    pub fn max_idle(mut self, connections: usize) -> Self {
        self.max_idle = connections;
        self
    }

    /// How long a connection over [`max_idle`](Self::max_idle) may be without work before it is closed. Default 10 s.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// The most operations waiting for one server; more are refused with [`StoreError::Busy`]. Default 16,384.
    pub fn max_in_flight(mut self, operations: usize) -> Self {
        self.max_in_flight = operations;
        self
    }

    /// The longest value, at most 512 MiB − 40 bytes, Redis' own limit. Longer ones are refused here; one that
    /// another put there is a miss. So all who share a namespace should have the same limit. Default 8 MiB.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// The longest key, at most 1 MiB. Default 16 KiB.
    pub fn max_key_bytes(mut self, bytes: usize) -> Self {
        self.max_key_bytes = bytes;
        self
    }

    /// Shortens each time to live by up to this share of it (0 to 0.5), so that what was put together does not expire
    /// together. Default 0: the time to live is what was asked for.
    pub fn ttl_jitter(mut self, share: f64) -> Self {
        self.ttl_jitter = share;
        self
    }

    /// Failures in a row after which the server is left alone (1 to 64). Half of the last 20 is enough too. Default 3.
    pub fn failures_to_open(mut self, failures: u32) -> Self {
        self.failures_to_open = failures;
        self
    }

    /// The wait before the first attempt to come back, and the longest wait it may grow to. Default 100 ms and 5 s.
    pub fn probe_every(mut self, first: Duration, longest: Duration) -> Self {
        self.probe_first = first;
        self.probe_longest = longest;
        self
    }

    /// How often an open connection is asked whether it still is one. A connection that died without a word is found
    /// within this and five response time-outs. Default 1 s.
    pub fn ping_every(mut self, interval: Duration) -> Self {
        self.ping_every = interval;
        self
    }

    /// Every fault, joined; nothing later checks again.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let mut faults = Vec::new();
        let mut must = |is_so: bool, fault: String| {
            if !is_so {
                faults.push(fault);
            }
        };
        let Self { namespace, max_active, max_idle, max_in_flight, max_value_bytes, max_key_bytes, .. } =
            self;
        must(
            (1..=64).contains(&namespace.len()),
            format!("namespace {namespace:?} of {} bytes (must be 1 to 64)", namespace.len()),
        );
        for (name, limit) in [
            ("connect_timeout", self.connect_timeout),
            ("response_timeout", self.response_timeout),
            ("purge_timeout", self.purge_timeout),
            ("idle_timeout", self.idle_timeout),
            ("ping_every", self.ping_every),
            ("probe_every", self.probe_first),
        ] {
            let is_sane = (Duration::from_millis(1)..=Duration::from_secs(3_600)).contains(&limit);
            must(is_sane, format!("{name} {limit:?} (must be 1ms to 3600s)"));
        }
        must(
            self.probe_longest >= self.probe_first,
            format!(
                "longest probe_every {:?} is under the first, {:?}",
                self.probe_longest, self.probe_first
            ),
        );
        must((1..=64).contains(max_active), format!("max_active {max_active} (must be 1 to 64)"));
        must(*max_idle <= 64, format!("max_idle {max_idle} (must be 0 to 64)"));
        must(
            (1..=1 << 20).contains(max_in_flight),
            format!("max_in_flight {max_in_flight} (must be 1 to 1048576)"),
        );
        must(
            (1..=VALUE_BYTES_MAX).contains(max_value_bytes),
            format!("max_value_bytes {max_value_bytes} (must be 1 to {VALUE_BYTES_MAX})"),
        );
        must(
            (1..=1 << 20).contains(max_key_bytes),
            format!("max_key_bytes {max_key_bytes} (must be 1 to 1048576)"),
        );
        must(
            (0.0..=0.5).contains(&self.ttl_jitter),
            format!("ttl_jitter {} (must be 0 to 0.5)", self.ttl_jitter),
        );
        must(
            (1..=64).contains(&self.failures_to_open),
            format!("failures_to_open {} (must be 1 to 64)", self.failures_to_open),
        );
        self.check_topology(&mut must);
        if faults.is_empty() { Ok(()) } else { Err(StoreError::Config { what: faults.join("; ").into() }) }
    }

    fn check_topology(&self, must: &mut impl FnMut(bool, String)) {
        let is_unix = |address: &Address| matches!(address, Address::Unix(_));
        match &self.topology {
            Topology::Single(address) => {
                must(
                    !(is_unix(address) && self.tls.is_some()),
                    format!("TLS over the unix socket {address}"),
                );
            }
            Topology::Sentinel { sentinels, master, .. } => {
                must(!sentinels.is_empty(), "no Sentinel named".to_owned());
                must(!master.is_empty(), "no master named for the Sentinels".to_owned());
            }
            Topology::Cluster(nodes) => {
                must(!nodes.is_empty(), "no node of the Cluster named".to_owned());
                must(self.database == 0, format!("database {} of a Cluster (must be 0)", self.database));
                must(!nodes.iter().any(is_unix), "a unix socket as a node of a Cluster".to_owned());
            }
        }
        if let Topology::Sentinel { user: Some(user), password: None, .. } = &self.topology {
            must(false, format!("user {user:?} for the Sentinels without a password"));
        }
        must(
            self.user.is_none() || self.password.is_some(),
            format!("user {:?} without a password", self.user.as_deref().unwrap_or_default()),
        );
    }

    /// What this store is called in errors and logs: the address, never a secret.
    pub(super) fn shown(&self) -> String {
        let list =
            |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.topology {
            Topology::Single(address) => format!("redis {address}"),
            Topology::Sentinel { sentinels, master, .. } => format!("redis {master} of {}", list(sentinels)),
            Topology::Cluster(nodes) => format!("redis cluster {}", list(nodes)),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("server", &self.shown())
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("database", &self.database)
            .field("tls", &self.tls)
            .field("namespace", &self.namespace)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}

/// 512 MiB, the longest string Redis takes, less the header of an entry.
const VALUE_BYTES_MAX: usize = (512 << 20) - crate::store::entry::HEADER_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_as_documented_and_pass() {
        let config = RedisConfig::from_url("localhost").unwrap();
        config.check().unwrap();
        assert_eq!(config.connect_timeout, Duration::from_millis(250));
        assert_eq!(config.response_timeout, Duration::from_millis(100));
        assert_eq!(config.max_value_bytes, 8 << 20);
        assert_eq!(config.topology, Topology::Single(Address::tcp("localhost", 6379)));
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let error = RedisConfig::cluster([])
            .namespace("")
            .database(3)
            .user("app")
            .response_timeout(Duration::ZERO)
            .max_active(0)
            .ttl_jitter(0.9)
            .max_value_bytes(512 << 20)
            .check()
            .unwrap_err()
            .to_string();
        for fault in [
            "namespace \"\" of 0 bytes (must be 1 to 64)",
            "response_timeout 0ns (must be 1ms to 3600s)",
            "max_active 0 (must be 1 to 64)",
            "ttl_jitter 0.9 (must be 0 to 0.5)",
            "max_value_bytes 536870912 (must be 1 to 536870872)",
            "no node of the Cluster named",
            "database 3 of a Cluster (must be 0)",
            "user \"app\" without a password",
        ] {
            assert!(error.contains(fault), "{fault:?} not in {error:?}");
        }
    }

    #[test]
    fn a_user_for_the_sentinels_needs_a_password() {
        let error =
            RedisConfig::from_url("redis+sentinel://a/main?sentinel_user=u").unwrap().check().unwrap_err();
        assert_eq!(error.to_string(), "user \"u\" for the Sentinels without a password");
    }

    #[test]
    fn not_a_number_is_no_jitter() {
        assert!(RedisConfig::from_url("localhost").unwrap().ttl_jitter(f64::NAN).check().is_err());
    }

    #[test]
    fn secrets_are_never_shown() {
        let config = RedisConfig::from_url("redis+sentinel://u:hidden@a,b/main").unwrap();
        let config = config.sentinel_login(None, "hidden too");
        assert!(!format!("{config:?} {}", config.shown()).contains("hidden"));
    }
}
