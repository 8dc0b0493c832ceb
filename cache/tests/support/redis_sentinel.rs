//! A master, its replica and three Sentinels that watch them.

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use super::redis_server::RedisServer;

pub struct SentinelSetup {
    pub master: RedisServer,
    pub replica: RedisServer,
    pub sentinels: Vec<RedisServer>,
}

impl SentinelSetup {
    /// Ready when every Sentinel knows the replica and the two others.
    pub fn start() -> Self {
        let master = RedisServer::start();
        let port = master.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", &format!("127.0.0.1 {port}")]);
        let sentinels = (0..3).map(|_| sentinel(&port)).collect();
        let setup = Self { master, replica, sentinels };
        setup.wait("replica and sentinels are known", |about| {
            about.contains("num-slaves\r\n$1\r\n1\r\n")
                && about.contains("num-other-sentinels\r\n$1\r\n2\r\n")
        });
        setup
    }

    pub fn url(&self) -> String {
        let addresses: Vec<_> =
            self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect();
        format!("redis+sentinel://{}/main", addresses.join(","))
    }

    fn wait(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        for sentinel in &self.sentinels {
            loop {
                let reply = sentinel.command(&[b"SENTINEL", b"MASTERS"]);
                if condition(&String::from_utf8_lossy(&reply)) {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "{what}: not within 40 s: {}",
                    String::from_utf8_lossy(&reply)
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn sentinel(master_port: &str) -> RedisServer {
    RedisServer::start_configured(&["--sentinel"], |folder| {
        let file = folder.join("sentinel.conf");
        let mut text = String::new();
        for line in [
            &format!("monitor main 127.0.0.1 {master_port} 2"),
            "down-after-milliseconds main 500",
            "failover-timeout main 2000",
            "parallel-syncs main 1",
        ] {
            writeln!(text, "sentinel {line}").expect("a String takes everything");
        }
        fs::write(&file, text).expect("our own folder can be written");
        file
    })
}
