//! Instructions, which no other program on the machine changes: this program again, under valgrind.

use std::process::Command;

/// For one operation: `arguments` make this program do so many operations as the number that is put after them. Two
/// runs of different lengths; their difference is operations and nothing else.
///
/// # Panics
/// Without valgrind.
#[must_use]
pub fn for_each(arguments: &[&str], few: u64, many: u64) -> f64 {
    let collected = |times: u64| collected(arguments, times);
    (collected(many) - collected(few)) as f64 / (many - few) as f64
}

fn collected(arguments: &[&str], times: u64) -> u64 {
    let own = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(own).args(arguments);
    let said = command.arg(times.to_string()).output().expect("valgrind is there (apt-get install valgrind)");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let found = said.lines().find_map(|line| line.split_once("Collected : "));
    let found = found.and_then(|(_, number)| number.trim().parse().ok());
    found.unwrap_or_else(|| panic!("valgrind did not say how much it collected: {said}"))
}
