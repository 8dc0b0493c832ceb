//! The smallest of many numbers that all change: a tree of minima that threads mend together, without a lock.
//!
//! ```text
//!     root                 2
//!                   ┌──────┴──────┐
//!     minima        2             3            each node: the least of its eight
//!               ┌─┬─┴─┬─┐     ┌─┬─┴─┬─┐
//!     leaves    3 2 … 5 4     4 3 … 3 7        each leaf: a member's load
//! ```
//!
//! Whoever changes a number mends the path above it: store the least of the children, then look again, and again if
//! the children have changed meanwhile. The last to store a node has looked after storing, and whoever changes a child
//! after that look mends it in turn; so once everybody is done every node is right (`tests/loom.rs`). The way up ends
//! at the first node that does not change, which is mostly the first: among equals one change moves no minimum.
//!
//! Cost: eight loads a level, log₈ n levels at most: 5 for 32,768.

use alloc::boxed::Box;
#[cfg(any(feature = "std", test))]
use alloc::vec::Vec;

use crate::sync::{AtomicU64, Ordering};

/// A tree of minima over a fixed number of leaves.
#[derive(Debug)]
pub(crate) struct Tournament {
    /// The leaves, then each level above them; the last has one node.
    levels: Box<[Box<[AtomicU64]>]>,
}

impl Tournament {
    /// With room for `leaves` at least; all at [`CLOSED`]. Only a pool plants trees.
    #[cfg(any(feature = "std", test))]
    pub(crate) fn new(leaves: usize) -> Self {
        let mut size = FAN;
        while size < leaves {
            size *= FAN;
        }
        let level = |size: usize| -> Box<[AtomicU64]> { (0..size).map(|_| AtomicU64::new(CLOSED)).collect() };
        let mut levels = Vec::new();
        while size > 1 {
            levels.push(level(size));
            size /= FAN;
        }
        levels.push(level(1));
        Self { levels: levels.into() }
    }

    /// How many leaves there are.
    pub(crate) fn leaves(&self) -> usize {
        self.levels[0].len()
    }

    /// The least of all.
    #[inline]
    pub(crate) fn least(&self) -> u64 {
        self.levels.last().map_or(CLOSED, |root| root[0].load(Ordering::SeqCst))
    }

    /// Writes what `number` says into the leaf and mends what stands above. `number` is asked again after each
    /// write, so that of two threads with one leaf the older number does not stay.
    pub(crate) fn mend(&self, leaf: usize, number: impl Fn() -> u64) {
        if !settle(&self.levels[0][leaf], number) {
            return;
        }
        let mut at = leaf;
        for pair in self.levels.windows(2) {
            let (below, above) = (&pair[0], &pair[1]);
            at /= FAN;
            let children = &below[at * FAN..(at + 1) * FAN];
            let least = || children.iter().map(|child| child.load(Ordering::SeqCst)).min().unwrap_or(CLOSED);
            if !settle(&above[at], least) {
                return;
            }
        }
    }

    /// A leaf with the least number, the nearest to `from` as the tree is built; `None` if all are closed.
    ///
    /// From a random leaf upwards to the first node that knows of the least, and down again: among many equals that
    /// is the leaf itself or one beside it.
    pub(crate) fn find(&self, from: usize) -> Option<usize> {
        let least = self.least();
        if least == CLOSED {
            return None;
        }
        let (mut level, mut at) = (0, from);
        while level + 1 < self.levels.len() && self.levels[level].get(at)?.load(Ordering::SeqCst) > least {
            level += 1;
            at /= FAN;
        }
        while level > 0 {
            level -= 1;
            // Around from the child on the way from `from`, so that ties fall to different members.
            let first = (from >> (FAN_BITS * level)) % FAN;
            let children = &self.levels[level][at * FAN..(at + 1) * FAN];
            let (mut best, mut best_at) = (CLOSED, 0);
            for n in 0..FAN {
                let child = (first + n) % FAN;
                let number = children[child].load(Ordering::Relaxed);
                if number < best {
                    (best, best_at) = (number, child);
                }
            }
            at = at * FAN + best_at;
        }
        Some(at)
    }
}

/// Makes the cell hold what `number` says and goes on saying; whether it had to be changed.
fn settle(cell: &AtomicU64, number: impl Fn() -> u64) -> bool {
    let mut changed = false;
    loop {
        let now = number();
        if cell.load(Ordering::SeqCst) == now {
            return changed;
        }
        cell.store(now, Ordering::SeqCst);
        changed = true;
    }
}

/// The number of a leaf that is not to be found.
pub(crate) const CLOSED: u64 = u64::MAX;
const FAN_BITS: usize = 3;
const FAN: usize = 1 << FAN_BITS;

#[cfg(test)]
mod tests {
    use super::{CLOSED, Tournament};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_a_least_leaf_from_anywhere(
            size in 1_usize..200,
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..6), 1..100),
            from in any::<prop::sample::Index>(),
        ) {
            let tournament = Tournament::new(size);
            let mut naive = vec![CLOSED; tournament.leaves()];
            for (index, number) in changes {
                // 5 stands for a member that goes down.
                let number = if number == 5 { CLOSED } else { number };
                let leaf = index.index(size);
                naive[leaf] = number;
                tournament.mend(leaf, || number);
                let least = *naive.iter().min().unwrap();
                prop_assert_eq!(tournament.least(), least);
                let found = tournament.find(from.index(size));
                prop_assert_eq!(found.map(|leaf| naive[leaf]), (least != CLOSED).then_some(least));
            }
        }
    }

    #[test]
    fn of_equals_it_finds_the_one_it_was_sent_to() {
        let tournament = Tournament::new(100);
        (0..100).for_each(|leaf| tournament.mend(leaf, || 7));
        assert!((0..100).all(|leaf| tournament.find(leaf) == Some(leaf)));
    }
}
