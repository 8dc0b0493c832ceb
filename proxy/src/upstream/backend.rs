//! What is kept of a member: its address and its idle connections.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::time::Instant;

use super::{connect::connect, h1::Connection};
use crate::config::{Address, Timeouts};

/// A member of a group as the proxy knows it: how it is to be treated, and what was learnt and kept of it. A reload
/// [renews](Backend::renewed) the first and hands on the second.
#[derive(Debug)]
pub(crate) struct Backend {
    address: Address,
    connect_timeout: Duration,
    idle_timeout: Duration,
    /// For `https://` members.
    tls: Option<Arc<ClientConfig>>,
    kept: Arc<Kept>,
}

/// What lives as long as the member is configured, through any number of reloads.
#[derive(Debug, Default)]
struct Kept {
    /// The newest at the back. The newest is used first: so the rest can age and leave.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Backend {
    pub(crate) fn new(address: Address, timeouts: &Timeouts, tls: Option<&Arc<ClientConfig>>) -> Self {
        let (connect_timeout, idle_timeout) = (timeouts.connect, timeouts.idle);
        Backend { address, connect_timeout, idle_timeout, tls: tls.cloned(), kept: Arc::default() }
    }

    /// The same member under new settings: it keeps its connections.
    pub(crate) fn renewed(&self, timeouts: &Timeouts, tls: Option<&Arc<ClientConfig>>) -> Self {
        Backend { kept: Arc::clone(&self.kept), ..Backend::new(self.address.clone(), timeouts, tls) }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A kept connection that is still open, if there is one.
    pub(crate) fn reuse(&self) -> Option<Connection> {
        loop {
            // The lock is held for the pop alone; a connection is looked at outside it.
            let mut kept = self.kept.idle.lock().pop_back()?;
            if kept.connection.is_usable() {
                return Some(kept.connection);
            }
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        connect(&self.address, self.connect_timeout, self.tls.as_ref()).await.map(Connection::new)
    }

    /// Keeps a connection for a later request, and lets go of those that waited too long.
    pub(crate) fn keep(&self, connection: Connection) {
        let now = Instant::now();
        let mut leaving = Vec::new();
        let mut idle = self.kept.idle.lock();
        idle.push_back(Idle { connection, since: now });
        while idle.front().is_some_and(|oldest| now - oldest.since > self.idle_timeout)
            || idle.len() > IDLE_MAX
        {
            leaving.extend(idle.pop_front());
        }
        drop(idle);
        // Sockets are closed outside the lock.
        drop(leaving);
    }

    /// Closes what waited longer than the idle timeout. For members without traffic, where `keep` is not called.
    pub(crate) fn close_idle(&self) {
        let now = Instant::now();
        let mut idle = self.kept.idle.lock();
        let expired = idle.iter().take_while(|kept| now - kept.since > self.idle_timeout).count();
        let leaving: Vec<Idle> = idle.drain(..expired).collect();
        drop(idle);
        drop(leaving);
    }
}

/// Idle connections kept for one member at most.
const IDLE_MAX: usize = 1024;
