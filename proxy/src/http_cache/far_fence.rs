//! Fences between processes: what one purges, another that is just fetching it does not put back.
//!
//! ```text
//!     one process      purge /x:   put fence /x = now ─► delete /x
//!     another          fill  /x:   read fences ─► put /x ─► read fences ─► raised since /x was asked for? delete /x
//! ```
//!
//! In whatever order these steps meet: either the delete comes after the put, or the fence was there before the second
//! read. One fence is for one target; purges by prefix, by tag and of everything raise one that stands for all. A fill
//! pays for that with one more round trip, a hit with none.
//!
//! Bounds: a fill that ends more than [`KEPT_FOR`] after the purge is not stopped; the times are those of two
//! processes, whose clocks must agree as well as the purge is to be exact; and a store with memory in front may read
//! a fence that is as old as an invalidation message on its way. While the store cannot be reached there is no fence,
//! and no purge either.

use super::key::Key;
use super::moment::Moment;
use bytes::Bytes;
use cache::store::{Keep, Store};
use std::time::Duration;

/// Raises the fence of one target, or of all.
pub(super) async fn raise(store: &dyn Store, key: Option<&Key>, now: Moment) {
    let value = Bytes::from(now.millis().to_string());
    // An unreachable store: the purge itself tells.
    let _ = store.put(name(key).as_bytes(), value, Keep::for_ttl(KEPT_FOR)).await;
}

/// The latest moment that a fence of this target stands for.
pub(super) async fn raised(store: &dyn Store, key: &Key) -> Option<Moment> {
    let (own, all) = (name(Some(key)), name(None));
    latest(&store.get_many(&[own.as_bytes(), all.as_bytes()]).await.ok()?)
}

/// The same, and what is under the key itself.
pub(super) async fn raised_and_value(store: &dyn Store, key: &Key) -> (Option<Moment>, Option<Bytes>) {
    let (own, all) = (name(Some(key)), name(None));
    let keys = [own.as_bytes(), all.as_bytes(), key.as_str().as_bytes()];
    let mut values = store.get_many(&keys).await.unwrap_or_default();
    let value = if values.len() == keys.len() { values.pop().flatten() } else { None };
    (latest(&values), value)
}

fn latest(fences: &[Option<Bytes>]) -> Option<Moment> {
    fences.iter().flatten().filter_map(|value| moment(value)).max()
}

/// No key of a response begins so: those begin with their scheme.
fn name(key: Option<&Key>) -> String {
    format!("fence {}", key.map_or("*", Key::as_str))
}

/// What is odd is no fence.
fn moment(value: &[u8]) -> Option<Moment> {
    std::str::from_utf8(value).ok()?.parse().ok().map(Moment::from_millis)
}

/// How long a fence stands.
const KEPT_FOR: Duration = Duration::from_secs(600);
