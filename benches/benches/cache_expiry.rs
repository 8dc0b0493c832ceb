//! How long does the slowest operation take when a million entries expire at one instant?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench cache_expiry`
//!
//! A hand-moved clock kills all entries between two operations. Each operation is timed by its thread's CPU clock, so
//! that a busy machine's other work does not count; interrupts and page faults do. Beside it the same operations on
//! the same cache while nothing has expired.

use cache::{Cache, ManualClock, Policy};
use evenly_benches::scoreboard::{Better, Board, of_effort, ours};
use evenly_benches::zipf::Zipf;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const ENTRIES: usize = 1_000_000;
const TTL: Duration = Duration::from_secs(60);

fn main() -> std::io::Result<()> {
    let mut board = Board::new("cache_expiry");
    for policy in Policy::ALL {
        for round in 0..of_effort(5, 2) {
            let clock = ManualClock::new();
            let builder = Cache::builder(ENTRIES as u64).policy(*policy).ttl(TTL).clock(clock.clone());
            let cache = builder.seed(round).build().expect("the capacity is not 0");
            for rank in 0..ENTRIES {
                cache.insert(Zipf::key(rank), 0);
            }
            note(&mut board, policy.name(), "nothing dead", &times(&cache, ENTRIES));
            // A while after the first entries' time, when the last one's is over, too.
            clock.advance(TTL * 2);
            note(&mut board, policy.name(), "a million died", &times(&cache, 2 * ENTRIES));
            assert!(cache.len() < ENTRIES / 4, "the dead are still there");
        }
    }
    board.finish().map(drop)
}

fn note(board: &mut Board, policy: &str, when: &str, times: &[u64]) {
    let last = times.len() - 1;
    for (name, at) in [("µs, slowest", last), ("99.99 %", last - last / 10_000), ("median", last / 2)] {
        board.note(when, policy, (name, Better::Less), ours("evenly"), times[at] as f64 / 1000.0);
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

fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
