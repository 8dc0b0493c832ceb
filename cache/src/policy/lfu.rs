//! LFU: the entry used least often leaves; among equals, the one unused for the longest time.
//!
//! ```text
//!     ranks, by count:   1 ─────► 2 ─────► 7
//!                        │        │        │
//!     order of use:      f d b    c a      e          victim: b;  a hit on b moves it to the head of 2
//! ```
//!
//! A count starts at 1 and grows by one with each hit and each overwriting. One list of ranks, one list of slots in
//! each: every operation O(1), 12 bytes an entry and 32 bytes a rank. Exact within a shard. Not for workloads whose
//! favourites change: an old favourite must be outdone before it leaves. W-TinyLFU forgets, LFU does not, unless all
//! counts are [halved](crate::CacheBuilder::halve_counts_every) every so many uses: O(1) for each use on average, and for
//! the one that halves a walk over the ranks and the entries whose ranks become one. What had the lower count leaves
//! first among those that are equal now.

use super::{Facts, Replacement, Victim};
use crate::links::{Links, List, NIL};

/// All slots with one count.
struct Rank {
    count: u64,
    order: List,
    lower: u32,
    higher: u32,
}

pub(crate) struct Lfu {
    links: Links,
    rank_of: Vec<u32>,
    ranks: Vec<Rank>,
    free_ranks: Vec<u32>,
    lowest: u32,
    /// Uses since the counts were halved, and at how many they are.
    uses: u64,
    halve_every: u64,
}

impl Default for Lfu {
    fn default() -> Self {
        Self {
            links: Links::default(),
            rank_of: Vec::new(),
            ranks: Vec::new(),
            free_ranks: Vec::new(),
            lowest: NIL,
            uses: 0,
            halve_every: u64::MAX,
        }
    }
}

impl Replacement for Lfu {
    fn inserted<T>(&mut self, slot: u32, _facts: &mut Facts<T>) {
        self.links.open(slot);
        if slot as usize == self.rank_of.len() {
            self.rank_of.push(NIL);
        }
        let has_ones = self.lowest != NIL && self.ranks[self.lowest as usize].count == 1;
        let rank = if has_ones { self.lowest } else { self.open_rank(1, NIL, self.lowest) };
        self.enter(slot, rank);
    }

    fn hit<T>(&mut self, slot: u32, _facts: &mut Facts<T>) {
        self.raise(slot);
        self.uses += 1;
        if self.uses >= self.halve_every {
            self.halve();
        }
    }

    fn overwritten<T>(&mut self, slot: u32, _old_weight: u64, facts: &mut Facts<T>) {
        self.hit(slot, facts);
    }

    fn victim<T>(&mut self, keep: u32, _facts: &mut Facts<T>) -> Option<Victim> {
        let mut rank = self.lowest;
        while rank != NIL {
            let Rank { order, higher, .. } = &self.ranks[rank as usize];
            match self.links.tail_except(order, keep) {
                // Only `keep` is here; the next rank has another.
                NIL => rank = *higher,
                slot => return Some(Victim { slot, rejected: false }),
            }
        }
        None
    }

    fn removed<T>(&mut self, slot: u32, _facts: &mut Facts<T>) {
        self.leave(slot);
    }

    fn close<T>(&mut self, hole: u32, last: u32, _facts: &Facts<T>) {
        if hole != last {
            let rank = self.rank_of[last as usize];
            self.links.renumber(&mut self.ranks[rank as usize].order, last, hole);
            self.rank_of[hole as usize] = rank;
        }
        self.links.pop();
        self.rank_of.pop();
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
        self.rank_of.reserve_exact(slots.saturating_sub(self.rank_of.len()));
    }

    fn clear(&mut self) {
        *self = Self { halve_every: self.halve_every, ..Self::default() };
    }

    fn set_share(&mut self, _share: u64) {}

    fn heap_bytes(&self) -> usize {
        self.links.heap_bytes()
            + (self.rank_of.capacity() + self.free_ranks.capacity()) * size_of::<u32>()
            + self.ranks.capacity() * size_of::<Rank>()
    }

    fn validate<T>(&self, facts: &Facts<T>) {
        assert_eq!((self.links.len(), self.rank_of.len()), (facts.len(), facts.len()));
        let (mut seen, mut below, mut count, mut rank) = (0, NIL, 0, self.lowest);
        while rank != NIL {
            let Rank { count: own, order, lower, higher } = &self.ranks[rank as usize];
            assert!(*own > count && *lower == below, "ranks are out of order");
            let members = self.links.validate(order);
            assert!(!members.is_empty() && members.iter().all(|slot| self.rank_of[*slot as usize] == rank));
            seen += members.len();
            (below, count, rank) = (rank, *own, *higher);
        }
        assert_eq!(seen, facts.len(), "a slot is in no rank");
    }
}

impl Lfu {
    /// Halves all counts after every so many uses.
    pub(crate) fn halve_every(&mut self, uses: u64) {
        self.halve_every = uses.max(1);
    }

    /// One use more.
    fn raise(&mut self, slot: u32) {
        let rank = self.rank_of[slot as usize];
        let Rank { count, order, higher, .. } = self.ranks[rank as usize];
        let next_exists = higher != NIL && self.ranks[higher as usize].count == count + 1;
        if order.len == 1 && !next_exists {
            // Alone in its rank: the rank itself rises.
            self.ranks[rank as usize].count += 1;
            return;
        }
        let target = if next_exists { higher } else { self.open_rank(count + 1, rank, higher) };
        self.leave(slot);
        self.enter(slot, target);
    }

    /// Halves all counts, down to 1 at the least. Ranks that become equal become one, the higher before the lower.
    #[cold]
    fn halve(&mut self) {
        self.uses = 0;
        let (mut below, mut rank) = (NIL, self.lowest);
        while rank != NIL {
            let Rank { count, higher, .. } = self.ranks[rank as usize];
            let count = (count / 2).max(1);
            if below != NIL && self.ranks[below as usize].count == count {
                self.merge(rank, below);
            } else {
                self.ranks[rank as usize].count = count;
                below = rank;
            }
            rank = higher;
        }
    }

    /// Moves all slots of a rank to the newest end of the next lower one, and closes it.
    fn merge(&mut self, rank: u32, into: u32) {
        let Rank { order, lower, higher, .. } = self.ranks[rank as usize];
        let mut slot = order.head;
        while slot != NIL {
            self.rank_of[slot as usize] = into;
            slot = self.links.older(slot);
        }
        self.links.push_all(&mut self.ranks[into as usize].order, order);
        self.ranks[rank as usize].order = List::EMPTY;
        self.join(lower, higher);
        self.free_ranks.push(rank);
    }

    fn enter(&mut self, slot: u32, rank: u32) {
        self.links.push_head(&mut self.ranks[rank as usize].order, slot);
        self.rank_of[slot as usize] = rank;
    }

    fn leave(&mut self, slot: u32) {
        let id = self.rank_of[slot as usize];
        let rank = &mut self.ranks[id as usize];
        self.links.unlink(&mut rank.order, slot);
        if rank.order.len == 0 {
            let (lower, higher) = (rank.lower, rank.higher);
            self.join(lower, higher);
            self.free_ranks.push(id);
        }
    }

    /// A new, empty rank between two neighbours.
    fn open_rank(&mut self, count: u64, lower: u32, higher: u32) -> u32 {
        let rank = Rank { count, order: List::EMPTY, lower, higher };
        let id = match self.free_ranks.pop() {
            Some(id) => {
                self.ranks[id as usize] = rank;
                id
            }
            None => {
                self.ranks.push(rank);
                self.ranks.len() as u32 - 1
            }
        };
        self.join(lower, id);
        self.join(id, higher);
        id
    }

    fn join(&mut self, lower: u32, higher: u32) {
        match lower {
            NIL => self.lowest = higher,
            lower => self.ranks[lower as usize].higher = higher,
        }
        if higher != NIL {
            self.ranks[higher as usize].lower = lower;
        }
    }
}
