//! Turns by weight when the whole order is too long to lay out: worked out as they are taken.
//!
//! Member i is owed its (k+1)-th turn in a window: not before turn ⌊k · W / wᵢ⌋, and by turn ⌈(k+1) · W / wᵢ⌉. Whoever
//! gives each turn to the member whose window is open and closes first keeps everybody within less than one of his
//! quota at every moment (S. Baruah et al., "Proportionate progress", 1996).
//!
//! ```text
//!     ticket t ─► slot t mod 4096 ─► written for t?  yes ─► the member
//!                                                    no  ─► work ahead, or draw by weight
//!
//!     work ahead: one thread at a time, who fills slots up to half a round before the tickets
//! ```
//!
//! A thread that finds the work taken goes on without it, so nobody waits; the others are half a round ahead of the
//! tickets. Only if the worker is stopped for more than 2,048 picks are turns drawn by lot instead, and the quota is
//! missed by as many. Cost: O(log members) a turn. Memory: 16 bytes a member and 32 KB.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// The turns of members by weight, without end.
#[derive(Debug)]
pub(super) struct FairTurns {
    /// Ticket + 1 and member (16 bits) of the turns worked out.
    slots: Box<[AtomicU64]>,
    work: Work,
    is_taken: AtomicBool,
}

/// What only the worker looks at: plain numbers, in atomics because the lock around them is one too.
#[derive(Debug)]
struct Work {
    who: Box<[u16]>,
    weights: Box<[u32]>,
    total: u64,
    /// Turns each has had in this period.
    had: Box<[AtomicU64]>,
    /// Heaps of indices into `who`: those whose window is open, by its end; the others, by its beginning.
    open: Heap,
    waiting: Heap,
    /// The next turn to work out; `turn` modulo the period of `total` turns is when windows are counted from.
    turn: AtomicU64,
}

impl FairTurns {
    /// Of members (16-bit indices) and their weights.
    pub(super) fn new(members: Vec<(u16, u32)>) -> Self {
        let (who, weights): (Vec<u16>, Vec<u32>) = members.into_iter().unzip();
        let total = weights.iter().map(|&weight| u64::from(weight)).sum();
        let work = Work {
            had: who.iter().map(|_| AtomicU64::new(0)).collect(),
            open: Heap::new(who.len()),
            waiting: Heap::new(who.len()),
            turn: AtomicU64::new(0),
            who: who.into(),
            weights: weights.into(),
            total,
        };
        work.begin_period();
        let turns = Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            work,
            is_taken: AtomicBool::new(false),
        };
        turns.work_ahead(0);
        turns
    }

    /// Whose turn this ticket is, if it has been worked out.
    #[inline]
    pub(super) fn turn(&self, ticket: u64) -> Option<usize> {
        let slot = &self.slots[(ticket % SLOTS) as usize];
        if let Some(index) = read(slot, ticket) {
            // Mostly one new turn for each one taken.
            if self.work.turn.load(Ordering::Relaxed) < ticket + SLOTS / 2 {
                self.work_ahead(ticket);
            }
            return Some(index);
        }
        self.work_ahead(ticket);
        read(slot, ticket)
    }

    /// How many turns make a whole rotation.
    pub(super) fn period(&self) -> u64 {
        self.work.total
    }

    fn work_ahead(&self, ticket: u64) {
        if self.is_taken.swap(true, Ordering::Acquire) {
            return;
        }
        let from = self.work.turn.load(Ordering::Relaxed);
        for turn in from..ticket + SLOTS / 2 + STRIDE {
            let index = self.work.next(turn);
            self.slots[(turn % SLOTS) as usize].store((turn + 1) << 16 | u64::from(index), Ordering::Release);
            self.work.turn.store(turn + 1, Ordering::Relaxed);
        }
        self.is_taken.store(false, Ordering::Release);
    }
}

fn read(slot: &AtomicU64, ticket: u64) -> Option<usize> {
    let word = slot.load(Ordering::Acquire);
    (word >> 16 == ticket + 1).then_some((word & 0xffff) as usize)
}

impl Work {
    /// After `total` turns everybody has had exactly his, and all windows begin anew: the numbers stay small.
    fn begin_period(&self) {
        self.open.clear();
        self.waiting.clear();
        for at in 0..self.who.len() {
            self.had[at].store(0, Ordering::Relaxed);
            self.waiting.push(at, |at| self.begins(at));
        }
    }

    fn next(&self, turn: u64) -> u16 {
        let turn = turn % self.total;
        if turn == 0 {
            self.begin_period();
        }
        while let Some(at) = self.waiting.first().filter(|&at| self.begins(at) <= turn) {
            self.waiting.pop(|at| self.begins(at));
            self.open.push(at, |at| self.ends(at));
        }
        // The windows that are open always hold as many turns as have come: somebody is there.
        let at = self.open.pop(|at| self.ends(at)).unwrap_or(0);
        self.had[at].fetch_add(1, Ordering::Relaxed);
        self.waiting.push(at, |at| self.begins(at));
        self.who[at]
    }

    /// At most 2^16 turns had and 2^32 of total weight: no overflow.
    fn begins(&self, at: usize) -> u64 {
        self.had[at].load(Ordering::Relaxed) * self.total / u64::from(self.weights[at])
    }

    fn ends(&self, at: usize) -> u64 {
        ((self.had[at].load(Ordering::Relaxed) + 1) * self.total).div_ceil(u64::from(self.weights[at]))
    }
}

/// A binary heap of small numbers; the least key is first, of equal keys the least number.
#[derive(Debug)]
struct Heap {
    items: Box<[AtomicU64]>,
    len: AtomicU64,
}

impl Heap {
    fn new(room: usize) -> Self {
        Self { items: (0..room).map(|_| AtomicU64::new(0)).collect(), len: AtomicU64::new(0) }
    }

    fn clear(&self) {
        self.len.store(0, Ordering::Relaxed);
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    fn at(&self, place: usize) -> usize {
        self.items[place].load(Ordering::Relaxed) as usize
    }

    fn first(&self) -> Option<usize> {
        (self.len() > 0).then(|| self.at(0))
    }

    fn swap(&self, a: usize, b: usize) {
        let (x, y) = (self.at(a), self.at(b));
        self.items[a].store(y as u64, Ordering::Relaxed);
        self.items[b].store(x as u64, Ordering::Relaxed);
    }

    fn push(&self, item: usize, key: impl Fn(usize) -> u64) {
        let mut place = self.len();
        self.items[place].store(item as u64, Ordering::Relaxed);
        self.len.store(place as u64 + 1, Ordering::Relaxed);
        let rank = |place: usize| (key(self.at(place)), self.at(place));
        while place > 0 && rank(place) < rank((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn pop(&self, key: impl Fn(usize) -> u64) -> Option<usize> {
        let first = self.first()?;
        let len = self.len() - 1;
        self.swap(0, len);
        self.len.store(len as u64, Ordering::Relaxed);
        let rank = |place: usize| (key(self.at(place)), self.at(place));
        let mut place = 0;
        while let Some(least) =
            [2 * place + 1, 2 * place + 2].into_iter().filter(|&c| c < len).min_by_key(|&c| rank(c))
            && rank(least) < rank(place)
        {
            self.swap(place, least);
            place = least;
        }
        Some(first)
    }
}

const SLOTS: u64 = 4096;
/// Turns worked out in one go.
const STRIDE: u64 = 16;

#[cfg(test)]
mod tests {
    use super::FairTurns;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn everybody_stays_within_one_of_his_quota(weights in prop::collection::vec(1_u32..600, 1..30)) {
            let total = f64::from(weights.iter().sum::<u32>());
            let turns = FairTurns::new((0..).zip(weights.iter().copied()).collect());
            let mut had = vec![0_f64; weights.len()];
            for ticket in 0..2 * total as u64 {
                had[turns.turn(ticket).unwrap()] += 1.0;
                for (had, &weight) in had.iter().zip(&weights).take(if ticket % 97 == 0 { 40 } else { 4 }) {
                    let quota = (ticket + 1) as f64 * f64::from(weight) / total;
                    prop_assert!((had - quota).abs() < 1.0 + 1e-9, "turn {}: {} of {}", ticket, had, quota);
                }
            }
        }
    }

    #[test]
    fn threads_share_turns_without_loss() {
        let turns = FairTurns::new(vec![(0, 65_535), (1, 30_000), (2, 7)]);
        let next = std::sync::atomic::AtomicU64::new(0);
        let counts: Vec<[u64; 3]> = std::thread::scope(|scope| {
            let count = || {
                let mut counts = [0; 3];
                for _ in 0..95_542 {
                    let ticket = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if let Some(index) = turns.turn(ticket) {
                        counts[index] += 1;
                    }
                }
                counts
            };
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let sum = |n: usize| counts.iter().map(|counts| counts[n]).sum::<u64>();
        // While a thread was stopped at work the other has left turns to chance; nobody had more than two periods'.
        assert!(sum(0) <= 2 * 65_535 && sum(1) <= 60_000 && sum(2) <= 14, "{counts:?}");
        assert!(sum(0) + sum(1) + sum(2) >= 95_542 / 2, "{counts:?}");
        assert!(turns.turn(2 * 95_542).is_some(), "and the work goes on");
    }
}
