//! An upstream that believes nothing: it writes down every request that arrives, reads it by the letter of RFC 9112,
//! and keeps a list of what was not to the letter. It answers with what it was told to, byte for byte.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A request that arrived whole.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub method: String,
    pub target: String,
    /// Names in lower case, values without the blanks around them; bytes as Latin-1.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// All values of a field, joined.
    pub fn field(&self, name: &str) -> Option<String> {
        let values: Vec<&str> =
            self.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// What to answer requests for `/x` with.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub bytes: Vec<u8>,
    pub closes: bool,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    faults: Vec<String>,
    script: Option<Script>,
}

/// The running upstream.
pub struct Recorder {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Recorder {
    pub fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        // Ends with the process: nobody else holds the port.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Recorder { address, state }
    }

    /// What arrived since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// What was not to the letter since the last call.
    pub fn faults(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().faults)
    }

    pub fn answer_with(&self, script: Option<Script>) {
        self.state.lock().unwrap().script = script;
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut wire = Wire { stream: stream.try_clone().unwrap(), buffer: Vec::new(), faults: Vec::new() };
    loop {
        let request = wire.request();
        let script = {
            let mut state = state.lock().unwrap();
            state.faults.append(&mut wire.faults);
            let Some(request) = &request else { return };
            state.seen.push(request.clone());
            state.script.clone().filter(|_| request.target.starts_with("/x"))
        };
        let request = request.unwrap_or_default();
        let (bytes, closes) = script.map_or_else(
            || {
                let body = format!("seen {} {}\n", request.method, request.target);
                let shown = if request.method == "HEAD" { "" } else { &body };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                ((head + shown).into_bytes(), false)
            },
            |script| (script.bytes, script.closes),
        );
        if stream.write_all(&bytes).is_err() || closes {
            let _ = stream.shutdown(Shutdown::Write);
            // What the proxy still sends is read away, so that closing does not break what it has yet to read.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            return;
        }
    }
}

struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    faults: Vec<String>,
}

impl Wire {
    /// The next whole request; `None` at the end, and when there is no telling where the next one begins.
    fn request(&mut self) -> Option<Seen> {
        let head = self.until(b"\r\n\r\n")?;
        let text: String = head.iter().copied().map(char::from).collect();
        for line in text.split("\r\n") {
            if line.chars().any(|c| c != '\t' && c.is_ascii_control()) {
                self.fault(&format!("control character in {line:?}"));
            }
        }
        let mut lines = text.split("\r\n");
        let line = lines.next()?;
        let words: Vec<&str> = line.split(' ').collect();
        let [method, target, version] = words[..] else {
            self.fault(&format!("request line {line:?}"));
            return None;
        };
        let is_target = (target == "*" || target.starts_with('/'))
            && target.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'#');
        if !is_token(method) || !is_target || version != "HTTP/1.1" {
            self.fault(&format!("request line {line:?}"));
        }
        let mut seen = Seen { method: method.into(), target: target.into(), ..Seen::default() };
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or(("", line));
            if !is_token(name) {
                self.fault(&format!("field line {line:?}"));
            }
            seen.fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        let count = |name: &str| seen.fields.iter().filter(|(n, _)| n == name).count();
        let (hosts, lengths, codings) = (count("host"), count("content-length"), count("transfer-encoding"));
        if hosts != 1 || lengths + codings > 1 {
            self.fault(&format!("{hosts} hosts, {lengths} lengths, {codings} codings"));
            return None;
        }
        seen.body = match (seen.field("content-length"), seen.field("transfer-encoding")) {
            (Some(length), _) if length.bytes().all(|b| b.is_ascii_digit()) => {
                self.exactly(length.parse().ok()?)?
            }
            (None, None) => Vec::new(),
            (None, Some(coding)) if coding == "chunked" => self.chunks()?,
            framing => {
                self.fault(&format!("framing {framing:?}"));
                return None;
            }
        };
        Some(seen)
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n")?).unwrap_or_default();
            let is_hex = (1..16).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            let Some(size) = usize::from_str_radix(&line, 16).ok().filter(|_| is_hex) else {
                self.fault(&format!("chunk size {line:?}"));
                return None;
            };
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                self.fault("chunk without its end");
                return None;
            }
        }
        loop {
            let line = String::from_utf8_lossy(&self.until(b"\r\n")?).to_ascii_lowercase();
            if line.is_empty() {
                return Some(body);
            }
            let name = line.split(':').next().unwrap_or_default();
            let never = ["content-length", "transfer-encoding", "host", "authorization", "x-forwarded-for"];
            if !is_token(name) || never.contains(&name) {
                self.fault(&format!("trailer {line:?}"));
            }
        }
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let mut rest = self.buffer.split_off(at);
                std::mem::swap(&mut rest, &mut self.buffer);
                self.buffer.drain(..end.len());
                return Some(rest);
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more()?;
        }
        let rest = self.buffer.split_off(length);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    fn more(&mut self) -> Option<()> {
        let mut piece = [0; 16 * 1024];
        let length = self.stream.read(&mut piece).ok().filter(|length| *length > 0)?;
        self.buffer.extend_from_slice(&piece[..length]);
        Some(())
    }

    fn fault(&mut self, what: &str) {
        self.faults.push(what.to_owned());
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
