//! S3-FIFO: three queues and no moves on a hit.
//!
//! ```text
//!     newcomer ──────────► small (FIFO, 1/10) ── used again ─────────► main (FIFO) ◄─┐ used: once more round,
//!        └─ known ghost ─────────│──────────────────────────────────────▲   │        │ count − 1
//!                                └─ not used ─► leaves, its ghost stays     └────────┴─► not used: leaves
//! ```
//!
//! A hit only raises a count of two bits, and not beyond 3. Whoever is asked for again soon after leaving goes straight
//! to the main queue. Good where most keys are asked for once; not for workloads where plain recency rules.
//!
//! Cost: O(1) amortised, at most [`ROUNDS`] moves for one eviction; 9 bytes an entry and 4 to 8 for ghosts. J. Yang
//! et al., "FIFO queues are all you need for cache eviction", SOSP 2023.

use super::{Facts, Replacement, Victim};
use crate::ghost::Ghosts;
use crate::links::{Links, List, NIL};

pub(crate) struct S3Fifo {
    links: Links,
    marks: Vec<u8>,
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
/// Mark: two bits of count, and whether the entry is in the main queue.
const COUNT: u8 = 3;
const MAIN: u8 = 4;
/// Moves for one eviction, so that none waits for a whole queue of used entries.
const ROUNDS: usize = 64;

impl S3Fifo {
    pub(crate) fn new(share: u64) -> Self {
        Self {
            links: Links::default(),
            marks: Vec::new(),
            small: EMPTY,
            main: EMPTY,
            ghosts: Ghosts::default(),
            share,
        }
    }

    fn queue(&mut self, mark: u8) -> &mut Queue {
        if mark & MAIN == 0 { &mut self.small } else { &mut self.main }
    }

    fn enter(&mut self, slot: u32, mark: u8, facts: &Facts) {
        self.marks[slot as usize] = mark;
        let queue = if mark & MAIN == 0 { &mut self.small } else { &mut self.main };
        self.links.push_head(&mut queue.order, slot);
        queue.weight += facts.weight(slot);
    }

    fn leave(&mut self, slot: u32, facts: &Facts) {
        let queue = if self.marks[slot as usize] & MAIN == 0 { &mut self.small } else { &mut self.main };
        self.links.unlink(&mut queue.order, slot);
        queue.weight -= facts.weight(slot);
    }
}

impl Replacement for S3Fifo {
    fn inserted(&mut self, slot: u32, facts: &Facts) {
        self.links.open(slot);
        if slot as usize == self.marks.len() {
            self.marks.push(0);
        }
        let mark = if self.ghosts.recall(facts.hash(slot)) { MAIN } else { 0 };
        self.enter(slot, mark, facts);
    }

    #[inline]
    fn hit(&mut self, slot: u32, _hash: u32, _facts: &Facts) {
        let mark = &mut self.marks[slot as usize];
        if *mark & COUNT < COUNT {
            *mark += 1;
        }
    }

    fn overwritten(&mut self, slot: u32, old_weight: u64, facts: &Facts) {
        let queue = self.queue(self.marks[slot as usize]);
        queue.weight = queue.weight - old_weight + facts.weight(slot);
        self.hit(slot, facts.hash(slot), facts);
    }

    fn victim(&mut self, keep: u32, facts: &Facts) -> Option<Victim> {
        self.ghosts.widen(self.marks.len() - self.marks.len() / 10);
        for round in 0.. {
            let small = self.links.tail_except(&self.small.order, keep);
            let main = self.links.tail_except(&self.main.order, keep);
            let last = round >= ROUNDS;
            if small != NIL && (self.small.weight >= self.share / 10 || main == NIL) {
                if self.marks[small as usize] & COUNT > 1 && !last {
                    self.leave(small, facts);
                    self.enter(small, MAIN, facts);
                    continue;
                }
                self.ghosts.note(facts.hash(small));
                return Some(Victim { slot: small, rejected: true });
            }
            if main == NIL {
                break;
            }
            let count = self.marks[main as usize] & COUNT;
            if count == 0 || last {
                return Some(Victim { slot: main, rejected: false });
            }
            self.leave(main, facts);
            self.enter(main, MAIN | (count - 1), facts);
        }
        None
    }

    fn removed(&mut self, slot: u32, facts: &Facts) {
        self.leave(slot, facts);
    }

    fn close(&mut self, hole: u32, last: u32) {
        if hole != last {
            let mark = self.marks[last as usize];
            let queue = if mark & MAIN == 0 { &mut self.small } else { &mut self.main };
            self.links.renumber(&mut queue.order, last, hole);
            self.marks[hole as usize] = mark;
        }
        self.links.pop();
        self.marks.pop();
    }

    fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
        self.marks.reserve_exact(slots.saturating_sub(self.marks.len()));
    }

    fn clear(&mut self) {
        *self = Self::new(self.share);
    }

    fn set_share(&mut self, share: u64) {
        self.share = share;
    }

    fn heap_bytes(&self) -> usize {
        self.links.heap_bytes() + self.marks.capacity() + self.ghosts.heap_bytes()
    }

    fn validate(&self, facts: &Facts) {
        assert_eq!((self.links.len(), self.marks.len()), (facts.len(), facts.len()));
        let mut seen = 0;
        for (queue, main) in [(&self.small, 0), (&self.main, MAIN)] {
            let members = self.links.validate(&queue.order);
            assert!(members.iter().all(|slot| self.marks[*slot as usize] & MAIN == main));
            assert_eq!(members.iter().map(|slot| facts.weight(*slot)).sum::<u64>(), queue.weight);
            seen += members.len();
        }
        assert_eq!(seen, facts.len(), "a slot is in no queue");
    }
}
