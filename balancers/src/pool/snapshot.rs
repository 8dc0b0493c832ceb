//! What a pick looks at: one set of members, the algorithm laid out over it, and the users' values.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::lease::Lease;
use crate::balancer::Balancer;
use crate::error::PickError;
use crate::live::Live;
use crate::members::Tag;
use crate::query::Query;
use crate::rng::Rng;

/// A member's id, its live numbers and the user's value: what a lease holds on to.
#[derive(Debug)]
pub(super) struct Seat<T> {
    pub(super) id: Arc<str>,
    pub(super) live: Arc<Live>,
    pub(super) value: T,
}

/// A member that a request may go to, seen and not counted; see [`Reader::peek`](crate::Reader::peek).
#[derive(Debug)]
pub struct Peek<'a, T> {
    seat: &'a Seat<T>,
}

impl<'a, T> Peek<'a, T> {
    /// The member's id.
    #[must_use]
    pub fn id(&self) -> &'a str {
        &self.seat.id
    }

    /// The member's value.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &'a T {
        &self.seat.value
    }

    /// What to put into [`Query::avoiding`].
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag::of(&self.seat.live)
    }
}

/// One immutable state of a pool. `seats` stand in the order of the balancer's members.
#[derive(Debug)]
pub(super) struct Snapshot<T> {
    pub(super) balancer: Arc<dyn Balancer>,
    pub(super) seats: Box<[Arc<Seat<T>>]>,
}

impl<T> Snapshot<T> {
    /// Who drains.
    pub(super) fn draining(&self) -> Vec<bool> {
        self.seats.iter().map(|seat| seat.live.is_draining()).collect()
    }

    #[inline]
    pub(super) fn peek(&self, query: &Query<'_>, rng: &mut Rng) -> Result<Peek<'_, T>, PickError> {
        match self.balancer.pick(query, rng).and_then(|index| self.seats.get(index)) {
            Some(seat) => Ok(Peek { seat }),
            None => Err(self.balancer.members().why_nobody(query)),
        }
    }

    #[inline]
    pub(super) fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Result<Lease<T>, PickError> {
        // A custom balancer may return an index that is not there; that is nobody, not a panic.
        match self.balancer.acquire(query, rng).and_then(|index| self.seats.get(index)) {
            Some(seat) => Ok(Lease::new(Arc::clone(seat))),
            None => Err(self.balancer.members().why_nobody(query)),
        }
    }
}
