//! The forward proxy: absolute targets and `CONNECT`, closed unless a destination is allowed.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use support::{Client, Evenly, Upstream};

fn forward(allow: &str, more: &str) -> Evenly {
    Evenly::start(&format!("reverse = false\nallow = [{allow}]\n{more}"), "")
}

fn status(client: &mut Client, head: &str) -> u16 {
    client.send(format!("{head}\r\n\r\n").as_bytes()).unwrap();
    client.reply("GET").unwrap().status
}

/// Sends `CONNECT` and what follows it in one piece; returns the stream behind the answer's head.
fn connect(proxy: SocketAddr, to: SocketAddr, early: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n{early}").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    stream
}

#[test]
fn absolute_targets_reach_allowed_destinations_only() {
    let (up, other) = (Upstream::start("a"), Upstream::start("b"));
    let evenly = forward(&format!("\"{}\"", up.address), "");
    let mut client = evenly.client();
    client
        .send(format!("GET http://{}/headers HTTP/1.1\r\nHost: ignored.test\r\n\r\n", up.address).as_bytes())
        .unwrap();
    let reply = client.reply("GET").unwrap();
    assert!(
        reply.status == 200 && reply.text().contains(&format!("host: {}", up.address)),
        "{}",
        reply.text()
    );

    for (head, expected) in [
        (format!("GET http://{}/ HTTP/1.1\r\nHost: a.test", other.address), 403),
        (format!("GET https://{}/ HTTP/1.1\r\nHost: a.test", up.address), 403),
        ("GET http://169.254.169.254/latest HTTP/1.1\r\nHost: a.test".to_owned(), 403),
        ("GET / HTTP/1.1\r\nHost: a.test".to_owned(), 405),
        ("CONNECT a.test HTTP/1.1\r\nHost: a.test".to_owned(), 400),
        (format!("CONNECT {} HTTP/1.1\r\nHost: {}", other.address, up.address), 403),
    ] {
        assert_eq!(status(&mut evenly.client(), &head), expected, "{head}");
    }
    assert_eq!(other.hits(), 0);
}

#[test]
fn a_name_that_leads_to_a_private_address_leads_nowhere() {
    let up = Upstream::start("a");
    let evenly = forward("\"*:*\"", "");
    let port = up.address.port();
    for host in ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", "0.0.0.0", "0177.0.0.1"] {
        let answer = status(&mut evenly.client(), &format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x"));
        assert!(matches!(answer, 403 | 502), "{host}: {answer}");
    }
    assert_eq!(up.hits(), 0);
}

#[test]
fn a_tunnel_passes_early_bytes_and_half_closes() {
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = echo.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = echo.accept().unwrap();
        let mut asked = String::new();
        stream.read_to_string(&mut asked).unwrap();
        stream.write_all(format!("you said {asked}").as_bytes()).unwrap();
    });
    let evenly = forward(&format!("\"{to}\""), "");
    let mut stream = connect(evenly.address, to, "early, ");
    stream.write_all(b"late").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "you said early, late");
    server.join().unwrap();
}

#[test]
fn a_silent_tunnel_ends() {
    let quiet = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = quiet.local_addr().unwrap();
    let evenly = forward(&format!("\"{to}\""), "tunnel_timeout = 1");
    let mut stream = connect(evenly.address, to, "");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_forward_proxy_asks_for_users_with_407() {
    let up = Upstream::start("a");
    let evenly = forward(&format!("\"{}\"", up.address), "auth = true\nuser = { agent = \"proxy\" }");
    let head = format!("GET http://{}/headers HTTP/1.1\r\nHost: a", up.address);
    let mut client = evenly.client();
    client.send(format!("{head}\r\n\r\n").as_bytes()).unwrap();
    let reply = client.reply("GET").unwrap();
    assert_eq!(reply.status, 407);
    assert!(reply.header("proxy-authenticate").unwrap().starts_with("Basic realm="));
    // agent:proxy
    client.send(format!("{head}\r\nProxy-Authorization: Basic YWdlbnQ6cHJveHk=\r\n\r\n").as_bytes()).unwrap();
    let reply = client.reply("GET").unwrap();
    assert!(reply.status == 200 && !reply.text().contains("uthorization"), "{}", reply.text());
}
