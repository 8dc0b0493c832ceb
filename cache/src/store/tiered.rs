//! Two tiers: what this process read or wrote lately, in front of what all processes share.
//!
//! ```text
//!     get ──► near ──hit──► value                                          no round trip: some 100 ns
//!              └─miss─► far ──► keep near, unless it changed meanwhile     one round trip
//!
//!     put ──► far ──► near                  another process' write ──► server ──► news ──► near forgets
//! ```
//!
//! # How far behind may a near hit be?
//!
//! | while | a value changed by another process is seen after |
//! |---|---|
//! | the connection is well | the time of one message from the server: under a millisecond on a local network |
//! | the connection ended | at once: the whole near tier is dropped when it is lost, and again when it is back |
//! | the connection is silent (a cut cable, a frozen server) | `ping_every` + 5 × `response_timeout`: 1.5 s by default |
//! | in any case | [`near_ttl`](TieredConfig::near_ttl): 60 s by default |
//!
//! Within the process a write is seen by every read that starts after it ended. The news come by `CLIENT TRACKING`; see
//! [`Hearing`] for servers that have none.
//!
//! While the far tier is away, reads and writes go on in the near tier alone, as if each process had a cache of its own;
//! what was written meanwhile is dropped when the connection is back, because others have not seen it. Deletes and purges
//! are errors then, because what they should forget is still there.

use std::{
    fmt,
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;

use super::{
    Keep, Memory, Store, StoreError, StoreFuture,
    contract::check_tag,
    entry::Entry,
    fence::{Fence, Ticket},
    redis::{Change, Hearing, Listener, Redis, RedisConfig, now_ms},
    single_flight::Waiting,
};
use crate::Stats;

/// A [`Memory`] in front of a [`Redis`]: see the [module](self) for how they are kept together.
///
/// ```no_run
/// use std::time::Duration;
/// use bytes::Bytes;
/// use cache::{Policy, store::{Keep, Memory, RedisConfig, Store, Tiered}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache::store::StoreError> {
/// let near = Memory::new(64 << 20, Policy::Lru)?;
/// let store = Tiered::new(near, RedisConfig::from_url("redis://localhost")?.namespace("shop"))?;
/// store.put(b"greeting", Bytes::from("hello"), Keep::for_ttl(Duration::from_secs(60))).await?;
/// assert_eq!(store.get(b"greeting").await?, Some(Bytes::from("hello"))); // without a round trip
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tiered {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    near: Arc<Near>,
    far: Redis,
    near_ttl: Duration,
    near_only_puts: AtomicU64,
}

/// How the tiers work together.
#[derive(Debug, Clone)]
pub struct TieredConfig {
    near_ttl: Duration,
    only_channel: bool,
}

/// Counts of both tiers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TieredStats {
    /// Of the near tier.
    pub near: Stats,
    /// Of the far tier: its hits and misses are the near tier's misses.
    pub far: super::RedisStats,
    /// How changes by others are heard of.
    pub hearing: Hearing,
    /// Near entries forgotten because others changed them.
    pub invalidations: u64,
    /// Times the whole near tier was dropped: connections lost and found, databases flushed.
    pub drops: u64,
    /// Writes that reached this process alone, because the far tier was away.
    pub near_only_puts: u64,
}

impl TieredConfig {
    /// A value stays near for a minute at the longest; changes are heard of by tracking.
    pub fn new() -> Self {
        Self { near_ttl: Duration::from_secs(60), only_channel: false }
    }

    /// The longest a value stays near before the far tier is asked again: the bound on how old a near hit can be when
    /// everything else fails. Default 60 s.
    pub fn near_ttl(mut self, limit: Duration) -> Self {
        self.near_ttl = limit;
        self
    }

    /// Hear of changes by messages that writers publish, even where the server could track keys: for servers with many
    /// processes and more writes than those need to hear of by prefix. All writers must be tiered stores then.
    pub fn only_channel(mut self) -> Self {
        self.only_channel = true;
        self
    }
}

impl Default for TieredConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl Tiered {
    /// Both tiers, with the default [`TieredConfig`]. Like [`Redis::new`], it connects when first used.
    pub fn new(near: Memory, far: RedisConfig) -> Result<Self, StoreError> {
        Self::with(near, far, &TieredConfig::new())
    }

    /// Both tiers. `near` should serve no one else: it is dropped when the connection is.
    pub fn with(near: Memory, far: RedisConfig, config: &TieredConfig) -> Result<Self, StoreError> {
        if config.near_ttl.is_zero() {
            return Err(StoreError::Config { what: "near_ttl 0ns (must be at least 1ns)".into() });
        }
        let near = Arc::new(Near {
            memory: near,
            fence: Fence::new(),
            waiting: Waiting::default(),
            invalidations: 0.into(),
            drops: 0.into(),
        });
        let far = Redis::heard_by(far, near.clone(), config.only_channel)?;
        let inner = Inner { near, far, near_ttl: config.near_ttl, near_only_puts: AtomicU64::new(0) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The value under `key` if it is near, without a future around it.
    pub fn peek_near(&self, key: &[u8]) -> Option<Bytes> {
        self.inner.near.memory.peek(key)
    }

    /// The far tier.
    pub fn far(&self) -> &Redis {
        &self.inner.far
    }

    /// Counts of both tiers.
    pub fn stats(&self) -> TieredStats {
        let near = &self.inner.near;
        TieredStats {
            near: near.memory.stats(),
            far: self.inner.far.stats(),
            hearing: self.inner.far.hearing(),
            invalidations: near.invalidations.load(Relaxed),
            drops: near.drops.load(Relaxed),
            near_only_puts: self.inner.near_only_puts.load(Relaxed),
        }
    }

    async fn fetch(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let inner = &*self.inner;
        let ticket = inner.near.fence.ticket(key);
        let entry = inner.far.fetch_entry(key).await?;
        Ok(entry.map(|entry| inner.keep_entry(ticket, key, entry)))
    }

    async fn fetch_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let inner = &*self.inner;
        let mut values: Vec<_> = keys.iter().map(|key| inner.near.memory.peek(key)).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|&at| values[at].is_none()).collect();
        let asked: Vec<&[u8]> = missing.iter().map(|&at| keys[at]).collect();
        let tickets: Vec<Ticket> = asked.iter().map(|key| inner.near.fence.ticket(key)).collect();
        let entries = match inner.far.fetch_entries(&asked).await {
            Ok(entries) => entries,
            // What is near is still worth having.
            Err(error) if error.is_outage() && missing.len() < keys.len() => return Ok(values),
            Err(error) => return Err(error),
        };
        for ((at, ticket), entry) in missing.into_iter().zip(tickets).zip(entries) {
            values[at] = entry.map(|entry| inner.keep_entry(ticket, keys[at], entry));
        }
        Ok(values)
    }

    /// Who waits for news, for [single flight](super::SingleFlight).
    pub(super) fn waiting(&self) -> &Waiting {
        &self.inner.near.waiting
    }

    async fn store(&self, key: &[u8], value: Bytes, keep: Keep<'_>) -> Result<(), StoreError> {
        let inner = &*self.inner;
        let write = Write::begin(&inner.near, key);
        match inner.far.store(key, &value, keep).await {
            Ok(()) => inner.keep(write.end(), key, value, keep.ttl()),
            Err(StoreError::Unavailable { .. }) => {
                inner.near_only_puts.fetch_add(1, Relaxed);
                inner.keep(write.end(), key, value, keep.ttl());
            }
            // It may have arrived or not: `write` forgets the key on its way out.
            Err(error) => return Err(error),
        }
        // Our own writes are not among the news.
        inner.near.waiting.tell(key);
        Ok(())
    }

    async fn store_if_absent(&self, key: &[u8], value: Bytes, keep: Keep<'_>) -> Result<bool, StoreError> {
        let inner = &*self.inner;
        let write = Write::begin(&inner.near, key);
        let was_kept = inner.far.store_if_absent(key, &value, keep).await?;
        let ticket = write.end();
        if was_kept {
            inner.keep(ticket, key, value, keep.ttl());
        }
        Ok(was_kept)
    }

    async fn prolong(&self, key: &[u8], ttl: Duration) -> Result<bool, StoreError> {
        // Dropped at the end, with the near entry: its time has changed.
        let _write = Write::begin(&self.inner.near, key);
        self.inner.far.prolong(key, ttl).await
    }

    async fn forget(&self, key: &[u8]) -> Result<bool, StoreError> {
        let _write = Write::begin(&self.inner.near, key);
        self.inner.near.memory.forget(key);
        self.inner.far.forget(key).await
    }

    async fn forget_prefix(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let near = &self.inner.near;
        let purge = Purge(near, prefix);
        near.memory.forget_prefix(prefix);
        let forgotten = self.inner.far.purge_prefix(prefix).await;
        drop(purge);
        forgotten
    }

    async fn forget_tag(&self, tag: &str) -> Result<u64, StoreError> {
        // The near tier does not know the tags of what it read, and news of our own deletes do not come back to us.
        let _purge = Purge(&self.inner.near, b"");
        self.inner.far.purge_tag(tag).await
    }

    async fn forget_everything(&self) -> Result<u64, StoreError> {
        let _purge = Purge(&self.inner.near, b"");
        self.inner.near.memory.forget_everything();
        self.inner.far.purge_everything().await
    }
}

impl Inner {
    /// Keeps an entry read from the far tier near, for what is left of its time.
    fn keep_entry(&self, ticket: Ticket, key: &[u8], entry: Entry) -> Bytes {
        let left = Duration::from_millis(entry.expires_at_ms.saturating_sub(now_ms()));
        self.keep(ticket, key, entry.value.clone(), left);
        entry.value
    }

    fn keep(&self, ticket: Ticket, key: &[u8], value: Bytes, ttl: Duration) {
        let near = &*self.near;
        let ttl = ttl.min(self.near_ttl);
        if ttl.is_zero() || self.far.hearing() == Hearing::Nothing {
            return;
        }
        // Too large for the near tier is no fault: then it is only far.
        let _ = near.memory.hold(key, value, Keep::for_ttl(ttl));
        if !near.fence.is_good(ticket) {
            near.memory.forget(key);
        }
    }
}

/// The near tier, and who hears of changes to it.
struct Near {
    memory: Memory,
    fence: Fence,
    waiting: Waiting,
    invalidations: AtomicU64,
    drops: AtomicU64,
}

impl Listener for Near {
    fn changed(&self, change: Change<'_>) {
        match change {
            Change::Key(key) => {
                self.fence.void(key);
                if self.memory.forget(key) {
                    self.invalidations.fetch_add(1, Relaxed);
                }
                self.waiting.tell(key);
            }
            Change::Prefix(prefix) => {
                self.fence.void_everything();
                let forgotten = self.memory.forget_prefix(prefix);
                self.invalidations.fetch_add(forgotten, Relaxed);
            }
            Change::Everything => {
                self.fence.void_everything();
                self.memory.forget_everything();
                self.drops.fetch_add(1, Relaxed);
                self.waiting.tell_all();
            }
        }
    }
}

/// A write under way. If its caller goes away in the middle, or it fails, the near tier forgets the key.
struct Write<'a> {
    near: &'a Near,
    key: &'a [u8],
    ticket: Option<Ticket>,
}

impl<'a> Write<'a> {
    fn begin(near: &'a Near, key: &'a [u8]) -> Self {
        Self { near, key, ticket: Some(near.fence.begin_write(key)) }
    }

    /// It is done: the ticket says whether the written value may be kept.
    fn end(mut self) -> Ticket {
        let ticket = self.ticket.take().expect("taken here alone, and this consumes the write");
        self.near.fence.end_write(ticket)
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.near.fence.end_write(ticket);
            self.near.memory.forget(self.key);
        }
    }
}

/// A purge under way: when it ends, however it ends, the near tier has nothing left that it was meant to take.
struct Purge<'a>(&'a Near, &'a [u8]);

impl Drop for Purge<'_> {
    fn drop(&mut self) {
        self.0.fence.void_everything();
        self.0.memory.forget_prefix(self.1);
    }
}

impl Store for Tiered {
    fn get<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, Option<Bytes>> {
        match self.peek_near(key) {
            Some(value) => Box::pin(ready(Ok(Some(value)))),
            None => Box::pin(self.fetch(key)),
        }
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> StoreFuture<'a, Vec<Option<Bytes>>> {
        Box::pin(self.fetch_many(keys))
    }

    fn put<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, ()> {
        Box::pin(self.store(key, value, keep))
    }

    fn put_if_absent<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, bool> {
        Box::pin(self.store_if_absent(key, value, keep))
    }

    fn touch<'a>(&'a self, key: &'a [u8], ttl: Duration) -> StoreFuture<'a, bool> {
        Box::pin(self.prolong(key, ttl))
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, bool> {
        Box::pin(self.forget(key))
    }

    fn delete_by_prefix<'a>(&'a self, prefix: &'a [u8]) -> StoreFuture<'a, u64> {
        Box::pin(self.forget_prefix(prefix))
    }

    fn delete_by_tag<'a>(&'a self, tag: &'a str) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            check_tag(tag)?;
            self.forget_tag(tag).await
        })
    }

    fn clear(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.forget_everything())
    }
}

impl fmt::Debug for Tiered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiered").field("near", &self.inner.near.memory).field("far", &self.inner.far).finish()
    }
}
