//! `Store`: bytes on Redis, or in a near tier in front of it, over [`cache::store`], for threads and for asyncio.
//!
//! ```text
//!     a thread       get(key)          ─► interpreter released, waits for the answer ─► value
//!     an event loop  get(key, done)    ─► returns at once … done(value, error) from another thread
//! ```
//!
//! One runtime drives all connections of the process, see [`crate::redis_runtime`]; it begins with the first store. What values mean (codecs), what an outage means and what a key is, is decided in `evenly/redis.py`. Not in [`cache::store::Typed`],
//! whose values are Rust's: a Python object would be built twice, and its whole numbers end at 64 bits. The bytes are the
//! same, JSON or MessagePack, and what cannot be read is a miss there and here.

use std::future::Future;

use cache::Policy;
use cache::store::{Keep, Memory, Redis, RedisConfig, StoreError, Tiered, TieredConfig};
use parking_lot::Mutex;
use pyo3::IntoPyObjectExt;
use pyo3::create_exception;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::balancers::{Error, seconds};
use crate::redis_runtime::Shared;

create_exception!(
    evenly,
    OutageError,
    Error,
    "The server is away, slow, full or refusing; the call itself was right."
);

/// The Rust half of `RedisCache` and `TieredCache`.
#[pyclass(module = "evenly._evenly", frozen)]
pub(crate) struct Store {
    tiers: Tiers,
    runtime: &'static Shared,
}

#[derive(Clone)]
enum Tiers {
    Far(Redis),
    Both(Tiered),
}

impl Tiers {
    fn store(&self) -> &dyn cache::store::Store {
        match self {
            Self::Far(far) => far,
            Self::Both(tiered) => tiered,
        }
    }
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (url, namespace, response_timeout, connect_timeout, max_value_bytes, near))]
    fn new(
        url: &str,
        namespace: &str,
        response_timeout: f64,
        connect_timeout: f64,
        max_value_bytes: usize,
        near: Option<(u64, f64)>,
    ) -> PyResult<Self> {
        let config = RedisConfig::from_url(url)
            .map_err(told)?
            .namespace(namespace)
            .response_timeout(seconds("response_timeout", response_timeout)?)
            .connect_timeout(seconds("connect_timeout", connect_timeout)?)
            .max_value_bytes(max_value_bytes);
        let runtime = runtime()?;
        // Connections belong to the runtime they are made in.
        let _entered = runtime.enter();
        let tiers = match near {
            None => Tiers::Far(Redis::new(config).map_err(told)?),
            Some((max_bytes, near_ttl)) => {
                let memory = Memory::new(max_bytes, Policy::default()).map_err(told)?;
                let together = TieredConfig::new().near_ttl(seconds("near_ttl", near_ttl)?);
                Tiers::Both(Tiered::with(memory, config, &together).map_err(told)?)
            }
        };
        Ok(Self { tiers, runtime })
    }

    /// Waits until the server answers.
    fn ready(&self, py: Python<'_>) -> PyResult<()> {
        let far = match &self.tiers {
            Tiers::Far(far) => far.clone(),
            Tiers::Both(tiered) => tiered.far().clone(),
        };
        py.detach(|| self.runtime.block_on(far.ready())).map_err(told)
    }

    #[pyo3(signature = (key, done=None))]
    fn get(&self, py: Python<'_>, key: &[u8], done: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        if let Tiers::Both(tiered) = &self.tiers
            && done.is_none()
            && let Some(value) = tiered.peek_near(key)
        {
            return Ok(PyBytes::new(py, &value).into_any().unbind());
        }
        let (tiers, key) = (self.tiers.clone(), key.to_vec());
        self.run(py, done, async move { tiers.store().get(&key).await }, |py, found| {
            Ok(found.map_or_else(|| py.None(), |value| PyBytes::new(py, &value).into_any().unbind()))
        })
    }

    #[pyo3(signature = (keys, done=None))]
    fn get_many(&self, py: Python<'_>, keys: Vec<Vec<u8>>, done: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let tiers = self.tiers.clone();
        let work = async move {
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            tiers.store().get_many(&keys).await
        };
        self.run(py, done, work, |py, found| {
            let values = found.iter().map(|value| value.as_ref().map(|value| PyBytes::new(py, value)));
            Ok(PyList::new(py, values)?.into_any().unbind())
        })
    }

    #[pyo3(signature = (key, value, ttl, tags, only_if_absent, done=None))]
    #[allow(clippy::too_many_arguments, reason = "called from one place, evenly/redis.py")]
    fn put(
        &self,
        py: Python<'_>,
        key: &[u8],
        value: &[u8],
        ttl: f64,
        tags: Vec<String>,
        only_if_absent: bool,
        done: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (tiers, key, value) = (self.tiers.clone(), key.to_vec(), value.to_vec().into());
        let ttl = seconds("ttl", ttl)?;
        let work = async move {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let keep = Keep::for_ttl(ttl).tagged(&tags);
            if only_if_absent {
                return tiers.store().put_if_absent(&key, value, keep).await;
            }
            tiers.store().put(&key, value, keep).await.map(|()| true)
        };
        self.run(py, done, work, to_python)
    }

    #[pyo3(signature = (key, ttl, done=None))]
    fn touch(&self, py: Python<'_>, key: &[u8], ttl: f64, done: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let (tiers, key, ttl) = (self.tiers.clone(), key.to_vec(), seconds("ttl", ttl)?);
        self.run(py, done, async move { tiers.store().touch(&key, ttl).await }, to_python)
    }

    #[pyo3(signature = (key, done=None))]
    fn delete(&self, py: Python<'_>, key: &[u8], done: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let (tiers, key) = (self.tiers.clone(), key.to_vec());
        self.run(py, done, async move { tiers.store().delete(&key).await }, to_python)
    }

    #[pyo3(signature = (prefix, done=None))]
    fn delete_by_prefix(
        &self,
        py: Python<'_>,
        prefix: &[u8],
        done: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (tiers, prefix) = (self.tiers.clone(), prefix.to_vec());
        self.run(py, done, async move { tiers.store().delete_by_prefix(&prefix).await }, to_python)
    }

    #[pyo3(signature = (tag, done=None))]
    fn delete_by_tag(&self, py: Python<'_>, tag: String, done: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let tiers = self.tiers.clone();
        self.run(py, done, async move { tiers.store().delete_by_tag(&tag).await }, to_python)
    }

    #[pyo3(signature = (done=None))]
    fn clear(&self, py: Python<'_>, done: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let tiers = self.tiers.clone();
        self.run(py, done, async move { tiers.store().clear().await }, to_python)
    }

    /// Hits of the near tier, hits, misses, timeouts, disconnects, refused, errors, and whether a connection is open.
    fn stats(&self) -> (u64, u64, u64, u64, u64, u64, u64, bool) {
        let (near, far) = match &self.tiers {
            Tiers::Far(far) => (0, far.stats()),
            Tiers::Both(tiered) => {
                let stats = tiered.stats();
                (stats.near.hits, stats.far)
            }
        };
        (near, far.hits, far.misses, far.timeouts, far.disconnects, far.refused, far.errors, far.is_connected)
    }
}

impl Store {
    /// Waits for the work with the interpreter released, or, with `done`, starts it and returns.
    fn run<T: Send + 'static>(
        &self,
        py: Python<'_>,
        done: Option<Py<PyAny>>,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
        convert: fn(Python<'_>, T) -> PyResult<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let Some(done) = done else {
            let result = py.detach(|| self.runtime.block_on(work));
            return convert(py, result.map_err(told)?);
        };
        self.runtime.spawn(async move {
            let result = work.await;
            // Without an interpreter there is nobody left to tell.
            Python::try_attach(|py| {
                let answer = match result.map_err(told).and_then(|value| convert(py, value)) {
                    Ok(value) => (value, py.None()),
                    Err(error) => (py.None(), error.into_value(py).into_any()),
                };
                // An event loop that was closed meanwhile does not want to know.
                let _ = done.call1(py, answer);
            });
        });
        Ok(py.None())
    }
}

fn to_python<T>(py: Python<'_>, value: T) -> PyResult<Py<PyAny>>
where
    T: for<'py> IntoPyObjectExt<'py>,
{
    value.into_py_any(py)
}

/// The runtime of this process.
static RUNTIME: Mutex<Option<&'static Shared>> = Mutex::new(None);

fn runtime() -> PyResult<&'static Shared> {
    let mut current = RUNTIME.lock();
    if let Some(runtime) = *current {
        return Ok(runtime);
    }
    let begun = Shared::begin()
        .map_err(|error| PyRuntimeError::new_err(format!("cannot start a thread: {error}")))?;
    *current = Some(begun);
    Ok(begun)
}

/// After a fork, the child has no runtime: its keeper did not come along.
#[pyfunction]
pub(crate) fn forget_runtime() {
    // A thread of the parent may have held the lock when it forked.
    if let Some(mut current) = RUNTIME.try_lock() {
        *current = None;
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(error: StoreError) -> PyErr {
    let message = error.to_string();
    match error {
        _ if error.is_outage() => OutageError::new_err(message),
        StoreError::Codec { .. } | StoreError::Unexpected { .. } => Error::new_err(message),
        _ => PyValueError::new_err(message),
    }
}
