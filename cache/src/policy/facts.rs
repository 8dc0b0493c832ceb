//! What is known of each slot without looking at keys or values: hash and weight.

/// The facts of one shard's slots. Without a weigher every weight is 1 and takes no memory.
#[derive(Debug)]
pub(crate) struct Facts {
    hashes: Vec<u32>,
    weights: Vec<u64>,
    weighed: bool,
}

impl Facts {
    pub(crate) fn new(weighed: bool) -> Self {
        Self { hashes: Vec::new(), weights: Vec::new(), weighed }
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(crate) fn hashes(&self) -> &[u32] {
        &self.hashes
    }

    #[inline]
    pub(crate) fn hash(&self, slot: u32) -> u32 {
        self.hashes[slot as usize]
    }

    #[inline]
    pub(crate) fn weight(&self, slot: u32) -> u64 {
        if self.weighed { self.weights[slot as usize] } else { 1 }
    }

    pub(crate) fn set_weight(&mut self, slot: u32, weight: u64) {
        if self.weighed {
            self.weights[slot as usize] = weight;
        }
    }

    pub(crate) fn push(&mut self, hash: u32, weight: u64) {
        self.hashes.push(hash);
        if self.weighed {
            self.weights.push(weight);
        }
    }

    pub(crate) fn replace(&mut self, slot: u32, hash: u32, weight: u64) {
        self.hashes[slot as usize] = hash;
        self.set_weight(slot, weight);
    }

    pub(crate) fn swap_remove(&mut self, slot: u32) {
        self.hashes.swap_remove(slot as usize);
        if self.weighed {
            self.weights.swap_remove(slot as usize);
        }
    }

    pub(crate) fn reserve(&mut self, slots: usize) {
        let more = slots.saturating_sub(self.len());
        self.hashes.reserve_exact(more);
        if self.weighed {
            self.weights.reserve_exact(more);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.weighed);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.hashes.capacity() * size_of::<u32>() + self.weights.capacity() * size_of::<u64>()
    }
}
