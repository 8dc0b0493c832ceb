//! What a pick looks at: one set of members, the algorithm laid out over it, and the users' values.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::balancer::Balancer;
use crate::error::PickError;
use crate::live::Live;
use crate::lookup::{Lookup, Table};
use crate::members::Tag;
use crate::query::Query;
use crate::rng::Rng;
use crate::shared::Shared;

/// A member's id, its live numbers and the user's value: what a lease holds on to. On lines of its own, because every lease
/// counts itself in the seat's `Arc`: two threads whose requests go to different members must not write one line.
#[derive(Debug)]
#[repr(align(64))]
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
    #[inline]
    pub(super) fn at(seat: &'a Seat<T>) -> Self {
        Self { seat }
    }

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
    pub(super) seats: Arc<[Arc<Seat<T>>]>,
    shared: Arc<Shared>,
    lookup: Option<Lookup>,
}

impl<T> Snapshot<T> {
    pub(super) fn new(balancer: Arc<dyn Balancer>, seats: Arc<[Arc<Seat<T>>]>) -> Self {
        let (shared, lookup) = (balancer.members().shared().clone(), balancer.lookup());
        Self { balancer, seats, shared, lookup }
    }

    /// Who drains.
    pub(super) fn draining(&self) -> Vec<bool> {
        self.seats.iter().map(|seat| seat.live.is_draining()).collect()
    }

    /// Picks and says why if there is nobody.
    #[inline]
    pub(super) fn peek(&self, query: &Query<'_>, rng: &mut Rng) -> Result<Peek<'_, T>, PickError> {
        let index = match self.table_for(query) {
            Some(lookup) => lookup.find(query, rng),
            None => self.balancer.pick(query, rng),
        };
        // A custom balancer may return an index that is not there; that is nobody, not a panic.
        let seat = index.and_then(|index| self.seats.get(index));
        seat.map(|seat| Peek { seat }).ok_or_else(|| self.why_nobody(query))
    }

    /// Picks, counts, and says why if there is nobody.
    #[inline(always)]
    pub(super) fn start(&self, query: &Query<'_>, rng: &mut Rng) -> Result<&Arc<Seat<T>>, PickError> {
        let seat = match self.table_for(query) {
            Some(lookup) => {
                let seat = lookup.find(query, rng).and_then(|index| self.seats.get(index));
                seat.inspect(|seat| seat.live.start())
            }
            None => self.balancer.acquire(query, rng).and_then(|index| self.seats.get(index)),
        };
        seat.ok_or_else(|| self.why_nobody(query))
    }

    /// The algorithm's table, if it has one and it answers this query as things are.
    #[inline(always)]
    fn table_for(&self, query: &Query<'_>) -> Option<&Lookup> {
        self.lookup.as_ref().filter(|_| self.shared.all_open() && !query.avoids_any())
    }

    /// The algorithm's table, for a reader to keep.
    pub(super) fn table(&self) -> Option<Table> {
        self.lookup.as_ref().map(|lookup| lookup.0.clone())
    }

    #[cold]
    #[inline(never)]
    fn why_nobody(&self, query: &Query<'_>) -> PickError {
        self.balancer.members().why_nobody(query)
    }
}
