//! A line a second in which something happened: requests, who was picked, cache hits, latencies.

use std::time::Duration;

use super::backend::Demo;
use crate::{cli::println_out, server::Proxy};

/// Prints until the task is dropped.
pub(super) async fn run(proxy: &Proxy, backends: &[Demo]) {
    let names: Vec<String> = backends.iter().map(|backend| format!("{:>7}", backend.name)).collect();
    println_out(&format!("   req/s  {}     hits  p50 ms  p99 ms", names.join("  ")));
    let mut before = Moment::of(proxy, backends);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = Moment::of(proxy, backends);
        if now.requests > before.requests {
            println_out(&now.line_since(&before));
        }
        before = now;
    }
}

struct Moment {
    requests: u64,
    picks: Vec<u64>,
    hits: u64,
    latency: crate::observe::Snapshot,
}

impl Moment {
    fn of(proxy: &Proxy, backends: &[Demo]) -> Moment {
        let counters = proxy.counters();
        Moment {
            requests: counters.requests(),
            picks: picks(proxy, backends),
            hits: proxy.cache_facts().hits,
            latency: counters.latency().snapshot(),
        }
    }

    fn line_since(&self, before: &Moment) -> String {
        let picks = self.picks.iter().zip(&before.picks).map(|(now, before)| format!("{:>7}", now - before));
        let latency = self.latency.since(&before.latency);
        format!(
            "{:>8}  {}  {:>7}  {:>6}  {:>6}",
            self.requests - before.requests,
            picks.collect::<Vec<_>>().join("  "),
            self.hits - before.hits,
            millis(latency.quantile(0.5)),
            millis(latency.quantile(0.99)),
        )
    }
}

/// How often each backend was picked since the start.
pub(super) fn picks(proxy: &Proxy, backends: &[Demo]) -> Vec<u64> {
    let members = proxy.members();
    let of = |backend: &Demo| {
        let id = backend.address.to_string();
        members.iter().find(|member| *member.id == *id).map_or(0, |member| member.picks)
    };
    backends.iter().map(of).collect()
}

pub(super) fn millis(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1000.0))
}
