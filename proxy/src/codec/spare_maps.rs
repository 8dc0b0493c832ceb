//! Maps for fields, used over and over.
//!
//! A message's map takes two pieces of memory, one of them too large for what the allocator keeps at hand. So the map of a
//! message that has gone out is emptied and serves one that comes in on the same worker.

use std::cell::RefCell;

use http::HeaderMap;

/// An empty map with room for so many fields.
pub(crate) fn spare_map(room: usize) -> HeaderMap {
    match SPARE.with_borrow_mut(Vec::pop) {
        // Of one that is too small the rest is taken as it is needed.
        Some(map) => map,
        None => HeaderMap::with_capacity(room),
    }
}

/// A map that is no longer needed.
pub(crate) fn give_back(mut map: HeaderMap) {
    if map.capacity() == 0 || map.capacity() > ROOM_MAX {
        return;
    }
    map.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_MAX {
            spare.push(map);
        }
    });
}

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// Maps that wait on a worker, and the fields that each may have room for: about 100 KiB at most.
const SPARE_MAX: usize = 32;
const ROOM_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn nothing_of_a_message_is_seen_by_the_next() {
        let mut map = spare_map(12);
        map.append(header::COOKIE, HeaderValue::from_static("a"));
        map.append(header::COOKIE, HeaderValue::from_static("b"));
        let room = map.capacity();
        give_back(map);
        let map = spare_map(1);
        assert!(map.is_empty() && map.capacity() == room && !map.contains_key(header::COOKIE));
    }

    #[test]
    fn what_is_kept_has_limits() {
        give_back(HeaderMap::new());
        give_back(HeaderMap::with_capacity(1000));
        for _ in 0..100 {
            give_back(HeaderMap::with_capacity(ROOM_MAX));
        }
        SPARE.with_borrow(|spare| {
            assert_eq!(spare.len(), SPARE_MAX);
            assert!(spare.iter().all(|map| map.capacity() <= ROOM_MAX));
        });
    }
}
