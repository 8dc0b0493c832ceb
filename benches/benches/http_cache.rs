//! What does the decision about a hit cost, beside `http-cache-semantics`?
//!
//! Both know a stored response and get a request: does it fit, is it fresh enough, which fields does the answer have?
//! For us that is `Selecting::fits`, `RequestControl::parse`, `reuse` and the stored fields with their Age; for the
//! rival `CachePolicy::before_request`, which does the same. Bodies and storage are outside both. In each round both
//! take a turn.
//!
//! `cargo bench -p evenly-benches --features http-cache-rivals --bench http_cache`

use evenly::http_cache::{Entry, Exchange, Moment, Profile, RequestControl, Reuse, Settings, reuse};
use evenly_benches::scoreboard::{Board, Measure, of_effort, ours, rival};
use http::header::AGE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant, SystemTime};

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

/// A browser's request and a site's answer.
fn exchange() -> (HeaderMap, HeaderMap) {
    let request = fields(&[
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("cookie", "session=0123456789abcdef"),
    ]);
    let response = fields(&[
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "5120"),
        ("cache-control", "public, max-age=3600, stale-while-revalidate=60"),
        ("etag", "\"0123456789abcdef\""),
        ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"),
        ("vary", "Accept-Encoding"),
        ("content-encoding", "gzip"),
        ("x-frame-options", "deny"),
        ("link", "</style.css>; rel=preload"),
    ]);
    (request, response)
}

fn main() -> io::Result<()> {
    let (request, response) = exchange();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let later = at + Duration::from_secs(60);
    let mut board = Board::new("http_cache");
    for (name, more) in [("plain", None), ("reload", Some("max-age=600"))] {
        let mut request = request.clone();
        request.extend(more.map(|more| (http::header::CACHE_CONTROL, HeaderValue::from_static(more))));
        let settings = Settings { profile: Profile::Rfc, ..Settings::default() };
        let moment = Moment::from_system(at);
        let exchange = Exchange {
            method: &Method::GET,
            request: &request,
            status: StatusCode::OK,
            response: &response,
            sent: moment,
            received: moment,
        };
        let entry = Entry::new(&exchange, &settings).expect("storable");
        let now = Moment::from_system(later);
        let mut asked = Request::get("http://shop.example/").body(()).expect("a request");
        *asked.headers_mut() = request.clone();
        let mut answered = Response::new(());
        *answered.headers_mut() = response.clone();
        let policy = CachePolicy::new_options(&asked, &answered, at, CacheOptions::default());
        for _ in 0..of_effort(31, 9) {
            let own = nanos(|| {
                let request = black_box(&request);
                assert!(entry.selecting.fits(request));
                assert_eq!(reuse(&entry, &RequestControl::parse(request), now), Reuse::Fresh);
                let mut headers = entry.headers.clone();
                headers.insert(AGE, HeaderValue::from(entry.age_secs(now)));
                headers
            });
            board.note("decide on a hit", name, Measure::NANOSECONDS, ours("evenly"), own);
            let other = nanos(|| match policy.before_request(black_box(&asked), later) {
                BeforeRequest::Fresh(parts) => parts.headers,
                BeforeRequest::Stale { .. } => panic!("fresh"),
            });
            board.note("decide on a hit", name, Measure::NANOSECONDS, rival("http-cache-semantics"), other);
        }
    }
    board.finish().map(drop)
}

/// The mean of one turn.
fn nanos<T>(mut decide: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    (0..DECISIONS).for_each(|_| drop(black_box(decide())));
    start.elapsed().as_nanos() as f64 / f64::from(DECISIONS)
}

const DECISIONS: u32 = 20_000;
