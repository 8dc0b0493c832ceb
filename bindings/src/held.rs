//! What a Python cache holds, and how a key is found in it without running Python code under the lock.
//!
//! ```text
//!     lock ─► candidates with this hash ─► the same object, or plainly equal? ──────────────► found, still locked
//!                                     └─► doubtful: unlock ─► `==` ─► lock ─► still there? ─┘   (if not: again)
//! ```

use cache::{Cause, Core, Gone, Newcomer, Policy, Slot};
use parking_lot::{Mutex, MutexGuard};
use pyo3::prelude::*;

use crate::clock;
use crate::key::{Key, plainly_equal, spread};

/// A value in a cache, with the order in which things happened to it.
pub(crate) struct Held {
    pub(crate) object: Py<PyAny>,
    /// When its key came: iteration follows it.
    pub(crate) born: u64,
    /// When it was last used: pickling follows it.
    pub(crate) used: u64,
}

/// Everything behind a cache's lock.
pub(crate) struct Inner {
    pub(crate) core: Core<Key, Held>,
    /// Counts uses; `born` and `used` are taken from it.
    pub(crate) turn: u64,
    /// Counts comings and goings of keys, for iterators to notice. Expiry does not count.
    pub(crate) changes: u64,
    pub(crate) ttl: Option<u64>,
    pub(crate) sizer: Option<Py<PyAny>>,
    pub(crate) timer: Option<Py<PyAny>>,
    pub(crate) listener: Option<Py<PyAny>>,
}

/// An entry to be stored.
pub(crate) struct Offer<'a, 'py> {
    pub(crate) key: &'a Bound<'py, PyAny>,
    pub(crate) value: Py<PyAny>,
    pub(crate) hash: isize,
    pub(crate) weight: u64,
    pub(crate) deadline: u64,
    pub(crate) now: u64,
}

impl Inner {
    pub(crate) fn new(policy: Policy, capacity: u64, weighed: bool) -> Self {
        Self {
            core: Core::new(policy, capacity, weighed),
            turn: 0,
            changes: 0,
            ttl: None,
            sizer: None,
            timer: None,
            listener: None,
        }
    }

    /// Whether the entry is dead; `now` is a user's timer's, if there is one.
    #[inline(always)]
    pub(crate) fn is_dead(&self, slot: Slot, now: Option<u64>) -> bool {
        self.core.is_timed() && is_past(self.core.deadline(slot), now)
    }

    /// The key's slot, if there is one; `None` if only foreign code can tell.
    #[inline(always)]
    pub(crate) fn find(&self, key: &Bound<'_, PyAny>, hash: isize) -> Option<Option<Slot>> {
        let mut doubtful = false;
        let slot = self.core.find(spread(hash), |candidate| {
            candidate.hash == hash
                && plainly_equal(candidate.object.bind(key.py()), key).unwrap_or_else(|| {
                    doubtful = true;
                    false
                })
        });
        (slot.is_some() || !doubtful).then_some(slot)
    }

    /// Counts a use and returns the value.
    #[inline]
    pub(crate) fn hit(&mut self, py: Python<'_>, slot: Slot) -> Py<PyAny> {
        self.turn += 1;
        let held = self.core.hit(slot);
        held.used = self.turn;
        held.object.clone_ref(py)
    }

    /// Stores under the key already there, if `slot` is its place.
    #[inline(always)]
    pub(crate) fn put(&mut self, offer: Offer<'_, '_>, slot: Option<Slot>, gone: &mut Gone<Key, Held>) {
        self.turn += 1;
        let py = offer.key.py();
        let (object, born) = match slot {
            Some(slot) => (self.core.key(slot).object.clone_ref(py), self.core.value(slot).born),
            None => {
                self.changes += 1;
                (offer.key.clone().unbind(), self.turn)
            }
        };
        let newcomer = Newcomer {
            key: Key { object, hash: offer.hash },
            value: Held { object: offer.value, born, used: self.turn },
            hash: spread(offer.hash),
            weight: offer.weight,
            deadline: offer.deadline,
        };
        self.core.insert(newcomer, slot, offer.now, gone);
    }

    /// Takes an entry out that the user asked for.
    pub(crate) fn take(&mut self, slot: Slot) -> (Key, Held) {
        self.changes += 1;
        self.core.remove(slot, Cause::Explicit)
    }

    /// Sends the dead away.
    pub(crate) fn expire(&mut self, now: Option<u64>, gone: &mut Gone<Key, Held>) {
        if self.core.is_timed() {
            self.core.expire(now.unwrap_or_else(clock::now), gone);
        }
    }

    /// The live entries in the order in which their keys came, or were used.
    pub(crate) fn in_order(&self, now: Option<u64>, by: fn(&Held) -> u64) -> Vec<(&Key, &Held, u64)> {
        let now = if self.core.is_timed() { now.unwrap_or_else(clock::now) } else { 0 };
        let mut live: Vec<_> = self.core.iter().filter(|(_, _, deadline)| *deadline > now).collect();
        live.sort_unstable_by_key(|(_, held, _)| by(held));
        live
    }
}

/// Whether a deadline has come.
#[inline]
pub(crate) fn is_past(deadline: u64, now: Option<u64>) -> bool {
    match now {
        Some(now) => now >= deadline,
        None => clock::is_past(deadline),
    }
}

/// A key's place, with the lock held.
pub(crate) struct Located<'a> {
    pub(crate) inner: MutexGuard<'a, Inner>,
    pub(crate) slot: Option<Slot>,
    /// Keys that were compared: they may have left meanwhile, and this may be the last of them, so that they must end
    /// after the lock is released (fields are dropped in this order).
    _compared: Vec<Py<PyAny>>,
}

/// Finds a key and returns with the lock held.
#[inline]
pub(crate) fn locate<'a>(
    inner: &'a Mutex<Inner>,
    key: &Bound<'_, PyAny>,
    hash: isize,
) -> PyResult<Located<'a>> {
    let guard = inner.lock();
    if let Some(slot) = guard.find(key, hash) {
        return Ok(Located { inner: guard, slot, _compared: Vec::new() });
    }
    drop(guard);
    locate_by_asking(inner, key, hash)
}

/// Asks Python about each doubtful candidate, between two holds of the lock.
#[cold]
fn locate_by_asking<'a>(
    inner: &'a Mutex<Inner>,
    key: &Bound<'_, PyAny>,
    hash: isize,
) -> PyResult<Located<'a>> {
    let py = key.py();
    let mut others: Vec<Py<PyAny>> = Vec::new();
    loop {
        let guard = inner.lock();
        let mut doubtful = None;
        let slot = guard.core.find(spread(hash), |candidate| {
            if candidate.hash != hash {
                return false;
            }
            plainly_equal(candidate.object.bind(py), key).unwrap_or_else(|| {
                if doubtful.is_none() && !others.iter().any(|other| other.is(&candidate.object)) {
                    doubtful = Some(candidate.object.clone_ref(py));
                }
                false
            })
        });
        let Some(candidate) = doubtful.filter(|_| slot.is_none()) else {
            return Ok(Located { inner: guard, slot, _compared: others });
        };
        drop(guard);
        let is_equal = candidate.bind(py).eq(key)?;
        others.push(candidate);
        if is_equal {
            let guard = inner.lock();
            let slot =
                guard.core.find(spread(hash), |key| others.last().is_some_and(|other| key.object.is(other)));
            if slot.is_some() {
                return Ok(Located { inner: guard, slot, _compared: others });
            }
            // It has left while Python compared: look again.
        }
    }
}
