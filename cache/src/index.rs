//! From a key's hash to its slot: open addressing in 32-bit buckets, Robin Hood order, no tombstones.
//!
//! The entries themselves lie densely in a slab; the index holds only where.
//!
//! ```text
//!     bucket (u32) = | distance from home + 1 : 4 bits | fingerprint : 28 - s bits | slot : s bits |     0 = empty
//!     home(hash)   = hash · buckets / 2³²                 any number of buckets, no power of two needed
//! ```
//!
//! A lookup compares distance and fingerprint at once, so that nearly every bucket it follows to the slab is the
//! right one, and it stops at the first bucket nearer to its own home than the key would be there. Removal shifts
//! the run back by one and needs no tombstones. The distance saturates at 15; the few buckets beyond are measured
//! by the stored hash of their slot.
//!
//! Cost: O(1); at most [`LOAD`] of the buckets are in use, 4 bytes each: 5.3 bytes an entry in a table that has
//! reached its size. Limit: [`MAX_SLOTS`] slots.

/// Most slots an index can tell apart.
pub(crate) const MAX_SLOTS: usize = 1 << SLOT_BITS_MAX;
const SLOT_BITS_MAX: u32 = 28;
const DISTANCE_SHIFT: u32 = 28;
/// A stored distance of 15 means "14 or more".
const DISTANCE_CAP: u32 = 15;
/// Fullest load: numerator and denominator.
const LOAD: (usize, usize) = (3, 4);

/// The index of one shard.
#[derive(Debug, Default)]
pub(crate) struct Index {
    buckets: Vec<u32>,
    slot_bits: u32,
    len: usize,
    /// Entries at which the table must grow.
    limit: usize,
}

impl Index {
    /// The slot for `hash` that `is_it` recognises.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.locate(hash, is_it).map(|(_, slot)| slot)
    }

    #[inline]
    fn locate(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<(usize, u32)> {
        let buckets = self.buckets.as_slice();
        if buckets.is_empty() {
            return None;
        }
        let slot_mask = self.slot_mask();
        let mut wanted = (1 << DISTANCE_SHIFT) | self.fingerprint(hash);
        let mut at = self.home(hash);
        loop {
            let bucket = buckets[at];
            if bucket & !slot_mask == wanted {
                let slot = bucket & slot_mask;
                if is_it(slot) {
                    return Some((at, slot));
                }
            } else if bucket >> DISTANCE_SHIFT < wanted >> DISTANCE_SHIFT {
                return None;
            }
            at = self.after(at);
            if wanted >> DISTANCE_SHIFT < DISTANCE_CAP {
                wanted += 1 << DISTANCE_SHIFT;
            }
        }
    }

    /// Adds `slot`, whose hash stands in `hashes`. The slot must not be present.
    pub(crate) fn insert(&mut self, slot: u32, hashes: &[u32]) {
        debug_assert!(self.len < self.limit && (slot as usize) < hashes.len());
        let mut at = self.home(hashes[slot as usize]);
        let mut carried = (slot, hashes[slot as usize], 0);
        loop {
            let bucket = self.buckets[at];
            if bucket == 0 {
                self.buckets[at] = self.bucket(carried);
                self.len += 1;
                return;
            }
            let resident_distance = self.distance(bucket, at, hashes);
            if resident_distance < carried.2 {
                let resident = bucket & self.slot_mask();
                self.buckets[at] = self.bucket(carried);
                carried = (resident, hashes[resident as usize], resident_distance);
            }
            at = self.after(at);
            carried.2 += 1;
        }
    }

    /// Takes `slot` out; its hash and those of its neighbours still stand in `hashes`.
    pub(crate) fn remove(&mut self, slot: u32, hashes: &[u32]) {
        let Some((mut hole, _)) = self.locate(hashes[slot as usize], |found| found == slot) else {
            debug_assert!(false, "slot {slot} is not in the index");
            return;
        };
        loop {
            let at = self.after(hole);
            let bucket = self.buckets[at];
            // Empty, or at home: the run ends here.
            if bucket >> DISTANCE_SHIFT <= 1 {
                break;
            }
            let distance = self.distance(bucket, at, hashes) - 1;
            self.buckets[hole] = (bucket & ((1 << DISTANCE_SHIFT) - 1)) | stored(distance);
            hole = at;
        }
        self.buckets[hole] = 0;
        self.len -= 1;
    }

    /// The entry with `hash` in slot `from` now lives in slot `to`.
    pub(crate) fn renumber(&mut self, hash: u32, from: u32, to: u32) {
        if let Some((at, _)) = self.locate(hash, |found| found == from) {
            self.buckets[at] = (self.buckets[at] & !self.slot_mask()) | to;
        }
    }

    /// Whether another entry fits without growing.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.len < self.limit
    }

    /// Builds the table anew for up to `entries` entries, from the hashes of slots `0..hashes.len()`.
    #[cold]
    pub(crate) fn rebuild(&mut self, entries: usize, hashes: &[u32]) {
        let entries = entries.max(hashes.len()).clamp(6, MAX_SLOTS);
        let buckets = entries * LOAD.1 / LOAD.0;
        self.buckets = vec![0; buckets];
        self.slot_bits = usize::BITS - (entries - 1).leading_zeros();
        self.limit = entries;
        self.len = 0;
        for slot in 0..hashes.len() {
            self.insert(slot as u32, hashes);
        }
    }

    /// Empties the index and returns its memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<u32>()
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }

    #[inline]
    fn slot_mask(&self) -> u32 {
        (1 << self.slot_bits) - 1
    }

    /// Low bits of the hash, in place: the home is made of the high ones.
    #[inline]
    fn fingerprint(&self, hash: u32) -> u32 {
        (hash << self.slot_bits) & ((1 << DISTANCE_SHIFT) - 1)
    }

    fn bucket(&self, (slot, hash, distance): (u32, u32, u32)) -> u32 {
        stored(distance) | self.fingerprint(hash) | slot
    }

    /// How far the entry in bucket `at` is from its home.
    fn distance(&self, bucket: u32, at: usize, hashes: &[u32]) -> u32 {
        let stored = bucket >> DISTANCE_SHIFT;
        if stored < DISTANCE_CAP {
            return stored - 1;
        }
        let home = self.home(hashes[(bucket & self.slot_mask()) as usize]);
        let distance = if at >= home { at - home } else { at + self.buckets.len() - home };
        distance as u32
    }

    /// Panics unless every slot of `hashes` is found, once, in Robin Hood order.
    pub(crate) fn validate(&self, hashes: &[u32]) {
        assert_eq!(self.len, hashes.len(), "the index counts other than the slab");
        assert!(
            self.len <= self.limit && self.buckets.iter().filter(|bucket| **bucket != 0).count() == self.len
        );
        for (slot, hash) in hashes.iter().enumerate() {
            assert!(self.find(*hash, |found| found as usize == slot).is_some(), "slot {slot} is lost");
        }
        for at in 0..self.buckets.len() {
            let (bucket, next) = (self.buckets[at], self.buckets[self.after(at)]);
            if next != 0 {
                let distance = self.distance(next, self.after(at), hashes);
                let before = if bucket == 0 { 0 } else { self.distance(bucket, at, hashes) + 1 };
                assert!(distance <= before, "bucket {at} breaks the order of distances");
            }
        }
    }
}

fn stored(distance: u32) -> u32 {
    (distance + 1).min(DISTANCE_CAP) << DISTANCE_SHIFT
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
                    index.rebuild(hashes.len() * 2, &hashes);
                }
                hashes.push(pick.wrapping_mul(spread));
                index.insert(hashes.len() as u32 - 1, &hashes);
            } else {
                let slot = *pick as usize % hashes.len();
                index.remove(slot as u32, &hashes);
                let last = hashes.len() - 1;
                if slot != last {
                    index.renumber(hashes[last], last as u32, slot as u32);
                }
                hashes.swap_remove(slot);
            }
            index.validate(&hashes);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_slab_for_good_hashes(operations in prop::collection::vec((prop::bool::weighted(0.6), any::<u32>()), 0..300)) {
            churn(&operations, 0x9e37_79b1);
        }

        // Spread 1 and small keys: nearly all hashes share a home, distances saturate, runs wrap around the end.
        #[test]
        fn agrees_with_the_slab_for_hostile_hashes(operations in prop::collection::vec((prop::bool::weighted(0.6), 0..40u32), 0..200), high in any::<bool>()) {
            let shifted: Vec<_> = operations.iter().map(|(add, key)| (*add, if high { u32::MAX - key } else { *key })).collect();
            churn(&shifted, 1);
        }
    }

    #[test]
    fn equal_hashes_are_told_apart_by_the_caller() {
        let hashes = [7; 100];
        let mut index = Index::default();
        index.rebuild(100, &hashes);
        for slot in 0..100 {
            assert_eq!(index.find(7, |found| found == slot), Some(slot));
        }
        assert_eq!(index.find(7, |_| false), None);
        assert_eq!(index.find(8, |_| true), None);
    }
}
