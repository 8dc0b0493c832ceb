//! Snapshots: the live entries with the time each has left, to be written somewhere and restored in another process.
//!
//! Feature `serde`: [`Snapshot`] can be serialised with any format.
//!
//! ```
//! use cache::{Cache, ManualClock, Snapshot};
//! use std::time::Duration;
//!
//! let clock = ManualClock::new();
//! let cache = Cache::<String, u32>::builder(100).ttl(Duration::from_secs(60)).clock(clock.clone()).build()?;
//! cache.insert("a".to_owned(), 1);
//! clock.advance(Duration::from_secs(50));
//! let text = serde_json::to_string(&cache.snapshot())?;
//!
//! // In the next process:
//! let clock = ManualClock::new();
//! let cache = Cache::<String, u32>::builder(100).clock(clock.clone()).build()?;
//! assert_eq!(cache.restore(serde_json::from_str(&text)?), 1);
//! clock.advance(Duration::from_secs(9));
//! assert_eq!(cache.get("a"), Some(1));
//! clock.advance(Duration::from_secs(1));
//! assert_eq!(cache.get("a"), None); // a minute after it was first stored
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a policy has learnt is not part of it: restored entries start as newcomers, in the order they were saved.

use crate::cache::Cache;
use crate::expiry::NEVER;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

/// The live entries of a cache at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot<K, V> {
    /// The entries, shard by shard.
    pub entries: Vec<Saved<K, V>>,
}

/// One saved entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved<K, V> {
    /// Its key.
    pub key: K,
    /// Its value.
    pub value: V,
    /// The time it had left; if there is none, the cache it goes to decides.
    pub remaining: Option<Duration>,
}

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Copies the live entries. Shards are read one by one: an entry stored meanwhile may be missing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<K, V>
    where
        K: Clone,
        V: Clone,
    {
        let mut entries = Vec::new();
        for padded in &self.inner.shards {
            let now = self.inner.settings.clock.nanos();
            let shard = padded.0.lock();
            let live = (0..shard.len() as u32).filter(|slot| !shard.is_dead(*slot, now));
            entries.extend(live.map(|slot| {
                let ((key, value), deadline) = (shard.pair(slot), shard.deadline(slot));
                let remaining = (deadline != NEVER).then(|| Duration::from_nanos(deadline - now));
                Saved { key: key.clone(), value: value.clone(), remaining }
            }));
        }
        Snapshot { entries }
    }

    /// Stores the entries with the time each had left; says how many were stored.
    pub fn restore(&self, snapshot: Snapshot<K, V>) -> usize {
        let store = |Saved { key, value, remaining }| match remaining {
            Some(remaining) => self.insert_with_ttl(key, value, remaining),
            None => self.insert(key, value),
        };
        snapshot.entries.into_iter().map(store).filter(|stored| *stored).count()
    }
}
