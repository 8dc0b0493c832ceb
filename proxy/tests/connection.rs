//! What a client of HTTP/1 may expect of its connection, whatever it does with it.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use support::{Client, Evenly, Upstream, eventually};

fn start(up: &Upstream, more: &str) -> Evenly {
    let rules = "[[rules]]\npath_prefix = \"/blocked\"\naction = \"block\"\n";
    Evenly::start(&format!("proxy_pass = [\"{}\"]\n{more}", up.address), rules)
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    let mut client = evenly.client();
    let wire = b"GET /delay/300 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
        POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-t: 1\r\n\r\n\
        HEAD /bytes/7 HTTP/1.1\r\nHost: a\r\n\r\n\r\n\
        GET /bytes/7 HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in [wire.len(), 100, 1] {
        for piece in wire.chunks(cut) {
            client.send(piece).unwrap();
        }
        assert_eq!(client.reply("GET").unwrap().text(), "a");
        assert_eq!(client.reply("POST").unwrap().text(), "hello");
        assert_eq!(client.reply("POST").unwrap().text(), "abcde");
        assert_eq!(client.reply("HEAD").unwrap().header("content-length"), Some("7"));
        assert_eq!(client.reply("GET").unwrap().body.len(), 7);
    }
}

#[test]
fn a_client_that_leaves_ends_its_request() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    let mut client = evenly.client();
    client.send(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("it is asked", || up.hits() == 1);
    assert_eq!(up.connections(), 1);
    drop(client);
    eventually("the member is left", || up.connections() == 0);
}

#[test]
fn a_body_is_asked_for_when_it_is_wanted() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    let mut client = evenly.client();
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    };
    for _ in 0..2 {
        client.send(head("/echo").as_bytes()).unwrap();
        assert_eq!(client.head().unwrap().0, 100);
        client.send(b"hello").unwrap();
        assert_eq!(client.reply("POST").unwrap().text(), "hello");
    }
    // Who does not wait is not told.
    client.send(format!("{}hello", head("/echo")).as_bytes()).unwrap();
    assert_eq!(client.reply("POST").unwrap().text(), "hello");
    client.send(head("/blocked").as_bytes()).unwrap();
    let refused = client.reply("POST").unwrap();
    assert_eq!(
        (refused.status, refused.header("connection")),
        (403, Some("close")),
        "the body may come or not"
    );
}

#[test]
fn a_small_body_that_nobody_wanted_does_not_end_the_connection() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    let mut client = evenly.client();
    for chunked in [false, true] {
        let (length, body) = match chunked {
            false => ("Content-Length: 5", "hello"),
            true => ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        };
        client.send(format!("POST /blocked HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(client.reply("POST").unwrap().status, 403);
        client.send(format!("{body}GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(client.reply("GET").unwrap().text(), "a");
    }
}

#[test]
fn who_is_refused_in_the_middle_of_a_large_body_reads_why() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    let mut client = evenly.client();
    client.send(b"POST /blocked HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n").unwrap();
    for _ in 0..10 {
        client.send(&[b'x'; 50_000]).unwrap();
    }
    assert_eq!(client.reply("POST").unwrap().status, 403);
    assert!(client.head().is_err(), "what follows is no request");
}

#[test]
fn http_1_0_keeps_a_connection_that_says_so() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    let mut client = evenly.client();
    for _ in 0..2 {
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let reply = client.reply("GET").unwrap();
        assert_eq!((reply.text(), reply.header("connection")), ("a", Some("keep-alive")));
    }
    client.send(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(client.reply("GET").unwrap().header("connection"), Some("close"));
    assert!(client.head().is_err());
}

#[test]
fn the_last_answer_says_so_and_what_follows_is_not_answered() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    let both =
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(both).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!((all.matches("HTTP/1.1 ").count(), up.hits()), (1, 1), "{all}");
    assert!(all.contains("connection: close\r\n"));
}

#[test]
fn a_kept_connection_ends_after_its_idle_time_and_not_before() {
    let up = Upstream::start("a");
    let evenly = start(&up, "idle_timeout = 3\nhttp_read_timeout = 1");
    let mut client = evenly.client();
    assert_eq!(client.get("/").status, 200);
    let since = Instant::now();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(since.elapsed() > Duration::from_secs(2), "{:?}", since.elapsed());
    // What has begun has less time.
    let mut client: Client = evenly.client();
    assert_eq!(client.get("/").status, 200);
    client.send(b"GET / HT").unwrap();
    let since = Instant::now();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}

/// A tunnel through a member that switches: what the client sends with its request is not lost, and each side can end
/// its own direction.
#[test]
fn bytes_sent_early_go_into_the_tunnel() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let member = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).unwrap();
    });
    let evenly = Evenly::start(&format!("proxy_pass = [\"{address}\"]"), "");
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    stream.write_all(format!("{head}early and ").as_bytes()).unwrap();
    stream.write_all(b"late").unwrap();
    // Before the answer an end would be taken for leaving.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "EARLY AND LATE");
    member.join().unwrap();
}
