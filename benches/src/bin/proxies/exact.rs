//! Counts that do not depend on the machine's load: user instructions and system calls for each request.

use std::{fs, io, path::Path, process::Command};

use crate::{
    load::Scenario,
    rival::{Rival, Running},
};

/// Prints a line for each rival and scenario.
///
/// # Errors
/// When valgrind or strace are not there or say what is not understood.
pub(crate) fn count(rivals: &[Rival], scenarios: &[Scenario], origin: u16, folder: &Path) -> io::Result<()> {
    println!("| scenario | proxy | user instructions | system calls | which |\n|---|---|---|---|---|");
    for scenario in scenarios {
        for rival in rivals.iter().filter(|rival| rival.plays(scenario.role)) {
            let instructions = instructions(rival, scenario, origin, folder)?;
            let (calls, which) = system_calls(rival, scenario, origin, folder)?;
            println!("| {} | {} | {instructions} | {calls:.2} | {which} |", scenario.name, rival.name);
        }
    }
    Ok(())
}

/// The difference between a long and a short run: what starts and ends is in both.
fn instructions(rival: &Rival, scenario: &Scenario, origin: u16, folder: &Path) -> io::Result<u64> {
    let [few, many] = [COUNT, 3 * COUNT].map(|count| -> io::Result<u64> {
        let out = folder.join("callgrind.out");
        let wrapper = ["valgrind", "--tool=callgrind", "--trace-children=yes"].map(str::to_owned);
        let wrapper = [&wrapper[..], &[format!("--callgrind-out-file={}", out.display())]].concat();
        let Running { process, port } = rival.start(scenario.role, origin, folder, &wrapper)?;
        scenario.send(port, count)?;
        process.end();
        let text = fs::read_to_string(out)?;
        let total =
            text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        let total = total.and_then(|total| total.trim().parse().ok());
        total.ok_or_else(|| io::Error::other("callgrind wrote no sum"))
    });
    Ok((many?.saturating_sub(few?)) / (2 * COUNT))
}

fn system_calls(rival: &Rival, scenario: &Scenario, origin: u16, folder: &Path) -> io::Result<(f64, String)> {
    let Running { process, port } = rival.start(scenario.role, origin, folder, &[])?;
    // Connections to the member and caches are there before anything is counted.
    scenario.load(port, 1, folder)?;
    let out = folder.join("strace.out");
    let mut tracer = Command::new("strace")
        .args(["-c", "-f", "-o", &out.display().to_string(), "-p", &process.id().to_string()])
        .stderr(std::process::Stdio::null())
        .spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let seen = scenario.load(port, 3, folder)?;
    Command::new("kill").args(["-INT", &tracer.id().to_string()]).status()?;
    tracer.wait()?;
    let text = fs::read_to_string(&out)?;
    let mut counts: Vec<(f64, &str)> = text
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = *words.last()?;
            // % time, seconds, µs a call, calls, perhaps errors, name
            (name != "total").then(|| Some((words.get(3)?.parse::<f64>().ok()?, name)))?
        })
        .collect();
    counts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let requests = seen.requests as f64;
    let which = counts.iter().map(|(count, name)| (count / requests, name)).filter(|(each, _)| *each > 0.005);
    let which: Vec<String> = which.map(|(each, name)| format!("{name} {each:.2}")).collect();
    Ok((counts.iter().map(|(count, _)| count).sum::<f64>() / requests, which.join(", ")))
}

const COUNT: u64 = 2000;
