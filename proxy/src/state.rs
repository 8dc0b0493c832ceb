//! Everything a request needs to know, built from a configuration and swapped as one.

use std::{net::IpAddr, sync::Arc};

use balancers::{Algorithm, Query};

use crate::{
    admit::{
        admission::Admission,
        auth::Auth,
        destination::Destinations,
        password::{HtpasswdError, read_htpasswd},
    },
    cached::{self, Opened},
    config::{Config, ServerConfig, Timeouts},
    upstream::Group,
};

/// One consistent view of the configuration. A request loads it once.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) group: Group,
    pub(crate) timeouts: Timeouts,
    pub(crate) admission: Admission,
    /// Where a forward proxy may go.
    pub(crate) destinations: Destinations,
    pub(crate) cache: Option<Opened>,
    balances_by_client: bool,
}

impl State {
    /// Builds the state that `config` describes. Whatever of `previous` it describes too lives on: members with their
    /// load, health and connections. Nothing of `previous` changes unless all of it can be built.
    pub(crate) fn build(config: &Config, previous: Option<&State>) -> Result<Arc<State>, StartError> {
        let server = &config.server;
        let admission = build_admission(server)?;
        let cache = cached::open(config, previous.and_then(|state| state.cache.as_ref()))?;
        // Last: it changes the members of `previous`.
        let previous = previous.map(|state| &state.group);
        let group = Group::build(server.balance, &server.members, &server.timeouts, previous)
            .map_err(StartError::Members)?;
        Ok(Arc::new(State {
            group,
            timeouts: server.timeouts,
            admission,
            destinations: server.destinations.clone(),
            cache,
            balances_by_client: matches!(server.balance, Algorithm::Ring | Algorithm::BoundedRing),
        }))
    }

    /// What the balancer is asked for a request of `client`.
    pub(crate) fn query(&self, client: IpAddr) -> Query<'static> {
        if self.balances_by_client { Query::for_ip(client) } else { Query::new() }
    }
}

fn build_admission(server: &ServerConfig) -> Result<Admission, StartError> {
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
    })
}

/// Why a configuration that reads well cannot be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The members cannot stand in one pool.
    Members(balancers::EditError),
    /// The file of users cannot be used.
    Htpasswd(HtpasswdError),
    /// The cache's bounds cannot be.
    Cache(cache::BuildError),
    /// Redis cannot be used as it is configured.
    Redis(cache::store::StoreError),
    /// `redis_host` is no address.
    RedisAddress(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Members(error) => error.fmt(f),
            StartError::Htpasswd(error) => error.fmt(f),
            StartError::Cache(error) => error.fmt(f),
            StartError::Redis(error) => error.fmt(f),
            StartError::RedisAddress(error) => write!(f, "redis_host: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
