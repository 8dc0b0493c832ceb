//! Of many that miss, one loads: across stores, and when the one that loads dies.
#![cfg(feature = "redis")]

mod support;

use std::{
    convert::Infallible,
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_dies_is_succeeded_by_one() {
    let server = RedisServer::start();
    let stores = stores(&server, 3).await;
    let flight = SingleFlight::new().lease(Duration::from_millis(200));
    // Dies while loading: its lock stays behind.
    let dying = tokio::time::timeout(Duration::from_millis(50), {
        stores[0].get_or_load(b"k", MINUTE, &flight, std::future::pending::<Result<Bytes, Infallible>>)
    });
    assert!(dying.await.is_err());
    assert_eq!(server.command(&[b"EXISTS", b"test:l:{k}"]), b":1\r\n");

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
}

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
