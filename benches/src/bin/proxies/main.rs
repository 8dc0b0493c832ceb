//! What does a proxy cost for each request, ours and others?
//!
//! Real processes, one worker each, pinned to core 0; the load and the member they ask stand on core 1. Each round visits
//! every rival once, one after the other; a rival's CPU time in a round is divided by nginx's in the same round, and the
//! table shows the median of those ratios, for they hold still where absolute figures do not.
//!
//! ```text
//! cargo run --release -p evenly-benches --features proxy-rivals --bin proxies -- [--rounds N] [--seconds N]
//!     [--only nginx,evenly] [--scenarios get-1k,h2c-1k] [--evenly PATH] [--also NAME=PATH]... [--exact] [--idle N] [--json FILE]
//! ```
//!
//! `--exact` counts instead of timing: user instructions (callgrind) and system calls (`strace -c`) for each request, which
//! a busy machine does not change. `--idle` holds so many connections open that each did one request.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

mod exact;
mod idle;
mod load;
mod process;
mod report;
mod rival;

use std::{env, io, path::PathBuf, process::ExitCode};

use load::Scenario;
use report::{Sample, Table};
use rival::{Rival, Role, Running};

fn main() -> ExitCode {
    match Plan::from_arguments().and_then(|plan| plan.carry_out()) {
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
    json: Option<PathBuf>,
    folder: PathBuf,
}

impl Plan {
    fn from_arguments() -> io::Result<Plan> {
        let here = env::current_exe()?;
        let beside = |name: &str| here.with_file_name(name).display().to_string();
        let mut evenly = beside("evenly");
        let (mut also, mut only, mut wanted) = (Vec::new(), None, None);
        let folder = env::temp_dir().join(format!("evenly-proxies-{}", std::process::id()));
        let mut plan = Plan {
            rivals: Vec::new(),
            scenarios: Vec::new(),
            rounds: 5,
            seconds: 2,
            is_exact: false,
            idle: None,
            json: None,
            folder,
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
                "--json" => plan.json = Some(value.into()),
                "--evenly" => evenly = value,
                "--only" => only = Some(value),
                "--scenarios" => wanted = Some(value),
                "--also" => {
                    let (name, path) = value.split_once('=').ok_or_else(wrong)?;
                    also.push(Rival::other_evenly(name, path));
                }
                _ => return Err(wrong()),
            }
        }
        let is_wanted = |list: &Option<String>, name: &str| {
            list.as_ref().is_none_or(|list| list.split(',').any(|wanted| wanted == name))
        };
        plan.rivals = Rival::all(&evenly, &beside("hyper_proxy"));
        plan.rivals.retain(|rival| is_wanted(&only, &rival.name));
        plan.rivals.extend(also);
        plan.scenarios =
            Scenario::ALL.into_iter().filter(|scenario| is_wanted(&wanted, scenario.name)).collect();
        Ok(plan)
    }

    fn carry_out(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let origin = rival::origin(&self.folder)?;
        let mut table = Table::new()?;
        if self.is_exact {
            exact::count(&self.rivals, &self.scenarios, origin.port, &self.folder)?;
        } else if let Some(connections) = self.idle {
            idle::hold(&self.rivals, connections, origin.port, &self.folder)?;
        } else {
            for role in [Role::Pass, Role::Cache, Role::H2c] {
                self.time(role, origin.port, &mut table)?;
            }
            table.print();
        }
        if let Some(path) = &self.json {
            std::fs::write(path, table.json())?;
        }
        drop(origin);
        std::fs::remove_dir_all(&self.folder)
    }

    fn time(&self, role: Role, origin: u16, table: &mut Table) -> io::Result<()> {
        let scenarios: Vec<_> = self.scenarios.iter().filter(|scenario| scenario.role == role).collect();
        if scenarios.is_empty() {
            return Ok(());
        }
        let mut running = Vec::new();
        for rival in self.rivals.iter().filter(|rival| rival.plays(role)) {
            running.push((rival.name.as_str(), rival.start(role, origin, &self.folder, &[])?));
        }
        for scenario in scenarios {
            for round in 0..self.rounds {
                for at in 0..running.len() {
                    // Nobody always runs in the shadow of the same other.
                    let (name, proxy) = &running[(at + round as usize) % running.len()];
                    let sample = self.sample(scenario, proxy)?;
                    table.note(scenario.name, name, round, sample);
                }
            }
            eprintln!("{} done", scenario.name);
        }
        Ok(())
    }

    fn sample(&self, scenario: &Scenario, proxy: &Running) -> io::Result<Sample> {
        let before = proxy.process.cpu()?;
        let seen = scenario.load(proxy.port, self.seconds, &self.folder)?;
        let used = proxy.process.cpu()? - before;
        let per_100k = used.as_secs_f64() * 100_000.0 / seen.requests as f64;
        Ok(Sample { cpu_s: per_100k, seen, memory: proxy.process.own_memory()? })
    }
}
