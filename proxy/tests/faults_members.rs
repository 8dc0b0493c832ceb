//! Members that die, freeze, flap or answer errors, under load: nobody's GET is lost.
//!
//! The short form is part of the default tests; `make soak` runs the long one and prints a table.

mod support;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use support::{Evenly, Load, UpstreamProcess, eventually, is_long, scaled, serve_if_asked};

#[test]
fn upstream_process() {
    serve_if_asked();
}

fn start(members: &[UpstreamProcess], more: &str, rest: &str) -> Evenly {
    let list: Vec<String> = members.iter().map(|member| format!("\"{}\"", member.address)).collect();
    Evenly::start(&format!("proxy_pass = [{}]\n{more}", list.join(", ")), rest)
}

fn members(count: usize) -> Vec<UpstreamProcess> {
    (0..count).map(|_| UpstreamProcess::start()).collect()
}

/// `kill -9` of one of four, again and again, while GETs come without pause.
#[test]
fn member_killed() {
    let mut members = members(4);
    let evenly = start(&members, "", "");
    let load = Load::start(evenly.address, 16, "/", 200);
    let mut kills = 0;
    while load.asked() < scaled(4_000, 110_000) {
        load.goes_on(scaled(800, 5_000));
        let victim = &mut members[kills % 4];
        victim.kill();
        load.goes_on(scaled(800, 5_000));
        *victim = UpstreamProcess::start_at(victim.address);
        kills += 1;
    }
    let report = load.stop();
    report.print("member killed", &format!("{kills} kills"));
    report.none_failed();
    assert!(kills > 1);
}

/// SIGSTOP: it accepts and says nothing. The requests at it are answered by another member after `response_timeout`.
#[test]
fn member_frozen() {
    let members = members(4);
    let evenly = start(&members, "response_timeout = 1", "");
    let load = Load::start(evenly.address, 16, "/", 200);
    for _ in 0..scaled(1, 5) {
        load.goes_on(500);
        members[0].signal("STOP");
        sleep(Duration::from_secs(scaled(2, 10)));
        // While it is frozen: whoever is answered now was not answered by it.
        load.goes_on(scaled(500, 5_000));
        members[0].signal("CONT");
        load.goes_on(500);
    }
    let report = load.stop();
    report.print("member frozen", "response_timeout 1 s");
    report.none_failed();
    assert!(evenly.stderr().contains("Silent"), "it was ejected for its silence");
    assert!(
        report.worst < Duration::from_millis(scaled(20_000, 2600)),
        "one wait, one retry: {:?}",
        report.worst
    );
}

/// Nobody is there: 503 at once, with `Retry-After`. Within a second of their return all is as before.
#[test]
fn all_down_and_back() {
    let mut members = members(3);
    let evenly = start(&members, "", "");
    let rate = || {
        let load = Load::start(evenly.address, 8, "/", 200);
        load.goes_on(scaled(500, 5_000));
        load.stop()
    };
    let before = rate();
    let mut client = evenly.client();
    assert_eq!(client.get("/").status, 200);
    members.iter_mut().for_each(UpstreamProcess::kill);
    eventually("all are taken out", || {
        evenly.stderr().matches("is taken out").count() == 3 || {
            client.get("/");
            false
        }
    });
    let mut waits: Vec<Duration> = Vec::new();
    let down = Instant::now();
    while down.elapsed() < Duration::from_secs(scaled(2, 10)) {
        let started = Instant::now();
        let reply = client.get("/");
        waits.push(started.elapsed());
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
        // After `max_requests_per_connection`, which are that many in a few seconds.
        if reply.header("connection") == Some("close") {
            client = evenly.client();
        }
    }
    waits.sort_unstable();
    let places: Vec<_> = members.iter().map(|member| member.address).collect();
    drop(members);
    let _members: Vec<_> = places.into_iter().map(UpstreamProcess::start_at).collect();
    let back = Instant::now();
    eventually("it is as before", || client.get("/").status == 200);
    let return_took = back.elapsed();
    let report = rate();
    let (p50, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    report.print(
        "all down and back",
        &format!(
            "{} × 503 in p50 {p50:.1?} p99 {p99:.1?}; first 200 after {return_took:.0?}, before {:.0}/s",
            waits.len(),
            before.per_second
        ),
    );
    report.none_failed();
    // The bounds of the issue. While other tests run, the quickest of all these answers shows what is ours.
    assert!(waits[0] < Duration::from_millis(5) && p50 < Duration::from_millis(scaled(1000, 5)), "{p50:?}");
    assert!(return_took < Duration::from_millis(scaled(30_000, 1500)), "{return_took:?}");
    // Right after the return as many as before. While other tests run, the machine decides that.
    assert!(!is_long() || report.per_second > 0.7 * before.per_second, "{report:?}");
}

/// One of three is there for a second and gone for a second.
#[test]
fn member_flapping() {
    let mut members = members(3);
    let evenly = start(&members, "", "");
    let load = Load::start(evenly.address, 16, "/", 200);
    let flaps = scaled(2, 15);
    for _ in 0..flaps {
        sleep(Duration::from_millis(scaled(500, 1000)));
        members[0].kill();
        sleep(Duration::from_millis(scaled(500, 1000)));
        let place = members[0].address;
        members[0] = UpstreamProcess::start_at(place);
    }
    let report = load.stop();
    report.print("member flapping", &format!("{flaps} times"));
    report.none_failed();
}

/// Every member answers every request with 500, and 500 is configured to be tried again: the members see at most 1.2
/// times what the clients send.
#[test]
fn all_answering_500() {
    let upstreams = ["a", "b", "c"].map(support::Upstream::start);
    let list: Vec<String> = upstreams.iter().map(|up| format!("\"{}\"", up.address)).collect();
    let evenly = Evenly::start(&format!("proxy_pass = [{}]", list.join(", ")), "[retry]\nstatuses = [500]");
    let load = Load::start(evenly.address, 16, "/status/500", 500);
    load.goes_on(scaled(2_000, 50_000));
    let report = load.stop();
    let sent: u64 = upstreams.iter().map(support::Upstream::hits).sum();
    let ratio = sent as f64 / report.asked as f64;
    report.print("all answering 500", &format!("upstream load × {ratio:.3}"));
    report.none_failed();
    assert!(ratio > 1.0 && ratio <= 1.2, "{ratio}");
}

/// A client of the proxy that waits for a frozen member holds nobody else up, and a POST is never sent twice.
#[test]
fn posts_are_sent_once_whatever_happens() {
    let mut members = members(2);
    let evenly = start(
        &members,
        "response_timeout = 1\nbalance = \"round_robin\"",
        "[health]\nfailures = 0\ncheck = \"off\"",
    );
    members[0].signal("STOP");
    let mut client = evenly.client();
    let statuses: Vec<u16> = (0..4).map(|_| client.request("POST", "/echo", "", b"x").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 504).count(), 2, "{statuses:?}");
    members[0].kill();
    let statuses: Vec<u16> = (0..4).map(|_| client.request("POST", "/echo", "", b"x").status).collect();
    // Of a member that is not there nothing was sent: those go to the other one.
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}
