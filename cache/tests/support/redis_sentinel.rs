//! A master, its replica and three Sentinels that watch them.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::{
    redis_server::{RedisServer, free_port},
    tls::Certificates,
};

pub struct SentinelSetup {
    pub master: RedisServer,
    pub replica: RedisServer,
    pub sentinels: Vec<RedisServer>,
}

/// What makes one set-up different from another.
#[derive(Default)]
pub struct SentinelOptions<'a> {
    /// Of master and replica.
    pub password: Option<&'a str>,
    /// Of the Sentinels themselves.
    pub sentinel_password: Option<&'a str>,
    /// Lines more in the Sentinels' configuration.
    pub sentinel_lines: &'a [&'a str],
    /// Everybody speaks TLS, to each other too.
    pub tls: Option<&'a Certificates>,
}

impl SentinelSetup {
    /// Ready when every Sentinel knows the replica and the two others.
    pub fn start() -> Self {
        Self::start_with(&SentinelOptions::default())
    }

    pub fn start_with(options: &SentinelOptions<'_>) -> Self {
        let server = |more: &[String]| {
            let mut all = more.to_vec();
            if let Some(password) = options.password {
                all.extend(["--requirepass", password, "--masterauth", password].map(ToOwned::to_owned));
            }
            if let Some(files) = options.tls {
                all.extend(files.server_options(free_port(), "yes"));
            }
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            with_password(RedisServer::start_with(&all), options.password)
        };
        let master = server(&[]);
        let port = master.main_port().to_string();
        let replica = server(&["--replicaof".to_owned(), format!("127.0.0.1 {port}")]);
        let sentinels = (0..3).map(|_| sentinel(&port, options)).collect();
        let setup = Self { master, replica, sentinels };
        setup.wait("replica and sentinels are known", |about| {
            about.contains("num-slaves\r\n$1\r\n1\r\n")
                && about.contains("num-other-sentinels\r\n$1\r\n2\r\n")
        });
        setup
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/main", self.addresses())
    }

    /// The Sentinels, as a URL lists them: their TLS ports where they have any.
    pub fn addresses(&self) -> String {
        let address = |sentinel: &RedisServer| format!("127.0.0.1:{}", sentinel.main_port());
        self.sentinels.iter().map(address).collect::<Vec<_>>().join(",")
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

fn sentinel(master_port: &str, options: &SentinelOptions<'_>) -> RedisServer {
    let mut command_line = vec!["--sentinel".to_owned()];
    if let Some(files) = options.tls {
        command_line.extend(files.server_options(free_port(), "yes"));
    }
    let command_line: Vec<&str> = command_line.iter().map(String::as_str).collect();
    let server = RedisServer::start_configured(&command_line, |folder| {
        let file = folder.join("sentinel.conf");
        let mut lines = vec![
            format!("sentinel monitor main 127.0.0.1 {master_port} 2"),
            "sentinel down-after-milliseconds main 500".to_owned(),
            "sentinel failover-timeout main 2000".to_owned(),
            "sentinel parallel-syncs main 1".to_owned(),
        ];
        lines.extend(options.password.map(|password| format!("sentinel auth-pass main {password}")));
        if let Some(password) = options.sentinel_password {
            lines.extend([format!("requirepass {password}"), format!("sentinel sentinel-pass {password}")]);
        }
        lines.extend(options.sentinel_lines.iter().map(ToString::to_string));
        fs::write(&file, lines.join("\n") + "\n").expect("our own folder can be written");
        file
    });
    with_password(server, options.sentinel_password)
}

fn with_password(server: RedisServer, password: Option<&str>) -> RedisServer {
    match password {
        Some(password) => server.with_password(password),
        None => server,
    }
}
