//! `Memo`: the callable that `@cached` makes. A hit is one call into Rust: key, lookup, answer.
//!
//! ```text
//!     f(x)            key = x            if x alone is a str, a number, bytes or None
//!     f(x, y)         key = (x, y)
//!     f(x, a=1)       key = (x, KEYWORDS, "a", 1)        keywords sorted: their order in the call does not matter
//! ```
//!
//! A miss goes to the Python function `miss(key, args, kwargs)`, which knows about single flight and asyncio.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString, PyTuple, PyType};

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::CacheBase;

/// What `@cached` makes of a function. Its attributes (`__name__`, `cache_info`, …) are set by `evenly/_memo.py`.
#[pyclass(module = "evenly._evenly", frozen, dict, weakref)]
pub(crate) struct Memo {
    /// The cache, if it is one of ours.
    cache: Option<Py<CacheBase>>,
    key: Option<Py<PyAny>>,
    miss: Py<PyAny>,
    is_async: bool,
}

#[pymethods]
impl Memo {
    #[new]
    fn new(cache: Option<Py<CacheBase>>, key: Option<Py<PyAny>>, miss: Py<PyAny>, is_async: bool) -> Self {
        Self { cache, key, miss, is_async }
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__(&self, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Py<PyAny>> {
        let py = args.py();
        let key = self.cache_key(args, kwargs)?;
        if let Some(cache) = &self.cache
            && let Some(value) = cache.get().look(&key)?
        {
            return if self.is_async { Ok(Ready::of(py, value)?.into_any()) } else { Ok(value) };
        }
        let kwargs = kwargs.map_or_else(|| py.None().into_bound(py), |kwargs| kwargs.clone().into_any());
        self.miss.bind(py).call1((key, args, kwargs)).map(Bound::unbind)
    }

    /// The key under which the result of a call with these arguments is kept.
    #[pyo3(signature = (*args, **kwargs))]
    fn cache_key<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(key) = &self.key {
            return key.bind(args.py()).call(args, kwargs);
        }
        match kwargs {
            Some(kwargs) if !kwargs.is_empty() => with_keywords(args, kwargs),
            _ if args.len() == 1 => {
                let only = args.get_borrowed_item(0)?;
                Ok(if is_itself(&only) { only.to_owned() } else { args.clone().into_any() })
            }
            _ => Ok(args.clone().into_any()),
        }
    }

    /// Binds like a function, so that it works as a method; the instance is then part of the key.
    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: Option<&Bound<'py, PyAny>>,
        _owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        match instance {
            None => Ok(slf.clone().into_any()),
            Some(instance) => METHOD.import(slf.py(), "types", "MethodType")?.call1((slf, instance)),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        Ok(format!("<cached {}>", slf.getattr("__wrapped__")?.repr()?))
    }

    /// Pickled, like a function, by its name.
    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.getattr("__qualname__").map(Bound::unbind)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.cache)?;
        visit.call(&self.key)?;
        visit.call(&self.miss)
    }
}

/// Whether an only argument is its own key: no value of these types equals a tuple.
fn is_itself(only: &Bound<'_, PyAny>) -> bool {
    only.is_exact_instance_of::<PyString>()
        || only.is_exact_instance_of::<PyInt>()
        || only.is_exact_instance_of::<PyFloat>()
        || only.is_exact_instance_of::<PyBytes>()
        || only.is_exact_instance_of::<PyBool>()
        || only.is_none()
}

fn with_keywords<'py>(
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let names = kwargs.keys();
    names.sort()?;
    let mut parts: Vec<Bound<'py, PyAny>> = args.iter().collect();
    // The type itself marks where the keywords begin: no caller passes it.
    parts.push(args.py().get_type::<Memo>().into_any());
    for name in names.iter() {
        if let Some(value) = kwargs.get_item(&name)? {
            parts.push(name);
            parts.push(value);
        }
    }
    Ok(PyTuple::new(args.py(), parts)?.into_any())
}

/// A coroutine that is ready: awaiting it gives the value at once, without a turn of the event loop.
#[pyclass(module = "evenly._evenly", frozen)]
pub(crate) struct Ready {
    value: Py<PyAny>,
    is_spent: AtomicBool,
}

impl Ready {
    fn of(py: Python<'_>, value: Py<PyAny>) -> PyResult<Py<Self>> {
        Py::new(py, Self { value, is_spent: AtomicBool::new(false) })
    }

    fn end(&self, py: Python<'_>) -> PyErr {
        if self.is_spent.swap(true, Ordering::Relaxed) {
            return PyRuntimeError::new_err("cannot reuse already awaited coroutine");
        }
        PyStopIteration::new_err((self.value.clone_ref(py),))
    }
}

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(self.end(py))
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(self.end(py))
    }

    #[pyo3(signature = (kind, value=None, _traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        self.is_spent.store(true, Ordering::Relaxed);
        Err(match (kind.is_instance_of::<PyType>(), value) {
            (true, Some(value)) if value.is_instance(kind)? => PyErr::from_value(value.clone()),
            (true, Some(value)) => PyErr::from_value(kind.call1((value,))?),
            (true, None) => PyErr::from_value(kind.call0()?),
            (false, _) => PyErr::from_value(kind.clone()),
        })
    }

    fn close(&self) {
        self.is_spent.store(true, Ordering::Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.value)
    }
}
