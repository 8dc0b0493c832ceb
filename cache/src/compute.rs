//! Read, decide, write: one computation for a key at a time, its closure outside all locks.

use crate::cache::Cache;
use crate::flight::{Aboard, LoadError, Outcome};
use crate::load::Claim;
use std::borrow::Borrow;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

/// What a computation wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compute<V> {
    /// Leave what is there, or is not.
    Keep,
    /// Store this.
    Put(V),
    /// Remove what is there.
    Remove,
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// Decides by the present value what becomes of `key`; returns what is there afterwards. Computations and loads
    /// of one key run one after the other, so that no update is lost. If somebody stores or removes the key by hand
    /// meanwhile, `decide` is asked again with the new value. It runs outside all locks.
    ///
    /// ```
    /// use cache::{Cache, Compute};
    ///
    /// let stock = Cache::<String, u32>::builder(100).build()?;
    /// stock.insert("apples".to_owned(), 2);
    /// let take = |left: Option<u32>| match left {
    ///     Some(1) => Compute::Remove,
    ///     Some(left) => Compute::Put(left - 1),
    ///     None => Compute::Keep,
    /// };
    /// assert_eq!(stock.compute("apples", take)?, Some(1));
    /// assert_eq!(stock.compute("apples", take)?, None);
    /// assert!(!stock.contains("apples"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::Reentrant`] if `decide` asks for its own key, [`LoadError::TimedOut`] if another's load of this
    /// key took longer than the load timeout.
    pub fn compute<Q>(
        &self,
        key: &Q,
        mut decide: impl FnMut(Option<V>) -> Compute<V>,
    ) -> Result<Option<V>, LoadError<Infallible>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        loop {
            let (mut leader, present) = match self.inner.claim(key)? {
                Claim::Own(leader, present) => (leader, present),
                Claim::Wait(flight) => {
                    let patience = self.inner.settings.load_timeout.map(Duration::from_nanos);
                    if flight.wait(patience).is_none() {
                        return Err(LoadError::TimedOut);
                    }
                    continue;
                }
            };
            let decided = {
                let _aboard = Aboard::enter(&leader.flight);
                decide(present.clone())
            };
            let (done, after) = match decided {
                Compute::Keep => (true, present),
                Compute::Put(value) => {
                    let attached =
                        self.inner.store(key.to_owned(), value.clone(), None, Some(&leader.flight));
                    (attached.is_some(), attached.and_then(|stored| stored.then_some(value)))
                }
                Compute::Remove => (self.inner.remove_if_attached(key, &leader.flight), None),
            };
            leader.over(Outcome::Abandoned, 0);
            if done {
                return Ok(after);
            }
        }
    }

    /// Stores what `update` makes of the present value, and returns it.
    ///
    /// ```
    /// let visits = cache::Cache::<String, u32>::builder(1_000).build()?;
    /// for page in ["/", "/about", "/"] {
    ///     visits.upsert(page, |seen| seen.unwrap_or(0) + 1)?;
    /// }
    /// assert_eq!((visits.get("/"), visits.get("/about")), (Some(2), Some(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`compute`](Self::compute).
    pub fn upsert<Q>(
        &self,
        key: &Q,
        mut update: impl FnMut(Option<V>) -> V,
    ) -> Result<V, LoadError<Infallible>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut made = None;
        self.compute(key, |present| {
            let value = update(present);
            made = Some(value.clone());
            Compute::Put(value)
        })?;
        // `compute` asks at least once before it succeeds.
        Ok(made.expect("the closure has run"))
    }
}
