//! What each policy does to the tail: tables to standard output, plots into a folder.
//!
//! ```sh
//! cargo run --release -p evenly-benches --bin simulate -- benches/plots [requests]
//! ```
//!
//! Servers with one worker and a queue each; requests arrive at random whether or not others were answered; the mean
//! service time is the unit. Each cell of the first table is the median of five seeds. "10 clients" are ten balancers that
//! each see only their own requests. The policies are our real pools on a clock that the simulation moves. `tower (model)`
//! is P2C over peak EWMA as tower does it. `prequal (model)` is Prequal's rule over what a client sees itself: with many
//! clients it beats everything but `least_latency`, which looks at all and weighs latency and load together, so it is no
//! algorithm of ours.
#![expect(clippy::print_stdout, reason = "a program that prints tables")]

use balancers::Algorithm;
use evenly_benches::simulation::plot::{Line, lines};
use evenly_benches::simulation::policy::{Ours, Policy, Prequal, Tower};
use evenly_benches::simulation::world::{Scenario, Seen, Service, play};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "benches/plots".into());
    let requests = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let base = Scenario {
        servers: 20,
        clients: 1,
        service: Service::Exponential,
        slow: 0,
        failing: 0,
        utilisation: 0.8,
        requests,
        returns_at: None,
        seed: 1,
    };
    tails(&base);
    failers(&base);
    returns(&base);
    std::fs::create_dir_all(&folder)?;
    for clients in [1, 10] {
        let title = format!("99th percentile, 20 servers, one 10× slower, {clients} client(s)");
        let path = format!("{folder}/tail_{clients}_clients.svg");
        let one_slow = Scenario { slow: 1, clients, ..base.clone() };
        std::fs::write(&path, lines(&title, "utilisation", "service times", &by_utilisation(&one_slow)))?;
        println!("wrote {path}");
    }
    Ok(())
}

fn tails(base: &Scenario) {
    println!(
        "p50 / p99 (lowest–highest) / p99.9 of the latency in service times, at {} utilisation: medians of",
        base.utilisation
    );
    println!("{SEEDS} runs of {} requests with seeds of their own\n", base.requests);
    let cases: [(&str, Scenario); 8] = [
        ("20 exp", base.clone()),
        ("20 exp, 10 clients", Scenario { clients: 10, ..base.clone() }),
        ("20 exp, one slow", Scenario { slow: 1, ..base.clone() }),
        ("20 exp, one slow, 10 clients", Scenario { slow: 1, clients: 10, ..base.clone() }),
        ("20 Pareto", Scenario { service: Service::Pareto(2.1), ..base.clone() }),
        ("20 Pareto, 10 clients", Scenario { service: Service::Pareto(2.1), clients: 10, ..base.clone() }),
        ("1000 exp", Scenario { servers: 1000, ..base.clone() }),
        ("100 exp, one slow, 10 clients", Scenario { servers: 100, slow: 1, clients: 10, ..base.clone() }),
    ];
    let heads: Vec<&str> = cases.iter().map(|case| case.0).collect();
    println!("| policy | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for policy in POLICIES {
        let cells: Vec<String> = cases
            .iter()
            .map(|(_, scenario)| {
                let seen: Vec<Seen> =
                    (1..=SEEDS).map(|seed| run(policy, &Scenario { seed, ..scenario.clone() })).collect();
                let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| Spread::of(&seen, part));
                format!("{} / {} ({}–{}) / {}", p50.median, p99.median, p99.low, p99.high, p999.median)
            })
            .collect();
        println!("| {} | {} |", policy.name(), cells.join(" | "));
    }
}

fn failers(base: &Scenario) {
    println!(
        "\ntwo of 20 servers fail at once: the part of all requests that they get (their even share is 10 %)\n"
    );
    println!("| policy | 1 client | 10 clients |\n|---|---|---|");
    for policy in POLICIES {
        let part = |clients| run(policy, &Scenario { failing: 2, clients, ..base.clone() }).failed * 100.0;
        println!("| {} | {:.2} % | {:.2} % |", policy.name(), part(1), part(10));
    }
}

fn returns(base: &Scenario) {
    println!(
        "\na server returns with slow start over a quarter of the time left: its part of the requests, as a"
    );
    println!("multiple of its even share, in tenths of that time\n\n| policy | tenths |\n|---|---|");
    let scenario = Scenario { utilisation: 0.7, returns_at: Some(base.requests / 2), ..base.clone() };
    for policy in POLICIES {
        let tenths: Vec<String> =
            run(policy, &scenario).ramp.iter().map(|part| format!("{part:.2}")).collect();
        println!("| {} | {} |", policy.name(), tenths.join(" "));
    }
    println!();
}

fn by_utilisation(base: &Scenario) -> Vec<Line> {
    let keyless = POLICIES
        .iter()
        .filter(|policy| !matches!(policy, Kind::Ours(a) if a.key_use() != balancers::KeyUse::Ignored));
    keyless
        .map(|&policy| {
            let at = |utilisation| {
                (utilisation, run(policy, &Scenario { utilisation, ..base.clone() }).quantile(0.99))
            };
            (policy.name().to_owned(), [0.5, 0.6, 0.7, 0.8, 0.9, 0.95].map(at).to_vec())
        })
        .collect()
}

#[derive(Clone, Copy)]
enum Kind {
    Ours(Algorithm),
    Tower,
    Prequal,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ours(algorithm) => algorithm.name(),
            Self::Tower => "tower (model)",
            Self::Prequal => "prequal (model)",
        }
    }
}

fn run(kind: Kind, scenario: &Scenario) -> Seen {
    // Slow start over a quarter of what is left after the return.
    let left = scenario.requests - scenario.returns_at.unwrap_or(scenario.requests);
    let rate = scenario.utilisation * scenario.servers as f64;
    let slow_start = (left as f64 / 4.0 / rate * 1e6) as u64;
    let policy = |client: usize| -> Box<dyn Policy> {
        match kind {
            Kind::Ours(algorithm) => Box::new(Ours::new(
                algorithm,
                scenario.servers,
                client as u64 * 1000 + scenario.seed,
                slow_start,
            )),
            Kind::Tower => Box::new(Tower::new(scenario.servers, client as u64 * 1000 + scenario.seed)),
            Kind::Prequal => Box::new(Prequal::new(scenario.servers, client as u64 * 1000 + scenario.seed)),
        }
    };
    play(scenario, &mut (0..scenario.clients).map(policy).collect::<Vec<_>>())
}

/// What several runs say of one quantile.
struct Spread {
    median: String,
    low: String,
    high: String,
}

impl Spread {
    fn of(seen: &[Seen], part: f64) -> Self {
        let mut values: Vec<f64> = seen.iter().map(|seen| seen.quantile(part)).collect();
        values.sort_by(f64::total_cmp);
        let [low, median, high] = [0, values.len() / 2, values.len() - 1].map(|at| short(values[at]));
        Self { median, low, high }
    }
}

fn short(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Runs for each cell of the table.
const SEEDS: u64 = 5;

const POLICIES: [Kind; 13] = [
    Kind::Ours(Algorithm::Random),
    Kind::Ours(Algorithm::RoundRobin),
    Kind::Ours(Algorithm::P2c),
    Kind::Ours(Algorithm::PeakEwma),
    Kind::Tower,
    Kind::Prequal,
    Kind::Ours(Algorithm::LeastLoad),
    Kind::Ours(Algorithm::LeastLatency),
    Kind::Ours(Algorithm::Ring),
    Kind::Ours(Algorithm::BoundedRing),
    Kind::Ours(Algorithm::Ketama),
    Kind::Ours(Algorithm::Maglev),
    Kind::Ours(Algorithm::Rendezvous),
];
