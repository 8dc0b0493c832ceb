//! Lookups: quick where nobody needs to be asked or told, and closely where Python code must be.

use cache::Cause;
use pyo3::prelude::*;

use crate::cache::{CacheBase, TIMER};
use crate::clock;
use crate::locate::locate;

/// What a look without questions tells.
pub(crate) enum Glance {
    Hit(Py<PyAny>),
    /// Counted as one.
    Miss,
    /// Python code must be asked or told.
    Unsure,
}

impl CacheBase {
    /// The value under the key, as a use.
    #[inline]
    pub(crate) fn look(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let hash = key.hash()?;
        match self.glance(key, hash, true) {
            Glance::Hit(value) => Ok(Some(value)),
            Glance::Miss => Ok(None),
            Glance::Unsure => self.look_closely(key, hash),
        }
    }

    /// Looks where nobody needs to be asked or told. If a miss is not to be counted here, it is `Unsure`.
    #[inline(always)]
    pub(crate) fn glance(&self, key: &Bound<'_, PyAny>, hash: isize, counts_miss: bool) -> Glance {
        if self.has(TIMER) {
            return Glance::Unsure;
        }
        let mut inner = self.inner.lock(key.py());
        match inner.find(key, hash) {
            Some(Some(slot)) if !inner.is_dead(slot, None) => Glance::Hit(inner.hit(key.py(), slot)),
            Some(None) if counts_miss => {
                inner.core.miss();
                Glance::Miss
            }
            _ => Glance::Unsure,
        }
    }

    /// The live value under the key, without a trace.
    pub(crate) fn peeked(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let (py, now) = (key.py(), self.timer_now(key.py())?);
        let located = locate(&self.inner, key, key.hash()?)?;
        let live = located.slot.filter(|slot| !located.inner.is_dead(*slot, now));
        Ok(live.map(|slot| located.inner.core.value(slot).object.clone_ref(py)))
    }

    /// What a user's timer says, if there is one.
    #[inline]
    pub(crate) fn timer_now(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        if self.has(TIMER) { self.ask_timer(py) } else { Ok(None) }
    }

    #[cold]
    fn look_closely(&self, key: &Bound<'_, PyAny>, hash: isize) -> PyResult<Option<Py<PyAny>>> {
        let now = self.timer_now(key.py())?;
        let mut located = locate(&self.inner, key, hash)?;
        let inner = &mut *located.inner;
        match located.slot {
            Some(slot) if !inner.is_dead(slot, now) => Ok(Some(inner.hit(key.py(), slot))),
            found => {
                inner.core.miss();
                if let Some(slot) = found {
                    let buried = inner.core.remove(slot, Cause::Expired);
                    drop(located);
                    self.tell_one(key.py(), &buried.0.object, &buried.1.object, Cause::Expired)?;
                }
                Ok(None)
            }
        }
    }

    #[cold]
    fn ask_timer(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let timer = self.inner.lock(py).timer.as_ref().map(|timer| timer.clone_ref(py));
        timer.map(|timer| clock::from_timer(timer.bind(py))).transpose()
    }
}
