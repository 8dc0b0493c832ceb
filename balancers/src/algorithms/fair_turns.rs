//! Turns by weight when the whole order is too long to lay out: worked out as they are taken.
//!
//! Member i is owed its (k+1)-th turn in a window: not before turn ⌊k · W / wᵢ⌋, and by turn ⌈(k+1) · W / wᵢ⌉. Whoever
//! gives each turn to the member whose window is open and closes first keeps everybody within less than one of his
//! quota at every moment (S. Baruah et al., "Proportionate progress", 1996).
//!
//! ```text
//!     ticket t ─► slot t mod 4096 ─► written for t?  yes ─► the member
//!                                                    no  ─► work ahead, or by halves
//!
//!     work ahead: one thread at a time, who fills slots up to half a round before the tickets
//! ```
//!
//! A thread that finds the work taken goes on without it, so nobody waits; the turns worked out are half a round ahead of
//! the tickets. Only if the worker is stopped for more than 2,048 picks do tickets find nothing. They are then answered by
//! halves, from their number alone: of t turns the first half of the members has had ⌊t · its weight / W⌋, and so on down.
//! That keeps everybody within log₂ members of his quota, so that each time the worker is stopped, however long, moves a
//! count from its quota by 2 + 2 · log₂ members at most (`a_worker_that_is_stopped_…` below). The same answers a thread
//! that was itself stopped between its ticket and its turn for as many picks.
//!
//! Cost: O(log members) a turn. Memory: 32 bytes a member and 32 KB.

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
    halves: Halves,
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
        let halves = Halves::new(&weights);
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
            halves,
        };
        turns.work_ahead(0);
        turns
    }

    /// Whose turn this ticket is.
    #[inline]
    pub(super) fn turn(&self, ticket: u64) -> usize {
        let slot = &self.slots[(ticket % SLOTS) as usize];
        if let Some(index) = read(slot, ticket) {
            // Mostly one new turn for each one taken.
            if self.work.turn.load(Ordering::Relaxed) < ticket + SLOTS / 2 {
                self.work_ahead(ticket);
            }
            return index;
        }
        self.work_ahead(ticket);
        read(slot, ticket).unwrap_or_else(|| self.turn_by_halves(ticket))
    }

    #[cold]
    fn turn_by_halves(&self, ticket: u64) -> usize {
        usize::from(self.work.who[self.halves.turn(ticket % self.work.total)])
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

/// Where each member's weight begins in the sum of all, and where the last one's ends.
#[derive(Debug)]
struct Halves(Box<[u64]>);

impl Halves {
    fn new(weights: &[u32]) -> Self {
        let mut sum = 0;
        let ends = weights.iter().map(|&weight| {
            sum += u64::from(weight);
            sum
        });
        Self(core::iter::once(0).chain(ends).collect())
    }

    /// Who has this turn of a rotation: no two numbers are multiplied that reach 2^32 both.
    fn turn(&self, mut turn: u64) -> usize {
        let (mut from, mut to) = (0, self.0.len() - 1);
        while to - from > 1 {
            let middle = from.midpoint(to);
            let (left, all) = (self.0[middle] - self.0[from], self.0[to] - self.0[from]);
            let had = turn * left / all;
            if (turn + 1) * left / all > had {
                (to, turn) = (middle, had);
            } else {
                (from, turn) = (middle, turn - had);
            }
        }
        from
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
    use super::{FairTurns, Halves};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn everybody_stays_within_one_of_his_quota(weights in prop::collection::vec(1_u32..600, 1..30)) {
            let total = f64::from(weights.iter().sum::<u32>());
            let turns = FairTurns::new((0..).zip(weights.iter().copied()).collect());
            let mut had = vec![0_f64; weights.len()];
            for ticket in 0..2 * total as u64 {
                had[turns.turn(ticket)] += 1.0;
                for (had, &weight) in had.iter().zip(&weights).take(if ticket % 97 == 0 { 40 } else { 4 }) {
                    let quota = (ticket + 1) as f64 * f64::from(weight) / total;
                    prop_assert!((had - quota).abs() < 1.0 + 1e-9, "turn {}: {} of {}", ticket, had, quota);
                }
            }
        }
    }

    /// The worker is never seen again, and then it is: the counts stay near their quotas all the time.
    #[test]
    fn a_worker_that_is_stopped_moves_no_count_far_from_its_quota() {
        let weights =
            [65_535, 30_000, 7, 1, 1, 20_011, 40_000, 3, 9_999, 12_345, 600, 54_321, 2, 2, 2, 50_000];
        let total = weights.iter().map(|&weight| f64::from(weight)).sum::<f64>();
        let turns = FairTurns::new((0..).zip(weights).collect());
        let mut had = [0_f64; 16];
        let mut stops = 0.0;
        for ticket in 0..600_000_u64 {
            if ticket % 100_000 == 20_000 {
                turns.is_taken.store(true, std::sync::atomic::Ordering::Relaxed);
                stops += 1.0;
            }
            if ticket % 100_000 == 90_000 {
                turns.is_taken.store(false, std::sync::atomic::Ordering::Relaxed);
            }
            had[turns.turn(ticket)] += 1.0;
            for (had, weight) in had.iter().zip(weights) {
                let quota = (ticket + 1) as f64 * f64::from(weight) / total;
                let allowed = 1.0 + stops * (2.0 + 2.0 * 4.0);
                assert!((had - quota).abs() < allowed, "turn {ticket}, weight {weight}: {had} of {quota}");
            }
        }
    }

    #[test]
    fn halves_keep_everybody_within_the_depth_of_the_tree() {
        for weights in [vec![5, 1, 1], vec![1], vec![9; 8], (1..=64).collect::<Vec<u32>>()] {
            let total: u32 = weights.iter().sum();
            let depth = f64::from(weights.len().next_power_of_two().ilog2());
            let halves = Halves::new(&weights);
            let mut had = vec![0_u32; weights.len()];
            for turn in 0..total {
                had[halves.turn(u64::from(turn))] += 1;
                for (&had, &weight) in had.iter().zip(&weights) {
                    let quota = f64::from(turn + 1) * f64::from(weight) / f64::from(total);
                    assert!((f64::from(had) - quota).abs() <= depth, "turn {turn}: {had} of {quota}");
                }
            }
            assert_eq!(had, weights, "a rotation gives everybody exactly his");
        }
    }

    #[test]
    fn halves_of_the_heaviest_sets_do_not_overflow() {
        let halves = Halves::new(&vec![65_535; 65_536]);
        assert_eq!([0, 65_535 * 65_536 - 1].map(|turn| halves.turn(turn)), [65_535, 0]);
    }

    #[test]
    fn threads_share_turns_without_loss() {
        let turns = FairTurns::new(vec![(0, 65_535), (1, 30_000), (2, 7)]);
        let next = std::sync::atomic::AtomicU64::new(0);
        let counts: Vec<[i64; 3]> = std::thread::scope(|scope| {
            let count = || {
                let mut counts = [0; 3];
                for _ in 0..95_542 {
                    let ticket = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    counts[turns.turn(ticket)] += 1;
                }
                counts
            };
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let sum = |n: usize| counts.iter().map(|counts| counts[n]).sum::<i64>();
        // Exactly two rotations, but for 6 at each stop of a thread at work: of those there may be some.
        for (n, quota) in [(0, 2 * 65_535), (1, 60_000), (2, 14)] {
            assert!((sum(n) - quota).abs() < 600, "{counts:?}");
        }
        assert_eq!(sum(0) + sum(1) + sum(2), 2 * 95_542);
    }
}
