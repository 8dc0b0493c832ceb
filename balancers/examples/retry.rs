//! A request that goes to the next member when one refuses, each at most once:
//! `cargo run -p balancers --example retry`.
#![expect(clippy::print_stdout, reason = "an example that shows what it does")]

use std::time::{Duration, Instant};

use balancers::{Algorithm, Outcome, PickError, Pool, Query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(Algorithm::PeakEwma);
    pool.update(|edit| (0..5).try_for_each(|n| edit.add(format!("server {n}"), 1, n)))?;

    let mut query = Query::new();
    loop {
        let lease = match pool.pick(&query) {
            Ok(lease) => lease,
            Err(PickError::AllAvoided) => return Err("everybody refused".into()),
            Err(other) => return Err(other.into()),
        };
        println!("trying {}", lease.id());
        query = query.avoiding(lease.tag());
        let start = Instant::now();
        let ok = send(*lease);
        lease.finish(Outcome { latency: start.elapsed(), ok });
        if ok {
            println!("answered");
            return Ok(());
        }
    }
}

/// Only one of them works.
fn send(server: u32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    server == 3
}
