//! A name server on a UDP port of loopback, written by hand: what it answers is what the test says.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What it says of every name.
#[derive(Debug, Clone)]
pub enum Zone {
    /// These records, each with the name that it is about; an empty answer for names and types without one.
    Records(Vec<(&'static str, u32, Record)>),
    /// Nothing but this code: 2 SERVFAIL, 3 NXDOMAIN.
    Code(u8),
    /// Nothing at all.
    Silence,
}

/// The records that tests need.
#[derive(Debug, Clone)]
pub enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    /// Priority, weight, port, target.
    Srv(u16, u16, u16, &'static str),
}

/// A running name server.
pub struct NameServer {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<AtomicU64>,
    is_done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    pub fn start(zone: Zone) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        // How quickly it notices that it is done.
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let zone = Arc::new(Mutex::new(zone));
        let (asked, is_done) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (zone, asked, is_done) = (Arc::clone(&zone), Arc::clone(&asked), Arc::clone(&is_done));
            move || {
                let mut question = [0; 512];
                while !is_done.load(Relaxed) {
                    let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                    asked.fetch_add(1, Relaxed);
                    if let Some(answer) = answer(&zone.lock().unwrap(), &question[..length]) {
                        socket.send_to(&answer, from).unwrap();
                    }
                }
            }
        });
        NameServer { address, zone, asked, is_done, thread: Some(thread) }
    }

    /// From now on it says this.
    pub fn says(&self, zone: Zone) {
        *self.zone.lock().unwrap() = zone;
    }

    /// Questions so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.is_done.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// RFC 1035 §4: head, question, answers; nothing is compressed.
fn answer(zone: &Zone, question: &[u8]) -> Option<Vec<u8>> {
    let (name, end) = name_at(question, 12);
    let kind = u16::from_be_bytes([question[end], question[end + 1]]);
    let (code, records) = match zone {
        Zone::Silence => return None,
        Zone::Code(code) => (*code, Vec::new()),
        Zone::Records(records) => {
            let is_asked = |(of, _, record): &&(&str, u32, Record)| *of == name && record.kind() == kind;
            (0, records.iter().filter(is_asked).collect())
        }
    };
    let mut text = question[..2].to_vec();
    // An answer; recursion was desired and is available.
    text.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    text.extend(&question[12..end + 4]);
    for (of, ttl, record) in records {
        put_name(&mut text, of);
        text.extend(record.kind().to_be_bytes());
        text.extend([0, 1]);
        text.extend(ttl.to_be_bytes());
        let data = record.data();
        text.extend((data.len() as u16).to_be_bytes());
        text.extend(data);
    }
    Some(text)
}

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Record::A(_) => 1,
            Record::Aaaa(_) => 28,
            Record::Srv(..) => 33,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Record::A(address) => address.octets().to_vec(),
            Record::Aaaa(address) => address.octets().to_vec(),
            Record::Srv(priority, weight, port, target) => {
                let mut data: Vec<u8> =
                    [priority, weight, port].into_iter().flat_map(|number| number.to_be_bytes()).collect();
                put_name(&mut data, target);
                data
            }
        }
    }
}

/// The name that begins at `at`, in lower case, and where it ends.
fn name_at(text: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    while text[at] != 0 {
        let length = usize::from(text[at]);
        labels.push(String::from_utf8(text[at + 1..=at + length].to_ascii_lowercase()).unwrap());
        at += length + 1;
    }
    (labels.join("."), at + 1)
}

fn put_name(text: &mut Vec<u8>, name: &str) {
    for label in name.split('.') {
        text.push(label.len() as u8);
        text.extend(label.as_bytes());
    }
    text.push(0);
}
