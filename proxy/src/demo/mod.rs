//! `evenly demo`: three small backends of different speed, the proxy before them, and a line a second.
//!
//! | file | what |
//! |---|---|
//! | `backend.rs` | what stands behind the proxy |
//! | `load.rs` | requests to send, and the table of what went where |
//! | `watch.rs` | a line a second |

mod backend;
mod load;
mod watch;

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use crate::{
    cli::{Failure, Signals, println_out},
    config::Config,
    server::{Listener, Proxy},
};

/// Starts everything, then sends `requests`, or watches until a signal comes.
pub(crate) async fn run(port: u16, requests: Option<u64>) -> Result<(), Failure> {
    let backends = backend::start_all().await?;
    let listener = next_free(port).await?;
    let address = listener.local_addr()?;
    let config = configuration(address, &backends);
    let config = Config::parse("the demo", &config).map_err(|faults| Failure::Runtime(faults.to_string()))?;
    let proxy = Proxy::new(&config).map_err(|error| Failure::Runtime(format!("evenly: {error}")))?;
    let serving = tokio::spawn({
        let proxy = proxy.clone();
        async move { proxy.serve(Listener::from(listener)).await }
    });
    match requests {
        Some(count) => load::run(&proxy, &backends, address, count).await?,
        None => {
            introduce(address, &backends);
            let mut signals = Signals::new()?;
            tokio::select! {
                () = watch::run(&proxy, &backends) => {}
                () = signals.stop() => {}
            }
        }
    }
    proxy.drain();
    proxy.drained(config.server.timeouts.drain).await;
    serving.await.map_err(|error| Failure::Runtime(format!("evenly: {error}")))
}

fn configuration(address: SocketAddr, backends: &[backend::Demo]) -> String {
    let members: Vec<String> = backends.iter().map(|backend| format!("\"{}\"", backend.address)).collect();
    format!(
        "[server]\nport = \"{address}\"\nproxy_pass = [{}]\nbalance = \"p2c\"\ncache = true\ncache_type = \"memory\"\n",
        members.join(", ")
    )
}

fn introduce(address: SocketAddr, backends: &[backend::Demo]) {
    println_out(&format!("evenly listens on http://{address} and balances by p2c over"));
    for backend in backends {
        let (name, place, delay) = (backend.name, backend.address, backend.delay.as_millis());
        println_out(&format!("  {name:<7} {place}  answers after {delay} ms"));
    }
    println_out("\nTry, in another terminal:");
    println_out(&format!(
        "  curl -i http://{address}/               each answer from the least loaded of two"
    ));
    println_out(&format!(
        "  curl -i http://{address}/cached/page    fresh for 5 s: the second one says Age and hit"
    ));
    println_out("  evenly demo --requests 2000              sends that load itself\n");
}

/// `port` on 127.0.0.1, or the next one that is free.
async fn next_free(port: u16) -> io::Result<TcpListener> {
    let mut last = None;
    for port in port..=port.saturating_add(PORTS_TRIED) {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

const PORTS_TRIED: u16 = 100;
