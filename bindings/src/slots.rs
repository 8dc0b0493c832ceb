//! `cache.get(key)`, `cache[key]` and `cache[key] = value` without the layers that pyo3 puts between CPython and a method.
//!
//! Those layers (arguments by name, a count of attachments, a result that may be an error) are half of what a hit costs.
//! So the class that Python sees is a heap type over pyo3's, with functions of its own in these three places:
//!
//! ```text
//!     cache[key] ─► subscript ─┬─ the key is plain, and nobody needs to be asked or told ─► answered here
//!                              └─ anything else ─► the same method of CacheBase
//! ```
//!
//! A *plain* key is a `str`, an `int`, `bytes`, a `float` or a tuple. A panic counts as "anything else": pyo3 then meets
//! it again and tells it as an exception. Not with `abi3`, which has neither fast calls (before 3.10) nor `str`'s insides.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicIsize, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyString, PyTuple, PyType};
use pyo3::{Borrowed, ffi, intern};

use crate::cache::CacheBase;
use crate::look::Glance;

/// `CacheBase` as Python sees it.
pub(crate) fn quick_type(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let base = py.get_type::<CacheBase>();
    let get = base.getattr(intern!(py, "get"))?.unbind();
    // SAFETY: a heap type that is initialised; its slots are there for as long as it is.
    let mapping = unsafe { (*base.as_type_ptr()).tp_as_mapping.as_ref() };
    let slots = mapping.and_then(|slots| slots.mp_subscript.zip(slots.mp_ass_subscript));
    let Some((base_subscript, base_assign)) = slots else {
        return Err(PyTypeError::new_err("CacheBase is no mapping"));
    };
    let _ = GENERAL.set(py, General { get, subscript: base_subscript, assign: base_assign });

    let slot = |slot: c_int, pfunc| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_mp_subscript, subscript as *mut _),
        slot(ffi::Py_mp_ass_subscript, assign as *mut _),
        slot(ffi::Py_tp_methods, get_method().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"evenly._evenly.CacheBase".as_ptr(),
        basicsize: 0, // the base's
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE) as _,
        slots: slots.as_mut_ptr(),
    };
    let bases = PyTuple::new(py, [base])?;
    // SAFETY: the specification is complete and ends with a zero slot; each function has its slot's signature; the
    // result is a new reference or null with an error set.
    let made = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpecWithBases(&raw mut spec, bases.as_ptr()))
    };
    Ok(made?.cast_into::<PyType>()?)
}

/// Gives a class made in Python a `get` of its own: CPython calls a method without detours only if it belongs to the
/// very class of the object.
#[pyfunction]
#[pyo3(signature = (class, /))]
pub(crate) fn quicken(class: &Bound<'_, PyType>) -> PyResult<()> {
    if !class.is_subclass_of::<CacheBase>()? {
        return Err(PyTypeError::new_err(format!("{} is no cache", class.repr()?)));
    }
    // SAFETY: the class is a subclass of the one `get` expects an instance of, and the definition stays for ever; the
    // result is a new reference or null with an error set.
    let get = unsafe {
        let made = ffi::PyDescr_NewMethod(class.as_type_ptr(), get_method());
        Bound::from_owned_ptr_or_err(class.py(), made)?
    };
    class.setattr(intern!(class.py(), "get"), get)
}

/// The methods of the type, with the zero at their end; the first is `get`. Types point to it for ever.
fn get_method() -> *mut ffi::PyMethodDef {
    struct Methods([ffi::PyMethodDef; 2]);
    // SAFETY: read by CPython and never written.
    unsafe impl Sync for Methods {}
    static METHODS: Methods = Methods([
        ffi::PyMethodDef {
            ml_name: c"get".as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: get },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: c"get($self, key, default=None)\n--\n\nThe value under the key, or the default.".as_ptr(),
        },
        ffi::PyMethodDef::zeroed(),
    ]);
    METHODS.0.as_ptr().cast_mut()
}

/// The general ways, as pyo3 made them.
struct General {
    get: Py<PyAny>,
    subscript: ffi::binaryfunc,
    assign: ffi::objobjargproc,
}

static GENERAL: PyOnceLock<General> = PyOnceLock::new();

fn general(py: Python<'_>) -> &'static General {
    GENERAL.get(py).expect("set before the type was made whose methods ask for it")
}

unsafe extern "C" fn get(
    cache: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an instance of our type, `count` positional arguments and, behind them, one for each
    // name. `get` calls on with all of these behind the instance, as the method of a type is called.
    unsafe {
        if names.is_null() && (count == 1 || count == 2) {
            let answer = quickly(|| match glance(cache, *arguments, true) {
                Glance::Hit(value) => value.into_ptr(),
                Glance::Miss => {
                    let default = if count == 2 { *arguments.add(1) } else { ffi::Py_None() };
                    ffi::Py_INCREF(default);
                    default
                }
                Glance::Unsure => ptr::null_mut(),
            });
            if !answer.is_null() {
                return answer;
            }
        }
        get_generally(cache, arguments, count, names)
    }
}

/// # Safety
///
/// As `get`.
#[cold]
unsafe fn get_generally(
    cache: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe {
        let py = Python::assume_attached();
        if PyErr::occurred(py) {
            return ptr::null_mut();
        }
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        let all: Vec<_> =
            std::iter::once(cache).chain((0..count + named).map(|n| *arguments.offset(n))).collect();
        let get = general(py).get.as_ptr();
        ffi::PyObject_Vectorcall(get, all.as_ptr(), (count + 1) as usize, names)
    }
}

unsafe extern "C" fn subscript(cache: *mut ffi::PyObject, key: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with an instance of our type and an object; so do we.
    unsafe {
        let answer = quickly(|| match glance(cache, key, false) {
            Glance::Hit(value) => value.into_ptr(),
            Glance::Miss | Glance::Unsure => ptr::null_mut(),
        });
        if answer.is_null() { subscript_generally(cache, key) } else { answer }
    }
}

/// # Safety
///
/// As `subscript`.
#[cold]
unsafe fn subscript_generally(cache: *mut ffi::PyObject, key: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe {
        let py = Python::assume_attached();
        if PyErr::occurred(py) { ptr::null_mut() } else { (general(py).subscript)(cache, key) }
    }
}

unsafe extern "C" fn assign(
    cache: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: CPython calls with an instance of our type, an object, and another or null (`del`); so do we.
    unsafe {
        let stored =
            quickly(|| if !value.is_null() && put(cache, key, value) { key } else { ptr::null_mut() });
        if stored.is_null() { assign_generally(cache, key, value) } else { 0 }
    }
}

/// # Safety
///
/// As `assign`.
#[cold]
unsafe fn assign_generally(
    cache: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: as promised.
    unsafe {
        let py = Python::assume_attached();
        if PyErr::occurred(py) { -1 } else { (general(py).assign)(cache, key, value) }
    }
}

/// Null if there is no quick answer, or an error is set. All that a quick way does is in `act`, so that what `catch_unwind`
/// cannot inline is called with two or three pointers and has little around it.
#[inline(always)]
fn quickly(act: impl FnOnce() -> *mut ffi::PyObject) -> *mut ffi::PyObject {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(ptr::null_mut())
}

/// # Safety
///
/// The thread is attached; `cache` is an instance of our type.
#[inline(always)]
unsafe fn glance(cache: *mut ffi::PyObject, key: *mut ffi::PyObject, counts_miss: bool) -> Glance {
    // SAFETY: as promised; the references live as long as the caller's.
    unsafe {
        let py = Python::assume_attached();
        let cache = borrowed(py, cache).cast_unchecked::<CacheBase>();
        let key = borrowed(py, key);
        match plain_hash(&key) {
            Some(hash) => cache.get().glance(&key, hash, counts_miss),
            None => Glance::Unsure,
        }
    }
}

/// # Safety
///
/// The thread is attached; `cache` is an instance of our type.
#[inline(always)]
unsafe fn put(cache: *mut ffi::PyObject, key: *mut ffi::PyObject, value: *mut ffi::PyObject) -> bool {
    // SAFETY: as promised; the references live as long as the caller's.
    unsafe {
        let py = Python::assume_attached();
        let cache = borrowed(py, cache).cast_unchecked::<CacheBase>();
        let (key, value) = (borrowed(py, key), borrowed(py, value));
        plain_hash(&key).is_some_and(|hash| cache.get().put(&key, hash, &value))
    }
}

/// # Safety
///
/// An object that lives as long as is said, and is not null.
#[inline(always)]
unsafe fn borrowed<'a, 'py>(py: Python<'py>, object: *mut ffi::PyObject) -> Borrowed<'a, 'py, PyAny> {
    // SAFETY: as promised.
    unsafe { Borrowed::from_ptr_or_opt(py, object).unwrap_unchecked() }
}

/// The hash of a plain key; `None` if the key is not plain, or an error is set.
#[inline(always)]
fn plain_hash(key: &Bound<'_, PyAny>) -> Option<isize> {
    if key.is_exact_instance_of::<PyString>() {
        // SAFETY: it is exactly a `str`, which keeps its hash here once it was asked for, and -1 before. Where there is no
        // GIL another thread may be writing it now: so CPython, too, reads it atomically.
        let kept = unsafe {
            let text = key.as_ptr().cast::<ffi::PyASCIIObject>();
            AtomicIsize::from_ptr(&raw mut (*text).hash).load(Ordering::Relaxed)
        };
        if kept != -1 {
            return Some(kept);
        }
    }
    hash_of_plain(key)
}

#[inline(never)]
fn hash_of_plain(key: &Bound<'_, PyAny>) -> Option<isize> {
    let is_plain = key.is_exact_instance_of::<PyString>()
        || key.is_exact_instance_of::<PyInt>()
        || key.is_exact_instance_of::<PyTuple>()
        || key.is_exact_instance_of::<PyBytes>()
        || key.is_exact_instance_of::<PyFloat>();
    if !is_plain {
        return None;
    }
    // Of what a tuple holds, hashing may run foreign code, and fail. The error stays set, and the
    // general way goes no further.
    key.hash().map_err(|error| error.restore(key.py())).ok()
}
