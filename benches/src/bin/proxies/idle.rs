//! What a connection costs that a client keeps without using it.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use evenly_benches::scoreboard::{Better, Board};

use crate::{
    rival::{Rival, Scene},
    setup::Role,
};

/// Notes memory for each of `connections` that did one request each, and how long after its start each rival first answered.
pub(crate) fn hold(rivals: &[Rival], connections: usize, scene: &Scene, board: &mut Board) {
    for rival in rivals {
        if let Err(error) = hold_one(rival, connections, scene, board) {
            board.miss(&rival.name, &format!("{connections} idle connections: {error}"));
        }
        eprintln!("{} idle", rival.name);
    }
}

fn hold_one(rival: &Rival, connections: usize, scene: &Scene, board: &mut Board) -> io::Result<()> {
    let proxy = rival.start(Role::Pass, scene, &[])?;
    let listening = Instant::now();
    ask(proxy.port)?;
    let first_answer = proxy.process.up_after + listening.elapsed();
    let cpu = proxy.process.cpu()?;
    let before = proxy.process.own_memory()?;
    let held = (0..connections).map(|_| ask(proxy.port)).collect::<io::Result<Vec<_>>>()?;
    sleep(SETTLED);
    let after = proxy.process.own_memory()?;
    drop(held);
    let each = after.saturating_sub(before) as f64 / 1024.0 / connections as f64;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let (case, who) = (connections.to_string(), crate::who(rival));
    board.note("idle connections", &case, ("KiB each", Better::Less), who, each);
    board.note("idle connections", &case, ("MiB without them", Better::Less), who, before as f64 / 1048576.0);
    board.note("idle connections", &case, ("ms until its first answer", Better::Less), who, ms(first_answer));
    board.note("idle connections", &case, ("CPU ms until then", Better::Less), who, ms(cpu));
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
