//! [`Core`]: one shard without lock or clock, for hosts that hash and compare keys themselves.
//!
//! A language binding cannot let [`Cache`](crate::Cache) compare its keys: comparing runs the host's code, which may
//! fail, take long, or use the cache. Here the host finds the slot in its own time and under its own lock,
//!
//! ```text
//!     find(hash, |key| …) ─► Slot ─► hit · value · deadline · remove          valid until the next change
//! ```
//!
//! and all that happens to an entry afterwards is what happens in a [`Cache`](crate::Cache): the same policies, weights,
//! deadlines and counts. Costs are those of one shard; every entry that leaves comes out in [`Gone`], to be dropped when
//! the host sees fit. Not for Rust programs: use [`Cache`](crate::Cache).
//!
//! ```
//! use cache::{Cause, Core, Gone, Newcomer, Policy};
//!
//! let mut core = Core::new(Policy::Lru, 1, false);
//! let mut gone = Gone::default();
//! for (key, value) in [("a", 1), ("b", 2)] {
//!     let hash = key.len() as u32; // any hash the host likes
//!     let found = core.find(hash, |other| *other == key);
//!     let newcomer = Newcomer { key, value, hash, weight: 1, deadline: Core::<&str, u8>::NEVER };
//!     core.insert(newcomer, found, 0, &mut gone);
//! }
//! assert_eq!(gone.drain().collect::<Vec<_>>(), [("a", 1, Cause::Size)]);
//!
//! let slot = core.find(1, |key| *key == "b").unwrap();
//! assert_eq!(*core.hit(slot), 2);
//! ```

use crate::budget::{Budget, Room};
use crate::departed::{Cause, Departed};
use crate::expiry::NEVER;
use crate::index::MAX_SLOTS;
use crate::links::NIL;
use crate::policy::{Policy, Running};
use crate::shard::{Newcomer, Shard};
use crate::stats::Stats;

/// A single-threaded cache whose host hashes and compares the keys.
pub struct Core<K, V> {
    shard: Shard<K, V>,
    budget: Budget,
    policy: Policy,
    weighed: bool,
}

/// Where an entry is, until the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// Entries that have left, with the cause. Nothing is dropped before the host drops this.
pub struct Gone<K: 'static, V: 'static>(Departed<'static, K, V>);

impl<K: 'static, V: 'static> Core<K, V> {
    /// A deadline that never comes.
    pub const NEVER: u64 = NEVER;

    /// An empty cache; with `weighed`, capacity counts weight instead of entries.
    #[must_use]
    pub fn new(policy: Policy, capacity: u64, weighed: bool) -> Self {
        Self { shard: shard(policy, capacity, weighed), budget: Budget::new(capacity), policy, weighed }
    }

    /// The entry with this hash that `is_it` recognises. The dead are found too: see [`Self::deadline`].
    #[inline(always)]
    pub fn find(&self, hash: u32, is_it: impl FnMut(&K) -> bool) -> Option<Slot> {
        self.shard.find_by(hash, is_it).map(Slot)
    }

    /// Counts a use of the entry and lends its value.
    #[inline(always)]
    pub fn hit(&mut self, slot: Slot) -> &mut V {
        self.shard.hit_by_slot(slot.0);
        self.shard.value_mut(slot.0)
    }

    /// Counts a lookup that found nothing.
    #[inline]
    pub fn miss(&mut self) {
        self.shard.missed();
    }

    /// The value, without a trace.
    #[inline]
    #[must_use]
    pub fn value(&self, slot: Slot) -> &V {
        self.shard.value(slot.0)
    }

    /// The key.
    #[must_use]
    pub fn key(&self, slot: Slot) -> &K {
        self.shard.pair(slot.0).0
    }

    /// When the entry dies: it is dead once the host's time is at or after this.
    #[inline]
    #[must_use]
    pub fn deadline(&self, slot: Slot) -> u64 {
        self.shard.deadline(slot.0)
    }

    /// Whether any entry may have a deadline.
    #[inline]
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.shard.is_timed()
    }

    /// Stores the newcomer, in place of the entry with its key, if [`find`](Self::find) has `found` one. `false` if it
    /// weighs more than the capacity: then nothing has changed, and it comes out as [`Cause::Rejected`].
    #[inline]
    pub fn insert(
        &mut self,
        newcomer: Newcomer<K, V>,
        found: Option<Slot>,
        now: u64,
        gone: &mut Gone<K, V>,
    ) -> bool {
        let mut room = Room { budget: &self.budget, credit: 0, own: true, now };
        let found = found.map(|slot| slot.0);
        let waiting = if self.weighed {
            let (fits, mut waiting) = (newcomer.weight <= self.budget.limit(), Some(newcomer));
            if fits {
                // Own entries may all go, so that whatever is within the capacity fits.
                let _ = self.shard.insert_at(found.unwrap_or(NIL), &mut waiting, &mut room, &mut gone.0);
            }
            waiting
        } else {
            self.shard.insert_even(found, newcomer, &room, &mut gone.0).err()
        };
        let Some(refused) = waiting else {
            // Afterwards: it moves entries, and `found` is good until the first change.
            self.shard.tidy(&room, &mut gone.0);
            return true;
        };
        self.shard.rejected();
        gone.0.push(refused.key, refused.value, Cause::Rejected);
        false
    }

    /// As [`insert`](Self::insert) for a new key, where nothing is weighed and nothing has a deadline: at most one entry
    /// leaves, and comes back. Where that is not so, or there is no room at all, the newcomer does.
    ///
    /// # Errors
    ///
    /// The newcomer, if only `insert` can tell what happens to it; nothing has changed.
    #[inline(always)]
    pub fn admit(&mut self, newcomer: Newcomer<K, V>) -> Result<Option<(K, V)>, Newcomer<K, V>> {
        if self.weighed || self.is_timed() || newcomer.deadline != NEVER {
            return Err(newcomer);
        }
        self.shard.admit(newcomer, &self.budget)
    }

    /// Lends the value of an entry for another to be stored there, with the weight and the deadline it has; counts that.
    #[inline]
    pub fn replace(&mut self, slot: Slot) -> &mut V {
        self.shard.replaced(slot.0);
        self.shard.value_mut(slot.0)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, slot: Slot, cause: Cause) -> (K, V) {
        self.budget.release(self.shard.weight_of(slot.0));
        self.shard.take(slot.0, cause)
    }

    /// Sends away the entry the policy would part with next.
    pub fn evict(&mut self, gone: &mut Gone<K, V>) {
        let freed = self.shard.shed_one(&mut gone.0);
        self.budget.release(freed);
    }

    /// Sends away every entry that is dead at `now`.
    pub fn expire(&mut self, now: u64, gone: &mut Gone<K, V>) {
        let freed = self.shard.carry_off_dead(now, u32::MAX, &mut gone.0);
        self.budget.release(freed);
        for slot in self.shard.dead_unnoticed(now) {
            let (key, value) = self.remove(Slot(slot), Cause::Expired);
            gone.0.push(key, value, Cause::Expired);
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self, gone: &mut Gone<K, V>) {
        self.budget.release(self.shard.weight());
        for (key, value) in self.shard.clear() {
            gone.0.push(key, value, Cause::Explicit);
        }
    }

    /// Changes the capacity; what does not fit leaves.
    pub fn resize(&mut self, capacity: u64, gone: &mut Gone<K, V>) {
        self.budget.set_limit(capacity);
        while self.budget.excess() > 0 && !self.is_empty() {
            self.evict(gone);
        }
        self.shard.set_share(capacity.min(MAX_SLOTS as u64));
    }

    /// All keys and values with their deadlines, the dead included, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V, u64)> {
        (0..self.shard.len() as u32).map(|slot| {
            let (key, value) = self.shard.pair(slot);
            (key, value, self.shard.deadline(slot))
        })
    }

    /// Entries held, the dead included.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.shard.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the entry weighs.
    #[must_use]
    pub fn weight_of(&self, slot: Slot) -> u64 {
        self.shard.weight_of(slot.0)
    }

    /// Weight held.
    #[inline]
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.shard.weight()
    }

    /// Most weight there can be.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.budget.limit()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Whether capacity counts weight.
    #[must_use]
    pub fn is_weighed(&self) -> bool {
        self.weighed
    }

    /// What has happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shard.stats()
    }

    /// Panics if any structure is out of order. For tests and fuzzing.
    #[doc(hidden)]
    pub fn validate(&self) {
        self.shard.validate();
        assert_eq!(self.budget.reserved(), self.weight(), "reserved weight is not the weight held");
        assert!(self.weight() <= self.capacity(), "over capacity");
    }
}

impl<K: 'static, V: 'static> std::fmt::Debug for Core<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("policy", &self.policy)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<K: 'static, V: 'static> Default for Gone<K, V> {
    fn default() -> Self {
        Self(Departed::new(None))
    }
}

impl<K: 'static, V: 'static> Gone<K, V> {
    /// The entries, in the order in which they left.
    pub fn drain(&mut self) -> impl Iterator<Item = (K, V, Cause)> + use<K, V> {
        self.0.drain()
    }

    /// Whether nothing has left.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: 'static, V: 'static> std::fmt::Debug for Gone<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gone").field("is_empty", &self.is_empty()).finish_non_exhaustive()
    }
}

fn shard<K, V>(policy: Policy, capacity: u64, weighed: bool) -> Shard<K, V> {
    let expected = if weighed { 0 } else { usize::try_from(capacity).unwrap_or(usize::MAX).min(MAX_SLOTS) };
    let policy = Running::many(policy, 1, capacity, weighed).next().expect("one was asked for");
    Shard::new(policy, weighed, NEVER, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomer(key: u32, weight: u64, deadline: u64) -> Newcomer<u32, u32> {
        Newcomer { key, value: key, hash: key.wrapping_mul(0x9e37_79b1), weight, deadline }
    }

    #[test]
    fn dead_leave_at_the_very_instant() {
        let (mut core, mut gone) = (Core::new(Policy::Lru, 100, false), Gone::default());
        for key in 0..100 {
            core.insert(newcomer(key, 1, 1_000_000_007 + u64::from(key)), None, 0, &mut gone);
        }
        for passed in 0..=100_u64 {
            core.expire(1_000_000_006 + passed, &mut gone);
            core.validate();
            assert_eq!(core.len() as u64, 100 - passed);
        }
        assert_eq!(gone.drain().filter(|(_, _, cause)| *cause == Cause::Expired).count(), 100);
    }

    #[test]
    fn what_is_too_heavy_changes_nothing() {
        let (mut core, mut gone) = (Core::new(Policy::Lru, 10, true), Gone::default());
        assert!(core.insert(newcomer(1, 10, NEVER), None, 0, &mut gone));
        assert!(!core.insert(newcomer(2, 11, NEVER), None, 0, &mut gone));
        assert!(core.find(newcomer(1, 0, 0).hash, |key| *key == 1).is_some());
        assert_eq!(gone.drain().collect::<Vec<_>>(), [(2, 2, Cause::Rejected)]);
        core.validate();
    }

    #[test]
    fn a_newcomer_among_equals_sends_one_away_at_most() {
        for policy in Policy::ALL {
            let mut core = Core::new(*policy, 3, false);
            let mut left = 0;
            for key in 0..20 {
                let gone = core.admit(newcomer(key, 1, NEVER)).expect("nothing is weighed or timed");
                left += u64::from(gone.is_some());
                core.validate();
                assert_eq!(core.len() as u64, u64::from(key + 1) - left, "{policy}");
            }
            assert_eq!((core.len(), core.stats().inserts), (3, 20), "{policy}");
        }
    }

    #[test]
    fn the_quick_way_in_refuses_what_is_not_even() {
        let refused = |mut core: Core<u32, u32>, deadline| core.admit(newcomer(1, 1, deadline)).is_err();
        assert!(refused(Core::new(Policy::Lru, 3, true), NEVER), "weighed");
        assert!(refused(Core::new(Policy::Lru, 3, false), 7), "timed");
        assert!(refused(Core::new(Policy::Lru, 0, false), NEVER), "no room");
    }

    #[test]
    fn another_value_counts_as_a_use() {
        let (mut core, mut gone) = (Core::new(Policy::Lru, 2, false), Gone::default());
        for key in 0..2 {
            core.insert(newcomer(key, 1, NEVER), None, 0, &mut gone);
        }
        let slot = core.find(newcomer(0, 1, 0).hash, |key| *key == 0).unwrap();
        assert_eq!(std::mem::replace(core.replace(slot), 7), 0);
        assert_eq!((core.stats().replaced, core.stats().inserts), (1, 3));
        let left = core.admit(newcomer(2, 1, NEVER)).unwrap();
        assert_eq!(left, Some((1, 1)), "the other was used longer ago");
        core.validate();
    }

    #[test]
    fn shrinking_parts_with_the_least_used() {
        let (mut core, mut gone) = (Core::new(Policy::Lru, 4, false), Gone::default());
        for key in 0..4 {
            core.insert(newcomer(key, 1, NEVER), None, 0, &mut gone);
        }
        let slot = core.find(newcomer(0, 1, 0).hash, |key| *key == 0).unwrap();
        core.hit(slot);
        core.resize(2, &mut gone);
        core.validate();
        assert_eq!(gone.drain().map(|(key, _, _)| key).collect::<Vec<_>>(), [1, 2]);
    }
}
