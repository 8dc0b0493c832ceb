//! What a client and an origin see of the cache between them, with a clock moved by hand.

mod cache_support;

use cache_support::{Act, Bench, Origin, act, gather};
use evenly::http_cache::{Key, Profile, Purge, Settings};

const FRESH: (&str, &str) = ("cache-control", "max-age=10");
const ETAG: (&str, &str) = ("etag", "\"a\"");

fn rfc() -> Settings {
    Settings { profile: Profile::Rfc, ..Settings::default() }
}

fn safe() -> Settings {
    Settings::default()
}

#[tokio::test]
async fn a_fresh_response_is_given_again_with_its_age() {
    let bench = Bench::new(safe(), &[act(200, &[FRESH, ("x", "1"), ("x", "2")], &["he", "llo"])]);
    let first = bench.get("/", &[]).await;
    assert_eq!(first.cache_status(), "evenly; fwd=uri-miss; fwd-status=200; stored; ttl=10");
    bench.wait(4);
    let second = bench.get("/", &[]).await;
    assert_eq!((second.status, second.text(), second.cache_status()), (200, "hello", "evenly; hit; ttl=6"));
    assert_eq!(
        (&second.headers["age"], second.headers.get_all("x").iter().count()),
        (&"4".parse().unwrap(), 2)
    );
    assert_eq!(bench.origin.count(), 1);
}

#[tokio::test]
async fn rfc9111_4_3_a_stale_response_is_validated_and_freshened() {
    let bench = Bench::new(
        safe(),
        &[act(200, &[FRESH, ETAG, ("x", "old")], &["body"]), act(304, &[FRESH, ETAG, ("x", "new")], &[])],
    );
    bench.get("/", &[]).await;
    bench.wait(11);
    let validated = bench.get("/", &[("if-none-match", "\"client\"")]).await;
    assert_eq!(bench.origin.request(1)["if-none-match"], "\"a\"");
    assert_eq!(
        (validated.status, validated.text(), &validated.headers["x"]),
        (200, "body", &"new".parse().unwrap())
    );
    assert_eq!(validated.cache_status(), "evenly; fwd=stale; fwd-status=304; stored; ttl=10");
    let again = bench.get("/", &[("if-none-match", "\"a\"")]).await;
    assert_eq!((again.status, again.text(), again.is_hit()), (304, "", true));
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn rfc9111_4_3_4_a_304_for_another_representation_updates_nothing() {
    let script = [
        act(200, &[FRESH, ETAG], &["old"]),
        act(304, &[FRESH, ("etag", "\"b\"")], &[]),
        act(200, &[FRESH, ("etag", "\"b\"")], &["new"]),
    ];
    let bench = Bench::new(safe(), &script);
    bench.get("/", &[]).await;
    bench.wait(11);
    assert_eq!(bench.get("/", &[("if-none-match", "\"c\"")]).await.text(), "new");
    assert!(!bench.origin.request(2).contains_key("if-none-match"));
}

#[tokio::test]
async fn a_clients_own_304_is_its_own() {
    let bench = Bench::new(safe(), &[act(304, &[FRESH, ETAG], &[]), act(200, &[FRESH, ETAG], &["body"])]);
    assert_eq!(bench.get("/", &[("if-none-match", "\"a\"")]).await.status, 304);
    assert_eq!(bench.origin.request(0)["if-none-match"], "\"a\"");
    assert_eq!(bench.get("/", &[]).await.text(), "body");
}

#[tokio::test]
async fn rfc5861_4_a_failing_origin_is_stood_in_for() {
    for failure in [Act::Fail, act(503, &[], &["down"]), act(500, &[], &["down"])] {
        let fields = [("cache-control", "max-age=10, stale-if-error=60"), ETAG];
        let bench = Bench::new(safe(), &[act(200, &fields, &["body"]), failure]);
        bench.get("/", &[]).await;
        bench.wait(20);
        let stale = bench.get("/", &[]).await;
        assert_eq!((stale.status, stale.text()), (200, "body"));
        assert!(stale.cache_status().contains("ttl=-10; detail=stale-if-error"), "{}", stale.cache_status());
        bench.wait(100);
        let later = bench.ask("GET /", &[]).await;
        assert!(later.is_err() || later.is_ok_and(|later| later.status >= 500));
    }
}

#[tokio::test]
async fn rfc9111_5_2_2_2_must_revalidate_forbids_it() {
    for directive in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=10"] {
        let fields = [("cache-control", &*format!("max-age=10, {directive}")), ETAG];
        let bench = Bench::new(safe(), &[act(200, &fields, &["body"]), Act::Fail]);
        bench.get("/", &[]).await;
        bench.wait(20);
        assert!(bench.ask("GET /", &[]).await.is_err(), "{directive}");
    }
}

#[tokio::test]
async fn rfc5861_3_stale_while_revalidate_answers_at_once_and_asks_behind_it() {
    let fields = [("cache-control", "max-age=10, stale-while-revalidate=60"), ETAG];
    let bench = Bench::new(safe(), &[act(200, &fields, &["old"]), act(200, &fields, &["new"])]);
    bench.get("/", &[]).await;
    bench.wait(20);
    assert_eq!(bench.get("/", &[]).await.text(), "old");
    bench.until("the refresh is stored", |bench| bench.cache.counts().read().stored == 2).await;
    let fresh = bench.get("/", &[]).await;
    assert_eq!((fresh.text(), fresh.cache_status()), ("new", "evenly; hit; ttl=10"));
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn rfc5861_3_there_is_one_refresh_at_a_time() {
    let fields = [("cache-control", "max-age=10, stale-while-revalidate=60"), ETAG];
    let origin = Origin::gated(&[act(200, &fields, &["old"]), act(200, &fields, &["new"])]);
    origin.let_go(1);
    let bench = Bench::over(safe(), origin);
    bench.get("/", &[]).await;
    bench.wait(20);
    for _ in 0..50 {
        assert_eq!(bench.get("/", &[]).await.text(), "old");
    }
    bench.until("the refresh is under way", |bench| bench.origin.count() == 2).await;
    assert_eq!(bench.cache.counts().read().refreshed, 1);
    bench.origin.let_go(1);
    bench.until("the refresh is stored", |bench| bench.cache.counts().read().stored == 2).await;
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn refresh_ahead_asks_before_the_end() {
    let settings = Settings { refresh_ahead: true, ..safe() };
    let bench =
        Bench::new(settings, &[act(200, &[FRESH, ETAG], &["old"]), act(200, &[FRESH, ETAG], &["new"])]);
    bench.get("/", &[]).await;
    bench.wait(5);
    assert_eq!(bench.get("/", &[]).await.text(), "old");
    assert_eq!(bench.origin.count(), 1);
    bench.wait(4);
    assert_eq!(bench.get("/", &[]).await.text(), "old");
    bench.until("the refresh is stored", |bench| bench.cache.counts().read().stored == 2).await;
    bench.wait(5);
    assert_eq!(bench.get("/", &[]).await.cache_status(), "evenly; hit; ttl=5");
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn rfc9111_5_2_1_7_only_if_cached_never_asks() {
    let bench = Bench::new(safe(), &[act(200, &[FRESH], &["body"])]);
    assert_eq!(bench.get("/", &[("cache-control", "only-if-cached")]).await.status, 504);
    assert_eq!(bench.origin.count(), 0);
    bench.get("/", &[]).await;
    assert_eq!(bench.get("/", &[("cache-control", "only-if-cached")]).await.text(), "body");
}

#[tokio::test]
async fn rfc9111_4_1_variants_are_kept_side_by_side() {
    let vary = ("vary", "Accept-Language");
    let bench = Bench::new(safe(), &[act(200, &[FRESH, vary], &["en"]), act(200, &[FRESH, vary], &["de"])]);
    assert_eq!(bench.get("/", &[("accept-language", "en")]).await.text(), "en");
    let other = bench.get("/", &[("accept-language", "de")]).await;
    assert_eq!((other.text(), other.cache_status().contains("fwd=vary-miss")), ("de", true));
    assert!(bench.get("/", &[("accept-language", "EN")]).await.is_hit());
    assert!(bench.get("/", &[("accept-language", "de")]).await.is_hit());
}

#[tokio::test]
async fn head_is_answered_from_get_and_updates_it() {
    let script = [
        act(200, &[FRESH, ETAG, ("content-length", "4")], &["body"]),
        act(200, &[FRESH, ETAG, ("content-length", "4"), ("x", "new")], &[]),
        act(200, &[FRESH, ("etag", "\"b\""), ("content-length", "4")], &[]),
        act(200, &[FRESH], &["other"]),
    ];
    let bench = Bench::new(safe(), &script);
    bench.get("/", &[]).await;
    let head = bench.ask("HEAD /", &[]).await.expect("an answer");
    assert_eq!(
        (head.text(), head.is_hit(), &head.headers["content-length"]),
        ("", true, &"4".parse().unwrap())
    );
    bench.wait(11);
    bench.ask("HEAD /", &[]).await.expect("an answer");
    let updated = bench.get("/", &[]).await;
    assert_eq!(
        (updated.text(), updated.is_hit(), &updated.headers["x"]),
        ("body", true, &"new".parse().unwrap())
    );
    bench.wait(11);
    bench.ask("HEAD /", &[]).await.expect("an answer");
    assert_eq!(bench.get("/", &[]).await.text(), "other", "RFC 9111 §4.3.5: another representation");
}

#[tokio::test]
async fn rfc9111_3_4_a_stored_part_is_completed() {
    let script = [
        act(206, &[FRESH, ETAG, ("content-range", "bytes 0-4/10")], &["01234"]),
        act(206, &[FRESH, ETAG, ("content-range", "bytes 5-9/10"), ("content-length", "5")], &["56", "789"]),
    ];
    let bench = Bench::new(safe(), &script);
    assert_eq!(bench.get("/", &[("range", "bytes=0-4")]).await.text(), "01234");
    let part = bench.get("/", &[("range", "bytes=1-2")]).await;
    assert_eq!((part.status, part.text(), part.is_hit()), (206, "12", true));
    let whole = bench.get("/", &[]).await;
    assert_eq!((whole.status, whole.text()), (200, "0123456789"));
    let asked = bench.origin.request(1);
    assert_eq!(
        (&asked["range"], &asked["if-range"]),
        (&"bytes=5-".parse().unwrap(), &"\"a\"".parse().unwrap())
    );
    let hit = bench.get("/", &[("range", "bytes=3-6")]).await;
    assert_eq!((hit.status, hit.text(), hit.is_hit()), (206, "3456", true));
}

#[tokio::test]
async fn rfc9111_3_4_what_does_not_fit_is_fetched_whole() {
    let script = [
        act(206, &[FRESH, ETAG, ("content-range", "bytes 0-4/10")], &["01234"]),
        act(206, &[FRESH, ("etag", "\"b\""), ("content-range", "bytes 5-9/10")], &["abcde"]),
        act(200, &[FRESH, ("etag", "\"b\"")], &["ABCDEabcde"]),
    ];
    let bench = Bench::new(safe(), &script);
    bench.get("/", &[("range", "bytes=0-4")]).await;
    assert_eq!(bench.get("/", &[]).await.text(), "ABCDEabcde");
    assert!(!bench.origin.request(2).contains_key("range"));
}

#[tokio::test]
async fn rfc9111_3_3_what_breaks_off_is_never_stored_as_whole() {
    let short = act(200, &[FRESH, ("content-length", "10")], &["0123"]);
    let broken = Act::BreakOff(200, vec![("cache-control", "max-age=10".into())], vec!["0123"]);
    for first in [short, broken] {
        let bench = Bench::new(safe(), &[first, act(200, &[FRESH], &["whole"])]);
        assert!(bench.get("/", &[]).await.body.is_err());
        assert_eq!(bench.get("/", &[]).await.text(), "whole");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_passes_unstored() {
    let settings = Settings { max_object_bytes: 8, ..safe() };
    let long = ["0123", "4567", "8"];
    for fields in [&[FRESH][..], &[FRESH, ("content-length", "9")]] {
        let bench = Bench::new(settings.clone(), &[act(200, fields, &long)]);
        assert_eq!(bench.get("/", &[]).await.text(), "012345678");
        assert_eq!(bench.get("/", &[]).await.text(), "012345678");
        assert_eq!((bench.origin.count(), bench.cache.counts().read().stored), (2, 0));
    }
}

#[tokio::test]
async fn rfc9111_4_4_unsafe_requests_invalidate_and_stop_fills() {
    let fed = Act::Fed(200, vec![("cache-control", "max-age=10".into())]);
    let script =
        [act(200, &[FRESH], &["1"]), act(204, &[], &[]), fed, act(204, &[], &[]), act(200, &[FRESH], &["3"])];
    let bench = Bench::new(safe(), &script);
    bench.get("/", &[]).await;
    bench.ask("POST /", &[]).await.expect("an answer");
    let filling = bench.head("GET /", &[]).await.expect("an answer");
    bench.origin.feed(0, "2");
    bench.ask("PUT /", &[]).await.expect("an answer");
    bench.origin.end_feeds();
    assert_eq!(gather(filling).await.text(), "2");
    assert_eq!(bench.get("/", &[]).await.text(), "3", "what was fetched before PUT is not stored after it");
}

#[tokio::test]
async fn rfc9110_9_3_3_a_post_may_answer_the_get_it_names() {
    let fields = [FRESH, ("content-location", "/x")];
    let bench = Bench::new(safe(), &[act(200, &fields, &["posted"]), act(200, &[FRESH], &["got"])]);
    bench.ask("POST /x", &[]).await.expect("an answer");
    assert_eq!(bench.get("/x", &[]).await.text(), "posted");
    bench.ask("POST /y", &[]).await.expect("an answer");
    assert_eq!(bench.get("/y", &[]).await.text(), "got", "it names another target");
}

#[tokio::test]
async fn the_safe_profile_shares_nothing_of_one_user() {
    let cookie = [("cache-control", "public, max-age=10"), ("set-cookie", "sid=1")];
    let bench = Bench::new(safe(), &[act(200, &cookie, &["body"])]);
    bench.get("/", &[]).await;
    assert!(!bench.get("/", &[]).await.is_hit());
    let public = [("cache-control", "public, max-age=10")];
    for (settings, is_hit) in [(safe(), false), (rfc(), true)] {
        let bench = Bench::new(settings, &[act(200, &public, &["body"])]);
        let user = [("authorization", "Basic eA==")];
        bench.get("/", &user).await;
        assert_eq!(bench.get("/", &user).await.is_hit(), is_hit);
        assert_eq!(bench.get("/", &[]).await.is_hit(), is_hit);
    }
}

#[tokio::test]
async fn purges_forget_by_key_prefix_tag_and_all() {
    let of = |tag: &str| act(200, &[FRESH, ("surrogate-key", tag)], &["body"]);
    let key = Key::new("http", "a.test", "/a/1", &safe());
    let purges = [
        (Purge::Key(key), [false, true, true]),
        (Purge::Prefix("http://a.test/a/".into()), [false, false, true]),
        (Purge::Tag("two".into()), [true, false, false]),
        (Purge::All, [false; 3]),
    ];
    for (purge, left) in purges {
        let bench = Bench::new(safe(), &[of("one"), of("one two"), of("two")]);
        let paths = ["/a/1", "/a/2", "/b"];
        for path in paths {
            bench.get(path, &[]).await;
        }
        bench.wait(1);
        let gone = bench.cache.purge(purge.clone()).await.expect("memory never fails");
        assert_eq!(gone, left.iter().filter(|left| !**left).count() as u64, "{purge:?}");
        for (path, left) in paths.iter().zip(left) {
            let only = [("cache-control", "only-if-cached")];
            assert_eq!(bench.get(path, &only).await.status, if left { 200 } else { 504 }, "{purge:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_purge_also_means_what_is_being_fetched() {
    let key = Key::new("http", "a.test", "/", &safe());
    for purge in [Purge::Key(key), Purge::Prefix("http://a".into()), Purge::Tag("t".into()), Purge::All] {
        let fed = Act::Fed(200, vec![("cache-control", "max-age=10".into()), ("cache-tag", "t".into())]);
        let bench = Bench::new(safe(), &[fed, act(200, &[FRESH], &["new"])]);
        let filling = bench.head("GET /", &[]).await.expect("an answer");
        bench.cache.purge(purge.clone()).await.expect("memory never fails");
        bench.origin.feed(0, "old");
        bench.origin.end_feeds();
        assert_eq!(gather(filling).await.text(), "old");
        assert_eq!(bench.get("/", &[]).await.text(), "new", "{purge:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_the_last_announced_byte_does_not_spoil_the_fill() {
    use http_body_util::BodyExt;
    let fed = Act::Fed(200, vec![("cache-control", "max-age=10".into()), ("content-length", "4".into())]);
    let bench = Bench::new(safe(), &[fed]);
    let mut filling = bench.head("GET /", &[]).await.expect("an answer");
    bench.origin.feed(0, "body");
    filling.body_mut().frame().await.expect("a piece").expect("not broken");
    drop(filling);
    assert!(bench.get("/", &[]).await.is_hit());
}
