//! How a key is found without running Python code under the lock.
//!
//! ```text
//!     lock ─► candidates with this hash ─► the same object, or plainly equal? ──────────────► found, still locked
//!                                     └─► doubtful: unlock ─► `==` ─► lock ─► still there? ─┘   (if not: again)
//! ```

use cache::Slot;
use pyo3::prelude::*;

use crate::held::Inner;
use crate::key::{plainly_equal, spread};
use crate::lock::{Guard, Lock};

/// A key's place, with the lock held.
pub(crate) struct Located<'a> {
    pub(crate) inner: Guard<'a, Inner>,
    pub(crate) slot: Option<Slot>,
    /// Keys that were compared: they may have left meanwhile, and this may be the last of them, so that they must end
    /// after the lock is released (fields are dropped in this order).
    _compared: Vec<Py<PyAny>>,
}

/// Nobody takes it apart: what was compared would then end before the lock is released.
impl Drop for Located<'_> {
    fn drop(&mut self) {}
}

/// Finds a key and returns with the lock held.
#[inline]
pub(crate) fn locate<'a>(
    inner: &'a Lock<Inner>,
    key: &Bound<'a, PyAny>,
    hash: isize,
) -> PyResult<Located<'a>> {
    let guard = inner.lock(key.py());
    if let Some(slot) = guard.find(key, hash) {
        return Ok(Located { inner: guard, slot, _compared: Vec::new() });
    }
    drop(guard);
    locate_by_asking(inner, key, hash)
}

/// Asks Python about each doubtful candidate, between two holds of the lock.
#[cold]
fn locate_by_asking<'a>(
    inner: &'a Lock<Inner>,
    key: &Bound<'a, PyAny>,
    hash: isize,
) -> PyResult<Located<'a>> {
    let py = key.py();
    let mut others: Vec<Py<PyAny>> = Vec::new();
    loop {
        let guard = inner.lock(key.py());
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
            let guard = inner.lock(key.py());
            let slot =
                guard.core.find(spread(hash), |key| others.last().is_some_and(|other| key.object.is(other)));
            if slot.is_some() {
                return Ok(Located { inner: guard, slot, _compared: others });
            }
            // It has left while Python compared: look again.
        }
    }
}
