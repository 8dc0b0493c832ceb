//! Picks for a hot loop: a handle of one thread that keeps the pool's state at hand.

use alloc::sync::Arc;

use super::lease::Lease;
use super::shared_pool::Pool;
use super::snapshot::{Peek, Snapshot};
use crate::error::PickError;
use crate::lookup::{Table, position};
use crate::query::Query;
use crate::rng::Rng;
use crate::shared::{Shared, State};

/// A pool's handle for one thread or task. It looks at one number to see whether its copy of the state is the newest
/// and everybody is well, which is several times cheaper than [`Pool::pick`] finding the state anew.
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
#[derive(Debug)]
pub struct Reader<T> {
    pool: Pool<T>,
    shared: Arc<Shared>,
    /// What the pool's state is while the snapshot is the newest and everybody is well.
    well: State,
    /// The snapshot's.
    table: Option<Table>,
    snapshot: Arc<Snapshot<T>>,
    rng: Rng,
}

impl<T> Reader<T> {
    pub(super) fn new(pool: Pool<T>, rng: Rng) -> Self {
        let shared = pool.shared().clone();
        // First the state, as it asks for.
        let well = shared.state().well();
        let snapshot = pool.snapshot();
        Self { shared, well, table: snapshot.table(), snapshot, rng, pool }
    }

    /// As [`Pool::pick`].
    ///
    /// # Errors
    /// As [`Pool::pick`].
    #[inline(always)]
    pub fn pick(&mut self, query: &Query<'_>) -> Result<Lease<T>, PickError> {
        let seat = match self.find(query) {
            Found::At(index) => self.snapshot.start_at(index),
            Found::ByBalancer => self.snapshot.acquire(&query.copy(), &mut self.rng),
            Found::NotYet => None,
        };
        match seat {
            Some(seat) => Ok(Lease::new(Arc::clone(seat))),
            None => self.pick_or_say_why(&query.copy()),
        }
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
        // Asked for by its number, because a borrow would last through what follows.
        if let Some(index) = index
            && index < self.snapshot.seats.len()
        {
            return Ok(Peek::at(&self.snapshot.seats[index]));
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
        match &self.table {
            // First, or all four kinds are told apart before it.
            Some(Table::Circle(circle)) if !query.avoids_any() => {
                let place = (position(query, &mut self.rng) >> 32) as u32;
                circle.owner(place).map_or(Found::NotYet, Found::At)
            }
            Some(table) if !query.avoids_any() => {
                table.find(query, &mut self.rng).map_or(Found::NotYet, Found::At)
            }
            _ => Found::ByBalancer,
        }
    }

    // Apart, so that no more than a table's answer and the virtual call is compiled into the caller's loop.
    #[inline(never)]
    fn pick_or_say_why(&mut self, query: &Query<'_>) -> Result<Lease<T>, PickError> {
        self.refresh();
        self.snapshot.pick(query, &mut self.rng)
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
            self.table = self.snapshot.table();
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
