//! What is asked of a proxy, by wrk or h2load on core 1.

use std::{fs, io, path::Path, process::Command};

use crate::rival::Role;

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
}

/// What a load generator saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Scenario {
    pub(crate) const ALL: [Scenario; 8] = [
        Scenario::new("get-1k", Role::Pass, "/1k", 64, How::KeepAlive),
        Scenario::new("get-10k", Role::Pass, "/10k", 64, How::KeepAlive),
        Scenario::new("get-1m", Role::Pass, "/1m", 16, How::KeepAlive),
        Scenario::new("post-10k", Role::Pass, "/post", 64, How::Post),
        Scenario::new("connect-1k", Role::Pass, "/1k", 64, How::NewConnection),
        Scenario::new("hit-1k", Role::Cache, "/1k", 64, How::KeepAlive),
        Scenario::new("hit-10k", Role::Cache, "/10k", 64, How::KeepAlive),
        Scenario::new("h2c-1k", Role::H2c, "/1k", 8, How::H2c),
    ];

    const fn new(name: &'static str, role: Role, path: &'static str, connections: u32, how: How) -> Self {
        Scenario { name, role, path, connections, how }
    }

    /// Loads the proxy at `port` for so many seconds.
    ///
    /// # Errors
    /// When the generator fails, or a request did.
    pub(crate) fn load(&self, port: u16, seconds: u32, folder: &Path) -> io::Result<Seen> {
        let url = format!("http://127.0.0.1:{port}{}", self.path);
        let connections = format!("-c{}", self.connections);
        let mut command = Command::new("taskset");
        command.args(["-c", "1"]);
        if self.how == How::H2c {
            let duration = format!("-D{seconds}");
            return run(command.args(["h2load", &connections, "-m8", &duration, &url]))
                .and_then(|said| h2load(&said));
        }
        let duration = format!("-d{seconds}");
        command.args(["wrk", "-t1", "--latency", &connections, &duration]);
        match self.how {
            How::NewConnection => drop(command.args(["-H", "Connection: close"])),
            How::Post => {
                let script = folder.join("post.lua");
                fs::write(&script, "wrk.method = 'POST'\nwrk.body = string.rep('x', 10240)\n")?;
                command.arg("-s").arg(script);
            }
            How::KeepAlive | How::H2c => {}
        }
        run(command.arg(&url)).and_then(|said| wrk(&said))
    }

    /// Exactly `count` requests, for counting instructions.
    ///
    /// # Errors
    /// As for [`load`](Scenario::load).
    pub(crate) fn send(&self, port: u16, count: u64) -> io::Result<()> {
        let url = format!("http://127.0.0.1:{port}{}", self.path);
        let mut command = Command::new("taskset");
        command.args(["-c", "1", "h2load", "-c8", &format!("-n{count}")]);
        command.args(if self.how == How::H2c { ["-m", "8"] } else { ["-m1", "--h1"] });
        let said = run(command.arg(&url))?;
        let all = format!("{count} succeeded, 0 failed, 0 errored");
        if said.contains(&all) { Ok(()) } else { Err(io::Error::other(said)) }
    }
}

fn run(command: &mut Command) -> io::Result<String> {
    let done = command.output()?;
    if !done.status.success() {
        return Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr))));
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
            p50_ms: milliseconds(after("50%")?)?,
            p99_ms: milliseconds(after("99%")?)?,
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
            // min, max, mean: h2load tells no percentiles.
            p50_ms: milliseconds(word("time for request:", 5)?)?,
            p99_ms: f64::NAN,
        })
    });
    seen.flatten().ok_or_else(|| io::Error::other(format!("h2load: {said}")))
}

fn milliseconds(text: &str) -> Option<f64> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let number: f64 = text[..unit].parse().ok()?;
    Some(match &text[unit..] {
        "us" => number / 1000.0,
        "ms" => number,
        "s" => number * 1000.0,
        _ => return None,
    })
}
