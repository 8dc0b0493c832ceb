//! The PROXY protocol before a listener: who is believed, what the address found is good for, and what is refused.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use support::{Evenly, Upstream};

const V4: [u8; 12] = [203, 0, 113, 5, 10, 0, 0, 2, 0xdc, 0x04, 0x01, 0xbb];

fn block(version_command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[version_command, family], &len, addresses].concat()
}

fn start(up: &Upstream, trusted: &str, rest: &str) -> Evenly {
    let server = format!(
        "proxy_pass = [\"{}\"]\nproxy_protocol = true\nhttp_read_timeout = 2\naccess_log = \"{{client}} {{status}}\"\n\
         log_path = \"logs\"\ntrusted_proxies = [{trusted}]",
        up.address
    );
    Evenly::start(&server, rest)
}

/// What comes back, to the end; empty if the connection is just closed.
fn ask(evenly: &Evenly, header: &[u8]) -> String {
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request =
        b"GET /headers HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n";
    // It may be closed before all is written.
    let _ = stream.write_all(&[header, request].concat());
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it does not end: {error}"),
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_trusted_peer_says_who_the_client_is() {
    let up = Upstream::start("a");
    let rules =
        "[[rules]]\nclient = \"203.0.113.0/24\"\n[rules.response]\nset_headers = { x-rule = \"seen\" }\n";
    let evenly = start(&up, "\"127.0.0.1\"", rules);
    for header in [b"PROXY TCP4 203.0.113.5 10.0.0.2 56324 443\r\n".to_vec(), block(0x21, 0x11, &V4)] {
        let told = ask(&evenly, &header);
        assert!(told.starts_with("HTTP/1.1 200") && told.contains("x-rule: seen"), "{told}");
        // The address is not a trusted proxy's: what its request says about earlier hops is nothing.
        assert!(told.contains("x-forwarded-for: 203.0.113.5") && !told.contains("9.9.9.9"), "{told}");
    }
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), block(0x20, 0x00, &[])] {
        let told = ask(&evenly, &header);
        assert!(told.starts_with("HTTP/1.1 200") && !told.contains("x-rule"), "{told}");
    }
    support::eventually("the log names it", || {
        let logs = std::fs::read_dir(evenly.folder.path().join("logs")).unwrap();
        logs.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok())
            .any(|text| text.contains("203.0.113.5 200"))
    });
}

#[test]
fn a_trusted_peer_without_a_header_is_not_served() {
    let up = Upstream::start("a");
    let evenly = start(&up, "\"127.0.0.1\"", "");
    for header in [
        &b""[..],
        b"PROXY TCP4 203.0.113.5 10.0.0.2 56324\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP4 203.0.113.5 10.0.0.2 1 2\n",
        b"proxy TCP4 203.0.113.5 10.0.0.2 1 2\r\n",
        &[b"PROXY TCP4 203.0.113.5 ".to_vec(), vec![b'1'; 200]].concat(),
        &block(0x31, 0x11, &V4),
        &block(0x21, 0x11, &V4[..4]),
        &block(0x21, 0x11, &[0; 5000]),
        b"\r\n\r\n\0\r\nQUIT",
    ] {
        assert_eq!(ask(&evenly, header), "", "{}", String::from_utf8_lossy(header));
    }
    let mut silent = TcpStream::connect(evenly.address).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    silent.write_all(b"PROXY TCP4 ").unwrap();
    assert_eq!(silent.read(&mut [0; 10]).unwrap(), 0, "it is closed when its time is over");
    assert_eq!(up.hits(), 0);
}

#[test]
fn a_strangers_header_is_no_request() {
    let up = Upstream::start("a");
    let evenly = start(&up, "\"10.0.0.0/8\"", "");
    assert!(ask(&evenly, b"").starts_with("HTTP/1.1 200"));
    let told = ask(&evenly, b"PROXY TCP4 203.0.113.5 10.0.0.2 56324 443\r\n");
    assert!(told.starts_with("HTTP/1.1 400"), "{told}");
    assert!(!ask(&evenly, &block(0x21, 0x11, &V4)).starts_with("HTTP/1.1 200"));
    assert_eq!(up.hits(), 1);
}
