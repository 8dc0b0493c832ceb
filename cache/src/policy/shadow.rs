//! A shadow: a small cache of nothing, fed with a sample of the keys, to learn what hit ratio a window would have.
//!
//! Following one key in a hundred through a cache of a hundredth of the size gives nearly the hit ratio of the whole
//! (C. Waldspurger et al., "Cache modeling and optimization using miniature simulations", ATC 2017). A key is its hash.

use super::Facts;
use super::segments::Segments;
use crate::index::Index;
use crate::links::NIL;

pub(crate) struct Shadow {
    index: Index,
    facts: Facts<()>,
    segments: Segments,
    weight: u64,
    capacity: u64,
    /// Hits when they were last asked for.
    hits_taken: u64,
}

impl Shadow {
    pub(crate) fn new(capacity: u64, window: u64) -> Self {
        Self {
            index: Index::default(),
            facts: Facts::new(true, true),
            segments: Segments::new(capacity, window),
            weight: 0,
            capacity,
            hits_taken: 0,
        }
    }

    /// One access to the key with this hash: a hit, or a miss and the insertion that follows it. Says whether it hit.
    pub(crate) fn access(&mut self, hash: u32, weight: u64) -> bool {
        let is_it = |slot: u32| (slot as usize) < self.facts.len() && self.facts.hash(slot) == hash;
        if let Some(slot) = self.index.find(hash, is_it) {
            if self.facts.hit(slot, hash) {
                self.segments.used(slot, &mut self.facts);
            }
            return true;
        }
        if weight <= self.capacity {
            while self.weight + weight > self.capacity {
                let Some(victim) = self.segments.victim(NIL, &mut self.facts) else { break };
                self.remove(victim.slot);
            }
            self.push(hash, weight);
        }
        false
    }

    /// Hits that were not worth an access.
    pub(crate) fn pass(&mut self, hits: u64) {
        self.facts.hits += hits;
    }

    pub(crate) fn take_hits(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.hits_taken, self.facts.hits);
        self.facts.hits - before
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.index.heap_bytes() + self.facts.heap_bytes() + self.segments.heap_bytes()
    }

    fn push(&mut self, hash: u32, weight: u64) {
        if !self.index.has_room() {
            self.index.rebuild(self.facts.len() * 3 / 2 + 1, self.facts.hashes());
        }
        let slot = self.facts.len() as u32;
        self.facts.push((), hash, weight);
        self.index.insert(hash, slot);
        self.segments.inserted(slot, &mut self.facts);
        self.weight += weight;
    }

    fn remove(&mut self, slot: u32) {
        self.weight -= self.facts.weight(slot);
        self.index.remove(self.facts.hash(slot), slot);
        self.segments.removed(slot, &self.facts);
        let last = self.facts.len() as u32 - 1;
        self.segments.close(slot, last, &self.facts);
        if slot != last {
            self.index.renumber(self.facts.hash(last), last, slot);
        }
        self.facts.swap_remove(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_is_lru_and_a_narrow_one_resists_a_loop() {
        let (mut lru, mut frequent) = (Shadow::new(100, 100), Shadow::new(100, 1));
        for round in 0..20 {
            for key in 0..120_u32 {
                lru.access(key.wrapping_mul(0x9e37_79b1), 1);
                frequent.access(key.wrapping_mul(0x9e37_79b1), 1);
            }
            lru.segments.validate(&lru.facts);
            frequent.segments.validate(&frequent.facts);
            frequent.index.validate(frequent.facts.hashes());
            assert_eq!(lru.take_hits(), 0, "a loop longer than the cache");
            assert!(frequent.take_hits() > 60 || round < 2);
        }
    }

    #[test]
    fn it_holds_as_much_as_it_may_and_remembers_all_of_it() {
        let mut shadow = Shadow::new(256, 128);
        for key in 0..256_u32 {
            assert!(!shadow.access(key.wrapping_mul(0x9e37_79b1), 1));
            assert_eq!((shadow.weight, shadow.facts.len() as u64), (u64::from(key) + 1, u64::from(key) + 1));
            shadow.index.validate(shadow.facts.hashes());
        }
        assert!((0..256_u32).all(|key| shadow.access(key.wrapping_mul(0x9e37_79b1), 1)));
    }

    #[test]
    fn hits_that_were_only_counted_are_hits() {
        let mut shadow = Shadow::new(100, 50);
        shadow.pass(40);
        assert!(!shadow.access(7, 1) && shadow.access(7, 1));
        assert_eq!((shadow.take_hits(), shadow.take_hits()), (41, 0));
    }

    #[test]
    fn heavy_entries_push_out_several_and_too_heavy_ones_stay_out() {
        let mut shadow = Shadow::new(100, 50);
        (0..100).for_each(|key| assert!(!shadow.access(key, 1)));
        shadow.access(1000, 60);
        assert_eq!(shadow.weight, 100);
        shadow.access(1001, 101);
        shadow.access(1001, 101);
        assert_eq!((shadow.weight, shadow.take_hits()), (100, 0));
    }
}
