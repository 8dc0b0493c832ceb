//! Time to live: seconds from Python, nanoseconds inside, and a clock that costs next to nothing while nothing is due.
//!
//! A lookup in a cache with a time to live must not read the clock each time: that is most of what a lookup costs. On
//! Linux the kernel keeps a coarse copy of the same clock, some milliseconds behind. An entry whose deadline is further
//! away than the copy can be behind is alive; only near its deadline the exact clock decides.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The exact monotonic time.
#[cfg(target_os = "linux")]
pub(crate) fn now() -> u64 {
    nanos_of(rustix::time::ClockId::Monotonic)
}

/// Whether an entry with this deadline is dead.
#[cfg(target_os = "linux")]
#[inline]
pub(crate) fn is_past(deadline: u64) -> bool {
    nanos_of(rustix::time::ClockId::MonotonicCoarse) + SLACK >= deadline && now() >= deadline
}

#[cfg(target_os = "linux")]
#[inline]
fn nanos_of(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Twice the longest tick of a Linux kernel (10 ms), in nanoseconds.
#[cfg(target_os = "linux")]
const SLACK: u64 = 20_000_000;

#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_past(deadline: u64) -> bool {
    now() >= deadline
}

/// What a user's timer says, as nanoseconds after a moment long before its zero.
pub(crate) fn from_timer(timer: &Bound<'_, PyAny>) -> PyResult<u64> {
    let told = timer.call0()?;
    let seconds: f64 = told.extract()?;
    if !seconds.is_finite() {
        return Err(PyValueError::new_err(format!(
            "the timer said {seconds} (must be a finite number of seconds)"
        )));
    }
    Ok(((seconds * 1e9).round() as i64).saturating_add(ORIGIN) as u64)
}

/// Half of the range: 146 years either way.
const ORIGIN: i64 = i64::MAX / 2;

/// A time to live in nanoseconds; `None` for ever.
pub(crate) fn ttl_nanos(seconds: f64) -> PyResult<Option<u64>> {
    if seconds == f64::INFINITY {
        return Ok(None);
    }
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(PyValueError::new_err(format!("ttl {seconds} s (must be longer than nothing)")));
    }
    Ok(Some(((seconds * 1e9).round() as u64).max(1)))
}
