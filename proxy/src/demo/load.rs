//! `--requests N`: sends that load through the proxy and prints what went where.
//!
//! Sixteen clients on kept connections; half of the requests ask for one of a few cacheable pages.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use balancers::Query;
use http::{HeaderMap, HeaderValue, header, uri::PathAndQuery};
use http_body_util::BodyExt;

use super::{
    backend::Demo,
    watch::{millis, picks},
};
use crate::{
    body::{self, Body},
    cli::{Failure, println_out},
    config::{Address, Member},
    observe::Trail,
    server::Proxy,
    upstream::{Directory, Group, RequestHead, Roster, Settings, send},
};

/// Sends `count` requests to `address` and prints the table. Fails if any request failed.
pub(super) async fn run(
    proxy: &Proxy,
    backends: &[Demo],
    address: SocketAddr,
    count: u64,
) -> Result<(), Failure> {
    let group = Arc::new(to_proxy(address)?);
    let next = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|_| {
        let (group, next, failed) = (Arc::clone(&group), Arc::clone(&next), Arc::clone(&failed));
        tokio::spawn(async move {
            while let Some(number) = Some(next.fetch_add(1, Relaxed)).filter(|number| *number < count) {
                if !get(&group, number).await {
                    failed.fetch_add(1, Relaxed);
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.map_err(|error| Failure::Runtime(format!("evenly: {error}")))?;
    }
    let took = started.elapsed();
    print_table(proxy, backends, count, failed.load(Relaxed));
    println_out(&format!("{:.2} s, {:.0} requests/s", took.as_secs_f64(), count as f64 / took.as_secs_f64()));
    match failed.load(Relaxed) {
        0 => Ok(()),
        failed => Err(Failure::Runtime(format!("evenly: {failed} of {count} requests failed"))),
    }
}

fn to_proxy(address: SocketAddr) -> Result<Group, Failure> {
    let place = Address::Tcp { host: address.ip().to_string(), port: address.port() };
    let member = Member { address: place, weight: 1 };
    let roster = Roster { members: &[member], names: &[], directory: &Arc::new(Directory::new(0)) };
    Group::build(Settings::default(), roster, None)
        .map_err(|error| Failure::Runtime(format!("evenly: {error}")))
}

async fn get(group: &Group, number: u64) -> bool {
    let path = if number.is_multiple_of(2) {
        format!("/cached/{}", number / 2 % PAGES)
    } else {
        format!("/live/{number}")
    };
    let Ok(target) = PathAndQuery::try_from(path) else { return false };
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("demo"));
    let head = RequestHead::get(&target, &headers);
    match send(group, head, Body::Empty, Query::new(), &mut Trail::default()).await {
        Ok(answer) => {
            answer.status.is_success() && Body::Member(body::Member::new(answer.body)).collect().await.is_ok()
        }
        Err(_) => false,
    }
}

fn print_table(proxy: &Proxy, backends: &[Demo], count: u64, failed: u64) {
    let picks = picks(proxy, backends);
    let picked: u64 = picks.iter().sum();
    println_out("backend  delay ms   picks   share");
    for (backend, picks) in backends.iter().zip(picks) {
        let share = 100.0 * picks as f64 / picked.max(1) as f64;
        println_out(&format!(
            "{:<7}  {:>8}  {picks:>6}  {share:>5.1}%",
            backend.name,
            backend.delay.as_millis()
        ));
    }
    let counters = proxy.counters();
    let hits = proxy.cache_facts().hits;
    let ratio = 100.0 * hits as f64 / count.max(1) as f64;
    let latency = counters.latency().snapshot();
    let (p50, p99) = (millis(latency.quantile(0.5)), millis(latency.quantile(0.99)));
    println_out(&format!("requests {count} · failed {failed} · cache hits {hits} ({ratio:.1}%)"));
    println_out(&format!("p50 {p50} ms · p99 {p99} ms"));
}

const CLIENTS: usize = 16;
/// Cacheable pages; each is fetched once and then served from memory.
const PAGES: u64 = 50;
