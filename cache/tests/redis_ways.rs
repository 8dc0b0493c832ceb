//! The ways to a server: unix socket, TLS, logins, Sentinels, Cluster.
#![cfg(feature = "redis")]
#![allow(clippy::print_stdout, reason = "a table is printed")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use cache::{
    Policy,
    store::{Circuit, Keep, Memory, Redis, RedisConfig, Store, StoreError, Tiered},
};
use support::{
    redis_cluster::RedisCluster,
    redis_sentinel::{SentinelOptions, SentinelSetup},
    redis_server::{RedisServer, free_port},
    tls::Certificates,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MINUTE: Keep<'static> = Keep::for_ttl(Duration::from_secs(60));

fn open(url: &str) -> Redis {
    Redis::new(patient(url)).unwrap()
}

fn patient(url: &str) -> RedisConfig {
    let config = RedisConfig::from_url(url).unwrap().namespace("test");
    config.response_timeout(Duration::from_secs(5)).connect_timeout(Duration::from_secs(5))
}

async fn works(store: &dyn Store) {
    store.put(b"k", Bytes::from("v"), MINUTE).await.unwrap();
    assert_eq!(store.get(b"k").await.unwrap(), Some(Bytes::from("v")));
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let _server = RedisServer::start_with(&["--unixsocket", socket.to_str().unwrap()]);
    let store = open(&format!("unix://{}", socket.display()));
    works(&store).await;
    let tiered = Tiered::new(near(), patient(socket.to_str().unwrap())).unwrap();
    works(&tiered).await;
}

#[tokio::test]
async fn a_numbered_database() {
    let server = RedisServer::start();
    works(&open(&format!("{}/3", server.url()))).await;
    assert_eq!(server.command(&[b"DBSIZE"]), b":0\r\n");
    let error = open(&format!("{}/999", server.url())).ready().await.unwrap_err();
    assert!(error.to_string().contains("999") || error.to_string().contains("DB"), "{error}");
}

#[tokio::test]
async fn passwords_and_users() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret"]);
    let at = |login: &str| format!("redis://{login}{}", server.address());
    works(&open(&at(":s3cret@"))).await;
    works(&Tiered::new(near(), patient(&at(":s3cret@"))).unwrap()).await;
    works(&open(&at("default:s3cret@"))).await;
    for (login, says) in [
        (":wrong@", "USER \"DEFAULT\" IS REFUSED"),
        ("nobody:s3cret@", "USER \"NOBODY\" IS REFUSED"),
        ("", "NOAUTH"),
    ] {
        let store = open(&at(login));
        let error = store.ready().await.unwrap_err();
        assert!(error.to_string().to_uppercase().contains(says), "{login}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(matches!(store.get(b"k").await, Err(StoreError::Unavailable { .. })));
        assert_ne!(store.stats().circuit, Circuit::Closed);
    }
}

#[tokio::test]
async fn tls_with_an_authority_of_our_own() {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::new(folder.path());
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let port = free_port();
    let start = |clients: &str| {
        let options = files.server_options(port, clients);
        RedisServer::start_with(&options.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let ca = path(&files.authority);
    let client = format!("cert={}&key={}", path(&files.client), path(&files.client_key));
    {
        let _server = start("no");
        works(&open(&format!("rediss://localhost:{port}?ca={ca}"))).await;
        works(&open(&format!("rediss://127.0.0.1:{port}?ca={ca}&server_name=localhost"))).await;
        works(&Tiered::new(near(), patient(&format!("rediss://localhost:{port}?ca={ca}"))).unwrap()).await;
        for (url, says) in [
            (format!("rediss://127.0.0.1:{port}?ca={ca}"), "not valid for name"),
            (format!("rediss://localhost:{port}?ca={}", path(&files.server)), "TLS"),
        ] {
            let error = open(&url).ready().await.unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }
    let _server = start("yes");
    works(&open(&format!("rediss://localhost:{port}?ca={ca}&{client}"))).await;
    assert!(
        open(&format!("rediss://localhost:{port}?ca={ca}")).ready().await.is_err(),
        "no certificate of ours"
    );
    let missing = RedisConfig::from_url("rediss://localhost?ca=/nowhere.pem").unwrap();
    let error = Redis::new(missing).unwrap_err();
    assert!(error.to_string().contains("/nowhere.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_failover_costs_misses_and_no_waiting() {
    let mut setup = SentinelSetup::start();
    // As users run it: no patience.
    let config = RedisConfig::from_url(&setup.url()).unwrap().namespace("test");
    let config = config
        .connect_timeout(Duration::from_secs(2))
        .probe_every(Duration::from_millis(50), Duration::from_millis(200));
    let store = Redis::new(config.clone()).unwrap();
    let tiered = Tiered::new(near(), config).unwrap();
    store.ready().await.unwrap();
    tiered.far().ready().await.unwrap();
    works(&store).await;
    assert_eq!(tiered.get(b"k").await.unwrap(), Some(Bytes::from("v")));

    setup.master.kill();
    let mut slowest = Duration::ZERO;
    let took = until("the new master takes writes", async || {
        let start = Instant::now();
        let was_kept = store.put(b"k", Bytes::from("new"), MINUTE).await.is_ok();
        slowest = slowest.max(start.elapsed());
        was_kept
    })
    .await;
    println!("| Sentinel failover | misses and refusals | – | {slowest:.1?} | {took:.1?} |");
    assert!(slowest < Duration::from_secs(1), "{slowest:?} for a limit of 100 ms");
    until("the near tier sees it", async || matches!(tiered.get(b"k").await, Ok(Some(v)) if v == "new"))
        .await;

    // The old master comes back as one more; the Sentinels make it a replica.
    setup.master.restart();
    works(&store).await;
    let unknown = setup.url().replace("/main", "/other");
    let error = open(&unknown).ready().await.unwrap_err();
    assert!(error.to_string().contains("no master \"other\""), "{error}");
}

/// Kills the master and waits until `store` can write to its successor.
async fn survives_a_failover(setup: &mut SentinelSetup, store: &Redis) {
    setup.master.kill();
    until("the new master takes writes", async || store.put(b"k", Bytes::from("new"), MINUTE).await.is_ok())
        .await;
    assert_eq!(store.get(b"k").await.unwrap(), Some(Bytes::from("new")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_their_masters_may_have_passwords_of_their_own() {
    let mut setup = SentinelSetup::start_with(&SentinelOptions {
        password: Some("masters"),
        sentinel_password: Some("sentinels"),
        // No more than what is needed to ask for the master.
        sentinel_lines: &["user asker on >asks +auth +sentinel|get-master-addr-by-name"],
        tls: None,
    });
    let at =
        |login: &str, options: &str| format!("redis+sentinel://{login}{}/main{options}", setup.addresses());
    let store = open(&at(":masters@", "?sentinel_password=sentinels"));
    works(&store).await;
    works(&open(&at("default:masters@", "?sentinel_user=asker&sentinel_password=asks"))).await;
    let built = patient(&at("", "")).password("masters").sentinel_login(None, "sentinels");
    works(&Tiered::new(near(), built).unwrap()).await;
    for (login, options, says) in [
        (":masters@", "", "sentinel 127.0.0.1"),
        (":masters@", "", "NOAUTH"),
        (":masters@", "?sentinel_password=wrong", "WRONGPASS"),
        (":wrong@", "?sentinel_password=sentinels", "WRONGPASS"),
        ("", "?sentinel_password=sentinels", "NOAUTH"),
    ] {
        let error = open(&at(login, options)).ready().await.unwrap_err().to_string();
        assert!(error.contains(says), "{login} {options}: {error}");
        assert!(!error.contains("masters@") && !error.contains("sentinel_password"), "{error}");
    }
    survives_a_failover(&mut setup, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::new(folder.path());
    let mut setup = SentinelSetup::start_with(&SentinelOptions {
        password: Some("masters"),
        sentinel_password: Some("sentinels"),
        tls: Some(&files),
        ..SentinelOptions::default()
    });
    let at = |files: &Certificates| {
        let logins = "sentinel_password=sentinels&password=masters";
        format!("rediss+sentinel://{}/main?{logins}&{}", setup.addresses(), files.url_options())
    };
    let store = open(&at(&files));
    works(&store).await;
    works(&Tiered::new(near(), patient(&at(&files))).unwrap()).await;
    let other_folder = tempfile::tempdir().unwrap();
    let error = open(&at(&Certificates::new(other_folder.path()))).ready().await.unwrap_err();
    assert!(error.to_string().contains("TLS"), "{error}");
    survives_a_failover(&mut setup, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::new(folder.path());
    let cluster = RedisCluster::start_over_tls(&files);
    let url = cluster.url_over_tls(&files);
    let store = open(&url);
    for n in 0..60 {
        store.put(format!("{n}").as_bytes(), format!("value {n}").into(), MINUTE).await.unwrap();
    }
    for master in &cluster.masters {
        assert_ne!(master.command(&[b"DBSIZE"]), b":0\r\n", "a node without keys");
    }
    let tiered = Tiered::new(near(), patient(&url)).unwrap();
    for n in 0..60 {
        let value = Some(Bytes::from(format!("value {n}")));
        assert_eq!(tiered.get(format!("{n}").as_bytes()).await.unwrap(), value);
    }
    move_slot(&cluster, cluster.master_of(b"test:v:{7}"), b"test:v:{7}", async || {
        assert_eq!(store.get(b"7").await.unwrap(), Some(Bytes::from("value 7")));
    })
    .await;
    assert_eq!(store.get(b"7").await.unwrap(), Some(Bytes::from("value 7")));
    assert_eq!(store.clear().await.unwrap(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_a_password() {
    let cluster = RedisCluster::start();
    for master in &cluster.masters {
        master.command(&[b"CONFIG", b"SET", b"requirepass", b"s3cret"]);
    }
    let at = |login: &str| cluster.url().replace("://", &format!("://{login}"));
    let store = open(&at(":s3cret@"));
    for n in 0..30 {
        store.put(format!("{n}").as_bytes(), Bytes::from("v"), MINUTE).await.unwrap();
    }
    assert_eq!(store.clear().await.unwrap(), 30);
    for (login, says) in [(":wrong@", "WRONGPASS"), ("", "NOAUTH")] {
        let error = open(&at(login)).ready().await.unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("s3cret"), "{login}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_sentinel_costs_nothing() {
    let setup = SentinelSetup::start();
    setup.sentinels[0].freeze();
    let start = Instant::now();
    let store = open(&setup.url());
    works(&store).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    setup.sentinels[0].thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_spreads_keys_and_serves_them_all() {
    let cluster = RedisCluster::start();
    let store = open(&cluster.url());
    let keys: Vec<String> = (0..300).map(|n| format!("key {n}")).collect();
    for key in &keys {
        store.put(key.as_bytes(), key.clone().into(), MINUTE.tagged(&["all"])).await.unwrap();
    }
    for master in &cluster.masters {
        let size = String::from_utf8(master.command(&[b"DBSIZE"])).unwrap();
        let size: usize = size[1..].trim().parse().unwrap();
        assert!((60..=140).contains(&size), "{size} of 300 keys (and a tag) on one of three masters");
    }
    let wanted: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    let values = store.get_many(&wanted).await.unwrap();
    assert!(keys.iter().zip(values).all(|(key, value)| value.as_deref() == Some(key.as_bytes())));
    assert_eq!(store.delete_by_prefix(b"key 1").await.unwrap(), 111);
    assert_eq!(store.delete_by_tag("all").await.unwrap(), 189);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_slot_is_followed_at_once() {
    let cluster = RedisCluster::start();
    let store = open(&cluster.url());
    let tiered = Tiered::new(near(), patient(&cluster.url())).unwrap();
    tiered.far().ready().await.unwrap();
    store.put(b"k", Bytes::from("v"), MINUTE).await.unwrap();
    until("near", async || tiered.get(b"k").await.unwrap().is_some() && tiered.peek_near(b"k").is_some())
        .await;
    let mut slowest = Duration::ZERO;
    move_slot(&cluster, cluster.master_of(b"test:v:{k}"), b"test:v:{k}", async || {
        // In the middle: the key is here or there, and asked for with ASK.
        let start = Instant::now();
        assert_eq!(store.get(b"k").await.unwrap(), Some(Bytes::from("v")));
        slowest = start.elapsed();
        store.put(b"k", Bytes::from("w"), MINUTE).await.unwrap();
    })
    .await;
    let start = Instant::now();
    assert_eq!(store.get(b"k").await.unwrap(), Some(Bytes::from("w")));
    slowest = slowest.max(start.elapsed());
    println!(
        "| a slot of a Cluster moves | every answer right, ASK and MOVED followed | – | {slowest:.1?} | – |"
    );
    assert_eq!(store.get_many(&[b"k", b"none"]).await.unwrap(), [Some(Bytes::from("w")), None]);
    until("the near tier sees it", async || tiered.get(b"k").await.unwrap() == Some(Bytes::from("w"))).await;
    store.put(b"k", Bytes::from("x"), MINUTE).await.unwrap();
    until("and from the new node too", async || tiered.get(b"k").await.unwrap() == Some(Bytes::from("x")))
        .await;
    assert_eq!(store.stats().misses, 1, "\"none\" alone");
}

/// Moves the slot of `name` on to the next master as resharding tools do, with `meanwhile` while both nodes have a
/// part in it.
async fn move_slot(cluster: &RedisCluster, from: usize, name: &[u8], meanwhile: impl AsyncFnOnce()) {
    let text = |server: &RedisServer, words: &[&[u8]]| String::from_utf8(server.command(words)).unwrap();
    let (source, target) = (&cluster.masters[from], &cluster.masters[(from + 1) % cluster.masters.len()]);
    let id = |server: &RedisServer| text(server, &[b"CLUSTER", b"MYID"]).lines().nth(1).unwrap().to_owned();
    let (source_id, target_id) = (id(source), id(target));
    let slot = text(source, &[b"CLUSTER", b"KEYSLOT", name])[1..].trim().to_owned();
    let set_slot = |server: &RedisServer, how: &[u8], id: &str| {
        let reply = text(server, &[b"CLUSTER", b"SETSLOT", slot.as_bytes(), how, id.as_bytes()]);
        assert_eq!(reply, "+OK\r\n");
    };
    set_slot(target, b"IMPORTING", &source_id);
    set_slot(source, b"MIGRATING", &target_id);
    let port = target.main_port().to_string();
    let moved = text(source, &[b"MIGRATE", b"127.0.0.1", port.as_bytes(), name, b"0", b"5000"]);
    assert_eq!(moved, "+OK\r\n");
    meanwhile().await;
    set_slot(target, b"NODE", &target_id);
    set_slot(source, b"NODE", &target_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_costs_its_own_keys_until_its_replica_takes_over() {
    let mut cluster = RedisCluster::start_with_replicas(&[]);
    let config = RedisConfig::from_url(&cluster.url_of_all()).unwrap().namespace("test");
    // Half a second, so that a busy machine is not taken for a lost server.
    let config = config.connect_timeout(Duration::from_secs(2)).response_timeout(Duration::from_millis(500));
    let store = Redis::new(config).unwrap();
    until("the cluster is known", async || store.ready().await.is_ok()).await;
    let names: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let dead = cluster.master_of(b"test:v:{0}");
    let (lost, kept): (Vec<_>, Vec<_>) =
        names.iter().partition(|name| cluster.master_of(format!("test:v:{{{name}}}").as_bytes()) == dead);
    cluster.masters[dead].kill();
    let mut slowest = Duration::ZERO;
    let mut failures = 0;
    let took = until("the replica takes over", async || {
        for name in &kept {
            let start = Instant::now();
            store
                .put(name.as_bytes(), Bytes::from("v"), MINUTE)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            slowest = slowest.max(start.elapsed());
        }
        let start = Instant::now();
        let outcome = store.put(lost[0].as_bytes(), Bytes::from("v"), MINUTE).await;
        slowest = slowest.max(start.elapsed());
        failures += u32::from(outcome.is_err());
        outcome.is_ok()
    })
    .await;
    println!(
        "| master of a Cluster lost | {failures} failures for its keys, none for others | – | {slowest:.1?} | {took:.1?} |"
    );
    assert!(slowest < Duration::from_secs(2), "{slowest:?} for a limit of 500 ms");
    for name in &names {
        store.put(name.as_bytes(), Bytes::from("w"), MINUTE).await.unwrap();
        assert_eq!(store.get(name.as_bytes()).await.unwrap(), Some(Bytes::from("w")));
    }
}

#[tokio::test]
async fn a_sentinel_that_is_none_says_so() {
    let server = RedisServer::start();
    let error = open(&format!("redis+sentinel://{}/main", server.address())).ready().await.unwrap_err();
    assert!(
        error.to_string().ends_with(&format!("sentinel {}: is no Sentinel", server.address())),
        "{error}"
    );
}

/// A Sentinel that has not heard of a change yet: it names `port`, whatever that is.
async fn late_sentinel(port: u16) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let port = port.to_string();
            // The names of a connection, then the question.
            let answers =
                ["+OK\r\n+OK\r\n", &format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())];
            for answer in answers {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    format!("redis+sentinel://{address}/main")
}

#[tokio::test]
async fn a_replica_that_sentinels_take_for_a_master_is_not_used() {
    let master = RedisServer::start();
    open(&late_sentinel(master.main_port()).await).ready().await.unwrap();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.main_port().to_string()]);
    let error = open(&late_sentinel(replica.main_port()).await).ready().await.unwrap_err();
    assert!(error.to_string().contains("name a server that is a replica"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_is_none_says_so() {
    let server = RedisServer::start();
    let store = open(&format!("redis+cluster://{}", server.address()));
    let error = store.ready().await.unwrap_err();
    assert!(error.to_string().contains("cluster support disabled"), "{error}");
    let start = Instant::now();
    assert!(matches!(store.get(b"k").await, Err(StoreError::Unavailable { .. })));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}: it is known already", start.elapsed());
}

fn near() -> Memory {
    Memory::new(1 << 20, Policy::Lru).unwrap()
}
