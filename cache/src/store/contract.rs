//! What every store promises: bytes under a key for a while.
//!
//! ```text
//!     put(key, value, Keep) ──► get(key) = value   until   the time to live has passed,
//!                                                          the key, its prefix or one of its tags was deleted,
//!                                                          or the store needed the room
//! ```
//!
//! A store is a cache, not a database: it may forget anything at any time, and it never returns bytes other than those
//! put last under that key by anyone (a [`Tiered`](super::Tiered) store states for how long it may lag). Keys and
//! values are any bytes. Every method may be called from many tasks at once, and the trait can be a `dyn`: the price
//! is one small allocation a call, next to which a round trip to a server is a thousand times longer.
//!
//! Not for values that must survive: use a database. Not for Rust values of one process: use [`Cache`](crate::Cache).

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use super::StoreError;

/// What a [`Store`] method returns: a future that can move between threads.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Bytes under a key for a while.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use cache::store::{Keep, Store, StoreError};
///
/// async fn sell(store: &dyn Store) -> Result<(), StoreError> {
///     let an_hour = Keep::for_ttl(Duration::from_secs(3600)).tagged(&["shoes"]);
///     store.put(b"/shoes/7", Bytes::from("red"), an_hour).await?;
///     assert_eq!(store.get(b"/shoes/7").await?, Some(Bytes::from("red")));
///
///     store.delete_by_tag("shoes").await?;
///     assert_eq!(store.get(b"/shoes/7").await?, None);
///     Ok(())
/// }
/// ```
pub trait Store: Send + Sync + fmt::Debug {
    /// The bytes under `key`, or `None`.
    fn get<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, Option<Bytes>>;

    /// The bytes under each of `keys`, in their order.
    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> StoreFuture<'a, Vec<Option<Bytes>>>;

    /// Keeps `value` under `key`, whatever was there before.
    fn put<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, ()>;

    /// Keeps `value` under `key` unless something is there. True when it was kept: of many callers at once, one.
    fn put_if_absent<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, bool>;

    /// Gives what is under `key` a new time to live, counted from now. False when nothing is there.
    fn touch<'a>(&'a self, key: &'a [u8], ttl: Duration) -> StoreFuture<'a, bool>;

    /// Forgets `key`. True when something was there.
    fn delete<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, bool>;

    /// Forgets every key that starts with `prefix`; how many. What is put meanwhile may stay.
    fn delete_by_prefix<'a>(&'a self, prefix: &'a [u8]) -> StoreFuture<'a, u64>;

    /// Forgets every key that was last put with `tag`; how many. A key that had the tag before may go too, and what is put
    /// meanwhile may stay.
    fn delete_by_tag<'a>(&'a self, tag: &'a str) -> StoreFuture<'a, u64>;

    /// Forgets everything in this store's namespace, and nothing else; how many.
    fn clear(&self) -> StoreFuture<'_, u64>;
}

/// A shared store is a store.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn get<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, Option<Bytes>> {
        (**self).get(key)
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> StoreFuture<'a, Vec<Option<Bytes>>> {
        (**self).get_many(keys)
    }

    fn put<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, ()> {
        (**self).put(key, value, keep)
    }

    fn put_if_absent<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, bool> {
        (**self).put_if_absent(key, value, keep)
    }

    fn touch<'a>(&'a self, key: &'a [u8], ttl: Duration) -> StoreFuture<'a, bool> {
        (**self).touch(key, ttl)
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, bool> {
        (**self).delete(key)
    }

    fn delete_by_prefix<'a>(&'a self, prefix: &'a [u8]) -> StoreFuture<'a, u64> {
        (**self).delete_by_prefix(prefix)
    }

    fn delete_by_tag<'a>(&'a self, tag: &'a str) -> StoreFuture<'a, u64> {
        (**self).delete_by_tag(tag)
    }

    fn clear(&self) -> StoreFuture<'_, u64> {
        (**self).clear()
    }
}

/// For how long a value is kept, and under which tags it can be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep<'a> {
    ttl: Duration,
    tags: &'a [&'a str],
}

impl<'a> Keep<'a> {
    /// For `ttl` at the longest: 1 ms to [`Keep::TTL_MAX`]. Parts of a millisecond are rounded up.
    pub const fn for_ttl(ttl: Duration) -> Self {
        Self { ttl, tags: &[] }
    }

    /// The same, forgotten too when one of `tags` is: at most [`Keep::TAGS_MAX`] of at most
    /// [`Keep::TAG_BYTES_MAX`] bytes each.
    pub const fn tagged(self, tags: &'a [&'a str]) -> Self {
        Self { ttl: self.ttl, tags }
    }

    /// The time to live.
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The tags.
    pub const fn tags(&self) -> &'a [&'a str] {
        self.tags
    }

    /// The longest time to live, ten years.
    pub const TTL_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
    /// The most tags on one value.
    pub const TAGS_MAX: usize = 128;
    /// The longest tag.
    pub const TAG_BYTES_MAX: usize = 256;

    /// The time to live in whole milliseconds, with the tags checked on the way.
    pub(super) fn checked_ttl_ms(&self) -> Result<u64, StoreError> {
        if self.tags.len() > Self::TAGS_MAX {
            let what = format!("{} tags (at most {})", self.tags.len(), Self::TAGS_MAX);
            return Err(StoreError::BadTags { what: what.into() });
        }
        for tag in self.tags {
            check_tag(tag)?;
        }
        ttl_ms(self.ttl)
    }
}

/// Refuses an empty tag and one over [`Keep::TAG_BYTES_MAX`].
pub(super) fn check_tag(tag: &str) -> Result<(), StoreError> {
    if tag.is_empty() || tag.len() > Keep::TAG_BYTES_MAX {
        let what = format!("tag of {} bytes (must be 1 to {})", tag.len(), Keep::TAG_BYTES_MAX);
        return Err(StoreError::BadTags { what: what.into() });
    }
    Ok(())
}

/// `ttl` in milliseconds, rounded up, within 1 ms and [`Keep::TTL_MAX`].
pub(super) fn ttl_ms(ttl: Duration) -> Result<u64, StoreError> {
    if ttl.is_zero() || ttl > Keep::TTL_MAX {
        return Err(StoreError::TtlOutOfRange { ttl, max: Keep::TTL_MAX });
    }
    let ms = ttl.as_nanos().div_ceil(1_000_000);
    Ok(u64::try_from(ms).expect("ten years are fewer than 2^64 milliseconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_live_is_rounded_up_and_bounded() {
        assert_eq!(ttl_ms(Duration::from_nanos(1)).unwrap(), 1);
        assert_eq!(ttl_ms(Duration::from_micros(1_001)).unwrap(), 2);
        assert_eq!(ttl_ms(Keep::TTL_MAX).unwrap(), 316_224_000_000);
        for bad in [Duration::ZERO, Keep::TTL_MAX + Duration::from_nanos(1), Duration::MAX] {
            assert!(matches!(ttl_ms(bad), Err(StoreError::TtlOutOfRange { .. })), "{bad:?}");
        }
    }

    #[test]
    fn tags_are_bounded() {
        let second = Duration::from_secs(1);
        let long = "t".repeat(Keep::TAG_BYTES_MAX + 1);
        let many = vec!["t"; Keep::TAGS_MAX + 1];
        for bad in [&[""][..], &[long.as_str()], &many] {
            let error = Keep::for_ttl(second).tagged(bad).checked_ttl_ms().unwrap_err();
            assert!(matches!(error, StoreError::BadTags { .. }), "{error}");
        }
        assert_eq!(Keep::for_ttl(second).tagged(&many[1..]).checked_ttl_ms().unwrap(), 1_000);
    }
}
