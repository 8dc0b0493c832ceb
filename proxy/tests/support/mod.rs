//! Real parts for tests: the binary as a process, upstreams on real sockets, a naive client.
//!
//! Everything picks free ports, and everything ends when its value is dropped.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test file uses its own part of the support"
)]

mod client;
mod dns;
mod evenly;
mod load;
mod process;
mod recorder;
mod upstream;

pub use client::{Client, Reply};
pub use dns::{NameServer, Record, Zone};
pub use evenly::{Evenly, free_port};
pub use load::{Load, Report, is_long, row, scaled};
pub use process::{UpstreamProcess, serve_if_asked};
pub use recorder::{Recorder, Script, Seen};
pub use upstream::Upstream;

use std::time::{Duration, Instant};

/// Waits until `condition` holds; panics with `what` after half a minute: the machine may be busy with other things.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "did not happen within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
