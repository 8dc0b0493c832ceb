//! The file changes while the proxy runs: what is new takes effect, what is under way lives on, a fault changes nothing.

mod support;

use std::{
    fs,
    net::SocketAddr,
    os::unix::{fs::symlink, net::UnixDatagram},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use support::{Client, Evenly, Upstream, eventually, free_port};

fn text(port: u16, up: &Upstream, more: &str) -> String {
    format!("[server]\nport = \"127.0.0.1:{port}\"\nproxy_pass = [\"{}\"]\n{more}\n", up.address)
}

fn start(up: &Upstream) -> Evenly {
    Evenly::start(&format!("proxy_pass = [\"{}\"]", up.address), "")
}

fn answers(evenly: &Evenly, name: &str) {
    let mut client = evenly.client();
    eventually(&format!("{name} answers"), || client.get("/").text() == name);
}

/// As editors do: write beside it, then rename over it.
fn replace(file: &Path, text: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, file).unwrap();
}

#[test]
fn a_changed_file_takes_effect_however_it_was_changed() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let evenly = start(&a);
    answers(&evenly, "a");
    let (port, file) = (evenly.address.port(), &evenly.config_file);
    fs::write(file, text(port, &b, "")).unwrap();
    answers(&evenly, "b");
    replace(file, &text(port, &a, ""));
    answers(&evenly, "a");
    replace(file, &text(port, &b, ""));
    answers(&evenly, "b");
    fs::remove_file(file).unwrap();
    fs::write(file, text(port, &a, "")).unwrap();
    answers(&evenly, "a");
}

#[test]
fn what_waits_for_the_next_start_is_named() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let evenly = start(&a);
    let (port, file) = (evenly.address.port(), &evenly.config_file);
    replace(file, &text(port, &b, "workers = 1\n[admin]\nlisten = \"127.0.0.1:1\""));
    answers(&evenly, "b");
    eventually("it is told", || evenly.stderr().contains("at the next start only: [admin], workers"));
    replace(file, &text(port, &a, ""));
    answers(&evenly, "a");
    assert_eq!(evenly.stderr().matches("at the next start").count(), 1, "as it was at the start");
}

/// A mounted ConfigMap: the file is a link through a link, and only that second link is ever replaced.
#[test]
fn a_swapped_link_takes_effect_as_kubernetes_does_it() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let folder = tempfile::tempdir().unwrap();
    let (root, port) = (folder.path().to_owned(), free_port());
    for (name, up) in [("..1", &a), ("..2", &b)] {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("cfg.toml"), text(port, up, "")).unwrap();
    }
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/cfg.toml", root.join("cfg.toml")).unwrap();
    let evenly = Evenly::run_file(folder, root.join("cfg.toml"), ([127, 0, 0, 1], port).into());
    answers(&evenly, "a");
    symlink("..2", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    fs::remove_dir_all(root.join("..1")).unwrap();
    answers(&evenly, "b");
}

#[test]
fn a_faulty_file_changes_nothing_and_is_reported_with_its_place() {
    let a = Upstream::start("a");
    let evenly = start(&a);
    fs::write(&evenly.config_file, "[server]\nproxy_pas = []\n").unwrap();
    eventually("the fault is reported", || evenly.stderr().contains("cfg.toml:2:1"));
    assert!(evenly.stderr().contains("did you mean \"proxy_pass\"?"));
    answers(&evenly, "a");
    // A port that somebody else has: nothing of that file takes effect either.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let b = Upstream::start("b");
    fs::write(&evenly.config_file, text(taken.local_addr().unwrap().port(), &b, "")).unwrap();
    eventually("the fault is reported", || evenly.stderr().contains("cannot listen on"));
    answers(&evenly, "a");
}

#[test]
fn a_reload_changes_how_much_is_logged() {
    let a = Upstream::start("a");
    let evenly = start(&a);
    for (log, is_detailed) in [(1, true), (0, false)] {
        let told = evenly.stderr().matches("is in effect").count();
        replace(&evenly.config_file, &text(evenly.address.port(), &a, &format!("log = {log}")));
        eventually("it is read", || evenly.stderr().matches("is in effect").count() > told);
        eventually("details begin or end", || {
            let before = evenly.stderr().matches("DEBUG").count();
            // A head that is no request is worth a line of detail.
            let mut client = evenly.client();
            client.send(b"nonsense\r\n\r\n").unwrap();
            let _ = client.reply("GET");
            answers(&evenly, "a");
            (evenly.stderr().matches("DEBUG").count() > before) == is_detailed
        });
    }
}

#[test]
fn sighup_reads_the_file_again() {
    let a = Upstream::start("a");
    let evenly = start(&a);
    evenly.signal("HUP");
    eventually("it says so", || evenly.stderr().contains("is in effect"));
    fs::remove_file(&evenly.config_file).unwrap();
    evenly.signal("HUP");
    eventually("it says so", || evenly.stderr().contains("cannot read"));
    answers(&evenly, "a");
}

#[test]
fn what_is_under_way_lives_through_reloads_and_a_change_of_the_port() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let evenly = start(&a);
    let mut waiting = evenly.client();
    waiting.send(b"GET /delay/2500 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut loading = evenly.client();
    loading.send(b"GET /bytes/50000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    loading.head().unwrap();
    let mut old = evenly.address;
    loop {
        let mut kept = Client::connect(old);
        kept.get("/");
        let place = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let changed = Instant::now();
        fs::write(&evenly.config_file, text(place.port(), &b, "balance = \"round_robin\"")).unwrap();
        eventually("the new port is open", || Client::try_connect(place).is_ok());
        eventually("the old port is closed", || Client::try_connect(old).is_err());
        // A connection of the old listener has one more request, and is told that it was the last.
        match kept.try_get("/") {
            Ok(last) => {
                assert_eq!((last.text(), last.header("connection")), ("b", Some("close")));
                assert_eq!(Client::connect(place).get("/").text(), "b");
                break;
            }
            // That offer holds for a second, which a busy machine may have let pass.
            Err(error) => assert!(changed.elapsed() > Duration::from_secs(1), "{error}"),
        }
        old = place;
    }
    assert_eq!(waiting.reply("GET").unwrap().text(), "a");
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    while received < 50_000_000 {
        received += loading.read(&mut buffer).unwrap();
    }
}

#[test]
fn members_that_stay_keep_their_load_and_connections() {
    let (a, b) = (Upstream::start("a"), Upstream::start("b"));
    let pass = |more: &str| {
        format!("proxy_pass = [\"{}\", \"{}\"]\nbalance = \"least_load\"\n{more}", a.address, b.address)
    };
    let evenly = Evenly::start(&pass(""), "");
    let mut held: Vec<Client> = (0..3).map(|_| evenly.client()).collect();
    for client in &mut held {
        client.send(b"GET /bytes/50000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        client.head().unwrap();
    }
    let (heavy, light) = if a.hits() == 2 { (&a, &b) } else { (&b, &a) };
    assert_eq!((heavy.hits(), light.hits()), (2, 1));
    let head = format!("[server]\nport = \"{}\"\n", evenly.address);
    fs::write(&evenly.config_file, format!("{head}{}", pass("idle_timeout = 59"))).unwrap();
    eventually("the change is in effect", || evenly.stderr().contains("is in effect"));
    // Had the counts begun anew, this would have been a draw.
    let mut next = evenly.client();
    next.send(b"GET /bytes/50000000 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    next.head().unwrap();
    assert_eq!((heavy.hits(), light.hits()), (2, 2));
}

/// systemd is told of each step, as `Type=notify-reload` asks for it.
#[test]
fn the_service_manager_is_told_of_each_step() {
    let (up, folder) = (Upstream::start("a"), tempfile::tempdir().unwrap());
    let place = folder.path().join("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = Command::new(Evenly::binary());
    command.env("NOTIFY_SOCKET", &place);
    let mut evenly = Evenly::start_by(command, &format!("proxy_pass = [\"{}\"]", up.address), "");
    assert!(told().contains("READY=1"));
    evenly.signal("HUP");
    let reloading = told();
    assert!(reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="), "{reloading}");
    assert!(told().contains("READY=1"));
    evenly.signal("TERM");
    assert!(told().contains("STOPPING=1"));
    assert!(evenly.wait().success());
}
