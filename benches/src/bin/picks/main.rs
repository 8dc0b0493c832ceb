//! What a pick costs, ours beside the rivals', in turns in one process.
//!
//! ```sh
//! make bench-picks                  # everything, with pingora's balancers: tables, and JSON in target/bench (needs cmake, valgrind)
//! cargo run --release -p evenly-benches --features balancing-rivals --bin picks                      # all rows
//! cargo run --release -p evenly-benches --features balancing-rivals --bin picks -- p2c maglev        # some
//! cargo run --release -p evenly-benches --features balancing-rivals --bin picks -- --exact ring      # instructions
//! cargo run --release -p evenly-benches --features balancing-rivals --bin picks -- --threads         # one thread and two
//! ```
//!
//! The contenders of a row take short turns, many times around, and what counts is the processor's time for the thread:
//! what disturbs the machine disturbs all alike.

mod exact;
mod race;
mod threads;

use std::{io, process};

use evenly_benches::{
    balancing::{Contender, ROWS},
    scoreboard::{self, Board, also_ours, ours, rival},
};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [only, row, members, contender, times] = &arguments[..]
        && only == "only"
    {
        exact::alone(row, members, contender, times);
        return Ok(());
    }
    let (flags, names): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with("--"));
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| row.name == name.as_str())) {
        let rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        eprintln!("no row is called {unknown:?}; there are: {}", rows.join(", "));
        process::exit(2);
    }
    let rows = ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| *name == row.name));
    let flags: Vec<&str> = flags.iter().map(|flag| flag.as_str()).collect();
    let mut board;
    match flags[..] {
        [] => {
            board = Board::new("picks");
            rows.for_each(|row| race::run(row, &mut board));
        }
        ["--exact"] => {
            board = Board::new("picks-exact");
            rows.for_each(|row| exact::count(row, &mut board));
        }
        ["--threads"] => {
            board = Board::new("picks-threads");
            threads::run(&mut board);
        }
        _ => {
            eprintln!("picks [--exact | --threads] [row …]");
            process::exit(2);
        }
    }
    if !cfg!(feature = "pingora") {
        board.miss("pingora-load-balancing", "built without the feature `pingora`");
    }
    if names.is_empty() {
        board.finish().map(drop)
    } else {
        board.print();
        Ok(())
    }
}

/// As the scoreboard calls them: the first of a row is ours, as one would use it.
fn who(at: usize, contender: &'static Contender) -> scoreboard::Contender<'static> {
    match contender.name {
        name if at == 0 => ours(name),
        name if name.starts_with("balancers") => also_ours(name),
        name => rival(name),
    }
}
