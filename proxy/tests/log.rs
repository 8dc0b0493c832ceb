//! The access log over real sockets: one line for each request, also for refused ones and for those that break off.

mod support;

use std::{fs, io::Write, net::TcpStream};

use serde_json::Value;
use support::{Evenly, Upstream, eventually};

fn start(up: &Upstream, server: &str) -> Evenly {
    Evenly::start(&format!("proxy_pass = [\"{}\"]\nlog_path = \"logs\"\n{server}", up.address), "")
}

/// The lines of today's file, once there are `count`.
fn lines(evenly: &Evenly, count: usize) -> Vec<String> {
    let folder = evenly.folder.path().join("logs");
    let mut lines = Vec::new();
    eventually("the lines are there", || {
        let files = fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("access.log"));
        lines = logs
            .flat_map(|log| fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        lines.len() >= count
    });
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn who_starts_it_by_hand_is_told_where_the_log_is() {
    let up = Upstream::start("a");
    let evenly = start(&up, "");
    assert_eq!(evenly.stderr(), format!("evenly: up at {}; the log is in logs\n", evenly.address));
}

#[test]
fn every_request_has_one_line_with_what_happened() {
    let up = Upstream::start("a");
    let evenly = start(&up, "access_log = \"json\"");
    let mut client = evenly.client();
    client.get("/bytes/100000?token=hush&x=1");
    client.request(
        "POST",
        "/echo",
        "User-Agent: te\"st\r\nReferer: http://me:hush@h/?password=hush\r\n",
        b"12345",
    );
    client.request("HEAD", "/", "", b"");
    client.get("/status/503");
    // Refused: two hosts. The connection ends with it.
    client.send(b"GET /twice HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").unwrap();
    assert_eq!(client.reply("GET").unwrap().status, 400);
    let lines = lines(&evenly, 5);
    assert!(lines.iter().all(|line| !line.contains("hush")), "{lines:#?}");
    let entries: Vec<Value> = lines.iter().map(|line| json(line)).collect();
    let told = |at: usize, key: &str| entries[at][key].clone();

    assert_eq!((told(0, "method"), told(0, "status")), ("GET".into(), 200.into()));
    assert_eq!(told(0, "target"), "/bytes/100000?token=***&x=1");
    assert_eq!((told(0, "bytes_out"), told(0, "client")), (100_000.into(), "127.0.0.1".into()));
    assert_eq!((told(0, "member"), told(0, "attempts")), (up.address.to_string().into(), 1.into()));
    assert!(told(0, "duration_ms").as_f64() >= told(0, "first_byte_ms").as_f64());
    assert_eq!((told(1, "bytes_in"), told(1, "bytes_out")), (5.into(), 5.into()));
    assert_eq!((told(1, "user_agent"), told(1, "host")), ("te\"st".into(), "test".into()));
    assert_eq!(told(1, "referer"), "http://***@h/?password=***");
    assert_eq!((told(2, "method"), told(2, "error")), ("HEAD".into(), Value::Null));
    assert_eq!(told(3, "status"), 503);
    assert_eq!((told(4, "status"), told(4, "member")), (400.into(), Value::Null));
    assert!(!told(4, "error").as_str().unwrap().is_empty());
}

/// Bytes that are no request are told as well, without what nobody can know of them.
#[test]
fn what_is_no_request_has_its_line() {
    let up = Upstream::start("a");
    let evenly = start(&up, "access_log = \"json\"");
    for wire in
        ["GET / HTTP/1.1\r\nHost : a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\n"]
    {
        let mut client = evenly.client();
        client.send(wire.as_bytes()).unwrap();
        assert_eq!(client.reply("GET").unwrap().status, 400);
    }
    let entries: Vec<Value> = lines(&evenly, 2).iter().map(|line| json(line)).collect();
    for entry in &entries {
        assert_eq!((&entry["status"], &entry["client"]), (&400.into(), &"127.0.0.1".into()));
        assert_eq!(
            (&entry["method"], &entry["target"], &entry["member"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
    }
    let told: Vec<&str> = entries.iter().filter_map(|entry| entry["error"].as_str()).collect();
    assert!(told.contains(&"content-length that is not one number of at most 18 digits"), "{told:?}");
}

#[test]
fn an_answer_that_breaks_off_has_its_line_with_the_bytes_that_went() {
    let up = Upstream::start("a");
    let evenly = start(&up, "access_log = \"{target} {status} {bytes_out} \\\"{error}\\\"\"");
    let mut client = evenly.client();
    client.send(b"GET /bytes/500000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.head().unwrap();
    drop(client);
    // This one leaves before there is any answer.
    let mut early = TcpStream::connect(evenly.address).unwrap();
    early.write_all(b"GET /delay/60000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("both are at the member", || up.hits() == 2);
    drop(early);
    let mut lines = lines(&evenly, 2);
    lines.sort();
    let fields: Vec<&str> = lines[0].splitn(4, ' ').collect();
    assert_eq!(&fields[..2], ["/bytes/500000000", "200"]);
    assert!(fields[2].parse::<u64>().unwrap() < 500_000_000);
    assert_eq!(fields[3], "\"broke off before the last byte\"");
    assert_eq!(lines[1], "/delay/60000 0 0 \"broke off before the last byte\"");
}

#[test]
fn the_request_id_is_passed_on_returned_and_logged() {
    let up = Upstream::start("a");
    let evenly = start(&up, "access_log = \"{request_id}\"");
    let mut client = evenly.client();
    let kept = client.request("GET", "/headers", "X-Request-Id: from-client-1\r\n", b"");
    assert!(kept.text().contains("x-request-id: from-client-1\n"));
    assert_eq!(kept.header("x-request-id"), Some("from-client-1"));
    let made = client.request("GET", "/headers", "X-Request-Id: two words\r\n", b"");
    let id = made.header("x-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 32);
    assert!(made.text().contains(&format!("x-request-id: {id}\n")));
    assert_eq!(lines(&evenly, 2), ["from-client-1".to_owned(), id]);

    let evenly = start(&up, "request_id = false");
    let none = evenly.client().get("/headers");
    assert!(none.header("x-request-id").is_none() && !none.text().contains("x-request-id"));
}

#[test]
fn combined_reads_as_everybody_knows_it() {
    let up = Upstream::start("a");
    let evenly = start(&up, "access_log = \"combined\"");
    evenly.client().request("GET", "/x", "User-Agent: curl/8\r\n", b"");
    let line = lines(&evenly, 1).remove(0);
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.ends_with(" +0000] \"GET /x HTTP/1.1\" 200 1 \"-\" \"curl/8\""), "{line}");
}

/// Threads of clients at once: no line is lost or torn.
#[test]
fn lines_of_many_clients_stay_whole() {
    let up = Upstream::start("a");
    let evenly = start(&up, "access_log = \"json\"");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let mut client = evenly.client();
            scope.spawn(move || (0..100).for_each(|n| drop(client.get(&format!("/{thread}/{n}")))));
        }
    });
    let mut targets: Vec<String> =
        lines(&evenly, 800).iter().map(|line| json(line)["target"].as_str().unwrap().to_owned()).collect();
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), 800);
}
