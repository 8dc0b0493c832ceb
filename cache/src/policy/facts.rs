//! The slots of a shard: what lies in each, which no policy looks at, and what policies know of it: hash, weight, and
//! the mark that a hit raises.
//!
//! ```text
//!     mark (u16) = | stamp : 10 | uses : 4 | segment : 2 |        clocks[segment] = the stamp an entry there should have
//!
//!     hit:  uses + 1, to at most 15;  stamp ≠ clock, or the key is in the sample?  ─► the policy is told, else not
//! ```
//!
//! A hit is the same few instructions for every policy, and none of them a write when the entry is hot. What a segment
//! is and when its clock moves is the policy's affair: one that must see every hit keeps no marks, one that need see
//! none lets its clocks stand. Hits are counted once, here; a policy that needs a count of accesses derives it.
//!
//! Load, hash and mark lie side by side, so that a hit touches one line for all three.
//!
//! Cost: 6 bytes a slot, 8 where the load is aligned to 8; 8 more with a weigher.

use std::ops::Range;

/// One shard's slots. Without a weigher every weight is 1 and takes no memory. In this order, because a hit needs what
/// stands first: see [`Shard`](crate::shard::Shard).
#[repr(C)]
pub(crate) struct Facts<T> {
    /// Hits there ever were.
    pub(crate) hits: u64,
    slots: Vec<Slot<T>>,
    /// The stamp of an entry that is in its place, by segment.
    pub(crate) clocks: [u16; 4],
    /// Keys whose mixed hash is below it are in the sample.
    pub(crate) threshold: u32,
    weighed: bool,
    weights: Vec<u64>,
}

struct Slot<T> {
    load: T,
    hash: u32,
    mark: Mark,
}

/// Where a slot is (2 bits), how often it was used (4), and when it last moved, on its segment's own clock (10).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark(u16);

/// Most uses a mark counts.
pub(crate) const USES_MAX: u32 = 15;
/// A clock that shows this agrees with no stamp.
pub(crate) const NO_TIME: u16 = u16::MAX;
/// Stamps are below this.
pub(crate) const STAMPS: u16 = 1 << (u16::BITS - STAMP_SHIFT);

const USE: u16 = 1 << 2;
const STAMP_SHIFT: u32 = 6;
/// What halved uses keep of their bits, in place.
const HALF_USES: u16 = 7 << 2;

impl Mark {
    pub(crate) fn new(segment: usize, uses: u32, stamp: u16) -> Self {
        Self(segment as u16 & 3 | (uses.min(USES_MAX) as u16) << 2 | stamp << STAMP_SHIFT)
    }

    #[inline]
    pub(crate) fn segment(self) -> usize {
        usize::from(self.0 & 3)
    }

    #[inline]
    pub(crate) fn uses(self) -> u32 {
        u32::from(self.0 >> 2 & 15)
    }

    #[inline]
    pub(crate) fn stamp(self) -> u16 {
        self.0 >> STAMP_SHIFT
    }
}

impl<T> Facts<T> {
    pub(crate) fn new(weighed: bool, marked: bool) -> Self {
        Self {
            hits: 0,
            slots: Vec::new(),
            // Without marks every hit must be told.
            clocks: if marked { [0; 4] } else { [NO_TIME; 4] },
            threshold: 0,
            weighed,
            weights: Vec::new(),
        }
    }

    /// Counts a use of the entry in `slot`, whose hash is this; says whether the policy must be told.
    #[inline(always)]
    #[must_use]
    pub(crate) fn hit(&mut self, slot: u32, hash: u32) -> bool {
        self.hits += 1;
        self.raise(slot) | self.is_sampled(hash)
    }

    /// Counts a use in the mark; says whether the entry's stamp is out of date.
    #[inline(always)]
    pub(crate) fn raise(&mut self, slot: u32) -> bool {
        let Some(Slot { mark, .. }) = self.slots.get_mut(slot as usize) else { return false };
        if mark.uses() < USES_MAX {
            mark.0 += USE;
        }
        mark.stamp() != self.clocks[mark.segment()]
    }

    /// Whether the key with this hash is in the sample.
    #[inline(always)]
    pub(crate) fn is_sampled(&self, hash: u32) -> bool {
        hash.wrapping_mul(0x9e37_79b1) < self.threshold
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// All hashes, by slot.
    pub(crate) fn hashes(&self) -> impl ExactSizeIterator<Item = u32> {
        self.slots.iter().map(|slot| slot.hash)
    }

    #[inline(always)]
    pub(crate) fn find_load(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize).map(|slot| &slot.load)
    }

    #[inline]
    pub(crate) fn load(&self, slot: u32) -> &T {
        &self.slots[slot as usize].load
    }

    #[inline]
    pub(crate) fn load_mut(&mut self, slot: u32) -> &mut T {
        &mut self.slots[slot as usize].load
    }

    #[inline]
    pub(crate) fn hash(&self, slot: u32) -> u32 {
        self.slots[slot as usize].hash
    }

    #[inline]
    pub(crate) fn weight(&self, slot: u32) -> u64 {
        if self.weighed { self.weights[slot as usize] } else { 1 }
    }

    #[inline]
    pub(crate) fn mark(&self, slot: u32) -> Mark {
        self.slots[slot as usize].mark
    }

    /// Begins to fetch a slot, without waiting for it.
    #[inline]
    pub(crate) fn fetch(&self, slot: u32) {
        if let Some(slot) = self.slots.get(slot as usize) {
            std::hint::black_box(slot.hash);
        }
    }

    #[inline]
    pub(crate) fn set_mark(&mut self, slot: u32, mark: Mark) {
        self.slots[slot as usize].mark = mark;
    }

    /// Halves the uses of these slots, rounded up.
    pub(crate) fn halve_uses(&mut self, slots: Range<usize>) {
        for Slot { mark, .. } in &mut self.slots[slots] {
            mark.0 -= mark.0 >> 1 & HALF_USES;
        }
    }

    #[inline]
    pub(crate) fn set_weight(&mut self, slot: u32, weight: u64) {
        if self.weighed {
            self.weights[slot as usize] = weight;
        }
    }

    pub(crate) fn push(&mut self, load: T, hash: u32, weight: u64) {
        self.slots.push(Slot { load, hash, mark: Mark::default() });
        if self.weighed {
            self.weights.push(weight);
        }
    }

    #[inline(always)]
    pub(crate) fn replace(&mut self, slot: u32, load: T, hash: u32, weight: u64) -> T {
        self.set_weight(slot, weight);
        let place = &mut self.slots[slot as usize];
        std::mem::replace(place, Slot { load, hash, mark: Mark::default() }).load
    }

    pub(crate) fn swap_remove(&mut self, slot: u32) -> T {
        if self.weighed {
            self.weights.swap_remove(slot as usize);
        }
        self.slots.swap_remove(slot as usize).load
    }

    pub(crate) fn reserve(&mut self, slots: usize) {
        let more = slots.saturating_sub(self.len());
        self.slots.reserve_exact(more);
        if self.weighed {
            self.weights.reserve_exact(more);
        }
    }

    /// Takes all loads out; what is counted stays counted.
    pub(crate) fn clear(&mut self) -> impl ExactSizeIterator<Item = T> + use<T> {
        self.weights = Vec::new();
        std::mem::take(&mut self.slots).into_iter().map(|slot| slot.load)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>() + self.weights.capacity() * size_of::<u64>()
    }

    /// Panics unless the columns are equally long.
    pub(crate) fn validate(&self) {
        assert_eq!(self.weights.len(), if self.weighed { self.len() } else { 0 });
    }
}
