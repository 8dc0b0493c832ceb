//! Change under load: reloads, broken files, drains, upgrades. Nobody's request is lost.
//!
//! The short form is part of the default tests; `make soak` runs the long one and prints a table.

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::{Client, Evenly, Load, Reply, Upstream, eventually, free_port, row, scaled};

fn text(evenly: SocketAddr, ups: &[&Upstream], weight: u64) -> String {
    let list: Vec<String> = ups.iter().map(|up| format!("\"{}^{weight}\"", up.address)).collect();
    // Members stand last: a file cut off anywhere before its last byte but one is a faulty file.
    format!("[server]\nport = \"{evenly}\"\nbalance = \"round_robin\"\nproxy_pass = [{}]\n", list.join(", "))
}

/// The file is replaced a hundred times, each time with other weights and now and then without a member.
#[test]
fn a_hundred_reloads() {
    let ups = ["a", "b", "c"].map(Upstream::start);
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]", ups[0].address), "");
    let load = Load::start(evenly.address, 8, "/", 200);
    let mut download = evenly.client();
    download.send(b"GET /bytes/200000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    download.head().unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    let mut read_on = || {
        let count = download.read(&mut buffer).unwrap();
        assert!(count > 0, "the download broke off after {received} bytes");
        received += count;
        received
    };
    let (started, mut reloads) = (Instant::now(), 0);
    for turn in 1..=100 {
        read_on();
        let members: Vec<&Upstream> = ups.iter().take(1 + turn % 3).collect();
        let beside = evenly.config_file.with_extension("new");
        fs::write(&beside, text(evenly.address, &members, turn as u64)).unwrap();
        fs::rename(&beside, &evenly.config_file).unwrap();
        evenly.signal("HUP");
        eventually("it takes effect", || {
            let told = evenly.stderr().matches("is in effect").count();
            std::mem::replace(&mut reloads, told) < told
        });
        let due = started + Duration::from_millis(scaled(0, 100)) * turn as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let took = started.elapsed();
    let report = load.stop();
    report.print("100 reloads", &format!("in {took:.1?}, {reloads} took effect, a download lived on"));
    report.none_failed();
    assert!(reloads >= 100, "{reloads}");
    while read_on() < 200_000_000 {}
}

/// The file is cut off at a hundred places, and each time it is to be read again: the old one stays in effect.
#[test]
fn a_hundred_broken_reloads() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]", up.address), "");
    let whole = text(evenly.address, &[&up], 1);
    let load = Load::start(evenly.address, 8, "/", 200);
    let mut told = 0;
    for turn in 0..scaled(20, 100) as usize {
        fs::write(&evenly.config_file, &whole[..turn * (whole.len() - 3) / 100]).unwrap();
        evenly.signal("HUP");
        eventually("the fault is reported", || evenly.stderr().matches("refused").count() > told);
        told = evenly.stderr().matches("refused").count();
    }
    let report = load.stop();
    report.print("100 broken reloads", &format!("{told} refused"));
    report.none_failed();
    assert!(!evenly.stderr().contains("is in effect"));
}

/// SIGTERM with five hundred requests in flight: all are answered, and the process ends right after the last.
#[test]
fn drain_with_500_in_flight() {
    let up = Upstream::start("a");
    let mut evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]", up.address), "");
    let count = scaled(200, 500);
    let mut clients: Vec<Client> = (0..count).map(|_| evenly.client()).collect();
    for client in &mut clients {
        client.send(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    eventually("all are under way", || up.hits() == count);
    evenly.signal("TERM");
    // Only an answer that is given from now on says `Connection: close`; the connection of an earlier one is idle, and
    // has a second for one more request. A delay instead of the gate made this a matter of luck.
    eventually("the listener is closed", || Client::try_connect(evenly.address).is_err());
    up.open_gate();
    let mut dropped = 0;
    // Each closes when it has its answer, as it is told to.
    for mut client in clients {
        let is_well = |reply: Reply| (reply.status, reply.header("connection")) == (200, Some("close"));
        dropped += u32::from(!client.reply("GET").is_ok_and(is_well));
    }
    let last = Instant::now();
    let status = evenly.wait();
    let took = last.elapsed();
    row(&format!("drain with {count} in flight | {count} | {dropped} | | | ended {took:.0?} after the last"));
    assert_eq!((dropped, status.code()), (0, Some(0)));
    assert!(took < Duration::from_secs(scaled(30, 1)), "{took:?}");
}

/// One socket, handed from process to process as systemd does it: the new one is up before the old one drains.
#[test]
fn ten_upgrades() {
    let up = Upstream::start("a");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cfg.toml");
    // Nobody hands over the place for operators: each process gets it when the one before has ended.
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    fs::write(&file, format!("{}[admin]\nlisten = \"{admin}\"\n", text(address, &[&up], 1))).unwrap();
    let log = folder.path().join("log");
    let start = || {
        let child = Command::new(Evenly::binary())
            .args(["run", "--config"])
            .arg(&file)
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDS_FIRST_FD", "0")
            .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
            .stderr(fs::OpenOptions::new().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        Running(child)
    };
    let ups = |log: &str| log.matches("evenly is up").count();
    let mut running = start();
    eventually("the first is up", || fs::read_to_string(&log).is_ok_and(|log| ups(&log) == 1));
    let load = Load::start(address, 8, "/", 200);
    let upgrades = scaled(3, 10) as usize;
    for turn in 0..upgrades {
        load.goes_on(200);
        let next = start();
        eventually("the next is up", || ups(&fs::read_to_string(&log).unwrap()) == turn + 2);
        let mut old = std::mem::replace(&mut running, next);
        let pid = old.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        eventually("the old one ends", || old.0.try_wait().unwrap().is_some_and(|status| status.success()));
        eventually("the next one has the place for operators", || Client::try_connect(admin).is_ok());
    }
    load.goes_on(200);
    let report = load.stop();
    report.print("binary upgrades", &format!("{upgrades} upgrades"));
    report.none_failed();
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
