//! Instructions, which no other program on the machine changes: each contender alone under valgrind.

use std::process::Command;

use evenly_benches::{
    balancing::{ROWS, Row},
    scoreboard::{Better, Board},
};

/// By two runs of different lengths, whose difference is picks and nothing else.
pub(crate) fn count(row: &'static Row, board: &mut Board) {
    for &members in row.sizes.iter().filter(|&&members| members <= MEMBERS_MAX) {
        for (at, contender) in row.contenders.iter().enumerate() {
            let (few, many) = (row.times / 5 + 1, row.times * 3);
            let more = collected(row.name, members, at, many) - collected(row.name, members, at, few);
            let each = more as f64 / (many - few) as f64;
            board.note(row.name, &members.to_string(), INSTRUCTIONS, crate::who(at, contender), each);
        }
    }
    eprintln!("{} done", row.name);
}

/// One contender, so many picks, in this process.
pub(crate) fn alone(row: &str, members: &str, contender: &str, times: &str) {
    let row = ROWS.iter().find(|one| one.name == row).expect("a row's name");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let mut run = (row.contenders[number(contender) as usize].build)(number(members) as usize);
    run(number(times));
}

fn collected(row: &str, members: usize, contender: usize, times: u64) -> u64 {
    let own = std::env::current_exe().expect("a running program has a path");
    let numbers = [members as u64, contender as u64, times].map(|number| number.to_string());
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own).args(["only", row]);
    let said = command.args(numbers).output().expect("valgrind is there (apt-get install valgrind)").stderr;
    let said = String::from_utf8_lossy(&said).into_owned();
    let found = said.lines().find_map(|line| line.split_once("Collected : "));
    let found = found.and_then(|(_, number)| number.trim().parse().ok());
    found.unwrap_or_else(|| panic!("valgrind did not say how much it collected: {said}"))
}

const INSTRUCTIONS: (&str, Better) = ("instructions", Better::Less);
/// Beyond that, laying out takes valgrind minutes, and a pick's instructions are the same.
const MEMBERS_MAX: usize = 1000;
