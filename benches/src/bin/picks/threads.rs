//! Do two threads cost each other anything?
//!
//! What one pick takes of its thread's processor while two threads pick from one pool, by what it takes while one does.
//! Lines that both write would show as more. On a busy machine the two are often not at work at once: turns are short, both
//! begin one only when both have a processor, and it counts only if both had one for most of the time that passed.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use balancers::{Algorithm, Pool, Query};
use evenly_benches::scoreboard::{Better, Board, median, of_effort, ours};

use crate::race::thread_nanos;

pub(crate) fn run(board: &mut Board) {
    for algorithm in ALGORITHMS {
        let pool: Pool<usize> = Pool::new(algorithm);
        pool.update(|edit| (0..MEMBERS).try_for_each(|n| edit.add(format!("m{n}"), 1, n)))
            .expect("ids differ");
        let (mut together, mut apart, wanted) = (Vec::new(), 0, of_effort(1000, 200));
        while together.len() < wanted && apart < 100 * wanted {
            let alone: Vec<f64> =
                turns(&pool, &Meeting::of(1), 0).iter().map(|turn| turn.cpu_nanos as f64).collect();
            let meeting = Meeting::of(2);
            let (one, other) = std::thread::scope(|scope| {
                let other = scope.spawn(|| turns(&pool, &meeting, 1));
                (turns(&pool, &meeting, 0), other.join().expect("picks do not panic"))
            });
            for (one, other) in one.iter().zip(&other) {
                let both = (one.cpu_nanos + other.cpu_nanos) as f64;
                let passed = one.end.max(other.end) - one.start.min(other.start);
                if both / passed.as_nanos() as f64 > TOGETHER {
                    let ratio = both / 2.0 / median(&alone);
                    together.push(ratio);
                    board.note("two threads", "1000", RATIO, ours(algorithm.name()), ratio);
                } else {
                    apart += 1;
                }
            }
        }
        let (count, ratio) = (together.len(), median(&together));
        eprintln!("{algorithm}: {ratio:.2} in {count} turns; in {apart} the two were not at work together");
    }
}

/// What a thread did in one turn.
struct Turn {
    cpu_nanos: u64,
    start: Instant,
    end: Instant,
}

fn turns(pool: &Pool<usize>, meeting: &Meeting, thread: u64) -> Vec<Turn> {
    let mut reader = pool.reader();
    let mut turn = |number| {
        meeting.wait(number);
        let (start, before) = (Instant::now(), thread_nanos());
        for key in number * PICKS..(number + 1) * PICKS {
            // Keys of its own, so that the members are mostly others'.
            drop(black_box(reader.pick(&Query::keyed(key << 1 | thread))));
        }
        Turn { cpu_nanos: thread_nanos() - before, start, end: Instant::now() }
    };
    (0..TURNS).map(&mut turn).collect()
}

/// Where threads wait for each other without giving their processors away.
struct Meeting {
    threads: u64,
    arrivals: AtomicU64,
}

impl Meeting {
    fn of(threads: u64) -> Self {
        Self { threads, arrivals: AtomicU64::new(0) }
    }

    fn wait(&self, turn: u64) {
        self.arrivals.fetch_add(1, Ordering::SeqCst);
        while self.arrivals.load(Ordering::SeqCst) < self.threads * (turn + 1) {
            spin_loop();
        }
    }
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
/// A tenth of a millisecond of most, two of rendezvous.
const PICKS: u64 = 2_000;
/// For each meeting of two threads.
const TURNS: u64 = 100;
/// Of the time that passed for two threads at once (2 if nothing disturbs them).
const TOGETHER: f64 = 1.7;
