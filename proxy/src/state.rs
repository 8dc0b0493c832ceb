//! Everything a request needs to know, built from a configuration and swapped as one.

use std::{net::IpAddr, sync::Arc};

use balancers::{Algorithm, Pool, Query};

use crate::{
    config::{Config, Timeouts},
    upstream::{Backend, Group},
};

/// One consistent view of the configuration. A request loads it once.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) group: Group,
    pub(crate) timeouts: Timeouts,
    balances_by_client: bool,
}

impl State {
    /// Builds the state that `config` describes.
    pub(crate) fn build(config: &Config) -> Result<Arc<State>, StartError> {
        let server = &config.server;
        if server.auth || !server.reverse {
            return Err(StartError::NotYet);
        }
        let pool = Pool::new(server.balance);
        let backends = server.members.iter().map(|member| {
            (
                member.address.to_string(),
                member.weight,
                Backend::new(member.address.clone(), &server.timeouts),
            )
        });
        pool.update(|edit| {
            backends.into_iter().try_for_each(|(id, weight, backend)| edit.add(id, weight, backend))
        })
        .map_err(StartError::Members)?;
        Ok(Arc::new(State {
            group: Group { pool, response_timeout: server.timeouts.response },
            timeouts: server.timeouts,
            balances_by_client: matches!(server.balance, Algorithm::Ring | Algorithm::BoundedRing),
        }))
    }

    /// What the balancer is asked for a request of `client`.
    pub(crate) fn query(&self, client: IpAddr) -> Query<'static> {
        if self.balances_by_client { Query::for_ip(client) } else { Query::new() }
    }
}

/// Why a configuration that reads well cannot be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The members cannot stand in one pool.
    Members(balancers::EditError),
    /// Asks for something this version does not do.
    NotYet,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Members(error) => error.fmt(f),
            StartError::NotYet => f.write_str("auth = true and reverse = false are not built yet"),
        }
    }
}

impl std::error::Error for StartError {}
