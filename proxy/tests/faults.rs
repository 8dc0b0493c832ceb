//! Members that fail, and a proxy that is told to stop: nobody's request is lost.

mod support;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use support::{Client, Evenly, Upstream, eventually, free_port};

fn proxy_pass(addresses: &[String]) -> String {
    format!("proxy_pass = [{}]", addresses.iter().map(|a| format!("\"{a}\"")).collect::<Vec<_>>().join(", "))
}

/// Four clients ask without pause while a member dies and comes back, five times; every GET is answered with 200.
#[test]
fn no_request_fails_while_a_member_is_killed_and_restarted() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let mut c = Some(Upstream::start("c"));
    let place = c.as_ref().unwrap().address;
    let addresses = [a.address, b.address, place].map(|address| address.to_string());
    let evenly = Evenly::start(&proxy_pass(&addresses), "");
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = evenly.client();
                while !done.load(Relaxed) {
                    let reply = client.get("/delay/1");
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    asked.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..5 {
            let before = asked.load(Relaxed);
            eventually("load goes on with the member", || asked.load(Relaxed) > before + 200);
            let hits = c.as_ref().unwrap().hits();
            assert!(hits > 0, "the member took part");
            drop(c.take());
            let before = asked.load(Relaxed);
            eventually("load goes on without the member", || asked.load(Relaxed) > before + 200);
            c = Some(Upstream::start_at("c", place));
            eventually("the member is used again", || c.as_ref().unwrap().hits() > 0);
        }
        done.store(true, Relaxed);
    });
    assert!(asked.load(Relaxed) > 2000);
}

#[test]
fn a_member_that_refuses_costs_nobody_a_request_whatever_the_method() {
    let up = Upstream::start("a");
    let dead = format!("127.0.0.1:{}", free_port());
    let evenly = Evenly::start(
        &format!("{}\nbalance = \"round_robin\"", proxy_pass(&[dead, up.address.to_string()])),
        "",
    );
    let mut client = evenly.client();
    for _ in 0..20 {
        // Nothing of the request reached the dead member, so even a POST goes to the next.
        assert_eq!(client.request("POST", "/echo", "", b"body").text(), "body");
    }
    assert_eq!(up.hits(), 20);
}

#[test]
fn without_any_member_the_answer_is_502_and_the_proxy_lives() {
    let dead = format!("127.0.0.1:{}", free_port());
    let evenly = Evenly::start(&proxy_pass(std::slice::from_ref(&dead)), "");
    let mut client = evenly.client();
    for _ in 0..3 {
        let reply = client.get("/");
        assert_eq!(reply.status, 502);
        assert!(!reply.text().contains(&dead), "the members' addresses are nobody's business");
    }
}

/// The member closes after half of the body: the client must notice, not take half for the whole.
#[test]
fn a_truncated_answer_is_not_passed_off_as_whole() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        }
    });
    let evenly = Evenly::start(&proxy_pass(&[address]), "");
    assert!(evenly.client().try_get("/").is_err());
}

/// SIGTERM: a request that is being answered is finished, new connections are refused, exit code 0.
#[test]
fn sigterm_drains() {
    let up = Upstream::start("a");
    let mut evenly = Evenly::start(&proxy_pass(&[up.address.to_string()]), "");
    let mut client = evenly.client();
    client.send(b"GET /delay/1500 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("the request is under way", || up.hits() == 1);
    evenly.signal("TERM");
    eventually("no new connections", || Client::try_connect(evenly.address).is_err());
    let reply = client.reply("GET").unwrap();
    assert_eq!((reply.status, reply.text()), (200, "a"));
    assert_eq!(evenly.wait().code(), Some(0));
}

#[test]
fn a_second_signal_stops_now() {
    let up = Upstream::start("a");
    let mut evenly = Evenly::start(&proxy_pass(&[up.address.to_string()]), "");
    let mut client = evenly.client();
    client.send(b"GET /delay/60000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("the request is under way", || up.hits() == 1);
    evenly.signal("INT");
    eventually("no new connections", || Client::try_connect(evenly.address).is_err());
    thread::sleep(Duration::from_millis(50));
    evenly.signal("INT");
    assert_eq!(evenly.wait().code(), Some(0));
}
