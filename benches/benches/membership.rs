//! What does a change of members cost: building, joining, leaving?
//!
//! `cargo bench -p evenly-benches --features balancing-rivals --bench membership`

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use evenly_benches::balancing::ids;

use balancers::{Algorithm, Members, Options, Pool, Values};

fn members(n: usize) -> Members {
    Members::new(ids(n).iter().map(|id| (id.as_str(), 1))).expect("ids differ")
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build, 1000 members");
    for algorithm in Algorithm::ALL {
        group.bench_function(algorithm.name(), |bencher| {
            let build = |members| algorithm.build(members, &Options::default());
            bencher.iter_batched(|| members(1000), build, BatchSize::LargeInput);
        });
    }
    group.bench_function("maglev (crate)", |bencher| {
        bencher.iter_batched(
            || ids(1000),
            |ids| maglev::Maglev::with_capacity(ids, 65_537),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("pingora-ketama", |bencher| {
        let bucket = |id: &String| pingora_ketama::Bucket::new(id.parse().expect("ids are addresses"), 1);
        let buckets: Vec<_> = ids(1000).iter().map(bucket).collect();
        bencher.iter(|| pingora_ketama::Continuum::new(&buckets));
    });
}

/// One member leaves and joins again: two updates of a pool of 1,000.
fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("leave and join, 1000 members");
    for algorithm in Algorithm::ALL {
        let pool: Pool<()> = Pool::new(algorithm);
        let list = ids(1000).into_iter().map(|id| (id, 1, ()));
        pool.update(|edit| edit.replace_all(list, Values::Keep)).expect("ids differ");
        group.bench_function(BenchmarkId::from_parameter(algorithm), |bencher| {
            bencher.iter(|| {
                pool.update(|edit| edit.remove("10.0.1.1:8080")).expect("it is there");
                pool.update(|edit| edit.add("10.0.1.1:8080", 1, ())).expect("it is not there");
            });
        });
    }
}

criterion_group!(benches, build, change);
criterion_main!(benches);
