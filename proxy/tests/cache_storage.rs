//! Where responses stay: bounds in memory, and a real redis-server, alone and behind memory.

mod cache_support;
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the support")]
#[path = "../../cache/tests/support/redis_server.rs"]
mod redis_server;

use cache::store::{Address, Memory, Redis, RedisConfig, Store, Tiered};
use cache_support::{Bench, Origin, act};
use evenly::http_cache::{Key, Purge, Settings, Storage};
use redis_server::RedisServer;
use std::sync::Arc;
use std::time::Duration;

const FRESH: (&str, &str) = ("cache-control", "max-age=1000");

fn config(server: &RedisServer) -> RedisConfig {
    let address: Address = server.address().to_string().parse().expect("an address");
    // Generous: the machine may be busy, and nothing here is about being slow.
    RedisConfig::single(address)
        .namespace("test")
        .response_timeout(Duration::from_secs(5))
        .connect_timeout(Duration::from_secs(5))
}

fn redis(server: &RedisServer) -> Arc<dyn Store> {
    Arc::new(Redis::new(config(server)).expect("a right configuration"))
}

fn tiered(server: &RedisServer) -> Arc<dyn Store> {
    let near = Memory::new(1 << 20, cache::Policy::Lru).expect("bounds that can be");
    Arc::new(Tiered::new(near, config(server)).expect("a right configuration"))
}

fn over(store: &Arc<dyn Store>, origin: &Origin) -> Bench {
    Bench::on(Storage::shared(Arc::clone(store)), Settings::default(), origin.clone())
}

async fn stored(bench: &Bench, count: u64) {
    bench.until("it is stored", |bench| bench.cache.counts().read().stored == count).await;
}

#[tokio::test]
async fn processes_share_what_is_on_redis() {
    let server = RedisServer::start();
    for store in [redis(&server), tiered(&server)] {
        store.clear().await.expect("reachable");
        let vary = ("vary", "a");
        let origin = Origin::new(&[
            act(200, &[FRESH, vary, ("etag", "\"1\"")], &["one", "", "!"]),
            act(200, &[FRESH, vary, ("link", "x"), ("link", "y")], &["two"]),
        ]);
        let (here, there) = (over(&store, &origin), over(&redis(&server), &origin));
        here.get("/", &[("a", "1")]).await;
        stored(&here, 1).await;
        here.get("/", &[("a", "2")]).await;
        stored(&here, 2).await;
        there.wait(7);
        let one = there.get("/", &[("a", "1"), ("range", "bytes=2-3")]).await;
        assert_eq!((one.status, one.text(), &one.headers["age"]), (206, "e!", &"7".parse().unwrap()));
        let two = there.get("/", &[("a", "2")]).await;
        assert_eq!((two.text(), two.is_hit(), two.headers.get_all("link").iter().count()), ("two", true, 2));
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn the_next_request_finds_it_although_redis_is_slower_than_the_client() {
    let server = RedisServer::start();
    let origin = Origin::new(&[act(200, &[FRESH, ("content-length", "4")], &["body"])]);
    let bench = over(&redis(&server), &origin);
    for _ in 0..20 {
        assert_eq!(bench.get("/", &[]).await.text(), "body");
        assert_eq!(bench.get("/", &[("range", "bytes=1-2")]).await.text(), "od");
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn what_is_odd_on_redis_is_a_miss() {
    let server = RedisServer::start();
    let store = redis(&server);
    let origin = Origin::new(&[act(200, &[FRESH], &["right"])]);
    let bench = over(&store, &origin);
    bench.get("/", &[]).await;
    stored(&bench, 1).await;
    let key = b"http://a.test/";
    let whole = store.get(key).await.expect("reachable").expect("there");
    for at in [0, 5, 20, whole.len() / 2, whole.len() - 1] {
        let mut odd = whole.to_vec();
        odd[at] ^= 1;
        let before = origin.count();
        let keep = cache::store::Keep::for_ttl(Duration::from_secs(60));
        store.put(key, odd.into(), keep).await.expect("reachable");
        let seen = bench.get("/", &[]).await;
        assert_eq!((seen.text(), origin.count()), ("right", before + 1), "changed at {at}");
        stored(&bench, bench.cache.counts().read().misses).await;
    }
}

#[tokio::test]
async fn purges_reach_redis() {
    let server = RedisServer::start();
    for store in [redis(&server), tiered(&server)] {
        store.clear().await.expect("reachable");
        let tagged = |tag: &str| act(200, &[FRESH, ("cache-tag", tag)], &["body"]);
        let origin = Origin::new(&[tagged("t"), tagged("t, u"), tagged("u")]);
        let bench = over(&store, &origin);
        for (nth, path) in ["/a/1", "/a/2", "/b"].iter().enumerate() {
            bench.get(path, &[]).await;
            stored(&bench, nth as u64 + 1).await;
        }
        bench.wait(1);
        assert_eq!(bench.cache.purge(Purge::Tag("t".into())).await.expect("reachable"), 2);
        let only = [("cache-control", "only-if-cached")];
        assert_eq!((bench.get("/a/2", &only).await.status, bench.get("/b", &only).await.status), (504, 200));
        assert_eq!(bench.cache.purge(Purge::Prefix("http://a.test/b".into())).await.expect("reachable"), 1);
        assert_eq!(bench.get("/b", &only).await.status, 504);
    }
}

#[tokio::test]
async fn what_one_process_purges_another_that_is_fetching_it_does_not_put_back() {
    let server = RedisServer::start();
    for store in [redis(&server), tiered(&server)] {
        let key = Key::new("http", "a.test", "/", &Settings::default());
        for purge in
            [Purge::Key(key), Purge::Prefix("http://a".into()), Purge::Tag("none".into()), Purge::All]
        {
            let body = act(200, &[FRESH], &["old", "new"]);
            let origin = Origin::gated(&[body]);
            let (here, there) = (over(&store, &origin), over(&redis(&server), &origin));
            let fetching = tokio::spawn({
                let here = here.clone();
                async move { here.get("/", &[]).await }
            });
            here.until("it is being fetched", |bench| bench.origin.count() == 1).await;
            there.cache.purge(purge.clone()).await.expect("reachable");
            origin.let_go(2);
            assert_eq!(fetching.await.expect("no panic").text(), "oldnew");
            here.wait(1);
            there.wait(1);
            let next = there.get("/", &[]).await;
            assert!(next.cache_status().contains("fwd=uri-miss"), "{purge:?}: {}", next.cache_status());
            stored(&there, 1).await;
            assert_eq!(here.cache.counts().read().stored, 0, "{purge:?}");
            there.cache.purge(Purge::All).await.expect("reachable");
            store.clear().await.expect("reachable");
        }
    }
}

#[tokio::test]
async fn what_a_post_stores_outlasts_its_own_invalidation() {
    let server = RedisServer::start();
    let store = redis(&server);
    let posted = act(200, &[FRESH, ("content-location", "/")], &["posted"]);
    let bench = over(&store, &Origin::new(&[posted]));
    bench.ask("POST /", &[]).await.expect("an answer");
    stored(&bench, 1).await;
    assert!(bench.get("/", &[]).await.is_hit());
}

#[tokio::test]
async fn without_redis_everything_is_a_miss_and_nothing_fails() {
    let server = RedisServer::start();
    let store = redis(&server);
    drop(server);
    let origin = Origin::new(&[act(200, &[FRESH], &["body"])]);
    let bench = over(&store, &origin);
    for _ in 0..3 {
        assert_eq!(bench.get("/", &[]).await.text(), "body");
    }
}

#[tokio::test]
async fn memory_keeps_to_both_bounds() {
    let settings = Settings { capacity: 10, max_bytes: 100_000, ..Settings::default() };
    let bench = Bench::new(settings.clone(), &[act(200, &[FRESH], &["small"])]);
    let only = [("cache-control", "only-if-cached")];
    for nth in 0..50 {
        bench.get(&format!("/{nth}"), &[]).await;
    }
    let mut left = 0;
    for nth in 0..50 {
        left += usize::from(bench.get(&format!("/{nth}"), &only).await.status == 200);
    }
    assert!((1..=10).contains(&left), "{left} entries, capacity 10");
    const LONG: &str = concat!(
        "0123456789012345678901234567890123456789012345678901234567890123456789",
        "012345678901234567890"
    );
    let pieces = [LONG; 400];
    let bench = Bench::new(settings, &[act(200, &[FRESH], &pieces)]);
    for nth in 0..20 {
        bench.get(&format!("/{nth}"), &[]).await;
    }
    let mut left = 0;
    for nth in 0..20 {
        left += usize::from(bench.get(&format!("/{nth}"), &only).await.status == 200);
    }
    assert!((1..=2).contains(&left), "{left} bodies of 36,400 bytes and their heads in 100,000 bytes");
}

#[tokio::test]
async fn a_key_keeps_a_bounded_number_of_variants() {
    let bench = Bench::new(Settings::default(), &[act(200, &[FRESH, ("vary", "a")], &["body"])]);
    for nth in 0..100 {
        bench.get("/", &[("a", &nth.to_string())]).await;
    }
    let mut left = 0;
    for nth in 0..100 {
        let nth = nth.to_string();
        let only = [("a", nth.as_str()), ("cache-control", "only-if-cached")];
        left += usize::from(bench.get("/", &only).await.status == 200);
    }
    assert_eq!(left, 32);
}
