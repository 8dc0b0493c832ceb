//! What happens when an answer has ended: the connection goes home, the member's lease ends with the outcome.

use std::time::Duration;

use balancers::{Lease, Outcome};

use super::{backend::Backend, h1::Connection};

/// Travels with a response body and is used up when that ends.
#[derive(Debug)]
pub(crate) struct Settlement {
    lease: Lease<Backend>,
    /// From sending the request to the head of the answer.
    latency: Duration,
    /// The member's own answer was no failure (its status was below 500).
    answered_well: bool,
}

impl Settlement {
    pub(crate) fn new(lease: Lease<Backend>, latency: Duration, answered_well: bool) -> Self {
        Settlement { lease, latency, answered_well }
    }

    /// Ends the lease; `connection` is given back if it can be used again.
    pub(crate) fn finish(self, connection: Option<Connection>, body_ok: bool) {
        if let Some(connection) = connection {
            self.lease.keep(connection);
        }
        self.lease.finish(Outcome { latency: self.latency, ok: body_ok && self.answered_well });
    }
}
