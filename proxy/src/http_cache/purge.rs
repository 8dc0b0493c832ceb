//! Purging: forgetting by key, by prefix, by tag, or everything.
//!
//! Tags are what the origin lists in `Surrogate-Key` (between spaces) and `Cache-Tag` (between commas):
//!
//! ```text
//!     Surrogate-Key: shoes shoe-7        purge tag "shoes" ─► forgets this response and every other with that tag
//! ```
//!
//! A response that was being fetched when the purge came is not stored: purges are remembered with their time, and
//! what was asked for before it is older than the purge. Only the latest [`REMEMBERED`] are; before that, everything.

use super::entry::Entry;
use super::key::Key;
use super::moment::Moment;
use http::header::{HeaderMap, HeaderName};
use parking_lot::{RwLock, RwLockReadGuard};
use std::collections::VecDeque;

/// What to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// One target, with all its variants.
    Key(Key),
    /// Every key that starts so: `http://shop.example/images/`.
    Prefix(String),
    /// Every response with this tag.
    Tag(String),
    /// Everything.
    All,
}

impl Purge {
    /// Whether a stored response is meant.
    pub fn means(&self, key: &Key, entry: &Entry) -> bool {
        match self {
            Self::Key(purged) => purged == key,
            Self::Prefix(prefix) => key.as_str().starts_with(prefix.as_str()),
            Self::Tag(tag) => tags(&entry.headers).any(|known| known == tag),
            Self::All => true,
        }
    }
}

/// The tags of a response.
pub(super) fn tags(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = |name: &HeaderName| headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    let by_spaces = values(&SURROGATE_KEY).flat_map(str::split_ascii_whitespace);
    let by_commas = values(&CACHE_TAG).flat_map(|line| line.split(',')).map(str::trim);
    by_spaces.chain(by_commas.filter(|tag| !tag.is_empty()))
}

/// The latest purges, for fetches that were under way.
#[derive(Default)]
pub(super) struct Purges(RwLock<Remembered>);

#[derive(Default)]
struct Remembered {
    latest: VecDeque<(Purge, Moment)>,
    /// Everything asked for until then is meant by some forgotten purge, for all we know.
    floor: Option<Moment>,
}

impl Purges {
    /// Remembers a purge. Whoever stored while holding [`Purges::hold`] has finished when this returns.
    pub(super) fn add(&self, purge: Purge, now: Moment) {
        let mut remembered = self.0.write();
        remembered.latest.push_back((purge, now));
        if remembered.latest.len() > REMEMBERED {
            let oldest = remembered.latest.pop_front();
            remembered.floor = oldest.map(|(_, at)| at).max(remembered.floor);
        }
    }

    /// Whether a purge came after a response was asked for.
    pub(super) fn mean(&self, key: &Key, entry: &Entry) -> bool {
        let remembered = self.0.read_recursive();
        let is_forgotten = remembered.floor.is_some_and(|floor| entry.sent <= floor);
        is_forgotten
            || remembered.latest.iter().any(|(purge, at)| entry.sent <= *at && purge.means(key, entry))
    }

    /// Keeps purges waiting while something is checked and stored.
    pub(super) fn hold(&self) -> impl Sized + '_ {
        let guard: RwLockReadGuard<'_, Remembered> = self.0.read_recursive();
        guard
    }
}

/// Purges remembered one by one.
const REMEMBERED: usize = 256;
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn tags_come_from_both_fields() {
        let mut headers = HeaderMap::new();
        headers.append(SURROGATE_KEY, HeaderValue::from_static("a  b"));
        headers.append(SURROGATE_KEY, HeaderValue::from_static("c"));
        headers.append(CACHE_TAG, HeaderValue::from_static("d e, f,,"));
        assert_eq!(tags(&headers).collect::<Vec<_>>(), ["a", "b", "c", "d e", "f"]);
    }
}
