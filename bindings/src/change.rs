//! Changes: storing, taking out, sending away, and telling the listener of what has left. Nothing that leaves is dropped,
//! weighed or told of under the lock.

use cache::{Cause, Gone};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::cache::{CacheBase, LISTENER, POPITEM, TIMER, WEIGHED};
use crate::clock;
use crate::held::{FOREVER, Held, Offer};
use crate::key::{Key, spread};
use crate::locate::{Located, locate};

impl CacheBase {
    /// Stores a value where nobody needs to be asked or told, and nothing dies; `false` if so nothing was stored.
    #[inline(always)]
    pub(crate) fn put(&self, key: &Bound<'_, PyAny>, hash: isize, value: &Bound<'_, PyAny>) -> bool {
        if self.has(WEIGHED | TIMER | LISTENER | POPITEM) {
            return false;
        }
        let py = key.py();
        let mut inner = self.inner.lock(py);
        if inner.ttl.is_some() || inner.core.is_timed() {
            return false;
        }
        // What leaves is dropped after the lock is; bound, it need not find out by itself that the thread is attached.
        match inner.find(key, hash) {
            Some(Some(slot)) => {
                let old = inner.replace(slot, value.clone().unbind());
                drop(inner);
                drop(old.into_bound(py));
            }
            Some(None) => match inner.add(key, hash, value.clone().unbind()) {
                Ok(left) => {
                    drop(inner);
                    drop(left.map(|(key, held)| (held.object.into_bound(py), key.object.into_bound(py))));
                }
                Err(_refused) => {
                    drop(inner);
                    return false;
                }
            },
            None => return false,
        }
        true
    }

    /// Stores a value; `ttl` is its own time to live, if it has one.
    pub(crate) fn store(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: Bound<'_, PyAny>,
        ttl: Option<Option<u64>>,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let weight = if this.has(WEIGHED) { this.weigh(&value)? } else { 1 };
        let hash = key.hash()?;
        if ttl.is_none() && this.put(key, hash, &value) {
            return Ok(());
        }
        let timer_now = this.timer_now(py)?;
        let mut gone = Gone::default();
        let mut located = locate(&this.inner, key, hash)?;
        if weight > located.inner.core.capacity() {
            return Err(too_large(weight, located.inner.core.capacity()));
        }
        while this.has(POPITEM) && !has_room(&located, weight) {
            drop(located);
            slf.call_method0("popitem")?;
            located = locate(&this.inner, key, hash)?;
        }
        let inner = &mut *located.inner;
        let life = ttl.unwrap_or(inner.ttl);
        let is_timed = life.is_some() || inner.core.is_timed();
        let now = if is_timed { timer_now.unwrap_or_else(clock::now) } else { 0 };
        let is_full = inner.core.weight() + weight > inner.core.capacity();
        if inner.core.is_timed()
            && (is_full || located.slot.is_some_and(|slot| inner.is_dead(slot, timer_now)))
        {
            // The dead make room before the living do; then entries have moved into the gaps.
            let stored = located.slot.map(|slot| inner.core.key(slot).object.clone_ref(py));
            inner.core.expire(now, &mut gone);
            located.slot =
                stored.and_then(|key| inner.core.find(spread(hash), |other| other.object.is(&key)));
        }
        let deadline = life.map_or(FOREVER, |life| now.saturating_add(life));
        let offer = Offer { key, value: value.unbind(), hash, weight, deadline, now };
        inner.put(offer, located.slot, &mut gone);
        drop(located);
        this.tell(py, gone)
    }

    fn weigh(&self, value: &Bound<'_, PyAny>) -> PyResult<u64> {
        let py = value.py();
        let sizer = self.inner.lock(py).sizer.as_ref().map(|sizer| sizer.clone_ref(py));
        let Some(sizer) = sizer else { return Ok(1) };
        let told = sizer.bind(py).call1((value,))?;
        told.extract::<u64>().map_err(|_| {
            let what = format!("value size {told} (must be a whole number from 0 to 2**64 - 1)");
            if told.is_instance_of::<PyInt>() {
                PyValueError::new_err(what)
            } else {
                PyTypeError::new_err(what)
            }
        })
    }

    pub(crate) fn take(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let (py, now) = (key.py(), self.timer_now(key.py())?);
        let mut located = locate(&self.inner, key, key.hash()?)?;
        let Some(slot) = located.slot else { return Ok(None) };
        let is_dead = located.inner.is_dead(slot, now);
        let (cause, (key, held)) = if is_dead {
            (Cause::Expired, located.inner.core.remove(slot, Cause::Expired))
        } else {
            (Cause::Explicit, located.inner.take(slot))
        };
        drop(located);
        self.tell_one(py, &key.object, &held.object, cause)?;
        Ok((!is_dead).then_some(held.object))
    }

    pub(crate) fn expire_now(&self, py: Python<'_>) -> PyResult<()> {
        let now = self.timer_now(py)?;
        let mut gone = Gone::default();
        self.inner.lock(py).expire(now, &mut gone);
        self.tell(py, gone)
    }

    /// Tells the listener of all that have left, then drops them. The first error of a listener comes out, after all
    /// were told.
    #[inline]
    pub(crate) fn tell(&self, py: Python<'_>, mut gone: Gone<Key, Held>) -> PyResult<()> {
        if gone.is_empty() || !self.has(LISTENER) {
            return Ok(());
        }
        let told: Vec<_> = gone
            .drain()
            .map(|(key, held, cause)| self.tell_one(py, &key.object, &held.object, cause))
            .collect();
        told.into_iter().collect()
    }

    pub(crate) fn tell_one(
        &self,
        py: Python<'_>,
        key: &Py<PyAny>,
        value: &Py<PyAny>,
        cause: Cause,
    ) -> PyResult<()> {
        if !self.has(LISTENER) {
            return Ok(());
        }
        let listener = self.inner.lock(py).listener.as_ref().map(|listener| listener.clone_ref(py));
        listener.map_or(Ok(()), |listener| listener.call1(py, (key, value, cause.to_string())).map(drop))
    }
}

/// Whether the entry fits without anyone leaving.
fn has_room(located: &Located<'_>, weight: u64) -> bool {
    let core = &located.inner.core;
    let own = located.slot.map_or(0, |slot| core.weight_of(slot));
    core.is_empty() || core.weight() - own + weight <= core.capacity()
}

fn too_large(weight: u64, capacity: u64) -> PyErr {
    PyValueError::new_err(format!("value too large: size {weight} (maxsize {capacity})"))
}
