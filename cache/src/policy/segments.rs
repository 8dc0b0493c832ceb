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
//! Cost: O(1); the halving is done by the insertions that follow, [`HALVED_AT_ONCE`] slots each. 8 bytes an entry for links, 2 for
//! the mark (see [`Facts`]) and the sketch's 4 to 8.

use super::facts::{Mark, NO_TIME, STAMPS};
use super::{Facts, Victim};
use crate::links::{Links, List, NIL};
use crate::sketch::Sketch;

pub(crate) struct Segments {
    links: Links,
    lists: [Segment; 3],
    sketch: Sketch,
    /// Entries that came or were written since the counts were halved, and the hits there had been by then.
    writes: u64,
    hits_at_aging: u64,
    /// Slots halved already, while halving is under way.
    halved: usize,
    /// Weight this shard may expect to hold.
    share: u64,
    /// Weight the window may hold.
    window: u64,
}

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const PROTECTED: usize = 2;

/// Accesses for each entry until counts are halved: at the next insertion, for where nothing comes nothing competes.
const PERIOD: u64 = 10;
/// A part of a list that is renewed before a hit moves its entry again.
const TURN: u32 = 4;
/// Slots halved for one insertion, so that none waits for all of them.
const HALVED_AT_ONCE: usize = 256;
/// A window too wide is narrowed by so many entries for each insertion, and each eviction.
const NARROWING: usize = 8;
/// Entries demoted for one eviction, at most.
const DEMOTIONS: usize = 64;

/// One list, what it holds, and how far it has turned over.
#[derive(Clone, Copy)]
struct Segment {
    order: List,
    weight: u64,
    turned: u32,
}

impl Segments {
    pub(crate) fn new(share: u64, window: u64) -> Self {
        let empty = Segment { order: List::EMPTY, weight: 0, turned: 0 };
        Self {
            links: Links::default(),
            lists: [empty; 3],
            sketch: Sketch::default(),
            writes: 0,
            hits_at_aging: 0,
            halved: usize::MAX,
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

    /// An entry with this hash may follow, and another leave for it: begins to fetch what that will need. The fetches
    /// run side by side, where the loads proper would wait for each other.
    pub(crate) fn foresee<T>(&self, hash: u32, facts: &Facts<T>) {
        self.sketch.fetch(hash);
        self.lists[..PROTECTED].iter().for_each(|list| facts.fetch(list.order.tail));
    }

    pub(crate) fn foresee_leave<T>(&self, slot: u32, facts: &Facts<T>) {
        self.sketch.fetch(facts.hash(slot));
    }

    #[inline]
    pub(crate) fn inserted<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        // Whoever is hit on probation moves, whatever the time.
        facts.clocks[PROBATION] = NO_TIME;
        self.links.open(slot);
        let count = self.sketch.estimate(facts.hash(slot)) + 1;
        self.enter(slot, WINDOW, count, facts);
        let total: u64 = self.lists.iter().map(|list| list.weight).sum();
        if total <= self.share && self.lists[WINDOW].weight > self.window {
            // While there is room, the window's overflow walks in without a contest.
            self.narrow(facts);
        }
        self.wrote(facts);
    }

    /// Moves a used entry, if it is due: to the newest end of its own segment, or from probation to protected.
    #[inline]
    pub(crate) fn used<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        let mark = facts.mark(slot);
        let segment = mark.segment();
        if segment == PROBATION {
            self.move_to(slot, PROTECTED, facts);
        } else if mark.stamp() != facts.clocks[segment] {
            self.links.move_to_head(&mut self.lists[segment].order, slot);
            Self::stamp(slot, segment, mark.uses(), facts);
        }
    }

    pub(crate) fn overwritten<T>(&mut self, slot: u32, old_weight: u64, facts: &mut Facts<T>) {
        let held = &mut self.lists[facts.mark(slot).segment()].weight;
        *held = *held - old_weight + facts.weight(slot);
        facts.raise(slot);
        self.used(slot, facts);
        self.wrote(facts);
    }

    #[inline(always)]
    pub(crate) fn victim<T>(&mut self, keep: u32, facts: &mut Facts<T>) -> Option<Victim> {
        self.sketch.widen(facts.len());
        if self.lists[WINDOW].weight > self.window {
            self.narrow(facts);
        }
        let main = self.share.saturating_sub(self.window);
        if self.lists[PROTECTED].weight > main - main / 5 {
            self.demote(main - main / 5, facts);
        }
        let candidate = self.links.tail_except(&self.lists[WINDOW].order, keep);
        let resident = self.main_tail(keep);
        if resident == NIL {
            return (candidate != NIL).then_some(Victim { slot: candidate, rejected: false });
        }
        if candidate == NIL || self.lists[WINDOW].weight < self.window {
            return Some(Victim { slot: resident, rejected: false });
        }
        if facts.mark(candidate).uses() > facts.mark(resident).uses() {
            self.move_to(candidate, PROBATION, facts);
            Some(Victim { slot: resident, rejected: false })
        } else {
            Some(Victim { slot: candidate, rejected: true })
        }
    }

    #[inline]
    pub(crate) fn removed<T>(&mut self, slot: u32, facts: &Facts<T>) {
        self.sketch.raise(facts.hash(slot), facts.mark(slot).uses());
        self.leave(slot, facts);
    }

    pub(crate) fn close<T>(&mut self, hole: u32, last: u32, facts: &Facts<T>) {
        if hole != last {
            self.links.renumber(&mut self.lists[facts.mark(last).segment()].order, last, hole);
        }
        self.links.pop();
    }

    pub(crate) fn reserve(&mut self, slots: usize) {
        self.links.reserve(slots);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.share, self.window);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.links.heap_bytes() + self.sketch.heap_bytes()
    }

    pub(crate) fn validate<T>(&self, facts: &Facts<T>) {
        assert_eq!(self.links.len(), facts.len());
        let mut seen = 0;
        for (id, segment) in self.lists.iter().enumerate() {
            let members = self.links.validate(&segment.order);
            assert!(members.iter().all(|slot| facts.mark(*slot).segment() == id));
            let weight: u64 = members.iter().map(|slot| facts.weight(*slot)).sum();
            assert_eq!(weight, segment.weight, "segment {id} holds another weight");
            seen += members.len();
        }
        assert_eq!(seen, facts.len(), "a slot is in no segment");
    }

    #[inline]
    fn main_tail(&self, keep: u32) -> u32 {
        match self.links.tail_except(&self.lists[PROBATION].order, keep) {
            NIL => self.links.tail_except(&self.lists[PROTECTED].order, keep),
            slot => slot,
        }
    }

    /// Lets a protected part that is too large give its oldest back to probation. Only when something must leave:
    /// where all is hits, nothing is moved to and fro.
    #[inline(never)]
    fn demote<T>(&mut self, most: u64, facts: &mut Facts<T>) {
        for _ in 0..DEMOTIONS {
            let tail = self.lists[PROTECTED].order.tail;
            if self.lists[PROTECTED].weight <= most || tail == NIL {
                break;
            }
            self.move_to(tail, PROBATION, facts);
        }
    }

    /// Lets a window that is too wide give its oldest to probation.
    #[inline(never)]
    fn narrow<T>(&mut self, facts: &mut Facts<T>) {
        for _ in 0..NARROWING {
            if self.lists[WINDOW].weight <= self.window || self.lists[WINDOW].order.len == 1 {
                break;
            }
            self.move_to(self.lists[WINDOW].order.tail, PROBATION, facts);
        }
    }

    fn move_to<T>(&mut self, slot: u32, segment: usize, facts: &mut Facts<T>) {
        self.leave(slot, facts);
        self.enter(slot, segment, facts.mark(slot).uses(), facts);
    }

    #[inline(always)]
    fn enter<T>(&mut self, slot: u32, segment: usize, uses: u32, facts: &mut Facts<T>) {
        let list = &mut self.lists[segment];
        self.links.push_head(&mut list.order, slot);
        list.weight += facts.weight(slot);
        list.turned += 1;
        if list.turned > list.order.len / TURN {
            list.turned = 0;
            if segment != PROBATION {
                facts.clocks[segment] = (facts.clocks[segment] + 1) % STAMPS;
            }
        }
        Self::stamp(slot, segment, uses, facts);
    }

    #[inline(always)]
    fn leave<T>(&mut self, slot: u32, facts: &Facts<T>) {
        let list = &mut self.lists[facts.mark(slot).segment()];
        self.links.unlink(&mut list.order, slot);
        list.weight -= facts.weight(slot);
    }

    /// Notes where and when a slot has moved.
    #[inline(always)]
    fn stamp<T>(slot: u32, segment: usize, uses: u32, facts: &mut Facts<T>) {
        let stamp = if segment == PROBATION { 0 } else { facts.clocks[segment] };
        facts.set_mark(slot, Mark::new(segment, uses, stamp));
    }

    #[inline]
    fn wrote<T>(&mut self, facts: &mut Facts<T>) {
        self.writes += 1;
        let period = PERIOD * facts.len() as u64;
        if self.halved >= facts.len() && self.writes + (facts.hits - self.hits_at_aging) > period {
            // Halved too: what was counted is worth half as much.
            (self.writes, self.hits_at_aging, self.halved) = (period / 2, facts.hits, 0);
        }
        if self.halved < facts.len() {
            self.age(facts);
        }
    }

    /// Halves the counts of the next slots, and of as great a part of the sketch. Residents' are rounded up: whoever
    /// stays counts for more than a stranger.
    #[cold]
    fn age<T>(&mut self, facts: &mut Facts<T>) {
        let (from, to, all) = (self.halved, (self.halved + HALVED_AT_ONCE).min(facts.len()), facts.len());
        facts.halve_uses(from..to);
        self.sketch.halve(from, to, all);
        self.halved = if to == all { usize::MAX } else { to };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard full of entries that came in the order of their slots.
    fn full(share: u64, window: u64) -> (Segments, Facts<()>) {
        let (mut segments, mut facts) = (Segments::new(share, window), Facts::new(false, true));
        for slot in 0..share as u32 {
            facts.push((), slot, 1);
            segments.inserted(slot, &mut facts);
        }
        segments.validate(&facts);
        (segments, facts)
    }

    #[test]
    fn a_window_is_never_nothing_nor_more_than_all() {
        let mut segments = Segments::new(10, 0);
        assert_eq!(segments.window(), 1);
        for (asked, got) in [(0, 1), (7, 7), (11, 10), (u64::MAX, 10)] {
            segments.set_window(asked);
            assert_eq!(segments.window(), got);
        }
        segments.set_window(5);
        segments.set_share(100);
        assert_eq!((segments.share(), segments.window()), (100, 50), "it keeps its proportion");
        segments.set_share(0);
        assert_eq!(segments.window(), 1, "one entry may still come");
    }

    /// What an insertion does is counted: when the window must become narrow, a few entries at a time leave it.
    #[test]
    fn no_insertion_moves_more_than_a_few_entries() {
        let (mut segments, mut facts) = full(1000, 1000);
        assert_eq!(segments.lists[WINDOW].weight, 1000);
        segments.set_window(10);
        // Half of them are gone, as if they had died: there is room, and no eviction.
        for slot in (500..1000).rev() {
            segments.removed(slot, &facts);
            segments.close(slot, slot, &facts);
            facts.swap_remove(slot);
        }
        for slot in 500..550 {
            let before = segments.lists[WINDOW].weight;
            facts.push((), slot, 1);
            segments.inserted(slot, &mut facts);
            assert_eq!(segments.lists[WINDOW].weight, before + 1 - NARROWING as u64);
        }
        segments.validate(&facts);
    }

    #[test]
    fn what_is_protected_too_much_goes_back_to_probation_a_few_at_a_time() {
        let (mut segments, mut facts) = full(1000, 10);
        for slot in 0..990 {
            segments.used(slot, &mut facts);
        }
        assert_eq!(segments.lists[PROTECTED].weight, 990);
        for left in [990 - 64, 990 - 128, 990 - 192, 792, 792] {
            assert!(segments.victim(NIL, &mut facts).is_some());
            assert_eq!(segments.lists[PROTECTED].weight, left, "four fifths of the main part may stay");
        }
        segments.validate(&facts);
    }

    #[test]
    fn counts_are_halved_after_ten_accesses_for_each_entry_some_at_a_time() {
        let (mut segments, mut facts) = full(600, 60);
        (0..600).for_each(|slot| facts.set_mark(slot, Mark::new(facts.mark(slot).segment(), 9, 0)));
        segments.sketch.widen(600);
        segments.sketch.raise(1234, 8);
        let halved = |facts: &Facts<()>| (0..600).filter(|slot| facts.mark(*slot).uses() < 9).count();
        // 600 writes so far; the next two make the accesses 6,000 and one more.
        facts.hits = 5399;
        segments.wrote(&mut facts);
        assert_eq!(halved(&facts), 0);
        for expected in [256, 512, 600, 600] {
            segments.wrote(&mut facts);
            assert_eq!(halved(&facts), expected);
        }
        assert!((0..600).all(|slot| facts.mark(slot).uses() == 5), "rounded up, and halved but once");
        assert_eq!(segments.sketch.estimate(1234), 4, "the absent are forgotten by half, too");
        // What was counted is worth half: 3,000, and three came since.
        facts.hits += 2996;
        segments.wrote(&mut facts);
        assert_eq!(facts.mark(0).uses(), 3 + 2, "not yet");
        segments.wrote(&mut facts);
        assert_eq!(facts.mark(0).uses(), 3);
    }
}
