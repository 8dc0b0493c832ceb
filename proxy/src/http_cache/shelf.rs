//! Where stored responses stay: in this process, or in a store that processes share.
//!
//! ```text
//!     key ──► [ newest variant, older variant, … ]        at most VARIANTS_MAX for a key
//! ```
//!
//! In memory, the variants of a key are one value of a [`cache::Cache`], which bounds both the bytes (heads and bodies)
//! and the number of variants. In a shared store they are one value in the format of [`codec`](super::codec); any
//! trouble with the store is a miss.
//!
//! A fill that was under way when its key was invalidated, or when a purge that means it came, is not stored: see
//! [`Fences`] and [`Purges`], and [`far_fence`] for purges by other processes.

use super::codec::{decode, encode};
use super::entry::Extent;
use super::far_fence;
use super::fence::{Fence, Fences};
use super::key::Key;
use super::moment::Moment;
use super::purge::{Purge, Purges, tags};
use super::settings::Settings;
use super::storable::Refusal;
use super::stored::Stored;
use cache::Cache;
use cache::store::{Keep, Store};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The variants of a key, newest first.
pub(super) type Variants = Arc<[Arc<Stored>]>;

/// Where responses are stored.
#[derive(Clone)]
pub struct Storage(Kind);

#[derive(Clone)]
enum Kind {
    Memory(Cache<Key, Variants>),
    Shared(Arc<dyn Store>),
}

/// Stored responses by key.
pub(super) struct Shelf {
    storage: Storage,
    fences: Fences,
    purges: Purges,
    /// What is on its way into a shared store, so that the next request finds it however slow the store is.
    arriving: Mutex<HashMap<Key, Vec<Arc<Stored>>>>,
    settings: Settings,
}

impl Storage {
    /// In this process, bounded by the settings' `capacity` and `max_bytes`.
    ///
    /// # Errors
    ///
    /// Zero bounds.
    pub fn memory(policy: cache::Policy, settings: &Settings) -> Result<Self, cache::BuildError> {
        // One budget for two bounds: a variant weighs its bytes, but at least the share that lets `capacity` of them in.
        let share = (settings.max_bytes / (settings.capacity as u64).max(1)).max(1);
        let weigh = move |key: &Key, variants: &Variants| {
            let weights = variants.iter().map(|variant| (variant.weight() as u64).max(share));
            weights.sum::<u64>().saturating_add(key.as_str().len() as u64)
        };
        Ok(Self(Kind::Memory(Cache::builder(settings.max_bytes).policy(policy).weigher(weigh).build()?)))
    }

    /// What memory holds and has done; nothing for a shared store, which tells that itself.
    pub fn stats(&self) -> Option<cache::Stats> {
        match &self.0 {
            Kind::Memory(cache) => Some(cache.stats()),
            Kind::Shared(_) => None,
        }
    }

    /// In a store that other processes may share: Redis, or memory over Redis.
    pub fn shared(store: Arc<dyn Store>) -> Self {
        Self(Kind::Shared(store))
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Kind::Memory(_) => "Storage::memory",
            Kind::Shared(_) => "Storage::shared",
        })
    }
}

impl Shelf {
    /// An empty shelf, or one over what a store holds.
    pub(super) fn new(storage: Storage, settings: Settings) -> Self {
        Self {
            storage,
            fences: Fences::new(),
            purges: Purges::default(),
            arriving: Mutex::default(),
            settings,
        }
    }

    /// What is stored under a key, newest first.
    pub(super) async fn find(&self, key: &str) -> Variants {
        match &self.storage.0 {
            Kind::Memory(cache) => cache.get(key).unwrap_or_default(),
            Kind::Shared(store) => {
                let arriving = self.arriving.lock().get(key).cloned().unwrap_or_default();
                let variants = read(store.as_ref(), key).await;
                if arriving.is_empty() {
                    return variants;
                }
                arriving.iter().rev().chain(variants.iter()).cloned().collect()
            }
        }
    }

    /// The fence to show when what is being fetched now is put.
    pub(super) fn fence(&self) -> Fence {
        self.fences.now()
    }

    /// Stores a response among the variants of its key, in place of the one with equal selecting fields.
    ///
    /// # Errors
    ///
    /// Why it was not stored.
    pub(super) async fn put(
        &self,
        key: &Key,
        stored: Stored,
        fence: Fence,
        now: Moment,
    ) -> Result<(), Refusal> {
        if stored.body.length() > self.settings.max_object_bytes {
            return Err(Refusal::TooLong);
        }
        match &self.storage.0 {
            Kind::Memory(cache) => {
                let _purges_wait = self.purges.hold();
                let slot = self.fences.lock(key);
                if slot.is_raised(fence) || self.purges.mean(key, &stored.entry) {
                    return Err(Refusal::Invalidated);
                }
                let variants = self.with(&cache.peek(key).unwrap_or_default(), stored);
                let is_in = cache.insert(key.clone(), variants);
                if is_in { Ok(()) } else { Err(Refusal::TooLong) }
            }
            Kind::Shared(store) => self.write(store.as_ref(), key, stored, fence, now).await,
        }
    }

    /// Forgets the variant that a stored response is.
    pub(super) async fn remove(&self, key: &Key, gone: &Stored, now: Moment) {
        let keep = |variants: Variants| -> Variants {
            variants
                .iter()
                .filter(|variant| variant.entry.selecting != gone.entry.selecting)
                .cloned()
                .collect()
        };
        match &self.storage.0 {
            Kind::Memory(cache) => {
                let _slot = self.fences.lock(key);
                let left = keep(cache.peek(key).unwrap_or_default());
                if left.is_empty() {
                    cache.remove(key);
                } else {
                    cache.insert(key.clone(), left);
                }
            }
            Kind::Shared(store) => {
                let left = keep(read(store.as_ref(), key.as_str()).await);
                if left.is_empty() {
                    // An unreachable store forgets by itself: entries have a time to live.
                    let _ = store.delete(key.as_str().as_bytes()).await;
                } else {
                    self.write_all(store.as_ref(), key, &left, now).await;
                }
            }
        }
    }

    /// Forgets a key, and whatever is being fetched for it.
    pub(super) async fn invalidate(&self, key: &Key, now: Moment) -> bool {
        match &self.storage.0 {
            Kind::Memory(cache) => {
                let mut slot = self.fences.lock(key);
                slot.raise();
                cache.remove(key).is_some()
            }
            Kind::Shared(store) => {
                self.fences.lock(key).raise();
                self.arriving.lock().remove(key);
                far_fence::raise(store.as_ref(), Some(key), now).await;
                store.delete(key.as_str().as_bytes()).await.unwrap_or(false)
            }
        }
    }

    /// Forgets all that a purge means, and whatever is being fetched of it; how many keys.
    ///
    /// # Errors
    ///
    /// The store's: some of it may still be there.
    pub(super) async fn purge(&self, purge: Purge, now: Moment) -> Result<u64, cache::store::StoreError> {
        if let Purge::Key(key) = &purge {
            return Ok(u64::from(self.invalidate(key, now).await));
        }
        self.purges.add(purge.clone(), now);
        match &self.storage.0 {
            Kind::Memory(cache) => {
                let mut gone = 0;
                cache.retain(|key, variants| {
                    let is_meant = variants.iter().any(|variant| purge.means(key, &variant.entry));
                    gone += u64::from(is_meant);
                    !is_meant
                });
                Ok(gone)
            }
            Kind::Shared(store) => {
                self.arriving.lock().retain(|key, of_key| {
                    of_key.retain(|stored| !purge.means(key, &stored.entry));
                    !of_key.is_empty()
                });
                far_fence::raise(store.as_ref(), None, now).await;
                match &purge {
                    Purge::Key(_) => Ok(0), // above
                    Purge::Prefix(prefix) => store.delete_by_prefix(prefix.as_bytes()).await,
                    Purge::Tag(tag) => store.delete_by_tag(tag).await,
                    // All but the fences.
                    Purge::All => store.delete_by_prefix(b"http").await,
                }
            }
        }
    }

    /// The variants with a new one in front.
    fn with(&self, variants: &[Arc<Stored>], stored: Stored) -> Variants {
        let same = variants.iter().find(|variant| variant.entry.selecting == stored.entry.selecting);
        let stored = match (same, stored.entry.extent) {
            (Some(older), Extent::Part(_)) => stored.join(older),
            _ => stored,
        };
        let others =
            variants.iter().filter(|variant| variant.entry.selecting != stored.entry.selecting).cloned();
        let others: Vec<_> = others.take(VARIANTS_MAX - 1).collect();
        let mut room = self.settings.max_object_bytes.saturating_mul(2).max(stored.body.length());
        let newest_first = std::iter::once(Arc::new(stored)).chain(others);
        let fitting = newest_first.take_while(|variant| {
            let fits = variant.body.length() <= room;
            room = room.saturating_sub(variant.body.length());
            fits
        });
        fitting.collect()
    }

    /// Reads, changes and writes back. Another process may do so at the same time: the last one wins, and what is
    /// lost is fetched again.
    async fn write(
        &self,
        store: &dyn Store,
        key: &Key,
        stored: Stored,
        fence: Fence,
        now: Moment,
    ) -> Result<(), Refusal> {
        let stored = Arc::new(stored);
        let is_gone = || self.fences.lock(key).is_raised(fence) || self.purges.mean(key, &stored.entry);
        let is_gone_by = |raised: Option<Moment>| raised.is_some_and(|raised| stored.entry.sent <= raised);
        if is_gone() {
            return Err(Refusal::Invalidated);
        }
        let _arriving = self.arrive(key, &stored);
        let (raised, old) = far_fence::raised_and_value(store, key).await;
        if is_gone_by(raised) {
            return Err(Refusal::Invalidated);
        }
        let old: Variants = old.and_then(|bytes| decode(key.as_str(), bytes)).unwrap_or_default().into();
        let variants = self.with(&old, Stored::clone(&stored));
        self.write_all(store, key, &variants, now).await;
        if is_gone() || is_gone_by(far_fence::raised(store, key).await) {
            // An unreachable store forgets by itself: entries have a time to live.
            let _ = store.delete(key.as_str().as_bytes()).await;
            return Err(Refusal::Invalidated);
        }
        Ok(())
    }

    /// Makes a response visible until the guard is dropped.
    fn arrive<'a>(&'a self, key: &'a Key, stored: &Arc<Stored>) -> Arriving<'a> {
        self.arriving.lock().entry(key.clone()).or_default().push(Arc::clone(stored));
        Arriving { shelf: self, key, stored: Arc::clone(stored) }
    }

    async fn write_all(&self, store: &dyn Store, key: &Key, variants: &Variants, now: Moment) {
        let ttl = variants.iter().map(|variant| self.useful_for(variant, now)).max().unwrap_or_default();
        let ttl = ttl.clamp(Duration::from_secs(1), Keep::TTL_MAX);
        let mut all_tags: Vec<&str> =
            variants.iter().flat_map(|variant| tags(&variant.entry.headers)).collect();
        all_tags.sort_unstable();
        all_tags.dedup();
        all_tags.retain(|tag| tag.len() <= Keep::TAG_BYTES_MAX);
        if all_tags.len() > Keep::TAGS_MAX {
            return; // it could not be purged by all its tags
        }
        // A store that cannot be reached keeps nothing; the next request fetches again.
        let keep = Keep::for_ttl(ttl).tagged(&all_tags);
        let _ = store.put(key.as_str().as_bytes(), encode(key, variants), keep).await;
    }

    /// How long a stored response may still be of use: fresh, stale and allowed, or to validate.
    fn useful_for(&self, stored: &Stored, now: Moment) -> Duration {
        let entry = &stored.entry;
        let stale = entry.control.stale_while_revalidate.max(entry.control.stale_if_error);
        let grace = stale.unwrap_or_default().max(self.settings.stale_if_error);
        let grace = if entry.validators.is_empty() { grace } else { grace.max(VALIDATED_FOR) };
        entry.freshness.left(now).saturating_add(grace)
    }
}

/// The variants under a key; trouble with the store, or with what it gives, is a miss.
async fn read(store: &dyn Store, key: &str) -> Variants {
    let bytes = store.get(key.as_bytes()).await.ok().flatten();
    bytes.and_then(|bytes| decode(key, bytes)).unwrap_or_default().into()
}

/// A response on its way into a shared store.
struct Arriving<'a> {
    shelf: &'a Shelf,
    key: &'a Key,
    stored: Arc<Stored>,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        let mut arriving = self.shelf.arriving.lock();
        let Some(of_key) = arriving.get_mut(self.key) else { return };
        of_key.retain(|stored| !Arc::ptr_eq(stored, &self.stored));
        if of_key.is_empty() {
            arriving.remove(self.key);
        }
    }
}

/// Variants kept for a key; the oldest goes first.
pub(super) const VARIANTS_MAX: usize = 32;
/// How long a stale response with a validator stays in a shared store.
const VALIDATED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
