//! One request under way at one member.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;

use super::snapshot::Seat;
use crate::live::Outcome;
use crate::members::Tag;

/// A picked member, held while the request lasts: it counts as one in flight until dropped, however it is dropped.
///
/// It owns what it needs: it can outlive the pool, the member's removal and the task it was made in.
///
/// ```
/// use balancers::{Algorithm, Outcome, Pool, Query};
/// use std::time::Duration;
///
/// let pool = Pool::new(Algorithm::LeastLoad);
/// pool.update(|edit| edit.add("a", 1, "10.0.0.1:80"))?;
///
/// let lease = pool.pick(&Query::new()).unwrap();
/// assert_eq!((lease.id(), *lease), ("a", "10.0.0.1:80"));
/// assert_eq!(pool.members()[0].in_flight, 1);
///
/// lease.finish(Outcome { latency: Duration::from_millis(3), ok: true }); // or just drop it
/// assert_eq!(pool.members()[0].in_flight, 0);
/// # Ok::<(), balancers::EditError>(())
/// ```
#[must_use = "the request counts as over when the lease is dropped"]
pub struct Lease<T> {
    seat: Arc<Seat<T>>,
}

impl<T> Lease<T> {
    /// Of a seat whose count has been raised.
    #[inline]
    pub(super) fn new(seat: Arc<Seat<T>>) -> Self {
        Self { seat }
    }

    /// The member's id.
    #[inline]
    #[must_use]
    pub fn id(&self) -> &str {
        &self.seat.id
    }

    /// What to put into [`Query::avoiding`](crate::Query::avoiding) to try another member.
    #[inline]
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag::of(&self.seat.live)
    }

    /// Tells how the request went, for the algorithms that learn from it, and ends the lease.
    pub fn finish(self, outcome: Outcome) {
        self.report(outcome);
    }

    /// Tells how the request went, and holds on: when the answer has begun and its body is still to be sent.
    pub fn report(&self, outcome: Outcome) {
        self.seat.live.observe(outcome);
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.seat.value
    }
}

impl<T> Drop for Lease<T> {
    #[inline]
    fn drop(&mut self) {
        self.seat.live.end();
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("id", &self.seat.id).field("value", &self.seat.value).finish()
    }
}

/// A [`Lease`] that borrows from the [`Reader`](crate::Reader) that gave it, and ends before the reader's next pick; see
/// [`Reader::lend`](crate::Reader::lend).
#[must_use = "the request counts as over when the loan is dropped"]
pub struct Loan<'a, T> {
    seat: &'a Arc<Seat<T>>,
}

impl<'a, T> Loan<'a, T> {
    /// Of a seat whose count has been raised.
    #[inline]
    pub(super) fn new(seat: &'a Arc<Seat<T>>) -> Self {
        Self { seat }
    }

    /// The member's id.
    #[inline]
    #[must_use]
    pub fn id(&self) -> &'a str {
        &self.seat.id
    }

    /// What to put into [`Query::avoiding`](crate::Query::avoiding) to try another member.
    #[inline]
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag::of(&self.seat.live)
    }

    /// A lease of its own, when the request turns out to last: the same request, still counted once.
    ///
    /// ```
    /// use balancers::{Algorithm, Lease, Pool, Query};
    ///
    /// let pool = Pool::new(Algorithm::P2c);
    /// pool.update(|edit| edit.add("a", 1, ()))?;
    /// let mut reader = pool.reader();
    /// let streams: Vec<Lease<()>> = (0..2).map(|_| reader.lend(&Query::new()).unwrap().keep()).collect();
    /// assert_eq!(pool.members()[0].in_flight, 2);
    /// # Ok::<(), balancers::EditError>(())
    /// ```
    #[inline]
    pub fn keep(self) -> Lease<T> {
        let lease = Lease::new(Arc::clone(self.seat));
        // The count goes over to the lease.
        core::mem::forget(self);
        lease
    }

    /// As [`Lease::finish`].
    pub fn finish(self, outcome: Outcome) {
        self.report(outcome);
    }

    /// As [`Lease::report`].
    pub fn report(&self, outcome: Outcome) {
        self.seat.live.observe(outcome);
    }
}

impl<T> Deref for Loan<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.seat.value
    }
}

impl<T> Drop for Loan<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.seat.live.end();
    }
}

impl<T: fmt::Debug> fmt::Debug for Loan<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("id", &self.seat.id).field("value", &self.seat.value).finish()
    }
}
