//! To be written.
#![forbid(unsafe_code)]

pub mod admit;
pub mod headers;
pub mod http_cache;
pub mod target;
