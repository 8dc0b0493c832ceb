//! Servers with queues, requests that come whether or not the last one was answered, and what they saw.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use balancers::Rng;

use super::policy::{Policy, SERVICE_NS, Ticket};

/// How long requests take to serve, in the mean 1.
#[derive(Clone, Copy, Debug)]
pub enum Service {
    /// Exponential.
    Exponential,
    /// Pareto with this exponent: rare requests take very long.
    Pareto(f64),
}

/// One experiment.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many servers.
    pub servers: usize,
    /// How many clients share them, each seeing only its own requests.
    pub clients: usize,
    /// Service times.
    pub service: Service,
    /// How many servers are ten times slower.
    pub slow: usize,
    /// How many answer at once, with an error.
    pub failing: usize,
    /// Arrivals, as a part of what the servers that work can do.
    pub utilisation: f64,
    /// How many requests.
    pub requests: usize,
    /// When the last server, down from the start, comes up (at this request).
    pub returns_at: Option<usize>,
    /// The seed of arrivals and service times.
    pub seed: u64,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Latencies of the requests that were served, in service times, sorted. The first tenth of the run is left out.
    pub latencies: Vec<f64>,
    /// The part of all requests that went to failing servers.
    pub failed: f64,
    /// The returning server's part of the requests, as a multiple of its fair share, in tenths of the time after.
    pub ramp: Vec<f64>,
}

impl Seen {
    /// The latency that this part of the requests stayed below.
    pub fn quantile(&self, part: f64) -> f64 {
        let at = (self.latencies.len() as f64 * part) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

struct Flight {
    client: usize,
    ticket: Ticket,
    began: u64,
    ok: bool,
}

/// Plays the scenario with one policy for each client.
pub fn play(scenario: &Scenario, clients: &mut [Box<dyn Policy>]) -> Seen {
    let mut rng = Rng::new(scenario.seed);
    let mut free_at = vec![0_u64; scenario.servers];
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut flights: Vec<Option<Flight>> = Vec::with_capacity(scenario.requests);
    let working = scenario.servers - scenario.slow - scenario.failing;
    let capacity = working as f64 + scenario.slow as f64 / 10.0;
    let (mut now, mut latencies, mut failed) = (0, Vec::with_capacity(scenario.requests), 0_usize);
    let mut ramp = vec![0_usize; 10];
    let returning = scenario.servers - 1;
    if scenario.returns_at.is_some() {
        clients.iter_mut().for_each(|client| client.set_up(returning, false));
    }
    for request in 0..scenario.requests {
        now += (exponential(&mut rng) / (scenario.utilisation * capacity) * SERVICE_NS as f64) as u64;
        while let Some(&Reverse((end, flight))) = ends.peek().filter(|Reverse((end, _))| *end <= now) {
            ends.pop();
            let Some(one) = flights[flight].take() else { continue };
            clients[one.client].finish(end, one.ticket, end - one.began, one.ok);
            if one.ok && flight >= scenario.requests / 10 {
                latencies.push((end - one.began) as f64 / SERVICE_NS as f64);
            }
        }
        if scenario.returns_at == Some(request) {
            clients.iter_mut().for_each(|client| client.set_up(returning, true));
        }
        let client = rng.below(clients.len() as u64) as usize;
        let (server, ticket) = clients[client].choose(now, rng.next_u64());
        if let Some(since) = scenario.returns_at.and_then(|at| request.checked_sub(at))
            && server == returning
        {
            ramp[since * 10 / (scenario.requests - scenario.returns_at.unwrap_or(0))] += 1;
        }
        // Slow ones first, failing ones next.
        let fails = (scenario.slow..scenario.slow + scenario.failing).contains(&server);
        let work = match scenario.service {
            Service::Exponential => exponential(&mut rng),
            Service::Pareto(exponent) => (exponent - 1.0) / exponent * unit(&mut rng).powf(-1.0 / exponent),
        };
        let end = if fails {
            failed += 1;
            now + SERVICE_NS / 50
        } else {
            let slowness = if server < scenario.slow { 10.0 } else { 1.0 };
            free_at[server] = free_at[server].max(now) + (work * slowness * SERVICE_NS as f64) as u64;
            free_at[server]
        };
        ends.push(Reverse((end, flights.len())));
        flights.push(Some(Flight { client, ticket, began: now, ok: !fails }));
    }
    latencies.sort_by(f64::total_cmp);
    let after = scenario.requests - scenario.returns_at.unwrap_or(0);
    let fair = after as f64 / 10.0 / scenario.servers as f64;
    Seen {
        latencies,
        failed: failed as f64 / scenario.requests as f64,
        ramp: ramp.into_iter().map(|n| n as f64 / fair).collect(),
    }
}

fn unit(rng: &mut Rng) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

fn exponential(rng: &mut Rng) -> f64 {
    -unit(rng).ln()
}
