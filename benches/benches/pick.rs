//! What does one pick cost, ours beside the rivals'?
//!
//! `cargo bench -p evenly-benches --features balancing-rivals --bench pick`; for a noisy machine see `src/bin/picks.rs`.

use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use evenly_benches::balancing::ROWS;

fn picks(criterion: &mut Criterion) {
    for row in ROWS {
        let mut group = criterion.benchmark_group(row.name);
        group.throughput(Throughput::Elements(1));
        for (contender, &members) in row.contenders.iter().flat_map(|c| row.sizes.iter().map(move |n| (c, n)))
        {
            let mut run = (contender.build)(members);
            group.bench_function(BenchmarkId::new(contender.name, members), |bencher| {
                bencher.iter_custom(|picks| {
                    let start = Instant::now();
                    run(picks);
                    start.elapsed()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, picks);
criterion_main!(benches);
