//! Two tiers in two places: what one changes, the other sees in time.
#![cfg(feature = "redis")]

mod support;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache::{
    Policy,
    store::{Hearing, Keep, Memory, Redis, RedisConfig, Store, StoreError, Tiered, TieredConfig},
};
use support::redis_server::RedisServer;

const MINUTE: Keep<'static> = Keep::for_ttl(Duration::from_secs(60));

fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig::from_url(&server.url()).unwrap().namespace("test").response_timeout(Duration::from_secs(2))
}

fn near() -> Memory {
    Memory::new(1 << 20, Policy::Lru).unwrap()
}

/// Connected, because what is written before the first connection stands is not kept near.
async fn tiered(server: &RedisServer) -> Tiered {
    let store = Tiered::new(near(), config(server)).unwrap();
    store.far().ready().await.unwrap();
    store
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// How long until `condition` holds; ten seconds are a failure.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: not within 10 s");
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn near_hits_cost_no_round_trip() {
    let server = RedisServer::start();
    let store = tiered(&server).await;
    store.put(b"k", bytes("v"), MINUTE).await.unwrap();
    let commands = || {
        let reply = server.command(&[b"INFO", b"commandstats"]);
        let text = String::from_utf8(reply).unwrap();
        text.lines().find(|line| line.starts_with("cmdstat_getrange:")).map(ToOwned::to_owned)
    };
    for _ in 0..1_000 {
        assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("v")));
        assert_eq!(store.peek_near(b"k"), Some(bytes("v")));
    }
    assert_eq!(commands(), None, "a question reached the server");
    assert_eq!(store.stats().hearing, Hearing::Tracking);

    let other = tiered(&server).await;
    assert_eq!(other.peek_near(b"k"), None);
    assert_eq!(other.get(b"k").await.unwrap(), Some(bytes("v")));
    assert_eq!(other.peek_near(b"k"), Some(bytes("v")), "kept near once read");
    assert_eq!(other.get_many(&[b"k", b"none"]).await.unwrap(), [Some(bytes("v")), None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_one_reaches_the_other_by_tracking() {
    changes_reach_the_other(&TieredConfig::new(), Hearing::Tracking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_one_reaches_the_other_by_channel() {
    changes_reach_the_other(&TieredConfig::new().only_channel(), Hearing::Channel).await;
}

async fn changes_reach_the_other(tiering: &TieredConfig, hearing: Hearing) {
    let server = RedisServer::start();
    let a = Tiered::with(near(), config(&server), tiering).unwrap();
    let b = Tiered::with(near(), config(&server), tiering).unwrap();
    a.far().ready().await.unwrap();
    b.far().ready().await.unwrap();
    for key in [&b"put"[..], b"delete", b"touch", b"prefix/1", b"tagged", b"kept", b"odd}^"] {
        a.put(key, bytes("1"), MINUTE.tagged(&["t"][..usize::from(key == b"tagged")])).await.unwrap();
        assert_eq!(b.get(key).await.unwrap(), Some(bytes("1")));
    }
    assert_eq!((a.stats().hearing, b.stats().hearing), (hearing, hearing));

    // News of the first writes may still be on its way.
    until("kept near", async || b.get(b"kept").await.unwrap().is_some() && b.peek_near(b"kept").is_some())
        .await;
    a.put(b"put", bytes("2"), MINUTE).await.unwrap();
    until("put", async || b.get(b"put").await.unwrap() == Some(bytes("2"))).await;
    assert_eq!(a.peek_near(b"put"), Some(bytes("2")), "the writer keeps what it wrote");
    a.put(b"odd}^", bytes("2"), MINUTE).await.unwrap();
    until("an escaped key", async || b.get(b"odd}^").await.unwrap() == Some(bytes("2"))).await;
    a.delete(b"delete").await.unwrap();
    until("delete", async || b.get(b"delete").await.unwrap().is_none()).await;
    a.touch(b"touch", Duration::from_millis(1)).await.unwrap();
    until("touch", async || b.get(b"touch").await.unwrap().is_none()).await;
    assert_eq!(b.get(b"kept").await.unwrap(), Some(bytes("1")), "others' changes do not touch it");
    a.delete_by_prefix(b"prefix").await.unwrap();
    until("prefix", async || b.get(b"prefix/1").await.unwrap().is_none()).await;
    assert_eq!(a.get(b"prefix/1").await.unwrap(), None);
    a.delete_by_tag("t").await.unwrap();
    until("tag", async || b.get(b"tagged").await.unwrap().is_none()).await;
    assert_eq!(a.get(b"tagged").await.unwrap(), None);
    a.clear().await.unwrap();
    until("clear", async || b.get(b"kept").await.unwrap().is_none()).await;
    assert_eq!(a.get(b"kept").await.unwrap(), None);
}

#[tokio::test]
async fn changes_by_anyone_are_tracked() {
    let server = RedisServer::start();
    let store = tiered(&server).await;
    let plain = Redis::new(config(&server)).unwrap();
    store.put(b"k", bytes("1"), MINUTE).await.unwrap();
    plain.put(b"k", bytes("2"), MINUTE).await.unwrap();
    until("a plain store's write", async || store.get(b"k").await.unwrap() == Some(bytes("2"))).await;
    server.command(&[b"DEL", b"test:v:{k}"]);
    until("a foreign delete", async || store.get(b"k").await.unwrap().is_none()).await;
    store.put(b"k", bytes("3"), MINUTE).await.unwrap();
    server.command(&[b"FLUSHALL"]);
    until("a flush", async || store.get(b"k").await.unwrap().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_drops_the_near_tier() {
    let mut server = RedisServer::start();
    let store = tiered(&server).await;
    store.put(b"k", bytes("1"), MINUTE).await.unwrap();
    assert_eq!(store.peek_near(b"k"), Some(bytes("1")));
    server.kill();
    until("near is dropped", async || store.peek_near(b"k").is_none()).await;

    // Alone, the process goes on with what it has.
    until("the circuit opens", async || matches!(store.get(b"k").await, Err(StoreError::Unavailable { .. })))
        .await;
    store.put(b"alone", bytes("mine"), MINUTE).await.unwrap();
    assert_eq!(store.get(b"alone").await.unwrap(), Some(bytes("mine")));
    assert_eq!(store.get_many(&[b"alone", b"k"]).await.unwrap(), [Some(bytes("mine")), None]);
    assert!(store.delete(b"alone").await.unwrap_err().is_outage(), "what others hold cannot be deleted now");
    store.put(b"alone", bytes("mine"), MINUTE).await.unwrap();
    assert_eq!(store.stats().near_only_puts, 2);

    // Back again, all see the same.
    server.restart();
    until("near-only values go", async || matches!(store.get(b"alone").await, Ok(None))).await;
    store.put(b"k", bytes("2"), MINUTE).await.unwrap();
    assert_eq!(store.peek_near(b"k"), Some(bytes("2")));
    assert_eq!(store.stats().hearing, Hearing::Tracking);
}

#[tokio::test]
async fn where_nothing_may_be_heard_nothing_is_kept_near() {
    let server = RedisServer::start();
    server.command(&[
        b"ACL",
        b"SETUSER",
        b"deaf",
        b"on",
        b">pw",
        b"~*",
        b"+@all",
        b"-client|tracking",
        b"resetchannels",
    ]);
    server.command(&[
        b"ACL",
        b"SETUSER",
        b"half",
        b"on",
        b">pw",
        b"~*",
        b"&*",
        b"+@all",
        b"-client|tracking",
    ]);
    for (user, hearing, is_near) in [("deaf", Hearing::Nothing, false), ("half", Hearing::Channel, true)] {
        let store = Tiered::new(near(), config(&server).user(user).password("pw")).unwrap();
        store.far().ready().await.unwrap();
        store.put(b"k", bytes("v"), MINUTE).await.unwrap();
        assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("v")));
        assert_eq!(store.stats().hearing, hearing);
        assert_eq!(store.peek_near(b"k").is_some(), is_near, "{user}");
    }
}

#[tokio::test]
async fn nothing_stays_near_longer_than_its_limit_or_its_time() {
    let server = RedisServer::start();
    let brief = TieredConfig::new().near_ttl(Duration::from_millis(1));
    let store = Tiered::with(near(), config(&server), &brief).unwrap();
    store.put(b"k", bytes("v"), MINUTE).await.unwrap();
    until("the limit", async || store.peek_near(b"k").is_none()).await;
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("v")), "still far");

    let writer = tiered(&server).await;
    let reader = tiered(&server).await;
    writer.put(b"soon", bytes("v"), Keep::for_ttl(Duration::from_millis(150))).await.unwrap();
    let read = reader.get(b"soon").await.unwrap();
    assert!(read.is_some(), "150 ms are enough for one round trip");
    until("its time", async || reader.peek_near(b"soon").is_none() && writer.peek_near(b"soon").is_none())
        .await;
    assert!(Tiered::with(near(), config(&server), &TieredConfig::new().near_ttl(Duration::ZERO)).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_writers_and_readers_at_once_no_near_tier_differs_from_the_far_one() {
    let server = RedisServer::start();
    let stores = [tiered(&server).await, tiered(&server).await, tiered(&server).await];
    for round in 0..20_u32 {
        let mut tasks = tokio::task::JoinSet::new();
        for (number, store) in stores.iter().enumerate() {
            for task in 0..4 {
                let store = store.clone();
                tasks.spawn(async move {
                    for step in 0..10 {
                        let key = [b'k', (step % 3) as u8];
                        match (task + step) % 4 {
                            0 => store
                                .put(&key, format!("{round} {number} {task} {step}").into(), MINUTE)
                                .await
                                .unwrap(),
                            1 => drop(store.delete(&key).await.unwrap()),
                            _ => drop(store.get(&key).await.unwrap()),
                        }
                    }
                });
            }
        }
        tasks.join_all().await;
        // Once the last news is in, what is near is what is far.
        let plain = Redis::new(config(&server)).unwrap();
        for step in 0..3 {
            let key = [b'k', step];
            let truth = plain.get(&key).await.unwrap();
            for store in &stores {
                until("near and far agree", async || {
                    store.peek_near(&key).is_none_or(|near| Some(near) == truth)
                })
                .await;
            }
        }
    }
}

/// Writes that are given up in the middle leave nothing stale behind.
#[tokio::test]
async fn an_abandoned_write_leaves_no_stale_value_near() {
    let server = RedisServer::start();
    let store = tiered(&server).await;
    for round in 0..200_u32 {
        store.put(b"k", bytes("old"), MINUTE).await.unwrap();
        let new = Bytes::from(format!("new {round}"));
        let mut write = store.put(b"k", new.clone(), MINUTE);
        // Polled a few times and dropped: sent or not, answered or not.
        for _ in 0..round % 8 {
            if tokio::time::timeout(Duration::ZERO, &mut write).await.is_ok() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(write);
        let far = store.far().get(b"k").await.unwrap();
        if let Some(near) = store.peek_near(b"k") {
            assert_eq!(Some(near), far, "round {round}");
        }
    }
}

/// What `another_process_sees_changes` runs as a process of its own.
#[test]
fn child() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config =
            RedisConfig::from_url(&url).unwrap().namespace("test").response_timeout(Duration::from_secs(2));
        let store = Tiered::new(near(), config).unwrap();
        store.far().ready().await.unwrap();
        // Near, so that only news can bring the change.
        assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("1")));
        assert_eq!(store.peek_near(b"k"), Some(bytes("1")));
        store.put(b"child is ready", bytes("yes"), MINUTE).await.unwrap();
        until("the parent's change", async || store.get(b"k").await.unwrap() == Some(bytes("2"))).await;
        assert_eq!(store.stats().invalidations, 1);
        store.put(b"k", bytes("3"), MINUTE).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_sees_changes_and_ours_sees_its() {
    let server = RedisServer::start();
    let store = tiered(&server).await;
    store.put(b"k", bytes("1"), MINUTE).await.unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--test-threads=1"])
        .env(CHILD, server.url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the child reads", async || store.get(b"child is ready").await.unwrap().is_some()).await;
    store.put(b"k", bytes("2"), MINUTE).await.unwrap();
    until("the child's change", async || store.get(b"k").await.unwrap() == Some(bytes("3"))).await;
    assert!(child.wait().unwrap().success());
}

const CHILD: &str = "EVENLY_TIERED_CHILD";
