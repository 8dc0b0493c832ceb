//! Members that fail, and a proxy that is told to stop: nobody's request is lost.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use support::{Client, Evenly, Upstream, eventually, free_port};

fn proxy_pass(addresses: &[String]) -> String {
    format!("proxy_pass = [{}]", addresses.iter().map(|a| format!("\"{a}\"")).collect::<Vec<_>>().join(", "))
}

/// Four clients ask without pause while a member dies and comes back, five times; every GET is answered with 200.
#[test]
fn no_request_fails_while_a_member_is_killed_and_restarted() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let mut c = Some(Upstream::start("c"));
    let place = c.as_ref().unwrap().address;
    let addresses = [a.address, b.address, place].map(|address| address.to_string());
    let evenly = Evenly::start(&proxy_pass(&addresses), "");
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = evenly.client();
                while !done.load(Relaxed) {
                    let reply = client.get("/delay/1");
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    asked.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..5 {
            let before = asked.load(Relaxed);
            eventually("load goes on with the member", || asked.load(Relaxed) > before + 200);
            let hits = c.as_ref().unwrap().hits();
            assert!(hits > 0, "the member took part");
            drop(c.take());
            let before = asked.load(Relaxed);
            eventually("load goes on without the member", || asked.load(Relaxed) > before + 200);
            c = Some(Upstream::start_at("c", place));
            eventually("the member is used again", || c.as_ref().unwrap().hits() > 0);
        }
        done.store(true, Relaxed);
    });
    assert!(asked.load(Relaxed) > 2000);
}

#[test]
fn a_member_that_refuses_costs_nobody_a_request_whatever_the_method() {
    let up = Upstream::start("a");
    let dead = format!("127.0.0.1:{}", free_port());
    let evenly = Evenly::start(
        &format!("{}\nbalance = \"round_robin\"", proxy_pass(&[dead, up.address.to_string()])),
        "",
    );
    let mut client = evenly.client();
    for _ in 0..20 {
        // Nothing of the request reached the dead member, so even a POST goes to the next.
        assert_eq!(client.request("POST", "/echo", "", b"body").text(), "body");
    }
    assert_eq!(up.hits(), 20);
}

#[test]
fn without_any_member_the_answer_is_503_and_the_proxy_lives() {
    let dead = format!("127.0.0.1:{}", free_port());
    let evenly = Evenly::start(&proxy_pass(std::slice::from_ref(&dead)), "");
    let mut client = evenly.client();
    for _ in 0..3 {
        let reply = client.get("/");
        assert_eq!(reply.status, 503);
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert!(!reply.text().contains(&dead), "the members' addresses are nobody's business");
    }
}

/// The member closes after half of the body: the client must notice, not take half for the whole.
#[test]
fn a_truncated_answer_is_not_passed_off_as_whole() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        }
    });
    let evenly = Evenly::start(&proxy_pass(&[address]), "");
    assert!(evenly.client().try_get("/").is_err());
}

/// SIGTERM: a request that is being answered is finished, new connections are refused, exit code 0.
#[test]
fn sigterm_drains() {
    let up = Upstream::start("a");
    let mut evenly = Evenly::start(&proxy_pass(&[up.address.to_string()]), "");
    let mut client = evenly.client();
    client.send(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("the request is under way", || up.hits() == 1);
    evenly.signal("TERM");
    eventually("no new connections", || Client::try_connect(evenly.address).is_err());
    up.open_gate();
    let reply = client.reply("GET").unwrap();
    assert_eq!((reply.status, reply.text(), reply.header("connection")), (200, "a", Some("close")));
    assert_eq!(evenly.wait().code(), Some(0));
}

#[test]
fn a_second_signal_stops_now() {
    let up = Upstream::start("a");
    let mut evenly = Evenly::start(&proxy_pass(&[up.address.to_string()]), "");
    let mut client = evenly.client();
    client.send(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("the request is under way", || up.hits() == 1);
    evenly.signal("INT");
    eventually("it drains", || evenly.stderr().contains("a second signal stops now"));
    evenly.signal("INT");
    assert_eq!(evenly.wait().code(), Some(0));
}

/// A member that answers only errors is taken out, and nobody sees more than the first few of them.
#[test]
fn a_member_that_answers_errors_is_ejected_and_not_below_the_threshold() {
    let (good, bad) = (Upstream::start("good"), failing(500));
    let members = [good.address.to_string(), bad.0.to_string()];
    // Out for longer than this test takes: on probation it would be asked again.
    let rest = "[health]\nejection = 600\nejection_max = 600";
    let evenly = Evenly::start(&format!("{}\nbalance = \"round_robin\"", proxy_pass(&members)), rest);
    let mut client = evenly.client();
    let mut errors = 0;
    eventually("the failing member is out", || {
        errors += u32::from(client.get("/").status == 500);
        evenly.stderr().contains("member is taken out")
    });
    let hits = bad.1.load(Relaxed);
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(bad.1.load(Relaxed), hits);
    assert!(errors >= 5, "{errors} errors");
    // Alone, it stays: an answer with an error is better than none.
    let evenly = Evenly::start(&proxy_pass(&[bad.0.to_string()]), "");
    let mut client = evenly.client();
    for _ in 0..30 {
        assert_eq!(client.get("/").status, 500);
    }
}

/// 503 of a member goes to another one within the budget; what cannot be repeated is passed on as it is.
#[test]
fn an_answer_that_says_try_again_is_tried_again_elsewhere() {
    let (good, busy) = (Upstream::start("good"), failing(503));
    let members = [good.address.to_string(), busy.0.to_string()];
    let rest = "[health]\nfailures = 0\nerror_rate = 0";
    let evenly = Evenly::start(&format!("{}\nbalance = \"round_robin\"", proxy_pass(&members)), rest);
    let mut client = evenly.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(client.request("PUT", "/echo", "", b"kept").text(), "kept");
    }
    let posts = (0..20).filter(|_| client.request("POST", "/echo", "", b"x").status == 503).count();
    assert_eq!(posts, 10);
}

/// 10 s of budget: thirty retries, or a fifth of the requests, whichever is more.
#[test]
fn retries_stay_within_their_budget() {
    let (a, b) = (failing(503), failing(503));
    let members = [a.0.to_string(), b.0.to_string()];
    let evenly = Evenly::start(&proxy_pass(&members), "[health]\nfailures = 0\nerror_rate = 0");
    let mut client = evenly.client();
    let started = Instant::now();
    for _ in 0..300 {
        assert_eq!(client.get("/").status, 503);
    }
    let sent = a.1.load(Relaxed) + b.1.load(Relaxed);
    // Of a machine so busy that this takes longer, each further ten seconds allow their own.
    let most = 360 + 60 * (started.elapsed().as_secs() / 10);
    assert!((330..=most).contains(&sent), "{sent} requests reached the members");
}

#[test]
fn a_full_member_is_passed_over_then_waited_for_then_refused() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let members = [a.address.to_string(), b.address.to_string()];
    let rest = "[queue]\nmax_connections = 1\nmax_pending = 1\ntimeout = 600";
    let evenly = Evenly::start(&proxy_pass(&members), rest);
    let mut held: Vec<Client> = (0..2).map(|_| evenly.client()).collect();
    for client in &mut held {
        client.send(b"GET /bytes/50000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        client.head().unwrap();
    }
    assert_eq!((a.hits(), b.hits()), (1, 1), "the second went to the other member");
    // Of three more, one may wait. Which one is theirs to find out.
    let (tell, told) = std::sync::mpsc::channel();
    for _ in 0..3 {
        let (mut client, tell) = (evenly.client(), tell.clone());
        thread::spawn(move || tell.send(client.get("/")));
    }
    for _ in 0..2 {
        let reply = told.recv().unwrap();
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    }
    drop(held);
    assert_eq!(told.recv().unwrap().status, 200);
}

/// An HTTP check decides, although requests would be answered.
#[test]
fn a_member_whose_check_fails_gets_no_requests_until_it_passes() {
    let (a, b) = (Upstream::start("a"), failing_at("/health"));
    let members = [a.address.to_string(), b.0.to_string()];
    let rest = "[health]\npath = \"/health\"\nstatus = 200\ninterval = 1\nfall = 2";
    let evenly = Evenly::start(&format!("{}\nbalance = \"round_robin\"", proxy_pass(&members)), rest);
    eventually("the check takes it out", || evenly.stderr().contains("member is taken out"));
    let mut client = evenly.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "a");
    }
    b.1.store(1, Relaxed);
    eventually("it is used again", || client.get("/").text() == "b");
}

/// A group of its own has health, retries and a queue of its own; what it does not say is as for all.
#[test]
fn a_group_is_treated_as_it_says() {
    let (up, busy) = (Upstream::start("a"), failing(503));
    let (sick, spare) = (failing_at("/up"), Upstream::start("spare"));
    let rest = format!(
        "[health]\nfailures = 0\nerror_rate = 0\ninterval = 1\nfall = 2\n\
         [[upstreams]]\nname = \"once\"\nbalance = \"round_robin\"\nproxy_pass = [\"{up}\", \"{busy}\"]\n\
         [upstreams.retry]\nattempts = 1\n\
         [[upstreams]]\nname = \"asked\"\nbalance = \"round_robin\"\nproxy_pass = [\"{sick}\", \"{spare}\"]\n\
         [upstreams.health]\npath = \"/up\"\n[upstreams.queue]\nmax_connections = 1\nmax_pending = 0\n\
         [[rules]]\npath_prefix = \"/once/\"\nupstream = \"once\"\n\
         [[rules]]\nhost = \"asked\"\nupstream = \"asked\"\n",
        up = up.address,
        busy = busy.0,
        sick = sick.0,
        spare = spare.address
    );
    let default =
        format!("{}\nbalance = \"round_robin\"", proxy_pass(&[up.address.to_string(), busy.0.to_string()]));
    let evenly = Evenly::start(&default, &rest);
    let mut client = evenly.client();
    assert!((0..10).all(|_| client.get("/").status == 200), "for all, 503 is tried again elsewhere");
    let refused = (0..10).filter(|_| client.get("/once/").status == 503).count();
    assert_eq!(refused, 5, "in this group, nothing is");
    eventually("only this group is asked for /up", || evenly.stderr().contains("member is taken out"));
    assert!(evenly.stderr().contains(&format!("member is taken out member={}", sick.0)));
    let mut first = evenly.client();
    first.send(b"GET /gate HTTP/1.1\r\nHost: asked\r\n\r\n").unwrap();
    eventually("its only place is taken", || spare.hits() > 0);
    let mut second = evenly.client();
    second.send(b"GET / HTTP/1.1\r\nHost: asked\r\n\r\n").unwrap();
    assert_eq!(second.reply("GET").unwrap().status, 503, "nobody waits in this group");
    spare.open_gate();
    assert_eq!(first.reply("GET").unwrap().status, 200);
}

/// A member may close a kept connection at any time, also when a request is just on its way: what is idempotent is sent again on
/// a new one, body and all, also if there is no other member.
#[test]
fn a_connection_that_closes_under_a_request_with_a_body_costs_nothing() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        // Each connection answers one PUT and closes under the next. (A check only connects.)
        'connections: for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            for number in 0..2 {
                let (mut text, mut piece) = (Vec::new(), [0; 1024]);
                while !text.ends_with(b"last\n") {
                    match stream.read(&mut piece) {
                        Ok(count @ 1..) => text.extend_from_slice(&piece[..count]),
                        _ => continue 'connections,
                    }
                }
                if number == 0 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                }
            }
        }
    });
    let evenly = Evenly::start(&proxy_pass(&[address.to_string()]), "");
    let mut client = evenly.client();
    for _ in 0..5 {
        assert_eq!(client.request("PUT", "/x", "", b"first\nlast\n").text(), "ok");
    }
}

/// A member that answers every request with `status`, and how many it saw.
fn failing(status: u16) -> (std::net::SocketAddr, Arc<AtomicU64>) {
    naive(move |_, _| (status, "no"))
}

/// A member that answers `b`, but 500 at `path` while its number is 0.
fn failing_at(path: &'static str) -> (std::net::SocketAddr, Arc<AtomicU64>) {
    naive(move |head, number| {
        if head.starts_with(&format!("GET {path} ")) && number.load(Relaxed) == 0 {
            (500, "no")
        } else {
            (200, "b")
        }
    })
}

fn naive(
    answer: impl Fn(&str, &AtomicU64) -> (u16, &'static str) + Send + Sync + 'static,
) -> (std::net::SocketAddr, Arc<AtomicU64>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, number) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let (counted, answer) = (Arc::clone(&number), Arc::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (counted, answer) = (Arc::clone(&counted), Arc::clone(&answer));
            thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if !matches!(stream.read_line(&mut head), Ok(1..)) {
                        return;
                    }
                }
                let (status, body) = answer(&head, &counted);
                if !head.contains("evenly-health-check") && status >= 500 {
                    counted.fetch_add(1, Relaxed);
                }
                let fields = format!("content-length: {}\r\nconnection: close", body.len());
                let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n\r\n{body}");
                let _ = stream.get_mut().write_all(text.as_bytes());
            });
        }
    });
    (address, number)
}
