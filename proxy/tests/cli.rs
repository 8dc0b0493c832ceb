//! The command line as people use it: without a file, with one, and beside a running proxy.

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use support::{Client, Evenly, Upstream, eventually, free_port};

fn evenly(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evenly")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_proxy_without_a_file() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let members = [format!("{}^3", a.address), b.address.to_string()];
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenly"))
        .args(["run", "--listen", &address.to_string(), "--to", &members[0], "--to", &members[1]])
        .args(["--balance", "round_robin", "--cache"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it listens", || TcpStream::connect(address).is_ok());
    let mut client = Client::connect(address);
    let bodies: String = (0..8).map(|n| client.get(&format!("/{n}")).text().to_owned()).collect();
    let cached: Vec<_> = (0..2).map(|_| client.get("/max-age/60")).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(bodies.matches('a').count(), 6, "{bodies}");
    assert!(cached[1].header("cache-status").unwrap().contains("hit"));
}

/// Most systems give a process 1,024 descriptors, and allow it many more.
#[test]
fn the_limit_of_file_descriptors_is_raised_to_what_is_allowed() {
    let (up, port) = (Upstream::start("a"), free_port());
    let run = format!(
        "ulimit -Sn 200; exec {} run --listen 127.0.0.1:{port} --to {}",
        env!("CARGO_BIN_EXE_evenly"),
        up.address
    );
    let mut child = Command::new("sh").args(["-c", &run]).stderr(Stdio::null()).spawn().unwrap();
    eventually("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let (soft, hard) = line.trim().split_once(' ').unwrap();
    assert_eq!(soft, hard.split_whitespace().next().unwrap());
}

#[test]
fn wrong_arguments_are_told_with_what_is_allowed() {
    for (arguments, part) in [
        (&["run", "--to", "a:0"][..], "port \"0\" (must be 1 to 65535)"),
        (&["run", "--to", "a:1", "--balance", "best"], "best"),
        (&["run", "--listen", ":8080"], "--to"),
        (&["run", "--to", "a:1", "--config", "f"], "cannot be used with"),
        (&["chek"], "check"),
        (&["purge"], "--all"),
    ] {
        let output = evenly(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
}

#[test]
fn check_tells_programs_and_goproxys_users() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cfg.toml");
    let path = file.to_str().unwrap();
    fs::write(&file, "[server]\nprot = 1\nproxy_pass = [\"a^0\"]\n").unwrap();
    let output = evenly(&["check", "--config", path, "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let faults: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(faults["faults"].as_array().unwrap().len(), 2);
    assert_eq!(
        (faults["faults"][0]["line"].as_u64(), faults["faults"][0]["column"].as_u64()),
        (Some(2), Some(1))
    );
    fs::write(&file, "[server]\nproxy_pass = [\"a\"]\ninverse_mode = 1\n").unwrap();
    let text = told(&evenly(&["check", "--config", path]));
    for part in
        ["no faults", "note: inverse_mode is goproxy's", "cfg.toml:3:1", "today: balance = \"round_robin\""]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let none: Value =
        serde_json::from_str(&told(&evenly(&["check", "--config", path, "--format", "json"]))).unwrap();
    assert_eq!(none["faults"].as_array().unwrap().len(), 0);
    assert_eq!(none["notes"][0]["line"].as_u64(), Some(3));
    // Of what is no TOML, nothing else can be said.
    fs::write(&file, "[server\nproxy_pass = [\"a\"]\n").unwrap();
    let broken = evenly(&["check", "--config", path]);
    let text = String::from_utf8_lossy(&broken.stderr);
    assert!(
        text.contains("not TOML")
            && text.ends_with(&format!("1 fault in {path}; nothing was started or changed\n")),
        "{text}"
    );
}

#[test]
fn the_template_is_a_file_that_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evenly.toml");
    fs::write(&file, told(&evenly(&["config", "--template"]))).unwrap();
    let path = file.to_str().unwrap();
    told(&evenly(&["check", "--config", path]));
    let shown = told(&evenly(&["config", "--config", path]));
    assert!(shown.contains("drain_timeout = 30\n"), "{shown}");
    let delivered = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/evenly.toml");
    let text = "packaging/evenly.toml is what `evenly config --template` prints; write it again";
    assert_eq!(fs::read_to_string(delivered).unwrap(), fs::read_to_string(&file).unwrap(), "{text}");
}

#[test]
fn schema_completions_and_manual_are_printed() {
    let schema: Value = serde_json::from_str(&told(&evenly(&["schema"]))).unwrap();
    assert_eq!(schema["properties"]["server"]["properties"]["port"]["default"], ":8080");
    for shell in ["bash", "zsh", "fish"] {
        assert!(told(&evenly(&["completions", shell])).contains("hash-password"), "{shell}");
    }
    let page = told(&evenly(&["man"]));
    assert!(page.contains(".TH evenly 1") && page.contains("listen"), "{page}");
    let (short, long) = (told(&evenly(&["-h"])), told(&evenly(&["--help"])));
    assert!(short.contains("Examples:") && long.contains("Exit codes:") && short.len() < long.len());
}

#[test]
fn without_an_admin_listener_status_says_whether_it_listens() {
    let up = Upstream::start("a");
    let mut running = Evenly::start(&format!("proxy_pass = [\"{}\"]", up.address), "");
    let status = |file: &str| evenly(&["status", "-c", file]);
    let file = running.config_file.to_str().unwrap().to_owned();
    assert!(told(&status(&file)).starts_with(&format!("it listens on {}", running.address)));
    running.signal("TERM");
    running.wait();
    assert_eq!(status(&file).status.code(), Some(1));
}

#[test]
fn a_running_proxy_is_reloaded_drained_and_purged() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let server = format!("proxy_pass = [\"{}\", \"{}\"]\ncache = true", a.address, b.address);
    let admin = format!("[admin]\nlisten = \"127.0.0.1:{}\"\ntoken = \"0123456789abcdef\"", free_port());
    let running = Evenly::start(&server, &admin);
    let file = running.config_file.to_str().unwrap();
    let member = a.address.to_string();

    let status = told(&evenly(&["status", "--config", file]));
    assert!(status.contains("· ready ·") && status.contains("default, balanced by p2c"), "{status}");
    let mut by_address = Command::new(env!("CARGO_BIN_EXE_evenly"));
    by_address.args(["status", "--admin", admin.split('"').nth(1).unwrap()]);
    assert_eq!(by_address.output().unwrap().status.code(), Some(1), "it has a token");
    assert!(by_address.env("EVENLY_ADMIN_TOKEN", "0123456789abcdef").status().unwrap().success());
    assert_eq!(told(&evenly(&["drain", "--config", file, &member])), format!("draining {member}\n"));
    let status = told(&evenly(&["status", "-c", file]));
    let line = status.lines().find(|line| line.contains(&member)).unwrap();
    assert!(line.contains("draining  weight   1"), "{line}");
    let mut client = running.client();
    assert!((0..10).all(|n| client.get(&format!("/{n}")).text() == "b"));
    assert_eq!(told(&evenly(&["drain", "--undo", "-c", file, &member])), format!("{member} is back\n"));

    client.get("/max-age/60");
    assert!(client.get("/max-age/60").header("cache-status").unwrap().contains("hit"));
    let purged = told(&evenly(&["purge", "-c", file, "--url", "http://test/max-age/60"]));
    assert!(purged.starts_with("purged 1 "), "{purged}");
    assert!(client.get("/max-age/60").header("cache-status").unwrap().contains("fwd"));

    assert_eq!(told(&evenly(&["reload", "-c", file])), format!("reloaded {file}\n"));
    evenly(&["drain", "-c", file, &member]);
    evenly(&["drain", "-c", file, &b.address.to_string()]);
    let nobody = evenly(&["status", "-c", file]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stdout).contains("· not ready ·"));
    let unknown = evenly(&["drain", "-c", file, "nowhere:1"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("nowhere:1"));
    let absent = evenly(&["status", "--admin", &format!("127.0.0.1:{}", free_port())]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("was evenly started, and with this [admin]?"));
}
