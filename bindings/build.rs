//! Tells the compiler which interpreter this is for: `cfg(Py_GIL_DISABLED)` in `src/lock.rs`.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
