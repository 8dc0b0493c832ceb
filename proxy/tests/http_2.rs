//! HTTP/2 frame by frame, as a client meets it: a drain (GOAWAY at once, the request under way is answered, then the end), and
//! what becomes of one that takes nothing. The frames are written by hand (RFC 9113 §4.1).

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use support::{Client, Evenly, Upstream, eventually};

/// A frame: its type, flags and stream, and what is in it.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn write(stream: &mut TcpStream, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame).unwrap();
}

/// The next frame, or nothing at the end of the connection.
fn read(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).ok()?;
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream, payload })
}

/// A connection that asks for `path`.
fn ask(evenly: &Evenly, path: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    write(&mut stream, SETTINGS, 0, 0, &[]);
    // :method GET and :scheme http by index, :path and :authority as literals.
    let mut fields = vec![0x82, 0x86, 0x04, path.len() as u8];
    fields.extend(path);
    fields.extend([0x01, 4]);
    fields.extend(b"test");
    write(&mut stream, HEADERS, END_STREAM | END_HEADERS, 1, &fields);
    stream
}

/// Nothing waits to be written to a client that sends no WINDOW_UPDATE; it is let go all the same, and its member with it.
#[test]
fn a_client_that_gives_no_window_is_let_go() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]\nhttp_write_timeout = 1", up.address), "");
    let mut stream = ask(&evenly, b"/bytes/10000000");
    let mut taken = 0;
    while let Some(frame) = read(&mut stream) {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => write(&mut stream, SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => write(&mut stream, PING, ACK, 0, &frame.payload),
            DATA => taken += frame.payload.len(),
            _ => {}
        }
    }
    assert_eq!(taken, 65_535, "the window that every connection begins with");
    eventually("the member is let go", || evenly.client().get("/").status == 200 && up.connections() <= 1);
}

#[test]
fn clients_of_http_2_are_told_and_answered() {
    let up = Upstream::start("a");
    let mut evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]", up.address), "");
    let mut stream = ask(&evenly, b"/gate");
    eventually("the request is under way", || up.hits() == 1);
    evenly.signal("TERM");
    eventually("no new connections", || Client::try_connect(evenly.address).is_err());

    let (mut is_told, mut body, mut is_over) = (false, Vec::new(), false);
    while let Some(frame) = read(&mut stream) {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => write(&mut stream, SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => write(&mut stream, PING, ACK, 0, &frame.payload),
            GOAWAY => {
                let code = u32::from_be_bytes(frame.payload[4..8].try_into().unwrap());
                assert_eq!(code, 0, "no error: the server only goes");
                is_told = true;
                up.open_gate();
            }
            DATA => {
                assert_eq!(frame.stream, 1);
                body.extend(frame.payload);
                is_over |= frame.flags & END_STREAM != 0;
            }
            HEADERS => is_over |= frame.flags & END_STREAM != 0,
            _ => {}
        }
    }
    assert!(is_told, "GOAWAY came before the answer");
    assert_eq!((String::from_utf8(body).unwrap(), is_over), ("a".to_owned(), true));
    assert_eq!(evenly.wait().code(), Some(0));
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
