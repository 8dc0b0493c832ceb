//! Interim responses of a member reach an HTTP/1.1 client before the answer, and are never stored.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use support::Evenly;

/// A member that says 102 and 103 before each answer.
fn hinting_member() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&stream));
        }
    });
    address
}

fn answer(stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        while !lines.next()?.ok()?.is_empty() {}
        let mut stream = stream;
        stream
            .write_all(
                b"HTTP/1.1 102 Processing\r\n\r\n\
                  HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nx-interim: 1\r\n\r\n\
                  HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 4\r\n\r\nbody",
            )
            .ok()?;
    }
}

fn exchange(evenly: &Evenly, request: &str) -> String {
    let mut stream = TcpStream::connect(evenly.address).expect("listening");
    stream.write_all(request.as_bytes()).expect("taken");
    let mut wire = String::new();
    stream.read_to_string(&mut wire).expect("text");
    wire
}

#[test]
fn rfc9110_15_2_interim_responses_come_first_and_only_with_the_fetch() {
    let member = hinting_member();
    let evenly = Evenly::start(&format!("proxy_pass = [\"{member}\"]\ncache = true"), "");
    let request = "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
    let first = exchange(&evenly, request);
    let places =
        ["HTTP/1.1 102 ", "HTTP/1.1 103 ", "link: </style.css>; rel=preload", "HTTP/1.1 200 ", "body"];
    let found: Vec<_> =
        places.iter().map(|text| first.find(text).unwrap_or_else(|| panic!("{text} in {first}"))).collect();
    assert!(found.is_sorted(), "{first}");
    let hit = exchange(&evenly, request);
    assert!(
        hit.starts_with("HTTP/1.1 200 ") && !hit.contains("x-interim") && hit.contains("evenly; hit"),
        "{hit}"
    );
}

#[test]
fn rfc9110_15_2_http_1_0_clients_get_none() {
    let member = hinting_member();
    let evenly = Evenly::start(&format!("proxy_pass = [\"{member}\"]"), "");
    let answer = exchange(&evenly, "GET / HTTP/1.0\r\nhost: a.test\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.0 200 "), "{answer}");
}
