//! What a pick costs, ours beside the rivals', in turns in one process.
//!
//! ```sh
//! cargo run --release -p evenly-benches --features balancing-rivals --bin picks              # all rows
//! cargo run --release -p evenly-benches --features balancing-rivals --bin picks -- p2c       # one
//! valgrind --tool=callgrind target/release/picks only ring 100 0 1000000                     # contender 0 alone
//! ```
//!
//! The contenders of a row take short turns, many times around: what disturbs the machine disturbs all alike. Shown
//! are the median of each one's turns and its ratio to ours.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::time::Instant;

use evenly_benches::balancing::{ROWS, Row, Run};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [only, row, members, contender, picks] = &arguments[..]
        && only == "only"
    {
        return alone(row, members, contender, picks);
    }
    println!("{:<14} {:>7}  {:<32} {:>9} {:>9}", "row", "members", "contender", "ns a pick", "to ours");
    for row in ROWS.iter().filter(|row| arguments.is_empty() || arguments.iter().any(|name| name == row.name))
    {
        row.sizes.iter().for_each(|&members| race(row, members));
    }
}

fn race(row: &Row, members: usize) {
    let mut runs: Vec<Run> = row.contenders.iter().map(|contender| (contender.build)(members)).collect();
    let mut nanos: Vec<Vec<f64>> = vec![Vec::new(); runs.len()];
    for turn in 0..TURNS + WARM {
        for (run, nanos) in runs.iter_mut().zip(&mut nanos) {
            let start = Instant::now();
            run(PICKS);
            if turn >= WARM {
                nanos.push(start.elapsed().as_nanos() as f64 / PICKS as f64);
            }
        }
    }
    let median = |nanos: &mut Vec<f64>| {
        nanos.sort_by(f64::total_cmp);
        nanos[nanos.len() / 2]
    };
    let medians: Vec<f64> = nanos.iter_mut().map(median).collect();
    for (contender, nanos) in row.contenders.iter().zip(&medians) {
        println!(
            "{:<14} {members:>7}  {:<32} {nanos:>9.1} {:>9.2}",
            row.name,
            contender.name,
            nanos / medians[0]
        );
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
const TURNS: usize = 31;
const WARM: usize = 2;
