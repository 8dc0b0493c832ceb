//! `PoolBase` and `Lease`: the live pool of the crate `balancers`, holding Python objects.

use std::time::{Duration, Instant};

use balancers::algorithms::KetamaScheme;
use balancers::{Algorithm, EditError, Options, Outcome, PickError, Pool, Query, Tag};
use parking_lot::Mutex;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::placement::with_key;

create_exception!(evenly, Error, PyException, "Whatever evenly raises that no error of Python's own says.");
create_exception!(
    evenly,
    NobodyError,
    Error,
    "No member may take this request: none there, all down, or all avoided."
);

/// Members as Python lists them: id, weight, object.
pub(crate) type Listed = Vec<(String, u32, Py<PyAny>)>;
/// Id, weight, up, draining, in flight, picks, mean latency in seconds.
type StatusRow = (String, u32, bool, bool, u32, u64, Option<f64>);
/// A lease until it is finished, and when its `with` began.
type UnderWay = (Option<balancers::Lease<Py<PyAny>>>, Option<Instant>);

/// The Rust half of `evenly.balancers.Pool`: members by id.
#[pyclass(module = "evenly._evenly", subclass, frozen, weakref, generic)]
pub(crate) struct PoolBase {
    pool: Pool<Py<PyAny>>,
    algorithm: Algorithm,
}

#[pymethods]
impl PoolBase {
    #[new]
    #[allow(clippy::needless_pass_by_value, reason = "pyo3 hands arguments over")]
    #[pyo3(signature = (members, algorithm, options, seed, panic_threshold, slow_start))]
    fn new(
        members: Listed,
        algorithm: &str,
        options: PoolOptions,
        seed: Option<u64>,
        panic_threshold: u32,
        slow_start: f64,
    ) -> PyResult<Self> {
        let algorithm = parse(algorithm)?;
        let mut builder = Pool::builder()
            .options(options.checked()?)
            .panic_threshold(panic_threshold)
            .slow_start(seconds("slow_start", slow_start)?);
        if let Some(seed) = seed {
            builder = builder.seed(seed);
        }
        let pool = builder.build(algorithm).map_err(refused)?;
        pool.update(|edit| {
            members.into_iter().try_for_each(|(id, weight, member)| edit.add(id, weight, member))
        })
        .map_err(refused)?;
        Ok(Self { pool, algorithm })
    }

    /// A member for one request, as a lease; by `key` with the algorithms that place by key; none of those `avoid` holds:
    /// leases or members.
    #[pyo3(signature = (key=None, avoid=None))]
    fn pick(
        slf: &Bound<'_, Self>,
        key: Option<&Bound<'_, PyAny>>,
        avoid: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Lease> {
        let pool = &slf.get().pool;
        let picked = match (key, avoid) {
            (None, None) => pool.pick(&Query::new()),
            (None, Some(avoid)) => pool.pick(&avoiding(slf, Query::new(), avoid)?),
            (Some(key), None) => with_key(key, |query| pool.pick(&query))?,
            (Some(key), Some(avoid)) => {
                with_key(key, |query| Ok::<_, PyErr>(pool.pick(&avoiding(slf, query, avoid)?)))??
            }
        };
        let lease = picked.map_err(nobody)?;
        Ok(Lease {
            member: lease.clone_ref(slf.py()),
            tag: lease.tag(),
            under_way: Mutex::new((Some(lease), None)),
        })
    }

    /// Ids of the members that may take this request, the best first.
    #[pyo3(signature = (key=None))]
    fn _candidates(&self, key: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<String>> {
        let ids = match key {
            None => self.pool.candidates(&Query::new()),
            Some(key) => with_key(key, |query| self.pool.candidates(&query))?,
        };
        Ok(ids.iter().map(ToString::to_string).collect())
    }

    /// Who would take a request with this key, and why, in a sentence.
    #[pyo3(signature = (key=None))]
    fn explain(&self, key: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
        match key {
            None => Ok(self.pool.explain(&Query::new())),
            Some(key) => with_key(key, |query| self.pool.explain(&query)),
        }
    }

    fn _add(&self, id: String, weight: u32, member: Py<PyAny>) -> PyResult<()> {
        self.pool.update(|edit| edit.add(id, weight, member)).map(drop).map_err(refused)
    }

    fn _remove(&self, id: &str) -> PyResult<()> {
        self.pool.update(|edit| edit.remove(id)).map(drop).map_err(refused)
    }

    fn _set_weight(&self, id: &str, weight: u32) -> PyResult<()> {
        self.pool.update(|edit| edit.set_weight(id, weight)).map(drop).map_err(refused)
    }

    fn _set_draining(&self, id: &str, is_draining: bool) -> PyResult<()> {
        let edited = self.pool.update(|edit| if is_draining { edit.drain(id) } else { edit.undrain(id) });
        edited.map(drop).map_err(refused)
    }

    fn _set_up(&self, id: &str, is_up: bool) -> PyResult<bool> {
        self.pool.set_up(id, is_up).map_err(refused)
    }

    fn _is_drained(&self, id: &str) -> bool {
        self.pool.drained(id)
    }

    fn _member(&self, py: Python<'_>, id: &str) -> Option<Py<PyAny>> {
        self.pool.with_value(id, |member| member.clone_ref(py))
    }

    /// One row a member.
    fn _status(&self) -> Vec<StatusRow> {
        let row = |s: balancers::MemberStatus| {
            (
                s.id.to_string(),
                s.weight,
                s.is_up,
                s.is_draining,
                s.in_flight,
                s.picks,
                s.latency.map(|l| l.as_secs_f64()),
            )
        };
        self.pool.members().into_iter().map(row).collect()
    }

    #[getter]
    fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    fn __len__(&self) -> usize {
        self.pool.len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for member in self.pool.members() {
            self.pool.with_value(&member.id, |value| visit.call(value)).unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        // Removing cannot be refused; were it, the members would only live longer.
        let _ = self.pool.update(|edit| edit.replace_all(Listed::new(), balancers::Values::Replace));
    }
}

/// A member, for the time of one request: it counts as in flight until `finish`, the end of `with`, or the lease's own end.
#[pyclass(module = "evenly._evenly", frozen, weakref, generic)]
pub(crate) struct Lease {
    /// A reference of our own: the collector must see that the member is held, whatever becomes of the pool.
    #[pyo3(get)]
    member: Py<PyAny>,
    tag: Tag,
    under_way: Mutex<UnderWay>,
}

#[pymethods]
impl Lease {
    /// Ends the lease and tells how the request went. A second time does nothing.
    #[pyo3(signature = (ok=true, latency=None))]
    fn finish(&self, ok: bool, latency: Option<f64>) -> PyResult<()> {
        let given = latency.map(|latency| seconds("latency", latency)).transpose()?;
        let (lease, began) = {
            let mut under_way = self.under_way.lock();
            (under_way.0.take(), under_way.1)
        };
        let latency = given.or_else(|| began.map(|began| began.elapsed()));
        match (lease, latency) {
            (Some(lease), Some(latency)) => lease.finish(Outcome { latency, ok }),
            // A failure without a time is no news of latency, but it must not look fast.
            (Some(lease), None) if !ok => lease.finish(Outcome { latency: Duration::ZERO, ok }),
            _ => {}
        }
        Ok(())
    }

    /// The member's id.
    #[getter]
    fn id(&self) -> Option<String> {
        self.under_way.lock().0.as_ref().map(|lease| lease.id().to_owned())
    }

    #[getter]
    fn is_finished(&self) -> bool {
        self.under_way.lock().0.is_none()
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.get().under_way.lock().1 = Some(Instant::now());
        slf.clone()
    }

    #[pyo3(signature = (kind, _error, _traceback))]
    fn __exit__(
        &self,
        kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.finish(kind.is_none(), None)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let state = if self.is_finished() { "finished" } else { "under way" };
        Ok(format!("<Lease of {}, {state}>", self.member.bind(py).repr()?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.member)
    }
}

/// What can be tuned, by name.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct PoolOptions {
    points: u32,
    bound: f64,
    first_turn: u64,
    slots: u32,
    scheme: String,
}

impl PoolOptions {
    pub(crate) fn checked(&self) -> PyResult<Options> {
        let scheme = match self.scheme.as_str() {
            "nginx" => KetamaScheme::Nginx,
            "libketama" => KetamaScheme::Libketama,
            other => {
                return Err(PyValueError::new_err(format!(
                    "unknown ketama scheme {other:?} (must be \"nginx\" or \"libketama\")"
                )));
            }
        };
        let percent = (self.bound * 100.0).round();
        if !(0.0..=f64::from(u32::MAX)).contains(&percent) {
            return Err(PyValueError::new_err(format!(
                "bound {} (must be above 1 and at most 1000)",
                self.bound
            )));
        }
        Ok(Options::default()
            .with_ring_points(self.points)
            .with_bound_percent(percent as u32)
            .with_first_turn(self.first_turn)
            .with_maglev_slots(self.slots)
            .with_ketama(scheme))
    }
}

pub(crate) fn parse(algorithm: &str) -> PyResult<Algorithm> {
    algorithm
        .parse()
        .map_err(|unknown: balancers::UnknownAlgorithm| PyValueError::new_err(unknown.to_string()))
}

pub(crate) fn refused(error: EditError) -> PyErr {
    match error {
        EditError::Unknown { .. } => PyKeyError::new_err(error.to_string()),
        other => PyValueError::new_err(other.to_string()),
    }
}

pub(crate) fn nobody(error: PickError) -> PyErr {
    NobodyError::new_err(error.to_string())
}

fn avoiding<'k>(
    pool: &Bound<'_, PoolBase>,
    mut query: Query<'k>,
    avoid: &Bound<'_, PyAny>,
) -> PyResult<Query<'k>> {
    if avoid.is_instance_of::<PyString>() {
        // A lone name is a list of letters to Python.
        return Err(PyTypeError::new_err(format!(
            "avoid is {} (must be a list of leases or members)",
            avoid.repr()?
        )));
    }
    for one in avoid.try_iter()? {
        let one = one?;
        let tag = match one.cast::<Lease>() {
            Ok(lease) => Some(lease.get().tag),
            // Who has left meanwhile need not be avoided.
            Err(_) => {
                let id = pool.call_method1("_name_of", (one,))?;
                pool.get().pool.tag(id.cast::<PyString>()?.to_cow()?.as_ref())
            }
        };
        query = tag.into_iter().fold(query, Query::avoiding);
    }
    Ok(query)
}

pub(crate) fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("{name} {seconds} s (must be 0 or more, and finite)")))
}
