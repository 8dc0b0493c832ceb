//! Many clients, slow clients, few file descriptors: it holds, with little memory.
//!
//! The short form is part of the default tests; `make soak` runs the long one and prints a table.

mod support;

use std::{
    fs,
    io::{ErrorKind, Read as _},
    net::Shutdown,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use support::{Client, Evenly, Load, Upstream, free_port, scaled};

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
    let evenly = start(&up, "idle_timeout = 600");
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
    // A piece of the answer, at most 64 KiB, and what the request itself needs; a dev build's is larger.
    assert!(each < 160.0, "{each} KiB");
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

/// 256 file descriptors and many more clients: whom it accepts it answers, from members that it has to dial, and who
/// comes when it has no descriptors left waits for its turn.
#[test]
fn few_file_descriptors() {
    let ups = ["a", "b"].map(Upstream::start);
    let [a, b] = ups.each_ref().map(|up| up.address.to_string());
    let rest = format!("[admin]\nlisten = \"127.0.0.1:{}\"", free_port());
    let server = format!("proxy_pass = [\"{a}\", \"{b}\"]\nhttp_read_timeout = 120");
    let evenly = Evenly::start_within(256, &server, &rest);
    let operate = |verb: &[&str], member: &str| {
        let mut command = Command::new(Evenly::binary());
        command.arg("drain").args(verb).args(["-c", evenly.config_file.to_str().unwrap(), member]);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    };
    let count = scaled(400, 1000) as usize;
    let mut most = 0;
    // All at one member, and then all at the other one: what is kept open to the first is in the way.
    for away in [&a, &b] {
        operate(&[], away);
        let mut clients: Vec<Client> = (0..count).map(|_| evenly.client()).collect();
        for client in &mut clients {
            client.send(b"GET /delay/100 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        }
        for client in &mut clients {
            let reply = client.reply("GET").unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            most = most.max(fds(&evenly));
            // It goes, and somebody who waits comes in.
            client.writer().shutdown(Shutdown::Both).unwrap();
        }
        operate(&["--undo"], away);
    }
    let load = Load::start(evenly.address, 8, "/", 200);
    load.goes_on(500);
    let report = load.stop();
    report.print("256 file descriptors", &format!("{} answered, {most} open at most", 2 * count));
    report.none_failed();
    assert!(evenly.stderr().contains("no file descriptors for further clients"), "{}", evenly.stderr());
    assert!(!evenly.stderr().contains("cannot accept") && most < 256, "{most}");
}

/// Mixed load for a while, with clients that come, break off and go, and reloads: memory and descriptors are at the end
/// what they were after warming up.
#[test]
fn soak() {
    let ups = ["a", "b", "c"].map(Upstream::start);
    let list: Vec<String> = ups.iter().map(|up| format!("\"{}\"", up.address)).collect();
    let evenly =
        Evenly::start(&format!("proxy_pass = [{}]\ncache = true\ncache_timeout = 60", list.join(", ")), "");
    // What leaks, leaks by requests and by hours: a machine that has something else to do can do this beside it.
    let pause = Duration::from_millis(scaled(0, 5));
    let loads =
        ["/", "/max-age/1", "/bytes/100000"].map(|path| Load::paced(evenly.address, 4, path, 200, pause));
    let turns = |seconds| {
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut turn = 0_u32;
        while turn < 20 || Instant::now() < until {
            restless_client(&evenly);
            if turn.is_multiple_of(20) {
                evenly.signal("HUP");
            }
            turn += 1;
            sleep(Duration::from_millis(scaled(1, 50)));
        }
        loads.iter().for_each(|load| load.goes_on(1000));
        turn
    };
    turns(scaled(0, 30));
    let (memory, descriptors) = (evenly.rss_kib(), fds(&evenly));
    let (mut on_the_way, mut restless) = (Vec::new(), 0);
    for _ in 0..10 {
        restless += turns(scaled(0, soak_seconds() / 10));
        on_the_way.push(evenly.rss_kib().to_string());
    }
    let (memory_after, descriptors_after) = (evenly.rss_kib(), fds(&evenly));
    let reloads = evenly.stderr().matches("is in effect").count();
    for (load, name) in loads.into_iter().zip(["small", "cached", "100 kB"]) {
        let report = load.stop();
        let figure = format!(
            "RSS {memory} KiB, then {}, fds {descriptors} → {descriptors_after}; \
             {restless} × a POST and two requests broken off, {reloads} reloads",
            on_the_way.join(" ")
        );
        report.print(&format!("soak, {name}"), &figure);
        report.none_failed();
    }
    assert!(memory_after < memory + (8 << 10), "{memory} → {memory_after} KiB");
    assert!(descriptors_after < descriptors + 40, "{descriptors} → {descriptors_after}");
}

/// Connects anew for each thing it does, and leaves two of them unfinished.
fn restless_client(evenly: &Evenly) {
    let mut client = evenly.client();
    assert_eq!(client.request("POST", "/echo", "", &[b'x'; 30_000]).body.len(), 30_000);
    let mut client = evenly.client();
    client.send(b"GET /bytes/10000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().0, 200);
    let mut client = evenly.client();
    client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nhalf").unwrap();
}

/// Of the long form: `EVENLY_SOAK=1800` is the soak of half an hour.
fn soak_seconds() -> u64 {
    std::env::var("EVENLY_SOAK").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60)
}
