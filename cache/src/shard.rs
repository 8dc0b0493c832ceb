//! One shard: a dense slab of entries, the index into it, the policy's order and the deadlines, all single-threaded.
//!
//! ```text
//!     hash ─► index ─► slot ─► facts[slot]     key, value, hash, mark, weight (if weighed)
//!                         └──► policy          order               wheel          deadlines (if any)
//! ```
//!
//! The slab has no holes: a newcomer takes its victim's slot, and where an entry leaves without a newcomer, the last
//! one moves into its place. No key or value is ever optional, and a scan is a walk over one array.
//!
//! No user code but `Eq` runs in here, and it runs before anything has changed.

mod weighed;

use self::weighed::Hole;
use crate::budget::{Budget, Room};
use crate::departed::{Cause, Departed};
use crate::expiry::{NEVER, Wheel};
use crate::flight::{Flight, Flights};
use crate::index::{Glance, Index, MAX_SLOTS};
use crate::links::NIL;
use crate::policy::{Facts, Replacement, Running, Victim};
use crate::stats::Stats;
use std::borrow::Borrow;
use std::sync::Arc;

/// Most steps of clearing away the dead that one insertion does.
const EXPIRY_STEPS: u32 = 8;

/// In this order: with the latch before it, all that a hit needs lies in the first two cache lines.
#[repr(C)]
pub(crate) struct Shard<K, V> {
    index: Index,
    wheel: Option<Box<Wheel>>,
    facts: Facts<Entry<K, V>>,
    policy: Running,
    weight: u64,
    /// All but hits, which `facts` counts.
    stats: Stats,
    pub(crate) flights: Flights<K, V>,
    /// An entry dies after so long without use; `NEVER` if not.
    idle: u64,
    /// Entries this shard expects to hold when the cache is full; 0 if unknown.
    expected: usize,
}

struct Entry<K, V> {
    key: K,
    value: V,
}

/// An entry on its way in.
#[derive(Debug)]
pub struct Newcomer<K, V> {
    /// Its key.
    pub key: K,
    /// Its value.
    pub value: V,
    /// The hash of its key, good in all bits.
    pub hash: u32,
    /// What it takes of the capacity; 1 where nothing is weighed.
    pub weight: u64,
    /// Latest end of its life, however often it is used.
    pub deadline: u64,
}

impl<K, V> Shard<K, V> {
    pub(crate) fn new(policy: Running, weighed: bool, idle: u64, expected: usize) -> Self {
        let marked = policy.is_marked();
        Self {
            index: Index::default(),
            policy,
            wheel: None,
            facts: Facts::new(weighed, marked),
            weight: 0,
            stats: Stats::default(),
            flights: Flights::new(),
            idle,
            expected,
        }
    }

    /// The weight this shard may now expect to hold.
    pub(crate) fn set_share(&mut self, share: u64) {
        if self.expected > 0 {
            self.expected = usize::try_from(share).unwrap_or(usize::MAX / 2).max(1);
        }
        self.policy.set_share(share.max(1));
    }

    /// The slot and the value, if the index's first look tells: nearly always. `Err` says whether a closer look may find
    /// the key.
    #[inline(always)]
    pub(crate) fn glance<Q>(&self, hash: u32, key: &Q) -> Result<(u32, &V), bool>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let slot = match self.index.glance(hash) {
            Glance::Maybe(slot) => slot,
            Glance::Absent => return Err(false),
            Glance::Elsewhere => return Err(true),
        };
        match self.facts.find_load(slot) {
            Some(entry) if entry.key.borrow() == key => Ok((slot, &entry.value)),
            _ => Err(true),
        }
    }

    /// As `find`, where a glance has found nothing; sees to it that the next one does.
    pub(crate) fn find_home<Q>(&mut self, hash: u32, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let slot = self.find(hash, key)?;
        self.index.bring_home(hash, slot, self.facts.hits);
        Some(slot)
    }

    /// Counts a lookup that found nothing.
    #[inline]
    pub(crate) fn missed(&mut self) {
        self.stats.misses += 1;
    }

    /// What has happened so far, and what is held.
    pub(crate) fn stats(&self) -> Stats {
        Stats { hits: self.facts.hits, len: self.len() as u64, weight: self.weight, ..self.stats }
    }

    /// Counts one that was turned away.
    pub(crate) fn rejected(&mut self) {
        self.stats.rejected += 1;
    }

    #[inline]
    pub(crate) fn find<Q>(&self, hash: u32, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let is_it = |slot: u32| self.facts.find_load(slot).is_some_and(|entry| entry.key.borrow() == key);
        self.index.find(hash, is_it)
    }

    /// As `find`, for a host that compares keys itself.
    #[inline(always)]
    pub(crate) fn find_by(&self, hash: u32, mut is_it: impl FnMut(&K) -> bool) -> Option<u32> {
        self.index.find(hash, |slot| self.facts.find_load(slot).is_some_and(|entry| is_it(&entry.key)))
    }

    /// Counts a use of the entry in `slot`, whose hash is this.
    #[inline]
    pub(crate) fn hit(&mut self, slot: u32, hash: u32, now: u64) {
        self.hit_timeless(slot, hash);
        if let Some(wheel) = &mut self.wheel {
            wheel.used(slot, now);
        }
    }

    /// The same where nothing has a deadline.
    #[inline(always)]
    pub(crate) fn hit_timeless(&mut self, slot: u32, hash: u32) {
        if self.facts.hit(slot, hash) {
            self.policy.hit(slot, &mut self.facts);
        }
    }

    /// As `hit_timeless`, for a host that has only the slot. LRU heeds neither mark nor hash: it is told at once.
    #[inline(always)]
    pub(crate) fn hit_by_slot(&mut self, slot: u32) {
        if let Running::Lru(lru) = &mut self.policy {
            self.facts.hits += 1;
            lru.hit(slot, &mut self.facts);
        } else {
            self.hit_marked(slot);
        }
    }

    #[inline(never)]
    fn hit_marked(&mut self, slot: u32) {
        self.hit_timeless(slot, self.facts.hash(slot));
    }

    #[inline]
    pub(crate) fn value(&self, slot: u32) -> &V {
        &self.facts.load(slot).value
    }

    #[inline]
    pub(crate) fn value_mut(&mut self, slot: u32) -> &mut V {
        &mut self.facts.load_mut(slot).value
    }

    pub(crate) fn pair(&self, slot: u32) -> (&K, &V) {
        let Entry { key, value } = self.facts.load(slot);
        (key, value)
    }

    pub(crate) fn len(&self) -> usize {
        self.facts.len()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether any entry here has a deadline, so that lookups need the time.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.wheel.is_some()
    }

    #[inline]
    pub(crate) fn is_dead(&self, slot: u32, now: u64) -> bool {
        self.deadline(slot) <= now
    }

    #[inline]
    pub(crate) fn deadline(&self, slot: u32) -> u64 {
        self.wheel.as_ref().map_or(NEVER, |wheel| wheel.deadline(slot))
    }

    pub(crate) fn weight_of(&self, slot: u32) -> u64 {
        self.facts.weight(slot)
    }

    /// Stores the newcomer, over an entry with its key if there is one. When this shard cannot make the room, the
    /// newcomer stays where it is and the weight still missing comes back. The newcomer is lent, so that a panic in
    /// `Eq` does not drop it under the lock.
    pub(crate) fn insert(
        &mut self,
        newcomer: &mut Option<Newcomer<K, V>>,
        room: &mut Room<'_>,
        departed: &mut Departed<'_, K, V>,
    ) -> Result<(), u64>
    where
        K: Eq,
    {
        self.tidy(room, departed);
        let Some(lent) = newcomer else { return Ok(()) };
        self.foresee(lent.hash);
        let keep = self.find(lent.hash, &lent.key).unwrap_or(NIL);
        // No user code runs below this line.
        self.insert_at(keep, newcomer, room, departed)
    }

    /// An entry with this hash is about to come: what will be needed may be fetched.
    #[inline]
    pub(crate) fn foresee(&self, hash: u32) {
        self.policy.foresee(hash, &self.facts);
    }

    /// As `insert_at`, where all entries weigh 1 and the newcomer so too: then nothing needs to be counted, and at
    /// most one entry leaves. The newcomer comes back if this shard can make no room, or may not.
    #[inline]
    pub(crate) fn insert_even(
        &mut self,
        keep: Option<u32>,
        newcomer: Newcomer<K, V>,
        room: &Room<'_>,
        departed: &mut Departed<'_, K, V>,
    ) -> Result<(), Newcomer<K, V>> {
        if let Some(slot) = keep {
            self.overwrite(slot, newcomer, room.now, departed);
        } else if self.facts.len() < MAX_SLOTS && room.budget.reserve(1) {
            self.fill(None, newcomer, room.now, departed);
        } else if room.own && self.facts.len() > 0 {
            if let Some((key, value, cause)) = self.exchange(newcomer, room.now) {
                departed.push(key, value, cause);
            }
        } else {
            return Err(newcomer);
        }
        Ok(())
    }

    /// As `insert_even` of a new key, where nothing has a deadline and all room is this shard's.
    #[inline(always)]
    pub(crate) fn admit(
        &mut self,
        newcomer: Newcomer<K, V>,
        budget: &Budget,
    ) -> Result<Option<(K, V)>, Newcomer<K, V>> {
        if self.facts.len() < MAX_SLOTS && budget.reserve(1) {
            self.fill(None, newcomer, 0, &mut Departed::new(None));
            Ok(None)
        } else if self.facts.len() > 0 {
            Ok(self.exchange(newcomer, 0).map(|(key, value, _)| (key, value)))
        } else {
            Err(newcomer)
        }
    }

    /// Counts that the entry in `slot` gets another value of its weight.
    #[inline]
    pub(crate) fn replaced(&mut self, slot: u32) {
        self.policy.overwritten(slot, self.weight_of(slot), &mut self.facts);
        self.stats.count(Cause::Replaced);
        self.stats.inserts += 1;
    }

    /// Puts a newcomer into the place of the entry the policy parts with.
    #[inline(always)]
    fn exchange(&mut self, newcomer: Newcomer<K, V>, now: u64) -> Option<(K, V, Cause)> {
        let (Victim { slot, rejected }, is_placed) = match &mut self.policy {
            // It heeds nothing but the slot, which stays.
            Running::Lru(lru) => (lru.turn()?, true),
            policy => (policy.part(&mut self.facts)?, false),
        };
        let cause = if rejected { Cause::Rejected } else { Cause::Size };
        let Newcomer { key, value, hash, weight, deadline } = newcomer;
        self.index.remove(self.facts.hash(slot), slot);
        let old = self.facts.replace(slot, Entry { key, value }, hash, weight);
        self.index.insert(hash, slot);
        if !is_placed {
            self.policy.inserted(slot, &mut self.facts);
        }
        if let Some(wheel) = &mut self.wheel {
            wheel.removed(slot);
        }
        if self.wheel.is_some() || deadline.min(self.idle) != NEVER {
            self.start_timer(slot, deadline, now);
        }
        self.stats.count(cause);
        self.stats.inserts += 1;
        Some((old.key, old.value, cause))
    }

    /// Gives the room of some of the dead back.
    #[inline]
    pub(crate) fn tidy(&mut self, room: &Room<'_>, departed: &mut Departed<'_, K, V>) {
        if self.is_timed() {
            room.budget.release(self.carry_off_dead(room.now, EXPIRY_STEPS, departed));
        }
    }

    /// Whether the newcomer may be stored: as a flight's outcome, only while the flight is attached; by hand always,
    /// and then the key's flight is detached. What is detached is the caller's to drop, outside the lock.
    pub(crate) fn clears(
        &mut self,
        newcomer: &Newcomer<K, V>,
        flight: Option<&Arc<Flight<K, V>>>,
        detached: &mut Vec<Arc<Flight<K, V>>>,
    ) -> bool
    where
        K: Eq,
    {
        match flight {
            Some(flight) => self.flights.is_attached(flight),
            None => {
                if !self.flights.is_empty() {
                    detached.extend(self.flights.detach_key(newcomer.hash, &newcomer.key));
                }
                true
            }
        }
    }

    /// Takes the entry in `slot` out; its weight is the caller's to give back.
    pub(crate) fn take(&mut self, slot: u32, cause: Cause) -> (K, V) {
        self.vacate(slot, cause);
        let Entry { key, value } = self.close_slot(slot);
        (key, value)
    }

    /// The dead whose tick is not over yet, so that `carry_off_dead` has left them, the highest slot first.
    pub(crate) fn dead_unnoticed(&self, now: u64) -> Vec<u32> {
        let mut dead: Vec<u32> =
            self.wheel.iter().flat_map(|wheel| wheel.dead_in_present_tick(now)).collect();
        dead.sort_unstable_by(|a, b| b.cmp(a));
        dead
    }

    /// Carries off the dead, in at most so many steps; returns the weight freed.
    pub(crate) fn carry_off_dead(
        &mut self,
        now: u64,
        mut steps: u32,
        departed: &mut Departed<'_, K, V>,
    ) -> u64 {
        let mut freed = 0;
        while let Some(slot) = self.wheel.as_mut().and_then(|wheel| wheel.next_dead(now, &mut steps)) {
            freed += self.weight_of(slot);
            let (key, value) = self.take(slot, Cause::Expired);
            departed.push(key, value, Cause::Expired);
        }
        freed
    }

    /// Takes everything out at once.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = (K, V)> + use<K, V> {
        self.index.clear();
        self.policy.clear();
        self.wheel = None;
        self.weight = 0;
        let entries = self.facts.clear();
        self.stats.explicit += entries.len() as u64;
        entries.map(|Entry { key, value }| (key, value))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.facts.heap_bytes()
            + self.index.heap_bytes()
            + self.policy.heap_bytes()
            + self.wheel.as_ref().map_or(0, |wheel| wheel.heap_bytes())
    }

    /// Unhooks a slot from everything but the slab; returns its weight.
    fn vacate(&mut self, slot: u32, cause: Cause) -> u64 {
        let weight = self.weight_of(slot);
        self.policy.foresee_leave(slot, &self.facts);
        self.index.remove(self.facts.hash(slot), slot);
        self.policy.removed(slot, &mut self.facts);
        if let Some(wheel) = &mut self.wheel {
            wheel.removed(slot);
        }
        self.weight -= weight;
        self.stats.count(cause);
        weight
    }

    /// Moves the last entry into a vacated slot.
    fn close_slot(&mut self, hole: u32) -> Entry<K, V> {
        let last = self.facts.len() as u32 - 1;
        self.policy.close(hole, last, &self.facts);
        if let Some(wheel) = &mut self.wheel {
            wheel.close(hole, last);
        }
        if hole != last {
            self.index.renumber(self.facts.hash(last), last, hole);
        }
        self.facts.swap_remove(hole)
    }

    /// Puts a newcomer into a vacated slot or a new one.
    fn fill(
        &mut self,
        hole: Option<Hole>,
        newcomer: Newcomer<K, V>,
        now: u64,
        departed: &mut Departed<'_, K, V>,
    ) {
        let Newcomer { key, value, hash, weight, deadline, .. } = newcomer;
        let entry = Entry { key, value };
        let slot = match hole {
            Some(Hole { slot, cause, .. }) => {
                let old = self.facts.replace(slot, entry, hash, weight);
                departed.push(old.key, old.value, cause);
                slot
            }
            None => {
                if !self.index.has_room() {
                    self.grow();
                }
                self.facts.push(entry, hash, weight);
                self.facts.len() as u32 - 1
            }
        };
        self.index.insert(hash, slot);
        self.policy.inserted(slot, &mut self.facts);
        if self.wheel.is_some() || deadline.min(self.idle) != NEVER {
            self.start_timer(slot, deadline, now);
        }
        self.weight += weight;
        self.stats.inserts += 1;
    }

    fn overwrite(
        &mut self,
        slot: u32,
        newcomer: Newcomer<K, V>,
        now: u64,
        departed: &mut Departed<'_, K, V>,
    ) {
        let cause = if self.is_dead(slot, now) { Cause::Expired } else { Cause::Replaced };
        let old = std::mem::replace(&mut self.facts.load_mut(slot).value, newcomer.value);
        departed.push(newcomer.key, old, cause);
        let old_weight = self.weight_of(slot);
        self.facts.set_weight(slot, newcomer.weight);
        self.weight = self.weight - old_weight + newcomer.weight;
        self.policy.overwritten(slot, old_weight, &mut self.facts);
        if let Some(wheel) = &mut self.wheel {
            wheel.removed(slot);
        }
        if self.wheel.is_some() || newcomer.deadline.min(self.idle) != NEVER {
            self.start_timer(slot, newcomer.deadline, now);
        }
        self.stats.count(cause);
        self.stats.inserts += 1;
    }

    /// Hangs an entry on the wheel. The first with a deadline brings the wheel; where nothing has one there is none.
    fn start_timer(&mut self, slot: u32, deadline: u64, now: u64) {
        let wheel = self.wheel.get_or_insert_with(|| {
            let mut wheel = Box::new(Wheel::new(self.facts.len(), self.idle, now));
            wheel.reserve(self.facts.capacity());
            wheel
        });
        wheel.inserted(slot, deadline, now);
    }

    /// All columns grow together, and only here.
    #[cold]
    fn grow(&mut self) {
        let len = self.facts.len();
        // Shards differ by chance: four standard deviations above the expectation is where nearly all end.
        let full = self.expected + 4 * self.expected.isqrt() + 2;
        let growth = if self.expected == 0 { len / 2 } else { len / 8 };
        let target = if len < full { (len * 2 + 6).min(full) } else { len + growth + 6 }.min(MAX_SLOTS);
        self.facts.reserve(target);
        self.policy.reserve(target);
        if let Some(wheel) = &mut self.wheel {
            wheel.reserve(target);
        }
        self.index.rebuild(target, self.facts.hashes());
    }

    /// Panics unless index, slab, policy, deadlines and sums agree.
    pub(crate) fn validate(&self) {
        self.facts.validate();
        self.index.validate(self.facts.hashes());
        let weight: u64 = (0..self.facts.len()).map(|slot| self.weight_of(slot as u32)).sum();
        assert_eq!(weight, self.weight, "the sum of weights is off");
        self.policy.validate(&self.facts);
        if let Some(wheel) = &self.wheel {
            wheel.validate(self.facts.len());
        }
    }
}
