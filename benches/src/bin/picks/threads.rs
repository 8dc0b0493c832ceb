//! Do two threads cost each other anything?
//!
//! What one pick takes of its thread's processor while two threads pick from one pool, by what it takes while one does.
//! Lines that both write would show as more. On a busy machine the two are often not at work at once: a turn counts only if
//! both together had the processors for most of the time that passed.

use std::sync::Barrier;
use std::time::Instant;

use balancers::{Algorithm, Pool, Query};
use evenly_benches::scoreboard::{Better, Board, of_effort, ours};

use crate::race::thread_nanos;

pub(crate) fn run(board: &mut Board) {
    for algorithm in ALGORITHMS {
        let pool: Pool<usize> = Pool::new(algorithm);
        pool.update(|edit| (0..MEMBERS).try_for_each(|n| edit.add(format!("m{n}"), 1, n)))
            .expect("ids differ");
        let (mut together, mut apart, turns) = (0, 0, of_effort(31, 9));
        while together < turns && apart < 20 * turns {
            let alone = turn(&pool, &Barrier::new(1), 0);
            let (barrier, start) = (Barrier::new(2), Instant::now());
            let both: u64 = std::thread::scope(|scope| {
                let other = scope.spawn(|| turn(&pool, &barrier, 1));
                turn(&pool, &barrier, 0) + other.join().expect("picks do not panic")
            });
            if both as f64 / start.elapsed().as_nanos() as f64 > TOGETHER {
                together += 1;
                let ratio = both as f64 / 2.0 / alone as f64;
                board.note("two threads", "1000", RATIO, ours(algorithm.name()), ratio);
            } else {
                apart += 1;
            }
        }
        eprintln!("{algorithm}: {together} turns, {apart} in which the two were not at work together");
    }
}

/// Its thread's processor time for all picks.
fn turn(pool: &Pool<usize>, barrier: &Barrier, thread: u64) -> u64 {
    let mut reader = pool.reader();
    barrier.wait();
    let start = thread_nanos();
    for key in 0..PICKS {
        // Keys of its own, so that the members are mostly others'.
        drop(std::hint::black_box(reader.pick(&Query::keyed(key << 1 | thread))));
    }
    thread_nanos() - start
}

const ALGORITHMS: [Algorithm; 7] = [
    Algorithm::Random,
    Algorithm::P2c,
    Algorithm::Ring,
    Algorithm::Maglev,
    Algorithm::Rendezvous,
    Algorithm::RoundRobin,
    Algorithm::LeastLoad,
];
/// A pick's time with two threads by that with one.
const RATIO: (&str, Better) = ("× one thread's time", Better::Less);
const MEMBERS: usize = 1000;
const PICKS: u64 = 200_000;
/// Of the time that passed for two threads at once (2 if nothing disturbs them).
const TOGETHER: f64 = 1.7;
