//! S3-FIFO: three queues and no moves on a hit.
//!
//! ```text
//!     newcomer ──────────► small (FIFO, 1/10) ── used again ─────────► main (FIFO) ◄─┐ used: once more round,
//!        └─ known ghost ─────────│──────────────────────────────────────▲   │        │ count − 1
//!                                └─ not used ─► leaves, its ghost stays     └────────┴─► not used: leaves
//! ```
//!
//! A hit only raises a count, which is worth 3 at most. Whoever is asked for again soon after leaving goes straight
//! to the main queue. Good where most keys are asked for once; not for workloads where plain recency rules.
//!
//! Cost: O(1) amortised, at most [`ROUNDS`] moves for one eviction; 10 bytes an entry and 4 to 8 for ghosts. J. Yang
//! et al., "FIFO queues are all you need for cache eviction", SOSP 2023.

use super::facts::Mark;
use super::{Facts, Replacement, Victim};
use crate::ghost::Ghosts;
use crate::links::{Links, List, NIL};

pub(crate) struct S3Fifo {
    links: Links,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    share: u64,
}

#[derive(Clone, Copy)]
struct Queue {
    order: List,
    weight: u64,
}

const EMPTY: Queue = Queue { order: List::EMPTY, weight: 0 };
/// Segments of the marks.
const SMALL: usize = 0;
const MAIN: usize = 1;
/// Uses that count.
const USES: u32 = 3;
/// Moves for one eviction, so that none waits for a whole queue of used entries.
const ROUNDS: usize = 64;

impl S3Fifo {
    pub(crate) fn new(share: u64) -> Self {
        Self { links: Links::default(), small: EMPTY, main: EMPTY, ghosts: Ghosts::default(), share }
    }

    fn enter<T>(&mut self, slot: u32, segment: usize, uses: u32, facts: &mut Facts<T>) {
        facts.set_mark(slot, Mark::new(segment, uses, 0));
        let queue = if segment == SMALL { &mut self.small } else { &mut self.main };
        self.links.push_head(&mut queue.order, slot);
        queue.weight += facts.weight(slot);
    }

    fn leave<T>(&mut self, slot: u32, facts: &Facts<T>) {
        let queue = if facts.mark(slot).segment() == SMALL { &mut self.small } else { &mut self.main };
        self.links.unlink(&mut queue.order, slot);
        queue.weight -= facts.weight(slot);
    }
}

impl Replacement for S3Fifo {
    fn inserted<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        self.links.open(slot);
        let segment = if self.ghosts.recall(facts.hash(slot)) { MAIN } else { SMALL };
        self.enter(slot, segment, 0, facts);
    }

    fn hit<T>(&mut self, _slot: u32, _facts: &mut Facts<T>) {
        // The mark says it all.
    }

    fn overwritten<T>(&mut self, slot: u32, old_weight: u64, facts: &mut Facts<T>) {
        let queue = if facts.mark(slot).segment() == SMALL { &mut self.small } else { &mut self.main };
        queue.weight = queue.weight - old_weight + facts.weight(slot);
        facts.raise(slot);
    }

    fn victim<T>(&mut self, keep: u32, facts: &mut Facts<T>) -> Option<Victim> {
        self.ghosts.widen(facts.len() - facts.len() / 10);
        for round in 0.. {
            let small = self.links.tail_except(&self.small.order, keep);
            let main = self.links.tail_except(&self.main.order, keep);
            let last = round >= ROUNDS;
            if small != NIL && (self.small.weight >= self.share / 10 || main == NIL) {
                if facts.mark(small).uses() > 1 && !last {
                    self.leave(small, facts);
                    self.enter(small, MAIN, 0, facts);
                    continue;
                }
                self.ghosts.note(facts.hash(small));
                return Some(Victim { slot: small, rejected: true });
            }
            if main == NIL {
                break;
            }
            let uses = facts.mark(main).uses().min(USES);
            if uses == 0 || last {
                return Some(Victim { slot: main, rejected: false });
            }
            self.leave(main, facts);
            self.enter(main, MAIN, uses - 1, facts);
        }
        None
    }

    fn removed<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        self.leave(slot, facts);
    }

    fn close<T>(&mut self, hole: u32, last: u32, facts: &Facts<T>) {
        if hole != last {
            let queue = if facts.mark(last).segment() == SMALL { &mut self.small } else { &mut self.main };
            self.links.renumber(&mut queue.order, last, hole);
        }
        self.links.pop();
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
    }

    fn clear(&mut self) {
        *self = Self::new(self.share);
    }

    fn set_share(&mut self, share: u64) {
        self.share = share;
    }

    fn heap_bytes(&self) -> usize {
        self.links.heap_bytes() + self.ghosts.heap_bytes()
    }

    fn validate<T>(&self, facts: &Facts<T>) {
        assert_eq!(self.links.len(), facts.len());
        let mut seen = 0;
        for (queue, segment) in [(&self.small, SMALL), (&self.main, MAIN)] {
            let members = self.links.validate(&queue.order);
            assert!(members.iter().all(|slot| facts.mark(*slot).segment() == segment));
            assert_eq!(members.iter().map(|slot| facts.weight(*slot)).sum::<u64>(), queue.weight);
            seen += members.len();
        }
        assert_eq!(seen, facts.len(), "a slot is in no queue");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(share: u32) -> (S3Fifo, Facts<()>) {
        let (mut policy, mut facts) = (S3Fifo::new(u64::from(share)), Facts::new(false, true));
        for slot in 0..share {
            facts.push((), slot.wrapping_mul(0x9e37_79b1), 1);
            policy.inserted(slot, &mut facts);
        }
        (policy, facts)
    }

    fn evicted(policy: &mut S3Fifo, facts: &mut Facts<()>) -> Option<(u32, bool)> {
        policy.part(facts).map(|Victim { slot, rejected }| (slot, rejected))
    }

    #[test]
    fn who_was_used_twice_is_promoted_and_who_was_used_once_is_not() {
        let (mut policy, mut facts) = full(10);
        for (slot, uses) in [(0, 2), (1, 1), (3, 15)] {
            (0..uses).for_each(|_| _ = facts.raise(slot));
        }
        let gone: Vec<_> = (0..3).filter_map(|_| evicted(&mut policy, &mut facts)).collect();
        assert_eq!(gone, [(1, true), (2, true), (4, true)]);
        assert_eq!((facts.mark(0).segment(), facts.mark(3).segment()), (MAIN, MAIN));
        assert_eq!(facts.mark(3).uses(), 0, "in the main queue everybody begins anew");
        assert_eq!((policy.small.weight, policy.main.weight), (5, 2));
    }

    #[test]
    fn in_the_main_queue_three_uses_are_three_more_rounds_and_none_is_the_end() {
        let (mut policy, mut facts) = full(10);
        (0..10).for_each(|slot| (0..2).for_each(|_| _ = facts.raise(slot)));
        assert_eq!(
            evicted(&mut policy, &mut facts),
            Some((0, false)),
            "all are promoted, and the oldest goes"
        );
        assert_eq!((policy.small.weight, policy.main.weight), (0, 9));
        (0..15).for_each(|_| _ = facts.raise(1));
        for (gone, left) in [(2, 2), (3, 2)] {
            assert_eq!(evicted(&mut policy, &mut facts), Some((gone, false)));
            assert_eq!(facts.mark(1).uses(), left, "fifteen uses count as three, and a round costs one");
        }
        (4..10).for_each(|gone| assert_eq!(evicted(&mut policy, &mut facts), Some((gone, false))));
        assert_eq!(evicted(&mut policy, &mut facts), Some((1, false)));
        assert_eq!(evicted(&mut policy, &mut facts), None);
    }

    #[test]
    fn who_comes_back_soon_goes_straight_to_the_main_queue() {
        let (mut policy, mut facts) = full(10);
        let hash = facts.hash(0);
        assert_eq!(evicted(&mut policy, &mut facts), Some((0, true)));
        facts.replace(0, (), hash, 1);
        policy.inserted(0, &mut facts);
        assert_eq!(facts.mark(0).segment(), MAIN);
        policy.validate(&facts);
    }

    #[test]
    fn no_eviction_goes_round_for_ever() {
        let (mut policy, mut facts) = full(1000);
        (0..1000).for_each(|slot| (0..15).for_each(|_| _ = facts.raise(slot)));
        assert_eq!(evicted(&mut policy, &mut facts), Some((ROUNDS as u32, true)), "the next, used or not");
        assert_eq!(policy.main.weight, ROUNDS as u64);
    }
}
