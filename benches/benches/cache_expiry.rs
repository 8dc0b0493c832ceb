//! How long does the slowest operation take when a million entries expire at one instant?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench cache_expiry`
//!
//! A hand-moved clock kills all entries between two operations. Each operation is timed by its thread's CPU clock, so
//! that a busy machine's other work does not count; interrupts and page faults do. Beside it the same operations on
//! the same cache while nothing has expired.
#![allow(clippy::print_stdout)] // that is what it is for

use cache::{Cache, ManualClock, Policy};
use evenly_benches::zipf::Zipf;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const ENTRIES: usize = 1_000_000;
const TTL: Duration = Duration::from_secs(60);
const ROUNDS: usize = 5;

fn main() {
    println!(
        "microseconds an operation: median, 99.99 %, slowest; the slowest as the median of {ROUNDS} rounds"
    );
    for policy in Policy::ALL {
        let (mut before, mut after, mut left) = (Vec::new(), Vec::new(), 0);
        for round in 0..ROUNDS {
            let clock = ManualClock::new();
            let builder = Cache::builder(ENTRIES as u64).policy(*policy).ttl(TTL).clock(clock.clone());
            let cache = builder.seed(round as u64).build().expect("the capacity is not 0");
            for rank in 0..ENTRIES {
                cache.insert(Zipf::key(rank), 0);
            }
            before.push(times(&cache, ENTRIES));
            // A while after the first entries' time, when the last one's is over, too.
            clock.advance(TTL * 2);
            after.push(times(&cache, 2 * ENTRIES));
            left = left.max(cache.len());
        }
        show(policy.name(), "nothing dead", &mut before);
        show(policy.name(), "a million died", &mut after);
        println!("{:10} entries left at the end, at most: {left}", policy.name());
    }
}

/// The time of each of 200,000 operations: seven gets, four insertions of new keys, four of known ones and a removal, in turn.
fn times(cache: &Cache<u64, u64>, fresh: usize) -> Vec<u64> {
    let mut times: Vec<u64> = (0..200_000)
        .map(|turn| {
            let known = Zipf::key(turn * 7 % ENTRIES);
            let start = cpu_time();
            match turn % 16 {
                0 => {
                    black_box(cache.remove(&known));
                }
                1 | 5 | 9 | 13 => {
                    black_box(cache.insert(Zipf::key(fresh + turn), 0));
                }
                2 | 6 | 10 | 14 => {
                    black_box(cache.insert(known, 1));
                }
                _ => {
                    black_box(cache.get(&known));
                }
            }
            cpu_time() - start
        })
        .collect();
    times.sort_unstable();
    times
}

fn show(policy: &str, when: &str, rounds: &mut [Vec<u64>]) {
    rounds.sort_by_key(|times| times[times.len() - 1]);
    let times = &rounds[rounds.len() / 2];
    let us = |at: usize| times[at.min(times.len() - 1)] as f64 / 1000.0;
    let (middle, rare, last) = (us(times.len() / 2), us(times.len() - times.len() / 10_000), us(times.len()));
    println!("{policy:10} {when:15} {middle:8.2} {rare:8.2} {last:8.2}");
}

fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
