//! Requests that two parsers could read in two ways are refused, and nothing of them reaches a member.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use support::{Evenly, Upstream};

fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0").into_bytes()
}

/// Everything that the proxy answers to `bytes`, until it closes or has answered and we close.
fn answer(evenly: &Evenly, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The proxy may close as soon as it has seen enough.
    let _ = stream.write_all(bytes);
    let _ = stream.write_all(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let _ = stream.shutdown(Shutdown::Both);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn every_line_of_the_corpus_is_answered_as_it_says() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]\nhttp_read_timeout = 2", up.address), "");
    let corpus = include_str!("data/smuggling.txt");
    let mut count = 0;
    for line in corpus.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        let (name, expected, bytes) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let before = up.hits();
        let answer = answer(&evenly, &unescape(bytes));
        let status = answer.get(9..12).unwrap_or("closed");
        let hits = up.hits() - before;
        match expected {
            "passed" => assert!(status == "200" && hits >= 1, "{name}: {status}, {hits} upstream"),
            "cut" => {
                // The upstream may have answered its beginning; nothing behind it may be answered.
                let answers = answer.matches("HTTP/1.1 ").count();
                assert!(hits <= 1 && answers <= 1, "{name}: {hits} upstream, {answer}");
            }
            _ => {
                let refused = ["400", "408", "413", "414", "417", "431", "501", "505", "closed"];
                assert!(refused.contains(&status) && hits == 0, "{name}: {status}, {hits} upstream");
                assert_eq!(
                    answer.matches("HTTP/1.1 ").count(),
                    usize::from(status != "closed"),
                    "{name}: {answer}"
                );
            }
        }
        assert_eq!(evenly.client().get("/").status, 200, "{name}: the proxy goes on");
        count += 1;
    }
    assert!(count > 25);
}
