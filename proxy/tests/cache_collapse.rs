//! Many requests for one thing make one request to the origin, and nobody waits for ever.

mod cache_support;

use cache_support::{Act, Bench, Origin, Seen, act, gather};
use evenly::http_cache::Settings;
use http_body_util::BodyExt;
use tokio::task::JoinSet;

const FRESH: (&str, &str) = ("cache-control", "max-age=10");

fn bench(origin: Origin) -> Bench {
    Bench::over(Settings::default(), origin)
}

/// Starts requests and waits until one is at the origin and the others have had every chance to follow it.
async fn crowd(bench: &Bench, size: usize, at_origin: usize) -> JoinSet<Result<Seen, String>> {
    let mut crowd = JoinSet::new();
    for _ in 0..size {
        let bench = bench.clone();
        crowd.spawn(async move { bench.ask("GET /", &[]).await });
    }
    bench.until("the leader is at the origin", |bench| bench.origin.count() == at_origin).await;
    for _ in 0..2 * size {
        tokio::task::yield_now().await;
    }
    crowd
}

#[tokio::test]
async fn a_thousand_misses_make_one_fetch() {
    let bench = bench(Origin::gated(&[act(200, &[FRESH], &["he", "llo"])]));
    let crowd = crowd(&bench, 1000, 1).await;
    bench.origin.let_go(1);
    let answers = crowd.join_all().await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.text() == "hello")));
    assert_eq!(bench.origin.count(), 1);
    assert_eq!(bench.cache.counts().read().collapsed, 999);
}

#[tokio::test]
async fn followers_read_along_as_it_arrives() {
    let bench = bench(Origin::new(&[Act::Fed(200, vec![("cache-control", "max-age=10".into())])]));
    let mut leader = bench.head("GET /", &[]).await.expect("an answer");
    let mut follower = bench.head("GET /", &[]).await.expect("an answer");
    assert_eq!(bench.origin.count(), 1);
    bench.origin.feed(0, "first");
    let piece = follower.body_mut().frame().await.expect("a piece").expect("not broken");
    assert_eq!(piece.into_data().expect("data"), "first", "while the body is still open");
    bench.origin.feed(0, "second");
    let piece = leader.body_mut().frame().await.expect("a piece").expect("not broken");
    assert_eq!(piece.into_data().expect("data"), "first");
    let late = bench.head("GET /", &[]).await.expect("an answer");
    bench.origin.end_feeds();
    assert_eq!(gather(late).await.text(), "firstsecond");
    assert_eq!((gather(follower).await.text(), gather(leader).await.text()), ("second", "second"));
}

#[tokio::test]
async fn when_the_first_client_leaves_the_others_read_on() {
    let bench = bench(Origin::new(&[Act::Fed(200, vec![("cache-control", "max-age=10".into())])]));
    let leader = bench.head("GET /", &[]).await.expect("an answer");
    let follower = bench.head("GET /", &[]).await.expect("an answer");
    bench.origin.feed(0, "body");
    drop(leader);
    bench.origin.end_feeds();
    assert_eq!(gather(follower).await.text(), "body");
    assert!(bench.get("/", &[]).await.is_hit());
}

#[tokio::test]
async fn when_all_clients_leave_the_fetch_ends_and_nothing_is_stored() {
    let fed = Act::Fed(200, vec![("cache-control", "max-age=10".into())]);
    let bench = bench(Origin::new(&[fed, act(200, &[FRESH], &["again"])]));
    let leader = bench.head("GET /", &[]).await.expect("an answer");
    bench.origin.feed(0, "part");
    drop(leader);
    assert_eq!(bench.get("/", &[]).await.text(), "again");
}

#[tokio::test]
async fn what_may_not_be_shared_is_fetched_by_each_and_later_ones_do_not_wait() {
    let private = act(200, &[("cache-control", "private")], &["mine"]);
    let bench = bench(Origin::gated(&[private]));
    let crowd = crowd(&bench, 20, 1).await;
    bench.origin.let_go(1);
    bench.until("the others go themselves", |bench| bench.origin.count() == 20).await;
    bench.origin.let_go(19);
    assert!(crowd.join_all().await.iter().all(Result::is_ok));
    let next = self::crowd(&bench, 20, 40).await;
    bench.origin.let_go(20);
    assert!(next.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_of_what_may_not_be_shared_go_a_few_at_a_time() {
    let bench = bench(Origin::gated(&[act(200, &[("cache-control", "private")], &["mine"])]));
    let crowd = crowd(&bench, 1000, 1).await;
    bench.origin.let_go(1);
    for answered in [0, 1, 10, 100] {
        bench.origin.let_go(answered);
        settle(3000).await; // no time passes
        let so_far = 1 + [0, 1, 11, 111].iter().find(|&&sum| sum >= answered).expect("one of these");
        assert_eq!(bench.origin.count(), so_far + 32, "{answered} more answered");
    }
    let before = bench.origin.count();
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!((before, bench.origin.count()), (144, 1000), "an origin that hangs holds nobody up for ever");
    bench.origin.let_go(1000);
    assert!(crowd.join_all().await.iter().all(|answer| answer.as_ref().is_ok_and(|it| it.text() == "mine")));
    assert_eq!(bench.origin.count(), 1000);
}

#[tokio::test]
async fn what_one_client_asks_for_does_not_stop_others_from_sharing() {
    let bench = bench(Origin::gated(&[act(200, &[FRESH], &["body"])]));
    let selfish = tokio::spawn({
        let bench = bench.clone();
        async move { bench.get("/", &[("cache-control", "no-store")]).await }
    });
    bench.until("the selfish one is at the origin", |bench| bench.origin.count() == 1).await;
    bench.origin.let_go(1);
    assert_eq!(selfish.await.expect("no panic").text(), "body");
    let crowd = crowd(&bench, 100, 2).await;
    bench.origin.let_go(1);
    assert!(crowd.join_all().await.iter().all(Result::is_ok));
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn a_failing_origin_is_asked_once_more_and_gets_no_stampede() {
    let bench = bench(Origin::gated(&[Act::Fail]));
    let crowd = crowd(&bench, 100, 1).await;
    bench.origin.let_go(1);
    bench.until("one of those who waited leads", |bench| bench.origin.count() == 2).await;
    settle(300).await;
    bench.origin.let_go(1);
    assert!(crowd.join_all().await.iter().all(Result::is_err));
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn one_broken_exchange_fails_one_request() {
    let bench = bench(Origin::gated(&[Act::Fail, act(200, &[FRESH], &["body"])]));
    let crowd = crowd(&bench, 100, 1).await;
    bench.origin.let_go(2);
    let answers = crowd.join_all().await;
    assert_eq!((answers.iter().filter(|answer| answer.is_err()).count(), bench.origin.count()), (1, 2));
}

/// Gives every task its chance to run, without any time.
async fn settle(rounds: usize) {
    for _ in 0..rounds {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn when_the_leader_is_gone_before_its_answer_another_leads() {
    let bench = bench(Origin::gated(&[act(200, &[FRESH], &["body"])]));
    let leader = tokio::spawn({
        let bench = bench.clone();
        async move { bench.ask("GET /", &[]).await }
    });
    bench.until("the leader is at the origin", |bench| bench.origin.count() == 1).await;
    let mut followers = JoinSet::new();
    for _ in 0..10 {
        let bench = bench.clone();
        followers.spawn(async move { bench.ask("GET /", &[]).await });
    }
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    leader.abort();
    bench.until("another leads", |bench| bench.origin.count() == 2).await;
    bench.origin.let_go(1);
    let answers = followers.join_all().await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.text() == "body")));
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn a_follower_of_another_variant_gets_its_own() {
    let vary = ("vary", "a");
    let bench =
        bench(Origin::gated(&[act(200, &[FRESH, vary], &["one"]), act(200, &[FRESH, vary], &["two"])]));
    let mut requests = JoinSet::new();
    for value in ["1", "1", "2", "2", "2"] {
        let bench = bench.clone();
        requests.spawn(async move { (value, bench.get("/", &[("a", value)]).await.text().to_owned()) });
        tokio::task::yield_now().await;
    }
    bench.until("the first is at the origin", |bench| bench.origin.count() == 1).await;
    bench.origin.let_go(1);
    bench.until("the other variant is at the origin", |bench| bench.origin.count() == 2).await;
    bench.origin.let_go(1);
    for (value, body) in requests.join_all().await {
        assert_eq!(body, if value == "1" { "one" } else { "two" });
    }
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn one_validation_serves_all_who_wait() {
    let etag = ("etag", "\"a\"");
    let origin = Origin::gated(&[act(200, &[FRESH, etag], &["body"]), act(304, &[FRESH, etag], &[])]);
    origin.let_go(1);
    let bench = bench(origin);
    bench.get("/", &[]).await;
    bench.wait(20);
    let crowd = crowd(&bench, 100, 2).await;
    bench.origin.let_go(1);
    let answers = crowd.join_all().await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.text() == "body")));
    assert_eq!(bench.origin.count(), 2);
}

#[tokio::test]
async fn a_slow_reader_bounds_what_is_held_of_a_body_that_is_not_kept() {
    const PIECE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let settings = Settings { max_object_bytes: 100, ..Settings::default() };
    let bench =
        Bench::over(settings, Origin::new(&[Act::Fed(200, vec![("cache-control", "max-age=10".into())])]));
    let mut fast = bench.head("GET /", &[]).await.expect("an answer");
    let slow = bench.head("GET /", &[]).await.expect("an answer");
    for _ in 0..10_000 {
        bench.origin.feed(0, PIECE);
    }
    bench.origin.end_feeds();
    let mut taken = 0;
    let ahead = std::time::Duration::from_millis(200);
    while let Ok(Some(frame)) = tokio::time::timeout(ahead, fast.body_mut().frame()).await {
        taken += frame.expect("not broken").into_data().expect("data").len();
    }
    assert!((200 << 10..400 << 10).contains(&taken), "{taken} bytes ahead of the slow reader");
    let (fast, slow) = tokio::join!(gather(fast), gather(slow));
    assert_eq!((taken + fast.text().len(), slow.text().len()), (640_000, 640_000));
}
