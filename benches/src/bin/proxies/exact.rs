//! Counts that do not depend on the machine's load: user instructions and system calls for each request.

use std::{fs, io, process::Command};

use evenly_benches::scoreboard::{Better, Board};

use crate::{
    load::Scenario,
    rival::{Rival, Running, Scene},
};

/// Notes both for each rival and scenario; what cannot be counted is said.
pub(crate) fn count(rivals: &[Rival], scenarios: &[Scenario], scene: &Scene, board: &mut Board) {
    for scenario in scenarios.iter().filter(|scenario| scenario.is_steady()) {
        for rival in rivals.iter().filter(|rival| rival.plays(scenario.role)) {
            let counts = instructions(rival, scenario, scene)
                .and_then(|instructions| Ok((instructions, system_calls(rival, scenario, scene)?)));
            match counts {
                Ok((instructions, calls)) => {
                    let who = crate::who(rival);
                    let instructions = instructions.unwrap_or(f64::NAN);
                    board.note(
                        "for each request",
                        scenario.name,
                        ("user instructions", Better::Less),
                        who,
                        instructions,
                    );
                    board.note("for each request", scenario.name, ("system calls", Better::Less), who, calls);
                }
                Err(error) => board.miss(&rival.name, &format!("{}: {error}", scenario.name)),
            }
        }
        eprintln!("{} counted", scenario.name);
    }
}

/// The difference between a long and a short run: what starts and ends is in both. None where callgrind has no say.
fn instructions(rival: &Rival, scenario: &Scenario, scene: &Scene) -> io::Result<Option<f64>> {
    if !rival.is_countable() {
        return Ok(None);
    }
    let [few, many] = [COUNT, 3 * COUNT].map(|count| -> io::Result<u64> {
        let out = scene.folder.join("callgrind.out");
        let wrapper = ["valgrind", "--tool=callgrind", "--trace-children=yes"].map(str::to_owned);
        let wrapper = [&wrapper[..], &[format!("--callgrind-out-file={}", out.display())]].concat();
        let Running { process, port } = rival.start(scenario.role, scene, &wrapper)?;
        scenario.send(port, count, &scene.folder)?;
        process.end();
        let text = fs::read_to_string(out)?;
        let total =
            text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        let total = total.and_then(|total| total.trim().parse().ok());
        total.ok_or_else(|| io::Error::other("callgrind wrote no sum"))
    });
    Ok(Some(many?.saturating_sub(few?) as f64 / (2 * COUNT) as f64))
}

fn system_calls(rival: &Rival, scenario: &Scenario, scene: &Scene) -> io::Result<f64> {
    let Running { process, port } = rival.start(scenario.role, scene, &[])?;
    // Connections to the member and caches are there before anything is counted.
    scenario.load(port, 1, &scene.folder)?;
    let out = scene.folder.join("strace.out");
    let whom = process.tree()?.into_iter().flat_map(|id| ["-p".to_owned(), id.to_string()]);
    let mut tracer = Command::new("strace")
        .args(["-c", "-f", "-o", &out.display().to_string()])
        .args(whom)
        .stderr(std::process::Stdio::null())
        .spawn()?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let seen = scenario.load(port, 3, &scene.folder);
    Command::new("kill").args(["-INT", &tracer.id().to_string()]).status()?;
    tracer.wait()?;
    let requests = seen?.requests as f64;
    let text = fs::read_to_string(&out)?;
    let mut counts: Vec<(f64, &str)> = text
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let name = *words.last()?;
            // % time, seconds, µs a call, calls, perhaps errors, name
            (name != "total").then(|| Some((words.get(3)?.parse::<f64>().ok()? / requests, name)))?
        })
        .collect();
    counts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let often = counts.iter().filter(|(each, _)| *each > 0.005);
    let often: Vec<String> = often.map(|(each, name)| format!("{name} {each:.2}")).collect();
    eprintln!("{}, {}: {}", scenario.name, rival.name, often.join(", "));
    Ok(counts.iter().map(|(each, _)| each).sum())
}

const COUNT: u64 = 2000;
