//! `Placement`: keys to nodes by one of the crate's algorithms, as a mapping that is looked up and never picks by load.

use std::sync::Arc;

use balancers::{Algorithm, Balancer, Members, Query, Rng, hash_key};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyString};

use crate::balancers::{Listed, PoolOptions, parse, refused};
use crate::lock::Lock;

/// The Rust half of `Ring`, `Ketama`, `Maglev`, `Rendezvous` and `BoundedRing`.
///
/// Its lock is held for one look-up, during which no Python code runs and nobody detaches; what takes longer keeps the
/// state as it found it ([`Self::now`]). Keys become bytes before: their `__str__` and `__repr__` may use the ring.
#[pyclass(module = "evenly._evenly", subclass, frozen, weakref, generic)]
pub(crate) struct Placement {
    state: Lock<Arc<State>>,
    algorithm: Algorithm,
    options: balancers::Options,
}

struct State {
    balancer: Box<dyn Balancer>,
    /// In the order of the balancer's members.
    nodes: Vec<Py<PyAny>>,
}

#[pymethods]
impl Placement {
    #[new]
    #[allow(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over")]
    fn new(algorithm: &str, options: PoolOptions, members: Listed) -> PyResult<Self> {
        let (algorithm, options) = (parse(algorithm)?, options.checked()?);
        let state = State::build(algorithm, &options, members)?;
        Ok(Self { state: Lock::new(Arc::new(state)), algorithm, options })
    }

    /// Places anew, over other members; lookups meanwhile see the old ones.
    fn _replace(&self, py: Python<'_>, members: Listed) -> PyResult<()> {
        let fresh = py.detach(|| State::build(self.algorithm, &self.options, members))?;
        self.put(py, fresh);
        Ok(())
    }

    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.owner(key)?.ok_or_else(|| PyKeyError::new_err("there are no members"))
    }

    /// The node a key belongs to; None while there are none.
    fn get_node(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        self.owner(key)
    }

    /// The first `n` different nodes for a key, the best first: its replicas.
    fn get_nodes(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        n: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Py<PyAny>>> {
        let n = whole("n", n, 0, u64::MAX)? as usize;
        let state = self.now(py);
        with_key(key, |query| {
            state
                .first(query, n)
                .into_iter()
                .filter_map(|index| state.nodes.get(index))
                .map(|node| node.clone_ref(py))
                .collect()
        })
    }

    /// The node of each key, computed with the interpreter released.
    fn assign<'py>(&self, py: Python<'py>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        if keys.is_instance_of::<PyString>() || keys.is_instance_of::<PyBytes>() {
            // A lone key is a list of letters to Python.
            return Err(PyTypeError::new_err(format!("keys {} (must be a list of keys)", keys.repr()?)));
        }
        let mut all = Keys::default();
        for key in keys.try_iter()? {
            all.push(&key?)?;
        }
        let state = self.now(py);
        if state.nodes.is_empty() && !all.ends.is_empty() {
            return Err(PyKeyError::new_err("there are no members"));
        }
        let owners = py.detach(|| {
            if self.algorithm == Algorithm::BoundedRing { state.deal(&all) } else { state.owners(&all) }
        });
        PyList::new(py, owners.into_iter().map(|index| state.nodes[index].clone_ref(py)))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.state.lock(py).nodes.len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: while garbage is collected no other thread is attached, or runs.
        let Some(state) = (unsafe { self.state.try_lock() }) else { return Ok(()) };
        state.nodes.iter().try_for_each(|node| visit.call(node))
    }

    fn __clear__(&self, py: Python<'_>) {
        if let Ok(empty) = State::build(self.algorithm, &self.options, Vec::new()) {
            self.put(py, empty);
        }
    }
}

impl Placement {
    #[inline]
    pub(crate) fn owner(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        with_key(key, |query| {
            let state = self.state.lock(key.py());
            let index = state.balancer.pick(&query, &mut Rng::new(0))?;
            state.nodes.get(index).map(|node| node.clone_ref(key.py()))
        })
    }

    /// The state as it stands, to keep.
    fn now(&self, py: Python<'_>) -> Arc<State> {
        Arc::clone(&*self.state.lock(py))
    }

    fn put(&self, py: Python<'_>, fresh: State) {
        let old = std::mem::replace(&mut *self.state.lock(py), Arc::new(fresh));
        // Here its nodes may end, which runs Python code, if nobody else still keeps it.
        drop(old);
    }
}

impl State {
    fn build(algorithm: Algorithm, options: &balancers::Options, mut list: Listed) -> PyResult<Self> {
        list.sort_by(|a, b| a.0.cmp(&b.0));
        let members =
            Members::new(list.iter().map(|(id, weight, _)| (id.as_str(), *weight))).map_err(refused)?;
        let balancer = algorithm.build(members, options).map_err(refused)?;
        Ok(Self { balancer, nodes: list.into_iter().map(|(_, _, node)| node).collect() })
    }

    fn first(&self, mut query: Query<'_>, n: usize) -> Vec<usize> {
        if n > FEW {
            let mut all = self.balancer.candidates(&query, &mut Rng::new(0));
            all.truncate(n);
            return all;
        }
        let mut chosen = Vec::with_capacity(n);
        while chosen.len() < n {
            let Some(index) = self.balancer.pick(&query, &mut Rng::new(0)) else { break };
            let Some(member) = self.balancer.members().get(index) else { break };
            query = query.avoiding(member.tag());
            chosen.push(index);
        }
        chosen
    }

    fn owners(&self, keys: &Keys) -> Vec<usize> {
        let mut rng = Rng::new(0);
        keys.iter().filter_map(|key| self.balancer.pick(&Query::for_key(key), &mut rng)).collect()
    }

    /// As `owners`, but each key counts as load until all are dealt, so that no node gets more than its ceiling.
    fn deal(&self, keys: &Keys) -> Vec<usize> {
        let mut rng = Rng::new(0);
        let dealt: Vec<usize> =
            keys.iter().filter_map(|key| self.balancer.acquire(&Query::for_key(key), &mut rng)).collect();
        for member in dealt.iter().filter_map(|index| self.balancer.members().get(*index)) {
            member.end();
        }
        dealt
    }
}

/// Up to so many replicas, asking again while avoiding those found is quicker than ranking all.
const FEW: usize = 8;

/// Many keys in one piece of memory.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn push(&mut self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        with_key_bytes(key, |bytes| self.bytes.extend_from_slice(bytes))?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let key = &self.bytes[start..*end];
            start = *end;
            key
        })
    }
}

/// Asks with the bytes of a key: a `str` as UTF-8, `bytes` as they are, an `int` in decimal digits.
#[inline]
pub(crate) fn with_key<R>(key: &Bound<'_, PyAny>, ask: impl FnOnce(Query<'_>) -> R) -> PyResult<R> {
    with_key_bytes(key, |bytes| ask(Query::for_key(bytes)))
}

#[inline]
fn with_key_bytes<R>(key: &Bound<'_, PyAny>, ask: impl FnOnce(&[u8]) -> R) -> PyResult<R> {
    if let Ok(text) = key.cast::<PyString>() {
        return Ok(ask(text.to_cow()?.as_bytes()));
    }
    if let Ok(bytes) = key.cast::<PyBytes>() {
        return Ok(ask(bytes.as_bytes()));
    }
    if key.is_instance_of::<PyInt>() {
        return Ok(ask(key.str()?.to_cow()?.as_bytes()));
    }
    Err(PyTypeError::new_err(format!("key {} (must be a str, bytes or an int)", key.repr()?)))
}

/// The 64-bit hash by which keys are placed: the same in every process and language.
#[pyfunction]
pub(crate) fn key_hash(key: &Bound<'_, PyAny>) -> PyResult<u64> {
    with_key_bytes(key, hash_key)
}

/// The bucket of a 64-bit key among `buckets` (Lamping and Veach, 2014).
#[pyfunction]
pub(crate) fn jump_hash(key: &Bound<'_, PyAny>, buckets: &Bound<'_, PyAny>) -> PyResult<u32> {
    let buckets = whole("buckets", buckets, 1, u64::from(u32::MAX))? as u32;
    let number = if key.is_instance_of::<PyInt>() {
        whole("key", key, 0, u64::MAX)?
    } else {
        with_key_bytes(key, hash_key)?
    };
    Ok(balancers::algorithms::jump_hash(number, buckets))
}

/// A whole number within limits; others are told with them.
fn whole(name: &str, number: &Bound<'_, PyAny>, min: u64, max: u64) -> PyResult<u64> {
    match number.extract::<u64>() {
        Ok(whole) if (min..=max).contains(&whole) => Ok(whole),
        Err(error) if !number.is_instance_of::<PyInt>() => Err(error),
        _ => Err(PyValueError::new_err(format!("{name} {number} (must be {min} to {max})"))),
    }
}
