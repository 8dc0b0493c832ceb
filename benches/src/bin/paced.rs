//! Requests at a rate of their own, whether or not others were answered: what latency is under a load that does not wait.
//!
//! `paced PORT PATH RATE CONNECTIONS SECONDS` prints requests, seconds, and the 50th, 99th and 99.9th percentile in
//! milliseconds. The latency of a request that is due while all connections wait counts from the moment at which it was
//! due: a proxy that stands still for a while makes all of them late, as it would make users. Where a connection was free
//! in time, it counts from when the request was sent: a timer's own lateness is not the proxy's.
#![expect(clippy::print_stdout, reason = "a program that prints its numbers")]

use std::{io, net::Ipv4Addr, sync::Arc, sync::Mutex, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || io::Error::other("usage: paced PORT PATH RATE CONNECTIONS SECONDS");
    let [port, path, rate, connections, seconds] = &arguments[..] else { return Err(usage()) };
    let number = |text: &String| text.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(usage);
    let (rate, connections, seconds) = (number(rate)?, number(connections)?, number(seconds)?);
    let port = port.parse().map_err(|_| usage())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    // All connections stand before the first request is due.
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let start = Instant::now() + Duration::from_millis(10);
    let due =
        Arc::new(Mutex::new((0..rate * seconds).map(move |n| start + Duration::from_secs(1) * n / rate)));
    let workers: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            let (due, request) = (due.clone(), request.clone());
            tokio::spawn(async move {
                let next = move || due.lock().ok()?.next();
                work(stream, request.as_bytes(), next).await
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await??);
    }
    let took = start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize].as_secs_f64() * 1000.0;
    println!("{} {took:.3} {:.4} {:.4} {:.4}", latencies.len(), at(0.5), at(0.99), at(0.999));
    Ok(())
}

/// Takes what is due next, waits for its time if that is to come, and counts to the answer's last byte.
async fn work(
    mut stream: TcpStream,
    request: &[u8],
    next: impl Fn() -> Option<Instant>,
) -> io::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Some(due) = next() {
        let is_early = Instant::now() < due;
        sleep_until(due).await;
        let since = if is_early { Instant::now() } else { due };
        stream.write_all(request).await?;
        let mut filled = 0;
        while !is_whole(&buffer[..filled])? {
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Err(io::Error::other("the proxy closed, or its answer is over 64 KiB")),
                more => filled += more,
            }
        }
        latencies.push(since.elapsed());
    }
    Ok(latencies)
}

/// Whether these bytes are a whole answer: a head, and as many bytes more as it says.
fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(head));
    }
    let len =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let len = len.ok_or_else(|| io::Error::other("the answer has no Content-Length"))?;
    Ok(answer.len() >= end + 4 + len)
}
