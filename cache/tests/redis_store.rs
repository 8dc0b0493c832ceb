//! What a user of `Redis` sees against a real server.
#![cfg(feature = "redis")]
#![allow(clippy::print_stdout, reason = "a table is printed")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use cache::store::{Keep, Oddity, Redis, RedisConfig, Store, StoreError};
use support::redis_server::RedisServer;

const MINUTE: Keep<'static> = Keep::for_ttl(Duration::from_secs(60));

fn store(server: &RedisServer) -> Redis {
    // Wide limits: these tests are about answers, `redis_faults` is about time.
    let config = RedisConfig::from_url(&server.url()).unwrap().namespace("test");
    Redis::new(config.response_timeout(Duration::from_secs(5))).unwrap()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn count(store: &Redis, oddity: Oddity) -> u64 {
    store.stats().odd.iter().find(|(kind, _)| *kind == oddity).unwrap().1
}

#[tokio::test]
async fn what_is_put_is_got_until_it_is_deleted() {
    let server = RedisServer::start();
    let store = store(&server);
    assert_eq!(store.get(b"k").await.unwrap(), None);
    store.put(b"k", bytes("v"), MINUTE).await.unwrap();
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("v")));
    store.put(b"k", bytes("w"), MINUTE).await.unwrap();
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("w")));
    assert!(store.delete(b"k").await.unwrap());
    assert!(!store.delete(b"k").await.unwrap());
    assert_eq!(store.get(b"k").await.unwrap(), None);
    let stats = store.stats();
    assert_eq!((stats.hits, stats.misses, stats.connects), (2, 2, 1));
}

#[tokio::test]
async fn any_bytes_are_keys_and_values() {
    let server = RedisServer::start();
    let store = store(&server);
    let every_byte: Vec<u8> = (0..=255).collect();
    let keys: [&[u8]; 6] = [b"", b"\0", b"a}b{c^", b"\r\n$3\r\n", &every_byte, "ключ".as_bytes()];
    for key in keys {
        let value = Bytes::from([key, &every_byte].concat());
        store.put(key, value.clone(), MINUTE).await.unwrap();
        assert_eq!(store.get(key).await.unwrap(), Some(value), "{key:?}");
    }
    store.put(b"empty", Bytes::new(), MINUTE).await.unwrap();
    assert_eq!(store.get(b"empty").await.unwrap(), Some(Bytes::new()));
    assert_eq!(store.clear().await.unwrap(), 7);
}

#[tokio::test]
async fn entries_end_with_their_time_to_live_and_touch_moves_it() {
    let server = RedisServer::start();
    let store = store(&server);
    let pttl = || server.command(&[b"PTTL", b"test:v:{k}"]);
    store.put(b"k", bytes("v"), Keep::for_ttl(Duration::from_millis(30))).await.unwrap();
    while server.command(&[b"EXISTS", b"test:v:{k}"]) == b":1\r\n" {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.get(b"k").await.unwrap(), None);
    assert!(!store.touch(b"k", Duration::from_secs(9)).await.unwrap());

    store.put(b"k", bytes("v"), Keep::for_ttl(Duration::from_secs(2))).await.unwrap();
    assert!(store.touch(b"k", Duration::from_secs(3_600)).await.unwrap());
    assert!(pttl() > b":3590000\r\n".to_vec(), "{:?}", String::from_utf8(pttl()));
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("v")));

    // The entry's own expiry moved with it: it decides when the server's was lost.
    server.command(&[b"PERSIST", b"test:v:{k}"]);
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("v")));
    assert!(store.touch(b"k", Duration::from_millis(1)).await.unwrap());
    server.command(&[b"PERSIST", b"test:v:{k}"]);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(store.get(b"k").await.unwrap(), None);
}

#[tokio::test]
async fn an_entry_whose_time_is_over_is_a_miss_though_the_server_has_lost_its_time_to_live() {
    let server = RedisServer::start();
    let store = store(&server);
    store.put(b"k", bytes("v"), MINUTE).await.unwrap();
    assert_eq!(server.command(&[b"PERSIST", b"test:v:{k}"]), b":1\r\n");
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("v")));
    // Its expiry lies at byte 16 of the entry: now in 1970.
    server.command(&[b"SETRANGE", b"test:v:{k}", b"16", &1_u64.to_le_bytes()]);
    assert_eq!(store.get(b"k").await.unwrap(), None);
    assert!(store.stats().odd.iter().all(|(_, count)| *count == 0), "nothing odd about it");
}

#[tokio::test]
async fn of_many_who_put_if_absent_one_succeeds() {
    let server = RedisServer::start();
    let store = store(&server);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..50_u8 {
        let store = store.clone();
        tasks.spawn(async move { store.put_if_absent(b"k", vec![number].into(), MINUTE).await.unwrap() });
    }
    let wins = tasks.join_all().await.into_iter().filter(|was_kept| *was_kept).count();
    assert_eq!(wins, 1);
}

#[tokio::test]
async fn get_many_keeps_the_order_over_any_number() {
    let server = RedisServer::start();
    let store = store(&server);
    let keys: Vec<String> = (0..1_200).map(|n| n.to_string()).collect();
    for key in keys.iter().step_by(3) {
        store.put(key.as_bytes(), key.clone().into(), MINUTE).await.unwrap();
    }
    let wanted: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    let values = store.get_many(&wanted).await.unwrap();
    for (n, (key, value)) in keys.iter().zip(&values).enumerate() {
        assert_eq!(value.as_deref(), (n % 3 == 0).then_some(key.as_bytes()), "{key}");
    }
    assert_eq!(store.get_many(&[]).await.unwrap(), Vec::<Option<Bytes>>::new());
}

#[tokio::test]
async fn a_prefix_takes_its_own_keys_and_no_others() {
    let server = RedisServer::start();
    let store = store(&server);
    let other = store.in_namespace("test2").unwrap();
    for n in 0..1_500 {
        store.put(format!("/a*[x]/{n}").as_bytes(), bytes("v"), MINUTE).await.unwrap();
    }
    for key in [&b"/a/1"[..], b"/aa[x]/1", b"/a*x/1", b"other"] {
        store.put(key, bytes("v"), MINUTE).await.unwrap();
    }
    other.put(b"/a*[x]/1", bytes("v"), MINUTE).await.unwrap();
    server.command(&[b"SET", b"foreign", b"v"]);

    assert_eq!(store.delete_by_prefix(b"/a*[x]/").await.unwrap(), 1_500);
    assert_eq!(store.delete_by_prefix(b"/a*[x]/").await.unwrap(), 0);
    assert_eq!(store.delete_by_prefix(b"").await.unwrap(), 4);
    assert!(other.get(b"/a*[x]/1").await.unwrap().is_some());
    assert_eq!(other.clear().await.unwrap(), 1);
    assert_eq!(server.command(&[b"DBSIZE"]), b":1\r\n");
}

#[tokio::test]
async fn a_tag_takes_what_was_put_with_it() {
    let server = RedisServer::start();
    let store = store(&server);
    for n in 0..1_100 {
        let tags: &[&str] = if n % 2 == 0 { &["even", "all"] } else { &["all"] };
        store.put(format!("{n}").as_bytes(), bytes("v"), MINUTE.tagged(tags)).await.unwrap();
    }
    store.put(b"untagged", bytes("v"), MINUTE).await.unwrap();
    assert!(store.put_if_absent(b"absent", bytes("v"), MINUTE.tagged(&["even"])).await.unwrap());

    assert_eq!(store.delete_by_tag("even").await.unwrap(), 551);
    assert_eq!(store.delete_by_tag("even").await.unwrap(), 0);
    assert_eq!(store.get(b"1").await.unwrap(), Some(bytes("v")));
    assert_eq!(
        store.delete_by_tag("all").await.unwrap(),
        550,
        "the odd ones; the even ones are gone already"
    );
    assert_eq!(store.get(b"untagged").await.unwrap(), Some(bytes("v")));
    assert!(matches!(store.delete_by_tag("").await, Err(StoreError::BadTags { .. })));
}

#[tokio::test]
async fn a_tag_forgets_expired_keys_and_ends_with_the_last_of_them() {
    let server = RedisServer::start();
    let store = store(&server);
    let pttl_ms = || {
        let reply = String::from_utf8(server.command(&[b"PTTL", b"test:t:{t}"])).unwrap();
        reply[1..].trim().parse::<i64>().unwrap()
    };
    let tagged = |secs| Keep::for_ttl(Duration::from_millis(secs)).tagged(&["t"]);
    store.put(b"long", bytes("v"), tagged(500_000)).await.unwrap();
    store.put(b"short", bytes("v"), tagged(1)).await.unwrap();
    assert!((400_000..=500_000).contains(&pttl_ms()), "{}", pttl_ms());
    tokio::time::sleep(Duration::from_millis(3)).await;
    store.put(b"longest", bytes("v"), tagged(900_000)).await.unwrap();
    assert!((800_000..=900_000).contains(&pttl_ms()), "{}", pttl_ms());
    assert_eq!(server.command(&[b"ZCARD", b"test:t:{t}"]), b":2\r\n");
}

#[tokio::test]
async fn anything_odd_under_our_key_is_a_miss_and_is_written_over() {
    let server = RedisServer::start();
    let store = store(&server);
    let name: &[u8] = b"test:v:{k}";
    let good = async || {
        store.put(b"k", bytes("value"), MINUTE).await.unwrap();
        let reply = server.command(&[b"GET", name]);
        let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        reply[start..reply.len() - 2].to_vec()
    };
    let good = good().await;
    let flipped = |at: usize| {
        let mut entry = good.clone();
        entry[at] ^= 0x20;
        entry
    };
    store.put(b"other", bytes("value"), MINUTE).await.unwrap();
    let odd = [
        (b"hello".to_vec(), Oddity::Foreign),
        (good[..good.len() - 1].to_vec(), Oddity::Short),
        ([&good[..], b"x"].concat(), Oddity::Long),
        (flipped(3), Oddity::OtherVersion),
        (flipped(44), Oddity::Corrupt),
        (flipped(24), Oddity::OtherKey),
    ];
    for (entry, oddity) in odd {
        server.command(&[b"SET", name, &entry]);
        assert_eq!(store.get(b"k").await.unwrap(), None, "{oddity:?}");
        assert_eq!(count(&store, oddity), 1, "{oddity:?}");
        store.put(b"k", bytes("value"), MINUTE).await.unwrap();
        assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("value")));
    }
    server.command(&[b"RENAME", b"test:v:{other}", name]);
    assert_eq!(store.get(b"k").await.unwrap(), None);
    assert_eq!(count(&store, Oddity::OtherKey), 2);

    server.command(&[b"DEL", name]);
    server.command(&[b"LPUSH", name, b"x"]);
    assert_eq!(store.get(b"k").await.unwrap(), None);
    assert_eq!(store.get_many(&[b"k", b"nothing"]).await.unwrap(), [None, None]);
    assert_eq!(count(&store, Oddity::WrongType), 2);
    store.put(b"k", bytes("value"), MINUTE).await.unwrap();
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("value")));
}

#[tokio::test]
async fn something_odd_does_not_stop_put_if_absent() {
    let server = RedisServer::start();
    let store = store(&server);
    server.command(&[b"SET", b"test:v:{k}", b"hello"]);
    assert!(store.put_if_absent(b"k", bytes("mine"), MINUTE).await.unwrap());
    assert!(!store.put_if_absent(b"k", bytes("yours"), MINUTE).await.unwrap());
    assert_eq!(store.get(b"k").await.unwrap(), Some(bytes("mine")));
    server.command(&[b"LPUSH", b"test:v:{l}", b"x"]);
    assert!(store.put_if_absent(b"l", bytes("mine"), MINUTE).await.unwrap());
}

#[tokio::test]
async fn limits_are_kept_before_anything_is_sent() {
    let server = RedisServer::start();
    let config = RedisConfig::from_url(&server.url()).unwrap().max_value_bytes(10).max_key_bytes(3);
    let store = Redis::new(config).unwrap();
    let refused = store.put(b"k", Bytes::from(vec![0; 11]), MINUTE).await.unwrap_err();
    assert_eq!(refused.to_string(), "value of 11 bytes (at most 10)");
    assert!(!refused.is_outage());
    for answer in [
        store.get(b"long").await.map(|_| ()),
        store.get_many(&[b"long"]).await.map(|_| ()),
        store.put(b"long", bytes("v"), MINUTE).await,
        store.put_if_absent(b"long", bytes("v"), MINUTE).await.map(|_| ()),
        store.touch(b"long", Duration::from_secs(1)).await.map(|_| ()),
        store.delete(b"long").await.map(|_| ()),
        store.delete_by_prefix(b"long").await.map(|_| ()),
    ] {
        assert!(matches!(answer, Err(StoreError::KeyTooLong { len: 4, max: 3 })), "{answer:?}");
    }
    for ttl in [Duration::ZERO, Duration::MAX] {
        let refused = store.put(b"k", bytes("v"), Keep::for_ttl(ttl)).await;
        assert!(matches!(refused, Err(StoreError::TtlOutOfRange { .. })), "{refused:?}");
        let refused = store.touch(b"k", ttl).await;
        assert!(matches!(refused, Err(StoreError::TtlOutOfRange { .. })), "{refused:?}");
    }
    assert_eq!(store.stats().connects, 0);
}

#[tokio::test]
async fn a_value_over_the_limit_put_by_others_is_a_miss_and_harms_nobody() {
    let server = RedisServer::start();
    let writer = store(&server);
    writer.put(b"big", Bytes::from(vec![7; 100_000]), MINUTE).await.unwrap();
    writer.put(b"small", bytes("v"), MINUTE).await.unwrap();
    let config = RedisConfig::from_url(&server.url()).unwrap().namespace("test").max_value_bytes(10);
    let reader = Redis::new(config.max_key_bytes(10)).unwrap();
    for _ in 0..5 {
        let (big, small) = tokio::join!(reader.get(b"big"), reader.get(b"small"));
        assert_eq!((big.unwrap(), small.unwrap()), (None, Some(bytes("v"))));
    }
    assert_eq!(reader.get_many(&[b"big", b"small"]).await.unwrap(), [None, Some(bytes("v"))]);
    let stats = reader.stats();
    assert_eq!((stats.connects, stats.disconnects, stats.misses), (1, 0, 6), "one connection for all");
    reader.put(b"big", bytes("smaller"), MINUTE).await.unwrap();
    assert_eq!(reader.get(b"big").await.unwrap(), Some(bytes("smaller")), "and it can be overwritten");
    for len in [10, 11] {
        let value = Bytes::from(vec![7; len]);
        writer.put(b"edge", value.clone(), MINUTE).await.unwrap();
        let expected = (len == 10).then_some(value);
        assert_eq!(reader.get(b"edge").await.unwrap(), expected, "{len} bytes of at most 10");
    }
}

#[tokio::test]
async fn times_to_live_are_jittered_downwards() {
    let server = RedisServer::start();
    let config = RedisConfig::from_url(&server.url()).unwrap().namespace("test").ttl_jitter(0.5);
    let store = Redis::new(config.response_timeout(Duration::from_secs(5))).unwrap();
    let mut ends = Vec::new();
    for n in 0..50 {
        store
            .put(format!("{n}").as_bytes(), bytes("v"), Keep::for_ttl(Duration::from_secs(100)))
            .await
            .unwrap();
        let reply = server.command(&[b"PTTL", format!("test:v:{{{n}}}").as_bytes()]);
        ends.push(String::from_utf8(reply).unwrap()[1..].trim().parse::<u64>().unwrap());
    }
    ends.sort_unstable();
    // Uniform over 50 to 100 s: of 50 draws, the chance that none is under 60 (over 90) is 0.8⁵⁰ ≈ 10⁻⁵.
    assert!(ends[0] > 45_000 && ends[0] < 60_000, "{ends:?}");
    assert!(ends[49] <= 100_000 && ends[49] > 90_000, "{ends:?}");
}

#[tokio::test]
async fn ten_thousand_gets_share_one_connection() {
    let server = RedisServer::start();
    let store = store(&server);
    for n in 0..100 {
        store.put(format!("{n}").as_bytes(), format!("value {n}").into(), MINUTE).await.unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10_000 {
        let store = store.clone();
        tasks.spawn(async move {
            let start = Instant::now();
            let value = store.get(format!("{}", n % 100).as_bytes()).await.unwrap();
            assert_eq!(value, Some(format!("value {}", n % 100).into()));
            start.elapsed()
        });
    }
    let mut times = tasks.join_all().await;
    times.sort_unstable();
    println!(
        "| 10,000 gets at once over one connection | 10000 × answered | {:.1?} | {:.1?} | – |",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    assert_eq!((store.stats().connects, store.stats().hits), (1, 10_000));
}

#[test]
fn a_store_outlives_the_runtime_it_was_first_used_on() {
    let server = RedisServer::start();
    let store = store(&server);
    for round in 0..3_u8 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            store.put(b"k", vec![round].into(), MINUTE).await.unwrap();
            assert_eq!(store.get(b"k").await.unwrap(), Some(vec![round].into()));
        });
    }
}

#[test]
fn outside_of_a_runtime_there_is_an_error_and_no_panic() {
    let server = RedisServer::start();
    let store = store(&server);
    let mut future = store.get(b"k");
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Err(error)) => assert!(error.to_string().contains("tokio runtime"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_are_opened_under_load_and_closed_without() {
    let server = RedisServer::start();
    let config = RedisConfig::from_url(&server.url()).unwrap().namespace("test").max_active(4).max_idle(2);
    let config = config.idle_timeout(Duration::from_millis(20)).ping_every(Duration::from_millis(10));
    let store = Redis::new(config.response_timeout(Duration::from_secs(10))).unwrap();
    store.put(b"k", Bytes::from(vec![7; 100_000]), MINUTE).await.unwrap();
    assert_eq!(store.stats().connections, 1);
    let mut most = 0;
    let start = Instant::now();
    while most < 4 {
        assert!(start.elapsed() < Duration::from_secs(20), "{most} connections under load");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..300 {
            let store = store.clone();
            tasks.spawn(async move { store.get(b"k").await.unwrap().unwrap().len() });
        }
        assert!(tasks.join_all().await.into_iter().all(|len| len == 100_000));
        most = most.max(store.stats().connections);
        assert!(most <= 4);
    }
    let start = Instant::now();
    while store.stats().connections > 2 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{} connections at rest",
            store.stats().connections
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // One that was cut costs the operations on it another try, and nobody an error.
    server.command(&[b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes"]);
    let start = Instant::now();
    while store.get(b"k").await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
