//! Every store answers as a `HashMap` would.
#![cfg(feature = "redis")]

mod support;

use std::time::Duration;

use cache::{
    Policy,
    store::{Memory, Redis, RedisConfig, Store, Tiered, TieredConfig},
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
