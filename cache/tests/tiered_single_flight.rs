//! Of many that miss, one loads: across stores, and when the one that loads dies.
#![cfg(feature = "redis")]
#![allow(clippy::print_stdout, reason = "a table is printed")]

mod support;

use std::{
    convert::Infallible,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache::{
    Policy,
    store::{Keep, Memory, RedisConfig, SingleFlight, Store, Tiered},
};
use support::redis_server::RedisServer;

const MINUTE: Keep<'static> = Keep::for_ttl(Duration::from_secs(60));

/// Each store is what one process has: its own connection, its own near tier.
async fn stores(server: &RedisServer, count: usize) -> Vec<Tiered> {
    let mut stores = Vec::new();
    for _ in 0..count {
        let config = RedisConfig::from_url(&server.url()).unwrap().namespace("test");
        let near = Memory::new(1 << 20, Policy::Lru).unwrap();
        let store = Tiered::new(near, config.response_timeout(Duration::from_secs(2))).unwrap();
        store.far().ready().await.unwrap();
        stores.push(store);
    }
    stores
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_callers_in_four_processes_one_loads() {
    let server = RedisServer::start();
    let stores = stores(&server, 4).await;
    let loads = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (store, loads) = (stores[n % 4].clone(), loads.clone());
        tasks.spawn(async move {
            let load = || async {
                loads.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok::<_, Infallible>(Bytes::from("loaded"))
            };
            store.get_or_load(b"k", MINUTE, &SingleFlight::new(), load).await.unwrap()
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|value| value == "loaded"));
    assert_eq!(loads.load(SeqCst), 1);
    // Those that wait hear of it rather than sleep it out.
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(server.command(&[b"EXISTS", b"test:l:{k}"]), b":0\r\n", "the lock is given back");
}

/// What the test below starts as a process of its own: it takes the lock of `k` and loads for ever.
#[test]
fn child() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = RedisConfig::from_url(&url).unwrap().namespace("test");
        let near = Memory::new(1 << 20, Policy::Lru).unwrap();
        let store = Tiered::new(near, config.response_timeout(Duration::from_secs(2))).unwrap();
        let flight = SingleFlight::new().lease(LEASE);
        let loading = std::future::pending::<Result<Bytes, Infallible>>;
        let _ = store.get_or_load(b"k", MINUTE, &flight, loading).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_while_it_loads_is_succeeded_by_one() {
    let server = RedisServer::start();
    let stores = stores(&server, 3).await;
    let flight = SingleFlight::new().lease(LEASE);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--test-threads=1"])
        .env(CHILD, server.url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let is_locked = || server.command(&[b"EXISTS", b"test:l:{k}"]) == b":1\r\n";
    let start = Instant::now();
    while !is_locked() {
        assert!(start.elapsed() < Duration::from_secs(20), "the child takes no lock");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It lives: the lock outlasts its lease.
    let renewed = Instant::now() + 2 * LEASE;
    while Instant::now() < renewed {
        assert!(is_locked(), "a living holder lost its lock");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let died = Instant::now();

    let loads = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..30 {
        let (store, loads, flight) = (stores[n % 3].clone(), loads.clone(), flight.clone());
        tasks.spawn(async move {
            let load = || async {
                loads.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, Infallible>(Bytes::from("loaded"))
            };
            store.get_or_load(b"k", MINUTE, &flight, load).await.unwrap()
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|value| value == "loaded"));
    assert_eq!(loads.load(SeqCst), 1);
    println!(
        "| kill -9 of the process that loads, 30 others wait | one loads, all have it | – | {:.1?} | – |",
        died.elapsed()
    );
    assert!(died.elapsed() < LEASE + Duration::from_secs(2), "{:?}", died.elapsed());
}

const CHILD: &str = "EVENLY_SINGLE_FLIGHT_CHILD";
/// A third of it is enough for a renewal on the slowest machine.
const LEASE: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_renewed_while_its_holder_loads() {
    let server = RedisServer::start();
    let stores = stores(&server, 2).await;
    // The slowest machine renews within a second: a third of the lease.
    let flight = SingleFlight::new().lease(Duration::from_millis(600));
    let loads = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores {
        let (loads, flight) = (loads.clone(), flight.clone());
        tasks.spawn(async move {
            let load = || async {
                loads.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                Ok::<_, Infallible>(Bytes::from("loaded"))
            };
            store.get_or_load(b"k", MINUTE, &flight, load).await.unwrap()
        });
    }
    tasks.join_all().await;
    assert_eq!(loads.load(SeqCst), 1, "the lease ended in the middle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_another_has_taken_meanwhile_is_neither_renewed_nor_given_back() {
    let server = RedisServer::start();
    let store = stores(&server, 1).await.remove(0);
    let flight = SingleFlight::new().lease(Duration::from_millis(600));
    let load = || async {
        // As if this process had been frozen for longer than its lease.
        server.command(&[b"SET", b"test:l:{k}", b"another", b"PX", b"60000"]);
        // Long enough for a renewal, which would make the other's lease shorter.
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ok::<_, Infallible>(Bytes::from("loaded"))
    };
    assert_eq!(store.get_or_load(b"k", MINUTE, &flight, load).await.unwrap(), "loaded");
    assert_eq!(server.command(&[b"GET", b"test:l:{k}"]), b"$7\r\nanother\r\n");
    let left = server.command(&[b"PTTL", b"test:l:{k}"]);
    assert!(left.len() >= b":10000\r\n".len(), "{}", String::from_utf8_lossy(&left));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_load_is_its_callers_alone_and_the_next_one_tries() {
    let server = RedisServer::start();
    let stores = stores(&server, 2).await;
    let flight = SingleFlight::new();
    let failed =
        stores[0].get_or_load(b"k", MINUTE, &flight, || async { Err::<Bytes, _>("origin is down") }).await;
    assert_eq!(failed, Err("origin is down"));
    let start = Instant::now();
    let value =
        stores[1].get_or_load(b"k", MINUTE, &flight, || async { Ok::<_, &str>(Bytes::from("loaded")) }).await;
    assert_eq!(value, Ok(Bytes::from("loaded")));
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}: it waited for the lease", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_ends_and_an_outage_is_no_error() {
    let mut server = RedisServer::start();
    let stores = stores(&server, 1).await;
    server.command(&[b"SET", b"test:l:{k}", b"someone for ever"]);
    let flight = SingleFlight::new().patience(Duration::from_millis(50));
    let load = || async { Ok::<_, Infallible>(Bytes::from("mine")) };
    assert_eq!(stores[0].get_or_load(b"k", MINUTE, &flight, load).await, Ok(Bytes::from("mine")));
    assert_eq!(
        server.command(&[b"GET", b"test:l:{k}"]),
        b"$16\r\nsomeone for ever\r\n",
        "not ours to give back"
    );
    server.kill();
    assert_eq!(stores[0].get_or_load(b"other", MINUTE, &flight, load).await, Ok(Bytes::from("mine")));
    assert!(stores[0].get(b"none").await.is_err());
}
