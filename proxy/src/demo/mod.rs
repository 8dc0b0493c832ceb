//! `evenly demo`: three small backends of different speed, the proxy before them, and a line a second while it is used.
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
    config::{AdminConfig, Config, Listen},
    reload::Service,
    server::Listener,
};

/// Starts everything, then sends `requests`, or watches until a signal comes.
pub(crate) async fn run(port: u16, requests: Option<u64>) -> Result<(), Failure> {
    let backends = backend::start_all().await?;
    let (listener, for_operators) = (next_free(port).await?, next_free(ADMIN_PORT).await?);
    let (address, dashboard) = (listener.local_addr()?, for_operators.local_addr()?);
    let config = configuration(address, &backends);
    let config = Config::parse("the demo", &config).map_err(|faults| Failure::Runtime(faults.to_string()))?;
    let limit = config.server.timeouts.drain;
    let service = Service::start(config, None, vec![Listener::from(listener)])
        .map_err(|error| Failure::Runtime(format!("evenly: {error}")))?;
    let proxy = service.proxy();
    match requests {
        Some(count) => load::run(proxy, &backends, address, count).await?,
        None => {
            introduce(address, dashboard, &backends);
            let admin = AdminConfig { listen: Listen::Tcp(dashboard), token: None };
            let mut signals = Signals::new()?;
            tokio::select! {
                () = watch::run(proxy, &backends) => {}
                () = service.serve_admin(Listener::from(for_operators), &admin) => {}
                () = signals.stop() => {}
            }
        }
    }
    proxy.drain();
    proxy.drained(limit).await;
    Ok(())
}

fn configuration(address: SocketAddr, backends: &[backend::Demo]) -> String {
    let members: Vec<String> = backends.iter().map(|backend| format!("\"{}\"", backend.address)).collect();
    format!(
        "[server]\nport = \"{address}\"\nproxy_pass = [{}]\nbalance = \"p2c\"\ncache = true\ncache_type = \"memory\"\n",
        members.join(", ")
    )
}

fn introduce(address: SocketAddr, dashboard: SocketAddr, backends: &[backend::Demo]) {
    println_out(&format!("evenly listens on http://{address} and balances by p2c over"));
    for backend in backends {
        let (name, place, delay) = (backend.name, backend.address, backend.delay.as_millis());
        println_out(&format!("  {name:<7} {place}  answers after {delay} ms"));
    }
    println_out("\nTry, in another terminal:");
    for (path, what) in [
        ("/", "each answer from the less loaded of two"),
        ("/cached/page", "fresh for 5 s: the second one says Age and hit"),
    ] {
        println_out(&format!("  {:<41}  {what}", format!("curl -i http://{address}{path}")));
    }
    println_out(&format!(
        "  {:<41}  sends a load itself, says what went where, and ends",
        "evenly demo --requests 2000"
    ));
    println_out(&format!("  {:<41}  the dashboard, for a browser", format!("http://{dashboard}/")));
    println_out("\nCtrl-C ends it. Until then, a line for each second with requests:\n");
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

const ADMIN_PORT: u16 = 9180;
const PORTS_TRIED: u16 = 100;
