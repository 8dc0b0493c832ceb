//! Many clients, slow clients, few file descriptors: it holds, with little memory.
//!
//! The short form is part of the default tests; `make soak` runs the long one and prints a table.

mod support;

use std::{
    fs,
    io::{ErrorKind, Read as _},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use support::{Client, Evenly, Load, Upstream, eventually, scaled};

fn start(up: &Upstream, more: &str) -> Evenly {
    Evenly::start(&format!("proxy_pass = [\"{}\"]\n{more}", up.address), "")
}

fn fds(evenly: &Evenly) -> usize {
    fs::read_dir(format!("/proc/{}/fd", evenly.pid())).unwrap().count()
}

/// Kept connections on which nothing happens: what each costs.
#[test]
fn idle_clients() {
    let up = Upstream::start("a");
    let evenly = start(&up, "http_read_timeout = 600");
    let before = evenly.rss_kib();
    let count = scaled(400, 10_000);
    let mut clients: Vec<Client> = (0..count).map(|_| evenly.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    let after = evenly.rss_kib();
    let load = Load::start(evenly.address, 2, "/", 200);
    load.goes_on(500);
    let report = load.stop();
    let each = (after - before) as f64 / count as f64;
    report.print(&format!("{count} idle clients"), &format!("{} MiB, {each:.1} KiB each", after / 1024));
    report.none_failed();
    assert!(after < 200 << 10, "{after} KiB");
    // What the issue asks for is 200 MiB for 10,000. A dev build's tasks are larger, and few clients share its base.
    assert!(each < scaled(64, 20) as f64, "{each} KiB");
}

/// Clients that ask for 20 MB each and read next to nothing.
#[test]
fn slow_readers() {
    let up = Upstream::start("a");
    let evenly = start(&up, "http_write_timeout = 600");
    let before = evenly.rss_kib();
    let count = scaled(100, 1000);
    let mut clients: Vec<Client> = (0..count).map(|_| evenly.client()).collect();
    for client in &mut clients {
        client.send(b"GET /bytes/20000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.head().unwrap().0, 200);
    }
    let load = Load::start(evenly.address, 4, "/", 200);
    load.goes_on(1000);
    let report = load.stop();
    let each = (evenly.rss_kib().saturating_sub(before)) as f64 / count as f64;
    report.print(&format!("{count} slow readers"), &format!("{each:.0} KiB each"));
    report.none_failed();
    assert!(each < 512.0, "{each} KiB");
}

/// Heads that never end, and bodies that never end: closed when their time is over, and nobody else notices.
#[test]
fn slowloris() {
    let up = Upstream::start("a");
    let evenly = start(&up, "http_read_timeout = 2");
    let count = scaled(100, 1000);
    let started = Instant::now();
    let mut clients: Vec<Client> = (0..count).map(|_| evenly.client()).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: te").unwrap();
    }
    let load = Load::start(evenly.address, 4, "/", 200);
    for client in &mut clients {
        // An answer of 408 or nothing, and then the end.
        let mut rest = Vec::new();
        let ended = client.writer().read_to_end(&mut rest);
        let is_open = ended.is_err_and(|error| error.kind() != ErrorKind::ConnectionReset);
        assert!(!is_open, "a head that never ends kept its connection open");
    }
    let took = started.elapsed();
    let report = load.stop();
    report.print(&format!("slowloris, {count} clients"), &format!("all closed after {took:.1?}, limit 2 s"));
    report.none_failed();
    assert!(took < Duration::from_secs(scaled(30, 6)), "{took:?}");
}

/// 256 file descriptors and many more clients: it waits, serves whom it can, and recovers.
#[test]
fn few_file_descriptors() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    let limit =
        Command::new("prlimit").args(["--nofile=256:256", "--pid", &evenly.pid().to_string()]).status();
    assert!(limit.is_ok_and(|status| status.success()), "prlimit (package util-linux) is needed");
    let clients: Vec<Client> = (0..scaled(400, 1000)).map(|_| evenly.client()).collect();
    eventually("it is out of descriptors", || evenly.stderr().contains("cannot accept"));
    let most = fds(&evenly);
    drop(clients);
    let freed = Instant::now();
    let mut client = evenly.client();
    assert_eq!(client.get("/").status, 200);
    let took = freed.elapsed();
    let load = Load::start(evenly.address, 8, "/", 200);
    load.goes_on(500);
    let report = load.stop();
    report.print("256 file descriptors", &format!("{most} open at most, first 200 {took:.0?} after"));
    report.none_failed();
    assert!(!evenly.stderr().contains("panicked"));
    assert!(took < Duration::from_secs(scaled(30, 2)), "{took:?}");
}

/// Mixed load for a while: memory and descriptors are at the end what they were after warming up.
#[test]
fn soak() {
    let ups = ["a", "b", "c"].map(Upstream::start);
    let list: Vec<String> = ups.iter().map(|up| format!("\"{}\"", up.address)).collect();
    let evenly =
        Evenly::start(&format!("proxy_pass = [{}]\ncache = true\ncache_timeout = 60", list.join(", ")), "");
    let loads = ["/", "/max-age/1", "/bytes/100000"].map(|path| Load::start(evenly.address, 4, path, 200));
    let warm = |secs| {
        loads.iter().for_each(|load| load.goes_on(1000));
        sleep(Duration::from_secs(secs));
    };
    warm(scaled(0, 30));
    let (memory, descriptors) = (evenly.rss_kib(), fds(&evenly));
    warm(scaled(0, soak_seconds()));
    let (memory_after, descriptors_after) = (evenly.rss_kib(), fds(&evenly));
    for (load, name) in loads.into_iter().zip(["small", "cached", "100 kB"]) {
        let report = load.stop();
        let figure = format!("RSS {memory} → {memory_after} KiB, fds {descriptors} → {descriptors_after}");
        report.print(&format!("soak, {name}"), &figure);
        report.none_failed();
    }
    assert!(memory_after < memory + (8 << 10), "{memory} → {memory_after} KiB");
    assert!(descriptors_after < descriptors + 40, "{descriptors} → {descriptors_after}");
}

/// Of the long form: `EVENLY_SOAK=1800` is the soak of half an hour.
fn soak_seconds() -> u64 {
    std::env::var("EVENLY_SOAK").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60)
}
