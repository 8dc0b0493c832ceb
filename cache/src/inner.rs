//! Behind the face: which shard, which lock, and where room comes from.
//!
//! ```text
//!     hash ── high bits ─► shard (one lock)        low bits ─► slot within it
//!
//!     insert into a full cache:   own shard at its share  ─► its policy names a victim, the newcomer takes its slot
//!                                 own shard below it      ─► room is made in shards above theirs, then it goes in
//! ```
//!
//! One lock at a time: no operation holds two shards, so none can wait in a circle. Weight is reserved before an
//! entry is visible ([`Budget`]), so the sum never exceeds the capacity, whichever shards are involved.

use crate::budget::{Budget, Room};
use crate::builder::{Lifetime, Weigher};
use crate::clock::{TimeSource, nanos};
use crate::departed::{Cause, Departed, Listener};
use crate::expiry::NEVER;
use crate::flight::Flight;
use crate::policy::{Policy, Running};
use crate::shard::{Newcomer, Shard};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Latch, LatchGuard, Mutex, MutexGuard, yield_now};
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(crate) struct Inner<K, V, S> {
    pub(crate) shards: Shards<K, V>,
    pub(crate) settings: Settings<K, V, S>,
    pub(crate) budget: Budget,
    /// What `capacity()` says: follows the limit when the weight has.
    pub(crate) capacity: AtomicU64,
    /// Whether any entry may have a deadline, so that lookups should read the clock before they lock.
    pub(crate) timed: AtomicBool,
    /// Held while room is gathered across shards: two gatherers could starve each other of the last of it.
    pub(crate) gathering: Mutex<()>,
    /// Where the next gathering starts.
    pub(crate) turn: AtomicUsize,
}

pub(crate) type Shards<K, V> = Box<[Padded<Latch<Shard<K, V>>>]>;

/// A built cache's settings, checked.
pub(crate) struct Settings<K, V, S> {
    pub(crate) capacity: u64,
    pub(crate) policy: Policy,
    pub(crate) weigher: Option<Weigher<K, V>>,
    pub(crate) ttl: Option<u64>,
    pub(crate) tti: Option<u64>,
    pub(crate) halve_counts_every: Option<u64>,
    pub(crate) negative_ttl: Option<u64>,
    pub(crate) load_timeout: Option<u64>,
    pub(crate) lifetime: Option<Lifetime<K, V>>,
    pub(crate) listener: Option<Listener<K, V>>,
    pub(crate) clock: TimeSource,
    pub(crate) shards: usize,
    pub(crate) hasher: S,
}

/// Keeps neighbours' locks off each other's cache lines (two lines: processors fetch them in pairs).
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    pub(crate) fn new(settings: Settings<K, V, S>) -> Self {
        let share = settings.capacity / settings.shards as u64;
        let weighed = settings.weigher.is_some();
        let expected = if weighed { 0 } else { usize::try_from(share).unwrap_or(usize::MAX / 2) };
        let policies = Running::many(settings.policy, settings.shards, settings.capacity, weighed);
        let idle = settings.tti.unwrap_or(NEVER);
        let halve_every = settings.halve_counts_every.map_or(u64::MAX, |uses| uses / settings.shards as u64);
        let shard = |mut policy: Running| {
            policy.halve_counts_every(halve_every);
            Padded(Latch::new(Shard::new(policy, weighed, idle, expected)))
        };
        Self {
            shards: policies.map(shard).collect(),
            budget: Budget::new(settings.capacity),
            capacity: AtomicU64::new(settings.capacity),
            timed: AtomicBool::new(settings.ttl.is_some() || settings.tti.is_some()),
            gathering: Mutex::new(()),
            turn: AtomicUsize::new(0),
            settings,
        }
    }

    #[inline]
    pub(crate) fn look<Q, R>(&self, key: &Q, is_use: bool, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.settings.hasher.hash_one(key);
        // Without deadlines there is no clock to read, and the reading of it stays out of this function's way.
        if !self.timed.load(Ordering::Relaxed) {
            let mut shard = self.shard(hash);
            if !shard.is_timed() {
                let (slot, value) = match shard.glance(hash as u32, key) {
                    Ok(found) => found,
                    Err(true) => return Self::look_closely(shard, hash, key, is_use, read),
                    Err(false) => {
                        if is_use {
                            shard.missed();
                        }
                        return None;
                    }
                };
                let read = read(value);
                if is_use {
                    shard.hit_timeless(slot, hash as u32);
                }
                return Some(read);
            }
        }
        self.look_timed(hash, key, is_use, read)
    }

    /// A glance has not found the key: looks at all places where it can be.
    #[inline(never)]
    fn look_closely<Q, R>(
        mut shard: LatchGuard<'_, Shard<K, V>>,
        hash: u64,
        key: &Q,
        is_use: bool,
        read: impl FnOnce(&V) -> R,
    ) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let Some(slot) = shard.find_home(hash as u32, key) else {
            if is_use {
                shard.missed();
            }
            return None;
        };
        let read = read(shard.value(slot));
        if is_use {
            shard.hit_timeless(slot, hash as u32);
        }
        Some(read)
    }

    #[inline(never)]
    fn look_timed<Q, R>(&self, hash: u64, key: &Q, is_use: bool, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (mut shard, now) = self.lock_for_look(hash);
        match shard.find(hash as u32, key) {
            Some(slot) if !shard.is_dead(slot, now) => {
                if is_use {
                    shard.hit(slot, hash as u32, now);
                }
                Some(read(shard.value(slot)))
            }
            found => {
                if is_use {
                    shard.missed();
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
    pub(crate) fn lock_for_look(&self, hash: u64) -> (LatchGuard<'_, Shard<K, V>>, u64) {
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
    pub(crate) fn shard(&self, hash: u64) -> LatchGuard<'_, Shard<K, V>> {
        self.shards[self.home(hash)].0.lock()
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    /// Removes a dead entry a lookup came upon.
    #[cold]
    fn bury(&self, mut shard: LatchGuard<'_, Shard<K, V>>, slot: u32) {
        let mut departed = self.departed();
        self.take(&mut shard, slot, Cause::Expired, &mut departed);
        drop(shard);
    }

    pub(crate) fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.settings.hasher.hash_one(key);
        let (mut shard, now) = self.lock_for_look(hash);
        // Dropped after the lock, as all that is declared before the guard's last use.
        let _detached =
            if shard.flights.is_empty() { None } else { shard.flights.detach_key(hash as u32, key) };
        let slot = shard.find(hash as u32, key);
        self.remove_slot(shard, slot?, now)
    }

    /// Removes the key if the flight is still attached; says whether it was.
    pub(crate) fn remove_if_attached<Q>(&self, key: &Q, flight: &Arc<Flight<K, V>>) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.settings.hasher.hash_one(key);
        let (shard, now) = self.lock_for_look(hash);
        let is_attached = shard.flights.is_attached(flight);
        if is_attached && let Some(slot) = shard.find(hash as u32, key) {
            self.remove_slot(shard, slot, now);
        }
        is_attached
    }

    fn remove_slot(&self, mut shard: LatchGuard<'_, Shard<K, V>>, slot: u32, now: u64) -> Option<V> {
        if shard.is_dead(slot, now) {
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

    /// A newcomer, with its hash and the time it came.
    pub(crate) fn newcomer(&self, key: K, value: V, ttl: Option<Duration>) -> (u64, Newcomer<K, V>, u64) {
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
        (hash, Newcomer { key, value, hash: hash as u32, weight, deadline }, now)
    }

    /// Finds room for the newcomer and puts it in; as a flight's outcome, only while the flight is attached.
    /// `None` if it was not; else whether the newcomer was stored.
    #[inline]
    pub(crate) fn settle(
        &self,
        hash: u64,
        newcomer: Newcomer<K, V>,
        now: u64,
        flight: Option<&Arc<Flight<K, V>>>,
    ) -> Option<bool> {
        let is_even = self.settings.weigher.is_none() && flight.is_none() && newcomer.deadline > now;
        let newcomer = match is_even {
            true => match self.settle_even(hash, newcomer, now) {
                Ok(()) => return Some(true),
                Err(newcomer) => newcomer,
            },
            false => newcomer,
        };
        self.settle_anyhow(hash, newcomer, now, flight)
    }

    /// The usual case: all entries weigh the same, nobody loads a key of this shard, and the room is here, free or
    /// another's. The newcomer comes back if it is another case.
    #[inline]
    fn settle_even(&self, hash: u64, newcomer: Newcomer<K, V>, now: u64) -> Result<(), Newcomer<K, V>> {
        let mut departed = self.departed();
        let mut shard = self.shard(hash);
        let room = Room { budget: &self.budget, credit: 0, own: self.may_evict(&shard), now };
        if !shard.flights.is_empty() {
            return Err(newcomer);
        }
        shard.tidy(&room, &mut departed);
        shard.foresee(newcomer.hash);
        // Lent: a panic in `Eq` must not drop the newcomer under the lock.
        let found = shard.find(newcomer.hash, &newcomer.key);
        shard.insert_even(found, newcomer, &room, &mut departed)
    }

    /// Whether a shard makes room for a newcomer by entries of its own. A little below the share is near enough: it
    /// saves the way to another shard.
    #[inline]
    fn may_evict(&self, shard: &Shard<K, V>) -> bool {
        let share = self.share();
        self.shards.len() == 1 || shard.weight() >= share - share / 8
    }

    /// As `settle`, with all that may happen.
    #[inline(never)]
    fn settle_anyhow(
        &self,
        hash: u64,
        newcomer: Newcomer<K, V>,
        now: u64,
        flight: Option<&Arc<Flight<K, V>>>,
    ) -> Option<bool> {
        let mut departed = self.departed();
        let mut detached = Vec::new();
        let (weight, has_time, mut waiting) = (newcomer.weight, newcomer.deadline > now, Some(newcomer));
        let mut room = Room { budget: &self.budget, credit: 0, own: true, now };
        let mut gathering = None;
        while has_time && weight <= self.budget.limit() {
            let missing = {
                let mut shard = self.shard(hash);
                if waiting.as_ref().is_some_and(|newcomer| !shard.clears(newcomer, flight, &mut detached)) {
                    return None;
                }
                room.own = self.may_evict(&shard);
                match shard.insert(&mut waiting, &mut room, &mut departed) {
                    Ok(()) => return Some(true),
                    Err(missing) => missing,
                }
            };
            let mut missing = missing;
            if gathering.is_none() {
                // Whoever gathers before us may need what we hold: nobody waits for this lock with weight in hand.
                missing += room.give_back();
                gathering = Some(self.gathering.lock());
            }
            let Some(lock) = &gathering else { continue };
            room.credit += self.gather(missing, &mut departed, lock);
        }
        drop(gathering);
        drop(room);
        drop(departed);
        self.refuse(hash, waiting?, flight)
    }

    /// Turns a newcomer away, and removes the entry it was to replace.
    #[cold]
    fn refuse(
        &self,
        hash: u64,
        newcomer: Newcomer<K, V>,
        flight: Option<&Arc<Flight<K, V>>>,
    ) -> Option<bool> {
        let (mut departed, mut detached) = (self.departed(), Vec::new());
        let mut shard = self.shard(hash);
        if !shard.clears(&newcomer, flight, &mut detached) {
            return None;
        }
        if let Some(slot) = shard.find(newcomer.hash, &newcomer.key) {
            self.take(&mut shard, slot, Cause::Replaced, &mut departed);
        }
        shard.rejected();
        departed.push(newcomer.key, newcomer.value, Cause::Rejected);
        Some(false)
    }

    /// Takes up to `wanted` weight from shards above their share, then from any; returns the weight, still reserved.
    pub(crate) fn gather(
        &self,
        wanted: u64,
        departed: &mut Departed<'_, K, V>,
        _lock: &MutexGuard<'_, ()>,
    ) -> u64 {
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
        yield_now();
        freed
    }

    pub(crate) fn share(&self) -> u64 {
        // A power of two of them, and no division: every insertion asks.
        self.budget.limit() >> self.shards.len().trailing_zeros()
    }

    pub(crate) fn take(
        &self,
        shard: &mut Shard<K, V>,
        slot: u32,
        cause: Cause,
        departed: &mut Departed<'_, K, V>,
    ) {
        self.budget.release(shard.weight_of(slot));
        let (key, value) = shard.take(slot, cause);
        departed.push(key, value, cause);
    }

    pub(crate) fn departed(&self) -> Departed<'_, K, V> {
        Departed::new(self.settings.listener.as_ref())
    }
}
