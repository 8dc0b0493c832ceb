//! The reverse proxy over real sockets: spread, fields, streaming, isolation.

mod support;

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use support::{Client, Evenly, Upstream, eventually};

fn three() -> [Upstream; 3] {
    ["a", "b", "c"].map(Upstream::start)
}

fn proxy_pass(members: &[(&Upstream, u32)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(up, weight)| format!("\"{}^{weight}\"", up.address)).collect();
    format!("proxy_pass = [{}]", members.join(", "))
}

fn start(ups: &[Upstream; 3], weights: [u32; 3], more: &str) -> Evenly {
    let members: Vec<(&Upstream, u32)> = ups.iter().zip(weights).collect();
    Evenly::start(&format!("{}\n{more}", proxy_pass(&members)), "")
}

/// Who answered, over `count` requests one after the other.
fn spread(evenly: &Evenly, count: usize) -> BTreeMap<String, usize> {
    let mut client = evenly.client();
    let mut spread = BTreeMap::new();
    for _ in 0..count {
        let reply = client.get("/");
        assert_eq!(reply.status, 200);
        *spread.entry(reply.text().to_owned()).or_insert(0) += 1;
    }
    spread
}

/// Every mode under both of goproxy's names, and by its own: the share of each member follows its weight as the
/// algorithm promises. Requests come one at a time, so load is always zero when a member is picked.
#[test]
fn every_mode_spreads_by_weight() {
    let ups = three();
    let weights = [5, 3, 2];
    // Round robin is exact. Random and p2c without load are draws of 1000: four standard deviations of a binomial
    // with p = 1/2 are 64, so no share is off by more. Least load without load spreads ties.
    for (mode, slack) in [("inverse_mode = 0", 64), ("reverse_mode = 1", 0), ("balance = \"random\"", 64)] {
        let spread = spread(&start(&ups, weights, mode), 1000);
        for (up, weight) in ups.iter().zip(weights) {
            let quota = 100 * weight as usize;
            let got = spread.get(up.name).copied().unwrap_or(0);
            assert!(got.abs_diff(quota) <= slack, "{mode}: {} got {got} of {quota}", up.name);
        }
    }
    for mode in ["inverse_mode = 2", "balance = \"p2c\"", "inverse_mode = 5", "balance = \"least_load\""] {
        let spread = spread(&start(&ups, [1, 1, 1], mode), 900);
        for up in &ups {
            let got = spread.get(up.name).copied().unwrap_or(0);
            assert!(got.abs_diff(300) <= 60, "{mode}: {} got {got} of 300", up.name);
        }
    }
}

/// Keyed modes send one client to one member, whichever port it comes from.
#[test]
fn keyed_modes_keep_a_client_at_its_member() {
    let ups = three();
    for mode in ["inverse_mode = 3", "inverse_mode = 4"] {
        let evenly = start(&ups, [1, 1, 1], mode);
        assert_eq!(spread(&evenly, 10).len(), 1, "{mode}");
        assert_eq!(spread(&evenly, 10).len(), 1, "{mode}");
    }
}

/// Six answers that nobody reads to the end: two at each member. A lease that ended with the head of the answer
/// would have left the pick to chance.
#[test]
fn load_is_counted_until_the_body_ends() {
    let ups = three();
    let evenly = start(&ups, [1, 1, 1], "balance = \"least_load\"");
    let mut held: Vec<Client> = (0..6).map(|_| evenly.client()).collect();
    for client in &mut held {
        client.send(b"GET /bytes/50000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert_eq!(client.head().unwrap().0, 200);
    }
    assert_eq!(ups.each_ref().map(Upstream::hits), [2, 2, 2]);
}

#[test]
fn fields_tell_the_member_about_the_client_and_nothing_of_the_hop() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&proxy_pass(&[(&up, 1)]), "");
    let mut client = evenly.client();
    let hop = "Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nTE: gzip\r\n\
               Proxy-Connection: keep-alive\r\nX-Forwarded-For: 6.6.6.6\r\nX-Kept: yes\r\n";
    let reply = client.request("POST", "/headers", hop, b"hi");
    let seen: BTreeMap<&str, &str> = reply.text().lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(seen["host"], "test", "the client's Host is kept");
    assert_eq!(seen["via"], "1.1 evenly");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1", "nobody is trusted by default");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "test");
    assert_eq!(seen["content-length"], "2");
    assert_eq!(seen["x-kept"], "yes");
    for gone in ["connection", "x-secret", "keep-alive", "te", "proxy-connection"] {
        assert!(!seen.contains_key(gone), "{gone} reached the member");
    }
    assert_eq!(reply.header("via"), Some("1.1 evenly"));
}

#[test]
fn every_method_and_status_passes() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&proxy_pass(&[(&up, 1)]), "");
    let mut client = evenly.client();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        assert_eq!(client.request(method, "/", "", b"").status, 200, "{method}");
    }
    for status in [201, 204, 301, 304, 404, 418, 500, 503] {
        assert_eq!(client.get(&format!("/status/{status}")).status, status);
    }
}

/// 100 MB each way; the proxy's memory grows by less than 16 MiB.
#[test]
fn large_bodies_stream_with_flat_memory() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&proxy_pass(&[(&up, 1)]), "");
    let mut client = evenly.client();
    assert_eq!(client.get("/").status, 200);
    let before = evenly.rss_kib();
    client.send(b"GET /bytes/100000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    client.head().unwrap();
    let mut buffer = vec![0; 1 << 16];
    let (mut received, mut peak) = (0usize, 0);
    while received < 100_000_000 {
        received += client.read(&mut buffer).unwrap();
        peak = peak.max(evenly.rss_kib());
    }
    assert_eq!(received, 100_000_000);
    // And up again, echoed while it is sent.
    client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n").unwrap();
    let mut up_stream = client.writer();
    let sender = thread::spawn(move || {
        use std::io::Write;
        let piece = vec![7; 1 << 16];
        let mut left = 100_000_000usize;
        while left > 0 {
            let size = left.min(piece.len());
            up_stream.write_all(&piece[..size]).unwrap();
            left -= size;
        }
    });
    let reply = client.reply("POST").unwrap();
    sender.join().unwrap();
    assert_eq!(reply.body.len(), 100_000_000);
    peak = peak.max(evenly.rss_kib());
    assert!(peak - before < 16 << 10, "grew by {} KiB", peak - before);
}

#[test]
fn a_slow_client_or_member_holds_up_no_other() {
    let (slow, swift) = (Upstream::start("slow"), Upstream::start("swift"));
    let evenly =
        Evenly::start(&format!("{}\nbalance = \"round_robin\"", proxy_pass(&[(&slow, 1), (&swift, 1)])), "");
    // Clients that ask for much and read nothing, and requests that take long.
    let stalled: Vec<Client> = (0..20)
        .map(|n| {
            let mut client = evenly.client();
            let path = if n % 2 == 0 { "/bytes/50000000" } else { "/delay/15000" };
            client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).unwrap();
            client
        })
        .collect();
    eventually("all stalled requests have arrived", || slow.hits() + swift.hits() >= 20);
    let started = Instant::now();
    let mut client = evenly.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    // The stalled ones take 15 s and for ever; fifty quick ones between must not wait for any of them.
    assert!(started.elapsed() < Duration::from_secs(10), "took {:?}", started.elapsed());
    drop(stalled);
}
