//! Keys: hashed and compared by Python's own rules, and by Python code only while no lock is held.
//!
//! A stored key is the object and its hash. Two keys are the same if they are one object, or if their hashes are equal
//! and `==` says so. `==` may run anything: it may fail, or use the very cache that asks. So under a cache's lock only
//! *plain* keys are compared (`str`, `int`, `bytes`, `float` of one exact type, and tuples of these), whose comparison runs
//! no one's code; all others are compared between two holds of the lock (`held.rs`).

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyString, PyTuple};

/// A key in a cache: equal, for the cache itself, only to the very same object.
pub(crate) struct Key {
    pub(crate) object: Py<PyAny>,
    pub(crate) hash: isize,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.object.is(&other.object)
    }
}

impl Eq for Key {}

/// Python's hashes of numbers are the numbers: spread over all bits.
#[inline]
pub(crate) fn spread(hash: isize) -> u32 {
    ((hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Whether two plain keys are equal; `None` if only foreign code can tell.
#[inline]
pub(crate) fn plainly_equal(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> Option<bool> {
    if a.is(b) {
        Some(true)
    } else if is_exact::<PyString>(a) && is_exact::<PyString>(b) {
        texts_equal(a, b)
    } else if is_scalar(a, b) {
        a.eq(b).ok()
    } else {
        tuples_equal(a, b)
    }
}

/// `==` of two `str` without its detour by way of types and `True`.
#[cfg(not(feature = "abi3"))]
#[inline]
fn texts_equal(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> Option<bool> {
    use pyo3::ffi::{PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND};
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: both are exactly `str`, which does not change; each character takes as many bytes as its kind says. Equal
    // texts are of one kind, the narrowest that holds them.
    unsafe {
        let bytes = |text| {
            let len = PyUnicode_GET_LENGTH(text) as usize * PyUnicode_KIND(text) as usize;
            std::slice::from_raw_parts(PyUnicode_DATA(text).cast::<u8>(), len)
        };
        Some(PyUnicode_KIND(a) == PyUnicode_KIND(b) && bytes(a) == bytes(b))
    }
}

#[cfg(feature = "abi3")]
fn texts_equal(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> Option<bool> {
    a.eq(b).ok()
}

/// Of one type, whose comparison is built in. Not of mixed types: `str` with `bytes` may warn, which runs foreign code.
#[inline]
fn is_scalar(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> bool {
    let both = |is: fn(&Bound<'_, PyAny>) -> bool| is(a) && is(b);
    both(is_exact::<PyString>)
        || both(is_exact::<PyInt>)
        || both(is_exact::<PyBytes>)
        || both(is_exact::<PyFloat>)
}

#[inline]
fn is_exact<T: pyo3::PyTypeInfo>(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<T>()
}

fn tuples_equal(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> Option<bool> {
    let (a, b) = (a.cast_exact::<PyTuple>().ok()?, b.cast_exact::<PyTuple>().ok()?);
    if a.len() != b.len() {
        return Some(false);
    }
    for (a, b) in a.iter_borrowed().zip(b.iter_borrowed()) {
        if a.is(&*b) {
            continue;
        }
        if !is_scalar(&a, &b) {
            return None;
        }
        if !a.eq(&*b).ok()? {
            return Some(false);
        }
    }
    Some(true)
}
