//! Members by name: a real name server on loopback tells who they are, and changes its mind.

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use support::{Client, Evenly, NameServer, Record, Upstream, Zone, eventually, free_port};

const HOST: &str = "web.test";
const SERVICE: &str = "_http._tcp.web.test";

/// Upstreams at 127.0.0.1, 127.0.0.2 … all on one port, as the pods of a headless service are.
fn upstreams(names: &[&'static str]) -> (Vec<Upstream>, u16) {
    let port = free_port();
    let at = |last| SocketAddr::from((address(last), port));
    (names.iter().zip(1..).map(|(name, last)| Upstream::start_at(name, at(last))).collect(), port)
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// The host has these addresses, good for a second.
fn hosts(lasts: &[u8]) -> Zone {
    Zone::Records(lasts.iter().map(|last| (HOST, 1, Record::A(address(*last)))).collect())
}

fn start(server: &NameServer, members: &str, more: &str) -> Evenly {
    let dns = format!("[dns]\nservers = \"{}\"\nrefresh_min = 1\nrefresh_max = 1\n{more}", server.address);
    let keys = format!("balance = \"round_robin\"\nproxy_pass = [{members}]");
    Evenly::start(&keys, &format!("{dns}\n[health]\ncheck = \"off\"\nslow_start = 0"))
}

/// Who answers `count` requests, in order of names.
fn answers(client: &mut Client, count: usize) -> String {
    let mut names: Vec<String> = (0..count).map(|_| client.get("/").text().to_owned()).collect();
    names.sort();
    names.concat()
}

#[test]
fn the_first_request_is_answered_and_members_follow_the_addresses() {
    let (ups, port) = upstreams(&["a", "b", "c"]);
    let server = NameServer::start(hosts(&[1, 2]));
    let evenly = start(&server, &format!("\"dns+{HOST}:{port}\""), "");
    let mut client = evenly.client();
    // Nobody was served before there were members.
    assert_eq!(answers(&mut client, 4), "aabb");
    // Another order is no news.
    server.says(hosts(&[2, 1]));
    let asked = server.asked();
    eventually("it is asked again, and again", || server.asked() >= asked + 2);
    assert_eq!(answers(&mut client, 4), "aabb");
    assert_eq!(evenly.stderr().matches("new members").count(), 1);
    // One comes, one goes.
    server.says(hosts(&[3, 2]));
    eventually("c is a member, a is none", || answers(&mut client, 4) == "bbcc");
    drop(ups);
}

#[test]
fn whatever_goes_wrong_the_last_good_answer_stays() {
    let (_ups, port) = upstreams(&["a", "b"]);
    let server = NameServer::start(hosts(&[1, 2]));
    let evenly = start(&server, &format!("\"dns+{HOST}:{port}\""), "timeout = 1");
    let mut client = evenly.client();
    assert_eq!(answers(&mut client, 4), "aabb");
    let troubles = [Zone::Code(3), Zone::Code(2), Zone::Silence, Zone::Records(Vec::new())];
    for (warned, zone) in troubles.into_iter().enumerate() {
        server.says(zone.clone());
        eventually("it notices", || {
            evenly.stderr().matches("has no answer; its members stay").count() > warned
        });
        assert_eq!(answers(&mut client, 4), "aabb", "{zone:?}");
        // It recovers by itself; each trouble is told once.
        server.says(hosts(&[1]));
        eventually("one is left", || answers(&mut client, 4) == "aaaa");
        server.says(hosts(&[1, 2]));
        eventually("both are there", || answers(&mut client, 4) == "aabb");
    }
}

#[test]
fn services_tell_port_weight_and_who_comes_first() {
    let ups = ["a", "b", "c"].map(Upstream::start);
    let [a, b, c] = [0, 1, 2].map(|at: usize| ups[at].address.port());
    let zone = |of_b: u16| {
        Zone::Records(vec![
            (SERVICE, 1, Record::Srv(10, 3, a, "one.test")),
            (SERVICE, 1, Record::Srv(of_b, 1, b, "one.test")),
            (SERVICE, 1, Record::Srv(30, 9, c, "one.test")),
            ("one.test", 1, Record::A(address(1))),
        ])
    };
    let server = NameServer::start(zone(10));
    let evenly = start(&server, &format!("\"srv+{SERVICE}\""), "");
    let mut client = evenly.client();
    assert_eq!(answers(&mut client, 8), "aaaaaabb");
    server.says(zone(20));
    eventually("only the first priority is used", || answers(&mut client, 8) == "aaaaaaaa");
}

/// Names stand beside plain members, in groups too, and a host without IPv4 addresses is reached by IPv6.
#[test]
fn names_and_plain_members_share_the_work() {
    let (_ups, port) = upstreams(&["a"]);
    let plain = Upstream::start("p");
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    let has_v6 = std::net::TcpListener::bind(v6).is_ok();
    let six = has_v6.then(|| Upstream::start_at("s", v6));
    let server = NameServer::start(Zone::Records(vec![
        (HOST, 60, Record::A(address(1))),
        ("six.test", 60, Record::Aaaa(std::net::Ipv6Addr::LOCALHOST)),
    ]));
    let six_entry = if has_v6 { format!(", \"dns+six.test:{port}\"") } else { String::new() };
    let evenly = start(&server, &format!("\"{}^2\", \"dns+{HOST}:{port}\"{six_entry}", plain.address), "");
    let mut client = evenly.client();
    let expected = if six.is_some() { "aappppss" } else { "aapppp" };
    assert_eq!(answers(&mut client, expected.len()), expected);
}

/// A member that stays keeps its load while the set around it changes, by an answer and by a reload.
#[test]
fn members_that_stay_keep_their_load() {
    let (ups, port) = upstreams(&["a", "b", "c"]);
    let server = NameServer::start(hosts(&[1]));
    let evenly = Evenly::start(
        &format!("balance = \"least_load\"\nproxy_pass = [\"dns+{HOST}:{port}\"]"),
        &format!(
            "[dns]\nservers = [\"{}\"]\nrefresh_max = 1\n[health]\ncheck = \"off\"\nslow_start = 0",
            server.address
        ),
    );
    let mut held = evenly.client();
    held.send(b"GET /gate HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("a has a request", || ups[0].hits() == 1);
    server.says(hosts(&[1, 2]));
    eventually("b is there", || evenly.stderr().contains("members=2"));
    let mut client = evenly.client();
    // Had a's count begun anew, some of these would be its own.
    eventually("b has it", || client.get("/").text() == "b");
    assert_eq!(answers(&mut client, 10), "b".repeat(10));
    let text = std::fs::read_to_string(&evenly.config_file).unwrap();
    std::fs::write(&evenly.config_file, text.replace("refresh_max = 1", "refresh_max = 2")).unwrap();
    eventually("it is read again", || evenly.stderr().contains("is in effect"));
    assert_eq!(answers(&mut client, 10), "b".repeat(10));
    ups[0].open_gate();
    assert_eq!(held.reply("GET").unwrap().text(), "a");
}

/// A reload that brings a new name waits until it has members: nobody meets an empty group.
#[test]
fn a_new_name_has_members_when_it_takes_effect() {
    let (ups, port) = upstreams(&["a", "b"]);
    let server = NameServer::start(Zone::Records(vec![
        (HOST, 60, Record::A(address(1))),
        ("other.test", 60, Record::A(address(2))),
    ]));
    let evenly = start(&server, &format!("\"dns+{HOST}:{port}\""), "");
    let load = support::Load::start(evenly.address, 2, "/", 200);
    load.goes_on(20);
    let text = std::fs::read_to_string(&evenly.config_file).unwrap();
    std::fs::write(&evenly.config_file, text.replace(HOST, "other.test")).unwrap();
    eventually("the other one answers", || ups[1].hits() > 0);
    load.goes_on(20);
    load.stop().none_failed();
}

#[test]
fn a_name_that_nobody_knows_is_503_and_not_ready() {
    let server = NameServer::start(Zone::Code(3));
    let admin = format!("127.0.0.1:{}", free_port());
    let evenly = start(&server, "\"dns+nowhere.test:80\"", &format!("[admin]\nlisten = \"{admin}\""));
    assert_eq!(evenly.client().get("/").status, 503);
    let mut operator = Client::connect(admin.parse().unwrap());
    operator.send(format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(operator.reply("GET").unwrap().status, 503);
}
