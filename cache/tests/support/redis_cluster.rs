//! A real Cluster on loopback, put together by hand: so many masters, and replicas if asked for.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use super::{
    redis_server::{RedisServer, free_port},
    tls::Certificates,
};

pub struct RedisCluster {
    pub masters: Vec<RedisServer>,
    /// One for each master, or none.
    pub replicas: Vec<RedisServer>,
}

const SLOTS: usize = 16_384;

impl RedisCluster {
    /// Three masters that share the slots.
    pub fn start() -> Self {
        Self::start_with(&[], false)
    }

    /// The same, each with a replica that takes over when it dies.
    pub fn start_with_replicas(options: &[&str]) -> Self {
        Self::start_with(options, true)
    }

    /// Three masters that speak TLS, to each other too.
    pub fn start_over_tls(files: &Certificates) -> Self {
        Self::of((0..3).map(|_| node_over_tls(files)).collect(), Vec::new())
    }

    pub fn start_with(options: &[&str], with_replicas: bool) -> Self {
        let replicas = if with_replicas { 3 } else { 0 };
        Self::of((0..3).map(|_| node(options)).collect(), (0..replicas).map(|_| node(options)).collect())
    }

    /// Shares the slots out and makes the nodes known to each other.
    fn of(masters: Vec<RedisServer>, replicas: Vec<RedisServer>) -> Self {
        let cluster = Self { masters, replicas };
        let share = SLOTS.div_ceil(cluster.masters.len());
        for (index, master) in cluster.masters.iter().enumerate() {
            let (first, last) = (index * share, ((index + 1) * share - 1).min(SLOTS - 1));
            expect_ok(master, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            // Different epochs from the start: nodes that agree at once need not settle it.
            expect_ok(master, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for server in cluster.servers().skip(1) {
            let port = cluster.masters[0].main_port();
            let (port, bus) = (port.to_string(), (port + 10_000).to_string());
            expect_ok(server, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        wait("all nodes know each other", || {
            let total = format!("cluster_known_nodes:{}", cluster.servers().count());
            cluster.servers().all(|server| info(server).contains(&total))
        });
        for (master, replica) in cluster.masters.iter().zip(&cluster.replicas) {
            let id = text(master, &["CLUSTER", "MYID"]);
            let id = id.lines().nth(1).expect("an id");
            wait("the replica knows its master", || {
                text(replica, &["CLUSTER", "REPLICATE", id]) == "+OK\r\n"
            });
        }
        cluster.wait_until_ok();
        cluster
    }

    /// `redis+cluster://…`, naming one node only: the others are found.
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.masters[0].address())
    }

    /// Naming every node.
    pub fn url_of_all(&self) -> String {
        let addresses: Vec<_> = self.servers().map(|server| server.address().to_string()).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// The same one, by its TLS port.
    pub fn url_over_tls(&self, files: &Certificates) -> String {
        format!("rediss+cluster://127.0.0.1:{}?{}", self.masters[0].main_port(), files.url_options())
    }

    /// Until every running node says that all slots are served.
    pub fn wait_until_ok(&self) {
        wait("cluster_state:ok", || {
            self.servers()
                .filter(|server| server.is_running())
                .all(|server| info(server).contains("cluster_state:ok"))
        });
        wait("replicas are in step", || {
            self.replicas.iter().filter(|replica| replica.is_running()).all(|replica| {
                let info = text(replica, &["INFO", "replication"]);
                info.contains("role:master") || info.contains("master_link_status:up")
            })
        });
    }

    /// The place in `masters` of the one that serves `name`'s slot.
    pub fn master_of(&self, name: &[u8]) -> usize {
        let reply = self.masters[0].command(&[b"CLUSTER", b"KEYSLOT", name]);
        let slot: usize = String::from_utf8_lossy(&reply[1..]).trim().parse().expect("a slot");
        slot / SLOTS.div_ceil(self.masters.len())
    }

    fn servers(&self) -> impl Iterator<Item = &RedisServer> {
        self.masters.iter().chain(&self.replicas)
    }
}

fn node(options: &[&str]) -> RedisServer {
    node_on(port_with_bus(), options)
}

/// Other nodes and clients with certificates meet it on its TLS port.
fn node_over_tls(files: &Certificates) -> RedisServer {
    let options = files.server_options(port_with_bus(), "yes");
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--tls-cluster", "yes"]).collect();
    node_on(free_port(), &options)
}

fn node_on(port: u16, options: &[&str]) -> RedisServer {
    let mut all = vec![
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-require-full-coverage",
        "no",
    ];
    all.extend(options);
    RedisServer::start_on(port, &all)
}

/// The bus takes the port 10,000 above, which must be free and of nobody whom `free_port` serves.
fn port_with_bus() -> u16 {
    let fits = |port: &u16| *port >= 22_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok();
    std::iter::repeat_with(free_port).find(fits).expect("an endless iterator")
}

fn info(server: &RedisServer) -> String {
    text(server, &["CLUSTER", "INFO"])
}

fn text(server: &RedisServer, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    String::from_utf8(server.command(&words)).expect("a reply in text")
}

fn expect_ok(server: &RedisServer, words: &[&str]) {
    assert_eq!(text(server, words), "+OK\r\n", "{words:?}");
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within 40 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}
