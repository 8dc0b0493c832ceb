//! Load: clients on kept connections that ask without pause, and count whatever goes wrong.
//!
//! A client that is told `Connection: close` connects anew. Nothing is tried twice: a reset, a refusal or a wrong status
//! is a failure.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Client;

/// Clients under way.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    started: Instant,
}

#[derive(Default)]
struct Shared {
    done: AtomicBool,
    asked: AtomicU64,
    failed: AtomicU64,
    /// The first few failures in words.
    stories: Mutex<Vec<String>>,
    latencies: Mutex<Vec<Duration>>,
}

/// What a load saw.
#[derive(Debug)]
pub struct Report {
    pub asked: u64,
    pub failed: u64,
    pub stories: Vec<String>,
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub worst: Duration,
}

impl Load {
    /// Starts `clients` that GET `path` and take `status` for an answer that is right.
    pub fn start(address: SocketAddr, clients: usize, path: &'static str, status: u16) -> Load {
        Load::paced(address, clients, path, status, Duration::ZERO)
    }

    /// The same, with a pause after each request.
    pub fn paced(
        address: SocketAddr,
        clients: usize,
        path: &'static str,
        status: u16,
        pause: Duration,
    ) -> Load {
        let shared = Arc::new(Shared::default());
        let run = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || ask(&shared, address, path, status, pause))
        };
        Load { clients: (0..clients).map(run).collect(), shared, started: Instant::now() }
    }

    /// Requests that were answered rightly so far.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Relaxed)
    }

    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Relaxed)
    }

    /// Waits until `more` further requests are through, at most two minutes: the machine may be busy.
    pub fn goes_on(&self, more: u64) {
        let wanted = self.asked() + self.failed() + more;
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.asked() + self.failed() < wanted {
            assert!(Instant::now() < deadline, "the load did not go on: {} of {wanted}", self.asked());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn stop(self) -> Report {
        self.shared.done.store(true, Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let took = self.started.elapsed();
        let mut latencies = std::mem::take(&mut *self.shared.latencies.lock().unwrap());
        latencies.sort_unstable();
        let quantile =
            |per_mille: usize| latencies.get(latencies.len() * per_mille / 1000).copied().unwrap_or_default();
        Report {
            asked: self.shared.asked.load(Relaxed),
            failed: self.shared.failed.load(Relaxed),
            stories: std::mem::take(&mut *self.shared.stories.lock().unwrap()),
            per_second: self.shared.asked.load(Relaxed) as f64 / took.as_secs_f64(),
            p50: quantile(500),
            p99: quantile(990),
            worst: latencies.last().copied().unwrap_or_default(),
        }
    }
}

impl Report {
    /// A line of the table that `make soak` prints.
    pub fn print(&self, fault: &str, figure: &str) {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        row(&format!(
            "{fault} | {} | {} | {:.0}/s | {:.1} / {:.1} / {:.1} ms | {figure}",
            self.asked + self.failed,
            self.failed,
            self.per_second,
            ms(self.p50),
            ms(self.p99),
            ms(self.worst)
        ));
    }

    pub fn none_failed(&self) {
        assert_eq!(self.failed, 0, "of {}: {:#?}", self.asked, self.stories);
    }
}

/// A row of that table. The line break before it ends what the test harness has begun to say.
#[allow(clippy::print_stdout, reason = "this is the table")]
pub fn row(cells: &str) {
    println!("\n| {cells} |");
}

fn ask(shared: &Shared, address: SocketAddr, path: &str, status: u16, pause: Duration) {
    let mut kept = None;
    let mut latencies = Vec::new();
    while !shared.done.load(Relaxed) {
        let started = Instant::now();
        let is_kept = kept.is_some();
        let asked = match kept.take() {
            Some(client) => Ok(client),
            None => Client::try_connect(address),
        }
        .and_then(|mut client: Client| client.try_get(path).map(|reply| (client, reply)));
        latencies.push(started.elapsed());
        let story = match asked {
            Ok((client, reply)) => {
                if reply.header("connection") != Some("close") {
                    kept = Some(client);
                }
                if reply.status == status {
                    shared.asked.fetch_add(1, Relaxed);
                    thread::sleep(pause);
                    continue;
                }
                format!("status {}: {}", reply.status, String::from_utf8_lossy(&reply.body))
            }
            Err(error) => format!("{error} on a {} connection", if is_kept { "kept" } else { "new" }),
        };
        shared.failed.fetch_add(1, Relaxed);
        let mut stories = shared.stories.lock().unwrap();
        if stories.len() < 10 {
            stories.push(story);
        }
        drop(stories);
        thread::sleep(Duration::from_millis(1));
    }
    shared.latencies.lock().unwrap().append(&mut latencies);
}

/// The long form, of `make soak`.
pub fn is_long() -> bool {
    std::env::var_os("EVENLY_SOAK").is_some()
}

/// `short` in the default tests, `long` in `make soak`.
pub fn scaled(short: u64, long: u64) -> u64 {
    if is_long() { long } else { short }
}
