//! [`Cache`]: the thread-safe face over the shards. What goes on behind it stands in [`inner`](crate::inner).

use crate::builder::{BuildError, CacheBuilder, check_capacity};
use crate::departed::Cause;
use crate::hasher::KeyHasher;
use crate::inner::{Inner, Padded, Settings};
use crate::policy::Policy;
use crate::stats::Stats;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A cache for any number of threads. Clones are handles to the same cache.
///
/// `Hash`, `Eq` and `Clone` of keys and values must not use the cache themselves: `Eq` and `Clone` run under a
/// shard's lock. Weighers, loaders and listeners run outside all locks and may use it freely.
///
/// ```
/// use cache::{Cache, Policy};
///
/// let cache = Cache::builder(2).policy(Policy::Lru).build()?;
/// cache.insert("a", 1);
/// cache.insert("b", 2);
/// assert_eq!(cache.get("a"), Some(1));
/// cache.insert("c", 3); // no room: "b" was used least recently
/// assert_eq!((cache.get("a"), cache.get("b"), cache.get("c")), (Some(1), None, Some(3)));
/// assert_eq!(cache.stats().evicted, 1);
/// # Ok::<(), cache::BuildError>(())
/// ```
pub struct Cache<K, V, S = KeyHasher> {
    pub(crate) inner: Arc<Inner<K, V, S>>,
}

impl<K: Hash + Eq, V> Cache<K, V> {
    /// Settings for a cache of so many entries, or of so much weight with a
    /// [`weigher`](CacheBuilder::weigher).
    pub fn builder(capacity: u64) -> CacheBuilder<K, V> {
        CacheBuilder::new(capacity)
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    pub(crate) fn with(settings: Settings<K, V, S>) -> Self {
        Self { inner: Arc::new(Inner::new(settings)) }
    }

    /// The value under `key`, cloned. Counts as a use.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        self.inner.look(key, true, V::clone)
    }

    /// What `read` makes of the value under `key`, without cloning it. Counts as a use. `read` runs under the
    /// shard's lock: keep it short, and do not use the cache in it.
    pub fn get_with<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.inner.look(key, true, read)
    }

    /// The value under `key`, cloned, without a trace: neither a use nor counted.
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        self.inner.look(key, false, V::clone)
    }

    /// Whether there is a live entry under `key`; neither a use nor counted.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.inner.look(key, false, |_| ()).is_some()
    }

    /// Stores a value, in place of an older one. `false` if it is refused: heavier than the whole capacity, or with
    /// no time to live; then an older one is gone too, and the listener hears [`Cause::Rejected`].
    pub fn insert(&self, key: K, value: V) -> bool {
        self.inner.store(key, value, None, None).unwrap_or(false)
    }

    /// Stores a value that lives for `ttl`, whatever the cache's own time to live; idle time still counts.
    /// `Duration::MAX` is for ever; a zero `ttl` stores nothing.
    pub fn insert_with_ttl(&self, key: K, value: V, ttl: Duration) -> bool {
        self.inner.store(key, value, Some(ttl), None).unwrap_or(false)
    }

    /// Takes the value under `key` out.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.inner.remove(key)
    }

    /// Removes every entry for which `keep` says no. `keep` runs under a shard's lock: it must not use the cache.
    /// Entries stored meanwhile in shards already seen stay.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        for index in 0..self.inner.shards.len() {
            let now = self.inner.settings.clock.nanos();
            let mut departed = self.inner.departed();
            let flights;
            let mut shard = self.inner.shards[index].0.lock();
            flights = shard.flights.take();
            // Downwards: the entry that moves into a gap has been seen.
            for slot in (0..shard.len() as u32).rev() {
                let is_dead = shard.is_dead(slot, now);
                let (key, value) = shard.pair(slot);
                if is_dead || !keep(key, value) {
                    let cause = if is_dead { Cause::Expired } else { Cause::Explicit };
                    self.inner.take(&mut shard, slot, cause, &mut departed);
                }
            }
            drop(shard);
            drop(flights);
        }
    }

    /// Removes everything.
    pub fn clear(&self) {
        for Padded(shard) in &self.inner.shards {
            let mut departed = self.inner.departed();
            let (entries, _flights) = {
                let mut shard = shard.lock();
                let weight = shard.weight();
                let (entries, flights) = (shard.clear(), shard.flights.take());
                self.inner.budget.release(weight);
                (entries, flights)
            };
            entries.for_each(|(key, value)| departed.push(key, value, Cause::Explicit));
        }
    }

    /// The live entries, cloned, shard by shard: each entry that stays for the whole walk is seen exactly once.
    /// No lock is held between steps, so the loop's body may use the cache.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> + use<'_, K, V, S>
    where
        K: Clone,
        V: Clone,
    {
        (0..self.inner.shards.len()).flat_map(|index| {
            let now = self.inner.settings.clock.nanos();
            let shard = self.inner.shards[index].0.lock();
            let live = (0..shard.len() as u32).filter(|slot| !shard.is_dead(*slot, now));
            let entries: Vec<_> =
                live.map(|slot| shard.pair(slot)).map(|(k, v)| (k.clone(), v.clone())).collect();
            drop(shard);
            entries
        })
    }

    /// Entries held, the dead not yet carried off included; after [`maintain`](Self::maintain), the live ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.shards.iter().map(|shard| shard.0.lock().len()).sum()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Weight in use: never above [`capacity`](Self::capacity). Without a weigher, each entry weighs 1.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.inner.budget.reserved()
    }

    /// Most weight there can be.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.inner.capacity.load(Ordering::Acquire)
    }

    /// The policy the cache was built with.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.inner.settings.policy
    }

    /// What has happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for Padded(shard) in &self.inner.shards {
            sum.add(&shard.lock().stats());
        }
        // Not summed: while the shards are read one by one, weight moves between them.
        sum.weight = self.weight();
        sum
    }

    /// Bytes on the heap for entries and all that keeps order among them; not what keys and values own themselves.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let shards = self.inner.shards.iter().map(|shard| shard.0.lock().heap_bytes()).sum::<usize>();
        shards + size_of_val(&*self.inner.shards)
    }

    /// Changes the capacity. When this returns, the cache is within it; until then `capacity()` tells the old one.
    ///
    /// # Errors
    /// A capacity of 0.
    pub fn resize(&self, capacity: u64) -> Result<(), BuildError> {
        check_capacity(capacity)?;
        let mut departed = self.inner.departed();
        let gathering = self.inner.gathering.lock();
        self.inner.budget.set_limit(capacity);
        // Weight is reserved under a shard's lock: once each was free, nobody reserves by the old limit any more.
        self.inner.shards.iter().for_each(|shard| drop(shard.0.lock()));
        loop {
            let excess = self.inner.budget.excess();
            if excess == 0 {
                break;
            }
            let freed = self.inner.gather(excess, &mut departed, &gathering);
            self.inner.budget.release(freed);
        }
        self.inner.capacity.store(capacity, Ordering::Release);
        let share = self.inner.share();
        self.inner.shards.iter().for_each(|shard| shard.0.lock().set_share(share));
        drop(gathering);
        Ok(())
    }

    /// Carries off all dead entries now. Never needed for correctness: operations do a little of it each.
    pub fn maintain(&self) {
        for Padded(shard) in &self.inner.shards {
            let now = self.inner.settings.clock.nanos();
            loop {
                let mut departed = self.inner.departed();
                let mut shard = shard.lock();
                let before = shard.stats().expired;
                self.inner.budget.release(shard.carry_off_dead(now, MAINTAIN_STEPS, &mut departed));
                if shard.stats().expired == before {
                    break;
                }
            }
        }
    }

    /// Panics if any structure is out of order. For tests and fuzzing.
    #[doc(hidden)]
    pub fn validate(&self) {
        let mut weight = 0;
        for Padded(shard) in &self.inner.shards {
            let shard = shard.lock();
            shard.validate();
            weight += shard.weight();
        }
        assert!(weight <= self.inner.budget.reserved(), "entries weigh more than was reserved");
        assert!(self.weight() <= self.capacity(), "over capacity");
    }
}

/// Wheel steps for one hold of the lock in `maintain`: some ten microseconds, so that others come in between.
const MAINTAIN_STEPS: u32 = 128;

impl<K, V, S> Clone for Cache<K, V, S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("policy", &self.policy())
            .field("capacity", &self.capacity())
            .field("shards", &self.inner.shards.len())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
