//! How long does the slowest operation take when a million entries expire at one instant?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench cache_expiry`
//!
//! A hand-moved clock kills all entries between two operations. Each operation is timed by its thread's CPU clock, so
//! that a busy machine's other work does not count; interrupts and page faults do. Beside it the same operations on
//! the same cache while nothing has expired.
//!
//! Every round does the very same: the same seed, keys and clock, so that what an operation has to do it has to do in each
//! round. "Slowest" is therefore the slowest operation *by the best of its rounds*: an interrupt seldom meets the same
//! operation of 200,000 in every round, and work that is the cache's own cannot be missing from one. What the slowest
//! took in a round, noise and all, stands beside it.

use cache::{Cache, ManualClock, Policy};
use evenly_benches::scoreboard::{Better, Board, of_effort, ours};
use evenly_benches::zipf::Zipf;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

const ENTRIES: usize = 1_000_000;
const OPERATIONS: usize = 200_000;
const TTL: Duration = Duration::from_secs(60);

fn main() -> std::io::Result<()> {
    let mut board = Board::new("cache_expiry");
    for policy in Policy::ALL {
        let (mut quiet, mut dying) = (Vec::new(), Vec::new());
        for _ in 0..of_effort(7, 4) {
            let clock = ManualClock::new();
            let builder = Cache::builder(ENTRIES as u64).policy(*policy).ttl(TTL).clock(clock.clone());
            let cache = builder.seed(1).build().expect("the capacity is not 0");
            for rank in 0..ENTRIES {
                cache.insert(Zipf::key(rank), 0);
            }
            quiet.push(times(&cache, ENTRIES));
            // A while after the first entries' time, when the last one's is over, too.
            clock.advance(TTL * 2);
            dying.push(times(&cache, 2 * ENTRIES));
            assert!(cache.len() < ENTRIES / 4, "the dead are still there");
        }
        note(&mut board, policy.name(), "nothing dead", quiet);
        note(&mut board, policy.name(), "a million died", dying);
    }
    board.finish().map(drop)
}

fn note(board: &mut Board, policy: &str, when: &str, rounds: Vec<Vec<u64>>) {
    let mut note = |name, nanos: u64| {
        board.note(when, policy, (name, Better::Less), ours("evenly"), nanos as f64 / 1000.0);
    };
    let best = |operation: usize| rounds.iter().map(|times| times[operation]).min();
    note("µs, slowest", (0..OPERATIONS).filter_map(best).max().unwrap_or(0));
    for mut times in rounds {
        times.sort_unstable();
        let last = OPERATIONS - 1;
        for (name, at) in [("in a round", last), ("99.99 %", last - last / 10_000), ("median", last / 2)] {
            note(name, times[at]);
        }
    }
}

/// The time of each of the [`OPERATIONS`]: seven gets, four insertions of new keys, four of known ones and a removal, in turn.
fn times(cache: &Cache<u64, u64>, fresh: usize) -> Vec<u64> {
    let timed = (0..OPERATIONS).map(|turn| {
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
    });
    timed.collect()
}

fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
