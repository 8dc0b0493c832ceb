//! To be written.
#![forbid(unsafe_code)]

pub mod headers;
pub mod target;
