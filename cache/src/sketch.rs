//! How often were the absent asked for: a count-min sketch of four-bit counters, in blocks of one cache line.
//!
//! ```text
//!     hash ─► block (64 bytes = 8 words × 16 counters)     four counters in it, one from each pair of words;
//!                                                           the estimate is their minimum
//! ```
//!
//! Residents carry their own exact counts; the sketch remembers those of entries that have left, so that one that
//! returns starts from what it had. A count is raised to a value, never added to, so that collisions cost little.
//! [`halve`](Sketch::halve) forgets by half. Cost: O(1), one cache line; 4 to 8 bytes an entry of the shard, allocated
//! at the first eviction. Limit: counts to 15. Cormode and Muthukrishnan 2005; blocks and halving as in Einziger,
//! Friedman, Manes, "TinyLFU", 2017.

use std::hint::black_box;

/// Highest count.
pub(crate) const COUNT_MAX: u32 = 15;
const WORDS: usize = 8;
const ROWS: u32 = 4;
/// Entries a block serves: 4 bytes each.
const ENTRIES_PER_BLOCK: usize = 8;
/// Small shards get so many blocks if that is not more than one for every two entries: collisions hurt them most.
const BLOCKS_SMALL: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Sketch {
    /// A power of two of them.
    blocks: Vec<[u64; WORDS]>,
    /// Entries it is wide enough for.
    served: usize,
}

impl Sketch {
    /// Makes the sketch wide enough for so many entries; what it remembers stays.
    #[inline]
    pub(crate) fn widen(&mut self, entries: usize) {
        if entries > self.served {
            self.served = entries;
            self.grow(entries);
        }
    }

    #[cold]
    fn grow(&mut self, entries: usize) {
        let small = entries.div_ceil(2).min(BLOCKS_SMALL);
        let blocks = entries.div_ceil(ENTRIES_PER_BLOCK).max(small).next_power_of_two();
        if self.blocks.is_empty() {
            self.blocks = vec![[0; WORDS]; blocks];
        }
        while self.blocks.len() < blocks {
            // One more bit of the hash picks the block: both halves start with what the one block knew.
            let len = self.blocks.len();
            self.blocks.reserve_exact(len);
            self.blocks.extend_from_within(..);
        }
    }

    #[inline]
    pub(crate) fn estimate(&self, hash: u32) -> u32 {
        let (block, spread) = self.place(hash);
        let Some(words) = self.blocks.get(block) else { return 0 };
        let counters = (0..ROWS).map(|row| {
            let (word, shift) = counter(spread, row);
            (words[word] >> shift) as u32 & COUNT_MAX
        });
        counters.fold(COUNT_MAX, u32::min)
    }

    /// Begins to fetch what a question about this hash will need, without waiting for it.
    #[inline]
    pub(crate) fn fetch(&self, hash: u32) {
        if let Some(words) = self.blocks.get(self.place(hash).0) {
            black_box(words[0]);
        }
    }

    /// Sees to it that the estimate is at least `count`.
    #[inline]
    pub(crate) fn raise(&mut self, hash: u32, count: u32) {
        let (block, spread) = self.place(hash);
        let Some(words) = self.blocks.get_mut(block) else { return };
        let count = count.min(COUNT_MAX);
        for row in 0..ROWS {
            let (word, shift) = counter(spread, row);
            // No branch: which of the four are lower is anybody's guess.
            let old = (words[word] >> shift) as u32 & COUNT_MAX;
            words[word] += u64::from(count.saturating_sub(old)) << shift;
        }
    }

    /// Halves every count in the part of the sketch that `from..to` is of `all`.
    pub(crate) fn halve(&mut self, from: usize, to: usize, all: usize) {
        let part = |at: usize| (self.blocks.len() as u64 * at as u64 / all.max(1) as u64) as usize;
        let (from, to) = (part(from), part(to));
        for word in self.blocks[from..to].iter_mut().flatten() {
            *word = (*word >> 1) & 0x7777_7777_7777_7777;
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<[u64; WORDS]>()
    }

    /// The block of a hash, which exists if any does, and bits for the choice within it.
    #[inline]
    fn place(&self, hash: u32) -> (usize, u32) {
        let mixed = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed as usize & self.blocks.len().wrapping_sub(1), (mixed >> 32) as u32)
    }
}

/// Word and shift of the counter that a row uses.
#[inline]
fn counter(spread: u32, row: u32) -> (usize, u32) {
    let bits = spread >> (row * 5);
    ((row * 2 + (bits & 1)) as usize, (bits >> 1 & 15) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_forgets_before_halving_and_seldom_invents() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.estimate(1), 0, "nothing is known before the first eviction");
        sketch.widen(1000);
        for hash in 0..1000 {
            sketch.raise(hash, hash % 16);
        }
        assert!((0..1000).all(|hash| sketch.estimate(hash) >= hash % 16));
        let invented = (1000..11_000).map(|hash| sketch.estimate(hash)).filter(|count| *count >= 8).count();
        assert!(invented < 2000, "{invented} of 10000 strangers have a high count");
        sketch.widen(2000);
        assert!((0..1000).all(|hash| sketch.estimate(hash) >= hash % 16), "growing forgets nothing");
        sketch.halve(0, 300, 1000);
        sketch.halve(300, 1000, 1000);
        assert!((0..1000).all(|hash| sketch.estimate(hash) >= hash % 16 / 2));
        (0..10).for_each(|_| sketch.halve(0, 1, 1));
        assert!((0..1000).all(|hash| sketch.estimate(hash) == 0));
    }
}
