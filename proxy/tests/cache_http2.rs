//! What HTTP/2 clients send must not keep their requests from the cache, asked with curl.

mod support;

use std::process::{Command, Stdio};
use support::{Evenly, Upstream};

/// What curl prints of the answer's head for `arguments`, its standard input being empty.
fn head(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--http2-prior-knowledge"])
        .args(["--output", "/dev/null", "--dump-header", "-"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("this test needs curl: apt-get install curl");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_get_that_ends_with_an_empty_frame_is_a_get_without_a_body() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]\ncache = true", up.address), "");
    let url = format!("http://{}/max-age/1000", evenly.address);
    for status in ["fwd=uri-miss", "hit"] {
        // An upload of nothing: HEADERS without END_STREAM, then an empty DATA with it.
        let seen = head(&["--request", "GET", "--upload-file", "-", &url]);
        assert!(seen.contains("HTTP/2 200") && seen.contains(&format!("evenly; {status}")), "{seen}");
    }
    assert_eq!(up.hits(), 1);
}

#[test]
fn a_get_with_a_body_still_goes_to_the_member_with_it() {
    let up = Upstream::start("a");
    let evenly = Evenly::start(&format!("proxy_pass = [\"{}\"]\ncache = true", up.address), "");
    let url = format!("http://{}/echo", evenly.address);
    let sent = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "60",
            "--noproxy",
            "*",
            "--http2-prior-knowledge",
            "--request",
            "GET",
        ])
        .args(["--header", "content-length:", "--data", "hello", &url])
        .output()
        .expect("this test needs curl: apt-get install curl");
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "hello");
}
