//! The admin listener as operators meet it: health, members at run time, the configuration, and who is refused.

mod support;

use std::net::SocketAddr;

use serde_json::Value;
use support::{Client, Evenly, Reply, Upstream, eventually, free_port};

struct Admin {
    evenly: Evenly,
    address: SocketAddr,
}

fn start(ups: &[&Upstream], server: &str, admin: &str) -> Admin {
    let members: Vec<String> = ups.iter().map(|up| format!("\"{}\"", up.address)).collect();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let server = format!("proxy_pass = [{}]\n{server}", members.join(", "));
    let evenly = Evenly::start(&server, &format!("[admin]\nlisten = \"{address}\"\n{admin}"));
    Admin { evenly, address }
}

impl Admin {
    fn send(&self, method: &str, path: &str, fields: &str, body: &str) -> Reply {
        let mut client = Client::connect(self.address);
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{fields}Content-Length: {length}\r\n\r\n{body}",
            self.address
        );
        client.send(request.as_bytes()).unwrap();
        client.reply(method).unwrap()
    }

    fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", "")
    }

    fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let reply = self.send("POST", path, "Content-Type: application/json\r\n", body);
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    fn members(&self) -> Vec<Value> {
        let groups: Value = serde_json::from_slice(&self.get("/api/members").body).unwrap();
        groups[0]["members"].as_array().unwrap().clone()
    }
}

#[test]
fn members_come_go_drain_and_change_weight_while_requests_flow() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    // Without slow start, so that shares are exact from the first request on.
    let admin = start(&[&a], "balance = \"round_robin\"", "[health]\nslow_start = 0");
    let mut client = admin.evenly.client();
    let mut who =
        |count: usize| -> String { (0..count).map(|_| client.get("/").text().to_owned()).collect() };
    assert_eq!(who(3), "aaa");

    let (status, told) = admin.post("/api/members", &format!("{{\"add\": \"{}^2\"}}", b.address));
    assert_eq!((status, told["done"].as_str()), (200, Some(&*format!("added {} with weight 2", b.address))));
    let spread = who(6);
    assert_eq!((spread.matches('a').count(), spread.matches('b').count()), (2, 4));

    assert_eq!(
        admin.post("/api/members", &format!("{{\"reweight\": \"{}\", \"weight\": 5}}", a.address)).0,
        200
    );
    assert_eq!(who(7).matches('a').count(), 5);

    assert_eq!(admin.post("/api/members", &format!("{{\"drain\": \"{}\"}}", a.address)).0, 200);
    assert_eq!(who(5), "bbbbb");
    let drained = admin.members();
    let drained = drained.iter().find(|member| member["id"] == a.address.to_string()).unwrap();
    assert_eq!((drained["draining"].as_bool(), drained["weight"].as_u64()), (Some(true), Some(5)));
    assert_eq!(admin.post("/api/members", &format!("{{\"undrain\": \"{}\"}}", a.address)).0, 200);
    assert!(who(7).contains('a'));

    assert_eq!(admin.post("/api/members", &format!("{{\"remove\": \"{}\"}}", b.address)).0, 200);
    assert_eq!(who(3), "aaa");
    assert_eq!(admin.members().len(), 1);
}

#[test]
fn impossible_changes_are_refused_with_a_reason() {
    let up = Upstream::start("a");
    let admin = start(&[&up], "", "");
    let known = up.address;
    for (body, status, told) in [
        ("{\"remove\": \"nowhere:1\"}".to_owned(), 404, "nowhere:1"),
        (format!("{{\"add\": \"{known}\"}}"), 409, "is there twice"),
        ("{\"add\": \"a:1^0\"}".to_owned(), 400, "weight \"0\" (must be 1 to 65535)"),
        (format!("{{\"reweight\": \"{known}\", \"weight\": 0}}"), 400, "weight must be 1 to 65535"),
        (format!("{{\"reweight\": \"{known}\"}}"), 400, "weight must be 1 to 65535"),
        ("{}".to_owned(), 400, "say one of"),
        (format!("{{\"drain\": \"{known}\", \"remove\": \"{known}\"}}"), 400, "say one of"),
        ("{\"drian\": \"a\"}".to_owned(), 400, "unknown field `drian`"),
        ("no json".to_owned(), 400, "the body is not what is expected"),
        (format!("{{\"group\": \"g\", \"drain\": \"{known}\"}}"), 404, "no group \"g\""),
    ] {
        let (got, answer) = admin.post("/api/members", &body);
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["error"].as_str().unwrap().contains(told), "{body}: {answer}");
    }
    assert_eq!(admin.members().len(), 1, "nothing changed");
    assert_eq!(admin.get("/api/nothing").status, 404);
    assert_eq!(admin.send("DELETE", "/api/status", "Content-Type: application/json\r\n", "").status, 405);
    let mut long = Client::connect(admin.address);
    long.send(b"POST /api/members HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n").unwrap();
    assert_eq!(long.reply("POST").unwrap().status, 413);
}

#[test]
fn health_tells_whether_requests_are_welcome() {
    let up = Upstream::start("a");
    let mut admin = start(&[&up], "drain_timeout = 600", "");
    assert_eq!(admin.get("/healthz").text(), "ok\n");
    assert_eq!(admin.get("/readyz").status, 200);
    assert_eq!(admin.post("/api/members", &format!("{{\"drain\": \"{}\"}}", up.address)).0, 200);
    assert_eq!(admin.get("/readyz").status, 503, "nobody is left to answer");
    assert_eq!(admin.post("/api/members", &format!("{{\"undrain\": \"{}\"}}", up.address)).0, 200);
    assert_eq!(admin.get("/readyz").status, 200);
    // A request holds the drain open; health is told all the while.
    let mut held = admin.evenly.client();
    held.send(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("the request is at the member", || up.hits() == 1);
    admin.evenly.signal("TERM");
    eventually("draining is told", || admin.get("/readyz").status == 503);
    assert_eq!(admin.get("/healthz").status, 200);
    up.open_gate();
    assert_eq!(held.reply("GET").unwrap().status, 200);
    assert!(admin.evenly.wait().success());
}

#[test]
fn the_configuration_is_told_without_its_secrets() {
    let up = Upstream::start("a");
    let admin = start(
        &[&up],
        "access_log = \"combined\"",
        "token = \"0123456789abcdef\"\n[redis]\nredis_pass = \"hush\"",
    );
    let bearer = "Authorization: Bearer 0123456789abcdef\r\n";
    let config = admin.send("GET", "/api/config", bearer, "");
    let config = config.text();
    assert!(!config.contains("hush") && !config.contains("0123456789abcdef"), "{config}");
    let read: toml::Table = config.parse().unwrap();
    assert_eq!(read["server"]["access_log"].as_str(), Some("combined"));
    assert_eq!(read["redis"]["redis_pass"].as_str(), Some("***"));
    assert_eq!(read["admin"]["token"].as_str(), Some("***"));
}

#[test]
fn strangers_are_refused() {
    let up = Upstream::start("a");
    let open = start(&[&up], "", "");
    let rebound = Client::connect(open.address);
    let mut rebound = rebound;
    rebound.send(b"GET /api/status HTTP/1.1\r\nHost: evil.example\r\n\r\n").unwrap();
    assert_eq!(rebound.reply("GET").unwrap().status, 403);
    let drain = format!("{{\"drain\": \"{}\"}}", up.address);
    assert_eq!(open.send("POST", "/api/members", "Content-Type: text/plain\r\n", &drain).status, 415);
    let other_page = "Content-Type: application/json\r\nOrigin: http://evil.example\r\n";
    assert_eq!(open.send("POST", "/api/members", other_page, &drain).status, 403);
    assert_eq!(open.members()[0]["draining"].as_bool(), Some(false));

    let closed = start(&[&up], "", "token = \"0123456789abcdef\"");
    for path in ["/api/status", "/api/members", "/api/config", "/metrics"] {
        let refused = closed.get(path);
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        let known = closed.send("GET", path, "Authorization: Bearer 0123456789abcdef\r\n", "");
        assert_eq!(known.status, 200, "{path}");
    }
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(closed.get(path).status, 200, "{path} holds no facts");
    }
}

#[test]
fn a_unix_socket_is_an_admin_listener_too() {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };
    let up = Upstream::start("a");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // Left behind by one that was killed: nobody listens there.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let _evenly = Evenly::start(
        &format!("proxy_pass = [\"{}\"]", up.address),
        &format!("[admin]\nlisten = \"unix:{}\"", path.display()),
    );
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ready\n"), "{answer}");
}

#[test]
fn an_admin_listener_for_everybody_needs_a_token() {
    let parse = |admin: &str| {
        evenly::config::Config::parse("f", &format!("[server]\nproxy_pass = [\"a\"]\n[admin]\n{admin}"))
    };
    let told = parse("listen = \"0.0.0.0:9180\"").unwrap_err().to_string();
    assert!(told.contains("0.0.0.0:9180 can be reached from elsewhere, and there is no token"), "{told}");
    assert!(told.contains("f:4:1"), "{told}");
    assert!(parse("token = \"short\"").unwrap_err().to_string().contains("too short"));
    assert!(parse("listen = \":9180\"\ntoken = \"0123456789abcdef\"").is_ok());
    assert_eq!(parse("").unwrap().admin.unwrap().listen.to_string(), "127.0.0.1:9180");
}

/// What a browser gets: the whole page, nothing from elsewhere, and orders to run nothing else.
#[test]
fn the_dashboard_is_one_page_without_foreign_parts() {
    let up = Upstream::start("a");
    let admin = start(&[&up], "", "");
    let page = admin.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let html = page.text();
    for foreign in ["src=", "@import", "url(", "innerHTML", "https://", "<link rel=\"stylesheet\""] {
        assert!(!html.contains(foreign), "{foreign} is on the page");
    }
    assert!(html.contains("lang=\"en\"") && html.contains("name=\"viewport\""));
    assert!(html.contains("prefers-color-scheme: dark"));
    // Every fact that the script reads is one that the API gives.
    let status: Value = serde_json::from_slice(&admin.get("/api/status").body).unwrap();
    for name in [
        "version",
        "ready",
        "requests",
        "failures",
        "in_flight",
        "connections",
        "retries",
        "p50_ms",
        "p99_ms",
        "cache",
        "groups",
        "samples",
        "errors",
        "changes",
    ] {
        assert!(status.get(name).is_some(), "{name} is missing in {status}");
        assert!(html.contains(&format!("status.{name}")), "{name} is not shown");
    }
    let member = &status["groups"][0]["members"][0];
    for name in member
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| !["id", "picks", "responses"].contains(&name.as_str()))
    {
        assert!(html.contains(&format!("member.{name}")), "{name} is not shown");
    }
}
