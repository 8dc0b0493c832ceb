//! A store in this process: a [`Cache`] of bytes that can be purged by prefix and by tag.
//!
//! Weight is what an entry keeps alive: key, value, tags and about a hundred bytes of order around them; the sum
//! never exceeds `max_bytes`. A read takes one shard's lock for some tens of nanoseconds and copies nothing. Writes of one
//! key also pass one of 64 locks, which makes `put_if_absent` and `touch` exact. A purge looks at every entry: O(n), and
//! writes wait for it; reads do not.

use std::{fmt, future::ready, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Keep, Store, StoreError, StoreFuture,
    contract::{check_tag, ttl_ms},
};
use crate::{Cache, Clock, Policy, Stats, SystemClock};

/// A store in this process alone.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use cache::{Policy, store::{Keep, Memory, Store}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache::store::StoreError> {
/// let store = Memory::new(64 << 20, Policy::Lru)?;
/// store.put(b"/shoes/7", Bytes::from("red"), Keep::for_ttl(Duration::from_secs(60)).tagged(&["shoes"])).await?;
/// assert_eq!(store.get(b"/shoes/7").await?, Some(Bytes::from("red")));
///
/// assert_eq!(store.delete_by_tag("shoes").await?, 1);
/// assert_eq!(store.get(b"/shoes/7").await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    cache: Cache<Box<[u8]>, Held>,
    writers: [Mutex<()>; WRITERS],
}

#[derive(Clone)]
struct Held {
    value: Bytes,
    tags: Option<Arc<[Box<str>]>>,
}

impl Memory {
    /// A store of at most `max_bytes`, 1 or more; `policy` says who leaves when there is no room.
    pub fn new(max_bytes: u64, policy: Policy) -> Result<Self, StoreError> {
        Self::with_clock(max_bytes, policy, SystemClock::new())
    }

    /// The same by another clock, such as a [`ManualClock`](crate::ManualClock).
    pub fn with_clock(max_bytes: u64, policy: Policy, clock: impl Clock) -> Result<Self, StoreError> {
        let cache = Cache::builder(max_bytes)
            .policy(policy)
            .clock(clock)
            .weigher(Held::weight_under)
            .build()
            .map_err(|error| StoreError::Config { what: error.to_string().into() })?;
        let writers = std::array::from_fn(|_| Mutex::new(()));
        Ok(Self { inner: Arc::new(Inner { cache, writers }) })
    }

    /// The value under `key` without a future around it: what [`Store::get`] gives at once.
    pub fn peek(&self, key: &[u8]) -> Option<Bytes> {
        self.inner.cache.get_with(key, |held| held.value.clone())
    }

    /// Hits, misses, evictions.
    pub fn stats(&self) -> Stats {
        self.inner.cache.stats()
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.inner.cache.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.inner.cache.is_empty()
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.inner.cache.weight()
    }

    pub(super) fn hold(&self, key: &[u8], value: Bytes, keep: Keep<'_>) -> Result<(), StoreError> {
        keep.checked_ttl_ms()?;
        let _writer = self.writer(key);
        self.insert(key, value, keep)
    }

    pub(super) fn forget(&self, key: &[u8]) -> bool {
        let _writer = self.writer(key);
        self.inner.cache.remove(key).is_some()
    }

    pub(super) fn forget_prefix(&self, prefix: &[u8]) -> u64 {
        self.forget_where(|key, _| key.starts_with(prefix))
    }

    pub(super) fn forget_everything(&self) -> u64 {
        self.forget_where(|_, _| true)
    }

    fn hold_if_absent(&self, key: &[u8], value: Bytes, keep: Keep<'_>) -> Result<bool, StoreError> {
        keep.checked_ttl_ms()?;
        let _writer = self.writer(key);
        if self.inner.cache.contains(key) {
            return Ok(false);
        }
        self.insert(key, value, keep).map(|()| true)
    }

    fn prolong(&self, key: &[u8], ttl: Duration) -> Result<bool, StoreError> {
        ttl_ms(ttl)?;
        let _writer = self.writer(key);
        let Some(held) = self.inner.cache.peek(key) else { return Ok(false) };
        Ok(self.inner.cache.insert_with_ttl(key.into(), held, ttl))
    }

    fn insert(&self, key: &[u8], value: Bytes, keep: Keep<'_>) -> Result<(), StoreError> {
        let tags = (!keep.tags().is_empty()).then(|| keep.tags().iter().map(|tag| Box::from(*tag)).collect());
        let len = value.len();
        if self.inner.cache.insert_with_ttl(key.into(), Held { value, tags }, keep.ttl()) {
            return Ok(());
        }
        let max = usize::try_from(self.inner.cache.capacity()).unwrap_or(usize::MAX);
        Err(StoreError::ValueTooLarge { len, max: max.saturating_sub(key.len() + ENTRY_BYTES) })
    }

    fn forget_where(&self, is_meant: impl Fn(&[u8], &Held) -> bool) -> u64 {
        let _all: Vec<MutexGuard<'_, ()>> = self.inner.writers.iter().map(Mutex::lock).collect();
        // The dead do not count.
        self.inner.cache.maintain();
        let mut forgotten = 0;
        self.inner.cache.retain(|key, held| {
            let is_meant = is_meant(key, held);
            forgotten += u64::from(is_meant);
            !is_meant
        });
        forgotten
    }

    fn writer(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.inner.writers[xxh3_64(key) as usize % WRITERS].lock()
    }
}

impl Held {
    #[allow(clippy::borrowed_box, reason = "the shape of a weigher")]
    fn weight_under(key: &Box<[u8]>, held: &Self) -> u64 {
        let tags: usize = held.tags.iter().flat_map(|tags| tags.iter()).map(|tag| tag.len() + 16).sum();
        (key.len() + held.value.len() + tags + ENTRY_BYTES) as u64
    }
}

impl Store for Memory {
    fn get<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, Option<Bytes>> {
        Box::pin(ready(Ok(self.peek(key))))
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> StoreFuture<'a, Vec<Option<Bytes>>> {
        Box::pin(ready(Ok(keys.iter().map(|key| self.peek(key)).collect())))
    }

    fn put<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.hold(key, value, keep) })
    }

    fn put_if_absent<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, bool> {
        Box::pin(async move { self.hold_if_absent(key, value, keep) })
    }

    fn touch<'a>(&'a self, key: &'a [u8], ttl: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async move { self.prolong(key, ttl) })
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, bool> {
        Box::pin(async move { Ok(self.forget(key)) })
    }

    fn delete_by_prefix<'a>(&'a self, prefix: &'a [u8]) -> StoreFuture<'a, u64> {
        Box::pin(async move { Ok(self.forget_prefix(prefix)) })
    }

    fn delete_by_tag<'a>(&'a self, tag: &'a str) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            check_tag(tag)?;
            let has_tag =
                |held: &Held| held.tags.iter().flat_map(|tags| tags.iter()).any(|own| **own == *tag);
            Ok(self.forget_where(|_, held| has_tag(held)))
        })
    }

    fn clear(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move { Ok(self.forget_everything()) })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("entries", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// What an entry takes beside its key, value and tags.
const ENTRY_BYTES: usize = 104;
/// Locks among which writers are spread by key.
const WRITERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    const MINUTE: Keep<'static> = Keep::for_ttl(Duration::from_secs(60));

    #[tokio::test]
    async fn bytes_are_bounded_and_the_bound_is_told() {
        let store = Memory::new(1_000, Policy::Lru).unwrap();
        for n in 0..100_u8 {
            store.put(&[n], Bytes::from(vec![n; 50]), MINUTE).await.unwrap();
            assert!(store.bytes() <= 1_000);
        }
        assert_eq!(store.len(), 6, "1 + 50 + 104 bytes each");
        let error = store.put(b"k", Bytes::from(vec![0; 1_000]), MINUTE).await.unwrap_err();
        assert_eq!(error.to_string(), "value of 1000 bytes (at most 895)");
        store.put(b"k", Bytes::from(vec![0; 895]), MINUTE).await.unwrap();
        assert!(matches!(Memory::new(0, Policy::Lru), Err(StoreError::Config { .. })));
    }

    #[tokio::test]
    async fn entries_end_at_their_time_and_touch_moves_it() {
        let clock = ManualClock::new();
        let store = Memory::with_clock(10_000, Policy::Lru, clock.clone()).unwrap();
        store.put(b"k", Bytes::from("v"), MINUTE.tagged(&["t"])).await.unwrap();
        clock.advance(Duration::from_secs(59));
        assert!(store.touch(b"k", Duration::from_secs(10)).await.unwrap());
        clock.advance(Duration::from_secs(9));
        assert_eq!(store.get(b"k").await.unwrap(), Some(Bytes::from("v")));
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.get(b"k").await.unwrap(), None);
        assert!(!store.touch(b"k", Duration::from_secs(10)).await.unwrap());
        assert_eq!(store.delete_by_tag("t").await.unwrap(), 0, "the dead do not count");
    }

    #[test]
    fn of_many_who_put_if_absent_one_succeeds() {
        for _ in 0..50 {
            let store = Memory::new(10_000, Policy::Lru).unwrap();
            let wins: usize = std::thread::scope(|scope| {
                let put = |n: u8| store.hold_if_absent(b"k", Bytes::from(vec![n]), MINUTE).unwrap();
                let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || usize::from(put(n)))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(wins, 1);
        }
    }
}
