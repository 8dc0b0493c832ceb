//! What does a `cache::store::Redis` cost over plain redis-rs, and how does it stand beside fred and deadpool-redis?
//!
//! One redis-server on loopback, one process, two worker threads. For each size of value and number of operations in
//! flight, every client in turn works for a slice of time, nine rounds, the order turning with the round; the table
//! has the median rate, lowest and highest behind it, and the processor time of this process for one operation, which a
//! busy machine disturbs least. Then the price of a near hit of `Tiered`.
//!
//! `make bench-redis` runs it, and leaves its figures in `target/bench/redis.json`. Loopback has no distance: over a real
//! network the differences shrink.
//!
//! On a machine that is busy, instructions tell more than time. `EVENLY_BENCH_ONLY="get 100 B 256"` for one row,
//! `EVENLY_BENCH_CLIENT=ours` for one client and `EVENLY_BENCH_OPERATIONS=20000` for so many operations rather than so
//! much time: under `valgrind --tool=callgrind`, the difference of two runs is the price of an operation.
#![allow(clippy::print_stdout, reason = "a bench prints its tables")]
#![allow(missing_docs, reason = "no library")]

#[path = "../../cache/tests/support/redis_server.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod redis_server;

use std::{
    future::Future,
    hint::black_box,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache::{
    Policy,
    store::{Keep, Memory, Redis, RedisConfig, Store, Tiered},
};
use deadpool_redis::{Config as PoolConfig, Pool, Runtime};
use evenly_benches::scoreboard::of_effort;
use fred::prelude::{Builder, Client as Fred, ClientLike, Config as FredConfig, Expiration, KeysInterface};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use redis_server::RedisServer;

const TTL: Duration = Duration::from_secs(600);
const KEYS: usize = 64;

type Working<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A Redis client, as its users would use it.
trait Client: Send + Sync {
    fn get(&self, key: usize, len: usize) -> Working<'_>;
    fn put(&self, key: usize, value: Bytes) -> Working<'_>;
}

struct Ours(Redis);

impl Client for Ours {
    fn get(&self, key: usize, len: usize) -> Working<'_> {
        Box::pin(async move {
            let value = self.0.get(name(key).as_bytes()).await.expect("an answer").expect("a value");
            assert_eq!(black_box(value).len(), len);
        })
    }

    fn put(&self, key: usize, value: Bytes) -> Working<'_> {
        Box::pin(
            async move { self.0.put(name(key).as_bytes(), value, Keep::for_ttl(TTL)).await.expect("kept") },
        )
    }
}

struct Plain(MultiplexedConnection);

impl Client for Plain {
    fn get(&self, key: usize, len: usize) -> Working<'_> {
        let mut connection = self.0.clone();
        Box::pin(async move {
            let value: Vec<u8> = connection.get(name(key)).await.expect("an answer");
            assert_eq!(black_box(value).len(), len);
        })
    }

    fn put(&self, key: usize, value: Bytes) -> Working<'_> {
        let mut connection = self.0.clone();
        Box::pin(async move {
            let ttl = TTL.as_millis() as u64;
            connection.pset_ex::<_, _, ()>(name(key), &value[..], ttl).await.expect("kept");
        })
    }
}

struct Pooled(Pool);

impl Client for Pooled {
    fn get(&self, key: usize, len: usize) -> Working<'_> {
        Box::pin(async move {
            let mut connection = self.0.get().await.expect("a connection");
            let value: Vec<u8> = connection.get(name(key)).await.expect("an answer");
            assert_eq!(black_box(value).len(), len);
        })
    }

    fn put(&self, key: usize, value: Bytes) -> Working<'_> {
        Box::pin(async move {
            let mut connection = self.0.get().await.expect("a connection");
            let ttl = TTL.as_millis() as u64;
            connection.pset_ex::<_, _, ()>(name(key), &value[..], ttl).await.expect("kept");
        })
    }
}

struct Freds(Fred);

impl Client for Freds {
    fn get(&self, key: usize, len: usize) -> Working<'_> {
        Box::pin(async move {
            let value: Bytes = self.0.get(name(key)).await.expect("an answer");
            assert_eq!(black_box(value).len(), len);
        })
    }

    fn put(&self, key: usize, value: Bytes) -> Working<'_> {
        Box::pin(async move {
            let ttl = Expiration::PX(TTL.as_millis() as i64);
            self.0.set::<(), _, _>(name(key), value, Some(ttl), None, false).await.expect("kept");
        })
    }
}

fn name(key: usize) -> String {
    format!("/some/path/of/a/page/{key}")
}

#[derive(Clone, Copy)]
enum Verb {
    Get,
    Put,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
        }
    }
}

/// What one client did in its slices.
#[derive(Default)]
struct Work {
    /// Operations a second, by slice.
    rates: Vec<f64>,
    operations: u64,
    /// Processor time of this process.
    cpu: Duration,
}

/// How long a client works.
#[derive(Clone, Copy)]
enum Slice {
    Time(Duration),
    Operations(u64),
}

/// One slice of `client` with `in_flight` operations at once.
async fn work(
    client: &Arc<dyn Client>,
    verb: Verb,
    len: usize,
    in_flight: usize,
    slice: Slice,
    work: &mut Work,
) {
    let cpu = cpu_time();
    let mut tasks = tokio::task::JoinSet::new();
    let value = Bytes::from(vec![b'v'; len]);
    let start = Instant::now();
    for task in 0..in_flight {
        let (client, value) = (client.clone(), value.clone());
        tasks.spawn(async move {
            let mut count = 0_u64;
            while match slice {
                Slice::Time(time) => start.elapsed() < time,
                Slice::Operations(all) => count < all / in_flight as u64,
            } {
                let key = (task * 7 + count as usize) % KEYS;
                match verb {
                    Verb::Get => client.get(key, value.len()).await,
                    Verb::Put => client.put(key, value.clone()).await,
                }
                count += 1;
            }
            count
        });
    }
    let count: u64 = tasks.join_all().await.into_iter().sum();
    work.rates.push(count as f64 / start.elapsed().as_secs_f64());
    work.operations += count;
    work.cpu += cpu_time() - cpu;
}

/// Processor time of this process's threads so far, by the scheduler's own clock.
fn cpu_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let of = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.flatten().filter_map(of).sum())
}

async fn clients() -> (Vec<RedisServer>, Vec<(&'static str, Arc<dyn Client>)>) {
    // One server each: the same keys, in each client's own shape.
    let servers: Vec<RedisServer> = (0..4).map(|_| RedisServer::start()).collect();
    let config = RedisConfig::from_url(&servers[0].url()).expect("a URL");
    let ours =
        Redis::new(config.response_timeout(Duration::from_secs(10)).connect_timeout(Duration::from_secs(30)))
            .expect("a configuration");
    ours.ready().await.expect("a connection");
    let plain = redis::Client::open(servers[1].url()).expect("a URL");
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let patient = patient.set_connection_timeout(Some(Duration::from_secs(30)));
    let plain = plain.get_multiplexed_async_connection_with_config(&patient).await.expect("a connection");
    let fred =
        Builder::from_config(FredConfig::from_url(&servers[2].url()).expect("a URL")).build().expect("fred");
    fred.init().await.expect("a connection");
    let pool = PoolConfig::from_url(servers[3].url()).builder().expect("a URL");
    let pool = pool.max_size(16).runtime(Runtime::Tokio1).build().expect("a pool");
    let clients: Vec<(&'static str, Arc<dyn Client>)> = vec![
        ("ours", Arc::new(Ours(ours))),
        ("redis-rs", Arc::new(Plain(plain))),
        ("fred", Arc::new(Freds(fred))),
        ("deadpool (16)", Arc::new(Pooled(pool))),
    ];
    (servers, clients)
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn compare(slice: Slice, rounds: usize, only: Option<&str>) -> Vec<Figure> {
    let (_servers, mut clients) = clients().await;
    if let Ok(client) = std::env::var("EVENLY_BENCH_CLIENT") {
        clients.retain(|(name, _)| *name == client);
        assert!(!clients.is_empty(), "no client {client:?}");
    }
    println!(
        "| operation, value, in flight | client | operations/s (lowest to highest) | ours / it | CPU an operation | it / ours |"
    );
    println!("|---|---|---|---|---|---|");
    let mut figures = Vec::new();
    for (len, size) in [(100, "100 B"), (10_000, "10 KB"), (1_000_000, "1 MB")] {
        let rows =
            [1, 16, 256].into_iter().flat_map(|in_flight| [(Verb::Get, in_flight), (Verb::Put, in_flight)]);
        let what = |(verb, in_flight): (Verb, usize)| format!("{} {size} {in_flight}", verb.name());
        let rows: Vec<_> = rows.filter(|row| only.is_none_or(|only| only == what(*row))).collect();
        if rows.is_empty() {
            continue;
        }
        for (_, client) in &clients {
            for key in 0..KEYS {
                client.put(key, Bytes::from(vec![b'v'; len])).await;
            }
        }
        for (verb, in_flight) in rows {
            let mut works: Vec<Work> = clients.iter().map(|_| Work::default()).collect();
            for round in 0..rounds {
                for turn in 0..clients.len() {
                    let which = (round + turn) % clients.len();
                    work(&clients[which].1, verb, len, in_flight, slice, &mut works[which]).await;
                }
            }
            for ((client, _), work) in clients.iter().zip(&works) {
                let figure = figure(&what((verb, in_flight)), client, work, &works[0]);
                print(&figure);
                figures.push(figure);
            }
        }
    }
    figures
}

/// One client in one row.
struct Figure {
    what: String,
    client: String,
    /// Operations a second: median, lowest, highest.
    rate: f64,
    lowest: f64,
    highest: f64,
    /// Our rate over its, in the same round: median, lowest, highest.
    ratio: f64,
    ratio_lowest: f64,
    ratio_highest: f64,
    /// Processor time of one operation.
    cpu_us: f64,
    cpu_ratio: f64,
}

fn figure(what: &str, client: &str, work: &Work, ours: &Work) -> Figure {
    let ratios = ours.rates.iter().zip(&work.rates).map(|(ours, its)| ours / its).collect();
    let ((rate, lowest, highest), (ratio, ratio_lowest, ratio_highest)) =
        (spread(work.rates.clone()), spread(ratios));
    let cpu = |work: &Work| work.cpu.as_secs_f64() * 1e6 / work.operations.max(1) as f64;
    let (cpu_us, cpu_ratio) = (cpu(work), cpu(work) / cpu(ours));
    let (what, client) = (what.to_owned(), client.to_owned());
    Figure { what, client, rate, lowest, highest, ratio, ratio_lowest, ratio_highest, cpu_us, cpu_ratio }
}

fn print(figure: &Figure) {
    let Figure { what, client, rate, lowest, highest, ratio, ratio_lowest, ratio_highest, cpu_us, cpu_ratio } =
        figure;
    println!(
        "| {what} | {client} | {rate:.0} ({lowest:.0} to {highest:.0}) | {ratio:.2} ({ratio_lowest:.2} to \
         {ratio_highest:.2}) | {cpu_us:.1} µs | {cpu_ratio:.2} |"
    );
}

/// Median, lowest, highest.
fn spread(mut numbers: Vec<f64>) -> (f64, f64, f64) {
    let median = median(&mut numbers);
    (median, numbers[0], numbers[numbers.len() - 1])
}

/// All figures as JSON, where reports look for them.
fn save(figures: &[Figure], near: &[(&str, f64, f64)]) {
    let clients: Vec<String> = figures
        .iter()
        .map(|figure| {
            format!(
                r#"    {{"what": "{}", "client": "{}", "per_second": {:.1}, "ratio": {:.3}, "ratio_lowest": {:.3}, "ratio_highest": {:.3}, "cpu_us": {:.2}, "cpu_ratio": {:.3}}}"#,
                figure.what,
                figure.client,
                figure.rate,
                figure.ratio,
                figure.ratio_lowest,
                figure.ratio_highest,
                figure.cpu_us,
                figure.cpu_ratio
            )
        })
        .collect();
    let near: Vec<String> = near
        .iter()
        .map(|(size, near, far)| {
            format!(
                r#"    {{"value": "{size}", "near_ns": {:.0}, "plain_us": {:.1}, "ratio": {:.0}}}"#,
                near * 1e9,
                far * 1e6,
                far / near
            )
        })
        .collect();
    let text = format!(
        "{{\n  \"clients\": [\n{}\n  ],\n  \"near_hits\": [\n{}\n  ]\n}}\n",
        clients.join(",\n"),
        near.join(",\n")
    );
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&folder).expect("target can be written");
    std::fs::write(folder.join("redis.json"), text).expect("target can be written");
}

/// The time of one near hit of a tiered store, and of one get through plain redis-rs.
async fn near_hits() -> Vec<(&'static str, f64, f64)> {
    let server = RedisServer::start();
    let near = Memory::new(256 << 20, Policy::Lru).expect("a size");
    let store =
        Tiered::new(near, RedisConfig::from_url(&server.url()).expect("a URL")).expect("a configuration");
    store.far().ready().await.expect("a connection");
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut plain = client.get_multiplexed_async_connection().await.expect("a connection");
    println!("\n| value | near hit of `Tiered` | plain redis-rs | ratio |");
    println!("|---|---|---|---|");
    let mut hits = Vec::new();
    for (len, size) in [(100, "100 B"), (10_000, "10 KB"), (1_000_000, "1 MB")] {
        store.put(b"k", Bytes::from(vec![1; len]), Keep::for_ttl(TTL)).await.expect("kept");
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let start = Instant::now();
            for _ in 0..100_000 {
                black_box(store.get(b"k").await.expect("an answer").expect("a value"));
            }
            near.push(start.elapsed().as_secs_f64() / 100_000.0);
            let start = Instant::now();
            for _ in 0..500 {
                let value: Vec<u8> = plain.get("cache:v:{k}").await.expect("an answer");
                black_box(value);
            }
            far.push(start.elapsed().as_secs_f64() / 500.0);
        }
        let (near, far) = (median(&mut near), median(&mut far));
        println!("| {size} | {:.0} ns | {:.1} µs | {:.0} |", near * 1e9, far * 1e6, far / near);
        hits.push((size, near, far));
    }
    hits
}

fn main() {
    // `cargo test` builds and runs benches too: then a short look is enough.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let operations = std::env::var("EVENLY_BENCH_OPERATIONS").ok();
    let operations = operations.map(|number| Slice::Operations(number.parse().expect("a number")));
    let (slice, rounds) = match (operations, is_bench) {
        (Some(operations), _) => (operations, 1),
        (None, true) => (Slice::Time(Duration::from_millis(of_effort(150, 50))), of_effort(9, 2)),
        (None, false) => (Slice::Time(Duration::from_millis(5)), 1),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads").block_on(async {
        let only = std::env::var("EVENLY_BENCH_ONLY").ok();
        let figures = compare(slice, rounds, only.as_deref()).await;
        if only.is_none() {
            let near = near_hits().await;
            save(&figures, &near);
        }
    });
}
