//! The metrics page, asked for over a real socket after real traffic: each metric of the table has its number.

mod support;

use std::{collections::BTreeMap, net::SocketAddr, process::Command};

use evenly::observe::{METRICS, MetricKind};
use support::{Client, Evenly, Upstream, eventually, free_port};

struct Page(BTreeMap<String, f64>);

impl Page {
    fn read(address: SocketAddr) -> Page {
        let reply = {
            let mut client = Client::connect(address);
            client.send(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
            client.reply("GET").unwrap()
        };
        assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let samples = reply.text().lines().filter(|line| !line.starts_with('#'));
        Page(
            samples
                .map(|line| line.rsplit_once(' ').unwrap())
                .map(|(k, v)| (k.to_owned(), v.parse().unwrap()))
                .collect(),
        )
    }

    fn at(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("{sample} is not in {:#?}", self.0.keys()))
    }

    fn has(&self, metric: &str) -> bool {
        self.0.keys().any(|sample| sample == metric || sample.starts_with(&format!("{metric}{{")))
    }
}

#[test]
fn every_metric_has_the_number_that_traffic_gave_it() {
    let up = Upstream::start("a");
    let dead = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let evenly = Evenly::start(
        &format!(
            "proxy_pass = [\"{}^3\", \"{dead}\"]\nbalance = \"round_robin\"\naccess_log = \"{{status}}\"",
            up.address
        ),
        // The dead member is found by requests, not by checks.
        &format!("[health]\ncheck = \"off\"\n[admin]\nlisten = \"{admin}\""),
    );
    let mut client = evenly.client();
    for _ in 0..8 {
        assert_eq!(client.get("/bytes/1000").status, 200);
    }
    client.request("POST", "/echo", "", b"0123456789");
    client.get("/status/404");
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").unwrap();
    assert_eq!(client.reply("GET").unwrap().status, 400);
    let mut held = evenly.client();
    held.send(b"GET /bytes/500000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    held.head().unwrap();
    eventually("only the held request is in flight, and the connection of the refused one is closed", || {
        let page = Page::read(admin);
        (page.at("evenly_requests_in_flight"), page.at("evenly_connections_open")) == (1.0, 1.0)
    });

    let page = Page::read(admin);
    let of = |metric: &str, member: SocketAddr, more: &str| {
        format!("{metric}{{group=\"default\",member=\"{member}\"{more}}}")
    };
    let member = |metric: &str, more: &str| page.at(&of(metric, up.address, more));
    for metric in METRICS {
        let name = match metric.kind {
            MetricKind::Histogram => format!("{}_count", metric.name),
            _ => metric.name.to_owned(),
        };
        assert!(page.has(&name), "{name} is not on the page");
    }
    assert_eq!(page.at("evenly_requests_total{code=\"200\"}"), 10.0);
    assert_eq!(page.at("evenly_requests_total{code=\"404\"}"), 1.0);
    assert_eq!(page.at("evenly_requests_total{code=\"400\"}"), 1.0);
    assert_eq!(page.at("evenly_request_duration_seconds_count"), 12.0);
    assert!(page.at("evenly_request_duration_seconds_sum") > 0.0);
    assert_eq!(page.at("evenly_request_body_bytes_total"), 10.0);
    assert!(page.at("evenly_response_body_bytes_total") >= 8010.0);
    assert!(page.at("evenly_connections_total") >= 2.0);
    let picks = ",algorithm=\"round_robin\"";
    let to_dead = page.at(&of("evenly_member_picks_total", dead, picks));
    assert!(to_dead >= 1.0);
    assert_eq!(member("evenly_member_picks_total", picks), 11.0);
    assert_eq!(page.at(&of("evenly_member_failures_total", dead, "")), to_dead);
    assert_eq!(page.at("evenly_retries_total"), to_dead);
    assert_eq!(member("evenly_member_responses_total", ",class=\"2xx\""), 10.0);
    assert_eq!(member("evenly_member_responses_total", ",class=\"4xx\""), 1.0);
    assert_eq!(member("evenly_member_response_duration_seconds_count", ""), 11.0);
    assert_eq!(member("evenly_member_requests_in_flight", ""), 1.0);
    assert_eq!(member("evenly_member_up", ""), 1.0);
    assert_eq!(member("evenly_member_draining", ""), 0.0);
    assert_eq!(member("evenly_member_weight", ""), 3.0);
    let opened = member("evenly_member_connections_total", ",kind=\"opened\"");
    let reused = member("evenly_member_connections_total", ",kind=\"reused\"");
    assert!(opened >= 1.0 && reused >= 1.0 && opened + reused >= 11.0, "{opened} + {reused}");
    of_the_process(&page);

    drop(held);
    eventually("the broken one is counted", || {
        let page = Page::read(admin);
        (page.at("evenly_requests_broken_off_total"), page.at("evenly_requests_in_flight")) == (1.0, 0.0)
    });
    work_is_counted(&mut evenly.client(), admin);
}

/// The kernel counts in hundredths of a second.
fn work_is_counted(client: &mut Client, admin: SocketAddr) {
    eventually("its work is counted", || {
        client.get("/bytes/10000000");
        Page::read(admin).at("process_cpu_seconds_total") > 0.0
    });
}

fn of_the_process(page: &Page) {
    assert_eq!(page.at("evenly_config_reloads_total{result=\"done\"}"), 1.0);
    assert!(page.at("evenly_config_last_reload_timestamp_seconds") > 1.7e9);
    assert!(page.at("process_start_time_seconds") > 1.7e9);
    assert!(page.at("process_resident_memory_bytes") > 1e6);
    assert!(page.at("process_open_fds") >= 5.0);
    assert!(page.at("process_max_fds") >= page.at("process_open_fds"));
}

/// What is rare is counted too: each thing is made to happen, and its number follows.
#[test]
fn reloads_ejections_and_health_are_counted_when_they_happen() {
    let up = Upstream::start("a");
    let place = free_port();
    let member = SocketAddr::from(([127, 0, 0, 1], place));
    let b = Upstream::start_at("b", member);
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let keys = format!("proxy_pass = [\"{}\", \"{member}\"]\nbalance = \"round_robin\"", up.address);
    let evenly = Evenly::start(
        &keys,
        &format!("[health]\ninterval = 1\nslow_start = 0\n[admin]\nlisten = \"{admin}\""),
    );
    let up_now =
        || Page::read(admin).at(&format!("evenly_member_up{{group=\"default\",member=\"{member}\"}}"));
    let ejections = format!("evenly_member_ejections_total{{group=\"default\",member=\"{member}\"}}");
    assert_eq!((up_now(), Page::read(admin).at(&ejections)), (1.0, 0.0));
    drop(b);
    eventually("its checks take it out", || up_now() == 0.0);
    assert_eq!(Page::read(admin).at(&ejections), 1.0);
    let _b = Upstream::start_at("b", member);
    eventually("it is up again", || up_now() == 1.0);

    let reloads =
        |result: &str| Page::read(admin).at(&format!("evenly_config_reloads_total{{result=\"{result}\"}}"));
    assert_eq!((reloads("done"), reloads("refused")), (1.0, 0.0));
    evenly.signal("HUP");
    eventually("a reload is counted", || reloads("done") == 2.0);
    std::fs::write(&evenly.config_file, "nothing of the kind").unwrap();
    eventually("a refusal is counted", || reloads("refused") == 1.0);
    assert_eq!(reloads("done"), 2.0);
    let events = {
        let mut client = Client::connect(admin);
        client.send(format!("GET /api/status HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes()).unwrap();
        client.reply("GET").unwrap()
    };
    assert!(events.text().contains("reloaded ") && events.text().contains("refused "), "{}", events.text());
}

#[test]
fn who_waits_for_a_member_is_counted_while_he_waits() {
    let up = Upstream::start("a");
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let evenly = Evenly::start(
        &format!("proxy_pass = [\"{}\"]", up.address),
        &format!("[queue]\nmax_connections = 1\ntimeout = 600\n[admin]\nlisten = \"{admin}\""),
    );
    let mut clients = [evenly.client(), evenly.client()];
    for client in &mut clients {
        client.send(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    let queued = || Page::read(admin).at("evenly_requests_queued{group=\"default\"}");
    eventually("one is there, one waits", || queued() == 1.0);
    up.open_gate();
    for client in &mut clients {
        assert_eq!(client.reply("GET").unwrap().status, 200);
    }
    assert_eq!(queued(), 0.0);
}

/// The limit sinks while it runs, to no more descriptors than it has.
#[test]
fn who_cannot_be_accepted_is_counted_and_served_when_he_can_be() {
    let up = Upstream::start("a");
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let evenly = Evenly::start(
        &format!("proxy_pass = [\"{}\"]", up.address),
        &format!("[health]\ncheck = \"off\"\n[admin]\nlisten = \"{admin}\""),
    );
    let mut operator = Client::connect(admin);
    let mut errors = || {
        operator.send(format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes()).unwrap();
        let page = operator.reply("GET").unwrap();
        let line = page.text().lines().find_map(|line| line.strip_prefix("evenly_accept_errors_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let limit = |soft: &str| {
        let limit = format!("--nofile={soft}:");
        let set = Command::new("prlimit").args([&limit, "--pid", &evenly.pid().to_string()]).status();
        assert!(set.is_ok_and(|status| status.success()), "prlimit (package util-linux) is needed");
    };
    assert_eq!(errors(), 0);
    limit("3");
    let mut client = evenly.client();
    eventually("it is counted", || errors() > 0);
    limit("256");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_cache_without_its_redis_says_so_and_serves() {
    let up = Upstream::start("a");
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let nobody = free_port();
    let evenly = Evenly::start(
        &format!("proxy_pass = [\"{}\"]\ncache = true\ncache_type = \"redis\"", up.address),
        &format!("[redis]\nredis_host = \"127.0.0.1:{nobody}\"\n[admin]\nlisten = \"{admin}\""),
    );
    let mut client = evenly.client();
    eventually("it is given up", || {
        assert_eq!(client.get("/max-age/60").status, 200);
        Page::read(admin).at("evenly_redis_circuit_open") == 1.0
    });
    let refused = || Page::read(admin).at("evenly_redis_errors_total{kind=\"refused\"}");
    let before = refused();
    eventually("it is not asked", || {
        assert_eq!(client.get("/max-age/60").status, 200);
        refused() > before
    });
}
