//! What a Python cache holds, and what happens to it under the lock.

use std::cell::Cell;

use cache::{Cause, Core, Gone, Newcomer, Policy, Slot};
use pyo3::prelude::*;

use crate::clock;
use crate::key::{Key, plainly_equal, spread};

/// The deadline of what has none.
pub(crate) const FOREVER: u64 = Core::<Key, Held>::NEVER;

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
        let wanted = Wanted { key, hash, is_doubtful: Cell::new(false) };
        let slot = self.core.find(spread(hash), |stored| stored.object.is(key) || wanted.equals(stored));
        (slot.is_some() || !wanted.is_doubtful.get()).then_some(slot)
    }

    /// Counts a use and returns the value.
    #[inline(always)]
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

    /// Stores another value under the key that is in `slot`, where nothing is weighed and nothing has a deadline; the old
    /// one comes back.
    #[inline(always)]
    pub(crate) fn replace(&mut self, slot: Slot, value: Py<PyAny>) -> Py<PyAny> {
        self.turn += 1;
        let held = self.core.replace(slot);
        held.used = self.turn;
        std::mem::replace(&mut held.object, value)
    }

    /// Stores under a new key, where nothing is weighed and nothing has a deadline; says who left. `Err` if it is not so.
    #[inline(always)]
    pub(crate) fn add(
        &mut self,
        key: &Bound<'_, PyAny>,
        hash: isize,
        value: Py<PyAny>,
    ) -> Result<Option<(Key, Held)>, Newcomer<Key, Held>> {
        let newcomer = Newcomer {
            key: Key { object: key.clone().unbind(), hash },
            value: Held { object: value, born: self.turn + 1, used: self.turn + 1 },
            hash: spread(hash),
            weight: 1,
            deadline: FOREVER,
        };
        let left = self.core.admit(newcomer)?;
        self.turn += 1;
        self.changes += 1;
        Ok(left)
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

/// A key that is looked for. Asked about another only if it is not the very same: that is how most keys are found.
struct Wanted<'a, 'py> {
    key: &'a Bound<'py, PyAny>,
    hash: isize,
    is_doubtful: Cell<bool>,
}

impl Wanted<'_, '_> {
    #[inline(never)]
    fn equals(&self, stored: &Key) -> bool {
        stored.hash == self.hash
            && plainly_equal(stored.object.bind(self.key.py()), self.key).unwrap_or_else(|| {
                self.is_doubtful.set(true);
                false
            })
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
