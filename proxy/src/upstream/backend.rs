//! What is kept of a member: its address and its idle connections.

use std::{collections::VecDeque, io, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{connect::connect, h1::Connection};
use crate::config::{Address, Timeouts};

/// A member of a group as the proxy knows it. It survives reloads, with its connections.
#[derive(Debug)]
pub(crate) struct Backend {
    address: Address,
    connect_timeout: Duration,
    idle_timeout: Duration,
    /// The newest at the back. The newest is used first: so the rest can age and leave.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Backend {
    pub(crate) fn new(address: Address, timeouts: &Timeouts) -> Self {
        let idle = Mutex::new(VecDeque::new());
        Backend { address, connect_timeout: timeouts.connect, idle_timeout: timeouts.idle, idle }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A kept connection that is still open, if there is one.
    pub(crate) fn reuse(&self) -> Option<Connection> {
        loop {
            // The lock is held for the pop alone; a connection is looked at outside it.
            let mut kept = self.idle.lock().pop_back()?;
            if kept.connection.is_usable() {
                return Some(kept.connection);
            }
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        connect(&self.address, self.connect_timeout).await.map(Connection::new)
    }

    /// Keeps a connection for a later request, and lets go of those that waited too long.
    pub(crate) fn keep(&self, connection: Connection) {
        let now = Instant::now();
        let mut leaving = Vec::new();
        let mut idle = self.idle.lock();
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
        let mut idle = self.idle.lock();
        let expired = idle.iter().take_while(|kept| now - kept.since > self.idle_timeout).count();
        let leaving: Vec<Idle> = idle.drain(..expired).collect();
        drop(idle);
        drop(leaving);
    }
}

/// Idle connections kept for one member at most.
const IDLE_MAX: usize = 1024;
