//! Instructions, which no other program on the machine changes: each contender alone under valgrind.

use evenly_benches::{
    balancing::{ROWS, Row},
    instructions,
    scoreboard::{Better, Board},
};

/// By two runs of different lengths, whose difference is picks and nothing else.
pub(crate) fn count(row: &'static Row, board: &mut Board) {
    for &members in row.sizes.iter().filter(|&&members| members <= MEMBERS_MAX) {
        for (at, contender) in row.contenders.iter().enumerate() {
            let (members, index) = (members.to_string(), at.to_string());
            let (few, many) = (row.times / 5 + 1, row.times * 3);
            let each = instructions::for_each(&["only", row.name, &members, &index], few, many);
            board.note(row.name, &members, INSTRUCTIONS, crate::who(at, contender), each);
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

const INSTRUCTIONS: (&str, Better) = ("instructions", Better::Less);
/// Beyond that, laying out takes valgrind minutes, and a pick's instructions are the same.
const MEMBERS_MAX: usize = 1000;
