//! The configuration as its users meet it: goproxy's file works, and every fault is told at once, with its place.

mod support;

use std::{fs, process::Command};

use support::{Evenly, Upstream, free_port};

/// goproxy's sample, with the places that a test must choose left open.
const SAMPLE: &str = include_str!("data/goproxy_cfg.toml");

fn sample(port: u16, members: &[&Upstream; 3]) -> String {
    let mut text = SAMPLE.replace(":8080", &format!("127.0.0.1:{port}"));
    for (place, up) in ["127.0.0.1:6000", "127.0.0.1:7000", "127.0.0.1:8000"].into_iter().zip(members) {
        text = text.replace(place, &up.address.to_string());
    }
    text
}

#[test]
fn goproxys_sample_file_runs_from_its_default_place() {
    let ups = ["a", "b", "c"].map(Upstream::start);
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = folder.path().join("config/cfg.toml");
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(&file, sample(port, &ups.each_ref())).unwrap();
    let checked =
        Command::new(env!("CARGO_BIN_EXE_evenly")).arg("check").current_dir(folder.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let evenly = Evenly::run_file(folder, file, ([127, 0, 0, 1], port).into());
    let mut client = evenly.client();
    for _ in 0..30 {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(ups.iter().map(Upstream::hits).sum::<u64>() >= 3);
    assert!(evenly.folder.path().join("logs").is_dir(), "log_path is used");
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cfg.toml");
    let text = "[server]\n\
                prot = \":8080\"\n\
                proxy_pass = [\"a:1^0\", \"a:99999\", \"b:2\", \"b:2\"]\n\
                inverse_mode = 6\n\
                cache_type = \"memcached\"\n\
                http_read_timeout = \"10\"\n\
                [mem]\n\
                capacity = 0\n\
                cache_replacement_policy = \"MRU\"\n\
                [reddis]\n";
    fs::write(&file, text).unwrap();
    for command in ["run", "check"] {
        let output = Command::new(env!("CARGO_BIN_EXE_evenly"))
            .arg(command)
            .arg("--config")
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        for (place, message) in [
            ("2:1", "unknown key \"prot\" in [server]"),
            ("2:1", "did you mean \"port\"?"),
            ("3:15", "weight \"0\" (must be 1 to 65535)"),
            ("3:24", "port \"99999\" (must be 1 to 65535)"),
            ("3:42", "b:2 stands twice"),
            ("4:16", "must be 0 to 5"),
            ("5:14", "unknown store \"memcached\""),
            ("6:21", "http_read_timeout is of type string"),
            ("8:12", "must be 1 to 1000000000"),
            ("9:28", "cache_replacement_policy"),
            ("10:2", "unknown key \"reddis\" at the top level"),
            ("10:2", "did you mean \"redis\"?"),
        ] {
            assert!(told.contains(message), "{message} is not told in:\n{told}");
            assert!(told.contains(&format!("cfg.toml:{place}\n")), "{place} is not told in:\n{told}");
        }
    }
}

#[test]
fn both_names_of_the_mode_but_not_both_at_once() {
    let parse =
        |mode: &str| evenly::config::Config::parse("f", &format!("[server]\nproxy_pass = [\"a\"]\n{mode}"));
    let numbered = ["random", "round_robin", "p2c", "ring", "bounded_ring", "least_load"];
    for (number, name) in numbered.into_iter().enumerate() {
        for key in ["inverse_mode", "reverse_mode"] {
            assert_eq!(parse(&format!("{key} = {number}")).unwrap().server.balance.to_string(), name);
        }
        assert_eq!(parse(&format!("balance = \"{name}\"")).unwrap().server.balance.to_string(), name);
    }
    assert_eq!(parse("").unwrap().server.balance.to_string(), "p2c", "the default");
    let faults = parse("inverse_mode = 1\nreverse_mode = 1").unwrap_err();
    assert_eq!(faults.faults.len(), 1);
    assert!(faults.to_string().contains("given twice"));
}

#[test]
fn what_is_not_toml_is_told_too() {
    let faults = evenly::config::Config::parse("f.toml", "[server\nport = ").unwrap_err();
    assert!(faults.to_string().contains("f.toml:1:"), "{faults}");
}

#[test]
fn auth_without_users_is_refused() {
    let faults =
        evenly::config::Config::parse("f", "[server]\nproxy_pass = [\"a\"]\nauth = true").unwrap_err();
    assert!(faults.to_string().contains("no user who could pass"));
}

#[test]
fn passwords_do_not_show() {
    let text = "[server]\nproxy_pass = [\"a\"]\nuser = { me = \"hush\" }\n[redis]\nredis_pass = \"hush\"";
    let config = evenly::config::Config::parse("f", text).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn a_missing_file_is_a_usage_error() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_evenly")).args(["run", "-c", "/nowhere.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere.toml"));
}

#[test]
fn every_wrong_rule_is_a_fault_with_its_line() {
    const WRONG: [(&str, &str); 24] = [
        ("path_regex = '(('", "unclosed group"),
        ("path = 'a'", "no path"),
        ("path = '/%zz'", "escape"),
        ("host = 'a b'", "no host name"),
        ("method = 'G ET'", "no method"),
        ("client = '10.0.0.0/99'", "no address or network"),
        ("header = { 'x y' = '*' }", "no field name"),
        ("query = 'x'", "string"),
        ("action = 'explode'", "allowed: \"allow\", \"block\", \"redirect\""),
        ("action = 'redirect'", "without to"),
        ("to = '/x'", "without action"),
        ("status = 99", "out of range"),
        ("set_path = 'x'", "begins with /"),
        ("set_path = '/$x'", "$x"),
        ("set_host = 'a/b'", "host"),
        ("set_headers = { 'content-length' = '5' }", "the proxy itself writes"),
        ("set_headers = { x = \"a\\r\\nb\" }", "no field value"),
        ("upstream = 'nope'", "none of [[upstreams]]"),
        ("cache_timeout = -1", "out of range"),
        ("response = { json_patch = '[{\"op\":\"explode\"}]' }", "explode"),
        ("response = { json_merge = '{' }", "EOF"),
        ("response = { replace_regex = { '(' = 'x' } }", "unclosed group"),
        ("response = { status = 700 }", "out of range"),
        ("", "without a key"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cfg.toml");
    let rules: String = WRONG.iter().map(|(rule, _)| format!("[[rules]]\n{rule}\n")).collect();
    fs::write(&file, format!("[server]\nproxy_pass = 'a:1'\n{rules}")).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_evenly")).arg("check").arg("--config").arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    let faults: Vec<&str> = told.split("error: ").skip(1).filter(|fault| fault.contains("-->")).collect();
    for (at, (rule, what)) in WRONG.iter().enumerate() {
        // An empty rule has no line but its header's.
        let line = 3 + 2 * at + usize::from(!rule.is_empty());
        let place = format!("cfg.toml:{line}:");
        let is_told = |fault: &&str| fault.contains(&place) && fault.contains(what);
        assert!(faults.iter().any(is_told), "line {line}, {rule}: {what}\n{told}");
    }
}
