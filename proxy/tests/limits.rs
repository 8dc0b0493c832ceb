//! What a client sees at each limit, and that `docs/limits.md` says so of every one.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use evenly::config::KEYS;
use support::{Client, Evenly, Upstream, eventually};

fn start(up: &Upstream, server: &str) -> Evenly {
    Evenly::start(&format!("proxy_pass = [\"{}\"]\n{server}", up.address), "")
}

/// All that comes until the end; what a reset cuts off does not count.
fn to_the_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it does not end: {error}"),
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The rows of the table: key and default.
fn rows() -> Vec<(String, String)> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md");
    let text = fs::read_to_string(file).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let cell = |line: &str, at: usize| line.split('|').nth(at).unwrap().trim().trim_matches('`').to_owned();
    rows.map(|line| (cell(line, 2), cell(line, 3))).collect()
}

#[test]
fn the_table_has_every_limit_with_its_default() {
    let rows = rows();
    for (name, default) in &rows {
        let key = KEYS.iter().find(|key| format!("{}.{}", key.section, key.name) == *name);
        let key = key.unwrap_or_else(|| panic!("{name} is no key"));
        assert_eq!(key.default, default, "{name}");
    }
    let is_limit =
        |name: &str| name.starts_with("max_") || name.starts_with("min_") || name.ends_with("_timeout");
    let elsewhere = ["cache_timeout"];
    for key in KEYS.iter().filter(|key| matches!(key.section, "server" | "queue" | "retry" | "mem")) {
        if is_limit(key.name) && !elsewhere.contains(&key.name) {
            let name = format!("{}.{}", key.section, key.name);
            assert!(rows.iter().any(|(row, _)| *row == name), "{name} is not in docs/limits.md");
        }
    }
}

#[test]
fn one_connection_too_many_gets_503_and_its_place_is_free_again() {
    let up = Upstream::start("a");
    let evenly = start(&up, "max_connections = 3");
    let mut inside: Vec<Client> = Vec::new();
    // Who looked whether it listens may still be inside.
    eventually("three places", || {
        inside.clear();
        inside.extend((0..3).map(|_| evenly.client()));
        inside.iter_mut().all(|client| client.try_get("/").is_ok_and(|reply| reply.status == 200))
    });
    let told = to_the_end(&mut TcpStream::connect(evenly.address).unwrap());
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("retry-after: 1"), "{told}");
    assert_eq!(inside[0].get("/").status, 200);
    inside.pop();
    eventually("a place is free", || evenly.client().try_get("/").is_ok_and(|reply| reply.status == 200));
}

#[test]
fn one_client_has_so_many_and_another_has_its_own() {
    let up = Upstream::start("a");
    let evenly =
        start(&up, "max_connections_per_client = 2\nproxy_protocol = true\ntrusted_proxies = \"127.0.0.1\"");
    let connect = |client: &str| {
        let mut stream = TcpStream::connect(evenly.address).unwrap();
        let head = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
        write!(stream, "PROXY TCP4 {client} 127.0.0.1 1 2\r\n{head}").unwrap();
        let mut start = [0; 12];
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.read_exact(&mut start).unwrap();
        (String::from_utf8_lossy(&start).into_owned(), stream)
    };
    let inside = [connect("192.0.2.1"), connect("192.0.2.1")];
    assert!(inside.iter().all(|(start, _)| start == "HTTP/1.1 200"));
    assert_eq!(connect("192.0.2.1").0, "HTTP/1.1 503");
    assert_eq!(connect("192.0.2.2").0, "HTTP/1.1 200");
}

#[test]
fn the_last_request_of_a_connection_says_so() {
    let up = Upstream::start("a");
    let evenly = start(&up, "max_requests_per_connection = 3");
    let mut client = evenly.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").header("connection"), None);
    }
    assert_eq!(client.get("/").header("connection"), Some("close"));
    assert!(client.try_get("/").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_2_says_go_away_after_the_last_request() {
    let up = Upstream::start("a");
    let evenly = start(&up, "max_requests_per_connection = 3");
    let stream = tokio::net::TcpStream::connect(evenly.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(connection);
    let mut answered = 0;
    let mut client = client;
    // A request may be under way when GOAWAY comes: it is not answered, and safe to send again.
    while let Ok(mut ready) = client.clone().ready().await {
        let request = http::Request::get("http://test/").body(()).unwrap();
        let Ok((response, _)) = ready.send_request(request, true) else { break };
        match response.await {
            Ok(response) => assert_eq!(response.status(), 200),
            Err(error) => {
                assert!(error.is_go_away() || error.is_io(), "{error}");
                break;
            }
        }
        answered += 1;
        client = ready;
        assert!(answered < 100, "no GOAWAY");
    }
    drop(client);
    assert!(answered >= 3, "{answered}");
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap().ok();
}

#[test]
fn heads_that_are_too_long_get_431_and_414() {
    let up = Upstream::start("a");
    let evenly = start(&up, "max_header_bytes = 8192\nmax_header_fields = 20\nmax_uri_bytes = 100");
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: test\r\nx: {}\r\n\r\n", "a".repeat(9000)), "431"),
        (format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "x: 1\r\n".repeat(20)), "431"),
        (format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(100)), "414"),
        ("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1073741825\r\n\r\n".to_owned(), "413"),
    ] {
        let mut stream = TcpStream::connect(evenly.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let told = to_the_end(&mut stream);
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
    }
    assert_eq!(up.hits(), 0);
}

#[test]
fn a_slow_upload_is_not_the_members_fault() {
    let up = Upstream::start("a");
    let evenly = start(&up, "response_timeout = 1");
    let mut client = evenly.client();
    client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 600\r\n\r\n").unwrap();
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        client.send(&[b'x'; 100]).unwrap();
    }
    let reply = client.reply("POST").unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, 600));
}

#[test]
fn a_body_that_drips_gets_408() {
    let up = Upstream::start("a");
    let evenly = start(&up, "http_read_timeout = 1\nmin_body_rate = 1000");
    let mut client = evenly.client();
    client.send(b"POST /delay/60000 HTTP/1.1\r\nHost: test\r\nContent-Length: 600\r\n\r\n").unwrap();
    let mut writer = client.writer();
    let dripping = std::thread::spawn(move || {
        // Until it is told to go.
        while writer.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let told = client.reply("POST");
    assert!(told.as_ref().is_ok_and(|reply| reply.status == 408), "{told:?}");
    drop(client);
    dripping.join().unwrap();
}

#[test]
fn a_request_has_its_time_and_no_more() {
    let up = Upstream::start("a");
    let evenly = start(&up, "request_timeout = 1");
    assert_eq!(evenly.client().get("/delay/60000").status, 504);
    assert_eq!(evenly.client().get("/").status, 200);
}

#[test]
fn a_client_that_does_not_read_is_let_go() {
    let up = Upstream::start("a");
    let evenly = start(&up, "http_write_timeout = 1");
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    stream.write_all(b"GET /bytes/100000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("it is asked", || up.hits() == 1);
    eventually("the member is left", || up.connections() == 0);
    assert!(to_the_end(&mut stream).len() < 100_000_000);
}

/// Each piece that it takes begins a new wait; so there is a least rate, and a time for the whole.
#[test]
fn a_client_that_reads_a_little_now_and_then_is_let_go() {
    for limits in ["http_write_timeout = 1\nmin_body_rate = 100000000", "request_timeout = 2"] {
        let up = Upstream::start("a");
        let evenly = start(&up, limits);
        let mut stream = TcpStream::connect(evenly.address).unwrap();
        stream.write_all(b"GET /bytes/100000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        eventually("it is asked", || up.hits() == 1);
        let mut some = vec![0; 10_000];
        // Slow enough for minutes.
        eventually("the member is left", || {
            let _ = stream.read(&mut some);
            up.connections() == 0
        });
        assert!(to_the_end(&mut stream).len() < 100_000_000, "{limits}");
    }
}
