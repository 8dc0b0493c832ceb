//! How facts look in JSON. Times are milliseconds, sizes are bytes.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Desk;
use crate::observe::{EventKind, GroupFacts, MemberFacts, events::Event, history::Sample};

/// `GET /api/status`: all that the dashboard shows.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    ready: bool,
    requests: u64,
    failures: u64,
    in_flight: u64,
    connections: u64,
    retries: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    cache: Cache,
    groups: Vec<Group>,
    samples: Vec<Sample>,
    errors: Vec<Event>,
    changes: Vec<Event>,
}

#[derive(Debug, Serialize)]
struct Cache {
    lookups: u64,
    served: u64,
    entries: u64,
    bytes: u64,
    evictions: u64,
}

/// `GET /api/members`
#[derive(Debug, Serialize)]
pub(super) struct Group {
    name: String,
    balance: &'static str,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    weight: u32,
    up: bool,
    draining: bool,
    in_flight: u32,
    picks: u64,
    /// Of all picks in the group since the start.
    share: f64,
    /// Of all weight in the group.
    quota: f64,
    responses: u64,
    failures: u64,
    ejections: u64,
    rate: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Status {
    pub(super) fn of(desk: &impl Desk) -> Status {
        let counters = desk.counters();
        let latency = counters.latency().snapshot();
        let held = desk.cache();
        let (errors, changes) =
            desk.events().latest().into_iter().partition(|event| event.kind == EventKind::Error);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            ready: desk.is_ready(),
            requests: counters.requests(),
            failures: counters.failures(),
            in_flight: counters.in_flight.level(),
            connections: counters.connections.level(),
            retries: counters.retries.count(),
            p50_ms: latency.quantile(0.5).map(millis),
            p99_ms: latency.quantile(0.99).map(millis),
            cache: Cache {
                lookups: held.lookups(),
                served: held.served(),
                entries: held.entries,
                bytes: held.bytes,
                evictions: held.evictions,
            },
            groups: groups(desk),
            samples: desk.history().samples(),
            errors,
            changes,
        }
    }
}

pub(super) fn groups(desk: &impl Desk) -> Vec<Group> {
    let mut groups = desk.groups();
    desk.history().fill_in(Instant::now(), &mut groups);
    groups.iter().map(group).collect()
}

fn group(facts: &GroupFacts) -> Group {
    let picks: u64 = facts.members.iter().map(|member| member.picks).sum();
    let weight: u64 = facts.members.iter().map(|member| u64::from(member.weight)).sum();
    let members = facts.members.iter().map(|facts| member(facts, picks, weight)).collect();
    Group { name: facts.name.to_string(), balance: facts.algorithm, members }
}

fn member(facts: &MemberFacts, picks: u64, weight: u64) -> Member {
    let pace = facts.pace.as_ref();
    Member {
        id: facts.id.to_string(),
        weight: facts.weight,
        up: facts.is_up,
        draining: facts.is_draining,
        in_flight: facts.in_flight,
        picks: facts.picks,
        share: facts.picks as f64 / picks.max(1) as f64,
        quota: f64::from(facts.weight) / weight.max(1) as f64,
        responses: facts.counters.by_class().iter().map(|(_, count)| count).sum(),
        failures: facts.counters.failures.count(),
        ejections: facts.counters.ejections.count(),
        rate: pace.map(|pace| (pace.rate * 10.0).round() / 10.0),
        p50_ms: pace.and_then(|pace| pace.p50).map(millis),
        p99_ms: pace.and_then(|pace| pace.p99).map(millis),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
