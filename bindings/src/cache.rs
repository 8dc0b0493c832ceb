//! `CacheBase`: what all caches of the Python package share; `evenly/cache.py` gives it the habits of `cachetools`.
//!
//! Over [`cache::Core`], with one lock a cache. Hashing, comparing, weighing, timers and listeners are Python code and run
//! outside the lock, and so does every drop of a key or value: `__hash__`, `__eq__`, `__del__` and all callbacks may use the
//! cache that called them.

use std::sync::atomic::{AtomicU8, Ordering};

use cache::{Cause, Core, Gone, Policy};
use parking_lot::Mutex;
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyTuple};

use crate::clock;
use crate::held::{Held, Inner, Located, Offer, locate};
use crate::key::{Key, spread};

/// The Rust half of every cache; what is called in loops gets a quicker way in `slots.rs`.
#[pyclass(module = "evenly._evenly", name = "CacheBase", subclass, frozen, weakref, generic)]
pub(crate) struct CacheBase {
    pub(crate) inner: Mutex<Inner>,
    /// What of the slower ways this cache needs: bits below.
    ways: AtomicU8,
}

/// What a look without questions tells.
pub(crate) enum Glance {
    Hit(Py<PyAny>),
    /// Counted as one.
    Miss,
    /// Python code must be asked or told.
    Unsure,
}

/// The deadline of what has none.
const FOREVER: u64 = Core::<Key, Held>::NEVER;

/// Values are weighed by a Python function.
const WEIGHED: u8 = 1;
/// Time comes from a Python function.
const TIMER: u8 = 2;
/// Departures are told.
const LISTENER: u8 = 4;
/// The class makes missing values.
const MISSING: u8 = 8;
/// The class sends entries away by its own `popitem`.
const POPITEM: u8 = 16;

#[pymethods]
impl CacheBase {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        // Room for nothing until `_setup`, which every `__init__` calls.
        Self { inner: Mutex::new(Inner::new(Policy::Lru, 0, false)), ways: AtomicU8::new(0) }
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
        let old = std::mem::replace(&mut *self.inner.lock(), fresh);
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
        let Located { inner, slot, .. } = locate(&self.inner, key, key.hash()?)?;
        Ok(slot.is_some_and(|slot| !inner.is_dead(slot, now)))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.expire_now(py)?;
        Ok(self.inner.lock().core.len())
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<KeyIterator> {
        let this = slf.get();
        let now = this.timer_now(slf.py())?;
        let (keys, changes) = {
            let inner = this.inner.lock();
            let order = inner.in_order(now, |held| held.born);
            let keys: Vec<_> = order.iter().map(|(key, ..)| key.object.clone_ref(slf.py())).collect();
            (keys, inner.changes)
        };
        Ok(KeyIterator { cache: slf.clone().unbind(), keys: Mutex::new(keys.into_iter()), changes })
    }

    /// The value, without a trace.
    #[pyo3(signature = (key, default=None))]
    fn peek<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let (py, now) = (key.py(), self.timer_now(key.py())?);
        let Located { inner, slot, .. } = locate(&self.inner, key, key.hash()?)?;
        let live = slot.filter(|slot| !inner.is_dead(*slot, now));
        Ok(live.map(|slot| inner.core.value(slot).object.clone_ref(py)).or(default.map(Bound::unbind)))
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
            let mut inner = this.inner.lock();
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
            let mut inner = self.inner.lock();
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
            let mut inner = self.inner.lock();
            inner.core.resize(capacity, &mut gone);
            inner.changes += u64::from(!gone.is_empty());
        }
        self.tell(py, gone)
    }

    #[getter]
    fn maxsize(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.inner.lock().core.capacity() {
            u64::MAX => Ok(f64::INFINITY.into_pyobject(py)?.into_any().unbind()),
            capacity => Ok(capacity.into_pyobject(py)?.into_any().unbind()),
        }
    }

    #[getter]
    fn currsize(&self, py: Python<'_>) -> PyResult<u64> {
        self.expire_now(py)?;
        Ok(self.inner.lock().core.weight())
    }

    #[getter]
    fn policy(&self) -> &'static str {
        self.inner.lock().core.policy().name()
    }

    #[getter]
    fn ttl(&self) -> Option<f64> {
        self.inner.lock().ttl.map(|nanos| nanos as f64 / 1e9)
    }

    #[getter]
    fn _sizer(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.inner.lock().sizer.as_ref().map(|sizer| sizer.clone_ref(py))
    }

    #[getter]
    fn _timer(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.inner.lock().timer.as_ref().map(|timer| timer.clone_ref(py))
    }

    #[getter]
    fn on_evict(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.inner.lock().listener.as_ref().map(|listener| listener.clone_ref(py))
    }

    /// Hits, misses, inserts, expired, explicit, replaced, evicted, rejected.
    fn _counts(&self) -> [u64; 8] {
        let s = self.inner.lock().core.stats();
        [s.hits, s.misses, s.inserts, s.expired, s.explicit, s.replaced, s.evicted, s.rejected]
    }

    /// The live entries in the order of their keys' coming, without a trace.
    fn _pairs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let now = self.timer_now(py)?;
        let pairs: Vec<_> = {
            let inner = self.inner.lock();
            let order = inner.in_order(now, |held| held.born);
            order.iter().map(|(key, held, _)| (key.object.clone_ref(py), held.object.clone_ref(py))).collect()
        };
        PyList::new(py, pairs)
    }

    /// The live entries in the order of their last use, with the seconds they have left.
    fn _dump<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let now = self.timer_now(py)?;
        let entries: Vec<_> = {
            let inner = self.inner.lock();
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
    fn _validate(&self) {
        self.inner.lock().core.validate();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // If the lock is held, nothing is visited: what is here then counts as reachable, until the next collection.
        let Some(inner) = self.inner.try_lock() else { return Ok(()) };
        for (key, held, _) in inner.core.iter() {
            visit.call(&key.object)?;
            visit.call(&held.object)?;
        }
        visit.call(&inner.sizer)?;
        visit.call(&inner.timer)?;
        visit.call(&inner.listener)
    }

    fn __clear__(&self) {
        self.ways.store(0, Ordering::Relaxed);
        let fresh = Inner::new(Policy::Lru, 0, false);
        let old = std::mem::replace(&mut *self.inner.lock(), fresh);
        drop(old);
    }
}

impl CacheBase {
    #[inline]
    fn has(&self, way: u8) -> bool {
        self.ways.load(Ordering::Relaxed) & way != 0
    }

    /// The value under the key, as a use.
    #[inline]
    pub(crate) fn look(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        self.look_hashed(key, key.hash()?)
    }

    #[inline]
    fn look_hashed(&self, key: &Bound<'_, PyAny>, hash: isize) -> PyResult<Option<Py<PyAny>>> {
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
        let mut inner = self.inner.lock();
        match inner.find(key, hash) {
            Some(Some(slot)) if !inner.is_dead(slot, None) => Glance::Hit(inner.hit(key.py(), slot)),
            Some(None) if counts_miss => {
                inner.core.miss();
                Glance::Miss
            }
            _ => Glance::Unsure,
        }
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

    /// What a user's timer says, if there is one.
    #[inline]
    fn timer_now(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        if self.has(TIMER) { self.ask_timer(py) } else { Ok(None) }
    }

    #[cold]
    fn ask_timer(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let timer = self.inner.lock().timer.as_ref().map(|timer| timer.clone_ref(py));
        timer.map(|timer| clock::from_timer(timer.bind(py))).transpose()
    }

    /// Stores a value where nobody needs to be asked or told, and nothing dies; `false` if so nothing was stored. What
    /// leaves is the caller's to drop.
    #[inline(always)]
    pub(crate) fn put(
        &self,
        key: &Bound<'_, PyAny>,
        hash: isize,
        value: &Bound<'_, PyAny>,
        gone: &mut Gone<Key, Held>,
    ) -> bool {
        if self.has(WEIGHED | TIMER | LISTENER | POPITEM) {
            return false;
        }
        let mut inner = self.inner.lock();
        if inner.ttl.is_some() || inner.core.is_timed() || inner.core.capacity() == 0 {
            return false;
        }
        let Some(slot) = inner.find(key, hash) else { return false };
        let value = value.clone().unbind();
        inner.put(Offer { key, value, hash, weight: 1, deadline: FOREVER, now: 0 }, slot, gone);
        true
    }

    /// Stores a value; `ttl` is its own time to live, if it has one.
    fn store(
        slf: &Bound<'_, Self>,
        key: &Bound<'_, PyAny>,
        value: Bound<'_, PyAny>,
        ttl: Option<Option<u64>>,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let weight = if this.has(WEIGHED) { this.weigh(&value)? } else { 1 };
        let hash = key.hash()?;
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
        let sizer = self.inner.lock().sizer.as_ref().map(|sizer| sizer.clone_ref(value.py()));
        let Some(sizer) = sizer else { return Ok(1) };
        let told = sizer.bind(value.py()).call1((value,))?;
        told.extract::<u64>().map_err(|_| {
            let what = format!("value size {told} (must be a whole number from 0 to 2**64 - 1)");
            if told.is_instance_of::<PyInt>() {
                PyValueError::new_err(what)
            } else {
                PyTypeError::new_err(what)
            }
        })
    }

    fn take(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
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

    fn expire_now(&self, py: Python<'_>) -> PyResult<()> {
        let now = self.timer_now(py)?;
        let mut gone = Gone::default();
        self.inner.lock().expire(now, &mut gone);
        self.tell(py, gone)
    }

    /// Tells the listener of all that have left, then drops them. The first error of a listener comes out, after all
    /// were told.
    #[inline]
    fn tell(&self, py: Python<'_>, mut gone: Gone<Key, Held>) -> PyResult<()> {
        if gone.is_empty() || !self.has(LISTENER) {
            return Ok(());
        }
        let told: Vec<_> = gone
            .drain()
            .map(|(key, held, cause)| self.tell_one(py, &key.object, &held.object, cause))
            .collect();
        told.into_iter().collect()
    }

    fn tell_one(&self, py: Python<'_>, key: &Py<PyAny>, value: &Py<PyAny>, cause: Cause) -> PyResult<()> {
        if !self.has(LISTENER) {
            return Ok(());
        }
        let listener = self.inner.lock().listener.as_ref().map(|listener| listener.clone_ref(py));
        listener.map_or(Ok(()), |listener| listener.call1(py, (key, value, cause.to_string())).map(drop))
    }
}

/// Whether the entry fits without anyone leaving.
fn has_room(located: &Located<'_>, weight: u64) -> bool {
    let core = &located.inner.core;
    let own = located.slot.map_or(0, |slot| core.weight_of(slot));
    core.is_empty() || core.weight() - own + weight <= core.capacity()
}

fn missing(key: &Bound<'_, PyAny>) -> PyErr {
    // In a tuple: a key that is a tuple would be taken for the error's arguments.
    PyKeyError::new_err((key.clone().unbind(),))
}

fn too_large(weight: u64, capacity: u64) -> PyErr {
    PyValueError::new_err(format!("value too large: size {weight} (maxsize {capacity})"))
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

/// Walks over the keys a cache had when the walk began.
#[pyclass(module = "evenly._evenly", frozen)]
struct KeyIterator {
    cache: Py<CacheBase>,
    keys: Mutex<std::vec::IntoIter<Py<PyAny>>>,
    changes: u64,
}

#[pymethods]
impl KeyIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> PyResult<Option<Py<PyAny>>> {
        let mut keys = self.keys.lock();
        if keys.len() > 0 && self.cache.get().inner.lock().changes != self.changes {
            return Err(PyRuntimeError::new_err("cache changed during iteration"));
        }
        Ok(keys.next())
    }

    fn __length_hint__(&self) -> usize {
        self.keys.lock().len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(keys) = self.keys.try_lock() {
            for key in keys.as_slice() {
                visit.call(key)?;
            }
        }
        visit.call(&self.cache)
    }
}
