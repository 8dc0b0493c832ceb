//! `[[rules]]` as their users write them: block, redirect, rewrite, ask for users, change answers.

mod support;

use support::{Client, Evenly, Reply, Upstream};

fn start(up: &Upstream, rules: &str) -> Evenly {
    let users = "user = { alice = \"s3cret:with:colons\", bob = \"b\" }";
    Evenly::start(&format!("proxy_pass = [\"{}\"]\n{users}", up.address), rules)
}

fn get(client: &mut Client, path: &str, fields: &str) -> Reply {
    client.request("GET", path, fields, b"")
}

#[test]
fn a_blocked_path_is_blocked_however_it_is_written() {
    let up = Upstream::start("a");
    let evenly =
        start(&up, "[[rules]]\npath_prefix = \"/blocked\"\naction = \"block\"\nbody = \"not here\"\n");
    let mut client = evenly.client();
    for path in [
        "/blocked/x",
        "/%62locked/x",
        "/./blocked/x",
        "//blocked/x",
        "/%2e/blocked/x",
        "/;/blocked/x",
        "/blocked;x=y",
        "///blocked//x",
        "/a/../blocked/x",
        "/%5cblocked/x",
        "/\\blocked/x",
        "/a%2Fb/../../blocked",
    ] {
        let reply = get(&mut client, path, "");
        assert_eq!((reply.status, reply.text()), (403, "not here"), "{path}");
    }
    assert_eq!(up.hits(), 0);
    assert_eq!(get(&mut client, "/open", "").status, 200);
}

#[test]
fn conditions_and_redirects() {
    let up = Upstream::start("a");
    let evenly = start(
        &up,
        r#"
        [[rules]]
        host = "*.old.test"
        action = "redirect"
        status = 308
        to = "https://new.test$path$query"

        [[rules]]
        method = ["DELETE", "PUT"]
        client = "127.0.0.0/8"
        action = "block"
        status = 405

        [[rules]]
        query = { debug = "*" }
        header = { x-internal = "no*" }
        action = "block"
        status = 418
    "#,
    );
    let mut client = evenly.client();
    client.send(b"GET /a%20b?c=d HTTP/1.1\r\nHost: www.OLD.test.\r\n\r\n").unwrap();
    let reply = client.reply("GET").unwrap();
    assert_eq!((reply.status, reply.header("location")), (308, Some("https://new.test/a%20b?c=d")));
    assert_eq!(client.request("DELETE", "/", "", b"").status, 405);
    assert_eq!(get(&mut client, "/?debug", "X-Internal: nobody\r\n").status, 418);
    assert_eq!(get(&mut client, "/?debug", "").status, 200);
}

#[test]
fn requests_are_rewritten() {
    let up = Upstream::start("a");
    let evenly = start(
        &up,
        r#"
        [[rules]]
        path_regex = "^/v1/(.*)$"
        set_path = "/headers"
        set_query = { version = "1" }
        set_headers = { x-api-key = "k1" }
        remove_headers = "cookie"
        set_host = "api.test:8080"
    "#,
    );
    let reply = get(&mut evenly.client(), "/v1/users?a=b", "Cookie: c=d\r\n");
    let seen = reply.text().to_lowercase();
    assert!(seen.starts_with("get /headers?a=b&version=1"), "{seen}");
    assert!(
        seen.contains("x-api-key: k1") && seen.contains("host: api.test:8080") && !seen.contains("cookie"),
        "{seen}"
    );
}

#[test]
fn answers_are_rewritten_with_their_length_and_tag() {
    let up = Upstream::start("a");
    let evenly = start(
        &up,
        r#"
        [[rules]]
        path = "/echo"
        [rules.response]
        status = 203
        set_headers = { x-patched = "yes" }
        remove_headers = ["date"]
        json_patch = '[{ "op": "replace", "path": "/price", "value": 0 }]'
        json_merge = '{ "internal": null }'

        [[rules]]
        path = "/echo/text"
        [rules.response]
        replace = { price = "prize" }
    "#,
    );
    let mut client = evenly.client();
    let reply = client.request(
        "POST",
        "/echo",
        "Content-Type: application/json\r\n",
        br#"{"price":9,"internal":1,"b":2}"#,
    );
    assert_eq!((reply.status, reply.header("x-patched")), (203, Some("yes")));
    assert_eq!(reply.text(), r#"{"price":0,"b":2}"#);
    let text = "Content-Type: text/plain\r\n";
    let reply = client.request("GET", "/echo/text", text, b"the price");
    assert_eq!((reply.status, reply.text()), (200, "the prize"));
    let tagged = format!("{text}If-None-Match: {}\r\n", reply.header("etag").unwrap());
    assert_eq!(client.request("GET", "/echo/text", &tagged, b"the price").status, 304);
    assert_eq!(client.request("GET", "/echo/text", &tagged, b"a new price").status, 200);
    // What cannot be rewritten is not passed on as it is.
    assert_eq!(client.request("POST", "/echo", "Content-Type: application/json\r\n", b"no json").status, 502);
}

#[test]
fn a_rule_asks_for_users() {
    let up = Upstream::start("a");
    let evenly = start(
        &up,
        r#"
        [[rules]]
        path_prefix = "/private"
        auth = true

        [[rules]]
        path_prefix = "/alice"
        allow_users = "alice"
    "#,
    );
    let mut client = evenly.client();
    let alice = "Authorization: Basic YWxpY2U6czNjcmV0OndpdGg6Y29sb25z\r\n";
    let bob = "Authorization: Basic Ym9iOmI=\r\n";
    for (path, fields, expected) in [
        ("/private/x", "", 401),
        ("//private/x", "", 401),
        ("/private/x", "Authorization: Basic !!!!\r\n", 401),
        ("/private/x", &format!("{bob}{alice}"), 401),
        ("/private/x", bob, 200),
        ("/alice", bob, 403),
        ("/alice", alice, 200),
        ("/open", "", 200),
    ] {
        let reply = get(&mut client, path, fields);
        assert_eq!(reply.status, expected, "{path} {fields}");
        assert_eq!(reply.header("www-authenticate").is_some(), expected == 401);
    }
    let seen = get(&mut client, "/headers", alice);
    assert!(seen.text().contains("Basic"), "not used here, so passed on");
}

#[test]
fn a_rule_chooses_another_group_and_keeps_out_of_the_cache() {
    let (one, other) = (Upstream::start("a"), Upstream::start("b"));
    let evenly = Evenly::start(
        &format!("proxy_pass = [\"{}\"]\ncache = true", one.address),
        &format!(
            "[[upstreams]]\nname = \"other\"\nproxy_pass = [\"{}^2\"]\nbalance = \"round_robin\"\n\
             [[rules]]\nheader = {{ x-group = \"other\" }}\nupstream = \"other\"\n\
             [[rules]]\nquery = {{ fresh = \"*\" }}\ncache = false\n",
            other.address
        ),
    );
    let mut client = evenly.client();
    assert_eq!(client.get("/max-age/60").text(), "a");
    assert_eq!(get(&mut client, "/max-age/60", "X-Group: other\r\n").text(), "b");
    assert_eq!(client.get("/max-age/60").text(), "a");
    assert_eq!((one.hits(), other.hits()), (1, 1), "the first answer was kept for its own group");
    for _ in 0..2 {
        assert_eq!(client.get("/max-age/60?fresh").text(), "a");
    }
    assert_eq!(one.hits(), 3);
}

#[test]
fn faults_in_rules_have_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cfg.toml");
    std::fs::write(
        &file,
        r#"[server]
proxy_pass = ["127.0.0.1:6000"]
trusted_proxies = ["10.0.0.0/99"]
[[rules]]
path_regex = "("
action = "blok"
set_headers = { content-length = "1" }
to = "/x"
[[rules]]
action = "redirect"
nonsense = 1
upstream = "nowhere"
"#,
    )
    .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_evenly"))
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    for place in [":3:", ":5:", ":6:", ":7:", ":8:", ":10:", ":11:", ":12:"] {
        assert!(said.contains(&format!("cfg.toml{place}")), "{place} in {said}");
    }
}

#[test]
fn a_group_has_its_own_part_of_the_cache() {
    let [main, beta] = ["main", "beta"].map(Upstream::start);
    let rest = format!(
        "[[upstreams]]\nname = \"Beta 2\"\nproxy_pass = [\"{}\"]\n\
         [[rules]]\nheader = {{ x-beta = \"yes\" }}\nupstream = \"Beta 2\"\n",
        beta.address
    );
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]\ncache = true", main.address), &rest);
    let mut client = evenly.client();
    for _ in 0..3 {
        assert_eq!(client.get("/max-age/600").text(), "main");
        let head = b"GET /max-age/600 HTTP/1.1\r\nHost: test\r\nX-Beta: yes\r\n\r\n";
        client.send(head).unwrap();
        assert_eq!(client.reply("GET").unwrap().text(), "beta");
    }
    assert_eq!((main.hits(), beta.hits()), (1, 1));
}

#[test]
fn a_rule_says_how_long_an_answer_is_fresh_that_does_not() {
    let up = Upstream::start("a");
    let rest = "[[rules]]\npath_prefix = \"/pages\"\ncache_timeout = 600\n[[rules]]\npath = \"/max-age/0\"\ncache_timeout = 600\n\
                [[rules]]\npath = \"/status/500\"\ncache_timeout = 600\n";
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]\ncache = true", up.address), rest);
    let mut client = evenly.client();
    for _ in 0..3 {
        let reply = client.get("/pages/1");
        assert_eq!((reply.status, reply.header("cdn-cache-control")), (200, None));
    }
    assert_eq!(up.hits(), 1);
    for (path, asked) in [("/max-age/0", 2), ("/status/500", 2), ("/other", 2)] {
        let before = up.hits();
        client.get(path);
        client.get(path);
        assert_eq!(up.hits() - before, asked, "{path}");
    }
}
