//! What the cache benches ask of a cache, and ours by policy. The rivals: `cache_rivals`.

use cache::{Cache, Policy};
use std::hash::BuildHasher;

/// What the benches ask of a cache of `u64` keys and values.
pub trait Contender: Send + Sync {
    /// The value, counted as a use.
    fn get(&self, key: u64) -> Option<u64>;
    /// Stores a value.
    fn insert(&self, key: u64, value: u64);
    /// Entries held, after any pending work.
    fn len(&self) -> usize;
    /// Whether nothing is held.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A cache to be built with a capacity.
pub struct Maker {
    /// Its name in tables.
    pub name: String,
    /// Builds it.
    pub make: Box<dyn Fn(usize) -> Box<dyn Contender>>,
}

impl Maker {
    /// A cache with a name.
    pub fn new<C: Contender + 'static>(name: &str, make: impl Fn(usize) -> C + 'static) -> Self {
        Self { name: name.to_owned(), make: Box::new(move |capacity| Box::new(make(capacity))) }
    }
}

/// Our caches, one for each policy, with a fixed seed and their default shards.
#[must_use]
pub fn ours() -> Vec<Maker> {
    made(|_| None)
}

/// The same, but LRU and LFU with the one shard that makes them exact.
#[must_use]
pub fn ours_exact() -> Vec<Maker> {
    made(|policy| matches!(policy, Policy::Lru | Policy::Lfu).then_some(1))
}

fn made(shards: fn(Policy) -> Option<usize>) -> Vec<Maker> {
    let maker = |policy: &'static Policy| {
        Maker::new(&format!("evenly {policy}"), move |capacity| {
            let builder = Cache::builder(capacity as u64).policy(*policy).seed(1);
            let builder = match shards(*policy) {
                Some(shards) => builder.shards(shards),
                None => builder,
            };
            builder.build().expect("the capacity is not 0")
        })
    };
    Policy::ALL.iter().map(maker).collect()
}

impl<S: BuildHasher + Send + Sync> Contender for Cache<u64, u64, S> {
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
