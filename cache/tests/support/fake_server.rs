//! A peer that speaks RESP as badly as told: for what no real server does on command.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What to do about one command.
pub enum Answer {
    /// Send these bytes.
    Bytes(Vec<u8>),
    /// Send these bytes, then nothing ever again.
    ThenSilence(Vec<u8>),
    /// Send these bytes, then hang up.
    ThenClose(Vec<u8>),
    /// Send these bytes one at a time.
    Drip(Vec<u8>),
    /// Send these bytes after a while.
    After(Duration, Vec<u8>),
}

type Handler = dyn Fn(&[Vec<u8>]) -> Answer + Send + Sync;

/// Listens until it is dropped; every connection has a thread.
pub struct FakeServer {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    accepted: Arc<AtomicUsize>,
    listener: Option<JoinHandle<()>>,
}

impl FakeServer {
    /// `answer` is asked about every command of every connection.
    pub fn start(answer: impl Fn(&[Vec<u8>]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let is_over = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::new(AtomicUsize::new(0));
        let handler: Arc<Handler> = Arc::new(answer);
        let thread = std::thread::spawn({
            let (is_over, connections, accepted) = (is_over.clone(), connections.clone(), accepted.clone());
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if is_over.load(SeqCst) {
                        return;
                    }
                    accepted.fetch_add(1, SeqCst);
                    connections.lock().unwrap().extend(stream.try_clone());
                    let handler = handler.clone();
                    std::thread::spawn(move || serve(stream, &*handler));
                }
            }
        });
        Self { address, is_over, connections, accepted, listener: Some(thread) }
    }

    /// Answers everything as a good server would, except what `answer` has another answer for.
    pub fn start_but(answer: impl Fn(&[Vec<u8>]) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self::start(move |command| answer(command).unwrap_or_else(|| Answer::Bytes(good(command))))
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        for stream in self.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.listener.take() {
            let _ = thread.join();
        }
    }
}

/// What a good server that holds nothing says.
fn good(command: &[Vec<u8>]) -> Vec<u8> {
    match command[0].to_ascii_uppercase().as_slice() {
        b"PING" => match command.get(1) {
            None => b"+PONG\r\n".to_vec(),
            Some(word) => [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat(),
        },
        b"GETRANGE" => b"$0\r\n\r\n".to_vec(),
        b"UNLINK" => b":0\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}

fn serve(stream: TcpStream, handler: &Handler) {
    let _ = stream.set_nodelay(true);
    let Ok(mut out) = stream.try_clone() else { return };
    let mut input = BufReader::new(stream);
    while let Some(command) = read_command(&mut input) {
        let is_open = match handler(&command) {
            Answer::Bytes(bytes) => out.write_all(&bytes).is_ok(),
            Answer::Drip(bytes) => bytes.chunks(1).all(|byte| out.write_all(byte).is_ok()),
            Answer::After(wait, bytes) => {
                std::thread::sleep(wait);
                out.write_all(&bytes).is_ok()
            }
            Answer::ThenClose(bytes) => {
                let _ = out.write_all(&bytes);
                let _ = out.shutdown(Shutdown::Both);
                false
            }
            Answer::ThenSilence(bytes) => {
                let _ = out.write_all(&bytes);
                // Reads on, so that nobody notices anything, until the connection is closed.
                let _ = std::io::copy(&mut input, &mut std::io::sink());
                false
            }
        };
        if !is_open {
            return;
        }
    }
}

fn read_command(input: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let count = read_number(input, '*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let len = read_number(input, '$')?;
        let mut word = vec![0; len + 2];
        input.read_exact(&mut word).ok()?;
        word.truncate(len);
        words.push(word);
    }
    Some(words)
}

fn read_number(input: &mut impl BufRead, kind: char) -> Option<usize> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    line.strip_prefix(kind)?.trim().parse().ok()
}
