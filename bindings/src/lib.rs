//! The Rust half of the Python package `evenly`: caches and balancers, over the crates of the same names.
//!
//! The Python half (`python/evenly/`) holds what is not called in a loop: constructors, views, decorators, asyncio.

use pyo3::prelude::*;

mod balancers;
mod cache;
mod change;
mod clock;
mod hash_ring;
mod held;
mod key;
mod locate;
mod lock;
mod look;
mod memo;
mod placement;
mod redis;
mod redis_runtime;
#[cfg_attr(feature = "abi3", path = "slots_abi3.rs")]
mod slots;
mod walk;

#[pymodule(gil_used = false)]
mod _evenly {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::balancers::{Error, Lease, NobodyError, PoolBase};
    #[pymodule_export]
    use super::hash_ring::HashRingBase;
    #[pymodule_export]
    use super::memo::Memo;
    #[pymodule_export]
    use super::placement::{Placement, jump_hash, key_hash};
    #[pymodule_export]
    use super::redis::{OutageError, Store, forget_runtime};
    #[pymodule_export]
    use super::slots::quicken;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("CacheBase", super::slots::quick_type(module.py())?)?;
        let policies: Vec<_> = ::cache::Policy::ALL.iter().map(|policy| policy.name()).collect();
        module.add("POLICIES", pyo3::types::PyTuple::new(module.py(), policies)?)?;
        let algorithms: Vec<_> =
            ::balancers::Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        module.add("ALGORITHMS", pyo3::types::PyTuple::new(module.py(), algorithms)?)?;
        module.add("VERSION", env!("CARGO_PKG_VERSION"))
    }
}
