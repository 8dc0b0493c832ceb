//! Who sends requests where: our real pools, driven by a clock that the simulation moves, and a model of tower's.

use std::sync::Arc;
use std::time::Duration;

use balancers::{Algorithm, Lease, ManualClock, Outcome, Pool, Query, Rng};

/// One service time.
pub const SERVICE_NS: u64 = 1_000_000;

/// A client's view of the servers: it chooses, and it learns from answers to its own requests only.
pub trait Policy {
    /// Chooses a server for a request with this key, now.
    fn choose(&mut self, now: u64, key: u64) -> (usize, Ticket);
    /// The request has ended.
    fn finish(&mut self, now: u64, ticket: Ticket, latency: u64, ok: bool);
    /// A health check found the server down or up.
    fn set_up(&mut self, server: usize, is_up: bool);
}

/// What a policy keeps of a request under way.
pub enum Ticket {
    /// Ours.
    Lease(Lease<usize>),
    /// The model's: which server.
    Server(usize),
}

/// A real pool.
pub struct Ours {
    pool: Pool<usize>,
    clock: Arc<ManualClock>,
    now: u64,
}

impl Ours {
    /// With latencies halved in 1,000 service times.
    pub fn new(algorithm: Algorithm, servers: usize, seed: u64, slow_start: u64) -> Self {
        let clock = Arc::new(ManualClock::new());
        let builder = Pool::builder()
            .seed(seed)
            .clock(clock.clone())
            .latency_memory(Duration::from_nanos(1000 * SERVICE_NS))
            .slow_start(Duration::from_nanos(slow_start));
        let pool = builder.build(algorithm).expect("the options are in range");
        let add = |edit: &mut balancers::Edit<usize>| (0..servers).try_for_each(|n| edit.add(name(n), 1, n));
        pool.update(add).expect("the ids differ");
        Self { pool, clock, now: 0 }
    }

    fn wind(&mut self, now: u64) {
        self.clock.advance(Duration::from_nanos(now - self.now));
        self.now = now;
    }
}

impl Policy for Ours {
    fn choose(&mut self, now: u64, key: u64) -> (usize, Ticket) {
        self.wind(now);
        let lease = self.pool.pick(&Query::keyed(key)).expect("someone is up");
        (*lease, Ticket::Lease(lease))
    }

    fn finish(&mut self, now: u64, ticket: Ticket, latency: u64, ok: bool) {
        self.wind(now);
        if let Ticket::Lease(lease) = ticket {
            lease.finish(Outcome { latency: Duration::from_nanos(latency), ok });
        }
    }

    fn set_up(&mut self, server: usize, is_up: bool) {
        self.pool.set_up(&name(server), is_up).expect("the server is there");
    }
}

fn name(server: usize) -> String {
    format!("{server:05}")
}

/// A model of tower's `p2c` over `PeakEwma`: the higher latency counts at once, lower ones and time itself let it fall;
/// a failure is an answer like any other.
pub struct Tower {
    servers: Vec<Estimate>,
    rng: Rng,
}

#[derive(Clone)]
struct Estimate {
    latency: f64,
    seen: u64,
    pending: u32,
    is_up: bool,
}

impl Tower {
    /// All at a default round trip of 30 service times, decay 1,000.
    pub fn new(servers: usize, seed: u64) -> Self {
        let fresh = Estimate { latency: 30.0 * SERVICE_NS as f64, seen: 0, pending: 0, is_up: true };
        Self { servers: vec![fresh; servers], rng: Rng::new(seed) }
    }

    fn load(&self, now: u64, server: usize) -> f64 {
        let one = &self.servers[server];
        one.latency * fall(now, one.seen) * f64::from(one.pending + 1)
    }
}

impl Policy for Tower {
    fn choose(&mut self, now: u64, _key: u64) -> (usize, Ticket) {
        let up: Vec<usize> = (0..self.servers.len()).filter(|&n| self.servers[n].is_up).collect();
        let a = self.rng.below(up.len() as u64) as usize;
        let b = self.rng.below(up.len() as u64 - 1) as usize;
        let (a, b) = (up[a], up[b + usize::from(b >= a)]);
        let server = if self.load(now, a) <= self.load(now, b) { a } else { b };
        self.servers[server].pending += 1;
        (server, Ticket::Server(server))
    }

    fn finish(&mut self, now: u64, ticket: Ticket, latency: u64, _ok: bool) {
        let Ticket::Server(server) = ticket else { return };
        let one = &mut self.servers[server];
        let (latency, kept) = (latency as f64, fall(now, one.seen));
        one.latency =
            if latency > one.latency { latency } else { one.latency * kept + latency * (1.0 - kept) };
        one.seen = now;
        one.pending -= 1;
    }

    fn set_up(&mut self, server: usize, is_up: bool) {
        let seen = self.servers[server].seen;
        let latency = 30.0 * SERVICE_NS as f64;
        self.servers[server] = Estimate { latency, seen, pending: self.servers[server].pending, is_up };
    }
}

/// A model of Prequal's rule over what a client sees itself: of 16 servers drawn by lot, those with more of its own requests
/// in flight than five sixths of all servers have are hot; the quickest of the cold, or else the least loaded.
pub struct Prequal {
    servers: Vec<Estimate>,
    rng: Rng,
}

impl Prequal {
    /// All unknown; latencies are forgotten over 1,000 service times, and a failure counts as one of 1,000.
    pub fn new(servers: usize, seed: u64) -> Self {
        Self {
            servers: vec![Estimate { latency: 0.0, seen: 0, pending: 0, is_up: true }; servers],
            rng: Rng::new(seed),
        }
    }
}

impl Policy for Prequal {
    fn choose(&mut self, now: u64, _key: u64) -> (usize, Ticket) {
        let up: Vec<usize> = (0..self.servers.len()).filter(|&n| self.servers[n].is_up).collect();
        let drawn: Vec<usize> = (0..16).map(|_| up[self.rng.below(up.len() as u64) as usize]).collect();
        let mut pending: Vec<u32> = up.iter().map(|&n| self.servers[n].pending).collect();
        let at = (pending.len() * 5 / 6).min(pending.len() - 1);
        let hot = *pending.select_nth_unstable(at).1;
        let latency = |n: usize| self.servers[n].latency * fall(now, self.servers[n].seen);
        let cold = drawn.iter().copied().filter(|&n| self.servers[n].pending < hot.max(1));
        let quickest = cold.min_by(|&a, &b| latency(a).total_cmp(&latency(b)));
        let least = || drawn.iter().copied().min_by_key(|&n| self.servers[n].pending);
        let server = quickest.or_else(least).expect("sixteen were drawn");
        self.servers[server].pending += 1;
        (server, Ticket::Server(server))
    }

    fn finish(&mut self, now: u64, ticket: Ticket, latency: u64, ok: bool) {
        let Ticket::Server(server) = ticket else { return };
        let one = &mut self.servers[server];
        let latency = if ok { latency as f64 } else { 1000.0 * SERVICE_NS as f64 };
        // A fifth of each new one: the mean is to be of now, not of long ago.
        one.latency = if one.latency == 0.0 { latency } else { one.latency * 0.8 + latency * 0.2 };
        one.seen = now;
        one.pending -= 1;
    }

    fn set_up(&mut self, server: usize, is_up: bool) {
        self.servers[server].is_up = is_up;
    }
}

fn fall(now: u64, seen: u64) -> f64 {
    (-((now - seen) as f64) / (1000.0 * SERVICE_NS as f64)).exp()
}
