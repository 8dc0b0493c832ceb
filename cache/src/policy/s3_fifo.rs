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
