//! Connections that clients keep without using them: they cost little, and serve on.

mod support;

use std::{thread::sleep, time::Duration};

use support::{Evenly, Upstream};

fn start(up: &Upstream) -> Evenly {
    Evenly::start(&format!("proxy_pass = [\"{}\"]\nhttp_read_timeout = 60", up.address), "")
}

#[test]
fn a_connection_serves_on_after_a_pause() {
    let up = Upstream::start("a");
    let evenly = start(&up);
    let mut client = evenly.client();
    for _ in 0..3 {
        assert_eq!(client.get("/bytes/1000").body.len(), 1000);
        assert_eq!(client.request("POST", "/echo", "", b"12345").text(), "12345");
        // Long enough for the proxy to put the connection aside. Whether it has is not seen from here.
        sleep(PAUSE);
    }
}

#[test]
fn a_pause_within_a_message_loses_nothing() {
    let up = Upstream::start("a");
    let evenly = start(&up);
    let mut client = evenly.client();
    let post = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n12345";
    client.send(post).unwrap();
    assert_eq!(client.reply("POST").unwrap().text(), "12345");
    for at in [9, post.len() - 2] {
        client.send(&post[..at]).unwrap();
        sleep(PAUSE);
        client.send(&post[at..]).unwrap();
        assert_eq!(client.reply("POST").unwrap().text(), "12345");
    }
    // A second request that comes in two pieces, the first together with the one before.
    client.send(&[&post[..], &post[..20]].concat()).unwrap();
    assert_eq!(client.reply("POST").unwrap().text(), "12345");
    sleep(PAUSE);
    client.send(&post[20..]).unwrap();
    assert_eq!(client.reply("POST").unwrap().text(), "12345");
}

#[test]
fn an_answer_that_pauses_is_not_taken_for_silence() {
    let up = Upstream::start("a");
    let evenly = start(&up);
    let mut client = evenly.client();
    assert_eq!(client.get("/delay/2500").status, 200);
    assert_eq!(client.get("/").status, 200);
}

/// Two looks of a session and some more.
const PAUSE: Duration = Duration::from_millis(2500);
