//! The caches to compare ours with, each behind one adapter, each with its defaults.

use crate::caches::{Contender, Maker};

/// The rivals, each with its defaults.
#[must_use]
pub fn rivals() -> Vec<Maker> {
    vec![
        Maker::new("quick_cache", quick_cache::sync::Cache::<u64, u64>::new),
        Maker::new("moka", |capacity| moka::sync::Cache::<u64, u64>::new(capacity as u64)),
        Maker::new("TinyUFO", TinyUfo::new),
        Maker::new("Mutex<lru>", |capacity| LockedLru::new(capacity, 1)),
        Maker::new("16 x Mutex<lru>", |capacity| LockedLru::new(capacity, 16)),
    ]
}

impl Contender for quick_cache::sync::Cache<u64, u64> {
    fn get(&self, key: u64) -> Option<u64> {
        Self::get(self, &key)
    }
    fn insert(&self, key: u64, value: u64) {
        Self::insert(self, key, value);
    }
    fn len(&self) -> usize {
        Self::len(self)
    }
}

impl Contender for moka::sync::Cache<u64, u64> {
    fn get(&self, key: u64) -> Option<u64> {
        Self::get(self, &key)
    }
    fn insert(&self, key: u64, value: u64) {
        Self::insert(self, key, value);
    }
    fn len(&self) -> usize {
        self.run_pending_tasks();
        self.entry_count() as usize
    }
}

/// It tells nobody how many entries it has: full is what the benches make it.
struct TinyUfo {
    cache: tinyufo::TinyUfo<u64, u64>,
    capacity: usize,
}

impl TinyUfo {
    fn new(capacity: usize) -> Self {
        Self { cache: tinyufo::TinyUfo::new(capacity, capacity), capacity }
    }
}

impl Contender for TinyUfo {
    fn get(&self, key: u64) -> Option<u64> {
        self.cache.get(&key)
    }
    fn insert(&self, key: u64, value: u64) {
        self.cache.put(key, value, 1);
    }
    fn len(&self) -> usize {
        self.capacity
    }
}

/// What one writes with the `lru` crate: a lock around it, or several by hash.
struct LockedLru {
    shards: Vec<parking_lot::Mutex<lru::LruCache<u64, u64>>>,
}

impl LockedLru {
    fn new(capacity: usize, shards: usize) -> Self {
        let share = std::num::NonZeroUsize::new(capacity.div_ceil(shards)).expect("the capacity is not 0");
        Self { shards: (0..shards).map(|_| parking_lot::Mutex::new(lru::LruCache::new(share))).collect() }
    }

    fn shard(&self, key: u64) -> &parking_lot::Mutex<lru::LruCache<u64, u64>> {
        // The same mixing as a hasher's last step; lru hashes again with its own.
        let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.shards[mixed as usize % self.shards.len()]
    }
}

impl Contender for LockedLru {
    fn get(&self, key: u64) -> Option<u64> {
        self.shard(key).lock().get(&key).copied()
    }
    fn insert(&self, key: u64, value: u64) {
        self.shard(key).lock().put(key, value);
    }
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
