//! A process under observation: pinned to one core, asked by `/proc` what it has used, gone when dropped.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// From its start until it took a connection.
    pub(crate) up_after: Duration,
}

impl Process {
    /// Starts `program` on `core` and waits until it listens at all of `ports`. What it says goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started or does not listen in time.
    pub(crate) fn start(program: &[String], core: u32, ports: &[u16], log: &Path) -> io::Result<Process> {
        let said = fs::File::create(log)?;
        let began = Instant::now();
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .args(program)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()?;
        let mut process = Process { child, up_after: Duration::ZERO };
        for port in ports {
            process.wait_for(*port, began + PATIENCE).map_err(|error| {
                io::Error::other(format!("{}: {error}; see {}", program.join(" "), log.display()))
            })?;
        }
        process.up_after = began.elapsed();
        Ok(process)
    }

    fn wait_for(&mut self, port: u16, deadline: Instant) -> io::Result<()> {
        loop {
            match TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(1)),
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("ended with {status}")));
            }
        }
    }

    /// Its process id, which `taskset` and `env` handed on.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What all its threads and its children's have computed so far, in user and kernel, threads that ended not counted.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for id in self.tree()? {
            for task in fs::read_dir(format!("/proc/{id}/task"))? {
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                let on_cpu = text.split(' ').next().and_then(|on_cpu| on_cpu.parse::<u64>().ok());
                nanoseconds += on_cpu.unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Bytes of memory that are its own and its children's: heap and stacks, not the program's text.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn own_memory(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for id in self.tree()? {
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            bytes += kib.unwrap_or(0) << 10;
        }
        Ok(bytes)
    }

    /// Its process id and those of all who descend from it: Varnish works in a child.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn tree(&self) -> io::Result<Vec<u32>> {
        let mut ids = vec![self.id()];
        let mut at = 0;
        while let Some(&id) = ids.get(at) {
            for task in fs::read_dir(format!("/proc/{id}/task"))? {
                let children = fs::read_to_string(task?.path().join("children"))?;
                ids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
            at += 1;
        }
        Ok(ids)
    }

    /// Tells it to end and waits for that.
    pub(crate) fn end(mut self) {
        // By the shell's own `kill`: std knows SIGKILL only, and callgrind writes its sums at a gentle end.
        let told = Command::new("kill").arg(self.id().to_string()).status();
        let deadline = Instant::now() + PATIENCE;
        while told.is_ok() && Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Children whose parent is gone end by themselves: Varnish's sees its pipe close.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that were free a moment ago.
///
/// # Errors
/// When none is left.
pub(crate) fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Under callgrind a start takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);
