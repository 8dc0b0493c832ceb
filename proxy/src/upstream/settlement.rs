//! What happens when an answer has ended: the connection goes home, the member's lease ends with the outcome.

use balancers::{Lease, Outcome};
use tokio::time::Instant;

use super::{backend::Backend, h1::Connection, health::Verdict, queue::Place};

/// Travels with a response body and is used up when that ends.
#[derive(Debug)]
pub(crate) struct Settlement {
    lease: Lease<Backend>,
    _place: Place,
    started: Instant,
    /// The head of the answer was there.
    answered: Instant,
    /// The member's own answer was no failure (its status was below 500).
    answered_well: bool,
}

impl Settlement {
    pub(crate) fn new(
        lease: Lease<Backend>,
        place: Place,
        (started, answered): (Instant, Instant),
        answered_well: bool,
    ) -> Self {
        Settlement { lease, _place: place, started, answered, answered_well }
    }

    /// Ends the lease; `connection` is given back if it can be used again.
    pub(crate) fn finish(self, connection: Option<Connection>, body_ok: bool) {
        if let Some(connection) = connection {
            self.lease.keep(connection);
        }
        let ok = body_ok && self.answered_well;
        match (body_ok, self.answered_well) {
            (true, true) => self.lease.succeeded(self.started),
            (true, false) => self.lease.failed(Verdict::Failing),
            (false, _) => self.lease.failed(Verdict::Silent),
        }
        self.lease.finish(Outcome { latency: self.answered - self.started, ok });
    }
}
