//! Upgrades: WebSocket by a real client and server, refused handshakes, reloads.

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use futures_util::{SinkExt, StreamExt};
use support::{Evenly, Upstream};
use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};

/// A WebSocket server that sends back what it gets.
fn websocket_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut socket = accept_async(stream).await.unwrap();
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_text() || message.is_binary() {
                            socket.send(message).await.unwrap();
                        }
                    }
                });
            }
        });
    });
    address
}

fn before(address: SocketAddr) -> Evenly {
    Evenly::start(&format!("proxy_pass = [\"{address}\"]"), "")
}

#[tokio::test]
async fn a_websocket_talks_through_and_lives_through_reloads() {
    let evenly = before(websocket_echo());
    let stream = tokio::net::TcpStream::connect(evenly.address).await.unwrap();
    let (mut socket, response) = client_async("ws://a.test/chat", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    for round in 0..3 {
        let large = "x".repeat(100_000 * round);
        for text in ["hello", &large] {
            socket.send(Message::text(text)).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().as_str(), text);
        }
        evenly.signal("HUP");
    }
    socket.close(None).await.unwrap();
    while let Some(message) = socket.next().await {
        assert!(message.is_ok());
    }
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn bytes_behind_a_refused_handshake_are_the_next_request() {
    let up = Upstream::start("a");
    let evenly = before(up.address);
    let mut client = evenly.client();
    let next = "GET /headers HTTP/1.1\r\nHost: a\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n";
    client.send(format!("{HANDSHAKE}\r\n{next}").as_bytes()).unwrap();
    assert_eq!(client.reply("GET").unwrap().status, 200);
    let reply = client.reply("GET").unwrap();
    assert!(reply.status == 200 && !reply.text().to_lowercase().contains("x-hop"), "{}", reply.text());
}

#[test]
fn a_handshake_with_a_body_or_in_http_1_0_is_no_handshake() {
    let up = Upstream::start("a");
    let evenly = before(up.address);
    let mut client = evenly.client();
    client.send(format!("{HANDSHAKE}Content-Length: 2\r\n\r\nhi").as_bytes()).unwrap();
    assert_eq!(client.reply("GET").unwrap().status, 400);
    let mut client = evenly.client();
    let old = HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0").replace("/ws", "/headers");
    client.send(format!("{old}\r\n").as_bytes()).unwrap();
    let reply = client.reply("GET").unwrap();
    assert!(reply.status == 200 && !reply.text().to_lowercase().contains("upgrade"), "{}", reply.text());
}

/// What a member sends right behind its 101 must not be lost, and a 101 that nobody asked for is a bad gateway.
#[test]
fn a_member_that_switches_is_held_to_what_was_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nEARLY",
                )
                .unwrap();
        }
    });
    let evenly = before(address);
    let mut stream = TcpStream::connect(evenly.address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n").unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).unwrap();
    assert!(seen.starts_with("HTTP/1.1 101 ") && seen.to_lowercase().contains("upgrade: foo"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nEARLY"), "{seen}");
    assert_eq!(evenly.client().get("/").status, 502);
}
