//! LRU: the entry unused for the longest time leaves.
//!
//! ```text
//!     hit or insert ─► head ── ─ ─ ── tail ─► victim
//! ```
//!
//! One list in order of last use, exact within a shard. Every operation O(1); 8 bytes an entry. Not for loops or
//! scans a little longer than the cache, where it holds exactly what will not be asked for again.

use super::{Facts, Replacement, Victim};
use crate::links::{Links, List, NIL};

pub(crate) struct Lru {
    links: Links,
    order: List,
}

impl Default for Lru {
    fn default() -> Self {
        Self { links: Links::default(), order: List::EMPTY }
    }
}

impl Lru {
    /// As `part` and `inserted`, where a newcomer takes the victim's slot: the order is turned by one.
    #[inline]
    pub(crate) fn turn(&mut self) -> Option<Victim> {
        let slot = self.order.tail;
        if slot == NIL {
            return None;
        }
        self.links.move_to_head(&mut self.order, slot);
        Some(Victim { slot, rejected: false })
    }
}

impl Replacement for Lru {
    fn inserted<T>(&mut self, slot: u32, _facts: &mut Facts<T>) {
        self.links.open(slot);
        self.links.push_head(&mut self.order, slot);
    }

    #[inline(always)]
    fn hit<T>(&mut self, slot: u32, _facts: &mut Facts<T>) {
        self.links.move_to_head(&mut self.order, slot);
    }

    fn overwritten<T>(&mut self, slot: u32, _old_weight: u64, facts: &mut Facts<T>) {
        self.hit(slot, facts);
    }

    fn victim<T>(&mut self, keep: u32, _facts: &mut Facts<T>) -> Option<Victim> {
        match self.links.tail_except(&self.order, keep) {
            NIL => None,
            slot => Some(Victim { slot, rejected: false }),
        }
    }

    fn removed<T>(&mut self, slot: u32, _facts: &mut Facts<T>) {
        self.links.unlink(&mut self.order, slot);
    }

    fn close<T>(&mut self, hole: u32, last: u32, _facts: &Facts<T>) {
        if hole != last {
            self.links.renumber(&mut self.order, last, hole);
        }
        self.links.pop();
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn set_share(&mut self, _share: u64) {}

    fn heap_bytes(&self) -> usize {
        self.links.heap_bytes()
    }

    fn validate<T>(&self, facts: &Facts<T>) {
        assert_eq!(self.links.len(), facts.len());
        assert_eq!(self.links.validate(&self.order).len(), facts.len(), "the order misses a slot");
    }
}
