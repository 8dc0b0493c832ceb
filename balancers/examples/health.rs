//! Health checks of one's own: a thread asks each member now and then and tells the pool, which leaves out who is down:
//! `cargo run -p balancers --example health`.
#![expect(clippy::print_stdout, reason = "an example that shows what it does")]

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use balancers::{Algorithm, Pool, Query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool: Pool<SocketAddr> = Pool::builder()
        .slow_start(Duration::from_secs(10)) // who comes back is not overrun
        .panic_threshold(50) // more than half down: rather the checks are wrong
        .build(Algorithm::P2c)?;
    let mut servers: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    pool.update(|edit| {
        for (number, server) in servers.iter().enumerate() {
            let address = server.local_addr().expect("a bound listener has an address");
            edit.add(format!("server {number}"), 1, address)?;
        }
        Ok(())
    })?;

    let (running, stop) = mpsc::channel::<()>();
    let checked = &pool;
    thread::scope(|scope| {
        scope.spawn(move || check(checked, &stop, Duration::from_millis(10)));
        drop(servers.remove(0)); // nobody listens at server 0 any more
        while pool.members()[0].is_up {
            thread::yield_now();
        }
        drop(running);
    });

    let requests = (0..100).map(|_| pool.pick(&Query::new())).collect::<Result<Vec<_>, _>>()?;
    let on = |id: &str| requests.iter().filter(|lease| lease.id() == id).count();
    println!("server 0 is down: {} + {} + {} = 100 requests", on("server 0"), on("server 1"), on("server 2"));
    assert_eq!(on("server 0"), 0);
    Ok(())
}

/// Asks every member once in `interval`, until the other end of `stop` is dropped.
fn check(pool: &Pool<SocketAddr>, stop: &mpsc::Receiver<()>, interval: Duration) {
    while stop.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
        for member in pool.members() {
            let Some(address) = pool.with_value(&member.id, |address| *address) else { continue };
            let is_up = TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            // An error says that the member has left meanwhile.
            let _ = pool.set_up(&member.id, is_up);
        }
    }
}
