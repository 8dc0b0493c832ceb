//! Repeats: which uses of sampled keys would teach the shadows nothing.
//!
//! A popular key in the sample is asked for again and again, and each time every shadow has it: a hit for all, which
//! tells none from another, at the price of five lookups. Here a key that has been shown [`USES_MAX`] times, as often
//! as a mark counts, is shown once an *epoch* from then on; the epoch ends when so many keys have come into the
//! shadows that the order of those there may begin to matter. While all is hits no epoch ends and nothing is shown.
//!
//! ```text
//!     hash ─► cell = | hash : 32 | shown : 16 | epoch : 16 |      another key with this cell takes it
//! ```
//!
//! Cost: one line for a sampled use; 8 bytes a cell, [`CELLS`] for a cache, shared out among its shards.

use super::facts::USES_MAX;

pub(crate) struct Repeats {
    /// A power of two of them.
    cells: Box<[Cell]>,
    /// Uses held back since this was last asked.
    held_back: u64,
    /// Uses asked about since something came.
    since_arrival: u64,
}

#[derive(Clone, Copy, Default)]
struct Cell {
    hash: u32,
    shown: u16,
    epoch: u16,
}

/// Epochs while which a key's place in the shadows' order turns over once.
pub(crate) const EPOCHS: u64 = 16;
/// Some 16 for each entry of a shadow: as often as a mark counts.
const QUIET: u64 = 4096;
const CELLS: usize = 512;
const CELLS_MIN: usize = 16;

impl Repeats {
    pub(crate) fn new(shards: u64) -> Self {
        let cells = (CELLS / (shards as usize).clamp(1, CELLS)).max(CELLS_MIN).next_power_of_two();
        Self { cells: vec![Cell::default(); cells].into(), held_back: 0, since_arrival: 0 }
    }

    /// Whether the shadows should see this use.
    #[inline]
    pub(crate) fn is_telling(&mut self, hash: u32, epoch: u16) -> bool {
        self.since_arrival += 1;
        let at = hash as usize & (self.cells.len() - 1);
        let cell = &mut self.cells[at];
        if (cell.hash, cell.epoch) == (hash, epoch) && u32::from(cell.shown) >= USES_MAX {
            self.held_back += 1;
            return false;
        }
        // After a whole turn the shadows may have lost it, and count from the beginning.
        let goes_on = cell.hash == hash && u64::from(epoch.wrapping_sub(cell.epoch)) <= EPOCHS;
        let shown = if goes_on { cell.shown.saturating_add(1) } else { 1 };
        *cell = Cell { hash, shown, epoch };
        true
    }

    /// Something has come.
    pub(crate) fn arrived(&mut self) {
        self.since_arrival = 0;
    }

    /// Whether nothing has come for long.
    pub(crate) fn is_quiet(&self) -> bool {
        self.since_arrival >= QUIET
    }

    /// Uses held back since the last call.
    pub(crate) fn take_held_back(&mut self) -> u64 {
        std::mem::take(&mut self.held_back)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_popular_key_is_shown_as_often_as_a_mark_counts_then_once_an_epoch() {
        let mut repeats = Repeats::new(1);
        let shown = |repeats: &mut Repeats, epoch| (0..100).filter(|_| repeats.is_telling(7, epoch)).count();
        assert_eq!(shown(&mut repeats, 1), 15);
        assert_eq!(repeats.take_held_back(), 85);
        assert_eq!((shown(&mut repeats, 2), shown(&mut repeats, 18)), (1, 1));
        assert_eq!(shown(&mut repeats, 35), 15, "after more than a turn it may be forgotten");
        assert_eq!(repeats.take_held_back(), 99 + 99 + 85);
        assert_eq!(repeats.take_held_back(), 0);
    }

    #[test]
    fn it_is_quiet_until_something_comes() {
        let mut repeats = Repeats::new(1);
        for hash in 1..QUIET as u32 {
            repeats.is_telling(hash, 0);
        }
        assert!(!repeats.is_quiet());
        repeats.is_telling(0, 0);
        assert!(repeats.is_quiet());
        repeats.arrived();
        assert!(!repeats.is_quiet());
    }

    #[test]
    fn a_key_that_takes_the_cell_is_shown_and_so_is_the_one_it_took_it_from() {
        let mut repeats = Repeats::new(4096);
        assert_eq!(repeats.heap_bytes(), CELLS_MIN * 8);
        for _ in 0..20 {
            repeats.is_telling(7, 0);
        }
        assert!(repeats.is_telling(7 + CELLS_MIN as u32, 0) && repeats.is_telling(7, 0));
    }
}
