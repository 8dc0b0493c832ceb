//! What a pick costs, ours beside the rivals', in turns in one process.
//!
//! ```sh
//! cargo run --release -p evenly-benches --features balancing-rivals --bin picks              # all rows
//! cargo run --release -p evenly-benches --features balancing-rivals --bin picks -- p2c       # one
//! valgrind --tool=callgrind target/release/picks only ring 100 0 1000000                     # contender 0 alone
//! ```
//!
//! The contenders of a row take short turns, many times around: what disturbs the machine disturbs all alike.

use std::{io, time::Instant};

use evenly_benches::{
    balancing::{ROWS, Row, Run},
    scoreboard::{Board, Measure, also_ours, of_effort, ours, rival},
};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [only, row, members, contender, picks] = &arguments[..]
        && only == "only"
    {
        alone(row, members, contender, picks);
        return Ok(());
    }
    let mut board = Board::new("picks");
    for row in ROWS.iter().filter(|row| arguments.is_empty() || arguments.iter().any(|name| name == row.name))
    {
        row.sizes.iter().for_each(|&members| race(row, members, &mut board));
        eprintln!("{} done", row.name);
    }
    if arguments.is_empty() {
        board.finish()?;
    } else {
        board.print();
    }
    Ok(())
}

fn race(row: &Row, members: usize, board: &mut Board) {
    let mut runs: Vec<Run> = row.contenders.iter().map(|contender| (contender.build)(members)).collect();
    for turn in 0..of_effort(31, 9) + WARM {
        for (at, (run, contender)) in runs.iter_mut().zip(row.contenders).enumerate() {
            let start = Instant::now();
            run(PICKS);
            let nanos = start.elapsed().as_nanos() as f64 / PICKS as f64;
            let who = match contender.name {
                name if at == 0 => ours(name),
                name if name.starts_with("balancers") => also_ours(name),
                name => rival(name),
            };
            if turn >= WARM {
                board.note(row.name, &members.to_string(), Measure::NANOSECONDS, who, nanos);
            }
        }
    }
}

/// One contender, so many picks: two runs of different lengths give the instructions of a pick without set-up.
fn alone(row: &str, members: &str, contender: &str, picks: &str) {
    let row = ROWS.iter().find(|one| one.name == row).expect("a row's name");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let mut run = (row.contenders[number(contender) as usize].build)(number(members) as usize);
    run(number(picks));
}

/// Enough that what the last contender left in the caches does not decide.
const PICKS: u64 = 50_000;
const WARM: usize = 2;
