//! Users with hashed passwords, from the hash's making to the request.

mod support;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use support::{Evenly, Upstream};

fn hash_password(password: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenly"))
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

#[test]
fn a_hash_made_here_lets_its_user_in_and_nobody_else() {
    let (code, hash) = hash_password("pass:wörd\n");
    assert!(code == Some(0) && hash.starts_with("$argon2id$"), "{hash}");
    assert_eq!(hash_password("").0, Some(2));
    let up = Upstream::start("a");
    let keys = format!("proxy_pass = [\"{}\"]\nauth = true\nuser = {{ ann = \"{hash}\" }}", up.address);
    let evenly = Evenly::start(&keys, "");
    let mut client = evenly.client();
    // ann:pass:wörd, ann:wrong, bob:pass:wörd
    for (credentials, expected) in [
        ("YW5uOnBhc3M6d8O2cmQ=", 200),
        ("YW5uOndyb25n", 401),
        ("Ym9iOnBhc3M6d8O2cmQ=", 401),
        ("YW5uOnBhc3M6d8O2cmQ=", 200),
    ] {
        let reply =
            client.request("GET", "/headers", &format!("Authorization: Basic {credentials}\r\n"), b"");
        assert_eq!(reply.status, expected, "{credentials}");
        assert!(!reply.text().contains("uthorization"), "used credentials are not passed on");
    }
    assert!(
        !evenly.stderr().contains("plain text") && !evenly.stderr().contains("argon2"),
        "{}",
        evenly.stderr()
    );
}

#[test]
fn plain_passwords_work_with_a_warning_and_files_of_users_are_read() {
    let up = Upstream::start("a");
    let file = tempfile::NamedTempFile::new().unwrap();
    // Made by `openssl passwd -apr1 -salt Z1aB9.xx password`.
    std::fs::write(file.path(), "# users\nfred:$apr1$Z1aB9.xx$DM593JSOBR8lG8uuNilD//\n").unwrap();
    let keys = format!(
        "proxy_pass = [\"{}\"]\nauth = true\nuser = {{ agent = \"proxy\" }}\nhtpasswd = {:?}",
        up.address,
        file.path()
    );
    let evenly = Evenly::start(&keys, "");
    // agent:proxy and fred:password; goproxy's clients send it in the other field.
    for field in ["Authorization: Basic YWdlbnQ6cHJveHk=", "Proxy-Authorization: Basic ZnJlZDpwYXNzd29yZA=="]
    {
        assert_eq!(evenly.client().request("GET", "/", &format!("{field}\r\n"), b"").status, 200, "{field}");
    }
    assert!(
        evenly.stderr().contains("plain text") && !evenly.stderr().contains("fred"),
        "{}",
        evenly.stderr()
    );
}

#[test]
fn guessing_ends() {
    let up = Upstream::start("a");
    let keys = format!(
        "proxy_pass = [\"{}\"]\nauth = true\nuser = {{ agent = \"proxy\" }}\nauth_failures_per_minute = 3",
        up.address
    );
    let evenly = Evenly::start(&keys, "");
    let mut client = evenly.client();
    let mut guess = || client.request("GET", "/", "Authorization: Basic YWdlbnQ6Z3Vlc3M=\r\n", b"");
    for _ in 0..3 {
        assert_eq!(guess().status, 401);
    }
    let reply = guess();
    assert_eq!(reply.status, 429);
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() <= 61);
    assert_eq!(up.hits(), 0);
}
