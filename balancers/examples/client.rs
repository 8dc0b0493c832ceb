//! A client of one's own over several servers: the less loaded of two gets the request, a server that refuses costs
//! nobody anything. `cargo run -p balancers --example client`.
#![expect(clippy::print_stdout, reason = "an example that shows what it does")]

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use balancers::{Algorithm, Outcome, Pool, Query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(Algorithm::P2c);
    pool.update(|edit| {
        for name in ["a", "b"] {
            edit.add(name, 1, serve(name))?;
        }
        // Nobody listens there any more.
        edit.add("gone", 1, closed())
    })?;

    let mut answers = Vec::new();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..25).map(|_| ask(&pool)).collect::<Result<Vec<_>, _>>()))
            .collect();
        for client in clients {
            answers.extend(client.join().expect("no client panics")?);
        }
        Ok::<(), io::Error>(())
    })?;
    let from = |name: &str| answers.iter().filter(|answer| answer.as_str() == name).count();
    println!("100 requests: {} from a, {} from b, 0 failed", from("a"), from("b"));
    assert_eq!(from("a") + from("b"), 100);
    Ok(())
}

/// Asks one server, and another one if it does not answer: each at most once.
fn ask(pool: &Pool<SocketAddr>) -> io::Result<String> {
    let mut query = Query::new();
    loop {
        let lease = pool.pick(&query).map_err(io::Error::other)?;
        query = query.avoiding(lease.tag());
        let start = Instant::now();
        let answer = exchange(*lease);
        lease.finish(Outcome { latency: start.elapsed(), ok: answer.is_ok() });
        if answer.is_ok() {
            return answer;
        }
    }
}

fn exchange(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(1))?;
    stream.write_all(b"who are you?\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

/// A server that says its name.
fn serve(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let place = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let read = BufReader::new(&stream).read_line(&mut line);
            // A client that hung up is none of the server's business.
            let _ = read.and_then(|_| writeln!(&stream, "{name}"));
        }
    });
    place
}

fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}
