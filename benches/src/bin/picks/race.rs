//! All contenders of a row in turns.

use evenly_benches::{
    balancing::{Row, Run},
    scoreboard::{Board, Measure, of_effort},
};
use rustix::time::{ClockId, clock_gettime};

pub(crate) fn run(row: &'static Row, board: &mut Board) {
    for &members in row.sizes {
        let mut runs: Vec<Run> = row.contenders.iter().map(|contender| (contender.build)(members)).collect();
        for turn in 0..of_effort(row.turns, row.turns / 3) + WARM {
            for (at, (run, contender)) in runs.iter_mut().zip(row.contenders).enumerate() {
                let start = thread_nanos();
                run(row.times);
                let nanos = (thread_nanos() - start) as f64 / row.times as f64;
                if turn >= WARM {
                    board.note(
                        row.name,
                        &members.to_string(),
                        Measure::NANOSECONDS,
                        crate::who(at, contender),
                        nanos,
                    );
                }
            }
        }
    }
    eprintln!("{} done", row.name);
}

/// The processor's time for this thread: others at work on the machine do not count.
pub(crate) fn thread_nanos() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

const WARM: usize = 2;
