//! What a ring weighs: at most 16 bytes a point, all in. A program of its own, because it counts what the process
//! allocates.

use std::alloc::System;

use balancers::{Algorithm, Pool, Values};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    for algorithm in [Algorithm::Ring, Algorithm::Ketama] {
        let region = Region::new(COUNTING);
        let pool: Pool<()> = Pool::new(algorithm);
        let list = (0..1000).map(|n| (format!("10.0.{}.{}:8080", n / 250, n % 250), 1, ()));
        pool.update(|edit| edit.replace_all(list, Values::Keep)).unwrap();
        let held =
            |region: &Region<'_, System>| region.change().bytes_allocated - region.change().bytes_deallocated;
        let points = 160 * 1000;
        let built = held(&region);
        assert!(
            (13 * points..=16 * points).contains(&built),
            "{algorithm}: {built} bytes for {points} points"
        );

        // Changes leave nothing behind.
        for _ in 0..10 {
            pool.update(|edit| edit.remove("10.0.1.1:8080")).unwrap();
            pool.update(|edit| edit.add("10.0.1.1:8080", 1, ())).unwrap();
        }
        let changed = held(&region);
        assert!(changed <= 16 * points, "{algorithm}: {changed} bytes after 20 changes");
    }
}
