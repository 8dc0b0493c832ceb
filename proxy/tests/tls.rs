//! TLS on both sides, asked with curl: certificates by name, HTTP/2 by ALPN and without TLS, redirects, members.

mod support;

use std::{fs, path::Path, process::Command};

use support::{Evenly, Upstream, free_port};

/// A certificate for `name` that signs itself, as two PEM files.
fn certificate(folder: &Path, name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let file = |kind: &str| folder.join(format!("{name}.{kind}.pem")).display().to_string();
    let (chain, key) = (file("chain"), file("key"));
    fs::write(&chain, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (chain, key)
}

/// What curl prints for `arguments`; its exit code is part of it.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
        .args(arguments)
        .output()
        .expect("this test needs curl: apt-get install curl");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

struct Site {
    evenly: Evenly,
    folder: tempfile::TempDir,
    port: u16,
    chains: [String; 2],
}

fn start(up: &Upstream, redirect: bool) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.test", "b.test"].map(|name| certificate(folder.path(), name));
    let port = free_port();
    let tls = format!(
        "[tls]\nport = \"127.0.0.1:{port}\"\nredirect = {redirect}\ncertificate = {:?}\nkey = {:?}\n\
         [[tls.more]]\ncertificate = {:?}\nkey = {:?}\n",
        a.0, a.1, b.0, b.1
    );
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]", up.address), &tls);
    Site { evenly, folder, port, chains: [a.0, b.0] }
}

impl Site {
    fn get(&self, name: &str, chain: &str, more: &[&str]) -> String {
        let resolve = format!("{name}:{}:127.0.0.1", self.port);
        let url = format!("https://{name}:{}/headers", self.port);
        let format = "\nHTTP/%{http_version} %{http_code}";
        let mut arguments = vec!["--resolve", &resolve, "--cacert", chain, "--write-out", format, &url];
        arguments.extend(more);
        curl(&arguments)
    }
}

#[test]
fn each_name_gets_its_certificate_and_the_version_it_asks_for() {
    let up = Upstream::start("a");
    let site = start(&up, false);
    for (name, chain) in [("a.test", &site.chains[0]), ("b.test", &site.chains[1])] {
        let seen = site.get(name, chain, &["--http2"]);
        assert!(seen.ends_with("HTTP/2 200") && seen.contains("x-forwarded-proto: https"), "{seen}");
        let seen = site.get(name, chain, &["--http1.1"]);
        assert!(seen.ends_with("HTTP/1.1 200") && seen.contains(&format!("host: {name}")), "{seen}");
    }
    let wrong = site.get("b.test", &site.chains[0], &[]);
    assert!(wrong.contains("certificate"), "{wrong}");
}

#[test]
fn a_reload_brings_the_new_certificate() {
    let up = Upstream::start("a");
    let site = start(&up, false);
    assert!(site.get("a.test", &site.chains[0], &[]).ends_with("200"));
    certificate(site.folder.path(), "a.test");
    site.evenly.signal("HUP");
    support::eventually("the new certificate is shown", || {
        site.get("a.test", &site.chains[0], &[]).ends_with("200")
    });
}

#[test]
fn without_tls_a_client_is_redirected() {
    let up = Upstream::start("a");
    let site = start(&up, true);
    let url = format!("http://{}/x?y", site.evenly.address);
    let seen = curl(&["--write-out", "%{http_code} %{redirect_url}", &url]);
    assert_eq!(seen, format!("308 https://127.0.0.1:{}/x?y", site.port));
    assert_eq!(up.hits(), 0);
}

#[test]
fn http_2_is_spoken_without_tls_to_those_who_begin_with_it() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]", up.address), "");
    let url = format!("http://{}/echo", evenly.address);
    let seen =
        curl(&["--http2-prior-knowledge", "--data", "hello", "--write-out", " HTTP/%{http_version}", &url]);
    assert_eq!(seen, "hello HTTP/2");
}

#[test]
fn members_over_tls_are_believed_only_with_the_right_certificate() {
    let up = Upstream::start("a");
    let site = start(&up, false);
    // The certificates of this site bear names, not its address.
    let by_address = format!("proxy_pass = [\"https://127.0.0.1:{}\"]", site.port);
    let (chain, key) = certificate(site.folder.path(), "127.0.0.1");
    let port = free_port();
    let tls = format!("[tls]\nport = \"127.0.0.1:{port}\"\ncertificate = {chain:?}\nkey = {key:?}\n");
    let inner = Evenly::start(&format!("proxy_pass = [\"{}\"]", up.address), &tls);
    let outer = |ca: &str, pass: &str| Evenly::start(pass, &format!("[upstream_tls]\nca = {ca:?}\n"));
    let right = outer(&chain, &format!("proxy_pass = [\"https://127.0.0.1:{port}\"]"));
    assert_eq!(right.client().get("/").text(), "a");
    // 502, or 503 once the member counts as down.
    let refused = |pass: &str| matches!(outer(&site.chains[0], pass).client().get("/").status, 502 | 503);
    assert!(refused(&by_address), "another name");
    assert!(refused(&format!("proxy_pass = [\"https://127.0.0.1:{port}\"]")), "another authority");
    drop(inner);
}
