//! Picks for a hot loop: a handle of one thread that keeps the pool's state at hand.

use alloc::sync::Arc;

use super::lease::Lease;
use super::shared_pool::Pool;
use super::snapshot::{Peek, Snapshot};
use crate::error::PickError;
use crate::query::Query;
use crate::rng::Rng;

/// A pool's handle for one thread or task. It looks at one number to see whether its copy of the state is the newest,
/// which is several times cheaper than [`Pool::pick`] finding the state anew.
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
    version: u64,
    snapshot: Arc<Snapshot<T>>,
    rng: Rng,
}

impl<T> Reader<T> {
    pub(super) fn new(pool: Pool<T>, rng: Rng) -> Self {
        // The version first: if an update comes in between, the next pick looks again.
        let version = pool.version();
        let snapshot = pool.snapshot();
        Self { pool, version, snapshot, rng }
    }

    /// As [`Pool::pick`].
    ///
    /// # Errors
    /// As [`Pool::pick`].
    #[inline(always)]
    pub fn pick(&mut self, query: &Query<'_>) -> Result<Lease<T>, PickError> {
        if self.is_fresh()
            && let Some(seat) = self.snapshot.try_acquire(query, &mut self.rng)
        {
            return Ok(Lease::new(Arc::clone(seat)));
        }
        self.pick_or_say_why(&query.copy())
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
        if self.is_fresh()
            && let Some(index) = self.snapshot.try_pick(query, &mut self.rng)
        {
            // Asked for by its number, because a borrow would last through what follows.
            return self.snapshot.peek_at(index).ok_or(PickError::Empty);
        }
        self.peek_or_say_why(&query.copy())
    }

    /// The pool it reads.
    #[must_use]
    pub fn pool(&self) -> &Pool<T> {
        &self.pool
    }

    // Apart, so that no more than a table's answer and the virtual call is compiled into the caller's loop.
    #[cold]
    #[inline(never)]
    fn pick_or_say_why(&mut self, query: &Query<'_>) -> Result<Lease<T>, PickError> {
        self.refresh();
        self.snapshot.pick(query, &mut self.rng)
    }

    #[cold]
    #[inline(never)]
    fn peek_or_say_why(&mut self, query: &Query<'_>) -> Result<Peek<'_, T>, PickError> {
        self.refresh();
        self.snapshot.peek(query, &mut self.rng)
    }

    #[inline]
    fn is_fresh(&self) -> bool {
        self.pool.version() == self.version
    }

    #[inline]
    fn refresh(&mut self) {
        if !self.is_fresh() {
            // The version first, as in `new`.
            self.version = self.pool.version();
            self.snapshot = self.pool.snapshot();
        }
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        self.pool.reader()
    }
}
