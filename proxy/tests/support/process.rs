//! An upstream as a process of its own, to be killed and frozen: this test program again, told to serve.
//!
//! A test file that uses it has a test named `upstream_process`, which calls [`serve_if_asked`].

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
};

use super::{Client, Upstream, eventually, free_port};

/// A running upstream process; killed when dropped.
pub struct UpstreamProcess {
    child: Child,
    pub address: SocketAddr,
}

impl UpstreamProcess {
    pub fn start() -> UpstreamProcess {
        UpstreamProcess::start_at(SocketAddr::from(([127, 0, 0, 1], free_port())))
    }

    pub fn start_at(address: SocketAddr) -> UpstreamProcess {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["upstream_process", "--exact", "--nocapture"])
            .env(ADDRESS, address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let upstream = UpstreamProcess { child, address };
        eventually("the upstream listens", || Client::try_connect(address).is_ok());
        upstream
    }

    /// As by the kernel: no farewell.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), pid]).status().unwrap().success());
        if name == "STOP" {
            // The signal is on its way when `kill` returns, no more.
            let stat = format!("/proc/{}/stat", self.child.id());
            eventually("it is frozen", || fs::read_to_string(&stat).unwrap().contains(") T "));
        }
    }
}

impl Drop for UpstreamProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves for ever, if this process is an upstream.
pub fn serve_if_asked() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let _upstream = Upstream::start_at("process", address.parse().unwrap());
    loop {
        thread::park();
    }
}

const ADDRESS: &str = "EVENLY_TEST_UPSTREAM";
