//! What `slots.rs` does, where the stable ABI does not allow it: nothing. The class that Python sees is pyo3's.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::cache::CacheBase;

pub(crate) fn quick_type(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    Ok(py.get_type::<CacheBase>())
}

#[pyfunction]
#[pyo3(signature = (class, /))]
pub(crate) fn quicken(class: &Bound<'_, PyType>) {
    let _ = class;
}
