//! Picks for a hot loop: a handle of one thread that keeps the pool's state at hand.

use alloc::sync::Arc;
use core::fmt;

use super::lease::{Lease, Loan};
use super::shared_pool::Pool;
use super::snapshot::{Peek, Seat, Snapshot};
use crate::error::PickError;
use crate::lookup::{Table, position, slot};
use crate::query::Query;
use crate::rng::Rng;
use crate::shared::{Shared, State};

/// A pool's handle for one thread or task. It looks at one number to see whether its copy of the state is the newest
/// and everybody is well, which is several times cheaper than [`Pool::pick`] finding the state anew.
///
/// Whoever has one request at a time under way takes [`Self::lend`], which counts like a lease at half its cost; whoever
/// has many takes [`Self::pick`]; whoever counts nothing, [`Self::peek`].
///
/// It keeps the state it last picked from alive, values of removed members too, until its next pick.
///
/// ```
/// use balancers::{Algorithm, Pool, Query};
///
/// let pool = Pool::new(Algorithm::P2c);
/// let mut reader = pool.reader();
/// assert!(reader.pick(&Query::new()).is_err());
/// pool.update(|edit| edit.add("a", 1, 'a'))?;
/// assert_eq!(*reader.pick(&Query::new()).unwrap(), 'a'); // it sees the update
/// # Ok::<(), balancers::EditError>(())
/// ```
pub struct Reader<T> {
    pool: Pool<T>,
    shared: Arc<Shared>,
    /// What the pool's state is while the snapshot is the newest and everybody is well.
    well: State,
    snapshot: Arc<Snapshot<T>>,
    /// The snapshot's, at hand.
    table: Option<Table>,
    /// The snapshot's, at hand.
    seats: Arc<[Arc<Seat<T>>]>,
    rng: Rng,
}

impl<T> Reader<T> {
    pub(super) fn new(pool: Pool<T>, rng: Rng) -> Self {
        let shared = pool.shared().clone();
        // First the state, as it asks for.
        let well = shared.state().well();
        let snapshot = pool.snapshot();
        let (table, seats) = (snapshot.table(), snapshot.seats.clone());
        Self { pool, shared, well, snapshot, table, seats, rng }
    }

    /// As [`Pool::pick`].
    ///
    /// # Errors
    /// As [`Pool::pick`].
    #[inline(always)]
    pub fn pick(&mut self, query: &Query<'_>) -> Result<Lease<T>, PickError> {
        self.lend(query).map(Loan::keep)
    }

    /// As [`Self::pick`], for a request that is over before the next pick: the lease borrows from the reader what
    /// it would else own, which saves two of its four locked instructions.
    ///
    /// ```
    /// use balancers::{Algorithm, Pool, Query};
    ///
    /// let pool = Pool::new(Algorithm::P2c);
    /// pool.update(|edit| edit.add("a", 1, "10.0.0.1:80"))?;
    /// let mut reader = pool.reader();
    /// for _ in 0..3 {
    ///     let member = reader.lend(&Query::new()).unwrap();
    ///     assert_eq!((*member, pool.members()[0].in_flight), ("10.0.0.1:80", 1));
    /// }
    /// assert_eq!(pool.members()[0].in_flight, 0);
    /// # Ok::<(), balancers::EditError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Pool::pick`].
    #[inline(always)]
    pub fn lend(&mut self, query: &Query<'_>) -> Result<Loan<'_, T>, PickError> {
        let index = match self.find(query) {
            Found::At(index) => self.seats.get(index).map(|seat| seat.live.start()).map(|()| index),
            Found::ByBalancer => self.snapshot.balancer.acquire(&query.copy(), &mut self.rng),
            Found::NotYet => None,
        };
        // Asked for by its number, because a borrow would last through what follows.
        if let Some(index) = index
            && index < self.seats.len()
        {
            return Ok(Loan::new(&self.seats[index]));
        }
        self.lend_or_say_why(&query.copy())
    }

    /// As [`Self::pick`], but nothing is counted: for algorithms that do not look at load, when the caller does not
    /// want to know either.
    ///
    /// ```
    /// use balancers::{Algorithm, Pool, Query};
    ///
    /// let pool = Pool::new(Algorithm::Maglev);
    /// pool.update(|edit| edit.add("a", 1, "10.0.0.1:80"))?;
    /// let mut reader = pool.reader();
    /// let owner = reader.peek(&Query::for_key(b"user 17")).unwrap();
    /// assert_eq!((owner.id(), *owner.value()), ("a", "10.0.0.1:80"));
    /// # Ok::<(), balancers::EditError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Pool::pick`].
    #[inline(always)]
    pub fn peek(&mut self, query: &Query<'_>) -> Result<Peek<'_, T>, PickError> {
        let index = match self.find(query) {
            Found::At(index) => Some(index),
            Found::ByBalancer => self.snapshot.balancer.pick(&query.copy(), &mut self.rng),
            Found::NotYet => None,
        };
        // By its number, as in `lend`.
        if let Some(index) = index
            && index < self.seats.len()
        {
            return Ok(Peek::at(&self.seats[index]));
        }
        self.peek_or_say_why(&query.copy())
    }

    /// The pool it reads.
    #[must_use]
    pub fn pool(&self) -> &Pool<T> {
        &self.pool
    }

    /// What is compiled into the caller's loop: one comparison, and the table's answer if there is one.
    #[inline(always)]
    fn find(&mut self, query: &Query<'_>) -> Found {
        if self.shared.state() != self.well {
            return Found::NotYet;
        }
        if query.avoids_any() {
            return Found::ByBalancer;
        }
        let rng = &mut self.rng;
        // All told apart in one step.
        let found = match &self.table {
            None => return Found::ByBalancer,
            Some(Table::Circle(circle)) => circle.owner((position(query, rng) >> 32) as u32),
            Some(Table::Slots(slots)) => slot(slots, position(query, rng)),
            Some(Table::Cells(cells)) => cells.draw(rng),
            Some(Table::Rotation(rotation)) => rotation.take(),
        };
        found.map_or(Found::NotYet, Found::At)
    }

    // Apart, so that no more than a table's answer and the virtual call is compiled into the caller's loop.
    #[inline(never)]
    fn lend_or_say_why(&mut self, query: &Query<'_>) -> Result<Loan<'_, T>, PickError> {
        self.refresh();
        self.snapshot.start(query, &mut self.rng).map(Loan::new)
    }

    #[inline(never)]
    fn peek_or_say_why(&mut self, query: &Query<'_>) -> Result<Peek<'_, T>, PickError> {
        self.refresh();
        self.snapshot.peek(query, &mut self.rng)
    }

    fn refresh(&mut self) {
        // First the state, as it asks for.
        let well = self.shared.state().well();
        if well != self.well {
            self.well = well;
            self.snapshot = self.pool.snapshot();
            (self.table, self.seats) = (self.snapshot.table(), self.snapshot.seats.clone());
        }
    }
}

/// Where a pick's answer is.
enum Found {
    /// This index, by the table.
    At(usize),
    /// The balancer has it.
    ByBalancer,
    /// The state is not the newest, or somebody is not well, or there is nobody.
    NotYet,
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        self.pool.reader()
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("pool", &self.pool).finish_non_exhaustive()
    }
}
