//! Every store answers as a `HashMap` would.
#![cfg(feature = "redis")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use cache::{
    Policy,
    store::{Keep, Memory, Redis, RedisConfig, SingleFlight, Store, Tiered, TieredConfig},
};
use proptest::{
    prelude::ProptestConfig,
    test_runner::{TestCaseError, TestRunner},
};
use support::{
    redis_cluster::RedisCluster,
    redis_server::RedisServer,
    store_model::{agree, operations},
};

fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig::from_url(&server.url()).unwrap().response_timeout(Duration::from_secs(10))
}

fn memory() -> Memory {
    Memory::new(1 << 20, Policy::Lru).unwrap()
}

/// A few dozen lists of operations by default; `PROPTEST_CASES` for more.
fn agrees(store: &dyn Store) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 48;
    }
    TestRunner::new(config)
        .run(&operations(), |operations| {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                runtime.block_on(agree(store, &operations));
            }));
            let _ = runtime.block_on(store.clear());
            outcome.map_err(|panic| {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                TestCaseError::fail(text)
            })
        })
        .unwrap();
}

#[test]
fn memory_agrees() {
    agrees(&memory());
}

#[test]
fn redis_agrees() {
    let server = RedisServer::start();
    agrees(&Redis::new(config(&server)).unwrap());
}

/// What `docs/redis.md` says an account needs is what it needs, and nothing that would harm others is among it.
#[test]
fn an_account_with_the_documented_rights_agrees() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/redis.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rights) = page.split_once("ACL SETUSER cache on >password ").expect("the account in the page");
    let (rights, _) = rights.split_once("```").expect("the end of the block");
    let rights: Vec<&[u8]> =
        rights.split_whitespace().filter(|word| is_right(word)).map(str::as_bytes).collect();
    let server = RedisServer::start();
    let words = [&[&b"ACL"[..], b"SETUSER", b"cache", b"on", b">password"], &rights[..]].concat();
    assert_eq!(server.command(&words), b"+OK\r\n");

    let config = config(&server).user("cache").password("password").namespace("shop");
    for tiering in [TieredConfig::new(), TieredConfig::new().only_channel()] {
        let tiered = Tiered::with(memory(), config.clone(), &tiering).unwrap();
        agrees(&tiered);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let keep = Keep::for_ttl(Duration::from_secs(60));
        let load = || async { Ok::<_, std::convert::Infallible>(Bytes::from("loaded")) };
        for key in [&b"a"[..], b"b"] {
            let loaded = runtime.block_on(tiered.get_or_load(key, keep, &SingleFlight::new(), load));
            assert_eq!(loaded, Ok(Bytes::from("loaded")));
        }
        assert_eq!(runtime.block_on(tiered.clear()).unwrap(), 2);
        assert_eq!(tiered.stats().far.errors, 0, "something was refused");
    }
    let locks = server.command(&[b"EXISTS", b"shop:l:{a}", b"shop:l:{b}"]);
    assert_eq!(locks, b":0\r\n", "locks are given back");
}

fn is_right(word: &str) -> bool {
    word == "resetchannels" || word.starts_with(['+', '~', '&'])
}

#[test]
fn cluster_agrees() {
    let cluster = RedisCluster::start();
    let config = RedisConfig::from_url(&cluster.url()).unwrap().response_timeout(Duration::from_secs(10));
    agrees(&Redis::new(config.clone()).unwrap());
    agrees(&Tiered::new(memory(), config).unwrap());
}

#[test]
fn tiered_agrees() {
    let server = RedisServer::start();
    agrees(&Tiered::new(memory(), config(&server)).unwrap());
}

#[test]
fn tiered_agrees_when_changes_are_heard_by_channel() {
    let server = RedisServer::start();
    agrees(&Tiered::with(memory(), config(&server), &TieredConfig::new().only_channel()).unwrap());
}

#[test]
fn tiered_agrees_when_almost_nothing_fits_near() {
    let server = RedisServer::start();
    let near = Memory::new(300, Policy::Lru).unwrap();
    agrees(&Tiered::new(near, config(&server)).unwrap());
}
