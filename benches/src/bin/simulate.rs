//! What each policy does to the tail: tables to standard output, and the tail by utilisation as the board `tails`.
//!
//! ```sh
//! cargo run --release -p evenly-benches --bin simulate -- [requests]
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
use evenly_benches::scoreboard::{Better, Board, also_ours, is_quick, of_effort, ours, rival};
use evenly_benches::simulation::policy::{Ours, Policy, Prequal, Tower};
use evenly_benches::simulation::world::{Scenario, Seen, Service, play};

fn main() -> std::io::Result<()> {
    let requests = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let requests = requests.unwrap_or_else(|| of_effort(100_000, 20_000));
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
    if !is_quick() {
        tails(&base);
        failers(&base);
        returns(&base);
    }
    let mut board = Board::new("tails");
    for clients in [1, 10] {
        by_utilisation(&Scenario { slow: 1, clients, ..base.clone() }, &mut board);
    }
    board.finish()?;
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

fn by_utilisation(base: &Scenario, board: &mut Board) {
    let (question, measure) = (format!("{} client(s)", base.clients), ("p99, service times", Better::Less));
    for policy in POLICIES {
        let who = match policy {
            Kind::Ours(algorithm) if algorithm.key_use() != balancers::KeyUse::Ignored => continue,
            Kind::Ours(Algorithm::LeastLatency) => ours(policy.name()),
            Kind::Ours(_) => also_ours(policy.name()),
            Kind::Tower | Kind::Prequal => rival(policy.name()),
        };
        for utilisation in [0.5, 0.6, 0.7, 0.8, 0.9, 0.95] {
            for seed in 1..=of_effort(SEEDS, 1) {
                let seen = run(policy, &Scenario { utilisation, seed, ..base.clone() });
                board.note(&question, &utilisation.to_string(), measure, who, seen.quantile(0.99));
            }
        }
    }
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
