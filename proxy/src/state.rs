//! Everything a request needs to know, built from a configuration and swapped as one.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use crate::{
    admit::{
        admission::Admission,
        auth::Auth,
        destination::Destinations,
        password::{HtpasswdError, read_htpasswd},
        rules::Rule,
    },
    cached::{self, Opened},
    config::{Address, Config, ConnectionLimits, DnsConfig, GroupConfig, Member, Name, Resilience, Timeouts},
    observe::{AccessLogWriter, GroupFacts},
    tls::{MemberTls, ServerTls, TlsError},
    upstream::{Directory, Group, Roster, Settings},
    workers,
};

/// One consistent view of the configuration. A request loads it once.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) group: Group,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: ConnectionLimits,
    /// Whether PROXY headers are read at the listener without TLS, and at the one with.
    proxy_headers: [bool; 2],
    pub(crate) admission: Admission,
    /// Where a forward proxy may go.
    pub(crate) destinations: Destinations,
    pub(crate) cache: Option<Opened>,
    pub(crate) tls: Option<ServerTls>,
    /// The groups that rules may choose, by name.
    groups: HashMap<Arc<str>, Group>,
    /// Absent when the log is off.
    pub(crate) access_log: Option<Arc<AccessLogWriter>>,
    pub(crate) request_id: bool,
    pub(crate) dns: Arc<DnsConfig>,
    /// What is known of members by name; it outlives this state.
    pub(crate) directory: Arc<Directory>,
}

impl State {
    /// Builds the state that `config` describes. Whatever of `previous` it describes too lives on: members with their
    /// load, health and connections. Nothing of `previous` changes unless all of it can be built.
    pub(crate) fn build(config: &Config, previous: Option<&State>) -> Result<Arc<State>, StartError> {
        let server = &config.server;
        let admission = build_admission(config)?;
        let tls = config.tls.as_ref().map(ServerTls::build).transpose().map_err(StartError::Tls)?;
        let is_tls = |member: &Member| matches!(member.address, Address::Tls { .. });
        let all = server.members.iter().chain(config.groups.iter().flat_map(|group| &group.members));
        let upstream_tls = all.into_iter().any(is_tls).then(|| MemberTls::build(&config.upstream_tls));
        let upstream_tls = upstream_tls.transpose().map_err(StartError::Tls)?;
        let cache = cached::open(config, previous.and_then(|state| state.cache.as_ref()))?;
        let access_log = AccessLogWriter::follow(
            &server.access_log,
            server.log_path.as_deref(),
            previous.and_then(|state| state.access_log.as_ref()),
        );
        let access_log = access_log.map_err(StartError::AccessLog)?;
        // Last: it changes the members of `previous`.
        let settings = |balance, resilience: &Resilience| {
            let Resilience { health, retry, queue } = resilience.clone();
            let workers = server.workers.unwrap_or_else(workers::cores);
            let (timeouts, tls) = (server.timeouts, upstream_tls.clone());
            Settings { balance, timeouts, tls, health, retry, queue, workers }
        };
        let new_directory = || Arc::new(Directory::new(RandomState::new().hash_one(0u8)));
        let directory = previous.map_or_else(new_directory, |state| Arc::clone(&state.directory));
        let build = |settings, (members, names): (&[Member], &[Name]), previous| {
            let roster = Roster { members, names, directory: &directory };
            Group::build(settings, roster, previous).map_err(StartError::Members)
        };
        let build_named = |wanted: &GroupConfig, previous| {
            let settings = settings(wanted.balance, &wanted.resilience);
            build(settings, (&wanted.members, &wanted.names), previous)
        };
        // Once for nothing, so that none of `previous` has changed if one of them cannot be built.
        for wanted in &config.groups {
            build_named(wanted, None)?;
        }
        let mut groups = HashMap::new();
        let of_default = settings(server.balance, &config.resilience);
        let of_default =
            build(of_default, (&server.members, &server.names), previous.map(|state| &state.group))?;
        for wanted in &config.groups {
            let previous = previous.and_then(|state| state.groups.get(&wanted.name));
            groups.insert(Arc::clone(&wanted.name), build_named(wanted, previous)?);
        }
        directory.keep(config.names());
        Ok(Arc::new(State {
            group: of_default,
            timeouts: server.timeouts,
            limits: server.limits,
            proxy_headers: [server.proxy_protocol, config.tls.as_ref().is_some_and(|tls| tls.proxy_protocol)],
            admission,
            destinations: server.destinations.clone(),
            cache,
            tls,
            groups,
            access_log,
            request_id: server.request_id,
            dns: Arc::new(config.dns.clone()),
            directory,
        }))
    }

    /// Whether trusted peers begin with a PROXY header.
    pub(crate) fn takes_proxy_header(&self, is_tls: bool) -> bool {
        self.proxy_headers[usize::from(is_tls)]
    }

    /// All groups with their members, as they stand.
    pub(crate) fn facts(&self) -> Vec<GroupFacts> {
        let mut named: Vec<_> = self.groups.iter().collect();
        named.sort_by_key(|(name, _)| Arc::clone(name));
        let all = std::iter::once((DEFAULT_GROUP, &self.group));
        all.chain(named.into_iter().map(|(name, group)| (&**name, group)))
            .map(|(name, group)| GroupFacts {
                name: name.into(),
                algorithm: group.settings.balance.name(),
                queued: group.queue.waiting(),
                members: group.facts(),
            })
            .collect()
    }

    /// The group that operators call so; that of `proxy_pass` is `default`.
    pub(crate) fn named(&self, name: &str) -> Option<&Group> {
        if name == DEFAULT_GROUP { Some(&self.group) } else { self.groups.get(name) }
    }

    /// The group that a rule chose, or the one of `proxy_pass`.
    pub(crate) fn chosen(&self, rule: Option<&Rule>) -> &Group {
        let named = rule.and_then(|rule| rule.then.group.as_ref());
        named.and_then(|name| self.groups.get(name)).unwrap_or(&self.group)
    }

    /// Everything that members are found by.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.groups().flat_map(Group::names)
    }

    /// Every group with its members.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        [&self.group].into_iter().chain(self.groups.values())
    }
}

fn build_admission(config: &Config) -> Result<Admission, StartError> {
    let server = &config.server;
    let redirect = config.tls.as_ref().filter(|tls| tls.redirect);
    let config = &server.admission;
    let mut users = config.users.clone();
    if let Some(file) = &config.htpasswd {
        users.extend(read_htpasswd(file).map_err(StartError::Htpasswd)?);
    }
    for (name, _) in users.iter().filter(|(_, password)| password.is_plain()) {
        tracing::warn!(user = %name, "password in plain text; `evenly hash-password` makes a hash of it");
    }
    let auth = Auth::new(users, !server.reverse, config.failures_max);
    Ok(Admission {
        limits: config.limits,
        trusted: config.trusted.clone(),
        style: config.style,
        rules: config.rules.clone(),
        auth: Some(Arc::new(auth)),
        asks_everybody: server.auth,
        is_forward: !server.reverse,
        redirects_to: redirect.and_then(|tls| tls.listen.port()),
    })
}

/// What operators call the group of `proxy_pass`.
const DEFAULT_GROUP: &str = "default";

/// Why a configuration that reads well cannot be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The members cannot stand in one pool.
    Members(balancers::EditError),
    /// A certificate or key cannot be used.
    Tls(TlsError),
    /// The file of users cannot be used.
    Htpasswd(HtpasswdError),
    /// The cache's bounds cannot be.
    Cache(cache::BuildError),
    /// Redis cannot be used as it is configured.
    Redis(cache::store::StoreError),
    /// The file of the access log cannot be made.
    AccessLog(std::io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Members(error) => error.fmt(f),
            StartError::Tls(error) => error.fmt(f),
            StartError::Htpasswd(error) => error.fmt(f),
            StartError::Cache(error) => error.fmt(f),
            StartError::Redis(error) => error.fmt(f),
            StartError::AccessLog(error) => write!(f, "the access log cannot be opened: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
