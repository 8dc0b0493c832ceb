//! A window before a guarded main part: the frame of W-TinyLFU, with the window's share to be set by its user.
//!
//! ```text
//!     newcomer ─► window ── tail ─► contest ── winner ─► probation ── hit ─► protected
//!                 (LRU)               │  ▲                 (LRU)  ◄─ overflow ─ (LRU, 4/5 of main)
//!                                loser leaves              tail: the contest's other side
//! ```
//!
//! The contest is won by the higher count. A resident carries its own count, four bits; the [`Sketch`] remembers the
//! counts of those who left; both are halved after [`PERIOD`] accesses for each entry. With a window of everything
//! this is LRU; with almost none it is LFU that forgets.
//!
//! A hit changes nothing but a count that is below its cap, and moves its entry only if it has not moved since a
//! sixteenth of the list was last renewed. Hot entries are thus only read, and where nothing enters or leaves, all are.
//! Against exact LRU (a window of everything, over the traces of the bench `hit_ratio`) this costs 0.02 points.
//!
//! Cost: O(1), but for the halving, which is a walk over 2 bytes a slot and the sketch. 10 bytes an entry and the
//! sketch's 4 to 8.

use super::{Facts, Victim};
use crate::links::{Links, List, NIL};
use crate::sketch::{COUNT_MAX, Sketch};

pub(crate) struct Segments {
    links: Links,
    marks: Vec<Mark>,
    lists: [Segment; 3],
    sketch: Sketch,
    /// Accesses since the counts were halved, or worth as much.
    accesses: u64,
    /// Accesses at which they are halved.
    aging_at: u64,
    /// Weight this shard may expect to hold.
    share: u64,
    /// Weight the window may hold.
    window: u64,
}

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const PROTECTED: usize = 2;

/// Accesses for each entry until counts are halved.
const PERIOD: u64 = 10;
/// A window too wide is narrowed by so many entries for each eviction.
const NARROWING: usize = 8;
/// Entries demoted for one eviction, at most.
const DEMOTIONS: usize = 64;

/// One list, what it holds, and how far it has turned over.
#[derive(Clone, Copy)]
struct Segment {
    order: List,
    weight: u64,
    stamp: u16,
    turned: u32,
}

/// Where a slot is (2 bits), how often it was used (4), and when it last moved, on its segment's own clock (10).
#[derive(Clone, Copy)]
struct Mark(u16);

/// What a halved count keeps of its bits, in place.
const HALF_COUNT: u16 = 7 << 2;
const STAMP_SHIFT: u32 = 6;
const STAMP_MASK: u16 = u16::MAX >> STAMP_SHIFT;

impl Mark {
    fn new(segment: usize, count: u32, stamp: u16) -> Self {
        Self(segment as u16 | (count as u16) << 2 | stamp << STAMP_SHIFT)
    }

    fn segment(self) -> usize {
        usize::from(self.0 & 3)
    }

    fn count(self) -> u32 {
        u32::from(self.0 >> 2 & 15)
    }

    fn stamp(self) -> u16 {
        self.0 >> STAMP_SHIFT
    }
}

impl Segments {
    pub(crate) fn new(share: u64, window: u64) -> Self {
        let empty = Segment { order: List::EMPTY, weight: 0, stamp: 0, turned: 0 };
        Self {
            links: Links::default(),
            marks: Vec::new(),
            lists: [empty; 3],
            sketch: Sketch::default(),
            accesses: 0,
            aging_at: PERIOD,
            share,
            window: window.max(1),
        }
    }

    pub(crate) fn share(&self) -> u64 {
        self.share
    }

    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// Accesses in a sample of the hit ratio.
    pub(crate) fn sample(&self) -> u64 {
        PERIOD.saturating_mul(self.share)
    }

    /// Takes effect little by little, as entries come and go.
    pub(crate) fn set_window(&mut self, window: u64) {
        self.window = window.clamp(1, self.share.max(1));
    }

    /// The window keeps its proportion.
    pub(crate) fn set_share(&mut self, share: u64) {
        let window = u128::from(self.window) * u128::from(share) / u128::from(self.share.max(1));
        self.share = share;
        self.set_window(window as u64);
    }

    pub(crate) fn inserted(&mut self, slot: u32, facts: &Facts) {
        self.links.open(slot);
        if slot as usize == self.marks.len() {
            self.marks.push(Mark(0));
            self.aging_at = PERIOD * self.marks.len() as u64;
        }
        let count = (self.sketch.estimate(facts.hash(slot)) + 1).min(COUNT_MAX);
        self.marks[slot as usize] = Mark::new(WINDOW, count, 0);
        self.enter(slot, WINDOW, facts);
        let total: u64 = self.lists.iter().map(|list| list.weight).sum();
        if total <= self.share {
            // While there is room, the window's overflow walks in without a contest.
            self.narrow(usize::MAX, facts);
        }
        self.accessed();
    }

    #[inline]
    pub(crate) fn hit(&mut self, slot: u32, facts: &Facts) {
        let mut mark = self.marks[slot as usize];
        if mark.count() < COUNT_MAX {
            mark.0 += 1 << 2;
            self.marks[slot as usize] = mark;
        }
        let segment = mark.segment();
        if segment == PROBATION || mark.stamp() != self.lists[segment].stamp {
            self.promote(slot, segment, facts);
        }
        self.accessed();
    }

    pub(crate) fn overwritten(&mut self, slot: u32, old_weight: u64, facts: &Facts) {
        let held = &mut self.lists[self.marks[slot as usize].segment()].weight;
        *held = *held - old_weight + facts.weight(slot);
        self.hit(slot, facts);
    }

    pub(crate) fn victim(&mut self, keep: u32, facts: &Facts) -> Option<Victim> {
        self.sketch.widen(self.marks.len());
        self.narrow(NARROWING, facts);
        self.demote(facts);
        let candidate = self.links.tail_except(&self.lists[WINDOW].order, keep);
        let resident = self.main_tail(keep);
        if resident == NIL {
            return (candidate != NIL).then_some(Victim { slot: candidate, rejected: false });
        }
        if candidate == NIL || self.lists[WINDOW].weight < self.window {
            return Some(Victim { slot: resident, rejected: false });
        }
        if self.count(candidate) > self.count(resident) {
            self.move_to(candidate, PROBATION, facts);
            Some(Victim { slot: resident, rejected: false })
        } else {
            Some(Victim { slot: candidate, rejected: true })
        }
    }

    pub(crate) fn removed(&mut self, slot: u32, facts: &Facts) {
        self.sketch.raise(facts.hash(slot), self.count(slot));
        self.leave(slot, facts);
    }

    pub(crate) fn close(&mut self, hole: u32, last: u32) {
        if hole != last {
            let mark = self.marks[last as usize];
            self.links.renumber(&mut self.lists[mark.segment()].order, last, hole);
            self.marks[hole as usize] = mark;
        }
        self.links.pop();
        self.marks.pop();
    }

    pub(crate) fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
        self.marks.reserve_exact(slots.saturating_sub(self.marks.len()));
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.share, self.window);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.links.heap_bytes() + self.marks.capacity() * size_of::<Mark>() + self.sketch.heap_bytes()
    }

    pub(crate) fn validate(&self, facts: &Facts) {
        assert_eq!((self.links.len(), self.marks.len()), (facts.len(), facts.len()));
        let mut seen = 0;
        for (id, segment) in self.lists.iter().enumerate() {
            let members = self.links.validate(&segment.order);
            assert!(members.iter().all(|slot| self.marks[*slot as usize].segment() == id));
            let weight: u64 = members.iter().map(|slot| facts.weight(*slot)).sum();
            assert_eq!(weight, segment.weight, "segment {id} holds another weight");
            seen += members.len();
        }
        assert_eq!(seen, facts.len(), "a slot is in no segment");
    }

    fn count(&self, slot: u32) -> u32 {
        self.marks[slot as usize].count()
    }

    fn main_tail(&self, keep: u32) -> u32 {
        match self.links.tail_except(&self.lists[PROBATION].order, keep) {
            NIL => self.links.tail_except(&self.lists[PROTECTED].order, keep),
            slot => slot,
        }
    }

    /// Moves a used entry to the newest end: of its own segment, or from probation to protected.
    fn promote(&mut self, slot: u32, segment: usize, facts: &Facts) {
        if segment != PROBATION {
            self.links.move_to_head(&mut self.lists[segment].order, slot);
            self.stamp(slot, segment);
            return;
        }
        self.move_to(slot, PROTECTED, facts);
    }

    /// Lets a protected part that is too large give its oldest back to probation. Only when something must leave:
    /// where all is hits, nothing is moved to and fro.
    fn demote(&mut self, facts: &Facts) {
        let main = self.share.saturating_sub(self.window);
        for _ in 0..DEMOTIONS {
            let tail = self.lists[PROTECTED].order.tail;
            if self.lists[PROTECTED].weight <= main - main / 5 || tail == NIL {
                break;
            }
            self.move_to(tail, PROBATION, facts);
        }
    }

    /// Lets a window that is too wide give its oldest to probation.
    fn narrow(&mut self, most: usize, facts: &Facts) {
        for _ in 0..most {
            if self.lists[WINDOW].weight <= self.window || self.lists[WINDOW].order.len == 1 {
                break;
            }
            self.move_to(self.lists[WINDOW].order.tail, PROBATION, facts);
        }
    }

    fn move_to(&mut self, slot: u32, segment: usize, facts: &Facts) {
        self.leave(slot, facts);
        self.enter(slot, segment, facts);
    }

    fn enter(&mut self, slot: u32, segment: usize, facts: &Facts) {
        let list = &mut self.lists[segment];
        self.links.push_head(&mut list.order, slot);
        list.weight += facts.weight(slot);
        list.turned += 1;
        if list.turned > list.order.len / 16 {
            list.turned = 0;
            list.stamp = (list.stamp + 1) & STAMP_MASK;
        }
        self.stamp(slot, segment);
    }

    fn leave(&mut self, slot: u32, facts: &Facts) {
        let list = &mut self.lists[self.marks[slot as usize].segment()];
        self.links.unlink(&mut list.order, slot);
        list.weight -= facts.weight(slot);
    }

    /// Notes where and when a slot has moved.
    fn stamp(&mut self, slot: u32, segment: usize) {
        let (count, stamp) = (self.count(slot), self.lists[segment].stamp);
        self.marks[slot as usize] = Mark::new(segment, count, stamp);
    }

    #[inline]
    fn accessed(&mut self) {
        self.accesses += 1;
        if self.accesses > self.aging_at {
            self.age();
        }
    }

    /// Halves all counts. Residents' are rounded up: whoever stays counts for more than a stranger.
    #[cold]
    fn age(&mut self) {
        self.accesses /= 2;
        self.sketch.halve();
        for mark in &mut self.marks {
            mark.0 -= mark.0 >> 1 & HALF_COUNT;
        }
    }
}
