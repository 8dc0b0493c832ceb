//! Deadlines: a hierarchical timing wheel, turned by the operations themselves.
//!
//! ```text
//!     level 0   64 buckets of ≈ 1 ms      ─┐ an entry waits in the coarsest bucket that still tells its deadline
//!     level 1   64 buckets of ≈ 67 ms      │ from now, and moves one level down each time that bucket comes up:
//!     level 2   64 buckets of ≈ 4.3 s      │ at most 8 moves in 584 years
//!     …                                   ─┘
//! ```
//!
//! The wheel only decides when an entry's *room* is given back. Whether an entry is dead is decided by its deadline,
//! to the nanosecond, at each look. Each call does a bounded number of steps and resumes where it stopped, so a
//! million entries dying at one instant are carried off a few at a time. A deadline pushed back (idle time-outs)
//! moves nothing until its bucket comes up.
//!
//! Cost: O(1) amortised. 16 bytes an entry (24 with idle time-outs) and 2 KiB a shard, from the first entry
//! that can expire.

use crate::links::NIL;

/// A deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

const TICK_SHIFT: u32 = 20;
const LEVEL_BITS: u32 = 6;
const BUCKETS: usize = 1 << LEVEL_BITS;
/// 8 × 6 bits of ticks and 20 of nanoseconds cover all of `u64`.
const LEVELS: usize = 8;
/// `prev` of the first timer of bucket b is `FIRST + b`.
const FIRST: u32 = NIL - (LEVELS * BUCKETS) as u32;

#[derive(Clone, Copy, Debug)]
struct Timer {
    deadline: u64,
    prev: u32,
    next: u32,
}

impl Timer {
    const IDLE: Self = Self { deadline: NEVER, prev: NIL, next: NIL };
}

/// The deadlines of one shard.
#[derive(Debug)]
pub(crate) struct Wheel {
    timers: Vec<Timer>,
    heads: [[u32; BUCKETS]; LEVELS],
    occupied: [u64; LEVELS],
    /// Everything before this tick has been carried off or moved down.
    tick: u64,
    /// An entry dies after so long without use; `NEVER` if not.
    idle: u64,
    /// With `idle`: the end of each entry's life, however often it is used.
    ends: Vec<u64>,
}

impl Wheel {
    pub(crate) fn new(slots: usize, idle: u64, now: u64) -> Self {
        Self {
            timers: vec![Timer::IDLE; slots],
            heads: [[NIL; BUCKETS]; LEVELS],
            occupied: [0; LEVELS],
            tick: now >> TICK_SHIFT,
            idle,
            ends: if idle == NEVER { Vec::new() } else { vec![NEVER; slots] },
        }
    }

    pub(crate) fn reserve(&mut self, slots: usize) {
        self.timers.reserve_exact(slots.saturating_sub(self.timers.len()));
        if self.idle != NEVER {
            self.ends.reserve_exact(slots.saturating_sub(self.ends.len()));
        }
    }

    #[inline]
    pub(crate) fn deadline(&self, slot: u32) -> u64 {
        self.timers[slot as usize].deadline
    }

    /// An entry that must end by `end` lives in `slot`, a vacated slot or the next new one.
    pub(crate) fn inserted(&mut self, slot: u32, end: u64, now: u64) {
        if slot as usize == self.timers.len() {
            self.timers.push(Timer::IDLE);
            if self.idle != NEVER {
                self.ends.push(NEVER);
            }
        }
        if self.idle != NEVER {
            self.ends[slot as usize] = end;
        }
        let deadline = end.min(now.saturating_add(self.idle));
        self.timers[slot as usize] = Timer { deadline, ..Timer::IDLE };
        self.place(slot);
    }

    /// The entry in `slot` was used: its idle time starts again. The wheel notices when the old deadline comes up.
    #[inline]
    pub(crate) fn used(&mut self, slot: u32, now: u64) {
        if self.idle != NEVER {
            let deadline = now.saturating_add(self.idle).min(self.ends[slot as usize]);
            let timer = &mut self.timers[slot as usize];
            timer.deadline = timer.deadline.max(deadline);
        }
    }

    /// The entry in `slot` has left.
    pub(crate) fn removed(&mut self, slot: u32) {
        let Timer { prev, next, .. } = self.timers[slot as usize];
        self.timers[slot as usize] = Timer::IDLE;
        match prev {
            NIL => return,
            FIRST.. => self.set_head((prev - FIRST) as usize, next),
            prev => self.timers[prev as usize].next = next,
        }
        if next != NIL {
            self.timers[next as usize].prev = prev;
        }
    }

    /// The last slot's entry moves into the vacated slot `hole`; if that is the last slot, it only ends.
    pub(crate) fn close(&mut self, hole: u32, last: u32) {
        if hole != last {
            let timer = self.timers[last as usize];
            self.timers[hole as usize] = timer;
            match timer.prev {
                NIL => {}
                FIRST.. => self.set_head((timer.prev - FIRST) as usize, hole),
                prev => self.timers[prev as usize].next = hole,
            }
            if timer.next != NIL {
                self.timers[timer.next as usize].prev = hole;
            }
        }
        if self.idle != NEVER {
            self.ends.swap_remove(hole as usize);
        }
        self.timers.pop();
    }

    /// The next dead slot, already out of the wheel; `None` when there is none or the steps are used up.
    pub(crate) fn next_dead(&mut self, now: u64, steps: &mut u32) -> Option<u32> {
        let now_tick = now >> TICK_SHIFT;
        if now_tick < self.tick {
            return None;
        }
        while *steps > 0 {
            let Some(slot) = self.pop_present() else {
                if !self.turn(now_tick) {
                    return None;
                }
                continue;
            };
            *steps -= 1;
            if self.timers[slot as usize].deadline <= now {
                return Some(slot);
            }
            self.place(slot);
        }
        None
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.timers.capacity() * size_of::<Timer>()
            + self.ends.capacity() * size_of::<u64>()
            + size_of::<Self>()
    }

    /// The slots that are dead at `now` though their tick, rounded up, is not over. They hang in the buckets that hold
    /// that tick, one in each level.
    pub(crate) fn dead_in_present_tick(&self, now: u64) -> impl Iterator<Item = u32> + '_ {
        let tick = (now >> TICK_SHIFT) + 1;
        let heads = (0..LEVELS).map(move |level| {
            let bucket = (tick >> (LEVEL_BITS * level as u32)) as usize & (BUCKETS - 1);
            self.heads[level][bucket]
        });
        let some = |slot: u32| (slot != NIL).then_some(slot);
        let list =
            move |head| std::iter::successors(some(head), move |slot| some(self.timers[*slot as usize].next));
        heads.flat_map(list).filter(move |slot| self.deadline(*slot) <= now)
    }

    /// Takes a timer out of a bucket the present tick lies in.
    fn pop_present(&mut self) -> Option<u32> {
        for level in 0..LEVELS {
            let bucket = self.present_bucket(level);
            let slot = self.heads[level][bucket];
            if slot != NIL {
                let deadline = self.deadline(slot);
                self.removed(slot);
                self.timers[slot as usize].deadline = deadline;
                return Some(slot);
            }
        }
        None
    }

    /// Goes on to the next occupied bucket that begins by `now_tick`; false when there is none.
    fn turn(&mut self, now_tick: u64) -> bool {
        for level in 0..LEVELS {
            let ahead = self.occupied[level] & (u64::MAX << self.present_bucket(level));
            if ahead != 0 {
                let shift = LEVEL_BITS * level as u32;
                let window = (self.tick >> shift) & !(BUCKETS as u64 - 1);
                let begins = (window | u64::from(ahead.trailing_zeros())) << shift;
                if begins > now_tick {
                    break;
                }
                self.tick = begins;
                return true;
            }
        }
        // Nothing begins before now: go there at once, so that new deadlines are placed finely.
        self.tick = self.tick.max(now_tick);
        false
    }

    fn present_bucket(&self, level: usize) -> usize {
        (self.tick >> (LEVEL_BITS * level as u32)) as usize & (BUCKETS - 1)
    }

    /// Puts an unplaced timer into the bucket of its deadline, rounded up to a whole tick.
    fn place(&mut self, slot: u32) {
        let deadline = self.deadline(slot);
        if deadline == NEVER {
            return;
        }
        let tick = deadline.div_ceil(1 << TICK_SHIFT).max(self.tick);
        let differs = (tick ^ self.tick) | 1;
        let level = ((u64::BITS - 1 - differs.leading_zeros()) / LEVEL_BITS) as usize;
        let bucket = (tick >> (LEVEL_BITS * level as u32)) as usize & (BUCKETS - 1);
        let head = self.heads[level][bucket];
        let id = level * BUCKETS + bucket;
        let timer = &mut self.timers[slot as usize];
        (timer.prev, timer.next) = (FIRST + id as u32, head);
        if head != NIL {
            self.timers[head as usize].prev = slot;
        }
        self.set_head(id, slot);
    }

    fn set_head(&mut self, id: usize, slot: u32) {
        let (level, bucket) = (id / BUCKETS, id % BUCKETS);
        self.heads[level][bucket] = slot;
        let bit = 1 << bucket;
        if slot == NIL { self.occupied[level] &= !bit } else { self.occupied[level] |= bit }
    }

    /// Panics unless every timer with a deadline hangs in exactly one bucket, not behind the present.
    pub(crate) fn validate(&self, slots: usize) {
        assert_eq!(self.timers.len(), slots);
        let mut placed = 0;
        for id in 0..LEVELS * BUCKETS {
            let (mut prev, mut at) = (FIRST + id as u32, self.heads[id / BUCKETS][id % BUCKETS]);
            assert_eq!(at != NIL, self.occupied[id / BUCKETS] >> (id % BUCKETS) & 1 == 1);
            while at != NIL {
                let timer = self.timers[at as usize];
                assert_eq!(timer.prev, prev, "timer {at} points back to the wrong neighbour");
                placed += 1;
                assert!(placed <= slots, "a bucket has a loop");
                (prev, at) = (at, timer.next);
            }
        }
        let waiting = self.timers.iter().filter(|timer| timer.deadline != NEVER).count();
        assert_eq!(placed, waiting, "a deadline hangs in no bucket");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TICK: u64 = 1 << TICK_SHIFT;

    fn drain(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut steps = u32::MAX;
        let mut dead = Vec::new();
        while let Some(slot) = wheel.next_dead(now, &mut steps) {
            dead.push(slot);
        }
        dead.sort_unstable();
        dead
    }

    proptest! {
        // Deadlines and looks anywhere in 64 bits: all the dead come out at the next whole tick, none early.
        #[test]
        fn dead_come_out_on_time(
            start in any::<u64>(),
            steps in prop::collection::vec((0..64u32, any::<u64>(), 0..64u32, any::<u64>()), 1..60)
        ) {
            let mut now = start >> 1;
            let mut wheel = Wheel::new(0, NEVER, now);
            let mut waiting = std::collections::BTreeMap::new();
            for (slot, (after_shift, after, pass_shift, pass)) in steps.into_iter().enumerate() {
                let deadline = now.saturating_add((after >> after_shift).max(1));
                wheel.inserted(slot as u32, deadline, now);
                waiting.insert(slot as u32, deadline);
                wheel.validate(slot + 1);
                now = now.saturating_add(pass >> pass_shift);
                let dead = drain(&mut wheel, now);
                for slot in &dead {
                    wheel.removed(*slot);
                    prop_assert!(waiting.remove(slot).is_some_and(|deadline| deadline <= now));
                }
                wheel.validate(slot + 1);
                prop_assert!(waiting.values().all(|deadline| *deadline == NEVER || *deadline > now / TICK * TICK));
            }
        }
    }

    #[test]
    fn work_is_bounded_and_resumes() {
        let mut wheel = Wheel::new(0, NEVER, 0);
        for slot in 0..1000 {
            wheel.inserted(slot, 7 * TICK, 0);
        }
        let mut seen = 0;
        for _ in 0..100 {
            let mut steps = 10;
            while wheel.next_dead(100 * TICK, &mut steps).is_some() {
                seen += 1;
            }
        }
        assert_eq!(seen, 1000);
    }

    /// All that one call may do is counted: timers that leave the wheel or move in it.
    #[test]
    fn no_call_touches_more_timers_than_it_has_steps() {
        // Far away, so that they come down through the levels one after the other, and in many buckets at once.
        let mut wheel = Wheel::new(0, NEVER, 0);
        (0..3000).for_each(|slot| wheel.inserted(slot, (1_000_000 + u64::from(slot % 70)) * TICK, 0));
        let hangs = |wheel: &Wheel| {
            let mut bucket = vec![None; 3000];
            for (level, heads) in wheel.heads.iter().enumerate() {
                for (at, head) in heads.iter().enumerate() {
                    let mut slot = *head;
                    while slot != NIL {
                        bucket[slot as usize] = Some((level, at));
                        slot = wheel.timers[slot as usize].next;
                    }
                }
            }
            bucket
        };
        let (mut dead, mut touched, mut before) = (0, 0, hangs(&wheel));
        for tick in 999_900..1_000_070 {
            loop {
                let mut steps = 8;
                while let Some(slot) = wheel.next_dead(tick * TICK, &mut steps) {
                    wheel.removed(slot);
                    dead += 1;
                }
                let after = hangs(&wheel);
                let now = before.iter().zip(&after).filter(|(before, after)| before != after).count();
                assert!(now <= 8, "{now} timers at once");
                (touched, before) = (touched + now, after);
                if now == 0 {
                    break;
                }
            }
        }
        assert_eq!(dead, 3000);
        assert!(touched >= 6000, "each came down a level before it died");
        wheel.validate(3000);
    }

    #[test]
    fn who_read_the_clock_too_early_finds_nothing_and_does_nothing() {
        let mut wheel = Wheel::new(0, NEVER, 0);
        assert_eq!(drain(&mut wheel, 10 * TICK), [] as [u32; 0]);
        wheel.inserted(0, 10 * TICK, 10 * TICK);
        let mut steps = 5;
        assert_eq!(wheel.next_dead(10 * TICK - 1, &mut steps), None);
        assert_eq!(steps, 5);
        assert_eq!(drain(&mut wheel, 10 * TICK), [0], "at that very instant it is found");
    }

    #[test]
    fn postponed_deadline_stays_until_it_comes() {
        let mut wheel = Wheel::new(0, 5 * TICK, 0);
        wheel.inserted(0, 500 * TICK, 0);
        wheel.used(0, 3 * TICK);
        // Of two who use it, the one who read the clock earlier may come later.
        wheel.used(0, TICK);
        assert_eq!(drain(&mut wheel, 7 * TICK), [] as [u32; 0]);
        assert_eq!(drain(&mut wheel, 8 * TICK), [0]);
        wheel.inserted(0, 10 * TICK, 8 * TICK);
        wheel.used(0, 9 * TICK);
        assert_eq!(drain(&mut wheel, 10 * TICK), [0], "however often it is used");
    }
}
