//! A large answer arrives as its member sent it, byte for byte, or visibly not whole: whether we read and write it or the
//! kernel moves it by a pipe, however the member cuts it, however the client takes it, whoever leaves in the middle.

mod support;

use std::{
    collections::HashSet,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::OnceLock,
    thread,
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use support::{Client, Evenly, eventually, free_port};

/// Starts a member that answers `/LENGTH/CUT/SENT/THEN` with so many bytes, in writes of `CUT`, and after `SENT` of them does
/// as it is told: `go` to the next request, `close`, or `stay` silent.
fn member() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process: nobody else holds the port.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // That the proxy leaves in the middle is a part of some tests.
            thread::spawn(move || answer_all(&stream).is_ok());
        }
    });
    address
}

fn answer_all(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(line) = lines.next().transpose()? {
        let Some(path) = line.strip_prefix("GET /").and_then(|rest| rest.split(' ').next()) else { continue };
        let words: Vec<&str> = path.split('/').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(0_usize);
        let (length, cut, sent) = (number(0), number(1).max(1), number(2));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let (first, rest) = body(sent).split_at(cut.min(sent));
        stream.write_all(&[head.as_bytes(), first].concat())?;
        for piece in rest.chunks(cut) {
            stream.write_all(piece)?;
        }
        match words.get(3) {
            Some(&"close") => return Ok(()),
            Some(&"stay") => drop(lines.next()),
            _ => {}
        }
    }
    Ok(())
}

/// The first so many of bytes of which none stands for another unseen.
fn body(length: usize) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let byte = |at: usize| (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8;
    &BYTES.get_or_init(|| (0..LENGTH_MAX).map(byte).collect())[..length]
}

const LENGTH_MAX: usize = 30_000_000;

fn ask(client: &mut Client, path: &str) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
}

fn whole(length: usize, cut: usize) -> String {
    format!("/{length}/{cut}/{length}/go")
}

/// Reads `length` bytes, or what comes of them before the end, `step` at a time.
fn take(client: &mut Client, length: usize, step: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    let mut room = vec![0; step];
    while taken.len() < length {
        let wanted = step.min(length - taken.len());
        match client.read(&mut room[..wanted]) {
            Ok(0) | Err(_) => break,
            Ok(count) => taken.extend_from_slice(&room[..count]),
        }
    }
    taken
}

fn start(server: &str, rest: &str) -> Evenly {
    // The last that is there is never taken out.
    Evenly::start(&format!("proxy_pass = [\"{}\", \"{}\"]\n{server}", member(), member()), rest)
}

/// With its metrics at a place of their own.
fn start_watched(server: &str) -> (Evenly, SocketAddr) {
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (start(server, &format!("[admin]\nlisten = \"{admin}\"\n[health]\ncheck = \"off\"\nfailures = 1")), admin)
}

/// The only number of this name on the page of metrics.
fn figure(admin: SocketAddr, name: &str) -> usize {
    let mut client = Client::connect(admin);
    client.send(format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes()).unwrap();
    let page = client.reply("GET").unwrap();
    let is_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let line = page.text().lines().find(is_it).unwrap_or_else(|| panic!("{name} is not on the page"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The pipes that it has open.
#[cfg(target_os = "linux")]
fn pipes(evenly: &Evenly) -> HashSet<String> {
    let folder = fs::read_dir(format!("/proc/{}/fd", evenly.pid())).unwrap();
    let links = folder.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.map(|link| link.display().to_string()).filter(|link| link.starts_with("pipe:")).collect()
}

/// Two answers behind each other, asked for at once.
#[test]
fn the_clients_bytes_are_the_members() {
    let evenly = start("workers = 1", "");
    let answer = || (0..3_000_000_usize, prop_oneof![1_000..70_000_usize, 70_000..5_000_000_usize]);
    let step = prop_oneof![500..20_000_usize, 20_000..2_000_000_usize];
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(answer(), answer(), step), |(first, second, step)| {
        let mut client = evenly.client();
        ask(&mut client, &whole(first.0, first.1));
        ask(&mut client, &whole(second.0, second.1));
        for (length, _) in [first, second] {
            let (status, fields) = client.head().unwrap();
            prop_assert_eq!(status, 200);
            prop_assert!(fields.contains(&("content-length".to_owned(), length.to_string())));
            prop_assert!(take(&mut client, length, step) == *body(length));
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_client_does_not_take_lies_in_a_pipe_until_it_does() {
    let evenly = start("workers = 1", "");
    let before = pipes(&evenly);
    let length = LENGTH_MAX;
    let mut client = evenly.client();
    ask(&mut client, &whole(length, length));
    assert_eq!(client.head().unwrap().0, 200);
    eventually("there is a pipe", || pipes(&evenly).len() == before.len() + 1);
    assert!(take(&mut client, length, 1 << 20) == *body(length));
}

/// With few descriptors there are few pipes, and no client has to wait for one.
#[test]
#[cfg(target_os = "linux")]
fn who_finds_no_pipe_is_served_all_the_same() {
    let server = format!("proxy_pass = [\"{}\"]\nworkers = 1", member());
    let evenly = Evenly::start_within(100, &server, "[health]\ncheck = \"off\"");
    let before = pipes(&evenly).len();
    let length = 12_000_000;
    let mut clients: Vec<Client> = (0..10).map(|_| evenly.client()).collect();
    for client in &mut clients {
        ask(client, &whole(length, length));
        assert_eq!(client.head().unwrap().0, 200);
    }
    eventually("there are pipes", || pipes(&evenly).len() > before);
    for mut client in clients {
        assert!(pipes(&evenly).len() <= before + 3);
        let taken = take(&mut client, length, 1 << 20);
        assert!(taken == *body(length), "{} of {length}", taken.len());
    }
}

#[test]
fn a_member_that_breaks_off_is_never_taken_for_whole() {
    let length = 1_000_000;
    for sent in [0, 10_000, 65_536, 300_000, length - 65_536, length - 1] {
        let (evenly, admin) = start_watched("");
        let mut client = evenly.client();
        ask(&mut client, &format!("/{length}/100000/{sent}/close"));
        match client.head() {
            Ok((status, fields)) => {
                assert_eq!(status, 200);
                assert!(fields.contains(&("content-length".to_owned(), length.to_string())));
            }
            // Of so few bytes nothing may have been written yet.
            Err(_) => assert!(sent < 4096, "{sent}"),
        }
        let taken = take(&mut client, length, 50_000);
        assert!(taken == *body(sent), "{} of {sent}", taken.len());
        eventually("it is held against the member", || evenly.stderr().contains("is taken out"));
        eventually("it is counted", || figure(admin, "evenly_requests_broken_off_total") == 1);
        assert_eq!(figure(admin, "evenly_response_body_bytes_total"), sent);
    }
}

#[test]
fn a_member_that_falls_silent_is_left() {
    let evenly = start("response_timeout = 1", "[health]\ncheck = \"off\"");
    for sent in [100, 400_000] {
        let mut client = evenly.client();
        ask(&mut client, &format!("/1000000/100000/{sent}/stay"));
        assert_eq!(client.head().unwrap().0, 200);
        assert!(take(&mut client, 1_000_000, 50_000) == *body(sent));
        // It has been put out for that, for a second.
        eventually("it is asked again", || evenly.client().get(&whole(1, 1)).status == 200);
    }
}

/// What it left in a pipe is in nobody else's answer.
#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let (evenly, admin) = start_watched("workers = 1");
    let length = 20_000_000;
    for left_after in [0, 100_000, 5_000_000] {
        let mut client = evenly.client();
        ask(&mut client, &whole(length, length));
        assert_eq!(client.head().unwrap().0, 200);
        assert_eq!(take(&mut client, left_after, 100_000).len(), left_after);
        drop(client);
        let mut next = evenly.client();
        ask(&mut next, &whole(2_000_000, 100_000));
        assert_eq!(next.head().unwrap().0, 200);
        assert!(take(&mut next, 2_000_000, 100_000) == *body(2_000_000));
    }
    eventually("the three are counted, and nothing is under way", || {
        let of = |name| figure(admin, name);
        (of("evenly_requests_broken_off_total"), of("evenly_requests_in_flight")) == (3, 0)
    });
}

#[test]
fn what_went_by_a_pipe_is_counted() {
    let (evenly, admin) = start_watched("access_log = \"{bytes_out} {error}\"\nlog_path = \"logs\"");
    let mut client = evenly.client();
    for length in [3_000_000, 10] {
        assert_eq!(client.get(&whole(length, length)).body, body(length));
    }
    eventually("both have their line", || {
        let files = fs::read_dir(evenly.folder.path().join("logs")).into_iter().flatten();
        let logs = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        logs.into_iter().any(|log| log == "3000000 -\n10 -\n")
    });
    assert_eq!(figure(admin, "evenly_response_body_bytes_total"), 3_000_010);
}

#[test]
fn a_drain_waits_for_what_is_on_its_way() {
    let mut evenly = start("workers = 1", "");
    let length = LENGTH_MAX;
    let mut client = evenly.client();
    ask(&mut client, &whole(length, length));
    assert_eq!(client.head().unwrap().0, 200);
    evenly.signal("TERM");
    eventually("it takes no others", || TcpStream::connect(evenly.address).is_err());
    assert!(take(&mut client, length, 1 << 20) == *body(length));
    assert!(evenly.wait().success());
}
