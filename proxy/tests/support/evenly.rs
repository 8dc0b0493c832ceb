//! The binary `evenly` as a process of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
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
        let (folder, config_file, address) = Evenly::prepare(server, rest);
        Self::run_file(folder, config_file, address)
    }

    /// Like [`start`](Evenly::start), as `command`, which is that of [`Evenly::binary`] with something more.
    pub fn start_by(command: Command, server: &str, rest: &str) -> Evenly {
        let (folder, config_file, address) = Evenly::prepare(server, rest);
        Self::run(command, folder, config_file, address)
    }

    /// Like [`start`](Evenly::start), with so many file descriptors and no more.
    pub fn start_within(descriptors: u32, server: &str, rest: &str) -> Evenly {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")]).arg(Evenly::binary());
        Self::start_by(shell, server, rest)
    }

    fn prepare(server: &str, rest: &str) -> (tempfile::TempDir, PathBuf, SocketAddr) {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config_file = folder.path().join("cfg.toml");
        fs::write(&config_file, format!("[server]\nport = \"{address}\"\n{server}\n{rest}\n")).unwrap();
        (folder, config_file, address)
    }

    /// Starts `evenly run` with a file as it is, which listens at `address`.
    pub fn run_file(folder: tempfile::TempDir, config_file: PathBuf, address: SocketAddr) -> Evenly {
        Self::run(Command::new(Evenly::binary()), folder, config_file, address)
    }

    fn run(
        mut command: Command,
        folder: tempfile::TempDir,
        config_file: PathBuf,
        address: SocketAddr,
    ) -> Evenly {
        let log = fs::File::create(folder.path().join("stderr")).unwrap();
        let mut child = command
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

    /// The binary of this build, or the one that `EVENLY_BINARY` names: `make soak` tests a release so.
    pub fn binary() -> PathBuf {
        std::env::var_os("EVENLY_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_evenly").into(), PathBuf::from)
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

/// A TCP port that nobody uses, and that nobody else gets while this test program runs.
///
/// It is below those that the kernel gives to outgoing connections (32768 and up), so no client takes it between two
/// binds. The UDP socket of the same number is kept as a reservation that other test programs see.
pub fn free_port() -> u16 {
    static KEPT: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    static TURN: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = TURN.fetch_add(1, Relaxed);
        assert!(turn < PORTS, "no free port between {FIRST_PORT} and {}", FIRST_PORT + PORTS);
        // Each program begins elsewhere; the stride has no factor in common with the number of ports.
        let place = (std::process::id().wrapping_mul(2_654_435_761) >> 8).wrapping_add(turn * 7);
        let port = u16::try_from(FIRST_PORT + place % PORTS).unwrap();
        let Ok(reservation) = UdpSocket::bind(("127.0.0.1", port)) else { continue };
        // Every address: somebody may listen on all of them.
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            KEPT.lock().unwrap().push(reservation);
            return port;
        }
    }
}

const FIRST_PORT: u32 = 12_000;
/// A prime.
const PORTS: u32 = 9_973;
