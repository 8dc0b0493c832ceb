//! [`Cache`]: the thread-safe face over the shards.
//!
//! ```text
//!     hash ── high bits ─► shard (one lock)        low bits ─► slot within it
//!
//!     insert into a full cache:   own shard at its share  ─► its policy names a victim, the newcomer takes its slot
//!                                 own shard below it      ─► room is made in shards above theirs, then it goes in
//! ```
//!
//! One lock at a time: no operation holds two shards, so none can wait in a circle. Weight is reserved before an
//! entry is visible ([`Budget`](crate::budget)), so the sum never exceeds the capacity, whichever shards are involved.

use crate::budget::Budget;
use crate::builder::{BuildError, CacheBuilder, Lifetime, Weigher, check_capacity};
use crate::clock::{TimeSource, nanos};
use crate::departed::{Cause, Departed, Listener};
use crate::expiry::NEVER;
use crate::hasher::KeyHasher;
use crate::policy::{Policy, Running};
use crate::shard::{Newcomer, Room, Shard};
use crate::stats::Stats;
use parking_lot::{Mutex, MutexGuard};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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

pub(crate) struct Inner<K, V, S> {
    shards: Shards<K, V>,
    settings: Settings<K, V, S>,
    budget: Budget,
    /// What `capacity()` says: follows the limit when the weight has.
    capacity: AtomicU64,
    /// Whether any entry may have a deadline, so that lookups should read the clock before they lock.
    timed: AtomicBool,
    /// Held while room is gathered across shards: two gatherers could starve each other of the last of it.
    gathering: Mutex<()>,
    /// Where the next gathering starts.
    turn: AtomicUsize,
}

type Shards<K, V> = Box<[Padded<Mutex<Shard<K, V>>>]>;

/// A built cache's settings, checked.
pub(crate) struct Settings<K, V, S> {
    pub(crate) capacity: u64,
    pub(crate) policy: Policy,
    pub(crate) weigher: Option<Weigher<K, V>>,
    pub(crate) ttl: Option<u64>,
    pub(crate) tti: Option<u64>,
    pub(crate) lifetime: Option<Lifetime<K, V>>,
    pub(crate) listener: Option<Listener<K, V>>,
    pub(crate) clock: TimeSource,
    pub(crate) shards: usize,
    pub(crate) hasher: S,
}

/// Keeps neighbours' locks off each other's cache lines (two lines: processors fetch them in pairs).
#[repr(align(128))]
struct Padded<T>(T);

impl<K: Hash + Eq, V> Cache<K, V> {
    /// Settings for a cache of so many entries, or of so much weight with a
    /// [`weigher`](CacheBuilder::weigher).
    pub fn builder(capacity: u64) -> CacheBuilder<K, V> {
        CacheBuilder::new(capacity)
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    pub(crate) fn with(settings: Settings<K, V, S>) -> Self {
        let share = settings.capacity / settings.shards as u64;
        let weighed = settings.weigher.is_some();
        let expected = if weighed { 0 } else { usize::try_from(share).unwrap_or(usize::MAX / 2) };
        let policies = Running::many(settings.policy, settings.shards, settings.capacity, weighed);
        let idle = settings.tti.unwrap_or(NEVER);
        let shard = |policy| Padded(Mutex::new(Shard::new(policy, weighed, idle, expected)));
        let inner = Inner {
            shards: policies.map(shard).collect(),
            budget: Budget::new(settings.capacity),
            capacity: AtomicU64::new(settings.capacity),
            timed: AtomicBool::new(settings.ttl.is_some() || settings.tti.is_some()),
            gathering: Mutex::new(()),
            turn: AtomicUsize::new(0),
            settings,
        };
        Self { inner: Arc::new(inner) }
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
        self.inner.insert(key, value, None)
    }

    /// Stores a value that lives for `ttl`, whatever the cache's own time to live; idle time still counts.
    /// `Duration::MAX` is for ever; a zero `ttl` stores nothing.
    pub fn insert_with_ttl(&self, key: K, value: V, ttl: Duration) -> bool {
        self.inner.insert(key, value, Some(ttl))
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
            let mut shard = self.inner.shards[index].0.lock();
            // Downwards: the entry that moves into a gap has been seen.
            for slot in (0..shard.len() as u32).rev() {
                let is_dead = shard.is_dead(slot, now);
                let (key, value) = shard.pair(slot);
                if is_dead || !keep(key, value) {
                    let cause = if is_dead { Cause::Expired } else { Cause::Explicit };
                    self.inner.take(&mut shard, slot, cause, &mut departed);
                }
            }
        }
    }

    /// Removes everything.
    pub fn clear(&self) {
        for Padded(shard) in &self.inner.shards {
            let mut departed = self.inner.departed();
            let entries = {
                let mut shard = shard.lock();
                let weight = shard.weight();
                let entries = shard.clear();
                self.inner.budget.release(weight);
                entries
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
            let shard = shard.lock();
            sum.add(&Stats { len: shard.len() as u64, weight: shard.weight(), ..shard.stats });
        }
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
                let before = shard.stats.expired;
                self.inner.budget.release(shard.carry_off_dead(now, MAINTAIN_STEPS, &mut departed));
                if shard.stats.expired == before {
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

/// Wheel steps for one hold of the lock in `maintain`.
const MAINTAIN_STEPS: u32 = 1024;

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

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    #[inline]
    fn look<Q, R>(&self, key: &Q, is_use: bool, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.settings.hasher.hash_one(key);
        let (mut shard, now) = self.lock_for_look(hash);
        match shard.find(hash as u32, key) {
            Some(slot) if !shard.is_timed() || !shard.is_dead(slot, now) => {
                if is_use {
                    shard.hit(slot, now);
                }
                Some(read(shard.value(slot)))
            }
            found => {
                if is_use {
                    shard.stats.misses += 1;
                }
                if let Some(slot) = found {
                    self.bury(shard, slot);
                }
                None
            }
        }
    }

    /// Locks a key's shard, with the time read before if any entry there can die.
    #[inline]
    fn lock_for_look(&self, hash: u64) -> (MutexGuard<'_, Shard<K, V>>, u64) {
        let mut timed = self.timed.load(Ordering::Relaxed);
        loop {
            let now = if timed { self.settings.clock.nanos() } else { 0 };
            let shard = self.shard(hash);
            if timed || !shard.is_timed() {
                return (shard, now);
            }
            // Relaxed was too lax, once: the first deadline has just been set.
            timed = true;
        }
    }

    #[inline]
    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard<K, V>> {
        self.shards[self.home(hash)].0.lock()
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    /// Removes a dead entry a lookup came upon.
    #[cold]
    fn bury(&self, mut shard: MutexGuard<'_, Shard<K, V>>, slot: u32) {
        let mut departed = self.departed();
        self.take(&mut shard, slot, Cause::Expired, &mut departed);
        drop(shard);
    }

    fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.settings.hasher.hash_one(key);
        let (mut shard, now) = self.lock_for_look(hash);
        let slot = shard.find(hash as u32, key)?;
        if shard.is_timed() && shard.is_dead(slot, now) {
            self.bury(shard, slot);
            return None;
        }
        self.budget.release(shard.weight_of(slot));
        let (key, value) = shard.take(slot, Cause::Explicit);
        drop(shard);
        if let Some(listener) = &self.settings.listener {
            listener(&key, &value, Cause::Explicit);
        }
        Some(value)
    }

    fn insert(&self, key: K, value: V, ttl: Option<Duration>) -> bool {
        let weight = self.settings.weigher.as_ref().map_or(1, |weigher| weigher(&key, &value));
        let asked =
            ttl.or_else(|| self.settings.lifetime.as_ref().and_then(|lifetime| lifetime(&key, &value)));
        let ttl = asked.map(nanos).or(self.settings.ttl);
        if ttl.is_some() && !self.timed.load(Ordering::Relaxed) {
            self.timed.store(true, Ordering::Relaxed);
        }
        let timed = self.timed.load(Ordering::Relaxed);
        let now = if timed { self.settings.clock.nanos() } else { 0 };
        let deadline = ttl.map_or(NEVER, |ttl| now.saturating_add(ttl));
        let hash = self.settings.hasher.hash_one(&key);
        let newcomer = Newcomer { key, value, hash: hash as u32, weight, deadline };
        if ttl == Some(0) {
            self.refuse(hash, newcomer);
            return false;
        }
        self.settle(hash, newcomer, now)
    }

    /// Finds room for the newcomer and puts it in.
    fn settle(&self, hash: u64, newcomer: Newcomer<K, V>, now: u64) -> bool {
        let mut departed = self.departed();
        let (weight, mut waiting) = (newcomer.weight, Some(newcomer));
        let mut room = Room { budget: &self.budget, credit: 0, own: true, now };
        let mut gathering = None;
        while weight <= self.budget.limit() {
            let share = self.share();
            let missing = {
                let mut shard = self.shard(hash);
                // A little below the share is near enough: it saves the way to another shard.
                room.own = self.shards.len() == 1 || shard.weight() >= share - share / 8;
                match shard.insert(&mut waiting, &mut room, &mut departed) {
                    Ok(()) => return true,
                    Err(missing) => missing,
                }
            };
            let lock = gathering.get_or_insert_with(|| self.gathering.lock());
            room.credit += self.gather(missing, &mut departed, lock);
        }
        drop(gathering);
        if let Some(newcomer) = waiting {
            drop(room);
            drop(departed);
            self.refuse(hash, newcomer);
        }
        false
    }

    /// Turns a newcomer away, and removes the entry it was to replace.
    #[cold]
    fn refuse(&self, hash: u64, newcomer: Newcomer<K, V>) {
        let mut departed = self.departed();
        let mut shard = self.shard(hash);
        if let Some(slot) = shard.find(newcomer.hash, &newcomer.key) {
            self.take(&mut shard, slot, Cause::Replaced, &mut departed);
        }
        shard.stats.count(Cause::Rejected);
        departed.push(newcomer.key, newcomer.value, Cause::Rejected);
    }

    /// Takes up to `wanted` weight from shards above their share, then from any; returns the weight, still reserved.
    fn gather(&self, wanted: u64, departed: &mut Departed<'_, K, V>, _lock: &MutexGuard<'_, ()>) -> u64 {
        let mut freed = 0;
        for floor in [self.share(), 0] {
            for _ in 0..self.shards.len() {
                let index = self.turn.fetch_add(1, Ordering::Relaxed) & (self.shards.len() - 1);
                freed += self.shards[index].0.lock().shed(wanted - freed, floor, departed);
                if freed >= wanted {
                    return freed;
                }
            }
        }
        // What is missing is reserved by threads on their way to their shard: let them arrive.
        std::thread::yield_now();
        freed
    }

    fn share(&self) -> u64 {
        self.budget.limit() / self.shards.len() as u64
    }

    fn take(&self, shard: &mut Shard<K, V>, slot: u32, cause: Cause, departed: &mut Departed<'_, K, V>) {
        self.budget.release(shard.weight_of(slot));
        let (key, value) = shard.take(slot, cause);
        departed.push(key, value, cause);
    }

    fn departed(&self) -> Departed<'_, K, V> {
        Departed::new(self.settings.listener.as_ref())
    }
}
