//! What does a `cache::store::Redis` cost over plain redis-rs, and how does it stand beside fred and deadpool-redis?
//!
//! Four redis-servers on loopback, one process, two worker threads. For each size of value and number of operations in
//! flight, every client in turn works for a slice of time, fifteen rounds, the order turning with the round. Noted are the
//! rate and the processor time of this process for one operation, which a busy machine disturbs least; ratios are to plain
//! redis-rs in the same round. Then the price of a near hit of `Tiered`.
//!
//! `make bench-redis` runs it, and leaves its figures in `target/bench/redis.json`. Loopback has no distance: over a real
//! network the differences shrink.
//!
//! For a look at a part: `EVENLY_BENCH_ONLY="get 100 B 256,put 1 MB 1"`, `EVENLY_BENCH_CLIENT=ours,redis-rs`,
//! `EVENLY_BENCH_ROUNDS=50`. `EVENLY_BENCH_OPERATIONS=20000` for so many operations rather than so much time: under
//! `valgrind --tool=callgrind`, the difference of two runs is the price of an operation.
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
use evenly_benches::scoreboard::{Better, Board, Contender, Measure, of_effort, ours, rival};
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

/// What one client did in a slice.
struct Work {
    /// Operations a second.
    rate: f64,
    /// Processor time of this process for one of them.
    cpu_us: f64,
}

/// How long a client works.
#[derive(Clone, Copy)]
enum Slice {
    Time(Duration),
    Operations(u64),
}

/// One slice of `client` with `in_flight` operations at once.
async fn work(client: &Arc<dyn Client>, verb: Verb, len: usize, in_flight: usize, slice: Slice) -> Work {
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
    let rate = count as f64 / start.elapsed().as_secs_f64();
    Work { rate, cpu_us: (cpu_time() - cpu).as_secs_f64() * 1e6 / count.max(1) as f64 }
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

/// A look at a part only, where the environment asks for one.
struct Part {
    rows: Option<Vec<String>>,
    clients: Option<Vec<String>>,
}

impl Part {
    fn from_environment() -> Self {
        let list = |name| {
            let list = std::env::var(name).ok()?;
            Some(list.split(',').map(str::to_owned).collect())
        };
        Self { rows: list("EVENLY_BENCH_ONLY"), clients: list("EVENLY_BENCH_CLIENT") }
    }

    fn is_whole(&self) -> bool {
        self.rows.is_none() && self.clients.is_none()
    }
}

fn has(list: Option<&Vec<String>>, name: &str) -> bool {
    list.is_none_or(|list| list.iter().any(|listed| listed == name))
}

fn contender(name: &str) -> Contender<'_> {
    if name == "ours" { ours(name) } else { rival(name) }
}

async fn compare(slice: Slice, rounds: usize, part: &Part, board: &mut Board) {
    let (_servers, mut clients) = clients().await;
    clients.retain(|(name, _)| has(part.clients.as_ref(), name));
    assert!(!clients.is_empty(), "none of the clients {:?} is known", part.clients);
    for (len, size) in SIZES {
        let rows =
            [1, 16, 256].into_iter().flat_map(|in_flight| [(Verb::Get, in_flight), (Verb::Put, in_flight)]);
        let question = |verb: Verb| format!("{} {size}", verb.name());
        let is_asked =
            |row: &(Verb, usize)| has(part.rows.as_ref(), &format!("{} {}", question(row.0), row.1));
        let rows: Vec<_> = rows.filter(is_asked).collect();
        if rows.is_empty() {
            continue;
        }
        for (_, client) in &clients {
            for key in 0..KEYS {
                client.put(key, Bytes::from(vec![b'v'; len])).await;
            }
        }
        for (verb, in_flight) in rows {
            let (question, case) = (question(verb), format!("{in_flight} in flight"));
            for round in 0..rounds {
                for turn in 0..clients.len() {
                    let (name, client) = &clients[(round + turn) % clients.len()];
                    let work = work(client, verb, len, in_flight, slice).await;
                    board.note(&question, &case, RATE, contender(name), work.rate);
                    board.note(&question, &case, CPU, contender(name), work.cpu_us);
                }
            }
        }
    }
}

/// The time of one near hit of a tiered store, and of one get through plain redis-rs.
async fn near_hits(rounds: usize, board: &mut Board) {
    let server = RedisServer::start();
    let near = Memory::new(256 << 20, Policy::Lru).expect("a size");
    let store =
        Tiered::new(near, RedisConfig::from_url(&server.url()).expect("a URL")).expect("a configuration");
    store.far().ready().await.expect("a connection");
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut plain = client.get_multiplexed_async_connection().await.expect("a connection");
    for (len, size) in SIZES {
        store.put(b"k", Bytes::from(vec![1; len]), Keep::for_ttl(TTL)).await.expect("kept");
        for _ in 0..rounds {
            let start = Instant::now();
            for _ in 0..100_000 {
                black_box(store.get(b"k").await.expect("an answer").expect("a value"));
            }
            let near = start.elapsed().as_secs_f64() / 100_000.0;
            board.note("near hit", size, Measure::NANOSECONDS, ours("ours, tiered"), near * 1e9);
            let start = Instant::now();
            for _ in 0..500 {
                let value: Vec<u8> = plain.get("cache:v:{k}").await.expect("an answer");
                black_box(value);
            }
            let far = start.elapsed().as_secs_f64() / 500.0;
            board.note("near hit", size, Measure::NANOSECONDS, rival("redis-rs"), far * 1e9);
        }
    }
}

fn main() -> std::io::Result<()> {
    // `cargo test` builds and runs benches too: then a short look is enough.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let number = |name| std::env::var(name).ok().map(|number| number.parse().expect("a number"));
    let (mut slice, mut rounds) = (Slice::Time(Duration::from_millis(5)), 1);
    if is_bench {
        slice = Slice::Time(Duration::from_millis(of_effort(100, 50)));
        rounds = number("EVENLY_BENCH_ROUNDS").map_or(of_effort(15, 3), |rounds| rounds as usize);
    }
    if let Some(operations) = number("EVENLY_BENCH_OPERATIONS") {
        (slice, rounds) = (Slice::Operations(operations), 1);
    }
    let part = Part::from_environment();
    let mut board = Board::new("redis").against("redis-rs");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        compare(slice, rounds, &part, &mut board).await;
        if part.is_whole() {
            near_hits(rounds, &mut board).await;
        }
    });
    if part.is_whole() && is_bench {
        board.finish()?;
    } else {
        board.print();
    }
    Ok(())
}

const SIZES: [(usize, &str); 3] = [(100, "100 B"), (10_000, "10 KB"), (1_000_000, "1 MB")];
const RATE: (&str, Better) = ("operations/s", Better::More);
const CPU: (&str, Better) = ("µs of CPU", Better::Less);
