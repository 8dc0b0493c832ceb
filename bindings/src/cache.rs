//! `CacheBase`: what all caches of the Python package share; `evenly/cache.py` gives it the habits of `cachetools`.
//!
//! Over [`cache::Core`], with one lock a cache. Hashing, comparing, weighing, timers and listeners are Python code and run
//! outside the lock, and so does every drop of a key or value: `__hash__`, `__eq__`, `__del__` and all callbacks may use the
//! cache that called them.

use std::sync::atomic::{AtomicU8, Ordering};

use cache::{Cause, Gone, Policy};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple};

use crate::clock;
use crate::held::{FOREVER, Held, Inner};
use crate::key::Key;
use crate::locate::locate;
use crate::lock::Lock;
use crate::walk::KeyIterator;

/// The Rust half of every cache; what is called in loops gets a quicker way in `slots.rs`.
#[pyclass(module = "evenly._evenly", name = "CacheBase", subclass, frozen, weakref, generic)]
pub(crate) struct CacheBase {
    pub(crate) inner: Lock<Inner>,
    /// What of the slower ways this cache needs: bits below.
    ways: AtomicU8,
}

/// Values are weighed by a Python function.
pub(crate) const WEIGHED: u8 = 1;
/// Time comes from a Python function.
pub(crate) const TIMER: u8 = 2;
/// Departures are told.
pub(crate) const LISTENER: u8 = 4;
/// The class makes missing values.
const MISSING: u8 = 8;
/// The class sends entries away by its own `popitem`.
pub(crate) const POPITEM: u8 = 16;

#[pymethods]
impl CacheBase {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        // Room for nothing until `_setup`, which every `__init__` calls.
        Self { inner: Lock::new(Inner::new(Policy::Lru, 0, false)), ways: AtomicU8::new(0) }
    }

    #[allow(clippy::too_many_arguments, reason = "called from one place, evenly/cache.py, by name")]
    #[pyo3(signature = (*, maxsize, policy, sizer, ttl, timer, on_evict, has_missing, has_popitem))]
    fn _setup(
        &self,
        maxsize: &Bound<'_, PyAny>,
        policy: &str,
        sizer: Option<Py<PyAny>>,
        ttl: Option<f64>,
        timer: Option<Py<PyAny>>,
        on_evict: Option<Py<PyAny>>,
        has_missing: bool,
        has_popitem: bool,
    ) -> PyResult<()> {
        let policy: Policy = policy
            .parse()
            .map_err(|unknown: cache::UnknownPolicy| PyValueError::new_err(unknown.to_string()))?;
        let mut fresh = Inner::new(policy, capacity_of(maxsize)?, sizer.is_some());
        fresh.ttl = ttl.map(clock::ttl_nanos).transpose()?.flatten();
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        let ways = bit(sizer.is_some(), WEIGHED)
            | bit(timer.is_some(), TIMER)
            | bit(on_evict.is_some(), LISTENER)
            | bit(has_missing, MISSING)
            | bit(has_popitem, POPITEM);
        (fresh.sizer, fresh.timer, fresh.listener) = (sizer, timer, on_evict);
        let old = std::mem::replace(&mut *self.inner.lock(maxsize.py()), fresh);
        self.ways.store(ways, Ordering::Relaxed);
        drop(old);
        Ok(())
    }

    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.look(key)?.or(default.map(Bound::unbind)))
    }

    fn __getitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let this = slf.get();
        match this.look(key)? {
            Some(value) => Ok(value),
            None if this.has(MISSING) => slf.call_method1("__missing__", (key,)).map(Bound::unbind),
            None => Err(missing(key)),
        }
    }

    fn __setitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, value: Bound<'_, PyAny>) -> PyResult<()> {
        Self::store(slf, key, value, None)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.take(key)? {
            Some(_) => Ok(()),
            None => Err(missing(key)),
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let now = self.timer_now(key.py())?;
        let located = locate(&self.inner, key, key.hash()?)?;
        Ok(located.slot.is_some_and(|slot| !located.inner.is_dead(slot, now)))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.expire_now(py)?;
        Ok(self.inner.lock(py).core.len())
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<KeyIterator> {
        let (py, this) = (slf.py(), slf.get());
        let now = this.timer_now(py)?;
        let (keys, changes) = {
            let inner = this.inner.lock(py);
            let order = inner.in_order(now, |held| held.born);
            let keys: Vec<_> = order.iter().map(|(key, ..)| key.object.clone_ref(py)).collect();
            (keys, inner.changes)
        };
        Ok(KeyIterator::new(slf.clone().unbind(), keys, changes))
    }

    /// The value, without a trace.
    #[pyo3(signature = (key, default=None))]
    fn peek<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.peeked(key)?.or(default.map(Bound::unbind)))
    }

    #[pyo3(signature = (key, *default))]
    fn pop(&self, key: &Bound<'_, PyAny>, default: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        if default.len() > 1 {
            let found = default.len() + 1;
            return Err(PyTypeError::new_err(format!("pop expected at most 2 arguments, got {found}")));
        }
        match (self.take(key)?, default.get_item(0)) {
            (Some(value), _) => Ok(value),
            (None, Ok(default)) => Ok(default.unbind()),
            (None, Err(_)) => Err(missing(key)),
        }
    }

    fn popitem(slf: &Bound<'_, Self>) -> PyResult<(Py<PyAny>, Py<PyAny>)> {
        let (py, this) = (slf.py(), slf.get());
        this.expire_now(py)?;
        let mut gone = Gone::default();
        {
            let mut inner = this.inner.lock(py);
            inner.changes += 1;
            inner.core.evict(&mut gone);
        }
        let Some((key, held, _)) = gone.drain().next() else {
            return Err(PyKeyError::new_err(format!("{} is empty", slf.get_type().name()?)));
        };
        let told = this.tell_one(py, &key.object, &held.object, Cause::Explicit);
        told.map(|()| (key.object, held.object))
    }

    #[pyo3(signature = (key, default=None))]
    fn setdefault(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        default: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        if let Some(value) = slf.get().look(key)? {
            return Ok(value);
        }
        let default = default.unwrap_or_else(|| slf.py().None().into_bound(slf.py()));
        Self::store(slf, key, default.clone(), None)?;
        Ok(default.unbind())
    }

    /// Stores a value with a time to live of its own, in seconds.
    #[pyo3(signature = (key, value, *, ttl=None))]
    fn insert(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: Bound<'_, PyAny>,
        ttl: Option<f64>,
    ) -> PyResult<()> {
        let own = ttl.map(clock::ttl_nanos).transpose()?;
        Self::store(slf, key, value, own)
    }

    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        let mut gone = Gone::default();
        {
            let mut inner = self.inner.lock(py);
            inner.changes += 1;
            inner.core.clear(&mut gone);
        }
        self.tell(py, gone)
    }

    /// Sends the dead away; they would go by themselves, a few with each insertion.
    fn expire(&self, py: Python<'_>) -> PyResult<()> {
        self.expire_now(py)
    }

    fn resize(&self, py: Python<'_>, maxsize: &Bound<'_, PyAny>) -> PyResult<()> {
        let (capacity, mut gone) = (capacity_of(maxsize)?, Gone::default());
        self.expire_now(py)?;
        {
            let mut inner = self.inner.lock(py);
            inner.core.resize(capacity, &mut gone);
            inner.changes += u64::from(!gone.is_empty());
        }
        self.tell(py, gone)
    }

    #[getter]
    fn maxsize(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.inner.lock(py).core.capacity() {
            u64::MAX => Ok(f64::INFINITY.into_pyobject(py)?.into_any().unbind()),
            capacity => Ok(capacity.into_pyobject(py)?.into_any().unbind()),
        }
    }

    #[getter]
    fn currsize(&self, py: Python<'_>) -> PyResult<u64> {
        self.expire_now(py)?;
        Ok(self.inner.lock(py).core.weight())
    }

    #[getter]
    fn policy(&self, py: Python<'_>) -> &'static str {
        self.inner.lock(py).core.policy().name()
    }

    #[getter]
    fn ttl(&self, py: Python<'_>) -> Option<f64> {
        self.inner.lock(py).ttl.map(|nanos| nanos as f64 / 1e9)
    }

    #[getter]
    fn _sizer(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.inner.lock(py).sizer.as_ref().map(|sizer| sizer.clone_ref(py))
    }

    #[getter]
    fn _timer(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.inner.lock(py).timer.as_ref().map(|timer| timer.clone_ref(py))
    }

    #[getter]
    fn on_evict(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.inner.lock(py).listener.as_ref().map(|listener| listener.clone_ref(py))
    }

    /// Hits, misses, inserts, expired, explicit, replaced, evicted, rejected.
    fn _counts(&self, py: Python<'_>) -> [u64; 8] {
        let s = self.inner.lock(py).core.stats();
        [s.hits, s.misses, s.inserts, s.expired, s.explicit, s.replaced, s.evicted, s.rejected]
    }

    /// The live entries in the order of their keys' coming, without a trace.
    fn _pairs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let now = self.timer_now(py)?;
        let pairs: Vec<_> = {
            let inner = self.inner.lock(py);
            let order = inner.in_order(now, |held| held.born);
            order.iter().map(|(key, held, _)| (key.object.clone_ref(py), held.object.clone_ref(py))).collect()
        };
        PyList::new(py, pairs)
    }

    /// The live entries in the order of their last use, with the seconds they have left.
    fn _dump<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let now = self.timer_now(py)?;
        let entries: Vec<_> = {
            let inner = self.inner.lock(py);
            let present = now.unwrap_or_else(clock::now);
            let left = |deadline: u64| (deadline != FOREVER).then(|| (deadline - present) as f64 / 1e9);
            let order = inner.in_order(now, |held| held.used);
            let entry = |(key, held, deadline): &(&Key, &Held, u64)| {
                (key.object.clone_ref(py), held.object.clone_ref(py), left(*deadline))
            };
            order.iter().map(entry).collect()
        };
        PyList::new(py, entries)
    }

    /// Fails if any structure is out of order; for tests.
    fn _validate(&self, py: Python<'_>) {
        self.inner.lock(py).core.validate();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // If the lock is held, nothing is visited: what is here then counts as reachable, until the next collection.
        // SAFETY: while garbage is collected no other thread is attached, or runs.
        let Some(inner) = (unsafe { self.inner.try_lock() }) else { return Ok(()) };
        for (key, held, _) in inner.core.iter() {
            visit.call(&key.object)?;
            visit.call(&held.object)?;
        }
        visit.call(&inner.sizer)?;
        visit.call(&inner.timer)?;
        visit.call(&inner.listener)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.ways.store(0, Ordering::Relaxed);
        let fresh = Inner::new(Policy::Lru, 0, false);
        let old = std::mem::replace(&mut *self.inner.lock(py), fresh);
        drop(old);
    }
}

impl CacheBase {
    #[inline]
    pub(crate) fn has(&self, ways: u8) -> bool {
        self.ways.load(Ordering::Relaxed) & ways != 0
    }
}

fn missing(key: &Bound<'_, PyAny>) -> PyErr {
    // In a tuple: a key that is a tuple would be taken for the error's arguments.
    PyKeyError::new_err((key.clone().unbind(),))
}

/// `maxsize`, where infinity means no limit.
fn capacity_of(maxsize: &Bound<'_, PyAny>) -> PyResult<u64> {
    if let Ok(capacity) = maxsize.extract::<u64>() {
        return Ok(capacity);
    }
    match maxsize.extract::<f64>() {
        Ok(f64::INFINITY) => Ok(u64::MAX),
        Ok(size) if size >= 0.0 && size.fract() == 0.0 && size < 1e19 => Ok(size as u64),
        Err(_) if !maxsize.is_instance_of::<PyInt>() => Err(PyTypeError::new_err(format!(
            "maxsize {} (must be a number; math.inf for no limit)",
            maxsize.repr()?
        ))),
        _ => Err(PyValueError::new_err(format!(
            "maxsize {maxsize} (must be a whole number from 0 to 2**64 - 2, or infinity)"
        ))),
    }
}
