//! A real redis-server for one test, on a free port of loopback, gone when the test is: also when it panics.
//!
//! Needs `redis-server` in PATH (`scripts/setup` installs it); `EVENLY_REDIS_SERVER` names another binary, such as
//! valkey-server. Included by path where it is needed, so it uses nothing but the standard library.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A running server. Dropping it kills the process and removes its files.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    options: Vec<String>,
    folder: PathBuf,
    password: Option<String>,
}

impl RedisServer {
    /// A server with no persistence and default settings.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with more options, as on its command line: `&["--maxmemory", "5mb"]`.
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_on(free_port(), options)
    }

    /// A server on a port chosen before.
    pub fn start_on(port: u16, options: &[&str]) -> Self {
        let folder = new_folder();
        let options = options.iter().map(ToString::to_string).collect();
        let mut server = Self { child: None, port, options, folder, password: None };
        server.restart();
        server
    }

    /// A server that reads the file which `configure` writes in its folder; options after it, as `--sentinel`.
    pub fn start_configured(options: &[&str], configure: impl FnOnce(&Path) -> PathBuf) -> Self {
        let folder = new_folder();
        let file = configure(&folder);
        let mut all = vec![file.to_str().expect("our folder's name is text").to_owned()];
        all.extend(options.iter().map(ToString::to_string));
        let mut server = Self { child: None, port: free_port(), options: all, folder, password: None };
        server.restart();
        server
    }

    /// Starts the process, again with empty memory, on the same port; waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        let binary = server_binary();
        let log = File::create(self.folder.join("log")).expect("a log file in our own folder");
        let mut command = Command::new(&binary);
        // A configuration file must come first.
        let (file, options) = match self.options.split_first() {
            Some((file, options)) if !file.starts_with("--") => (Some(file), options),
            _ => (None, &self.options[..]),
        };
        command.args(file);
        if file.is_none() {
            command.args(["--save", "", "--appendonly", "no"]);
        }
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(&self.folder)
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log file"))
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{binary} does not start ({error}): run scripts/setup or `apt-get install redis-server`")
        });
        self.child = Some(child);
        self.wait_until_up();
    }

    fn wait_until_up(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !answers(self.address()) {
            let exited = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(
                exited.is_none() && Instant::now() < deadline,
                "redis-server on port {} did not come up ({exited:?}): {}",
                self.port,
                std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What [`command`](Self::command) logs in with.
    pub fn with_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its TLS port if it has one: where servers that speak TLS to each other meet.
    pub fn main_port(&self) -> u16 {
        let tls = self.options.iter().skip_while(|option| *option != "--tls-port").nth(1);
        tls.map_or(self.port, |port| port.parse().expect("a port of ours"))
    }

    /// A folder of its own, removed with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `kill -9`: no goodbye, nothing saved.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("the server runs").id();
        let status = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill is in PATH");
        assert!(status.success(), "kill {signal} {pid}: {status}");
    }

    /// Sends one command over a connection of its own and returns the reply as it came, `+OK\r\n` say.
    pub fn command(&self, words: &[&[u8]]) -> Vec<u8> {
        let mut stream = connect(self.address());
        if let Some(password) = &self.password {
            let reply = ask(&mut stream, &[b"AUTH", password.as_bytes()]);
            assert_eq!(reply, b"+OK\r\n", "{}", String::from_utf8_lossy(&reply));
        }
        ask(&mut stream, words)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One command to whoever listens there, and the reply as it came.
pub fn command_at(address: SocketAddr, words: &[&[u8]]) -> Vec<u8> {
    ask(&mut connect(address), words)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out above zero");
    stream
}

fn ask(stream: &mut TcpStream, words: &[&[u8]]) -> Vec<u8> {
    stream.write_all(&encoded(words)).expect("the server reads");
    let mut reply = Vec::new();
    let mut buffer = [0; 64 * 1024];
    while !is_complete(&reply) {
        let count = stream.read(&mut buffer).expect("the server answers within 10 s");
        assert!(count > 0, "the server hung up after {}", String::from_utf8_lossy(&reply));
        reply.extend_from_slice(&buffer[..count]);
    }
    reply
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
        let turn = NEXT.fetch_add(1, Relaxed);
        assert!(turn < COUNT, "no free port from {FIRST} to {}", FIRST + COUNT);
        let port = (FIRST + start.wrapping_add(turn) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn encoded(words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// Whether a reply that is no array has come whole; an array counts as whole with its last line.
fn is_complete(reply: &[u8]) -> bool {
    match reply.first() {
        None => false,
        Some(b'$') => {
            let Some(line) = reply.windows(2).position(|pair| pair == b"\r\n") else { return false };
            let len: i64 = String::from_utf8_lossy(&reply[1..line]).parse().unwrap_or(-1);
            len < 0 || reply.len() as i64 >= line as i64 + 2 + len + 2
        }
        Some(_) => reply.ends_with(b"\r\n"),
    }
}

fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut reply = [0; 64];
    let Ok(()) = stream.write_all(b"PING\r\n") else { return false };
    // Up also when it asks for a password first.
    matches!(stream.read(&mut reply), Ok(count) if reply[..count].starts_with(b"+PONG")
        || reply[..count].starts_with(b"-NOAUTH") || reply[..count].starts_with(b"-NOPERM"))
}

fn server_binary() -> String {
    std::env::var("EVENLY_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("evenly-redis-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    folder
}
