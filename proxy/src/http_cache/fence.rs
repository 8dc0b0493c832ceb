//! Fences: what was being fetched when its key was invalidated must not be stored afterwards.
//!
//! ```text
//!     now() = 7 ── fetch GET /x ─────────────────────────────► put: raised after 7, refused
//!                        PUT /x ─► invalidate: raised at 8
//! ```
//!
//! Invalidations are numbered. Each slot of the table remembers the last [`REMEMBERED`] of its keys, by hash; when it
//! forgets one, its floor rises to that number and every fetch of the slot that began before is refused: too many
//! refusals cost a fetch, too few would serve what is gone. The lock of a slot also orders changes of its keys' variants.

use super::key::Key;
use parking_lot::{Mutex, MutexGuard};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The moment a fetch began, in invalidations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence(u64);

/// The latest invalidations.
pub(super) struct Fences {
    slots: Box<[Mutex<Slot>]>,
    count: AtomicU64,
    hasher: RandomState,
}

#[derive(Default)]
struct Slot {
    /// Hash of a key and the number of its invalidation; a ring.
    latest: [(u64, u64); REMEMBERED],
    next: usize,
    floor: u64,
}

/// A locked slot, for one key.
pub(super) struct Locked<'a> {
    slot: MutexGuard<'a, Slot>,
    hash: u64,
    count: &'a AtomicU64,
}

impl Fences {
    pub(super) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| Mutex::default()).collect();
        Self { slots, count: AtomicU64::new(0), hasher: RandomState::new() }
    }

    /// Now.
    pub(super) fn now(&self) -> Fence {
        // Acquire with the release in `raise`: a fetch that begins now begins after every invalidation it counts.
        Fence(self.count.load(Ordering::Acquire))
    }

    /// Locks the slot of a key.
    pub(super) fn lock(&self, key: &Key) -> Locked<'_> {
        let hash = self.hasher.hash_one(key);
        // The remainder is below the length of the table, a usize.
        let at = usize::try_from(hash % self.slots.len() as u64).unwrap_or(0);
        Locked { slot: self.slots[at].lock(), hash, count: &self.count }
    }
}

impl Locked<'_> {
    /// Whether the key was invalidated since then.
    pub(super) fn is_raised(&self, since: Fence) -> bool {
        let is_ours = |&(hash, number): &(u64, u64)| hash == self.hash && number > since.0;
        self.slot.floor > since.0 || self.slot.latest.iter().any(is_ours)
    }

    /// The key is invalid from now on.
    pub(super) fn raise(&mut self) {
        let number = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        let (hash, slot) = (self.hash, &mut *self.slot);
        let (_, forgotten) = std::mem::replace(&mut slot.latest[slot.next], (hash, number));
        slot.floor = slot.floor.max(forgotten);
        slot.next = (slot.next + 1) % REMEMBERED;
    }
}

const SLOTS: usize = 1024;
/// Invalidations remembered by a slot.
const REMEMBERED: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    fn key(nth: usize) -> Key {
        Key::new("http", "a.test", &format!("/{nth}"), &Settings::default())
    }

    #[test]
    fn an_invalidation_is_for_its_key_and_for_what_began_before() {
        let fences = Fences::new();
        let before = fences.now();
        fences.lock(&key(1)).raise();
        assert!(fences.lock(&key(1)).is_raised(before));
        assert!(!fences.lock(&key(1)).is_raised(fences.now()));
        assert!((2..500).all(|nth| !fences.lock(&key(nth)).is_raised(before)), "neighbours in a slot too");
    }

    #[test]
    fn what_is_forgotten_still_refuses() {
        let fences = Fences::new();
        let before = fences.now();
        fences.lock(&key(0)).raise();
        for nth in 1..100_000 {
            fences.lock(&key(nth)).raise();
        }
        assert!(fences.lock(&key(0)).is_raised(before));
        assert!(!fences.lock(&key(0)).is_raised(fences.now()));
    }
}
