//! The binary `evenly` as a process of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{Client, eventually};

/// A running proxy; killed when dropped.
pub struct Evenly {
    child: Child,
    pub address: SocketAddr,
    pub config_file: PathBuf,
    pub folder: tempfile::TempDir,
}

impl Evenly {
    /// Starts `evenly run` with `[server]` keys `server` (without `port`) and further sections `rest`.
    pub fn start(server: &str, rest: &str) -> Evenly {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config_file = folder.path().join("cfg.toml");
        fs::write(&config_file, format!("[server]\nport = \"{address}\"\n{server}\n{rest}\n")).unwrap();
        Self::run_file(folder, config_file, address)
    }

    /// Starts `evenly run` with a file as it is, which listens at `address`.
    pub fn run_file(folder: tempfile::TempDir, config_file: PathBuf, address: SocketAddr) -> Evenly {
        let log = fs::File::create(folder.path().join("stderr")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenly"))
            .args(["run", "--config"])
            .arg(&config_file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let stderr = folder.path().join("stderr");
        eventually("evenly listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("evenly ended with {status}: {}", fs::read_to_string(&stderr).unwrap());
            }
            TcpStream::connect(address).is_ok()
        });
        Evenly { child, address, config_file, folder }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("evenly ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Evenly {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("evenly said:\n{}", self.stderr());
        }
    }
}

/// A port that nobody uses at the moment and that no other test of this process is given.
///
/// From below the range out of which the kernel serves outgoing connections and `bind(0)`: between this call and the
/// moment the port is used nobody is given it by chance.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Where this process starts to look: two at once seldom meet, and a meeting is noticed by `bind`.
    let start = std::process::id().wrapping_mul(7919);
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(turn < COUNT, "no free port from {FIRST} to {}", FIRST + COUNT);
        let port = (FIRST + start.wrapping_add(turn) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
