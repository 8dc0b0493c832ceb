//! What does a proxy cost for each request, ours and others?
//!
//! Real processes, one worker each, pinned to core 0; the load and the member they ask stand on core 1. Each round visits
//! every rival once, one after the other; a rival's CPU time in a round is divided by nginx's in the same round, and the
//! table shows the median of those ratios, for they hold still where absolute figures do not.
//!
//! ```text
//! make bench-proxies ARGS="[--rounds N] [--seconds N] [--only nginx,evenly] [--scenarios get-1k,h2c-1k]
//!     [--evenly PATH] [--also NAME=PATH]... [--exact] [--idle N]"
//! ```
//!
//! `--exact` counts instead of timing: user instructions (callgrind) and system calls (`strace -c`) for each request, which
//! a busy machine does not change. `--idle` holds so many connections open that each did one request. A rival that is
//! not installed, or that fails, is named under the table.

mod exact;
mod idle;
mod load;
mod process;
mod rival;
mod setup;

use std::{env, io, process::ExitCode};

use evenly_benches::scoreboard::{self, Better, Board, Contender, is_quick, of_effort};
use load::{Scenario, Seen};
use rival::{Rival, Running, Scene};
use setup::Role;

fn main() -> ExitCode {
    match Plan::from_arguments().and_then(Plan::carry_out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxies: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Plan {
    rivals: Vec<Rival>,
    scenarios: Vec<Scenario>,
    rounds: u32,
    seconds: u32,
    is_exact: bool,
    idle: Option<usize>,
    /// Whether only a part was asked for, which is not to replace the whole.
    is_part: bool,
    missing: Vec<&'static str>,
}

impl Plan {
    fn from_arguments() -> io::Result<Plan> {
        let (mut rivals, missing) = Rival::all();
        let mut scenarios: Vec<Scenario> = Scenario::ALL.into();
        if is_quick() {
            scenarios.retain(|scenario| QUICK.contains(&scenario.name));
        }
        let mut plan = Plan {
            rivals: Vec::new(),
            scenarios,
            rounds: of_effort(5, 2),
            seconds: of_effort(2, 1),
            is_exact: false,
            idle: None,
            is_part: false,
            missing,
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if argument == "--exact" {
                plan.is_exact = true;
                continue;
            }
            let wrong = || io::Error::other(format!("{argument}: unknown, or its value is missing or wrong"));
            let value = arguments.next().ok_or_else(wrong)?;
            match argument.as_str() {
                "--rounds" => plan.rounds = value.parse().map_err(|_| wrong())?,
                "--seconds" => plan.seconds = value.parse().map_err(|_| wrong())?,
                "--idle" => plan.idle = Some(value.parse().map_err(|_| wrong())?),
                "--only" => {
                    rivals.retain(|rival| is_named(&value, &rival.name));
                    plan.missing.retain(|name| is_named(&value, name));
                    plan.is_part = true;
                }
                "--scenarios" => {
                    plan.scenarios = Scenario::ALL.into();
                    plan.scenarios.retain(|scenario| is_named(&value, scenario.name));
                    plan.is_part = true;
                }
                "--evenly" => {
                    for rival in &mut rivals {
                        if rival.is_evenly() {
                            *rival = rival.built_otherwise("evenly", &value);
                        }
                    }
                }
                "--also" => {
                    let (name, path) = value.split_once('=').ok_or_else(wrong)?;
                    let (all, _) = Rival::all();
                    let ours = all.iter().find(|rival| rival.is_evenly()).ok_or_else(wrong)?;
                    rivals.push(ours.built_otherwise(name, path));
                    plan.is_part = true;
                }
                _ => return Err(wrong()),
            }
        }
        plan.rivals = rivals;
        Ok(plan)
    }

    fn carry_out(mut self) -> io::Result<()> {
        let folder = env::temp_dir().join(format!("evenly-proxies-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let origin = setup::origin(&folder)?;
        let scene = Scene::set(folder, origin.port)?;
        let name = match (self.is_exact, self.idle) {
            (true, _) => "proxies-exact",
            (false, Some(_)) => "proxies-idle",
            (false, None) => "proxies",
        };
        let mut board = Board::new(name).against(ANCHOR);
        for missing in &self.missing {
            board.miss(missing, "not installed (scripts/rivals installs what Debian and PyPI have)");
        }
        self.leave_out_tools(&mut board);
        if self.is_exact {
            exact::count(&self.rivals, &self.scenarios, &scene, &mut board);
        } else if let Some(connections) = self.idle {
            idle::hold(&self.rivals, connections, &scene, &mut board);
        } else {
            for role in [Role::Pass, Role::Cache, Role::H2c, Role::Tls] {
                self.time(role, &scene, &mut board);
            }
        }
        if self.is_part {
            board.print();
        } else {
            board.finish()?;
        }
        drop(origin);
        std::fs::remove_dir_all(&scene.folder)
    }

    /// Scenarios whose load generator is not here are named, and left out.
    fn leave_out_tools(&mut self, board: &mut Board) {
        for tool in ["wrk", "h2load", "paced"] {
            if rival::find(tool).is_none() {
                let without: Vec<_> = self
                    .scenarios
                    .iter()
                    .filter(|scenario| scenario.tool() == tool)
                    .map(|s| s.name)
                    .collect();
                self.scenarios.retain(|scenario| scenario.tool() != tool);
                board.miss(tool, &format!("not installed, and without it no {}", without.join(", ")));
            }
        }
    }

    fn time(&self, role: Role, scene: &Scene, board: &mut Board) {
        let scenarios: Vec<_> = self.scenarios.iter().filter(|scenario| scenario.role == role).collect();
        if scenarios.is_empty() {
            return;
        }
        let mut running: Vec<(&Rival, Running)> = Vec::new();
        for rival in self.rivals.iter().filter(|rival| rival.plays(role)) {
            match rival.start(role, scene, &[]) {
                Ok(proxy) => running.push((rival, proxy)),
                Err(error) => board.miss(&rival.name, &format!("as {role:?}: {error}")),
            }
        }
        for scenario in scenarios {
            for round in 0..self.rounds as usize {
                for at in 0..running.len() {
                    // Nobody always runs in the shadow of the same other.
                    let (rival, proxy) = &running[(at + round) % running.len()];
                    match self.sample(scenario, proxy, scene) {
                        Ok(sample) => sample.note(scenario, rival, board),
                        Err(error) => board.miss(&rival.name, &format!("{}: {error}", scenario.name)),
                    }
                }
            }
            eprintln!("{} done", scenario.name);
        }
        // Gently: a build that profiles itself writes at its end.
        running.into_iter().for_each(|(_, proxy)| proxy.process.end());
    }

    fn sample(&self, scenario: &Scenario, proxy: &Running, scene: &Scene) -> io::Result<Sample> {
        let before = proxy.process.cpu()?;
        let seen = scenario.load(proxy.port, self.seconds, &scene.folder)?;
        let used = proxy.process.cpu()?.saturating_sub(before);
        let cpu_s = used.as_secs_f64() * 100_000.0 / seen.requests as f64;
        Ok(Sample { cpu_s, seen, memory: proxy.process.own_memory()? })
    }
}

/// One rival, one scenario, one round.
struct Sample {
    /// CPU seconds for 100,000 requests.
    cpu_s: f64,
    seen: Seen,
    memory: u64,
}

impl Sample {
    fn note(&self, scenario: &Scenario, rival: &Rival, board: &mut Board) {
        let seen = &self.seen;
        // At a rate of its own, the rate says nothing about the proxy.
        let rate = if scenario.is_steady() { seen.per_second / 1000.0 } else { f64::NAN };
        let measures = [
            (("CPU s / 100,000", Better::Less), self.cpu_s),
            (("thousand / s", Better::More), rate),
            (("p50 ms", Better::Less), seen.p50_ms),
            (("p99 ms", Better::Less), seen.p99_ms),
            (("p99.9 ms", Better::Less), seen.p999_ms),
            (("own MiB", Better::Less), self.memory as f64 / 1_048_576.0),
        ];
        for (measure, value) in measures {
            board.note("scenario", scenario.name, measure, who(rival), value);
        }
    }
}

/// As whom the board knows it.
fn who(rival: &Rival) -> Contender<'_> {
    match rival.is_evenly() {
        true if rival.name == "evenly" => scoreboard::ours(&rival.name),
        true => scoreboard::also_ours(&rival.name),
        false => scoreboard::rival(&rival.name),
    }
}

fn is_named(list: &str, name: &str) -> bool {
    list.split(',').any(|named| named == name)
}

const ANCHOR: &str = "nginx";

/// What is enough for a look.
const QUICK: [&str; 5] = ["get-1k", "get-1m", "post-10k", "hit-1k", "h2c-1k"];
