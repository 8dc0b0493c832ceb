//! What a caller sees, and for how long he waits, when Redis is down, frozen, slow, full, closed to him or out of its
//! mind. `make redis-faults` prints the table.
//!
//! The limit here is the default, 100 ms an operation. Bounds in assertions are wider (1 s): the machines that run
//! tests are busy. The table shows what it was.
#![cfg(feature = "redis")]
#![allow(clippy::print_stdout, reason = "a table is printed")]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache::store::{Circuit, Keep, Redis, RedisConfig, Store, StoreError};
use support::{
    fake_server::{Answer, FakeServer},
    redis_server::{RedisServer, free_port},
};

const MINUTE: Keep<'static> = Keep::for_ttl(Duration::from_secs(60));
/// The limit of an operation with what a busy machine adds.
const SLOWEST_MAX: Duration = Duration::from_secs(1);

/// Default limits; time to connect on a busy machine.
fn config(url: &str) -> RedisConfig {
    let config = RedisConfig::from_url(url).unwrap().namespace("test");
    config
        .connect_timeout(Duration::from_secs(1))
        .probe_every(Duration::from_millis(50), Duration::from_millis(500))
}

fn open(url: &str) -> Redis {
    Redis::new(config(url)).unwrap()
}

/// What many operations met, and how long they took.
#[derive(Default)]
struct Seen {
    outcomes: BTreeMap<String, usize>,
    times: Vec<Duration>,
}

impl Seen {
    fn note<T>(&mut self, since: Instant, outcome: &Result<T, StoreError>) {
        self.times.push(since.elapsed());
        *self.outcomes.entry(kind(outcome)).or_default() += 1;
    }

    fn slowest(&self) -> Duration {
        self.times.iter().copied().max().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    fn count(&self, kind: &str) -> usize {
        self.outcomes.get(kind).copied().unwrap_or_default()
    }

    /// One line of the table.
    fn row(&self, fault: &str, back: Option<Duration>) {
        let outcomes: Vec<_> =
            self.outcomes.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
        let back = back.map_or("–".to_owned(), |back| format!("{back:.1?}"));
        println!(
            "| {fault} | {} | {:.1?} | {:.1?} | {back} |",
            outcomes.join(", "),
            self.median(),
            self.slowest()
        );
    }
}

fn kind<T>(outcome: &Result<T, StoreError>) -> String {
    match outcome {
        Ok(_) => "answered".to_owned(),
        Err(StoreError::Unavailable { .. }) => "unavailable".to_owned(),
        Err(StoreError::TimedOut { .. }) => "timed out".to_owned(),
        Err(StoreError::Disconnected { .. }) => "disconnected".to_owned(),
        Err(StoreError::Refused { code, .. }) => format!("refused {code}"),
        Err(StoreError::Unexpected { .. }) => "unexpected answer".to_owned(),
        Err(other) => other.to_string(),
    }
}

/// `count` reads and writes, one after the other.
async fn operate(store: &Redis, count: usize) -> Seen {
    let mut seen = Seen::default();
    for n in 0..count {
        let start = Instant::now();
        if n % 2 == 0 {
            seen.note(start, &store.get(b"k").await);
        } else {
            seen.note(start, &store.put(b"k", Bytes::from("v"), MINUTE).await);
        }
    }
    seen
}

/// `callers` at once, each reading a thousand times a second for `time`.
async fn operate_at_once(store: &Redis, callers: usize, time: Duration) -> Seen {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut seen = Seen::default();
            let end = Instant::now() + time;
            while Instant::now() < end {
                let start = Instant::now();
                seen.note(start, &store.get(b"k").await);
                // Callers do other things too: spinning, they would take the processor from the clock they are held to.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen
        });
    }
    tasks.join_all().await.into_iter().fold(Seen::default(), |mut all, seen| {
        all.times.extend(seen.times);
        seen.outcomes.into_iter().for_each(|(kind, count)| *all.outcomes.entry(kind).or_default() += count);
        all
    })
}

async fn until_answered(store: &Redis) -> Duration {
    let start = Instant::now();
    while store.get(b"k").await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "not back within 20 s: {:?}", store.stats());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_back_with_lost_data() {
    let mut server = RedisServer::start();
    let store = open(&server.url());
    until_answered(&store).await;
    store.put(b"k", Bytes::from("v"), MINUTE).await.unwrap();
    server.kill();
    let seen = operate(&store, 1_000).await;
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert!(seen.count("unavailable") >= 990, "{:?}", seen.outcomes);
    assert!(seen.median() < Duration::from_millis(1), "{:?}", seen.median());
    assert_eq!(seen.count("answered"), 0);
    assert_ne!(store.stats().circuit, Circuit::Closed);
    server.restart();
    let back = until_answered(&store).await;
    seen.row("kill -9, then started again without its data", Some(back));
    assert_eq!(store.get(b"k").await.unwrap(), None, "the data is gone, and that is a miss");
    assert_eq!(store.stats().circuit, Circuit::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_there() {
    let store = open(&format!("redis://127.0.0.1:{}", free_port()));
    let seen = operate(&store, 1_000).await;
    seen.row("nobody listens", None);
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert_eq!(seen.count("unavailable"), 1_000, "{:?}", seen.outcomes);
    assert!(store.get(b"k").await.unwrap_err().to_string().to_lowercase().contains("refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_while_one_caller_waits() {
    let server = RedisServer::start();
    let store = open(&server.url());
    until_answered(&store).await;
    server.freeze();
    let seen = operate(&store, 1_000).await;
    server.thaw();
    let back = until_answered(&store).await;
    seen.row("SIGSTOP, one caller; then SIGCONT", Some(back));
    assert!((1..=3).contains(&seen.count("timed out")), "{:?}", seen.outcomes);
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert!(seen.median() < Duration::from_millis(1), "{:?}", seen.median());
    assert!(back < Duration::from_secs(5), "{back:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_while_sixty_four_callers_wait() {
    let server = RedisServer::start();
    let store = open(&server.url());
    until_answered(&store).await;
    server.freeze();
    let seen = operate_at_once(&store, 64, Duration::from_millis(1_000)).await;
    server.thaw();
    let back = until_answered(&store).await;
    seen.row("SIGSTOP, 64 callers for 1 s", Some(back));
    // Each of them is caught once at most; then all are sent on at once.
    let waited = seen.times.iter().filter(|time| **time > Duration::from_millis(50)).count();
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert!(waited <= 3 * 64, "{waited} waited");
    assert!(seen.count("unavailable") > seen.times.len() * 9 / 10, "{:?}", seen.outcomes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_beyond_the_limit() {
    let slow = Duration::from_millis(150);
    let server = FakeServer::start_but(move |command| {
        (command[0] == b"GETRANGE" || command[0] == b"SET").then(|| Answer::After(slow, b"$-1\r\n".to_vec()))
    });
    let store = open(&server.url());
    store.ready().await.unwrap();
    let seen = operate(&store, 1_000).await;
    seen.row("every answer takes 150 ms", None);
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert!(seen.count("unavailable") >= 900, "{:?}", seen.outcomes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_when_asked_to_log_in() {
    let server = FakeServer::start(|_| Answer::ThenSilence(Vec::new()));
    let store = open(&server.url());
    let seen = operate(&store, 30).await;
    seen.row("accepts, then says nothing", None);
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert_eq!(seen.count("answered"), 0, "{:?}", seen.outcomes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let store = Redis::new(config(&server.url()).password("wrong")).unwrap();
    let seen = operate(&store, 1_000).await;
    seen.row("wrong password", None);
    assert_eq!(seen.count("unavailable"), 1_000, "{:?}", seen.outcomes);
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert!(seen.median() < Duration::from_millis(1), "{:?}", seen.median());
}

/// Half of what is read was damaged by another client: that half is a miss, and only that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_damaged_by_another_client() {
    let server = RedisServer::start();
    let store = open(&server.url());
    until_answered(&store).await;
    store.put(b"good", Bytes::from("v"), MINUTE).await.unwrap();
    store.put(b"damaged", Bytes::from("value"), MINUTE).await.unwrap();
    server.command(&[b"SETRANGE", b"test:v:{damaged}", b"42", b"?"]);
    let mut seen = Seen::default();
    for n in 0..1_000 {
        let start = Instant::now();
        let answer = store.get(if n % 2 == 0 { &b"good"[..] } else { b"damaged" }).await;
        seen.times.push(start.elapsed());
        let what = if answer.unwrap().is_some() { "hit" } else { "miss" };
        *seen.outcomes.entry(what.to_owned()).or_default() += 1;
    }
    seen.row("every other value damaged by another client", None);
    assert_eq!((seen.count("hit"), seen.count("miss")), (500, 500), "{:?}", seen.outcomes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_is_forbidden() {
    let server = RedisServer::start();
    server.command(&[b"ACL", b"SETUSER", b"reader", b"on", b">pw", b"~*", b"+@all", b"-set"]);
    let store = Redis::new(config(&server.url()).user("reader").password("pw")).unwrap();
    until_answered(&store).await;
    let seen = operate(&store, 1_000).await;
    seen.row("ACL user without SET", None);
    assert!(seen.count("answered") >= 490 && seen.count("refused NOPERM") >= 490, "{:?}", seen.outcomes);
    assert_eq!(store.stats().circuit, Circuit::Closed, "reads still work");
    assert!(store.stats().errors >= 490);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_memory_refuses_writes_and_still_reads() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let store = open(&server.url());
    until_answered(&store).await;
    store.put(b"k", Bytes::from("v"), MINUTE).await.unwrap();
    let big = Bytes::from(vec![7; 100_000]);
    store.put(b"big", big.clone(), MINUTE).await.unwrap();
    server.command(&[b"CONFIG", b"SET", b"maxmemory", b"500kb"]);
    let refused = store.put(b"bigger", big, MINUTE).await.unwrap_err();
    assert!(refused.is_outage() && refused.to_string().contains("OOM"), "{refused}");
    let seen = operate(&store, 1_000).await;
    seen.row("OOM (maxmemory, noeviction)", None);
    assert!(seen.count("answered") >= 490 && seen.count("refused OOM") >= 490, "{:?}", seen.outcomes);
    assert_eq!(store.get(b"k").await.unwrap(), Some(Bytes::from("v")));
    assert!(store.delete(b"big").await.unwrap(), "deletes are taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_refuses_writes() {
    let master = RedisServer::start();
    let replica = RedisServer::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    let store = open(&replica.url());
    until_answered(&store).await;
    let seen = operate(&store, 1_000).await;
    seen.row("READONLY (a replica)", None);
    assert_eq!((seen.count("answered"), seen.count("refused READONLY")), (500, 500), "{:?}", seen.outcomes);
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn still_loading() {
    let server =
        FakeServer::start(|_| Answer::Bytes(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()));
    let store = open(&server.url());
    let seen = operate(&store, 1_000).await;
    seen.row("LOADING", None);
    assert_eq!(seen.count("unavailable"), 1_000, "{:?}", seen.outcomes);
    assert!(store.get(b"k").await.unwrap_err().to_string().contains("LOADING"));
}

/// Answers to `GETRANGE` that no server gives; the process must outlive each, and no value may come of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_for_answers() {
    let garbage: [(&str, &[u8]); 14] = [
        ("an HTTP server", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        ("zeros", &[0; 64]),
        ("half a header", b"$1"),
        ("a milliard elements", b"*1000000000\r\n:1\r\n"),
        ("a map of 2^63 pairs", b"%9223372036854775807\r\n:1\r\n"),
        ("a string of 10 GB", b"$10000000000\r\nabc"),
        ("a negative length", b"$-7\r\n"),
        ("a text of negative length", b"=-1\r\n"),
        ("an attribute", b"|1\r\n+a\r\n+b\r\n"),
        ("nested 1,000 deep", &NESTED),
        ("an endless line", &[b'+'; 70_000]),
        ("a push nobody asked for", b">2\r\n+invalidate\r\n:7\r\n"),
        ("a number", b":7\r\n"),
        ("a list", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
    ];
    for (what, bytes) in garbage {
        let server = FakeServer::start_but(move |command| {
            (command[0] == b"GETRANGE").then(|| Answer::Bytes(bytes.to_vec()))
        });
        let store = open(&server.url());
        store.ready().await.unwrap();
        let seen = operate(&store, 40).await;
        seen.row(&format!("garbage: {what}"), None);
        assert!(seen.slowest() < SLOWEST_MAX, "{what}: {:?}", seen.slowest());
        assert_eq!(store.stats().hits, 0, "{what}");
        assert!(seen.count("answered") <= 20, "{what}: only writes: {:?}", seen.outcomes);
    }
}

static NESTED: [u8; 4_000] = {
    let mut bytes = [0; 4_000];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = b"*1\r\n"[at % 4];
        at += 1;
    }
    bytes
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_in_the_middle_of_an_answer() {
    let server = FakeServer::start_but(|command| {
        (command[0] == b"GETRANGE").then(|| Answer::ThenSilence(b"$100\r\nabc".to_vec()))
    });
    let store = open(&server.url());
    store.ready().await.unwrap();
    let seen = operate(&store, 200).await;
    seen.row("stalls in the middle of an answer", None);
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert_eq!(store.stats().hits, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_in_the_middle_of_an_answer() {
    let server = FakeServer::start_but(|command| {
        (command[0] == b"GETRANGE").then(|| Answer::ThenClose(b"$100\r\nabc".to_vec()))
    });
    let store = open(&server.url());
    store.ready().await.unwrap();
    let seen = operate(&store, 200).await;
    seen.row("hangs up in the middle of an answer", None);
    assert!(seen.slowest() < SLOWEST_MAX, "{:?}", seen.slowest());
    assert_eq!(store.stats().hits, 0);
    assert!(server.accepted() < 30, "{} connections: it must back off", server.accepted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_at_a_time_is_an_answer_too() {
    let server = FakeServer::start_but(|command| {
        (command[0] == b"GETRANGE").then(|| Answer::Drip(b"$-1\r\n".to_vec()))
    });
    let store = open(&server.url());
    store.ready().await.unwrap();
    let seen = operate(&store, 200).await;
    seen.row("a byte at a time", None);
    assert!(seen.count("answered") >= 190, "{:?}", seen.outcomes);
}

/// A proxy in the middle that loses count: every reader gets the answer to the question before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_slipped_by_one_are_never_taken_for_ours() {
    let real = RedisServer::start();
    let writer = open(&real.url());
    until_answered(&writer).await;
    let mut entries = Vec::new();
    for n in 0..10 {
        let key = format!("{n}");
        writer.put(key.as_bytes(), Bytes::from(format!("value {n}")), MINUTE).await.unwrap();
        entries.push(real.command(&[b"GET", format!("test:v:{{{n}}}").as_bytes()]));
    }
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let server = FakeServer::start_but(move |command| {
        let is_get = command[0] == b"GETRANGE";
        is_get.then(|| {
            let turn = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Answer::Bytes(entries[(turn + 9) % 10].clone())
        })
    });
    let store = open(&server.url());
    store.ready().await.unwrap();
    let mut seen = Seen::default();
    for n in 0..100 {
        let start = Instant::now();
        let answer = store.get(format!("{}", n % 10).as_bytes()).await;
        assert!(matches!(answer, Ok(None) | Err(_)), "{answer:?} is another key's value");
        seen.note(start, &answer);
    }
    seen.row("answers slipped by one", None);
    assert_eq!(store.stats().hits, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_answers_pings_with_others_answers_is_dropped() {
    let server = FakeServer::start_but(|command| {
        let is_second =
            command[0] == b"PING" && PINGS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2 == 1;
        is_second.then(|| Answer::Bytes(b"$5\r\nother\r\n".to_vec()))
    });
    let store = Redis::new(config(&server.url()).ping_every(Duration::from_millis(10))).unwrap();
    // Who looks late, as on a busy machine, finds the first connection dropped already.
    let _ = store.ready().await;
    let start = Instant::now();
    while server.accepted() < 2 {
        assert!(start.elapsed() < Duration::from_secs(10), "the connection is kept");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

static PINGS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_gone_silent_is_found_without_traffic() {
    let server = RedisServer::start();
    let store = Redis::new(config(&server.url()).ping_every(Duration::from_millis(20))).unwrap();
    store.ready().await.unwrap();
    server.freeze();
    let start = Instant::now();
    while store.stats().is_connected {
        assert!(start.elapsed() < Duration::from_secs(10), "it is still thought alive");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("| silence, nobody asking | noticed | – | {:.1?} | – |", start.elapsed());
    server.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_at_once_are_told_so() {
    let server = FakeServer::start_but(|command| {
        (command[0] == b"GETRANGE").then(|| Answer::After(Duration::from_millis(20), b"$-1\r\n".to_vec()))
    });
    let store = Redis::new(config(&server.url()).max_in_flight(8)).unwrap();
    store.ready().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let store = store.clone();
        tasks.spawn(async move { store.get(b"k").await });
    }
    let outcomes = tasks.join_all().await;
    let busy =
        outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Busy { limit: 8, .. }))).count();
    assert!(busy >= 150, "{busy} of 200 were told; 8 at once are allowed");
    assert_eq!(store.stats().in_flight, 0);
}

/// A cut connection is replaced under the caller: he never hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_costs_no_error_once_it_was_settled() {
    let server = RedisServer::start();
    // Time enough to connect again on a busy machine: this is about errors.
    let store = Redis::new(config(&server.url()).response_timeout(Duration::from_secs(5))).unwrap();
    until_answered(&store).await;
    // Settled after two seconds: one that breaks sooner is not trusted with callers' time.
    let settled = Instant::now() + Duration::from_millis(2_200);
    while Instant::now() < settled {
        store.get(b"k").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.command(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"]);
    let seen = operate(&store, 200).await;
    seen.row("CLIENT KILL of a settled connection", None);
    assert_eq!(seen.count("answered"), 200, "{:?}", seen.outcomes);
}
