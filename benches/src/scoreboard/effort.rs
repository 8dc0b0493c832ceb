//! How much of everything.

/// Whether a look is enough: `EVENLY_BENCH=quick`, as `make bench-quick` sets it.
#[must_use]
pub fn is_quick() -> bool {
    std::env::var_os("EVENLY_BENCH").is_some_and(|effort| effort == "quick")
}

/// `full`, or `quick` where a look is enough: rounds, operations, sizes.
#[must_use]
pub fn of_effort<T>(full: T, quick: T) -> T {
    if is_quick() { quick } else { full }
}
