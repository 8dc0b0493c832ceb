//! Two tiers in two places: what one changes, the other sees in time.
#![cfg(feature = "redis")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table is printed, and a child talks to its parent"
)]

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cache::{
    Policy,
    store::{Hearing, Keep, Memory, Redis, RedisConfig, Store, StoreError, Tiered, TieredConfig},
};
use support::{redis_server::RedisServer, silent_proxy::SilentProxy};

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
    let server = RedisServer::start();
    changes_reach_the_other(config(&server), &TieredConfig::new(), Hearing::Tracking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_one_reaches_the_other_by_channel_if_that_is_wanted() {
    let server = RedisServer::start();
    changes_reach_the_other(config(&server), &TieredConfig::new().only_channel(), Hearing::Channel).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_one_reaches_the_other_by_channel_where_the_server_refuses_to_track() {
    let server = RedisServer::start();
    set_user(&server, "untracked", &[b"&*", b"+@all", b"-client|tracking"]);
    let config = config(&server).user("untracked").password("pw");
    changes_reach_the_other(config, &TieredConfig::new(), Hearing::Channel).await;
}

/// A user who may touch every key, and otherwise what `rules` say.
fn set_user(server: &RedisServer, name: &str, rules: &[&[u8]]) {
    let mut words: Vec<&[u8]> = vec![b"ACL", b"SETUSER", name.as_bytes(), b"on", b">pw", b"~*"];
    words.extend(rules);
    assert_eq!(server.command(&words), b"+OK\r\n");
}

async fn changes_reach_the_other(config: RedisConfig, tiering: &TieredConfig, hearing: Hearing) {
    let a = Tiered::with(near(), config.clone(), tiering).unwrap();
    let b = Tiered::with(near(), config, tiering).unwrap();
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
    set_user(&server, "deaf", &[b"+@all", b"-client|tracking", b"resetchannels"]);
    set_user(&server, "half", &[b"&*", b"+@all", b"-client|tracking"]);
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

/// What the tests below run as a process of its own: `CHILD` says what it does, and where the server is.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (task, url) = task.split_once(' ').expect("a task and a URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = RedisConfig::from_url(url).unwrap().namespace("test").connect_timeout(PATIENT);
        match task {
            "follow" => follow(config.response_timeout(PATIENT)).await,
            "silence" => {
                let config = config.response_timeout(SILENCE_LIMIT).ping_every(SILENCE_PING);
                hold_until_gone(Tiered::new(near(), config).unwrap()).await;
            }
            "near_ttl" => {
                let config = config.response_timeout(PATIENT).ping_every(Duration::from_secs(3_600));
                let brief = TieredConfig::new().near_ttl(BRIEF);
                hold_until_gone(Tiered::with(near(), config, &brief).unwrap()).await;
            }
            other => panic!("no task {other:?}"),
        }
    });
}

async fn follow(config: RedisConfig) {
    let store = Tiered::new(near(), config).unwrap();
    store.far().ready().await.unwrap();
    // Near, so that only news can bring the change.
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("1")));
    assert_eq!(store.peek_near(b"k"), Some(bytes("1")));
    store.put(b"child is ready", bytes("yes"), MINUTE).await.unwrap();
    until("the parent's change", async || store.get(b"k").await.unwrap() == Some(bytes("2"))).await;
    assert_eq!(store.stats().invalidations, 1);
    store.put(b"k", bytes("3"), MINUTE).await.unwrap();
}

/// Has `k` near and says so; says when it has it no longer. It is never asked for, so nothing but time takes it.
async fn hold_until_gone(store: Tiered) {
    until("a connection", async || store.far().ready().await.is_ok()).await;
    until("near", async || matches!(store.get(b"k").await, Ok(Some(_))) && store.peek_near(b"k").is_some())
        .await;
    eprintln!("near");
    until("gone", async || store.peek_near(b"k").is_none()).await;
    eprintln!("gone");
}

fn start_child(task: &str, url: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--test-threads=1", "--nocapture"])
        .env(CHILD, format!("{task} {url}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_sees_changes_and_ours_sees_its() {
    let server = RedisServer::start();
    let store = tiered(&server).await;
    store.put(b"k", bytes("1"), MINUTE).await.unwrap();
    let mut child = start_child("follow", &server.url());
    until("the child reads", async || store.get(b"child is ready").await.unwrap().is_some()).await;
    store.put(b"k", bytes("2"), MINUTE).await.unwrap();
    let took = until("the child's change", async || store.get(b"k").await.unwrap() == Some(bytes("3"))).await;
    println!("| another process writes | its value, there and back | – | {took:.1?} | – |");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_process_whose_connection_fell_silent_is_behind_no_longer_than_stated() {
    stale_at_most("silence", SILENCE_PING + 5 * SILENCE_LIMIT);
}

#[test]
fn a_process_that_notices_nothing_is_behind_no_longer_than_its_near_ttl() {
    stale_at_most("near_ttl", BRIEF);
}

/// A child holds a value near; its wire to the server is cut without a word, the value is changed. It must stop to
/// serve the old one within `bound`.
fn stale_at_most(task: &str, bound: Duration) {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let writer = Redis::new(config(&server)).unwrap();
    let put = |value| runtime.block_on(writer.put(b"k", bytes(value), MINUTE)).unwrap();
    put("1");
    let wire = SilentProxy::start(server.address());
    let mut child = start_child(task, &wire.url());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = String::new();
    let mut until_said = |word: &str| {
        let found = lines.by_ref().inspect(|line| said += line).find(|line| line == word);
        assert!(found.is_some(), "the child ended without {word:?}: {said}");
    };
    until_said("near");
    wire.fall_silent();
    put("2");
    let changed = Instant::now();
    until_said("gone");
    let took = changed.elapsed();
    println!(
        "| {task}: changed behind a cut wire, at most {bound:?} | the old value near | – | {took:.1?} | – |"
    );
    assert!(took < bound + BUSY_MACHINE, "{took:?} (stated: {bound:?})");
    assert!(child.wait().unwrap().success());
}

const CHILD: &str = "EVENLY_TIERED_CHILD";
const PATIENT: Duration = Duration::from_secs(2);
/// What the child that falls silent is told; the defaults would make the test slow.
const SILENCE_PING: Duration = Duration::from_millis(200);
const SILENCE_LIMIT: Duration = Duration::from_millis(100);
const BRIEF: Duration = Duration::from_millis(500);
/// What a machine with other work to do adds.
const BUSY_MACHINE: Duration = Duration::from_secs(2);
