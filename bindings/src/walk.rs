//! `iter(cache)`: a walk over the keys that notices when keys come or go.

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::cache::CacheBase;
use crate::lock::Lock;

/// Walks over the keys a cache had when the walk began.
#[pyclass(module = "evenly._evenly", frozen)]
pub(crate) struct KeyIterator {
    cache: Py<CacheBase>,
    keys: Lock<std::vec::IntoIter<Py<PyAny>>>,
    changes: u64,
}

impl KeyIterator {
    pub(crate) fn new(cache: Py<CacheBase>, keys: Vec<Py<PyAny>>, changes: u64) -> Self {
        Self { cache, keys: Lock::new(keys.into_iter()), changes }
    }
}

#[pymethods]
impl KeyIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut keys = self.keys.lock(py);
        if keys.len() > 0 && self.cache.get().inner.lock(py).changes != self.changes {
            return Err(PyRuntimeError::new_err("cache changed during iteration"));
        }
        Ok(keys.next())
    }

    fn __length_hint__(&self, py: Python<'_>) -> usize {
        self.keys.lock(py).len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: while garbage is collected no other thread is attached, or runs.
        if let Some(keys) = unsafe { self.keys.try_lock() } {
            for key in keys.as_slice() {
                visit.call(key)?;
            }
        }
        visit.call(&self.cache)
    }
}
