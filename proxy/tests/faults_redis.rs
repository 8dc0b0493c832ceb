//! The cache is on Redis, and Redis dies, freezes or talks nonsense: nobody's request fails, and none waits.
//!
//! The short form is part of the default tests; `make soak` runs the long one and prints a table.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use support::{Client, Evenly, Load, Report, Upstream, eventually, free_port, scaled};

/// A `redis-server` of our own.
struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    fn start_at(address: SocketAddr) -> Redis {
        let child = Command::new("redis-server")
            .args([
                "--port",
                &address.port().to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed for this test (Debian: apt install redis-server)");
        eventually("redis listens", || Client::try_connect(address).is_ok());
        Redis { child, address }
    }

    fn start() -> Redis {
        Redis::start_at(([127, 0, 0, 1], free_port()).into())
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(up: &Upstream, redis: SocketAddr) -> Evenly {
    Evenly::start(
        &format!(
            "proxy_pass = [\"{}\"]\ncache = true\ncache_type = \"redis\"\ncache_timeout = 60",
            up.address
        ),
        &format!("[redis]\nredis_host = \"{redis}\""),
    )
}

/// No request waits for Redis longer than its time limit of half a second. While other tests run, the kernel may let one
/// wait for that long, but not one in a hundred.
fn is_quick(report: &Report) {
    assert!(report.p99 < Duration::from_millis(scaled(5_000, 250)), "{:?}", report.p99);
    assert!(report.worst < Duration::from_secs(scaled(20, 1)), "{:?}", report.worst);
}

/// Killed under load, and started again.
#[test]
fn redis_killed() {
    let up = Upstream::start("a");
    let redis = Redis::start();
    let (evenly, place) = (start(&up, redis.address), redis.address);
    let load = Load::start(evenly.address, 8, "/max-age/1", 200);
    load.goes_on(500);
    drop(redis);
    let started = Instant::now();
    sleep(Duration::from_secs(scaled(1, 10)));
    load.goes_on(500);
    let away = started.elapsed();
    let _redis = Redis::start_at(place);
    load.goes_on(500);
    let report = load.stop();
    report.print("Redis killed", &format!("away for {away:.1?}"));
    report.none_failed();
    is_quick(&report);
}

/// SIGSTOP: it takes commands and answers none.
#[test]
fn redis_frozen() {
    let up = Upstream::start("a");
    let redis = Redis::start();
    let evenly = start(&up, redis.address);
    let load = Load::start(evenly.address, 8, "/max-age/1", 200);
    load.goes_on(500);
    redis.signal("STOP");
    sleep(Duration::from_secs(scaled(2, 10)));
    // All the while it answers nothing.
    load.goes_on(500);
    redis.signal("CONT");
    load.goes_on(500);
    let report = load.stop();
    report.print("Redis frozen", &format!("for {} s", scaled(2, 10)));
    report.none_failed();
    is_quick(&report);
}

/// Something answers at its port, but not as Redis does: bodies are the member's own all the same.
#[test]
fn redis_garbage() {
    let up = Upstream::start("a");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 4096];
                while matches!(stream.read(&mut buffer), Ok(1..)) {
                    let _ = stream.write_all(b"$5\r\nhello\r\n*2\r\n:1\r\n-ERR no\r\n\xff\xfe\0garbage\r\n");
                }
            });
        }
    });
    let evenly = start(&up, address);
    let load = Load::start(evenly.address, 8, "/max-age/1", 200);
    load.goes_on(scaled(500, 20_000));
    let report = load.stop();
    report.print("Redis answers garbage", "bodies right");
    report.none_failed();
    assert_eq!(evenly.client().get("/max-age/60").text(), "a");
    is_quick(&report);
}
