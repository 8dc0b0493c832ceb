//! From a key's hash to its slot: one cache line of fifteen places, searched at once.
//!
//! The entries themselves lie densely in a slab; the index holds only where.
//!
//! ```text
//!     group (64 bytes) = 15 places and a count of keys at home here that had to go on to the next group
//!     place (u32)      = | fingerprint : 32 - s bits, never 0 | slot + 1 : s bits |          0 = free
//!     home(hash)       = hash · groups / 2³²            any number of groups, no power of two needed
//! ```
//!
//! A lookup compares all places with the fingerprint and takes the bitwise *or* of those that match: with one match,
//! which is nearly always, that is the place. No branch depends on where in the group a key lies, and the compiler
//! turns the comparison into a few vector instructions. The count says when to go on: removal frees a place and
//! counts down, so that there are no tombstones and nothing ever needs to be cleaned up.
//!
//! Cost: O(1), one cache line for all but a few per cent of the keys; [`FILL`] of fifteen places in use at most, so
//! 6.4 bytes an entry in a table that has reached its size. Limit: [`MAX_SLOTS`] slots.

use crate::lanes;

/// Most slots an index can tell apart.
pub(crate) const MAX_SLOTS: usize = (1 << SLOT_BITS_MAX) - 1;
const SLOT_BITS_MAX: u32 = 28;
const PLACES: usize = 15;
/// Places in use, on average, in a full table. With 12 an eighth of the newcomers had to go on, so that half of the looks
/// for what is absent went beyond their home; with 10 it is one look in seven.
const FILL: usize = 10;

/// Fifteen places, and at the end the count of keys that went on.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Group([u32; PLACES + 1]);

const EMPTY: Group = Group([0; PLACES + 1]);

/// The index of one shard.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Index {
    groups: Vec<Group>,
    /// The bits of a place that hold the slot.
    slot_mask: u32,
    slot_bits: u32,
    len: u32,
    /// Entries at which the table must grow.
    limit: u32,
}

/// What one look tells of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glance {
    /// It is in this slot, unless two places look alike or it only looks like it: whoever asks must compare the key.
    Maybe(u32),
    /// It is not here.
    Absent,
    /// It is not at home, but may be in another group.
    Elsewhere,
}

impl Default for Index {
    fn default() -> Self {
        Self { groups: Vec::new(), slot_mask: 1, slot_bits: 1, len: 0, limit: 0 }
    }
}

impl Index {
    /// What the first look at a key's home tells.
    #[inline(always)]
    pub(crate) fn glance(&self, hash: u32) -> Glance {
        let Some(Group(places)) = self.groups.get(self.home(hash)) else { return Glance::Absent };
        match self.matching(places, self.fingerprint(hash)) {
            0 if places[PLACES] == 0 => Glance::Absent,
            0 => Glance::Elsewhere,
            found => Glance::Maybe((found & self.slot_mask).wrapping_sub(1)),
        }
    }

    /// The bitwise or of the places with this fingerprint.
    #[inline(always)]
    fn matching(&self, places: &[u32; PLACES + 1], wanted: u32) -> u32 {
        let mask = !self.slot_mask;
        places.iter().fold(0, |found, place| found | if place & mask == wanted { *place } else { 0 })
    }

    /// The slot for `hash` that `is_it` recognises. It may be asked about any slot, even one that does not exist, and
    /// about one slot twice.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let Group(places) = self.groups.get(self.home(hash))?;
        let found = self.matching(places, self.fingerprint(hash));
        if found == 0 {
            if places[PLACES] == 0 {
                return None;
            }
        } else {
            let slot = (found & self.slot_mask).wrapping_sub(1);
            if is_it(slot) {
                return Some(slot);
            }
        }
        self.search(hash, is_it)
    }

    /// As `find`, where a glance at the key's home has not told.
    #[cold]
    fn search(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let wanted = self.fingerprint(hash);
        let mut at = self.home(hash);
        // After much churn every group may count a key that went on; none is looked into twice.
        for _ in 0..self.groups.len() {
            let Group(places) = &self.groups[at];
            if self.matching(places, wanted) != 0
                && let Some(slot) = self.find_among_several(places, wanted, &mut is_it)
            {
                return Some(slot);
            }
            if places[PLACES] == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Two places of a group may have the same fingerprint, and one may have it by chance.
    fn find_among_several(
        &self,
        places: &[u32; PLACES + 1],
        wanted: u32,
        is_it: &mut impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let matching = places[..PLACES].iter().filter(|place| **place & !self.slot_mask == wanted);
        matching.map(|place| (place & self.slot_mask).wrapping_sub(1)).find(|slot| is_it(*slot))
    }

    /// Adds a slot that is not present. There must be [room](Self::has_room).
    #[inline]
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) {
        let (home, place) = (self.home(hash), self.fingerprint(hash) | (slot + 1));
        self.len += 1;
        let Group(places) = &mut self.groups[home];
        match position(places, 0) {
            Some(free) => places[free] = place,
            None => self.insert_beyond(home, place),
        }
    }

    /// As `insert`, where the home is full.
    #[cold]
    fn insert_beyond(&mut self, home: usize, place: u32) {
        let mut at = home;
        loop {
            let Group(places) = &mut self.groups[at];
            if let Some(free) = position(places, 0) {
                places[free] = place;
                return;
            }
            places[PLACES] += 1;
            at = self.after(at);
        }
    }

    /// Lets an entry that a glance did not find change places with a guest of its home, so that the next glance finds
    /// it. Counts stay as they are: what the one no longer passes by, the other does.
    ///
    /// Whoever comes last into a full group goes on, and every look at it costs a second line and a branch guessed wrong:
    /// a fifth of all time in hits was spent so. Changing with anyone at each use leaves the seldom used outside.
    pub(crate) fn bring_home(&mut self, hash: u32, slot: u32, turn: u64) {
        let place = self.fingerprint(hash) | (slot + 1);
        let home = self.home(hash);
        if self.groups[home].0[..PLACES].contains(&0) {
            self.remove(hash, slot);
            self.insert(hash, slot);
            return;
        }
        let mut at = home;
        for _ in 0..self.groups.len() {
            if let Some(found) = position(&self.groups[at].0, place) {
                if at != home {
                    let guest = &mut self.groups[home].0[turn as usize % PLACES];
                    self.groups[at].0[found] = std::mem::replace(guest, place);
                }
                return;
            }
            at = self.after(at);
        }
    }

    /// Takes a slot out, which must be present.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u32, slot: u32) {
        let (home, place) = (self.home(hash), self.fingerprint(hash) | (slot + 1));
        self.len -= 1;
        let Group(places) = &mut self.groups[home];
        match position(places, place) {
            Some(found) => places[found] = 0,
            None => self.remove_beyond(home, place),
        }
    }

    /// As `remove`, of one that is not at home.
    #[cold]
    fn remove_beyond(&mut self, home: usize, place: u32) {
        let mut at = home;
        for _ in 0..self.groups.len() {
            let Group(places) = &mut self.groups[at];
            if let Some(found) = position(places, place) {
                places[found] = 0;
                return;
            }
            debug_assert!(places[PLACES] > 0, "a slot is not in the index");
            places[PLACES] -= 1;
            at = self.after(at);
        }
    }

    /// The entry with `hash` in slot `from` now lives in slot `to`.
    pub(crate) fn renumber(&mut self, hash: u32, from: u32, to: u32) {
        let fingerprint = self.fingerprint(hash);
        let mut at = self.home(hash);
        for _ in 0..self.groups.len() {
            let Group(places) = &mut self.groups[at];
            if let Some(found) = position(places, fingerprint | (from + 1)) {
                places[found] = fingerprint | (to + 1);
                return;
            }
            at = self.after(at);
        }
    }

    /// Whether another entry fits without growing.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.len < self.limit
    }

    /// Builds the table anew for up to `entries` entries, from the hashes of slots `0..hashes.len()`.
    #[cold]
    pub(crate) fn rebuild(&mut self, entries: usize, hashes: impl ExactSizeIterator<Item = u32>) {
        // Not one entry more, though there may be places: the slab's columns are as long as this.
        self.limit = entries.max(hashes.len()).clamp(1, MAX_SLOTS) as u32;
        self.groups = vec![EMPTY; (self.limit as usize).div_ceil(FILL)];
        self.slot_bits = u32::BITS - self.limit.leading_zeros();
        self.slot_mask = (1 << self.slot_bits) - 1;
        self.len = 0;
        for (slot, hash) in hashes.enumerate() {
            self.insert(hash, slot as u32);
        }
    }

    /// Empties the index and returns its memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.groups.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.groups.len() { 0 } else { at + 1 }
    }

    /// Low bits of the hash, moved to the top of a place: the home is made of the high ones. Never 0, so that neither
    /// a free place nor the count of a group looks like it.
    #[inline]
    fn fingerprint(&self, hash: u32) -> u32 {
        (hash | 1) << self.slot_bits
    }

    /// Panics unless every slot of `hashes` is found, once, and the counts are right.
    pub(crate) fn validate(&self, hashes: impl ExactSizeIterator<Item = u32>) {
        assert_eq!(self.len as usize, hashes.len(), "the index counts other than the slab");
        let used =
            self.groups.iter().flat_map(|group| &group.0[..PLACES]).filter(|place| **place != 0).count();
        assert!(
            used == self.len as usize && self.len <= self.limit,
            "{used} places for {} entries",
            self.len
        );
        let mut went_on = vec![0; self.groups.len()];
        for (slot, hash) in hashes.enumerate() {
            assert_eq!(
                self.find(hash, |found| found as usize == slot),
                Some(slot as u32),
                "slot {slot} is lost"
            );
            let (mut at, place) = (self.home(hash), self.fingerprint(hash) | (slot as u32 + 1));
            while !self.groups[at].0[..PLACES].contains(&place) {
                went_on[at] += 1;
                at = self.after(at);
            }
        }
        assert!(self.groups.iter().map(|group| group.0[PLACES]).eq(went_on), "a group's count is off");
    }
}

/// Where in a group `wanted` stands.
#[inline(always)]
fn position(places: &[u32; PLACES + 1], wanted: u32) -> Option<usize> {
    let at = lanes::first(places, wanted, u32::MAX);
    // The last number is no place.
    (at < PLACES).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Adds, takes out and renumbers as the slab does, with the table checked after each step.
    fn churn(operations: &[(bool, u32)], spread: u32) {
        let (mut index, mut hashes) = (Index::default(), Vec::new());
        for (add, pick) in operations {
            if *add || hashes.is_empty() {
                if !index.has_room() {
                    index.rebuild(hashes.len() * 5 / 4 + 1, hashes.iter().copied());
                }
                hashes.push(pick.wrapping_mul(spread));
                index.insert(hashes[hashes.len() - 1], hashes.len() as u32 - 1);
            } else {
                let slot = *pick as usize % hashes.len();
                index.remove(hashes[slot], slot as u32);
                let last = hashes.len() - 1;
                if slot != last {
                    index.renumber(hashes[last], last as u32, slot as u32);
                }
                hashes.swap_remove(slot);
            }
            index.validate(hashes.iter().copied());
            let used = *pick as usize;
            if !hashes.is_empty() && used.is_multiple_of(3) {
                index.bring_home(hashes[used % hashes.len()], (used % hashes.len()) as u32, u64::from(*pick));
                index.validate(hashes.iter().copied());
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_slab_for_good_hashes(
            operations in prop::collection::vec((prop::bool::weighted(0.6), any::<u32>()), 0..300)
        ) {
            churn(&operations, 0x9e37_79b1);
        }

        // Spread 1 and small keys: nearly all hashes share a home, groups overflow, runs wrap around the end.
        #[test]
        fn agrees_with_the_slab_for_hostile_hashes(
            operations in prop::collection::vec((prop::bool::weighted(0.6), 0..40u32), 0..200),
            high in any::<bool>()
        ) {
            let shift = |key: u32| if high { u32::MAX - key } else { key };
            let shifted: Vec<_> = operations.iter().map(|(add, key)| (*add, shift(*key))).collect();
            churn(&shifted, 1);
        }
    }

    #[test]
    fn what_is_brought_home_is_found_at_the_first_look() {
        let mut index = Index::default();
        index.rebuild(3 * FILL, std::iter::empty());
        // All have their home in the last group: the table wraps around.
        let hashes: Vec<u32> = (0..20).map(|key| u32::MAX - 2 * key).collect();
        hashes.iter().enumerate().for_each(|(slot, hash)| index.insert(*hash, slot as u32));
        let found = |index: &Index| {
            (0..20).filter(|slot| index.glance(hashes[*slot as usize]) == Glance::Maybe(*slot)).count()
        };
        for turn in 0..40 {
            assert_eq!(found(&index), PLACES, "a group holds so many");
            let slot = turn * 7 % 20;
            index.bring_home(hashes[slot as usize], slot, u64::from(turn));
            assert_eq!(index.glance(hashes[slot as usize]), Glance::Maybe(slot));
            index.validate(hashes.iter().copied());
        }
        // With a free place at home nobody has to go.
        let away = (0..20).find(|slot| index.glance(hashes[*slot as usize]) != Glance::Maybe(*slot)).unwrap();
        let home = (0..20).find(|slot| index.glance(hashes[*slot as usize]) == Glance::Maybe(*slot)).unwrap();
        index.remove(hashes[home as usize], home);
        index.bring_home(hashes[away as usize], away, 0);
        assert_eq!(found(&index), PLACES);
        index.insert(hashes[home as usize], home);
        index.validate(hashes.iter().copied());
    }

    /// Once hung: keys that had gone on kept every group's count up, and a miss went round for ever.
    #[test]
    fn a_miss_ends_when_every_group_has_overflowed() {
        let mut index = Index::default();
        index.rebuild(3 * FILL, std::iter::empty());
        let home = |group: u32| group * (u32::MAX / 3) + 1000;
        for group in 0..3 {
            (0..16).for_each(|key| index.insert(home(group), group * 16 + key));
            // The sixteenth stays in the next group.
            (0..15).for_each(|key| index.remove(home(group), group * 16 + key));
        }
        assert!(index.groups.iter().all(|group| group.0[PLACES] > 0));
        assert_eq!(index.find(home(0) + 2, |_| false), None);
    }

    #[test]
    fn equal_hashes_are_told_apart_by_the_caller() {
        let hashes = [7; 100];
        let mut index = Index::default();
        index.rebuild(100, hashes.into_iter());
        for slot in 0..100 {
            assert_eq!(index.find(7, |found| found == slot), Some(slot));
        }
        assert_eq!(index.find(7, |_| false), None);
        assert_eq!(index.find(8, |_| true), None);
        assert_eq!(Index::default().find(7, |_| true), None);
    }
}
