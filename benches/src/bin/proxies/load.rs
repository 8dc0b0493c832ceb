//! What is asked of a proxy, on core 1: by wrk and h2load as fast as it can, by `paced` at a rate of its own.

use std::{fs, io, path::Path, process::Command};

use crate::{rival::find, setup::Role};

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    path: &'static str,
    connections: u32,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    KeepAlive,
    NewConnection,
    Post,
    H2c,
    Tls,
    /// So many a second, whether or not others were answered.
    Paced(u32),
}

/// What a load generator saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// Not a number where nothing is told that means something: as fast as it can, latency is only throughput again.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
}

impl Scenario {
    pub(crate) const ALL: [Scenario; 10] = [
        Scenario::new("get-1k", Role::Pass, "/1k", 64, How::KeepAlive),
        Scenario::new("get-10k", Role::Pass, "/10k", 64, How::KeepAlive),
        Scenario::new("get-1m", Role::Pass, "/1m", 16, How::KeepAlive),
        Scenario::new("post-10k", Role::Pass, "/post", 64, How::Post),
        Scenario::new("connect-1k", Role::Pass, "/1k", 64, How::NewConnection),
        Scenario::new("hit-1k", Role::Cache, "/1k", 64, How::KeepAlive),
        Scenario::new("hit-10k", Role::Cache, "/10k", 64, How::KeepAlive),
        Scenario::new("h2c-1k", Role::H2c, "/1k", 8, How::H2c),
        Scenario::new("tls-1k", Role::Tls, "/1k", 64, How::Tls),
        Scenario::new("paced-1k", Role::Pass, "/1k", 20, How::Paced(2000)),
    ];

    const fn new(name: &'static str, role: Role, path: &'static str, connections: u32, how: How) -> Self {
        Scenario { name, role, path, connections, how }
    }

    /// Loads the proxy at `port` for so many seconds.
    ///
    /// # Errors
    /// When the generator fails, or a request did.
    pub(crate) fn load(&self, port: u16, seconds: u32, folder: &Path) -> io::Result<Seen> {
        let url = self.url(port);
        let connections = format!("-c{}", self.connections);
        let mut command = Command::new("taskset");
        command.args(["-c", "1"]);
        if let How::Paced(rate) = self.how {
            let program = find("paced").ok_or_else(|| io::Error::other("paced is not built"))?;
            let [port, connections] = [port.to_string(), self.connections.to_string()];
            let numbers = [port, self.path.to_owned(), rate.to_string(), connections, seconds.to_string()];
            return run(command.arg(program).args(numbers)).and_then(|said| paced(&said));
        }
        if self.how == How::H2c {
            let duration = format!("-D{seconds}");
            return run(command.args(["h2load", &connections, "-m8", &duration, &url]))
                .and_then(|said| h2load(&said));
        }
        let duration = format!("-d{seconds}");
        command.args(["wrk", "-t1", &connections, &duration]);
        match self.how {
            How::NewConnection => drop(command.args(["-H", "Connection: close"])),
            How::Post => {
                let script = folder.join("post.lua");
                fs::write(&script, format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {POST_LEN})\n"))?;
                command.arg("-s").arg(script);
            }
            How::KeepAlive | How::H2c | How::Tls | How::Paced(_) => {}
        }
        run(command.arg(&url)).and_then(|said| wrk(&said))
    }

    /// Whether it loads as much as the proxy takes.
    pub(crate) fn is_steady(&self) -> bool {
        !matches!(self.how, How::Paced(_))
    }

    /// The program that makes the load.
    pub(crate) fn tool(&self) -> &'static str {
        match self.how {
            How::H2c => "h2load",
            How::Paced(_) => "paced",
            How::KeepAlive | How::NewConnection | How::Post | How::Tls => "wrk",
        }
    }

    fn url(&self, port: u16) -> String {
        let scheme = if self.how == How::Tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}{}", self.path)
    }

    /// Exactly `count` requests, for counting instructions.
    ///
    /// # Errors
    /// As for [`load`](Scenario::load).
    pub(crate) fn send(&self, port: u16, count: u64, folder: &Path) -> io::Result<()> {
        let url = self.url(port);
        let mut command = Command::new("taskset");
        command.args(["-c", "1", "h2load", "-c8", &format!("-n{count}")]);
        command.args(if self.how == How::H2c { ["-m", "8"] } else { ["-m1", "--h1"] });
        match self.how {
            How::NewConnection => drop(command.args(["-H", "Connection: close"])),
            How::Post => {
                let body = folder.join("body");
                fs::write(&body, "x".repeat(POST_LEN))?;
                command.arg("-d").arg(body);
            }
            How::KeepAlive | How::H2c | How::Tls | How::Paced(_) => {}
        }
        let said = run(command.arg(&url))?;
        let all = format!("{count} succeeded, 0 failed, 0 errored");
        if said.contains(&all) { Ok(()) } else { Err(io::Error::other(said)) }
    }
}

fn run(command: &mut Command) -> io::Result<String> {
    let done = command.output()?;
    let why = || {
        format!(
            "{command:?}: {}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        )
    };
    if !done.status.success() {
        return Err(io::Error::other(why()));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn wrk(said: &str) -> io::Result<Seen> {
    let after = |label: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(label))?;
        line.trim_start()[label.len()..].split_whitespace().next()
    };
    let total = said.lines().find(|line| line.contains(" requests in "));
    let requests = total.and_then(|line| line.split_whitespace().next()?.parse().ok());
    // wrk itself counts the close that it asked for as no error.
    let failed = said.contains("Non-2xx") || said.contains("Socket errors");
    let seen = requests.filter(|_| !failed).and_then(|requests| {
        Some(Seen {
            requests,
            per_second: after("Requests/sec:")?.parse().ok()?,
            p50_ms: f64::NAN,
            p99_ms: f64::NAN,
            p999_ms: f64::NAN,
        })
    });
    seen.ok_or_else(|| io::Error::other(format!("wrk: {said}")))
}

fn h2load(said: &str) -> io::Result<Seen> {
    let word = |label: &str, at: usize| {
        said.lines().find(|line| line.starts_with(label)).and_then(|line| line.split_whitespace().nth(at))
    };
    let seen = said.contains(" 0 failed, 0 errored").then(|| {
        Some(Seen {
            requests: word("requests:", 5)?.parse().ok()?,
            per_second: word("finished in", 3)?.parse().ok()?,
            p50_ms: f64::NAN,
            p99_ms: f64::NAN,
            p999_ms: f64::NAN,
        })
    });
    seen.flatten().ok_or_else(|| io::Error::other(format!("h2load: {said}")))
}

/// Requests, seconds, and three percentiles in milliseconds.
fn paced(said: &str) -> io::Result<Seen> {
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [requests, seconds, p50_ms, p99_ms, p999_ms] => {
            let per_second = requests / seconds;
            Ok(Seen { requests: requests as u64, per_second, p50_ms, p99_ms, p999_ms })
        }
        _ => Err(io::Error::other(format!("paced: {said}"))),
    }
}

/// Bytes of what is posted.
const POST_LEN: usize = 10 << 10;
