//! `HashRingBase`: those calls of `evenly.balancers.HashRing` that are made in loops.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::lock::Lock;
use crate::placement::Placement;

/// Looks keys of any kind up in a placement, by their `str()` as uhashring does.
#[pyclass(module = "evenly._evenly", subclass, frozen, weakref)]
pub(crate) struct HashRingBase {
    look: Lock<Option<Look>>,
}

/// Where to look: keys to names, and names to what is known of the node.
struct Look {
    placement: Py<Placement>,
    nodes: Py<PyDict>,
}

#[pymethods]
impl HashRingBase {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        // Nothing to look in until `_look_in`, which every `__init__` calls.
        Self { look: Lock::new(None) }
    }

    fn _look_in(&self, py: Python<'_>, placement: Py<Placement>, nodes: Py<PyDict>) {
        let old = self.look.lock(py).replace(Look { placement, nodes });
        drop(old);
    }

    /// The name of the key's node; None while there are none.
    fn get_node(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        match key.cast::<PyString>() {
            Ok(text) => self.owner(text),
            Err(_) => self.owner(&key.str()?),
        }
    }

    /// The instance of the key's node; None while there are none.
    fn __getitem__<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        let Some(name) = this.get_node(key)? else { return Ok(None) };
        let nodes = this.look.lock(py).as_ref().map(|look| look.nodes.clone_ref(py));
        // It may have left since.
        let Some(conf) = nodes.map(|nodes| nodes.bind(py).get_item(name)).transpose()?.flatten() else {
            return Ok(None);
        };
        conf.get_item(intern!(py, "instance")).map(Some)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: while garbage is collected no other thread is attached, or runs.
        let Some(look) = (unsafe { self.look.try_lock() }) else { return Ok(()) };
        look.iter().try_for_each(|look| {
            visit.call(&look.placement)?;
            visit.call(&look.nodes)
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let old = self.look.lock(py).take();
        drop(old);
    }
}

impl HashRingBase {
    #[inline]
    fn owner(&self, key: &Bound<'_, PyString>) -> PyResult<Option<Py<PyAny>>> {
        let py = key.py();
        // Kept, not lent: an error is a Python object, and making one may collect garbage, whose end may ask us.
        let placement = self.look.lock(py).as_ref().map(|look| look.placement.clone_ref(py));
        placement.map_or(Ok(None), |placement| placement.bind(py).get().owner(key.as_any()))
    }
}
