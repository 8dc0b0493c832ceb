//! A web application that asks a slow source for each thing once in a while: an axum handler over a shared cache.
//!
//! `cargo run -p cache --example axum` asks itself and ends; `… -- 127.0.0.1:3000` serves until it is stopped.
#![allow(clippy::print_stdout)] // that is what it is for

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use cache::Cache;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

type Pages = Cache<String, String>;

static ASKED: AtomicU32 = AtomicU32::new(0);

/// The slow source.
async fn fetch(word: &str) -> Result<String, String> {
    ASKED.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    if word == "nothing" { Err("no such word".to_owned()) } else { Ok(format!("{word} means {word}\n")) }
}

async fn explain(State(pages): State<Pages>, Path(word): Path<String>) -> Result<String, StatusCode> {
    // Of all who ask at once one fetches; an error is remembered for a second.
    pages.try_get_or_insert_async(&word, fetch(&word)).await.map_err(|_| StatusCode::NOT_FOUND)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pages =
        Pages::builder(10_000).ttl(Duration::from_secs(60)).negative_ttl(Duration::from_secs(1)).build()?;
    let app = Router::new().route("/{word}", get(explain)).with_state(pages.clone());
    if let Some(place) = std::env::args().nth(1) {
        return Ok(axum::serve(TcpListener::bind(place).await?, app).await?);
    }

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let place = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app).into_future());
    let asking: Vec<_> = (0..100).map(|_| tokio::spawn(ask(place, "/even"))).collect();
    for answer in asking {
        assert!(answer.await??.ends_with("even means even\n"));
    }
    assert!(ask(place, "/nothing").await?.starts_with("HTTP/1.1 404"));
    assert_eq!(ASKED.load(Ordering::Relaxed), 2, "once for each word");
    println!("101 requests, {} fetches, {}", ASKED.load(Ordering::Relaxed), pages.len());
    Ok(())
}

async fn ask(place: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(place).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
