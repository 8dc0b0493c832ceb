//! How many operations does a CPU second buy, beside quick_cache, moka and lru in the same run?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench cache_ops [-- WORKLOAD… +CONTENDER…]`, where a
//! workload is part of a name and threads (`"20 k t1"`), a contender part of its name (`+auto`).
//!
//! Each round runs every contender once, one after the other; figures are process CPU time, medians over the rounds,
//! ratios within each round. Keys are drawn before the clock starts.
#![allow(clippy::print_stdout)] // that is what it is for

use evenly_benches::cache_rivals::rivals;
use evenly_benches::caches::{Contender, Maker, ours};
use evenly_benches::zipf::Zipf;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const ROUNDS: usize = 9;
const OPS: usize = 1 << 20;

/// One row of the table: what is done with how many keys.
struct Workload {
    name: &'static str,
    keys: usize,
    capacity: usize,
    exponent: f64,
    step: fn(&dyn Contender, u64, usize),
}

const READ: fn(&dyn Contender, u64, usize) = |cache, key, _| {
    black_box(cache.get(key));
};
const READ_MOSTLY: fn(&dyn Contender, u64, usize) = |cache, key, turn| {
    if turn % 20 == 0 {
        cache.insert(key, turn as u64);
    } else {
        black_box(cache.get(key));
    }
};
const GET_OR_INSERT: fn(&dyn Contender, u64, usize) = |cache, key, _| {
    if black_box(cache.get(key)).is_none() {
        cache.insert(key, key);
    }
};
const INSERT: fn(&dyn Contender, u64, usize) = |cache, key, _| cache.insert(key, key);

const WORKLOADS: &[Workload] = &[
    Workload { name: "read hit, 20 k", keys: 20_000, capacity: 20_000, exponent: 0.99, step: READ },
    Workload { name: "read hit, 1 M", keys: 1_000_000, capacity: 1_000_000, exponent: 0.99, step: READ },
    Workload {
        name: "read 95 / write 5, 1 M",
        keys: 1_000_000,
        capacity: 1_000_000,
        exponent: 0.99,
        step: READ_MOSTLY,
    },
    Workload {
        name: "get or insert, 1 M in 100 k",
        keys: 1_000_000,
        capacity: 100_000,
        exponent: 0.9,
        step: GET_OR_INSERT,
    },
    Workload {
        name: "insert and evict, 100 k",
        keys: 1_000_000,
        capacity: 100_000,
        exponent: 0.0,
        step: INSERT,
    },
];

fn main() {
    let args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let (only, filter): (Vec<_>, Vec<_>) = args.partition(|arg| arg.starts_with('+'));
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()));
    for workload in WORKLOADS {
        for threads in [1, 2, 8] {
            if wanted(&format!("{} t{threads}", workload.name)) {
                table(workload, threads, &only);
            }
        }
    }
}

fn table(workload: &Workload, threads: usize, only: &[String]) {
    let is_asked = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(&part[1..]));
    let all = rivals().into_iter().chain(ours()).enumerate();
    let contenders: Vec<_> = all
        .filter(|(at, contender)| *at == 0 || is_asked(&contender.name))
        .map(|(_, contender)| contender)
        .collect();
    let keys: Vec<_> =
        (0..threads).map(|seed| Zipf::new(workload.keys, workload.exponent, seed as u64).take(OPS)).collect();
    let mut costs = vec![Vec::new(); contenders.len()];
    let caches: Vec<_> = contenders.iter().map(|contender| filled(contender, workload)).collect();
    for _ in 0..ROUNDS {
        for (cache, costs) in caches.iter().zip(&mut costs) {
            costs.push(round(cache.as_ref(), workload.step, &keys));
        }
    }
    println!(
        "\n{}, {threads} thread(s): ns of CPU an operation, and operations a CPU second beside quick_cache",
        workload.name
    );
    for (contender, own) in contenders.iter().zip(&costs) {
        let mut ratios: Vec<_> = own.iter().zip(&costs[0]).map(|(own, quick)| quick / own).collect();
        ratios.sort_by(f64::total_cmp);
        let mut own = own.clone();
        own.sort_by(f64::total_cmp);
        let middle = ROUNDS / 2;
        let (low, high) = (ratios[0], ratios[ROUNDS - 1]);
        println!(
            "  {:18} {:8.1} ns   {:5.2}x   ({low:.2} to {high:.2})",
            contender.name, own[middle], ratios[middle]
        );
    }
}

fn filled(contender: &Maker, workload: &Workload) -> Box<dyn Contender> {
    let cache = (contender.make)(workload.capacity);
    // The least popular first, so that the popular are resident where not all fit.
    for rank in (0..workload.keys).rev() {
        cache.insert(Zipf::key(rank), rank as u64);
    }
    cache.len();
    cache
}

fn round(cache: &dyn Contender, step: fn(&dyn Contender, u64, usize), keys: &[Vec<u64>]) -> f64 {
    let before = cpu_time();
    std::thread::scope(|scope| {
        for keys in keys {
            scope.spawn(move || keys.iter().enumerate().for_each(|(turn, key)| step(cache, *key, turn)));
        }
    });
    let operations = keys.iter().map(Vec::len).sum::<usize>();
    (cpu_time() - before).as_nanos() as f64 / operations as f64
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
