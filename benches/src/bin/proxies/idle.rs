//! What a connection costs that a client keeps without using it.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    thread::sleep,
    time::Duration,
};

use crate::rival::{Rival, Role};

/// Prints bytes for each of `connections` that did one request each.
///
/// # Errors
/// When a proxy does not answer.
pub(crate) fn hold(rivals: &[Rival], connections: usize, origin: u16, folder: &Path) -> io::Result<()> {
    println!(
        "| proxy | first connection after | idle | with {connections} connections | each |\n|---|---|---|---|---|"
    );
    for rival in rivals {
        let proxy = rival.start(Role::Pass, origin, folder, &[])?;
        ask(proxy.port)?;
        let before = proxy.process.own_memory()?;
        let held = (0..connections).map(|_| ask(proxy.port)).collect::<io::Result<Vec<_>>>()?;
        sleep(SETTLED);
        let after = proxy.process.own_memory()?;
        println!(
            "| {} | {:.0} ms | {:.1} MiB | {:.1} MiB | {:.1} KiB |",
            rival.name,
            proxy.process.up_after.as_secs_f64() * 1000.0,
            before as f64 / 1048576.0,
            after as f64 / 1048576.0,
            after.saturating_sub(before) as f64 / 1024.0 / connections as f64
        );
        drop(held);
    }
    Ok(())
}

fn ask(port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: localhost\r\nUser-Agent: idle\r\nAccept: */*\r\n\r\n")?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    // The body is 1,024 times the letter x.
    while !answer.ends_with(&[b'x'; 1024]) {
        match stream.read(&mut piece)? {
            0 => return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
    Ok(stream)
}

/// A proxy may take a moment to let go of what an idle connection does not need.
const SETTLED: Duration = Duration::from_secs(4);
