//! How a cache is made: [`CacheBuilder`], and why it may refuse.

use crate::cache::Cache;
use crate::clock::{Clock, SystemClock, TimeSource, nanos};
use crate::departed::{Cause, Listener};
use crate::hasher::KeyHasher;
use crate::inner::Settings;
use crate::policy::Policy;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

/// Most shards a cache may have.
pub const SHARDS_MAX: usize = 4096;
/// A shard is not worth its place below this capacity: small caches have one, which makes them exact.
const SHARD_CAPACITY_MIN: u64 = 1024;

pub(crate) type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u64 + Send + Sync>;
pub(crate) type Lifetime<K, V> = Box<dyn Fn(&K, &V) -> Option<Duration> + Send + Sync>;

/// Settings of a cache to be; made by [`Cache::builder`].
///
/// ```
/// use cache::{Cache, Policy};
/// use std::time::Duration;
///
/// // At most 1 MiB of pages, none older than a minute.
/// let pages = Cache::<String, Vec<u8>>::builder(1 << 20)
///     .policy(Policy::Lru)
///     .weigher(|url, page| (url.len() + page.len()) as u64)
///     .ttl(Duration::from_secs(60))
///     .build()?;
/// assert!(pages.insert("/".to_owned(), b"hello".to_vec()));
/// assert_eq!(pages.weight(), 6);
/// # Ok::<(), cache::BuildError>(())
/// ```
#[must_use]
pub struct CacheBuilder<K, V, S = KeyHasher> {
    capacity: u64,
    policy: Policy,
    weigher: Option<Weigher<K, V>>,
    ttl: Option<Duration>,
    tti: Option<Duration>,
    halve_counts_every: Option<u64>,
    negative_ttl: Option<Duration>,
    load_timeout: Option<Duration>,
    lifetime: Option<Lifetime<K, V>>,
    listener: Option<Listener<K, V>>,
    clock: TimeSource,
    shards: Option<usize>,
    hasher: S,
}

impl<K, V> CacheBuilder<K, V> {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            policy: Policy::default(),
            weigher: None,
            ttl: None,
            tti: None,
            halve_counts_every: None,
            negative_ttl: None,
            load_timeout: None,
            lifetime: None,
            listener: None,
            clock: TimeSource::System(SystemClock::new()),
            shards: None,
            hasher: KeyHasher::default(),
        }
    }

    /// Makes every run with this seed alike. Not where strangers choose the keys: see [`KeyHasher::with_seed`].
    pub fn seed(self, seed: u64) -> Self {
        self.hasher(KeyHasher::with_seed(seed))
    }
}

impl<K, V, S> CacheBuilder<K, V, S> {
    /// Who leaves when there is no room.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// [`Policy::Lfu`] alone: halves all counts after every so many uses of the whole cache, down to 1, so that old
    /// favourites can be outdone; ten times the capacity is a good measure. By default LFU never forgets; the other
    /// policies that count forget by themselves.
    pub fn halve_counts_every(mut self, uses: u64) -> Self {
        self.halve_counts_every = Some(uses);
        self
    }

    /// Capacity counts weight instead of entries. Called once for each insertion, outside locks, and remembered;
    /// weight 0 is allowed and takes no room.
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// Time to live: an entry dies so long after it was stored.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Time to idle: an entry dies so long after it was last stored or read.
    pub fn tti(mut self, tti: Duration) -> Self {
        self.tti = Some(tti);
        self
    }

    /// A time to live for each entry, asked at each insertion, outside locks. `None` means the cache's own.
    pub fn lifetime(mut self, lifetime: impl Fn(&K, &V) -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.lifetime = Some(Box::new(lifetime));
        self
    }

    /// Remembers a loader's error for so long: whoever asks for that key meanwhile gets the same error, without a new
    /// load. At most 1,024 errors a shard. By default errors are not kept.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }

    /// Nobody waits longer than this for another's load: a blocked thread gets
    /// [`LoadError::TimedOut`](crate::LoadError::TimedOut), and whoever asks after that time loads anew. By default
    /// there is no limit.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.load_timeout = Some(timeout);
        self
    }

    /// Called exactly once for each entry that leaves, with the cause, outside all locks: it may use the cache.
    /// It runs in the thread whose operation sent the entry away; a panic in it reaches that operation's caller.
    pub fn on_evict(mut self, listener: impl Fn(&K, &V, Cause) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Another source of time, such as a [`ManualClock`](crate::ManualClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = TimeSource::Given(Box::new(clock));
        self
    }

    /// Number of independently locked parts: a power of two up to [`SHARDS_MAX`]. The policy is exact within a shard,
    /// so one shard makes it exact for the whole cache; more let more threads in. By default one for each 1,024 of
    /// capacity, up to eight for each processor.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Another hasher. It should be seeded if strangers choose the keys, and good in all 64 bits.
    pub fn hasher<T>(self, hasher: T) -> CacheBuilder<K, V, T> {
        CacheBuilder {
            capacity: self.capacity,
            policy: self.policy,
            weigher: self.weigher,
            ttl: self.ttl,
            tti: self.tti,
            halve_counts_every: self.halve_counts_every,
            negative_ttl: self.negative_ttl,
            load_timeout: self.load_timeout,
            lifetime: self.lifetime,
            listener: self.listener,
            clock: self.clock,
            shards: self.shards,
            hasher,
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> CacheBuilder<K, V, S> {
    /// The cache. Memory grows with its entries, not with its capacity.
    ///
    /// # Errors
    /// [`BuildError`] for a capacity, a lifetime or a number of shards that cannot be.
    pub fn build(self) -> Result<Cache<K, V, S>, BuildError> {
        check_capacity(self.capacity)?;
        let times = [
            ("ttl", self.ttl),
            ("tti", self.tti),
            ("negative ttl", self.negative_ttl),
            ("load timeout", self.load_timeout),
        ];
        for (setting, time) in times {
            if time == Some(Duration::ZERO) {
                return Err(BuildError::NoTime { setting });
            }
        }
        let shards = self.shards.unwrap_or_else(|| usual_shards(self.capacity));
        if !shards.is_power_of_two() || shards > SHARDS_MAX {
            return Err(BuildError::Shards { shards });
        }
        Ok(Cache::with(Settings {
            capacity: self.capacity,
            policy: self.policy,
            weigher: self.weigher,
            ttl: self.ttl.map(nanos),
            tti: self.tti.map(nanos),
            halve_counts_every: self.halve_counts_every,
            negative_ttl: self.negative_ttl.map(nanos),
            load_timeout: self.load_timeout.map(nanos),
            lifetime: self.lifetime,
            listener: self.listener,
            clock: self.clock,
            shards,
            hasher: self.hasher,
        }))
    }
}

impl<K, V, S> fmt::Debug for CacheBuilder<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("capacity", &self.capacity)
            .field("policy", &self.policy)
            .field("ttl", &self.ttl)
            .field("tti", &self.tti)
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_capacity(capacity: u64) -> Result<(), BuildError> {
    if capacity == 0 { Err(BuildError::NoCapacity) } else { Ok(()) }
}

fn usual_shards(capacity: u64) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = (8 * processors).next_power_of_two().min(SHARDS_MAX) as u64;
    let filled = (capacity / SHARD_CAPACITY_MIN).max(1);
    // The largest power of two both allow.
    (1 << wanted.min(filled).ilog2()) as usize
}

/// Why a cache cannot be built or resized.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// A capacity of nothing.
    NoCapacity,
    /// A lifetime of nothing.
    NoTime {
        /// `ttl`, `tti`, `negative ttl` or `load timeout`.
        setting: &'static str,
    },
    /// Not a power of two, or too many.
    Shards {
        /// What was asked for.
        shards: usize,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapacity => write!(f, "cache capacity 0 (must be at least 1)"),
            Self::NoTime { setting } => write!(f, "cache {setting} 0 s (must be longer than nothing)"),
            Self::Shards { shards } => {
                write!(f, "{shards} cache shards (must be a power of two from 1 to {SHARDS_MAX})")
            }
        }
    }
}

impl std::error::Error for BuildError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> CacheBuilder<u8, u8> {
        Cache::builder(10)
    }

    #[test]
    fn impossible_settings_are_refused_with_their_value() {
        let message = |builder: CacheBuilder<u8, u8>| builder.build().unwrap_err().to_string();
        assert_eq!(message(Cache::builder(0)), "cache capacity 0 (must be at least 1)");
        assert_eq!(message(builder().ttl(Duration::ZERO)), "cache ttl 0 s (must be longer than nothing)");
        assert_eq!(message(builder().tti(Duration::ZERO)), "cache tti 0 s (must be longer than nothing)");
        assert_eq!(message(builder().shards(3)), "3 cache shards (must be a power of two from 1 to 4096)");
        assert!(builder().shards(0).build().is_err() && builder().shards(8192).build().is_err());
    }

    #[test]
    fn small_caches_have_one_shard() {
        assert_eq!((usual_shards(1), usual_shards(2047)), (1, 1));
        assert!(usual_shards(u64::MAX) >= 8);
    }
}
