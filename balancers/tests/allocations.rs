//! A pick allocates nothing, whatever the algorithm: not on the fast path, not on a retry, not with members down.

use std::alloc::System;

use balancers::{Algorithm, Outcome, Pool, Query};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    for algorithm in Algorithm::ALL {
        let pool = Pool::new(algorithm);
        pool.update(|edit| (0..50_u32).try_for_each(|n| edit.add(format!("m{n}"), n % 3 + 1, n))).unwrap();
        let mut reader = pool.reader();
        let mut picks = |calm: &str| {
            // Once for what threads set up on first use.
            let first = pool.pick(&Query::for_key(b"warm")).unwrap();
            let region = Region::new(COUNTING);
            for key in 0..500_u64 {
                let bytes = key.to_le_bytes();
                let query = Query::for_key(&bytes);
                drop(reader.pick(&query).unwrap());
                drop(reader.lend(&query).unwrap());
                let lease = pool.pick(&query.avoiding(first.tag())).unwrap();
                lease.finish(Outcome { latency: std::time::Duration::from_micros(key), ok: key % 7 != 0 });
            }
            assert_eq!(region.change().allocations, 0, "{algorithm}, {calm}");
        };
        picks("all up");
        pool.set_up("m3", false).unwrap();
        picks("one down");
    }
}
